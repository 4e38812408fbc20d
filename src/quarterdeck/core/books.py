"""The books: all that is known, and how each event changes it. Bookkeeping and nothing else.

A log therefore replays to the same state whatever the policy was when it was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappush
from itertools import pairwise
from math import inf, log
from typing import Any

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.core.commands import Command
from quarterdeck.core.nouns import Device, Session, Slice, Task, Window
from quarterdeck.core.policy import DeckPolicy, Policy, slicing
from quarterdeck.core.transition import SESSION, TASK, WINDOW, InvalidTransition, check


class Step(msgspec.Struct):
    """What one event led to: entries for the log, commands for the drivers, and the records that changed."""

    events: list[ev.Event] = []
    commands: list[Command] = []
    tasks: dict[str, Task] = {}
    slices: dict[str, Slice] = {}
    sessions: dict[str, Session] = {}
    devices: dict[str, Device] = {}
    windows: dict[str, Window] = {}
    notes: list[ev.NoteKept] = []


class Books:
    """The state. Ended tasks stay until `forget_ended`; nothing else about them is remembered after that."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy if policy is not None else DeckPolicy()
        self.policy.bind(self)
        self.now_s = 0.0
        self.seq = 0
        self.tasks: dict[str, Task] = {}
        self.slices: dict[str, Slice] = {}
        self.sessions: dict[str, Session] = {}
        self.devices: dict[str, Device] = {}
        self.windows: dict[str, Window] = {}
        self._ended: list[str] = []
        self._session_tasks: dict[str, dict[str, None]] = {}
        self._exclusive: dict[str, str] = {}
        self._alarms: list[tuple[float, str, str]] = []
        self._due: dict[str, None] = {}
        self._step = Step()
        self._apply: dict[type[ev.Event], Callable[[Any], None]] = {
            kind: getattr(self, f"_{kind.__name__}") for kind in ev.EVENTS
        }

    def apply(self, event: ev.Event) -> Step:
        """Take in an entry of the log, deciding nothing."""
        self._step = Step()
        self._record(event)
        self._due.clear()
        return self._step

    def _record(self, event: ev.Event) -> None:
        self.now_s = max(self.now_s, event.at_s)
        self._apply[type(event)](event)
        if type(event) is not ev.Tick:
            self._step.events.append(event)

    # -- bookkeeping: one method per event ------------------------------------------------------------------------

    def _DeviceDeclared(self, event: ev.DeviceDeclared) -> None:
        device = self.devices.get(event.device)
        if device is None:
            device = self.devices[event.device] = Device(id=event.device)
        device.declared = True
        if device.status != "maintenance":  # that lasts until an administrator ends it
            device.status, device.reason = "offline", "starting"
        device.lanes, device.slice_shots = event.lanes, event.slice_shots
        device.shot_rate_hz, device.setup_s = event.shot_rate_hz, event.setup_s
        device.emulated, device.overhead_s = event.emulated, event.overhead_s
        device.modality, device.qubits = event.modality, event.qubits
        self._touch_device(device)

    def _DeviceRetired(self, event: ev.DeviceRetired) -> None:
        device = self.devices[event.device]
        device.declared, device.status, device.reason = False, "offline", "not in the daemon's configuration"
        self._touch_device(device)

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

    def _DevicePaused(self, event: ev.DevicePaused) -> None:
        device = self.devices[event.device]
        device.not_before_s = event.until_s
        self._alarm(event.until_s, "device", device.id)
        self._touch_device(device)

    def _WindowSet(self, event: ev.WindowSet) -> None:
        window = self.windows[event.window] = Window(
            id=event.window, device=event.device, kind=event.kind, start_s=event.start_s, end_s=event.end_s,
            hard=event.hard, reason=event.reason,
        )  # fmt: skip
        self._alarm(window.start_s, "window", window.id)
        self._alarm(window.end_s, "window", window.id)
        self._touch_window(window)

    def _WindowBegan(self, event: ev.WindowBegan) -> None:
        window = self.windows[event.window]
        check(WINDOW, "window", window.id, window.state, "on")
        window.state, window.began_s = "on", event.at_s
        self.devices[window.device].register = ""
        self._step.devices[window.device] = self.devices[window.device]
        self._touch_window(window)

    def _WindowCleared(self, event: ev.WindowCleared) -> None:
        window = self.windows.pop(event.window)
        check(WINDOW, "window", window.id, window.state, "over")
        window.state = "over"
        self._touch_window(window)

    def _SessionOpened(self, event: ev.SessionOpened) -> None:
        session = self.sessions[event.session] = Session(
            id=event.session, user=event.user, device=event.device, ttl_s=event.ttl_s, mode=event.mode,
            class_=event.class_, project=event.project, job=event.job, token=event.token,
            opened_s=event.at_s, expires_s=event.at_s + event.ttl_s, idle_from_s=event.at_s,
        )  # fmt: skip
        if session.mode == "exclusive":
            self._exclusive[session.device] = session.id
        self._touch_session(session)

    def _SessionRenewed(self, event: ev.SessionRenewed) -> None:
        session = self.sessions[event.session]
        session.expires_s = event.at_s + session.ttl_s
        self._touch_session(session)

    def _SessionClosed(self, event: ev.SessionClosed) -> None:
        session = self.sessions.pop(event.session)
        check(SESSION, "session", session.id, session.state, "closed")
        session.state, session.reason, session.closed_s = "closed", event.reason, event.at_s
        if self._exclusive.get(session.device) == session.id:
            del self._exclusive[session.device]
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
        if task.deadline_s:
            self._alarm(task.deadline_s, "task", task.id)
        self._wait(task)
        self._step.tasks[task.id] = task
        for device in task.eligible:
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
        self._ended.append(task.id)
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
            task.device = event.device
        task.devices = ()
        device = self.devices[task.device]
        if device.lanes > 1 or not task.register:
            device.register = ""
        elif device.register != task.register:
            device.register, device.register_s = task.register, event.at_s
        slice = Slice(
            task=task.id, index=event.index, device=device.id, shots=event.shots, started_s=event.at_s,
            after=device.last_handle,
        )  # fmt: skip
        self.slices[slice.key] = slice
        device.running.append(slice.key)
        self._step.slices[slice.key] = slice
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
        task, device = self._take_back(slice, event.qpu_s)
        device.finished += 1
        device.faults, device.not_before_s = 0, 0.0
        task.shots_done += event.shots
        task.setup_s += event.setup_s
        if event.qpu_s:
            self._learn_overhead(device, event.at_s - slice.started_s - event.qpu_s)
        if task.remaining == 0:
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
        if task.state == "cancelling":
            self._end(task, "cancelled", event.at_s)
        else:
            self._move(task, "queued")

    def _TaskPaused(self, event: ev.TaskPaused) -> None:
        task = self.tasks[event.task]
        self.policy.remove(task)
        task.not_before_s = event.until_s
        self._wait(task)
        self._alarm(event.until_s, "device", task.device)
        self._touch_task(task)

    def _TaskFailed(self, event: ev.TaskFailed) -> None:
        task = self.tasks[event.task]
        task.error_code, task.error_message = event.code, event.message
        self._end(task, "failed", event.at_s)

    def _PolicyFailed(self, event: ev.PolicyFailed) -> None:
        pass

    def _Tick(self, event: ev.Tick) -> None:
        pass

    # -- what can be told -----------------------------------------------------------------------------------------

    def blocked(self, device: Device) -> str | None:
        """Why nothing may start on the device at all, or None: a status, a window's kind, or `paused`."""
        if device.status != "online":
            return device.status
        if self.now_s < device.not_before_s:
            return "paused"
        window = self.window_on(device.id)
        return window.kind if window else None

    def window_on(self, device: str) -> Window | None:
        """The window that the device is in."""
        return next((w for w in self.windows.values() if w.device == device and w.state == "on"), None)

    def gap_s(self, device: Device) -> float:
        """Seconds until the next hard window."""
        starts = [w.start_s for w in self.windows.values() if w.device == device.id and w.hard and w.state == "planned"]
        return min(starts) - self.now_s if starts else inf

    def fitting_shots(self, device: Device, task: Task) -> int:
        """How many shots the task's next slice may have, to end before the next hard window; 0 if none."""
        return self.fit(device, task, self.gap_s(device))

    # -- what policies ask ----------------------------------------------------------------------------------------

    def fit(self, device: Device, task: Task, gap_s: float) -> int:
        """See `policy.Facts`."""
        alone, settings = self.policy.queued(device.id) <= 1, self.policy.settings
        longest_s = inf if settings.slices else self._longest_gap_s(device)
        return slicing.fit(task, device, self.sessions.get(task.session), gap_s, settings, alone, longest_s)

    def _longest_gap_s(self, device: Device) -> float:
        """The longest time between two hard windows that are known; infinite with fewer than two."""
        hard = sorted((w.start_s, w.end_s) for w in self.windows.values() if w.device == device.id and w.hard)
        gaps = [after[0] - before[1] for before, after in pairwise(hard)]
        return max(gaps, default=inf)

    def work_s(self, task: Task, device: Device) -> float:
        """See `policy.Facts`."""
        return task.remaining * slicing.shot_s(task, device, self.sessions.get(task.session))

    def usage(self, project: str, user: str) -> float:
        """See `policy.Facts`."""
        return 0.0

    def share(self, project: str) -> float:
        """See `policy.Facts`."""
        return 1.0

    def exclusive(self, device: str) -> Session | None:
        """The exclusive session that holds the device."""
        return self.sessions.get(self._exclusive.get(device, ""))

    def next_alarm_s(self) -> float | None:
        """When to send a `Tick` at the latest; None if nothing depends on time."""
        return self._alarms[0][0] if self._alarms else None

    def forget_ended(self) -> list[Task]:
        """Drop the ended tasks, and return them."""
        ended, self._ended = self._ended, []
        return [self.tasks.pop(id) for id in ended]

    # -- restoring ------------------------------------------------------------------------------------------------

    def restore(self, nouns: Iterable[Task | Slice | Session | Device | Window], now_s: float, seq: int) -> None:
        """Fill an empty deck with what a store kept: live tasks, slices in flight, open sessions, devices, windows.

        The same state as after replaying the whole log, ended tasks aside.
        """
        self.now_s, self.seq = now_s, seq
        for noun in nouns:
            match noun:
                case Device():
                    self.devices[noun.id] = noun
                case Session():
                    self.sessions[noun.id] = noun
                    self._alarm(noun.expires_s, "session", noun.id)
                    if noun.mode == "exclusive":
                        self._exclusive[noun.device] = noun.id
                case Window():
                    self.windows[noun.id] = noun
                    self._alarm(noun.start_s if noun.state == "planned" else noun.end_s, "window", noun.id)
                    self._alarm(noun.end_s, "window", noun.id)
                case Slice():
                    self.slices[noun.key] = noun
                case Task():
                    self.tasks[noun.id] = noun
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
        }

    # -- small change ---------------------------------------------------------------------------------------------

    def _wait(self, task: Task) -> None:
        session = self.sessions.get(task.session)
        self.policy.add(task, session.id if session is not None and session.mode == "exclusive" else "")

    def _move(self, task: Task, to: str) -> None:
        check(TASK, "task", task.id, task.state, to)
        if task.state == "queued":
            self.policy.remove(task)
        task.state = to  # type: ignore[assignment]  # the table has only its states
        if to == "queued":
            self._wait(task)
        self._touch_task(task)

    def _end(self, task: Task, to: str, at_s: float) -> None:
        self._move(task, to)
        task.ended_s = at_s
        self._ended.append(task.id)
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
        for device in task.eligible:
            self._due[device] = None

    def _learn_size(self, task: Task) -> None:
        """What tasks take here, and how far the session's estimates are off."""
        work_s = task.qpu_s - task.setup_s
        if work_s <= 0.0:
            return
        device = self.devices[task.device]
        typical_s = device.typical_s
        device.typical_s = work_s if not typical_s else typical_s * (work_s / typical_s) ** 0.05
        self._step.devices[device.id] = device
        session = self.sessions.get(task.session)
        if session is not None and task.estimate_s:
            session.errors += 1
            session.error_sum += log(work_s / task.estimate_s)

    def _learn_overhead(self, device: Device, seconds: float) -> None:
        """A moving average over about 20 slices; what took minutes was no overhead, but a daemon that was away."""
        device.overheads += 1
        weight = max(0.05, 1.0 / device.overheads)
        device.overhead_s += weight * (min(60.0, max(0.0, seconds)) - device.overhead_s)

    def _take_back(self, slice: Slice, qpu_s: float) -> tuple[Task, Device]:
        """The slice is over: free its lane."""
        del self.slices[slice.key]
        task, device = self.tasks[slice.task], self.devices[slice.device]
        task.qpu_s += qpu_s
        device.running.remove(slice.key)
        seconds = self.now_s - slice.started_s
        if (session := self.sessions.get(task.session)) is not None:
            session.attained_s += seconds
            self._step.sessions[session.id] = session
        self.policy.served(device, task, seconds)
        self._step.slices[slice.key] = slice
        self._touch_device(device)
        return task, device

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

    def _touch_task(self, task: Task) -> None:
        task.version += 1
        self._step.tasks[task.id] = task

    def _touch_device(self, device: Device) -> None:
        self._step.devices[device.id] = device
        self._due[device.id] = None

    def _touch_session(self, session: Session) -> None:
        self._step.sessions[session.id] = session
        if session.device in self.devices:
            self._due[session.device] = None

    def _touch_window(self, window: Window) -> None:
        self._step.windows[window.id] = window
        self._due[window.device] = None
