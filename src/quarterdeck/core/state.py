"""All that is known, and how to take it up again from records."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappush
from typing import Any

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.core.accounts import Account, Usage
from quarterdeck.core.commands import Command
from quarterdeck.core.ledger import Ledger, Rules
from quarterdeck.core.nouns import Calendar, Device, Session, Slice, Task, Window
from quarterdeck.core.parked import Parked
from quarterdeck.core.policy import DeckPolicy, Policy
from quarterdeck.core.transition import InvalidTransition
from quarterdeck.core.windows import Timetable

Noun = Task | Slice | Session | Device | Window | Calendar | Account | Usage


class Step(msgspec.Struct):
    """What one event led to: entries for the log, commands for the drivers, and the records that changed."""

    events: list[ev.Event] = []
    commands: list[Command] = []
    tasks: dict[str, Task] = {}
    slices: dict[str, Slice] = {}
    sessions: dict[str, Session] = {}
    devices: dict[str, Device] = {}
    windows: dict[str, Window] = {}
    calendars: dict[str, Calendar] = {}
    notes: list[ev.NoteKept] = []
    accounts: dict[str, Account] = {}
    usage: dict[str, Usage] = {}


class State:
    """The records, by id. Ended tasks stay until `forget_ended`; nothing else is remembered of them after that."""

    def __init__(self, policy: Policy | None = None, rules: Rules | None = None) -> None:
        self.policy = policy if policy is not None else DeckPolicy()
        self.now_s = 0.0
        self.seq = 0
        self.tasks: dict[str, Task] = {}
        self.slices: dict[str, Slice] = {}
        self.sessions: dict[str, Session] = {}
        self.devices: dict[str, Device] = {}
        self.ledger = Ledger(rules or Rules(half_life_s=self.policy.settings.usage_half_life_s))
        self.parked = Parked()
        self.live: dict[str, int] = {}  # tasks that have not ended, by user
        self.timetable = Timetable()
        self.windows = self.timetable.windows
        self.calendars: dict[str, Calendar] = {}
        self._ended: list[Task] = []
        self._session_tasks: dict[str, dict[str, None]] = {}
        self._exclusive: dict[str, str] = {}
        self._idlers: dict[str, Session] = {}
        self._idle_alarms: set[str] = set()
        self._alarms: list[tuple[float, str, str]] = []
        self._due: dict[str, None] = {}
        self._step = Step()

    def exclusive(self, device: str) -> Session | None:
        """The exclusive session that holds the device."""
        return self.sessions.get(self._exclusive.get(device, ""))

    def free_decoders(self, device: Device) -> int:
        """Logical qubits of its real-time host that no session has reserved."""
        return max(0, device.decoders - sum(s.decoders for s in self.sessions.values() if s.device == device.id))

    def next_alarm_s(self) -> float | None:
        """When to send a `Tick` at the latest; None if nothing depends on time."""
        return self._alarms[0][0] if self._alarms else None

    def forget_ended(self) -> list[Task]:
        """Drop the ended tasks, and return them."""
        ended, self._ended = self._ended, []
        for task in ended:
            del self.tasks[task.id]
        return ended

    def nouns(self) -> Iterator[Noun]:
        """Everything live, as `restore` takes it."""
        yield from self.ledger.accounts.values()
        yield from self.ledger.usage.values()
        yield from (task for task in self.tasks.values() if not task.ended)
        for kind in (self.slices, self.sessions, self.devices, self.windows, self.calendars):
            yield from kind.values()

    def state(self) -> dict[str, Any]:
        """All live state as plain JSON values, for comparing two decks."""
        return {
            "seq": self.seq,
            "now_s": self.now_s,
            "tasks": {id: msgspec.to_builtins(task) for id, task in self.tasks.items() if not task.ended},
            "slices": msgspec.to_builtins(self.slices),
            "sessions": msgspec.to_builtins(self.sessions),
            "devices": msgspec.to_builtins(self.devices),
            "windows": msgspec.to_builtins(self.windows),
            "accounts": msgspec.to_builtins(self.ledger.accounts),
            "usage": {usage.id: msgspec.to_builtins(usage) for usage in self.ledger.usage.values()},
            "calendars": msgspec.to_builtins(self.calendars),
        }

    def _wait(self, task: Task) -> None:
        session = self.sessions.get(task.session)
        self.policy.add(task, session.id if session is not None and session.mode == "exclusive" else "")

    def _running(self, task: str, index: int) -> Slice:
        slice = self.slices.get(f"{task}/{index}")
        if slice is None:
            raise InvalidTransition("slice", f"{task}/{index}", "not in flight", "finished or failed")
        return slice

    def _alarm(self, at_s: float, kind: str, id: str) -> None:
        if at_s > self.now_s:
            heappush(self._alarms, (at_s, kind, id))
        elif kind == "device":
            if id in self.devices:
                self._due[id] = None
        else:
            heappush(self._alarms, (self.now_s, kind, id))

    def _touch_device(self, device: Device) -> None:
        self._step.devices[device.id] = device
        self._due[device.id] = None

    def _touch_session(self, session: Session) -> None:
        self._step.sessions[session.id] = session
        for device in session.eligible:
            if device in self.devices:
                self._due[device] = None

    def _touch_window(self, window: Window) -> None:
        self._step.windows[window.id] = window
        self._due[window.device] = None
