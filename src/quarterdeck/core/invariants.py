"""What must always hold. `validate` checks a deck, `Audit` a log, each without trusting the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from quarterdeck.core import events as ev
from quarterdeck.core.accounts import Account
from quarterdeck.core.budget_audit import BudgetAudit
from quarterdeck.core.deck import Deck
from quarterdeck.core.nouns import holds
from quarterdeck.core.waiting import why

ROUNDING_S = 1e-3
"""By so much a time may be off: it is a sum of others."""


class Broken(Exception):
    """An invariant does not hold. A defect of the core, or a damaged log."""


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


def _may_use(window: ev.WindowSet, task: ev.Submitted) -> bool:
    return window.kind == "reservation" and holds((window.user, window.project), task.user, task.project)


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
        _demand(deck.queued(device.id) == len(queued), f"the policy lost tasks of {device.id}")
        held = [s for s in deck.sessions.values() if s.device == device.id and s.mode == "exclusive"]
        _demand(len(held) <= 1, f"device {device.id} has {len(held)} exclusive sessions")
        other = [w.holder for w in deck.timetable.of(device.id) if w.kind == "reservation" and w.state == "on"]
        _demand(len(set(other)) <= 1, f"{device.id} is reserved for {other} at once")
        for session in held:
            taken = deck.timetable.foreign(
                device.id, session.user, session.project, deck.now_s, session.expires_s - ROUNDING_S
            )
            _demand(taken is None, f"the lease of exclusive session {session.id} reaches into somebody's reservation")
    live = Counter(task.user for task in deck.tasks.values() if not task.ended)
    _demand(deck.live == live, f"by user, {dict(live)} tasks are live, not {deck.live}")
    counted = {id: _promised(account) for id, account in deck.ledger.accounts.items()}
    deck.ledger.recount(deck.tasks, deck.slices, deck.devices)
    for id, account in deck.ledger.accounts.items():
        told = f"account {id or 'default'} counts {counted[id]}, its tasks and slices come to {_promised(account)}"
        _demand(counted[id] == _promised(account), told)
    for window in deck.windows.values():
        late_s = deck.now_s - (window.end_s if window.state == "on" else window.latest_s)
        _demand(late_s <= 0 or window.end_s == window.start_s, f"window {window.id} is {window.state} for {late_s} s")
    for session in deck.sessions.values():
        _demand(session.state == "open" and session.opened_s <= session.expires_s, f"session {session.id} is odd")


def _promised(account: Account) -> tuple[int, ...]:
    return account.held_us, account.held_shots, account.flights, account.flight_us, account.flight_shots


class Audit:
    """Reads a log and keeps its own books: no shot counted twice, nothing finished that did not start."""

    def __init__(self) -> None:
        self.shots: dict[str, int] = {}
        self.counted: dict[str, int] = {}
        self._flying: dict[str, tuple[int, str]] = {}
        self._ended: set[str] = set()
        self._cancelled: set[str] = set()
        self._exclusive: dict[str, str] = {}
        self._choices: dict[str, tuple[str, ...]] = {}
        self._task: dict[str, ev.Submitted] = {}
        self._where: dict[str, str] = {}
        self._took_s: dict[str, float] = {}
        self._devices: dict[str, ev.DeviceDeclared] = {}
        self._windows: dict[str, ev.WindowSet] = {}
        self._of_device: dict[str, dict[str, ev.WindowSet]] = {}
        self._on: set[str] = set()
        self._sessions: dict[str, ev.SessionOpened] = {}
        self._last_s = 0.0
        self._budgets = BudgetAudit()

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
                self._task[task], self._where[task] = event, event.device
                if event.devices:
                    self._choices[task] = event.devices
                self._budgets.submitted(event)
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
                if event.device:
                    _demand(event.device in self._choices.get(task, ()), f"slice {key} runs on {event.device}")
                    self._where[task] = event.device
                self._choices.pop(task, None)
                self._welcome(event)
                self._flying[key] = (shots, task)
                self._hold(self._budgets.started(event))
            case ev.SliceFinished(task=task, index=index, shots=done):
                shots, _ = self._take(task, index)
                _demand(0 <= done <= shots, f"slice {task}/{index} gave {done} of {shots} shots")
                self.counted[task] += done
                self._hold(self._budgets.ended(f"{task}/{index}", event.at_s, event.qpu_s, done))
                self._took_s[task] = self._took_s.get(task, 0.0) + max(0.0, event.qpu_s - event.setup_s)
            case ev.SliceFailed(task=task, index=index):
                self._take(task, index)
                self._hold(self._budgets.ended(f"{task}/{index}", event.at_s, event.qpu_s, 0))
            case ev.BudgetSet():
                self._budgets.set(event)
            case ev.ProjectRemoved(project=project):
                self._budgets.removed(project)
            case ev.Cancelled(task=task):
                self._cancelled.add(task)
            case ev.TaskFailed(task=task):
                _demand(task not in self._ended, f"task {task} ended twice")
                self._ended.add(task)
            case ev.DeviceDeclared(device=device):
                self._devices[device] = event
            case ev.WindowSet(window=window):
                _demand(window not in self._windows, f"window {window} set twice")
                self._windows[window] = event
                self._of_device.setdefault(event.device, {})[window] = event
            case ev.WindowBegan(window=window):
                _demand(event.at_s >= self._windows[window].start_s, f"window {window} began before its time")
                _demand(window not in self._on, f"window {window} began twice")
                self._on.add(window)
            case ev.WindowCleared(window=window):
                _demand(window in self._windows, f"window {window} was cleared twice")
                del self._of_device[self._windows.pop(window).device][window]
                self._on.discard(window)
            case ev.SessionOpened(session=session, device=device, mode=mode):
                self._sessions[session] = event
                if event.decoders:
                    taken = sum(one.decoders for one in self._sessions.values() if one.device == device)
                    known = self._devices.get(device)
                    _demand(known is not None and taken <= known.decoders, f"{device} has not {taken} decoders")
                if mode == "exclusive":
                    _demand(device not in self._exclusive, f"two exclusive sessions on {device}")
                    self._exclusive[device] = session
            case ev.SessionClosed(session=session):
                opened = self._sessions.pop(session)
                if opened.mode == "exclusive":
                    del self._exclusive[opened.device]
            case _:
                pass

    def _hold(self, wrong: str) -> None:
        _demand(not wrong, wrong)

    def _shot_s(self, task: ev.Submitted, device: str) -> float:
        """The least that a shot may have been thought to take. Set-ups and overhead are more than the log tells."""
        if self.counted[task.task]:
            return self._took_s[task.task] / self.counted[task.task]
        known = self._devices.get(device)
        return 1.0 / known.shot_rate_hz if known and known.shot_rate_hz and not task.estimate_s else 0.0

    def _welcome(self, event: ev.SliceStarted) -> None:
        """The slice may be there: by the exclusive session, the windows that are on and the hard ones ahead."""
        task = self._task[event.task]
        key, device = f"{event.task}/{event.index}", self._where[event.task]
        length_s = event.shots * self._shot_s(task, device)
        holder = self._sessions.get(self._exclusive.get(device, ""))
        if holder is not None and holder.session != task.session:
            _demand(holder.lend_s > 0, f"slice {key} disturbs exclusive session {holder.session}")
            _demand(length_s <= holder.lend_s + ROUNDING_S, f"slice {key} is longer than {holder.session} lends")
        for id, window in self._of_device.get(device, {}).items():
            if _may_use(window, task):
                continue
            _demand(id not in self._on, f"slice {key} started in window {id}")
            if window.hard or window.slack_s:
                latest_s = window.start_s + window.slack_s
                _demand(event.at_s + length_s <= latest_s + ROUNDING_S, f"slice {key} cannot end before window {id}")

    def _take(self, task: str, index: int) -> tuple[int, str]:
        found = self._flying.pop(f"{task}/{index}", None)
        _demand(found is not None, f"slice {task}/{index} ended without being in flight")
        assert found is not None
        return found
