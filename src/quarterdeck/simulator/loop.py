"""Virtual time, and the core in it: one heap of what will happen, one way to tell the core."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.core.commands import CancelSlice, StartSlice
from quarterdeck.core.deck import Deck
from quarterdeck.core.invariants import Audit, Broken, validate
from quarterdeck.core.nouns import Task, Window
from quarterdeck.core.policy import Policy
from quarterdeck.core.state import Step

START_S = 86400.0
"""The core's time at which a run begins: to it, a time of 0 means never."""
FOREVER_S = 1e12
STALL_S = 30 * 86400.0
"""A run ends when nothing finishes for so long although tasks wait: they never will."""
VALIDATE_EVERY = 200
"""Events between two looks at the whole deck, if the run is audited."""


class Loop(ABC):
    """Time goes from one entry of the heap to the next, by way of the core's alarms.

    `skew_s` is by how much the core's clock is ahead of the world's.
    """

    def __init__(self, policy: Callable[[], Policy], audit: bool) -> None:
        self.policy = policy
        self.deck = Deck(policy())
        self.now_s, self.skew_s = START_S, 0.0
        self.moved_s = START_S
        self.audit = Audit() if audit else None
        self.count = dict.fromkeys(
            ("events", "decisions", "tasks", "jobs", "cancelled", "missed", "killed", "lost", "faults", "restarts"), 0
        )
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = 0

    @property
    def core_s(self) -> float:
        """The core's time."""
        return self.now_s + self.skew_s

    def at(self, at_s: float, action: Callable[[Any], None], what: Any) -> int:
        """Let something happen. Returns its number: of two at the same time, the lower comes first."""
        self._order += 1
        heappush(self._heap, (at_s, self._order, action, what))
        return self._order

    def go(self, until_s: float) -> None:
        """Run until there is nothing more to do, or until then."""
        heap = self._heap
        while self.busy():
            alarm_s = self.deck.next_alarm_s()
            if alarm_s is not None and (not heap or alarm_s - self.skew_s < heap[0][0]):
                now_s = max(self.now_s, alarm_s - self.skew_s)
                if now_s >= until_s or (now_s - self.moved_s > STALL_S and self.stuck()):
                    return
                self.now_s = now_s
                self.send(ev.Tick(at_s=alarm_s))
                continue
            if not heap or heap[0][0] >= until_s:
                return
            self.now_s, _, action, what = heappop(heap)
            action(what)

    def send(self, event: ev.Event) -> None:
        """Tell the core, and do what it says."""
        deck = self.deck
        step = deck.handle(event)
        self.count["events"] += 1
        if self.audit is not None:
            self._check(self.audit, step)
        for task in deck.forget_ended():
            self.ended(task)
        if step.windows:
            for window in step.windows.values():
                self.turned(window)
        for command in step.commands:
            if type(command) is StartSlice:
                self.start(command)
            elif type(command) is CancelSlice:
                self.cancel(command)
        for id in step.devices:
            self.settle(id)

    def _check(self, audit: Audit, step: Step) -> None:
        audit.read(step.events)
        if self.count["events"] % VALIDATE_EVERY == 1:
            validate(self.deck)
            starting = {command.key for command in step.commands if isinstance(command, StartSlice)}
            if self.flying() | starting != self.deck.slices.keys():
                raise Broken("the core and the devices differ on what is running")

    def restart(self) -> None:
        """What a daemon knows after SIGKILL: the records in its store, through JSON."""
        old = self.deck
        kept = [msgspec.json.decode(msgspec.json.encode(noun), type=type(noun)) for noun in old.nouns()]
        self.deck = Deck(self.policy())
        self.deck.restore(kept, now_s=old.now_s, seq=old.seq)
        new, was = self.deck.state(), old.state()
        if new != was:
            parts = ", ".join(part for part in was if new[part] != was[part])
            raise Broken(f"the restored state differs from the one before: {parts}")
        self.count["restarts"] += 1

    @abstractmethod
    def busy(self) -> bool:
        """Whether a job is under way, or to come."""

    @abstractmethod
    def stuck(self) -> bool:
        """Whether somebody waits."""

    @abstractmethod
    def flying(self) -> set[str]:
        """Keys of the slices on devices."""

    @abstractmethod
    def settle(self, device: str) -> None:
        """The core's record of a device changed."""

    @abstractmethod
    def start(self, command: StartSlice) -> None: ...

    @abstractmethod
    def cancel(self, command: CancelSlice) -> None: ...

    @abstractmethod
    def turned(self, window: Window) -> None:
        """A window was set, began, or is over."""

    @abstractmethod
    def ended(self, task: Task) -> None: ...
