"""The deck: takes in an event, and decides what follows.

Whatever it decides is an event too, recorded beside the one that caused it, so a replay needs no policy.
"""

from __future__ import annotations

from heapq import heappop

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.core.books import Books, Step
from quarterdeck.core.commands import BeginWindow, CancelSlice, EndWindow, StartSlice
from quarterdeck.core.nouns import Device, Task
from quarterdeck.core.policy import Choice, Fifo, Moment, Policy
from quarterdeck.core.transition import TASK, InvalidTransition, check
from quarterdeck.errors import Conflict, NotFound


class Retry(msgspec.Struct, frozen=True):
    """How faults are met.

    A task fails after `faults` of its runs went wrong while the device finished slices in between, since then it is the
    task; or after `hopeless` of them in any case. Pauses double from `pause_s` to `longest_pause_s`; the device itself
    pauses from its `patience`-th fault in a row.
    """

    faults: int = 5
    hopeless: int = 20
    patience: int = 3
    pause_s: float = 1.0
    longest_pause_s: float = 60.0

    def pause(self, faults: int) -> float:
        """Seconds to pause after so many faults."""
        return min(self.longest_pause_s, self.pause_s * 2.0 ** min(faults - 1, 30))


class Deck(Books):
    """The state machine."""

    def __init__(self, policy: Policy | None = None, retry: Retry | None = None) -> None:
        super().__init__(policy)
        self.retry = retry if retry is not None else Retry()

    def handle(self, event: ev.Event) -> Step:
        """Take in what happened and decide what follows.

        Raises a `QuarterdeckError` for a request that cannot be granted and `InvalidTransition` for a report that
        cannot be true; the deck is then unchanged.
        """
        if event.at_s < self.now_s:  # the clock was set back: time stands still until it has caught up
            event = msgspec.structs.replace(event, at_s=self.now_s)
        self._check(event)
        step = self._step = Step()
        self._record(event)
        self._follow(event)
        self._pass_time()
        while self._due:
            self._serve(self.devices[self._due.popitem()[0]])
        return step

    # -- admission ------------------------------------------------------------------------------------------------

    def _check(self, event: ev.Event) -> None:
        """Refuse what must not happen, before anything changes."""
        match event:
            case ev.Submitted():
                for device in (event.device, *event.devices):
                    self._known(device)
                if event.task in self.tasks:
                    raise Conflict(f"task {event.task} exists already")
                if event.devices and (event.session or event.devices[0] != event.device):
                    raise Conflict("a task of a session runs on the session's device alone")
                if event.deadline_s and event.deadline_s <= max(event.at_s, self.now_s):
                    raise Conflict("the deadline is over already")
                if event.session:
                    session = self.sessions.get(event.session)
                    if session is None or session.user != event.user:
                        raise NotFound("open session", event.session)
                    if session.device != event.device:
                        raise Conflict(f"session {session.id} is on device {session.device}, not {event.device}")
            case ev.SessionOpened():
                self._known(event.device)
                if event.session in self.sessions:
                    raise Conflict(f"session {event.session} exists already")
                holder = self._exclusive.get(event.device)
                if event.mode == "exclusive" and holder:
                    raise Conflict(f"device {event.device} is held by another exclusive session")
            case ev.SessionRenewed() | ev.SessionClosed():
                if event.session not in self.sessions:
                    raise NotFound("open session", event.session)
            case ev.WindowSet():
                self._known(event.device)
                if event.window in self.windows:
                    raise Conflict(f"window {event.window} exists already")
                if not event.at_s < event.end_s or not event.start_s < event.end_s:
                    raise Conflict("a window must end after it starts, and not in the past")
            case ev.WindowCleared():
                if event.window not in self.windows:
                    raise NotFound("window", event.window)
            case ev.DeviceChanged() | ev.DeviceRetired() | ev.DevicePaused():
                if event.device not in self.devices:
                    raise NotFound("device", event.device)
            case ev.TaskImported():
                self._known(event.device)
                if event.task in self.tasks:
                    raise Conflict(f"task {event.task} exists already")
            case ev.SliceFinished() | ev.SliceFailed() | ev.SliceAccepted():
                slice = self._running(event.task, event.index)
                if isinstance(event, ev.SliceFinished) and not 0 <= event.shots <= slice.shots:
                    raise InvalidTransition("slice", slice.key, f"of {slice.shots} shots", f"one of {event.shots}")
            case ev.Cancelled():
                task = self.tasks.get(event.task)
                if task is None:
                    raise NotFound("task", event.task)
                check(TASK, "task", task.id, task.state, "cancelled" if task.state == "queued" else "cancelling")
            case _:
                pass

    def _known(self, device: str) -> Device:
        known = self.devices.get(device)
        if known is None or not known.declared:
            raise NotFound("device", device)
        return known

    # -- what follows ---------------------------------------------------------------------------------------------

    def _follow(self, event: ev.Event) -> None:
        """Decide what an event brings about beyond its own bookkeeping."""
        match event:
            case ev.SliceFailed(task=id, kind="rejected", code=code, message=message):
                if not self.tasks[id].ended:
                    self._record(ev.TaskFailed(at_s=self.now_s, task=id, code=code or "rejected", message=message))
            case ev.SliceFailed(kind="fault"):
                self._meet_fault(event)
            case ev.SessionOpened():
                self._alarm(self.sessions[event.session].expires_s, "session", event.session)
            case ev.SessionClosed():
                for id in list(self._session_tasks.get(event.session, ())):
                    if self.tasks[id].state == "queued":  # the slice that runs is let end
                        self._call_off(id, by=f"session {event.session} {event.reason}")
            case ev.Cancelled():
                self._stop(self.tasks[event.task])
            case ev.WindowCleared():
                window = self._step.windows[event.window]
                if window.began_s:
                    self._step.commands.append(EndWindow(device=window.device, window=window.id))
            case _:
                pass
        if isinstance(event, ev.SliceFinished | ev.SliceFailed):
            task = self.tasks[event.task]
            if task.state == "queued" and task.session and task.session not in self.sessions:
                self._call_off(task.id, by=f"session {task.session} closed")  # what is left of it
            self._keep_deadline(task)

    def _keep_deadline(self, task: Task) -> None:
        """What is not done by its deadline is of no use to anybody: it makes way."""
        if task.deadline_s and task.deadline_s <= self.now_s and task.state == "queued":
            said = f"its deadline passed with {task.remaining} of {task.shots} shots left"
            self._record(ev.TaskFailed(at_s=self.now_s, task=task.id, code="deadline_missed", message=said))

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

    def _pass_time(self) -> None:
        """Let everything happen whose time has come."""
        while self._alarms and self._alarms[0][0] <= self.now_s:
            _, kind, id = heappop(self._alarms)
            if kind == "device":
                self._due[id] = None
            elif kind == "task":
                if (task := self.tasks.get(id)) is not None:
                    self._keep_deadline(task)
            elif kind == "session" and (session := self.sessions.get(id)):
                if session.expires_s > self.now_s:
                    self._alarm(session.expires_s, "session", id)
                    continue
                closed = ev.SessionClosed(at_s=self.now_s, session=id, reason="expired")
                self._record(closed)
                self._follow(closed)
            elif kind == "window" and (window := self.windows.get(id)):
                if window.end_s <= self.now_s:
                    cleared = ev.WindowCleared(at_s=self.now_s, window=id)
                    self._record(cleared)
                    self._follow(cleared)
                elif window.state == "planned":
                    self._record(ev.WindowBegan(at_s=self.now_s, window=id))
                    self._step.commands.append(
                        BeginWindow(device=window.device, window=id, kind=window.kind, end_s=window.end_s)
                    )

    def _serve(self, device: Device) -> None:
        """Fill the device's free lanes."""
        while len(device.running) < device.lanes and self.blocked(device) is None:
            lane = self._exclusive.get(device.id, "")
            choice = self._choose(Moment(device, self.now_s, self.gap_s(device), lane))
            if choice is None:
                wake_s = self.policy.wake_s(device, lane)
                if wake_s is not None:
                    self._alarm(wake_s, "device", device.id)
                return  # a window's own alarm comes back here
            task, shots = choice.task, choice.shots
            started = ev.SliceStarted(
                at_s=self.now_s, task=task.id, index=task.slices, shots=shots,
                device="" if task.device == device.id else device.id,
                cause=choice.cause, rival=choice.rival, score=round(choice.score, 4),
            )  # fmt: skip
            self._record(started)
            start = StartSlice(
                device=device.id, key=f"{task.id}/{task.slices - 1}", task=task.id, index=task.slices - 1,
                program=task.program, parameters=task.parameters, shots=shots,
            )  # fmt: skip
            self._step.commands.append(start)

    def _choose(self, moment: Moment) -> Choice | None:
        """Ask the policy. One that raises is replaced by `fifo`, since a queue that stands still helps nobody."""
        try:
            return self.policy.pick(moment)
        except Exception as error:
            if isinstance(self.policy, Fifo):
                raise
            failed = f"{type(error).__name__}: {error}"[:500]
            self._record(ev.PolicyFailed(at_s=self.now_s, policy=self.policy.name, message=failed))
            self.policy = Fifo(self.policy.settings)
            self.policy.bind(self)
            for task in sorted(self.tasks.values(), key=lambda task: task.seq):
                if task.state == "queued":
                    self._wait(task)
            choice = self.policy.pick(moment)
            return msgspec.structs.replace(choice, cause="fallback") if choice is not None else None
