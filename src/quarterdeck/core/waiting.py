"""Why a task waits: a reason from a closed list, its place, and an estimate, each as honest as can be."""

from __future__ import annotations

from math import inf
from typing import Literal

import msgspec

from quarterdeck.core import month as calendar
from quarterdeck.core.accounts import Account
from quarterdeck.core.deck import Deck
from quarterdeck.core.forecast import forecast
from quarterdeck.core.nouns import Device, Task, holds
from quarterdeck.core.windows import whom

Reason = Literal[
    "queue", "device_offline", "device_calibrating", "device_maintenance", "window_ahead", "exclusive_session",
    "retrying", "running", "settled", "budget", "reserved", "quality",
]  # fmt: skip


class Waiting(msgspec.Struct, frozen=True):
    """See `wire.Why`: the same, as the core knows it."""

    reason: Reason
    detail: str
    position: int = -1
    estimate_s: float | None = None
    basis: Literal["forecast", "queue", "none"] = "queue"
    score: dict[str, float] = {}
    first: dict[str, float] = {}


def why(deck: Deck, task: Task, ahead: bool = False) -> Waiting:
    """Why the task is where it is. O(streams) for the place in the queue; `ahead` runs the core forward, too."""
    if task.ended:
        return Waiting("settled", f"it is {task.state}", estimate_s=0.0)
    if task.state != "queued":
        return Waiting("running", f"slice {task.slices - 1} is on {task.device}", estimate_s=0.0)
    told = min((_on(deck, task, deck.devices[id]) for id in task.eligible), key=_sooner)
    if not ahead:
        return told
    device = deck.devices[task.eligible[0]]
    score, first = deck.policy.explain(task, device), deck.policy.leader(task, device)
    estimate_s, basis = told.estimate_s, told.basis
    if estimate_s is not None and (seen_s := forecast(deck, task).get(task.id)) is not None:
        estimate_s, basis = seen_s, "forecast"
    return msgspec.structs.replace(told, estimate_s=estimate_s, basis=basis, score=score, first=first)


def _sooner(one: Waiting) -> float:
    return inf if one.estimate_s is None else one.estimate_s


def _on(deck: Deck, task: Task, device: Device) -> Waiting:
    """Why it does not run on this one of its devices."""
    place = deck.place(task, device)
    reason, detail, hold_s = _reason(deck, task, device, place.position)
    if hold_s is None:
        return Waiting(reason, detail, place.position, None, "none")
    estimate_s = hold_s + (place.ahead_s + _running_s(deck, device)) / max(1, device.lanes)
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
    reservation = deck.timetable.reservation(device.id)
    if reservation is not None and not holds(reservation.holder, task.user, task.project):
        left_s = reservation.end_s - now_s
        return "reserved", f"{device.id} is reserved for {whom(reservation.holder)} for another {left_s:.0f} s", left_s
    if now_s < device.not_before_s:
        left_s = device.not_before_s - now_s
        return "retrying", f"{device.id} pauses for {left_s:.0f} s after {device.faults} faults in a row", left_s
    if now_s < task.not_before_s:
        left_s = task.not_before_s - now_s
        return "retrying", f"it runs again in {left_s:.0f} s; {task.faults} of its runs went wrong", left_s
    if task.min_quality > device.quality:
        told = f"it needs a calibration of {task.min_quality:g}, {device.id} has {device.quality:g}"
        return "quality", told, None
    if (payer := deck.unpaid(task)) is not None:
        return "budget", *_budget(payer, now_s)
    holder = deck.exclusive(device.id)
    if holder is not None and holder.id != task.session:
        return "exclusive_session", f"an exclusive session holds {device.id}", max(0.0, holder.expires_s - now_s)
    if not device.running and not deck.fitting_shots(device, task):
        ahead = deck.timetable.next_closing(device.id, task.user, task.project)
        if ahead is not None:
            until_s = ahead.end_s + ahead.slack_s - now_s
            return "window_ahead", f"it would not end before the next {ahead.kind} of {device.id}", until_s
    return "queue", f"{position} tasks are ahead of it" if position != 1 else "1 task is ahead of it", 0.0


def _budget(payer: Account, now_s: float) -> tuple[str, float | None]:
    """What the account that cannot pay lacks, and seconds until it can, if that is known."""
    whose = (
        f"{payer.user} in project {payer.project or 'default'}"
        if payer.user
        else f"project {payer.project or 'default'}"
    )
    if not payer.exhausted(now_s):
        return f"what is left of the budget of {whose} is kept for its {payer.flights} slices that run now", None
    if payer.period == "month" and payer.budget_qpu_s != 0 and payer.budget_shots != 0:
        next_s = calendar.start_s(calendar.month_of(now_s) + 1)
        return f"the budget of {whose} is spent; it starts anew with the month", next_s - now_s
    return f"the budget of {whose} is spent; an administrator can raise it", None


def _running_s(deck: Deck, device: Device) -> float:
    """Device seconds still needed by what runs now."""
    return sum(
        max(0.0, slice.started_s + device.duration_s(slice.shots) - deck.now_s)
        for slice in (deck.slices[key] for key in device.running)
    )
