"""How long a task will take, and how many of its shots go into one slice."""

from __future__ import annotations

from math import exp, inf

from quarterdeck.core.nouns import Device, Task
from quarterdeck.core.policy.settings import PolicySettings

UNSURE = 1.3
"""How much longer than estimated a task may take that has not run yet; the model study's margin before a window."""
SETUPS_OF_A_SLICE = 4.0
"""A slice is at least so many set-ups long: a fifth of the time at most goes into them if every slice needs one."""
ALONE = 2.0
"""How much longer slices are while nothing else waits for the device."""


def shot_s(task: Task, device: Device, off: float) -> float:
    """Device seconds of one shot: as measured once a slice has run, else as estimated, else from the shot rate.

    `off` corrects the estimate: ln(actual / estimate) as expected from earlier tasks. Nothing counts as quicker than
    the shot rate before it was seen to be: who declares too little gains nothing.
    """
    if task.shots_done and task.qpu_s > 0.0:
        return max(0.0, task.qpu_s - task.setup_s) / task.shots_done
    if task.estimate_s:
        told_s = task.estimate_s * exp(off)
        if device.shot_rate_hz:
            told_s = max(told_s, task.shots / device.shot_rate_hz)
        return told_s / task.shots
    return 1.0 / device.shot_rate_hz if device.shot_rate_hz else 0.0


def clamp(low: float, value: float, high: float) -> float:
    """The value, or the bound that it is beyond."""
    return low if value < low else high if value > high else value


def setup_s(task: Task, device: Device) -> float:
    """The longest set-up before the task's next slice: none if the device has it already."""
    return 0.0 if task.register and task.register == device.register else device.setup_s


def min_slice_s(device: Device, settings: PolicySettings) -> float:
    """The shortest slice worth starting: a tenth of a typical task, from 1 to 10 s."""
    return settings.slice_min_s or clamp(1.0, 0.1 * device.typical_s, 10.0)


def slice_s(device: Device, settings: PolicySettings, alone: bool) -> float:
    """The length of a slice: so long that overhead and set-ups stay a small part of it, and most tasks run whole.

    Cutting tasks of seconds gains nobody anything and costs entries in the log: in the superconducting-like study
    slices of 1 s and of 4 s gave the same p95 within 2 % (3 seeds).
    """
    usual_s = settings.slice_min_s or clamp(1.0, 3.0 * device.typical_s or 10.0, 10.0)
    length_s = max(usual_s, device.overhead_s / settings.slice_overhead, SETUPS_OF_A_SLICE * device.setup_s)
    return length_s * ALONE if alone else length_s


NEVER_FITS = 0.95
"""A whole task that needs more than this part of the longest time between windows is cut after all, right after one."""


def fit(
    task: Task, device: Device, off: float, gap_s: float, settings: PolicySettings, alone: bool = False,
    longest_s: float = inf,
) -> int:  # fmt: skip
    """How many shots of the task to run at once if that must end within `gap_s` seconds; 0 if none fits.

    `device.slice_shots`, if set, is the most; otherwise the length follows from the device. What is left over would not
    be a crumb of less than a quarter of a slice. A task that is to run whole and is too long for the longest time
    between windows, `longest_s`, would block its queue for ever: it is cut to a gap of about that length.
    """
    if task.min_quality > device.quality:
        return 0
    left = task.shots - task.shots_done
    shots = left >> task.losses or 1  # what was lost, perhaps for its length, is tried with half as much
    each_s = shot_s(task, device, off)
    if settings.slices:
        if device.slice_shots:
            shots = min(shots, device.slice_shots)
        elif each_s > 0.0:
            usual = int(slice_s(device, settings, alone) / each_s)
            if usual < shots:
                shots = usual or 1
                if left - shots < shots // 4:
                    shots = left
    if gap_s < inf:
        room_s = gap_s - setup_s(task, device) - device.overhead_s
        if room_s <= 0.0:
            return 0
        if each_s > 0.0:
            margin = UNSURE if task.estimate_s and not task.shots_done else 1.0
            fitting = int(room_s / (each_s * margin) + 1e-9)
            if fitting < shots:
                never = shots * each_s * margin > NEVER_FITS * longest_s and gap_s >= NEVER_FITS * longest_s
                return fitting if settings.slices or never else 0
    return shots
