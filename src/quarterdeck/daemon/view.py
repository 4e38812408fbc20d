"""The core's records as the words of `/v1`."""

from __future__ import annotations

import msgspec

from quarterdeck import wire
from quarterdeck.core import events as ev
from quarterdeck.core.nouns import Calendar, Device, Session, Slice, Task, Window
from quarterdeck.core.windows import whom
from quarterdeck.devices.driver import Target

_NO_PARAMETERS: dict[str, object] = {}


def task(task: Task) -> wire.Task:
    """A task as its owner sees it."""
    error = wire.Error(code=task.error_code, message=task.error_message) if task.error_code else None
    return wire.Task(
        id=task.id, number=task.seq, version=task.version, device=task.device, program=task.program, shots=task.shots,
        shots_done=task.shots_done, state=task.state, user=task.user, project=task.project, session=task.session,
        job=task.job, name=task.name, class_=task.class_,
        parameters=_NO_PARAMETERS if task.parameters == "{}" else msgspec.json.decode(task.parameters),
        submitted_s=task.submitted_s, started_s=task.started_s, ended_s=task.ended_s, slices=task.slices,
        qpu_s=task.qpu_s, partial=task.ended and task.shots_done < task.shots, error=error,
        devices=list(task.devices), deadline_s=task.deadline_s,
    )  # fmt: skip


def slice(slice: Slice) -> wire.SliceInfo:
    """A slice of a task."""
    return wire.SliceInfo(
        index=slice.index, shots=slice.shots, shots_done=slice.shots_done, state=slice.state,
        started_s=slice.started_s, ended_s=slice.ended_s, error=slice.error,
    )  # fmt: skip


def session(session: Session) -> wire.Session:
    """A session."""
    return wire.Session(
        id=session.id, user=session.user, project=session.project, device=session.device, mode=session.mode,
        class_=session.class_, job=session.job, state=session.state, opened_s=session.opened_s,
        expires_s=session.expires_s, ttl_s=session.ttl_s, closed_s=session.closed_s,
        reason=session.reason, idle_s=session.idle_s, lend_s=session.lend_s, devices=list(session.devices),
        decoders=session.decoders,
    )  # fmt: skip


def window(window: Window) -> wire.Window:
    """A window."""
    return wire.Window(
        id=window.id, device=window.device, kind=window.kind, start_s=window.start_s, end_s=window.end_s,
        hard=window.hard, state=window.state, reason=window.reason, slack_s=window.slack_s, user=window.user,
        project=window.project, calendar=window.calendar, began_s=window.began_s,
    )  # fmt: skip


def calendar(calendar: Calendar) -> wire.Calendar:
    """A calendar."""
    return wire.Calendar(
        id=calendar.id, device=calendar.device, kind=calendar.kind, rule=calendar.rule, start_s=calendar.start_s,
        duration_s=calendar.duration_s, zone=calendar.zone, hard=calendar.hard, state=calendar.state,
        slack_s=calendar.slack_s, user=calendar.user, project=calendar.project, reason=calendar.reason,
    )  # fmt: skip


def device(
    device: Device, target: Target, window: Window | None, ahead: Window | None, queued: int, spec: bool
) -> wire.Device:
    """A device: what it is, how it is doing, the window that it is in and the one that comes next."""
    status: wire.DeviceStatus = device.status
    reason = device.reason
    if device.status == "online" and window is not None and window.kind == "reservation":
        reason = f"reserved for {whom(window.holder)}" + (f": {window.reason}" if window.reason else "")
    elif device.status == "online" and window is not None:
        status = "calibrating" if window.kind == "calibration" else "maintenance"
        reason = window.reason or f"{window.kind} window"
    if status == "maintenance" and device.running:
        status = "draining"
    return wire.Device(
        name=device.id, modality=target.modality, qubits=target.qubits, formats=list(target.formats),
        emulated=target.emulated, max_shots=target.max_shots, lanes=target.lanes, shot_rate_hz=target.shot_rate_hz,
        setup_s=target.setup_s, slice_shots=device.slice_shots, status=status, reason=reason, queued=queued,
        running=len(device.running), spec=target.spec if spec else "", next_window=_next_window(ahead),
    )  # fmt: skip


def _next_window(window: Window | None) -> wire.NextWindow | None:
    if window is None:
        return None
    return wire.NextWindow(kind=window.kind, start_s=window.start_s, end_s=window.end_s, reason=window.reason)


_CAUSES = {
    "order": "it came first",
    "setup": "the device was set up for it, and it was close enough to the first",
    "share": "its class was owed a share of the time",
    "aged": "it had waited for longer than policy.aged_s",
    "exclusive": "its session holds the device",
    "reservation": "the device is reserved for it",
    "fallback": "it came first, in order of arrival: the policy had failed",
}


def chosen(event: ev.SliceStarted) -> str:
    """Why this slice, and no other."""
    ahead = f", by {event.score:.2f}" if event.rival and event.cause == "order" and event.score > 0.0 else ""
    return _CAUSES.get(event.cause, event.cause) + (ahead or ("" if event.rival else "; nothing else was ready"))


def line(event: ev.Event) -> wire.LogLine:
    """An event of a task as a sentence."""
    return wire.LogLine(at_s=event.at_s, event=type(event).__name__, text=_sentence(event))


def _sentence(event: ev.Event) -> str:
    match event:
        case ev.Submitted():
            return f"submitted by {event.user} to {event.device}, {event.shots} shots"
        case ev.Cancelled():
            return f"cancelled by {event.by or 'nobody named'}"
        case ev.SliceStarted():
            return (
                f"slice {event.index} started{f' on {event.device}' if event.device else ''}, {event.shots} shots"
                + (f": {chosen(event)}" if event.cause else "")
            )
        case ev.TaskImported():
            return f"taken over from another system, where it was number {event.number} and ended as {event.state}"
        case ev.SliceAccepted():
            return f"slice {event.index} was accepted by the device as {event.handle}"
        case ev.SliceFinished():
            return f"slice {event.index} finished, {event.shots} shots, {event.qpu_s:.3f} s on the device"
        case ev.SliceFailed():
            return (
                f"slice {event.index} gave nothing ({event.kind}): {event.message or event.code or 'no reason given'}"
            )
        case ev.TaskPaused():
            return f"left alone until {event.until_s:.3f}, then run again"
        case ev.TaskFailed():
            return f"failed ({event.code}): {event.message}"
        case _:
            return type(event).__name__
