"""The model study's workloads: one superconducting-like and one neutral-atom-like QPU, three classes, twelve users.

All service times are invented: they compare policies, and say nothing about any QPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Literal

import msgspec
import numpy as np

from quarterdeck.errors import Invalid
from quarterdeck.simulator.record import CLASSES
from quarterdeck.simulator.site import DeviceSpec, load_site
from quarterdeck.simulator.workload import Job, Round, Workload

SHARES = (0.2, 0.3, 0.5)
"""Of the jobs, by class."""
ROUNDS = ((20, 60), (5, 20), (1, 5))
PROJECTS = (0.45, 0.28, 0.17, 0.10)
USERS = (0.60, 0.27, 0.13)
"""Demand of the projects, and of the users in each."""
SHARED = 5
"""Registers that half of the jobs choose from, by Zipf's law; the others use one of their user's own two."""
TASK_SIGMA, THINK_SIGMA = 0.2, 0.7
JOB_ERROR = 0.7
"""Part of the estimate error's variance that is the job's; the rest is the task's."""

LONGEST_ESTIMATE_S = 0.95 * (3600.0 - 150.0) / 1.3
"""Nobody declares what, a third longer, would not fit between two calibrations: run whole, it would never start."""

Cheat = Literal["", "declare", "reopen", "relabel"]


class Modality(msgspec.Struct, frozen=True):
    """Means in seconds, before the load is set by the arrivals."""

    site: str
    quantum_s: float
    cap_s: float
    think_s: float
    jobs: int


MODALITIES = {
    "sc": Modality("superconducting", 2.0, 60.0, 20.0, 5000),
    "na": Modality("neutral-atom", 120.0, 1500.0, 60.0, 2000),
}


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """What can be varied.

    Attributes:
        load: Quantum seconds over the seconds outside hard windows, until the last arrival; set-up and overhead are not
            counted. It is met exactly.
        jobs: How many; 0 for the study's number.
        sigma: Spread (of the logarithm) of the jobs' mean quantum seconds.
        error: The same of the estimates.
        think_s: Mean think time of a round; 0 for the study's. c/q is this over 2 s (sc), 120 s (na).
        population: So many jobs at a time, without end, instead of arrivals at a load; give the run an end.
        mode: Kind of session.
        cheat: What user p0u0 does: `declare` a tenth of the runtime, `reopen` a session for each round, `relabel` all
            jobs as production. Only every fifth of the user's jobs when `cheat_share` is .2.
    """

    modality: Literal["sc", "na"] = "na"
    load: float = 0.7
    jobs: int = 0
    seed: int = 0
    sigma: float = 1.0
    error: float = 0.3
    think_s: float = 0.0
    population: int = 0
    mode: Literal["shared", "exclusive"] = "shared"
    cheat: Cheat = ""
    cheat_share: float = 1.0

    def workload(self) -> Workload:
        """The jobs, drawn from the seed: the same draws for every load, sigma, error and cheat."""
        if self.load <= 0 or self.jobs < 0 or self.sigma < 0 or self.error < 0 or self.think_s < 0:
            raise Invalid("study", "needs a load above 0, and no negative number")
        modality = MODALITIES[self.modality]
        name = f"study-{self.modality}"
        return Workload(
            name=name, site=modality.site, jobs=_Jobs(self), seed=self.seed, population=self.population
        )  # fmt: skip


class _Jobs:
    """The jobs of a study. Drawn again for each run, so that a workload can be run twice."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.modality = MODALITIES[study.modality]
        self.number = study.jobs or self.modality.jobs
        self.device: DeviceSpec = load_site(self.modality.site).device[0]

    def __iter__(self) -> Iterator[Job]:
        blocks = count() if self.study.population else range(1)
        for block in blocks:
            yield from self._block(block)

    def _block(self, block: int) -> Iterator[Job]:
        study, modality, number = self.study, self.modality, self.number
        draw = np.random.default_rng([study.seed, block])
        kinds = draw.choice(len(CLASSES), number, p=SHARES)
        low, high = np.array(ROUNDS).T
        rounds = draw.integers(low[kinds], high[kinds] + 1)
        projects = draw.choice(len(PROJECTS), number, p=PROJECTS)
        users = draw.choice(len(USERS), number, p=USERS)
        zipf = 1 / np.arange(1, SHARED + 1)
        shared = draw.random(number) < 0.5
        common = draw.choice(SHARED, number, p=zipf / zipf.sum())
        own = draw.integers(0, 2, number)
        sizes, thinks, errors = draw.standard_normal((3, number))
        gaps = draw.standard_exponential(number + 1)
        cheats = draw.random(number) < study.cheat_share
        ends = np.cumsum(rounds)
        task_sizes, task_errors = draw.standard_normal((2, int(ends[-1])))
        of_job = np.repeat(np.arange(number), rounds)

        means = modality.quantum_s * np.exp(study.sigma * sizes - study.sigma**2 / 2)
        quantum = np.minimum(means[of_job] * np.exp(TASK_SIGMA * task_sizes - TASK_SIGMA**2 / 2), modality.cap_s)
        think = (study.think_s or modality.think_s) * np.exp(THINK_SIGMA * thinks - THINK_SIGMA**2 / 2)
        error = study.error * (JOB_ERROR**0.5 * errors[of_job] + (1 - JOB_ERROR) ** 0.5 * task_errors)
        guess = np.minimum(quantum * np.exp(error), LONGEST_ESTIMATE_S)
        shots = np.maximum(1, np.rint(guess * self.device.shot_rate_hz)).astype(int)
        declared = shots / self.device.shot_rate_hz
        arrivals = np.cumsum(gaps)
        arrivals = arrivals[:-1] / arrivals[-1] * self.device.span_s(float(quantum.sum()) / study.load)

        quantums, estimates, counts = quantum.tolist(), declared.tolist(), shots.tolist()
        start = 0
        for at in range(number):
            project, user = f"p{projects[at]}", f"p{projects[at]}u{users[at]}"
            register = f"shared{common[at]}" if shared[at] else f"{user}r{own[at]}"
            end, think_s = int(ends[at]), float(think[at])
            cheat = study.cheat if user == "p0u0" and cheats[at] else ""
            factor = 0.1 if cheat == "declare" else 1.0
            kind = CLASSES[kinds[at]]
            yield Job(
                job=block * number + at + 1, arrival_s=float(arrivals[at]), user=user, project=project,
                class_="production" if cheat == "relabel" else kind, record_class=kind,
                rounds=[Round(think_s, quantums[i], estimates[i] * factor, counts[i], register)
                        for i in range(start, end)],
                session="round" if cheat == "reopen" else study.mode,
            )  # fmt: skip
            start = end
