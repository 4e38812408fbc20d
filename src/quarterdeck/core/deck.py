"""The deck: all that is known, how each event changes it, and what follows from that.

`apply` is bookkeeping and nothing else, so a log replays to the same state whatever the policy was. `handle` applies an
event and then decides: whatever it decides is an event too, recorded beside the one that caused it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.core.commands import BeginWindow, CancelSlice, Command, EndWindow, StartSlice
from quarterdeck.core.nouns import Device, Session, Slice, Task, Window
from quarterdeck.core.policy import Fifo, Policy
from quarterdeck.core.transition import SESSION, TASK, WINDOW, InvalidTransition, check
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


class Step(msgspec.Struct):
    """What one event led to: entries for the log, commands for the drivers, and the records that changed."""

    events: list[ev.Event] = []
    commands: list[Command] = []
    tasks: dict[str, Task] = {}
    slices: dict[str, Slice] = {}
    sessions: dict[str, Session] = {}
    devices: dict[str, Device] = {}
    windows: dict[str, Window] = {}


class Deck:
    """The state machine. Ended tasks stay until `forget_ended`; nothing else about them is remembered after that."""

    def __init__(self, policy: Policy | None = None, retry: Retry | None = None) -> None:
        self.policy = policy if policy is not None else Fifo()
        self.retry = retry if retry is not None else Retry()
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

    # -- the two ways in ------------------------------------------------------------------------------------------

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

    # -- admission ------------------------------------------------------------------------------------------------

    def _check(self, event: ev.Event) -> None:
        """Refuse what must not happen, before anything changes."""
        match event:
            case ev.Submitted():
                self._known(event.device)
                if event.task in self.tasks:
                    raise Conflict(f"task {event.task} exists already")
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
            case ev.SliceFinished() | ev.SliceFailed():
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

    def _running(self, task: str, index: int) -> Slice:
        slice = self.slices.get(f"{task}/{index}")
        if slice is None:
            raise InvalidTransition("slice", f"{task}/{index}", "not in flight", "finished or failed")
        return slice

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
        self._touch_device(device)

    def _DeviceRetired(self, event: ev.DeviceRetired) -> None:
        device = self.devices[event.device]
        device.declared, device.status, device.reason = False, "offline", "not in the daemon's configuration"
        self._touch_device(device)

    def _DeviceChanged(self, event: ev.DeviceChanged) -> None:
        device = self.devices[event.device]
        device.status, device.reason = event.status, event.reason
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
        self._touch_window(window)

    def _WindowCleared(self, event: ev.WindowCleared) -> None:
        window = self.windows.pop(event.window)
        check(WINDOW, "window", window.id, window.state, "over")
        window.state = "over"
        self._touch_window(window)

    def _SessionOpened(self, event: ev.SessionOpened) -> None:
        session = self.sessions[event.session] = Session(
            id=event.session, user=event.user, device=event.device, ttl_s=event.ttl_s, mode=event.mode,
            class_=event.class_, project=event.project, job=event.job,
            opened_s=event.at_s, expires_s=event.at_s + event.ttl_s,
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
        session.state, session.reason = "closed", event.reason
        if self._exclusive.get(session.device) == session.id:
            del self._exclusive[session.device]
        self._touch_session(session)

    def _Submitted(self, event: ev.Submitted) -> None:
        self.seq += 1
        task = self.tasks[event.task] = Task(
            id=event.task, seq=self.seq, user=event.user, device=event.device, program=event.program,
            shots=event.shots, parameters=event.parameters, session=event.session, project=event.project,
            name=event.name, class_=event.class_, submitted_s=event.at_s,
        )  # fmt: skip
        if task.session:
            self._session_tasks.setdefault(task.session, {})[task.id] = None
        self._wait(task)
        self._step.tasks[task.id] = task
        self._due[task.device] = None

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
        slice = Slice(task=task.id, index=event.index, device=task.device, shots=event.shots, started_s=event.at_s)
        self.slices[slice.key] = slice
        device = self.devices[task.device]
        device.running.append(slice.key)
        self._step.slices[slice.key] = slice
        self._touch_device(device)

    def _SliceFinished(self, event: ev.SliceFinished) -> None:
        slice = self._running(event.task, event.index)
        slice.state, slice.ended_s, slice.shots_done = "finished", event.at_s, event.shots
        task, device = self._take_back(slice, event.qpu_s)
        device.finished += 1
        device.faults, device.not_before_s = 0, 0.0
        task.shots_done += event.shots
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

    def _Tick(self, event: ev.Tick) -> None:
        pass

    # -- what follows ---------------------------------------------------------------------------------------------

    def _follow(self, event: ev.Event) -> None:
        """Decide what an event brings about beyond its own bookkeeping."""
        match event:
            case ev.SliceFailed(task=id, kind="rejected", code=code, message=message):
                if not self.tasks[id].ended:
                    self._decide(ev.TaskFailed(at_s=self.now_s, task=id, code=code or "rejected", message=message))
            case ev.SliceFailed(kind="fault"):
                self._meet_fault(event)
            case ev.SessionOpened():
                self._alarm(self.sessions[event.session].expires_s, "session", event.session)
            case ev.SessionClosed():
                for id in list(self._session_tasks.get(event.session, ())):
                    self._call_off(id, by=f"session {event.session} {event.reason}")
            case ev.Cancelled():
                self._stop(self.tasks[event.task])
            case ev.WindowCleared():
                window = self._step.windows[event.window]
                if window.began_s:
                    self._step.commands.append(EndWindow(device=window.device, window=window.id))
            case _:
                pass

    def _decide(self, event: ev.Event) -> None:
        self._record(event)

    def _meet_fault(self, event: ev.SliceFailed) -> None:
        task = self.tasks[event.task]
        device = self.devices[task.device]
        if device.faults >= self.retry.patience:
            pause_s = self.retry.pause(device.faults - self.retry.patience + 1)
            self._decide(ev.DevicePaused(at_s=self.now_s, device=device.id, until_s=self.now_s + pause_s))
        if task.ended:
            return
        proven = device.finished > task.successes_seen
        if task.faults >= (self.retry.faults if proven else self.retry.hopeless):
            said = f"{task.faults} runs went wrong; the last one: {event.message or event.code or 'no reason given'}"
            self._decide(ev.TaskFailed(at_s=self.now_s, task=task.id, code=event.code or "fault", message=said))
        else:
            until_s = self.now_s + self.retry.pause(task.faults)
            self._decide(ev.TaskPaused(at_s=self.now_s, task=task.id, until_s=until_s))

    def _call_off(self, id: str, by: str) -> None:
        task = self.tasks[id]
        if task.state in ("queued", "running"):
            self._decide(ev.Cancelled(at_s=self.now_s, task=id, by=by))
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
            elif kind == "session" and (session := self.sessions.get(id)):
                if session.expires_s > self.now_s:
                    self._alarm(session.expires_s, "session", id)
                    continue
                closed = ev.SessionClosed(at_s=self.now_s, session=id, reason="expired")
                self._decide(closed)
                self._follow(closed)
            elif kind == "window" and (window := self.windows.get(id)):
                if window.end_s <= self.now_s:
                    cleared = ev.WindowCleared(at_s=self.now_s, window=id)
                    self._decide(cleared)
                    self._follow(cleared)
                elif window.state == "planned":
                    self._decide(ev.WindowBegan(at_s=self.now_s, window=id))
                    self._step.commands.append(
                        BeginWindow(device=window.device, window=id, kind=window.kind, end_s=window.end_s)
                    )

    def _serve(self, device: Device) -> None:
        """Fill the device's free lanes."""
        while len(device.running) < device.lanes and self.blocked(device) is None:
            session = self._exclusive.get(device.id, "")
            task = self.policy.pick(device, session, self.now_s)
            if task is None:
                wake_s = self.policy.wake_s(device, session)
                if wake_s is not None:
                    self._alarm(wake_s, "device", device.id)
                return
            shots = self.fitting_shots(device, task)
            if not shots:
                return  # the window's own alarm comes back here
            self._decide(ev.SliceStarted(at_s=self.now_s, task=task.id, index=task.slices, shots=shots))
            start = StartSlice(
                device=device.id, key=f"{task.id}/{task.slices - 1}", task=task.id, index=task.slices - 1,
                program=task.program, parameters=task.parameters, shots=shots,
            )  # fmt: skip
            self._step.commands.append(start)

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

    def fitting_shots(self, device: Device, task: Task) -> int:
        """How many shots the task's next slice may have, to end before the next hard window; 0 if none."""
        shots = min(task.remaining, device.slice_shots)
        starts = [w.start_s for w in self.windows.values() if w.device == device.id and w.hard and w.state == "planned"]
        if starts:
            left_s = min(starts) - self.now_s - device.setup_s
            if left_s <= 0:
                return 0
            if device.shot_rate_hz:
                shots = min(shots, int(left_s * device.shot_rate_hz))
        return shots

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
        device = self.devices.get(task.device)
        work_s = device.duration_s(task.remaining) if device else 0.0
        self.policy.add(task, exclusive=session is not None and session.mode == "exclusive", work_s=work_s)

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
        mates = self._session_tasks.get(task.session)
        if mates is not None:
            mates.pop(task.id, None)
            if not mates:
                del self._session_tasks[task.session]
        self._due[task.device] = None

    def _take_back(self, slice: Slice, qpu_s: float) -> tuple[Task, Device]:
        """The slice is over: free its lane."""
        del self.slices[slice.key]
        task, device = self.tasks[slice.task], self.devices[slice.device]
        task.qpu_s += qpu_s
        device.running.remove(slice.key)
        self._step.slices[slice.key] = slice
        self._touch_device(device)
        return task, device

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
