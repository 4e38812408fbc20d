"""What a simulated run comes to: one figure per question, each defined in the docstring of the function that makes it.

Everything is computed from a `Record`; nothing here knows a policy. Percentiles are nearest ranks, so that each is a
value that some job really met.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import ceil, exp, log
from statistics import fmean, median

import msgspec
import numpy as np

from quarterdeck.simulator.record import CAUSES, CLASSES, Cause, EtaRecord, JobRecord, Record, SliceRecord

TAU_S = {"superconducting": 10.0, "neutral-atom": 60.0}
"""Bound of the slowdown by modality: a job shorter than this counts as this long."""
SHARE_WINDOW_S = {"superconducting": 1800.0, "neutral-atom": 8 * 3600.0}
"""Length of the windows over which shares are compared, by modality."""
MIDDLE = 0.8
"""Share of the arrivals that is measured: the first and the last tenth meet an emptier system."""


class ClassFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the jobs of one class met.

    Attributes:
        jobs: Jobs measured.
        p50, p95, p99: Percentiles of the bounded slowdown.
        delay_s: Mean extra delay.
        deadline_hits: Share of the jobs with a deadline that met it; None without any.
    """

    jobs: int
    p50: float
    p95: float
    p99: float
    delay_s: float
    deadline_hits: float | None = None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one run.

    Attributes:
        jobs: Jobs measured (the middle of the arrivals).
        unfinished: Jobs that had not ended when the run stopped; they are in no percentile.
        classes: By class, those that had jobs.
        utilisation: Cause to its share of all device time.
        devices: The same for each device.
        capacity: Share of the time outside windows, reservations and faults that went to finished work.
        jain: Jain's index over users' mean slowdown.
        share_ratio: The largest user's QPU seconds over the median user's.
        share_distance: See `share_distance`; None without slices.
        eta_error, eta_error_p90: Median and 90th percentile of |ln(actual / estimate)|, of tasks that
            waited for more than tau, or were told to; None without such.
        redone: Device seconds of slices that gave nothing, over all that ran shots: work that runs again.
        makespan_s: From the first arrival to the last end.
        node_wait_s: Seconds for which a job's classical node waited for the QPU, over all jobs measured.
    """

    policy: str
    tau_s: float
    jobs: int
    unfinished: int
    classes: dict[str, ClassFigures]
    utilisation: dict[str, float]
    devices: dict[str, dict[str, float]]
    capacity: float
    jain: float
    share_ratio: float
    share_distance: float | None
    eta_error: float | None
    eta_error_p90: float | None
    redone: float
    makespan_s: float
    node_wait_s: float


def measure(record: Record, tau_s: float = 10.0, share_window_s: float = 1800.0, middle: float = MIDDLE) -> Figures:
    """All figures of a run. `middle` is the share of the arrivals that is measured (1 measures every job)."""
    ended = record.jobs
    jobs = middle_of(ended, middle)
    classes = {name: of for name in CLASSES if (of := [job for job in jobs if job.class_ == name])}
    return Figures(
        policy=record.policy,
        tau_s=tau_s,
        jobs=len(jobs),
        unfinished=round(record.counters.get("unfinished", 0)),
        classes={name: class_figures(of, tau_s) for name, of in classes.items()},
        utilisation=utilisation(record.busy.values()),
        devices={name: utilisation([busy]) for name, busy in record.busy.items()},
        capacity=capacity(record.busy.values()),
        jain=jain(user_slowdowns(jobs, tau_s).values()),
        share_ratio=share_ratio(jobs),
        share_distance=share_distance(ended, record.slices, share_window_s) if record.slices is not None else None,
        eta_error=eta_error(record.etas, 0.5, tau_s),
        eta_error_p90=eta_error(record.etas, 0.9, tau_s),
        redone=redone(record.busy.values()),
        makespan_s=makespan_s(ended),
        node_wait_s=sum(delay_s(job) for job in jobs),
    )


def middle_of(jobs: Iterable[JobRecord], share: float = MIDDLE) -> list[JobRecord]:
    """The middle `share` of the jobs in order of arrival; what is cut is cut evenly from both ends."""
    ordered = sorted(jobs, key=lambda job: (job.arrival_s, job.job))
    cut = round(len(ordered) * (1 - share) / 2)
    return ordered[cut : len(ordered) - cut]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed (nearest rank).

    `ordered` ascends. Raises `ValueError` for no values or a share outside 0 to 1.
    """
    if not ordered or not 0 <= share <= 1:
        raise ValueError(f"no percentile {share} of {len(ordered)} values")
    return ordered[max(ceil(share * len(ordered) - 1e-9), 1) - 1]  # the step back keeps 0.99 * 100 at rank 99


def slowdown(job: JobRecord, tau_s: float) -> float:
    """Bounded slowdown: max(1, (end - arrival) / max(work, tau)), work being the job's own think and quantum time.

    1 is a job that never waited. tau keeps a job of a second that waits a minute from counting sixtyfold.
    """
    return max(1.0, (job.end_s - job.arrival_s) / max(job.work_s, tau_s))


def delay_s(job: JobRecord) -> float:
    """Extra delay: end - arrival - work. What waiting, set-ups, overheads and windows cost the job."""
    return max(0.0, job.end_s - job.arrival_s - job.work_s)


def class_figures(jobs: Sequence[JobRecord], tau_s: float) -> ClassFigures:
    """The figures of some jobs, at least one."""
    found = sorted(slowdown(job, tau_s) for job in jobs)
    due = [job for job in jobs if job.deadline_s]
    return ClassFigures(
        jobs=len(jobs),
        p50=percentile(found, 0.5), p95=percentile(found, 0.95), p99=percentile(found, 0.99),
        delay_s=fmean(delay_s(job) for job in jobs),
        deadline_hits=sum(not job.missed for job in due) / len(due) if due else None,
    )  # fmt: skip


def utilisation(busy: Iterable[Mapping[Cause, float]]) -> dict[str, float]:
    """By cause, its share of the time of all these devices; every cause is there, and they sum to 1."""
    seconds = defaultdict[str, float](float)
    for one in busy:
        for cause, spent_s in one.items():
            seconds[cause] += spent_s
    total_s = sum(seconds.values())
    return {cause: seconds[cause] / total_s if total_s else 0.0 for cause in CAUSES}


def capacity(busy: Iterable[Mapping[Cause, float]]) -> float:
    """Working seconds over usable seconds: all but calibration, maintenance, reservations and faults."""
    shares = utilisation(busy)
    usable = 1.0 - sum(shares[cause] for cause in ("calibration", "maintenance", "reservation", "fault"))
    return shares["working"] / usable if usable > 0 else 0.0


def user_slowdowns(jobs: Iterable[JobRecord], tau_s: float) -> dict[str, float]:
    """Each user's mean bounded slowdown."""
    found = defaultdict[str, list[float]](list)
    for job in jobs:
        found[job.user].append(slowdown(job, tau_s))
    return {user: fmean(values) for user, values in found.items()}


def jain(values: Iterable[float]) -> float:
    """Jain's index (sum x)^2 / (n sum x^2): 1 if all are equal, 1/n if one has everything. 1 for no values."""
    found = list(values)
    square = sum(value * value for value in found)
    return sum(found) ** 2 / (len(found) * square) if square else 1.0


def share_ratio(jobs: Iterable[JobRecord]) -> float:
    """QPU seconds of the user who got most over those of the median user. 1 for no users."""
    shares = defaultdict[str, float](float)
    for job in jobs:
        shares[job.user] += job.quantum_s
    middle = median(shares.values()) if shares else 0.0
    return max(shares.values()) / middle if middle else 1.0


def share_distance(jobs: Iterable[JobRecord], slices: Iterable[SliceRecord], window_s: float) -> float:
    """Mean over windows of the total-variation distance between the QPU shares users got and max-min-fair ones.

    0 is fair, 1 is everything to the wrong users. In each window of `window_s` the seconds that users got are dealt out
    anew: equally, but to nobody more than he could have used, which is what his open jobs would have taken had they
    never waited (a job alternates between thinking and the QPU, so it takes `quantum_s / work_s` of each second, and
    never more than it has left), or what he got if that was more. Windows in which nothing ran do not count.
    """
    got: dict[int, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))  # window -> job -> seconds
    for one in slices:
        for window, overlap_s in _windows(one.start_s + one.setup_s + one.overhead_s, one.end_s, window_s):
            got[window][one.job] += overlap_s
    open_jobs: dict[int, list[tuple[JobRecord, float]]] = defaultdict(list)
    for job in jobs:
        for window, overlap_s in _windows(job.arrival_s, job.end_s, window_s):
            open_jobs[window].append((job, overlap_s))
    left = {job.job: job.quantum_s for window in open_jobs.values() for job, _ in window}
    distances = []
    for window in sorted(open_jobs):
        received, wanted = defaultdict[str, float](float), defaultdict[str, float](float)
        for job, overlap_s in open_jobs[window]:
            its_s = got[window][job.job]
            could_s = min(left[job.job], overlap_s * job.quantum_s / job.work_s if job.work_s else 0.0)
            received[job.user] += its_s
            wanted[job.user] += max(its_s, could_s)
            left[job.job] = max(0.0, left[job.job] - its_s)
        total_s = sum(received.values())
        if total_s > 0:
            fair = max_min(wanted, total_s)
            distances.append(sum(abs(received[user] - fair[user]) for user in wanted) / (2 * total_s))
    return fmean(distances) if distances else 0.0


def max_min(wanted: Mapping[str, float], total: float) -> dict[str, float]:
    """Deal `total` out evenly, to nobody more than he wants; what is left goes to those who want more."""
    dealt: dict[str, float] = {}
    for place, user in enumerate(sorted(wanted, key=lambda user: (wanted[user], user))):
        dealt[user] = min(wanted[user], total / (len(wanted) - place))
        total -= dealt[user]
    return dealt


def _windows(begin_s: float, end_s: float, length_s: float) -> Iterable[tuple[int, float]]:
    """The windows of this length that a time touches, with the seconds in each."""
    while begin_s < end_s:
        window = int(begin_s // length_s)
        until_s = min(end_s, (window + 1) * length_s)
        if until_s <= begin_s:  # rounding at an edge
            window, until_s = window + 1, min(end_s, (window + 2) * length_s)
        yield window, until_s - begin_s
        begin_s = until_s


def eta_error(etas: Iterable[EtaRecord], share: float, least_s: float = 1.0) -> float | None:
    """Percentile of |ln(actual wait / estimated wait)|: 0.1 is a tenth off, 0.7 is twofold.

    Of the tasks that waited, or were told to wait, for more than `least_s`; what is less counts as `least_s`, so that a
    second instead of three is no threefold error. None without such tasks.
    """
    waits = ((eta.actual_s, eta.estimate_s) for eta in etas if max(eta.actual_s, eta.estimate_s) > least_s)
    found = sorted(abs(log(max(actual_s, least_s) / max(told_s, least_s))) for actual_s, told_s in waits)
    return percentile(found, share) if found else None


def redone(busy: Iterable[Mapping[Cause, float]]) -> float:
    """Lost over lost and working seconds: the share of the work that was for nothing and runs again."""
    shares = utilisation(busy)
    total = shares["lost"] + shares["working"]
    return shares["lost"] / total if total else 0.0


def makespan_s(jobs: Sequence[JobRecord]) -> float:
    """From the first arrival to the last end."""
    return max(job.end_s for job in jobs) - min(job.arrival_s for job in jobs) if jobs else 0.0


class Gain(msgspec.Struct, frozen=True):
    """How many times as good, with an interval."""

    mean: float
    low: float
    high: float
    seeds: int


def gain(ours: Sequence[float], theirs: Sequence[float], draws: int = 2000, seed: int = 0) -> Gain:
    """Geometric mean of `theirs / ours` over seeds, paired, with a 95 % percentile bootstrap interval over seeds.

    Both hold one figure for each seed (lower is better, above 0), in the same order: with common random numbers a
    seed's ratio says more than the two figures. Raises `ValueError` for lists of different length or none.
    """
    return interval([log(its / mine) for mine, its in zip(ours, theirs, strict=True)], draws, seed, geometric=True)


def interval(values: Sequence[float], draws: int = 2000, seed: int = 0, geometric: bool = False) -> Gain:
    """Mean of one value per seed with a 95 % percentile bootstrap interval; `geometric`: values are logarithms."""
    found = np.asarray(values, dtype=float)
    if not found.size:
        raise ValueError("no seeds")
    random = np.random.default_rng(seed)
    means = found[random.integers(0, found.size, (draws, found.size))].mean(axis=1)
    told = [float(found.mean()), *(float(edge) for edge in np.quantile(means, (0.025, 0.975)))]
    mean, low, high = (exp(value) for value in told) if geometric else told
    return Gain(mean, low, high, found.size)
