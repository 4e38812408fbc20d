"""A facility's day: tasks of three modalities, office hours, heavy tails, classes of students who all start at once.

The scale is that of a site which reported about 800,000 jobs of 1,000 users in 13 months on one QPU, so 2,000 tasks a
day (LINKS, in a public meeting of the openQSE project); the shape, the service times and the mix are invented.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from quarterdeck.errors import Invalid
from quarterdeck.simulator.record import CLASSES
from quarterdeck.simulator.site import load_site
from quarterdeck.simulator.workload import Job, Round, Workload

TASKS_A_DAY = 2000
SHARES = (0.2, 0.3, 0.5)
ROUNDS = ((20, 60), (5, 20), (1, 5))
MEAN_ROUNDS = sum(share * (low + high) / 2 for share, (low, high) in zip(SHARES, ROUNDS, strict=True))
USERS, PROJECTS = 1000, 40
OFFICE = (8, 18)
"""Hours of the day in which jobs arrive three times as often."""
OFFICE_WEIGHT = 3.0
LECTURES = 0.1
"""Part of the tasks that comes from lectures: 40 students within ten minutes, on weekdays at 10, development class."""
STUDENTS, LECTURE_S, LECTURE_HOUR = 40, 600.0, 10
TAIL = 1.5
"""Exponent of the Pareto law of a job's mean quantum seconds: the mean exists, the variance does not."""


class Kind(msgspec.Struct, frozen=True):
    """Tasks of a modality.

    Attributes:
        share: Of all tasks.
        quantum_s, cap_s: Device seconds, their mean before the cap, and the most: it fits between two calibrations.
        think_s: Mean.
        qubits: A job needs one of these numbers.
        registers: That jobs choose from; 0 if there is no set-up.
    """

    modality: str
    share: float
    quantum_s: float
    cap_s: float
    think_s: float
    qubits: tuple[int, ...]
    registers: int = 0


ONE = (Kind("superconducting", 1.0, 10.0, 600.0, 30.0, (4, 20)),)
MIXED = (
    Kind("superconducting", 0.936, 1.6, 60.0, 20.0, (4, 20, 50)),
    Kind("trapped-ion", 0.056, 11.0, 600.0, 30.0, (8, 32), 6),
    Kind("neutral-atom", 0.008, 135.0, 1500.0, 60.0, (25, 100), 8),
)


class Facility(msgspec.Struct, frozen=True, kw_only=True):
    """`scale` times 2,000 tasks a day, for `days`.

    Scale 1 is for one superconducting QPU, others are for the centre's ten.
    """

    scale: float = 1.0
    days: int = 7
    seed: int = 0
    error: float = 0.3

    def workload(self) -> Workload:
        """The jobs, made day by day: a month at scale 100 never is in memory as a whole."""
        if self.scale <= 0 or self.days < 1 or self.error < 0:
            raise Invalid("facility", "needs a scale above 0, a day or more, and an error that is not negative")
        name = "facility" if self.scale == 1 else f"facility-x{self.scale:g}"
        return Workload(
            name=name, site="superconducting" if self.scale == 1 else "centre", jobs=_Jobs(self), seed=self.seed,
            ask_every=max(20, round(self.scale * self.days)),
        )  # fmt: skip


class _Jobs:
    def __init__(self, facility: Facility) -> None:
        self.facility = facility
        one = facility.scale == 1
        self.kinds = ONE if one else MIXED
        site = load_site("superconducting" if one else "centre")
        self.rates = {device.modality: device.shot_rate_hz for device in site.device}

    def __iter__(self) -> Iterator[Job]:
        number = 0
        for day in range(self.facility.days):
            for job in self._day(day):
                number += 1
                job.job = number
                yield job

    def _day(self, day: int) -> Iterator[Job]:
        facility = self.facility
        draw = np.random.default_rng([facility.seed, day])
        weekday = day % 7 < 5
        tasks = TASKS_A_DAY * facility.scale * (7 / 6 if weekday else 7 / 12)  # 2,000 on average over a week
        lectures = max(1, round(tasks * LECTURES / (STUDENTS * 3))) if weekday else 0
        usual = int(draw.poisson(tasks * (1 - LECTURES * weekday) / MEAN_ROUNDS))
        number = usual + lectures * STUDENTS

        hours = np.ones(24)
        hours[OFFICE[0] : OFFICE[1]] = OFFICE_WEIGHT
        arrivals = (draw.choice(24, usual, p=hours / hours.sum()) + draw.random(usual)) * 3600.0
        starts = LECTURE_HOUR * 3600.0 + 900.0 * (np.arange(lectures) % 16)
        late = np.repeat(starts, STUDENTS) + draw.random(lectures * STUDENTS) * LECTURE_S
        arrivals = np.concatenate([arrivals, late])
        classes = np.concatenate([draw.choice(3, usual, p=SHARES), np.full(lectures * STUDENTS, 2)])
        low, high = np.array(ROUNDS).T
        rounds = draw.integers(low[classes], high[classes] + 1)
        kinds = draw.choice(len(self.kinds), number, p=[kind.share for kind in self.kinds])
        kinds[usual:] = 0
        users = np.minimum(draw.zipf(1.3, number) - 1, USERS - 1)
        sizes = (draw.pareto(TAIL, number) + 1) * (TAIL - 1) / TAIL
        thinks = np.exp(0.7 * draw.standard_normal(number) - 0.245)
        errors = draw.standard_normal(number)
        picks = draw.random((2, number))
        order = np.argsort(arrivals, kind="stable")
        for at in order.tolist():
            kind, user = self.kinds[kinds[at]], int(users[at])
            repeats = int(rounds[at])
            student = at >= usual
            quantum = kind.quantum_s * float(sizes[at]) * np.exp(0.2 * draw.standard_normal(repeats) - 0.02)
            quantum = np.minimum(quantum, kind.cap_s)
            rate_hz = self.rates[kind.modality]
            error = facility.error * (0.7**0.5 * float(errors[at]) + 0.3**0.5 * draw.standard_normal(repeats))
            shots = np.maximum(1, np.rint(quantum * np.exp(error) * rate_hz)).astype(int)
            name = f"student{at % (STUDENTS * 5)}" if student else f"user{user}"
            register = f"{kind.modality}{int(picks[0][at] * kind.registers)}" if kind.registers else ""
            think_s = kind.think_s * float(thinks[at])
            yield Job(
                job=0, arrival_s=day * 86400.0 + float(arrivals[at]), user=name,
                project="lecture" if student else f"project{user % PROJECTS}", class_=CLASSES[classes[at]],
                rounds=[Round(think_s, true_s, count / rate_hz, count, register)
                        for true_s, count in zip(quantum.tolist(), shots.tolist(), strict=True)],
                modality=kind.modality, qubits=kind.qubits[int(picks[1][at] * len(kind.qubits))],
            )  # fmt: skip
