"""Why a task waits: a reason from a closed list, its place, and an estimate, each as honest as can be."""

from __future__ import annotations

from typing import Literal

import msgspec

from quarterdeck.core.deck import Deck
from quarterdeck.core.nouns import Device, Task

Reason = Literal[
    "queue", "device_offline", "device_calibrating", "device_maintenance", "window_ahead", "exclusive_session",
    "retrying", "running", "settled",
]  # fmt: skip


class Waiting(msgspec.Struct, frozen=True):
    """See `wire.Why`: the same, as the core knows it."""

    reason: Reason
    detail: str
    position: int = -1
    estimate_s: float | None = None


def why(deck: Deck, task: Task) -> Waiting:
    """Why the task is where it is. O(1) but for the place in the queue."""
    if task.ended:
        return Waiting("settled", f"it is {task.state}", estimate_s=0.0)
    if task.state != "queued":
        return Waiting("running", f"slice {task.slices - 1} is on {task.device}", estimate_s=0.0)
    device = deck.devices[task.device]
    place = deck.policy.place(task, device)
    reason, detail, hold_s = _reason(deck, task, device, place.position)
    estimate_s = None if hold_s is None else hold_s + (place.ahead_s + _running_s(deck, device)) / max(1, device.lanes)
    return Waiting(reason, detail, place.position, estimate_s)


def _reason(deck: Deck, task: Task, device: Device, position: int) -> tuple[Reason, str, float | None]:
    """The reason, the sentence, and seconds until the reason passes (None when nobody knows)."""
    now_s = deck.now_s
    window = deck.window_on(device.id)
    if device.status == "offline":
        return "device_offline", f"{device.id} is offline: {device.reason or 'no reason given'}", None
    if device.status == "maintenance":
        return "device_maintenance", f"{device.id} is in maintenance: {device.reason or 'no end given'}", None
    if window is not None:
        reason: Reason = "device_calibrating" if window.kind == "calibration" else "device_maintenance"
        left_s = window.end_s - now_s
        return reason, f"{device.id} is in {window.kind} for another {left_s:.0f} s", left_s
    if now_s < device.not_before_s:
        left_s = device.not_before_s - now_s
        return "retrying", f"{device.id} pauses for {left_s:.0f} s after {device.faults} faults in a row", left_s
    if now_s < task.not_before_s:
        left_s = task.not_before_s - now_s
        return "retrying", f"it runs again in {left_s:.0f} s; {task.faults} of its runs went wrong", left_s
    holder = deck.exclusive(device.id)
    if holder is not None and holder.id != task.session:
        return "exclusive_session", f"an exclusive session holds {device.id}", max(0.0, holder.expires_s - now_s)
    if not device.running and not deck.fitting_shots(device, task):
        ahead = min(
            (w for w in deck.windows.values() if w.device == device.id and w.state == "planned"),
            key=lambda w: w.start_s,
        )
        return "window_ahead", f"it would not end before the next {ahead.kind} of {device.id}", ahead.end_s - now_s
    return "queue", f"{position} tasks are ahead of it" if position != 1 else "1 task is ahead of it", 0.0


def _running_s(deck: Deck, device: Device) -> float:
    """Device seconds still needed by what runs now."""
    return sum(
        max(0.0, slice.started_s + device.duration_s(slice.shots) - deck.now_s)
        for slice in (deck.slices[key] for key in device.running)
    )
