"""What must always hold. `validate` checks a deck, `Audit` a log, each without trusting the other."""

from __future__ import annotations

from collections.abc import Iterable

from quarterdeck.core import events as ev
from quarterdeck.core.deck import Deck
from quarterdeck.core.waiting import why


class Broken(Exception):
    """An invariant does not hold. A defect of the core, or a damaged log."""


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


def validate(deck: Deck) -> None:
    """Raise `Broken` unless the deck is consistent. Costs O(everything): for tests and `qdeck replay`."""
    flying: dict[str, list[str]] = {}
    for key, slice in deck.slices.items():
        _demand(key == slice.key and slice.state == "running", f"slice {key} in flight is {slice.state}")
        flying.setdefault(slice.task, []).append(key)
        _demand(key in deck.devices[slice.device].running, f"slice {key} is unknown to its device")
    for task in deck.tasks.values():
        keys = flying.get(task.id, [])
        _demand(0 <= task.shots_done <= task.shots, f"task {task.id} counts {task.shots_done} of {task.shots} shots")
        _demand((task.state == "done") == (task.shots_done == task.shots), f"task {task.id}: done means all shots")
        _demand(len(keys) == (task.state in ("running", "cancelling")), f"task {task.id} is {task.state} with {keys}")
        planned = task.shots_done + sum(deck.slices[key].shots for key in keys)
        _demand(planned <= task.shots, f"task {task.id} would run {planned} of {task.shots} shots")
        _demand((task.ended_s > 0) == task.ended, f"task {task.id} is {task.state} and ended at {task.ended_s}")
        if not task.ended:
            waiting = why(deck, task)
            _demand(bool(waiting.detail), f"task {task.id} has no reason")
            _demand((waiting.position >= 0) == (task.state == "queued"), f"task {task.id} at {waiting.position}")
    for device in deck.devices.values():
        _demand(len(device.running) == len(set(device.running)) <= device.lanes, f"{device.id} runs {device.running}")
        _demand(all(key in deck.slices for key in device.running), f"{device.id} runs what is not in flight")
        queued = [task for task in deck.tasks.values() if device.id in task.eligible and task.state == "queued"]
        _demand(deck.policy.queued(device.id) == len(queued), f"the policy lost tasks of {device.id}")
        held = [s for s in deck.sessions.values() if s.device == device.id and s.mode == "exclusive"]
        _demand(len(held) <= 1, f"device {device.id} has {len(held)} exclusive sessions")
    for session in deck.sessions.values():
        _demand(session.state == "open" and session.opened_s <= session.expires_s, f"session {session.id} is odd")


class Audit:
    """Reads a log and keeps its own books: no shot counted twice, nothing finished that did not start."""

    def __init__(self) -> None:
        self.shots: dict[str, int] = {}
        self.counted: dict[str, int] = {}
        self._flying: dict[str, tuple[int, str]] = {}
        self._ended: set[str] = set()
        self._cancelled: set[str] = set()
        self._exclusive: dict[str, str] = {}
        self._session_device: dict[str, tuple[str, str]] = {}
        self._task: dict[str, tuple[str, str]] = {}
        self._choices: dict[str, tuple[str, ...]] = {}
        self._last_s = 0.0

    def read(self, events: Iterable[ev.Event]) -> None:
        """Take in more of the log. Raises `Broken` at the first entry that cannot be true."""
        for event in events:
            _demand(event.at_s >= self._last_s, f"time ran backwards at {event}")
            self._last_s = event.at_s
            self._entry(event)

    def _entry(self, event: ev.Event) -> None:
        match event:
            case ev.Submitted(task=task, shots=shots):
                _demand(task not in self.shots, f"task {task} submitted twice")
                self.shots[task], self.counted[task] = shots, 0
                self._task[task] = (event.device, event.session)
                if event.devices:
                    self._choices[task] = event.devices
            case ev.TaskImported(task=task, shots=shots, shots_done=done):
                _demand(task not in self.shots, f"task {task} imported twice")
                _demand(0 <= done <= shots, f"task {task} was imported with {done} of {shots} shots")
                self.shots[task], self.counted[task] = shots, done
                self._ended.add(task)
            case ev.SliceAccepted(task=task, index=index):
                _demand(f"{task}/{index}" in self._flying, f"slice {task}/{index} was accepted, but not in flight")
            case ev.SliceStarted(task=task, index=index, shots=shots):
                key = f"{task}/{index}"
                _demand(task in self.shots and key not in self._flying, f"slice {key} started out of order")
                _demand(task not in self._ended and task not in self._cancelled, f"slice {key} of an ended task")
                _demand(self.counted[task] + shots <= self.shots[task], f"slice {key} runs shots twice")
                device, session = self._task[task]
                if event.device:
                    _demand(event.device in self._choices.get(task, ()), f"slice {key} runs on {event.device}")
                    device = event.device
                    self._task[task] = (device, session)
                self._choices.pop(task, None)
                holder = self._exclusive.get(device)
                _demand(holder in (None, session), f"slice {key} disturbs exclusive session {holder}")
                self._flying[key] = (shots, task)
            case ev.SliceFinished(task=task, index=index, shots=done):
                shots, _ = self._take(task, index)
                _demand(0 <= done <= shots, f"slice {task}/{index} gave {done} of {shots} shots")
                self.counted[task] += done
            case ev.SliceFailed(task=task, index=index):
                self._take(task, index)
            case ev.Cancelled(task=task):
                self._cancelled.add(task)
            case ev.TaskFailed(task=task):
                _demand(task not in self._ended, f"task {task} ended twice")
                self._ended.add(task)
            case ev.SessionOpened(session=session, device=device, mode=mode):
                self._session_device[session] = (device, mode)
                if mode == "exclusive":
                    _demand(device not in self._exclusive, f"two exclusive sessions on {device}")
                    self._exclusive[device] = session
            case ev.SessionClosed(session=session):
                device, held = self._session_device.pop(session)
                if held == "exclusive":
                    del self._exclusive[device]
            case _:
                pass

    def _take(self, task: str, index: int) -> tuple[int, str]:
        found = self._flying.pop(f"{task}/{index}", None)
        _demand(found is not None, f"slice {task}/{index} ended without being in flight")
        assert found is not None
        return found
