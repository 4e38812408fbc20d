"""How states may change: one table per noun, no implicit paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(eq=False)
class InvalidTransition(Exception):
    """Something was reported that cannot follow from what is known. The deck is unchanged.

    A defect of whoever reported it: raised in tests, logged and refused by the daemon.
    """

    noun: str
    id: str
    state: str
    to: str

    def __str__(self) -> str:
        return f"{self.noun} {self.id} is {self.state}; it cannot become {self.to}"


Table = Mapping[str, frozenset[str]]

TASK: Table = {
    "queued": frozenset({"running", "cancelled", "failed"}),
    "running": frozenset({"queued", "cancelling", "done", "failed"}),
    "cancelling": frozenset({"cancelled", "done", "failed"}),
    "done": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}

SLICE: Table = {
    "running": frozenset({"finished", "failed"}),
    "finished": frozenset(),
    "failed": frozenset(),
}

SESSION: Table = {
    "open": frozenset({"closed"}),
    "closed": frozenset(),
}

WINDOW: Table = {
    "planned": frozenset({"on", "over"}),
    "on": frozenset({"over"}),
    "over": frozenset(),
}


def check(table: Table, noun: str, id: str, state: str, to: str) -> None:
    """Raise `InvalidTransition` unless the table has the step."""
    if to not in table[state]:
        raise InvalidTransition(noun, id, state, to)
