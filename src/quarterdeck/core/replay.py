"""A log, read again: the same events, the same state."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.core.deck import Deck
from quarterdeck.core.invariants import Audit, validate
from quarterdeck.core.nouns import Task


class Replay(msgspec.Struct):
    """What a log comes to: the deck with all live state, and every task that ended on the way."""

    deck: Deck
    ended: dict[str, Task]
    events: int


def replay(events: Iterable[ev.Event]) -> Replay:
    """Apply a whole log. Raises `Broken` or `InvalidTransition` if it cannot be true."""
    deck, audit, ended, number = Deck(), Audit(), dict[str, Task](), 0
    for event in events:
        audit.read([event])
        deck.apply(event)
        number += 1
        ended.update((task.id, task) for task in deck.forget_ended())
    validate(deck)
    for task in [*ended.values(), *deck.tasks.values()]:
        if audit.counted[task.id] != task.shots_done:
            raise ValueError(f"task {task.id}: the log has {audit.counted[task.id]} shots, the deck {task.shots_done}")
    return Replay(deck, ended, number)
