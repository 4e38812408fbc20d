"""The deck: takes in an event, and decides what follows.

Whatever it decides is an event too, recorded beside the one that caused it, so a replay needs no policy.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.core import month as months
from quarterdeck.core.accounts import Account
from quarterdeck.core.admission import Admission
from quarterdeck.core.commands import CancelSlice, StartSlice
from quarterdeck.core.ledger import Rules
from quarterdeck.core.nouns import Device, Task
from quarterdeck.core.parked import Key
from quarterdeck.core.policy import Choice, Fifo, Moment, Policy
from quarterdeck.core.state import Step

PARKED_AT_ONCE = 200
"""Tasks that are set aside in one step, 10 to 30 ms; an account may have many when its budget runs out."""


class Retry(msgspec.Struct, frozen=True):
    """How faults are met.

    A task fails after `faults` of its runs went wrong while the device finished slices in between, since then it is the
    task; or after `hopeless` of them in any case. Pauses double from `pause_s` to `longest_pause_s`; the device itself
    pauses from its `patience`-th fault in a row. After `losses` slices in a row that occupied the device and were lost,
    each half as long as the one before, the task fails: what it needs does not fit anywhere.
    """

    faults: int = 5
    hopeless: int = 20
    patience: int = 3
    losses: int = 30
    pause_s: float = 1.0
    longest_pause_s: float = 60.0

    def pause(self, faults: int) -> float:
        """Seconds to pause after so many faults."""
        return min(self.longest_pause_s, self.pause_s * 2.0 ** min(faults - 1, 30))


class Deck(Admission):
    """The state machine."""

    def __init__(self, policy: Policy | None = None, retry: Retry | None = None, rules: Rules | None = None) -> None:
        super().__init__(policy, rules)
        self.retry = retry if retry is not None else Retry()
        self.policy_failure = ""

    def twin(self, policy: Policy) -> Deck:
        """A deck in the same state, with copies of every record; what its policy learned is left behind."""
        twin = Deck(policy, self.retry, self.ledger.rules)
        twin.restore((msgspec.structs.replace(noun) for noun in self.nouns()), now_s=self.now_s, seq=self.seq)
        for device in twin.devices.values():
            device.running = [*device.running]
        return twin

    def handle(self, event: ev.Event) -> Step:
        """Take in what happened and decide what follows.

        Raises a `QuarterdeckError` for a request that cannot be granted and `InvalidTransition` for a report that
        cannot be true; the deck is then unchanged.
        """
        if event.at_s < self.now_s:  # the clock was set back: time stands still until it has caught up
            event = msgspec.structs.replace(event, at_s=self.now_s)
        self._check(event)
        if type(event) is ev.SessionRenewed:
            event = self._renewal(event)
        step = self._step = Step()
        self._record(event)
        self._follow(event)
        if self._alarms and self._alarms[0][0] <= self.now_s:
            self._pass_time()
        due = self._due
        while due:
            if len(due) == 1:
                best, _ = due.popitem()
            else:
                del due[best := max(due, key=self._rank)]
            device = self.devices[best]
            if len(device.running) < device.lanes and self.wanted(best):
                self._serve(device)
            if not device.running:
                self._begin_idle(device)
        return step

    def _rank(self, id: str) -> tuple[float, float]:
        """Better devices are served first, so that who has a choice gets the best one that is free."""
        device = self.devices[id]
        return (device.quality, device.shot_rate_hz)

    # -- what follows ---------------------------------------------------------------------------------------------

    def _follow(self, event: ev.Event) -> None:
        """Decide what an event brings about beyond its own bookkeeping."""
        match event:
            case ev.Submitted():
                pass
            case ev.SliceFinished():
                self._slice_over(self.tasks[event.task])
            case ev.SliceFailed():
                self._meet_failure(event)
                self._slice_over(self.tasks[event.task])
            case ev.SessionOpened():
                self._alarm(self.sessions[event.session].expires_s, "session", event.session)
            case ev.SessionClosed():
                for id in list(self._session_tasks.get(event.session, ())):
                    if self.tasks[id].state == "queued":  # the slice that runs is let end
                        self._call_off(id, by=f"session {event.session} {event.reason}")
            case ev.Cancelled():
                self._stop(self.tasks[event.task])
            case ev.WindowCleared():
                self._end_window(self._step.windows[event.window])
            case ev.BudgetSet():
                for account in list(self._step.accounts):
                    self._unpark_all(account)
            case ev.CalendarSet():
                self._plan(event.calendar)
            case ev.CalendarCleared():
                self._unplan(self._step.calendars[event.calendar])
            case _:
                pass

    def _slice_over(self, task: Task) -> None:
        if self.ledger.limited:
            for payer in self.ledger.payers(task.project, task.user):
                self._unpark_heads(payer)
        if task.state == "queued" and task.session and task.session not in self.sessions:
            self._call_off(task.id, by=f"session {task.session} closed")  # what is left of it
        if task.deadline_s:
            self._keep_deadline(task)

    def _meet_failure(self, event: ev.SliceFailed) -> None:
        task = self.tasks[event.task]
        if event.kind == "fault":
            self._meet_fault(event)
        elif event.kind == "rejected" and not task.ended:
            code = event.code or "rejected"
            self._record(ev.TaskFailed(at_s=self.now_s, task=task.id, code=code, message=event.message))
        elif event.kind == "lost" and task.losses >= self.retry.losses and not task.ended:
            told = f"{task.losses} slices in a row were lost on the device, the last of few shots"
            self._record(ev.TaskFailed(at_s=self.now_s, task=task.id, code="lost", message=told))

    def _meet_fault(self, event: ev.SliceFailed) -> None:
        task = self.tasks[event.task]
        device = self.devices[task.device]
        if device.faults >= self.retry.patience:
            pause_s = self.retry.pause(device.faults - self.retry.patience + 1)
            self._record(ev.DevicePaused(at_s=self.now_s, device=device.id, until_s=self.now_s + pause_s))
        if task.ended:
            return
        proven = device.finished > task.successes_seen
        if task.faults >= (self.retry.faults if proven else self.retry.hopeless):
            said = f"{task.faults} runs went wrong; the last one: {event.message or event.code or 'no reason given'}"
            self._record(ev.TaskFailed(at_s=self.now_s, task=task.id, code=event.code or "fault", message=said))
        else:
            until_s = self.now_s + self.retry.pause(task.faults)
            self._record(ev.TaskPaused(at_s=self.now_s, task=task.id, until_s=until_s))

    def _call_off(self, id: str, by: str) -> None:
        task = self.tasks[id]
        if task.state in ("queued", "running"):
            self._record(ev.Cancelled(at_s=self.now_s, task=id, by=by))
            self._stop(task)

    def _stop(self, task: Task) -> None:
        if task.state == "cancelling":
            self._step.commands.append(CancelSlice(device=task.device, key=f"{task.id}/{task.slices - 1}"))

    def _serve(self, device: Device) -> None:
        """Fill the device's free lanes."""
        denied: set[str] = set()
        while len(device.running) < device.lanes and (found := self._find(device, denied)) is not None:
            choice, moment = found
            task, shots, index = choice.task, choice.shots, choice.task.slices
            cause = "exclusive" if moment.lane else "reservation" if moment.holder else choice.cause
            started = ev.SliceStarted(
                at_s=self.now_s, task=task.id, index=index, shots=shots,
                device="" if task.device == device.id else device.id,
                cause=cause, rival=choice.rival, score=round(choice.score, 4),
                bound_s=self.bound_s(task, shots, device),
            )  # fmt: skip
            self._record(started)
            start = StartSlice(
                device=device.id, key=f"{task.id}/{index}", task=task.id, index=index,
                program=task.program, parameters=task.parameters, shots=shots,
            )  # fmt: skip
            self._step.commands.append(start)

    def _find(self, device: Device, denied: set[str]) -> tuple[Choice, Moment] | None:
        """What comes next, of all that the device may serve now. `denied`: tasks whose accounts could not pay."""
        for moment in self.offers(device):
            while (choice := self._choose(moment)) is not None or self._unpark_at(moment, denied):
                if choice is None:
                    continue
                payer = self.payer_against(choice.task, choice.shots, device)
                if payer is None:
                    return choice, moment
                denied.add(choice.task.id)
                self._park(choice.task, payer)
                if len(denied) >= PARKED_AT_ONCE:  # the rest in a moment, so that nobody else has to wait for it
                    self._alarm(self.now_s + 0.001, "device", device.id)
                    return None
            if (wake_s := self.policy.wake_s(device, moment.lane)) is not None:
                self._alarm(wake_s, "device", device.id)
        return None  # a window's own alarm comes back here

    def _choose(self, moment: Moment) -> Choice | None:
        """Ask the policy. One that raises is replaced by `fifo`, since a queue that stands still helps nobody."""
        try:
            return self.policy.pick(moment)
        except Exception as error:
            if isinstance(self.policy, Fifo):
                raise
            failed = f"{type(error).__name__}: {error}"[:500]
            self.policy_failure = failed
            self._record(ev.PolicyFailed(at_s=self.now_s, policy=self.policy.name, message=failed))
            self.policy = Fifo(self.policy.settings)
            self.policy.bind(self)
            for task in sorted(self.tasks.values(), key=lambda task: task.seq):
                if task.state == "queued" and task.id not in self.parked:
                    self._wait(task)
            choice = self.policy.pick(moment)
            return msgspec.structs.replace(choice, cause="fallback") if choice is not None else None

    # -- budgets --------------------------------------------------------------------------------------------------

    def _park(self, task: Task, payer: Account) -> None:
        """Take a task whose account cannot pay now out of the policy, so that it is in nobody's way."""
        self._leave(task)
        self._park_under(task, payer)

    def _park_under(self, task: Task, payer: Account) -> None:
        session = self.sessions.get(task.session)
        self.parked.add(task, payer.id, task.session if session is not None and session.mode == "exclusive" else "")
        if payer.period == "month" and payer.exhausted(self.now_s):
            self._alarm(months.start_s(months.month_of(self.now_s) + 1), "account", payer.id)

    def _unpark(self, task: Task) -> None:
        self.parked.remove(task)
        self._wait(task)
        for device in task.eligible:
            self._due[device] = None

    def _unpark_all(self, id: str) -> None:
        """The account can pay again: its tasks compete as before."""
        account = self.ledger.accounts.get(id)
        if account is None or not account.exhausted(self.now_s):
            for task in self.parked.all_of(id):
                self._unpark(task)

    def _unpark_heads(self, payer: Account) -> None:
        """Something of the account ended, so perhaps something may start: one task of each line, to keep this short."""
        if not payer.exhausted(self.now_s):
            for key in self.parked.lines(payer.id):
                self._unpark_one(key)

    def _unpark_at(self, moment: Moment, denied: Collection[str]) -> bool:
        """Nothing else is there to run: let one task compete that its account can pay for, if not denied just now."""
        return any(self._unpark_one(key, denied, moment) for key in self.parked.at(moment.device.id, moment.lane))

    def _unpark_one(self, key: Key, denied: Collection[str] = (), moment: Moment | None = None) -> bool:
        while (task := self.parked.head(key)) is not None and task.id not in denied:
            device = self.devices[key[1]]
            if moment is not None and not moment.admits(task):
                return False
            shots = self.fitting_shots(device, task) if moment is None else self.fit(device, task, moment.gap_s)
            if not shots:
                return False
            payer = self.payer_against(task, shots, device)
            if payer is None:
                self._unpark(task)
                return True
            if payer.id == key[0]:
                return False
            self.parked.remove(task)  # it waits for another account now
            self._park_under(task, payer)
        return False
