"""The books: all that is known, and how each event changes it. Bookkeeping and nothing else.

A log therefore replays to the same state whatever the policy was when it was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from quarterdeck.core import events as ev
from quarterdeck.core.accounts import Account, Usage
from quarterdeck.core.habits import Habits
from quarterdeck.core.nouns import Calendar, Device, Session, Slice, Task, Window
from quarterdeck.core.policy import slicing
from quarterdeck.core.reads import chain_s
from quarterdeck.core.state import Noun, Step
from quarterdeck.core.transition import SESSION, TASK, WINDOW, InvalidTransition, check


class Books(Habits):
    """How each event changes the state."""

    def apply(self, event: ev.Event) -> Step:
        """Take in an entry of the log, deciding nothing."""
        self._step = Step()
        self._record(event)
        self._due.clear()
        return self._step

    def _record(self, event: ev.Event) -> None:
        if event.at_s > self.now_s:
            self.now_s = event.at_s
        kind = type(event)
        _APPLY[kind](self, event)
        if kind is not ev.Tick:
            self._step.events.append(event)

    def _DeviceDeclared(self, event: ev.DeviceDeclared) -> None:
        device = self.devices.get(event.device)
        if device is None:
            device = self.devices[event.device] = Device(id=event.device)
        device.declared = True
        if device.status != "maintenance":  # that lasts until an administrator ends it
            device.status, device.reason = "offline", "starting"
        device.lanes, device.slice_shots = event.lanes, event.slice_shots
        before = (device.shot_rate_hz, device.setup_s)
        device.shot_rate_hz, device.setup_s = event.shot_rate_hz, event.setup_s
        if before != (device.shot_rate_hz, device.setup_s):  # what is held for its tasks is another estimate now
            self.ledger.recount(self.tasks, self.slices, self.devices)
        device.emulated = event.emulated
        if event.overhead_s or not device.overheads:  # what was measured outlasts a restart
            device.overhead_s = event.overhead_s
        device.modality, device.qubits, device.decoders = event.modality, event.qubits, event.decoders
        self._touch_device(device)
        self._idle_clocks(device.id)

    def _DeviceRetired(self, event: ev.DeviceRetired) -> None:
        device = self.devices[event.device]
        device.declared, device.status, device.reason = False, "offline", "not in the daemon's configuration"
        self._touch_device(device)
        self._idle_clocks(device.id)

    def _DeviceChanged(self, event: ev.DeviceChanged) -> None:
        device = self.devices[event.device]
        device.status, device.reason = event.status, event.reason
        if event.status != "online":
            device.register = ""
        if event.quality is not None:
            device.quality = event.quality
        if event.status == "online":
            device.faults, device.not_before_s = 0, 0.0
        self._touch_device(device)
        self._idle_clocks(device.id)

    def _DevicePaused(self, event: ev.DevicePaused) -> None:
        device = self.devices[event.device]
        device.not_before_s = event.until_s
        self._alarm(event.until_s, "device", device.id)
        self._touch_device(device)

    def _WindowSet(self, event: ev.WindowSet) -> None:
        window = Window(
            id=event.window, device=event.device, kind=event.kind, start_s=event.start_s, end_s=event.end_s,
            hard=event.hard, reason=event.reason, slack_s=event.slack_s, user=event.user, project=event.project,
            calendar=event.calendar,
        )  # fmt: skip
        self.timetable.add(window)
        self._window_alarms(window)
        self._touch_window(window)
        if (calendar := self.calendars.get(event.calendar)) is not None:
            calendar.planned_s = event.start_s
            self._step.calendars[calendar.id] = calendar

    def _WindowBegan(self, event: ev.WindowBegan) -> None:
        window = self.windows[event.window]
        check(WINDOW, "window", window.id, window.state, "on")
        self.timetable.begin(window)
        window.state, window.began_s, window.end_s = "on", event.at_s, event.end_s or window.end_s
        if window.kind != "reservation":
            self.devices[window.device].register = ""
            self._step.devices[window.device] = self.devices[window.device]
        self._window_alarms(window)
        self._touch_window(window)
        self._idle_clocks(window.device)

    def _WindowCleared(self, event: ev.WindowCleared) -> None:
        window = self.windows[event.window]
        check(WINDOW, "window", window.id, window.state, "over")
        self.timetable.remove(window)
        window.state = "over"
        self._touch_window(window)
        self._idle_clocks(window.device)

    def _CalendarSet(self, event: ev.CalendarSet) -> None:
        self.calendars[event.calendar] = self._step.calendars[event.calendar] = Calendar(
            id=event.calendar, device=event.device, kind=event.kind, rule=event.rule, start_s=event.start_s,
            duration_s=event.duration_s, zone=event.zone, hard=event.hard, slack_s=event.slack_s, user=event.user,
            project=event.project, reason=event.reason,
        )  # fmt: skip

    def _CalendarCleared(self, event: ev.CalendarCleared) -> None:
        calendar = self.calendars.pop(event.calendar)
        calendar.state = "cleared"
        self._step.calendars[calendar.id] = calendar

    def _SessionOpened(self, event: ev.SessionOpened) -> None:
        session = self.sessions[event.session] = Session(
            id=event.session, user=event.user, device=event.device, ttl_s=event.ttl_s, mode=event.mode,
            class_=event.class_, project=event.project, job=event.job, token=event.token,
            opened_s=event.at_s, expires_s=event.at_s + event.ttl_s, idle_from_s=event.at_s, began_s=event.at_s,
            idle_s=event.idle_s, lend_s=event.lend_s, devices=event.devices,
            decoders=event.decoders,
        )  # fmt: skip
        account = self.ledger.accounts.get(f"{session.project}/{session.user}")
        if account is not None and account.loose_s:
            session.attained_s, waited_s = account.loose(event.at_s, chain_s(self.devices[session.device]))
            account.loose_s = account.loose_waited_s = 0.0
            session.began_s -= session.attained_s + waited_s
            self._step.accounts[account.id] = account
        if session.mode == "exclusive":
            self._exclusive[session.device] = session.id
        if session.idle_s:
            self._idlers[session.id] = session
            self._idle_clock(session)
        self._touch_session(session)

    def _SessionRenewed(self, event: ev.SessionRenewed) -> None:
        session = self.sessions[event.session]
        session.expires_s = event.expires_s or event.at_s + session.ttl_s
        self._touch_session(session)

    def _SessionClosed(self, event: ev.SessionClosed) -> None:
        session = self.sessions.pop(event.session)
        check(SESSION, "session", session.id, session.state, "closed")
        session.state, session.reason, session.closed_s = "closed", event.reason, event.at_s
        if session.attained_s:
            self._leave_loose(session, event.at_s)
        if self._exclusive.get(session.device) == session.id:
            del self._exclusive[session.device]
        self._idlers.pop(session.id, None)
        self._touch_session(session)

    def _Submitted(self, event: ev.Submitted) -> None:
        self.seq += 1
        task = self.tasks[event.task] = Task(
            id=event.task, seq=self.seq, user=event.user, device=event.device, program=event.program,
            shots=event.shots, parameters=event.parameters, session=event.session, project=event.project,
            job=event.job, name=event.name, class_=event.class_, submitted_s=event.at_s, devices=event.devices,
            register=event.register, estimate_s=event.estimate_s, deadline_s=event.deadline_s,
            min_quality=event.min_quality,
        )  # fmt: skip
        if (session := self.sessions.get(task.session)) is not None:
            mates = self._session_tasks.setdefault(session.id, {})
            if not mates:
                session.attained_s += event.at_s - session.idle_from_s  # it thought
                self._step.sessions[session.id] = session
            mates[task.id] = None
            if session.idle_s:
                self._idle_clock(session)
        if task.deadline_s:
            self._alarm(task.deadline_s, "task", task.id)
        self.live[task.user] = self.live.get(task.user, 0) + 1
        if self.ledger.limited:
            self.ledger.hold(task, self.devices[task.device], task.shots)
        self._wait(task)
        self._step.tasks[task.id] = task
        self._due[task.device] = None
        for device in task.devices:
            self._due[device] = None

    def _TaskImported(self, event: ev.TaskImported) -> None:
        self.seq = max(self.seq + 1, event.number)
        task = self.tasks[event.task] = Task(
            id=event.task, seq=self.seq, user=event.user, device=event.device, program=event.program,
            shots=event.shots, job=event.job, name=event.name, state=event.state, submitted_s=event.submitted_s,
            started_s=event.started_s, ended_s=event.ended_s, slices=1 if event.result else 0,
            shots_done=event.shots_done, error_code=event.error_code, error_message=event.error_message,
        )  # fmt: skip
        if event.result:
            self._step.slices[f"{task.id}/0"] = Slice(
                task=task.id, index=0, device=task.device, shots=task.shots, state="finished",
                shots_done=task.shots_done, started_s=task.started_s, ended_s=task.ended_s,
            )  # fmt: skip
        self._ended.append(task)
        self._step.tasks[task.id] = task

    def _NoteKept(self, event: ev.NoteKept) -> None:
        self._step.notes.append(event)

    def _Cancelled(self, event: ev.Cancelled) -> None:
        task = self.tasks[event.task]
        if task.state == "queued":
            self._end(task, "cancelled", event.at_s)
        else:
            self._move(task, "cancelling")

    def _SliceStarted(self, event: ev.SliceStarted) -> None:
        task = self.tasks[event.task]
        if event.index != task.slices or not 0 < event.shots <= task.remaining:
            raise InvalidTransition("task", task.id, f"at slice {task.slices}", f"at slice {event.index}")
        self._move(task, "running")
        task.slices += 1
        task.started_s = task.started_s or event.at_s
        if event.device:
            self.ledger.hold(task, self.devices[task.device], task.remaining, -1)
            task.device = event.device
            self.ledger.hold(task, self.devices[task.device], task.remaining)
        task.devices = ()
        device = self.devices[task.device]
        setup_s = slicing.setup_s(task, device)
        if device.lanes > 1 or not task.register:
            device.register = ""
        elif device.register != task.register:
            device.register, device.register_s = task.register, event.at_s
        slice = Slice(
            task=task.id, index=event.index, device=device.id, shots=event.shots, started_s=event.at_s,
            after=device.last_handle, setup_s=setup_s, bound_s=event.bound_s,
        )  # fmt: skip
        key = slice.key
        self.slices[key] = self._step.slices[key] = slice
        if self.ledger.limited:
            self.ledger.fly(task, slice, 1)
        device.running.append(key)
        self._touch_device(device)

    def _SliceAccepted(self, event: ev.SliceAccepted) -> None:
        slice = self._running(event.task, event.index)
        slice.handle = event.handle
        device = self.devices[slice.device]
        device.last_handle = event.handle
        self._step.slices[slice.key] = slice
        self._step.devices[device.id] = device

    def _SliceFinished(self, event: ev.SliceFinished) -> None:
        slice = self._running(event.task, event.index)
        slice.state, slice.ended_s, slice.shots_done = "finished", event.at_s, event.shots
        task, device = self._take_back(slice, event.qpu_s, event.setup_s, event.shots)
        device.finished += 1
        device.faults, device.not_before_s = 0, 0.0
        task.shots_done += event.shots
        task.setup_s += event.setup_s
        task.losses = 0
        if event.qpu_s:
            self._learn_overhead(device, event.at_s - slice.started_s - event.qpu_s)
        if task.shots_done == task.shots:
            self._end(task, "done", event.at_s)
        elif task.state == "cancelling":
            self._end(task, "cancelled", event.at_s)
        else:
            self._move(task, "queued")

    def _SliceFailed(self, event: ev.SliceFailed) -> None:
        slice = self._running(event.task, event.index)
        slice.state, slice.ended_s, slice.error = "failed", event.at_s, event.message or event.kind
        task, device = self._take_back(slice, event.qpu_s)
        if event.kind == "fault":
            device.faults += 1
            task.faults += 1
            if task.faults == 1:
                task.successes_seen = device.finished
        if event.kind == "lost" and event.qpu_s:
            task.losses += 1
        if task.state == "cancelling":
            self._end(task, "cancelled", event.at_s)
        else:
            self._move(task, "queued")

    def _TaskPaused(self, event: ev.TaskPaused) -> None:
        task = self.tasks[event.task]
        self._leave(task)
        task.not_before_s = event.until_s
        self._wait(task)
        self._alarm(event.until_s, "device", task.device)
        task.version += 1
        self._step.tasks[task.id] = task

    def _TaskFailed(self, event: ev.TaskFailed) -> None:
        task = self.tasks[event.task]
        task.error_code, task.error_message = event.code, event.message
        self._end(task, "failed", event.at_s)

    def _PolicyFailed(self, event: ev.PolicyFailed) -> None:
        pass

    def _Tick(self, event: ev.Tick) -> None:
        pass

    def _ProjectSet(self, event: ev.ProjectSet) -> None:
        account = self.ledger.account(event.project)
        account.declared, account.share, account.members = True, event.share, event.members
        account.classes = event.classes
        self.ledger.index()
        self._step.accounts[account.id] = account

    def _ProjectRemoved(self, event: ev.ProjectRemoved) -> None:
        self._step.accounts.update((account.id, account) for account in self.ledger.remove(event.project))

    def _BudgetSet(self, event: ev.BudgetSet) -> None:
        account = self.ledger.account(event.project, event.user)
        account.budget_qpu_s, account.budget_shots, account.period = event.qpu_s, event.shots, event.period
        if event.reset:
            account.spent_qpu_s = account.month_qpu_s = 0.0
            account.spent_shots = account.month_shots = 0
        self.ledger.recount(self.tasks, self.slices, self.devices, account)
        self._step.accounts[account.id] = account

    def restore(self, nouns: Iterable[Noun], now_s: float, seq: int) -> None:
        """Fill an empty deck with what a store kept: live tasks, slices in flight, open sessions, the rest.

        The same state as after replaying the whole log, ended tasks aside.
        """
        self.now_s, self.seq = now_s, seq
        nouns = list(nouns)
        for noun in nouns:
            match noun:
                case Device():
                    self.devices[noun.id] = noun
                case Session():
                    self.sessions[noun.id] = noun
                    self._alarm(noun.expires_s, "session", noun.id)
                    if noun.mode == "exclusive":
                        self._exclusive[noun.device] = noun.id
                    if noun.idle_s:
                        self._idlers[noun.id] = noun
                        self._idle_alarm(noun)
                case Window():
                    self.timetable.add(noun)
                    self._window_alarms(noun)
                case Calendar():
                    self.calendars[noun.id] = noun
                case Slice():
                    self.slices[noun.key] = noun
                case Task():
                    self.tasks[noun.id] = noun
                    self.live[noun.user] = self.live.get(noun.user, 0) + 1
        self.ledger.restore(noun for noun in nouns if isinstance(noun, Account | Usage))
        self.ledger.recount(self.tasks, self.slices, self.devices)
        for task in sorted(self.tasks.values(), key=lambda task: task.seq):
            if task.deadline_s:
                self._alarm(task.deadline_s, "task", task.id)
            if task.session:
                self._session_tasks.setdefault(task.session, {})[task.id] = None
            if task.state == "queued":
                self._wait(task)
                if task.not_before_s:
                    self._alarm(task.not_before_s, "device", task.device)
        for device in self.devices.values():
            self._alarm(device.not_before_s, "device", device.id)

    def _window_alarms(self, window: Window) -> None:
        if window.state == "on":
            self._alarm(window.end_s, "window", window.id)
            return
        self._alarm(window.start_s, "window", window.id)
        if window.slack_s:
            self._alarm(window.latest_s, "window", window.id)

    def _move(self, task: Task, to: str) -> None:
        before = task.state
        if to not in TASK[before]:
            raise InvalidTransition("task", task.id, before, to)
        if before == "queued":
            self._leave(task)
        task.state = to  # type: ignore[assignment]  # the table has only its states
        if to == "queued":
            self._wait(task)
        task.version += 1
        self._step.tasks[task.id] = task

    def _end(self, task: Task, to: str, at_s: float) -> None:
        self._move(task, to)
        task.ended_s = at_s
        if self.ledger.limited:
            self.ledger.hold(task, self.devices[task.device], task.remaining, -1)
        left = self.live[task.user] = self.live[task.user] - 1
        if not left:
            del self.live[task.user]
        self._ended.append(task)
        if to == "done":
            self._learn_size(task)
        mates = self._session_tasks.get(task.session)
        if mates is not None:
            mates.pop(task.id, None)
            if not mates:
                del self._session_tasks[task.session]
                if (session := self.sessions.get(task.session)) is not None:
                    session.idle_from_s = at_s
                    self._step.sessions[session.id] = session
                    if session.idle_s:
                        self._idle_clock(session)
        self._due[task.device] = None
        for device in task.devices:
            self._due[device] = None

    def _leave(self, task: Task) -> None:
        if task.id in self.parked:
            self.parked.remove(task)
        else:
            self.policy.remove(task)

    def _settle(self, task: Task, slice: Slice, device: Device, qpu_s: float, setup_s: float, shots: int) -> None:
        if self.ledger.limited:
            self.ledger.fly(task, slice, -1)
            self.ledger.hold(task, device, task.remaining, -1)
            self.ledger.hold(task, device, task.remaining - shots)
        step = self._step
        accounts, usage = self.ledger.settle(task, slice, qpu_s, setup_s, shots)
        for account in accounts:
            step.accounts[account.id] = account
        for entry in usage:
            step.usage[entry.id] = entry

    def _take_back(
        self, slice: Slice, qpu_s: float, setup_s: float = 0.0, shots: int = 0
    ) -> tuple[Task, Device]:  # fmt: skip
        """The slice is over: free its lane and charge it; `task` still counts its shots as to be run."""
        key = slice.key
        del self.slices[key]
        task, device = self.tasks[slice.task], self.devices[slice.device]
        task.qpu_s += qpu_s
        device.running.remove(key)
        seconds = self.now_s - slice.started_s
        if (session := self.sessions.get(task.session)) is not None:
            session.attained_s += seconds
            self._step.sessions[session.id] = session
        else:
            account = self.ledger.account(task.project, task.user)
            account.loose_s = account.loose(self.now_s, chain_s(device))[0] + seconds
            account.loose_at_s = self.now_s
            self._step.accounts[account.id] = account
        self._settle(task, slice, device, qpu_s, setup_s, shots)
        self.policy.served(device, task, seconds)
        self._step.slices[key] = slice
        self._touch_device(device)
        return task, device


_APPLY: dict[type[ev.Event], Callable[[Books, Any], None]] = {
    kind: getattr(Books, f"_{kind.__name__}") for kind in ev.EVENTS
}
