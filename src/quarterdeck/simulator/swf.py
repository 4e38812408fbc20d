"""Traces in the Standard Workload Format, version 2.2: what HPC centres recorded of their classical jobs.

One job a line, 18 fields between blanks, -1 for unknown, lines after `;` are comments; `.gz` is read as well. Such a
trace has no quantum part, so each job gets one: rounds by class, each a piece of the job's run time and a task.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from quarterdeck.errors import Invalid
from quarterdeck.simulator.record import Class
from quarterdeck.simulator.site import load_site
from quarterdeck.simulator.study import MODALITIES
from quarterdeck.simulator.workload import Job, Round, Workload

FIELDS = 18
CANCELLED = 5
DEVELOPMENT_S, TEST_S = 600.0, 7200.0
"""Jobs that ran shorter than these count as development, and as test."""
ROUNDS: dict[Class, tuple[int, int]] = {"production": (20, 60), "test": (5, 20), "development": (1, 5)}


class SwfJob(msgspec.Struct, gc=False, frozen=True):
    """The fields in use, by their numbers: 1, 2, 4, 5, 11, 12, 13, 15, 18."""

    job: int
    submit_s: float
    run_s: float
    processors: int
    status: int
    user: int
    group: int
    queue: int
    think_s: float


class Trace(msgspec.Struct):
    """A trace as read. `bad` has number and fault of each line that is none."""

    jobs: list[SwfJob]
    bad: list[tuple[int, str]]
    comments: dict[str, str]


def read_trace(path: str | Path, *, strict: bool = False) -> Trace:
    """Read a trace; bad lines are left out and told. Raises `Invalid` at the first of them if `strict`."""
    jobs: list[SwfJob] = []
    bad: list[tuple[int, str]] = []
    comments: dict[str, str] = {}
    try:
        with _opened(Path(path)) as lines:
            for number, line in enumerate(lines, 1):
                text = line.decode("utf-8", "replace").strip()
                if text.startswith(";"):
                    name, colon, value = text.lstrip("; ").partition(":")
                    if colon:
                        comments.setdefault(name.strip(), value.strip())
                elif text:
                    job = _parse(text)
                    if isinstance(job, SwfJob):
                        jobs.append(job)
                    elif strict:
                        raise Invalid(f"{path}:{number}", job)
                    else:
                        bad.append((number, job))
    except (OSError, EOFError) as error:
        raise Invalid(str(path), f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return Trace(jobs, bad, comments)


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _parse(text: str) -> SwfJob | str:
    """The job of a line, or what is wrong with it."""
    words = text.partition(";")[0].split()
    if len(words) != FIELDS:
        return f"has {len(words)} fields instead of {FIELDS}"
    try:
        values = [float(word) for word in words]
    except ValueError:
        return f"field {next(n for n, word in enumerate(words, 1) if not _number(word))} is no number"
    if not all(np.isfinite(values)):
        return "has a number that is not finite"
    if values[1] < 0:
        return "has no submit time"
    return SwfJob(
        int(values[0]), values[1], values[3], int(values[4]), int(values[10]), int(values[11]), int(values[12]),
        int(values[14]), values[17],
    )  # fmt: skip


def _number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def class_of(job: SwfJob) -> Class:
    """By its run time, as a site's partitions would have it."""
    if job.run_s < DEVELOPMENT_S:
        return "development"
    return "test" if job.run_s < TEST_S else "production"


def decorate(
    trace: Trace, *, modality: str = "sc", seed: int = 0, load: float | None = None, limit: int | None = None
) -> Workload:
    """A workload on the study's superconducting-like (`sc`) or neutral-atom-like (`na`) QPU.

    Jobs that were cancelled or never ran are left out. A round's think time is field 18 where it is known, otherwise an
    equal piece of the job's run time. With a `load` (see `Study.load`), all arrival times are stretched by one factor
    to meet it; without, they are the trace's.
    """
    if modality not in MODALITIES:
        raise Invalid("modality", f"{modality} is unknown; there are {', '.join(MODALITIES)}")
    if load is not None and load <= 0:
        raise Invalid("load", "must be above 0")
    ran = [job for job in trace.jobs if job.run_s > 0 and job.status != CANCELLED]
    if not ran:
        raise Invalid("trace", f"has no job that ran; {len(trace.bad)} bad lines")
    ran = sorted(ran, key=lambda job: job.submit_s)[:limit]
    return Workload(
        name="swf", site=MODALITIES[modality].site, jobs=_Jobs(ran, modality, seed, load), seed=seed
    )  # fmt: skip


class _Jobs:
    def __init__(self, jobs: list[SwfJob], modality: str, seed: int, load: float | None) -> None:
        self.jobs, self.modality, self.seed, self.load = jobs, MODALITIES[modality], seed, load

    def __iter__(self) -> Iterator[Job]:
        device = load_site(self.modality.site).device[0]
        begin_s = self.jobs[0].submit_s
        stretch = 1.0
        if self.load is not None:
            quantum_s = sum(sum(self._quantum(at, job)) for at, job in enumerate(self.jobs))
            last_s = self.jobs[-1].submit_s - begin_s
            stretch = device.span_s(quantum_s / self.load) / last_s if last_s else 1.0
        for at, job in enumerate(self.jobs):
            quantum = self._quantum(at, job)
            think_s = job.think_s if job.think_s >= 0 else job.run_s / len(quantum)
            rounds = []
            for took_s in quantum:
                shots = max(1, round(took_s * device.shot_rate_hz))
                rounds.append(Round(think_s, took_s, shots / device.shot_rate_hz, shots))
            yield Job(
                job=at + 1, arrival_s=(job.submit_s - begin_s) * stretch, user=f"user{job.user}",
                project=f"group{job.group}", class_=class_of(job), rounds=rounds,
            )  # fmt: skip

    def _quantum(self, at: int, job: SwfJob) -> list[float]:
        """Device seconds of each of its rounds: the same whenever asked."""
        draw = np.random.default_rng([self.seed, at])
        low, high = ROUNDS[class_of(job)]
        mean_s = self.modality.quantum_s * float(draw.lognormal(-0.5, 1.0))
        number = int(draw.integers(low, high + 1))
        took_s: list[float] = np.minimum(mean_s * draw.lognormal(-0.02, 0.2, number), self.modality.cap_s).tolist()
        return took_s
