"""Mixes of QStone (a benchmark of users, computations and their weights), from its configuration file.

QStone says which users run which computations with how many qubits and shots. It says nothing of classical times,
rounds or classes: those here are invented, and so is the spread of the arrivals.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from quarterdeck.errors import Invalid
from quarterdeck.simulator.record import Class
from quarterdeck.simulator.site import load_site
from quarterdeck.simulator.workload import Job, Round, Workload

SITE = "superconducting"


class Habit(msgspec.Struct, frozen=True):
    """How a computation goes: rounds (fewest, most), mean think seconds of each, class."""

    rounds: tuple[int, int]
    think_s: float
    class_: Class


HABITS = {
    "VQE": Habit((20, 60), 2.0, "production"),
    "RB": Habit((5, 20), 0.5, "test"),
    "PyMatching": Habit((5, 20), 1.0, "test"),
}
OTHER = Habit((1, 5), 1.0, "development")


class Computation(msgspec.Struct, frozen=True):
    """An entry of `jobs`: ranges of qubits and shots as one or two numbers."""

    type: str
    qubits: list[int]
    num_shots: list[int]

    def __post_init__(self) -> None:
        for name, numbers in (("qubits", self.qubits), ("num_shots", self.num_shots)):
            if not 1 <= len(numbers) <= 2 or min(numbers) < 1 or numbers != sorted(numbers):
                raise Invalid(f"jobs: {self.type}", f"{name} must be one number above 0, or two in order")


class User(msgspec.Struct, frozen=True):
    """An entry of `users`."""

    user: str
    computations: dict[str, float]
    job_count: int | None = None


class Environment(msgspec.Struct, frozen=True):
    job_count: int = 1
    project_name: str = ""


class Config(msgspec.Struct, frozen=True):
    """What of a QStone configuration is used."""

    environment: Environment
    jobs: list[Computation]
    users: list[User]

    def __post_init__(self) -> None:
        known = {job.type for job in self.jobs}
        for user in self.users:
            weights = user.computations
            if unknown := weights.keys() - known:
                raise Invalid(f"users: {user.user}", f"computes {min(unknown)}, which is not among the jobs")
            if not weights or min(weights.values()) < 0 or abs(sum(weights.values()) - 1) > 1e-6:
                raise Invalid(f"users: {user.user}", "the weights of its computations must sum to 1")
        if not self.users:
            raise Invalid("users", "there are none")


def read_config(path: str | None = None) -> Config:
    """A QStone configuration; the shipped sample without a path. Raises `Invalid`."""
    try:
        if path is None:
            text = files("quarterdeck.simulator").joinpath("data", "qstone.json").read_bytes()
        else:
            text = Path(path).read_bytes()
        return msgspec.json.decode(text, type=Config)
    except OSError as error:
        raise Invalid(str(path), f"cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(str(path), f"is no QStone configuration: {error}") from None


def qstone(config: Config, *, seed: int = 0, load: float = 0.5) -> Workload:
    """The users' jobs, arriving at random at the load given (see `Study.load`) on one superconducting-like QPU."""
    if load <= 0:
        raise Invalid("load", "must be above 0")
    return Workload(name="qstone", site=SITE, jobs=_Jobs(config, seed, load), seed=seed)


class _Jobs:
    def __init__(self, config: Config, seed: int, load: float) -> None:
        self.config, self.seed, self.load = config, seed, load

    def __iter__(self) -> Iterator[Job]:
        jobs = self._drawn()
        device = load_site(SITE).device[0]
        draw = np.random.default_rng([self.seed, 1])
        gaps = np.cumsum(draw.standard_exponential(len(jobs) + 1))
        span_s = device.span_s(sum(job.quantum_s for job in jobs) / self.load)
        order: list[int] = draw.permutation(len(jobs)).tolist()
        for number, at in enumerate(order, 1):
            job = jobs[at]
            job.job, job.arrival_s = number, float(gaps[number - 1] / gaps[-1]) * span_s
            yield job

    def _drawn(self) -> list[Job]:
        config = self.config
        draw: Any = np.random.default_rng([self.seed, 0])
        kinds = {job.type: job for job in config.jobs}
        rate_hz = load_site(SITE).device[0].shot_rate_hz
        jobs = []
        for user in config.users:
            number = user.job_count if user.job_count is not None else config.environment.job_count
            names = list(user.computations)
            for at in draw.choice(len(names), number, p=[user.computations[name] for name in names]).tolist():
                kind, habit = kinds[names[at]], HABITS.get(names[at], OTHER)
                rounds = []
                for think in draw.exponential(habit.think_s, int(draw.integers(habit.rounds[0], habit.rounds[1] + 1))):
                    shots = int(draw.integers(kind.num_shots[0], kind.num_shots[-1] + 1))
                    took_s = shots / rate_hz * float(draw.lognormal(-0.02, 0.2))
                    rounds.append(Round(float(think), took_s, shots / rate_hz, shots))
                job = Job(
                    job=0, arrival_s=0.0, user=user.user, project=config.environment.project_name, class_=habit.class_,
                    rounds=rounds, qubits=int(draw.integers(kind.qubits[0], kind.qubits[-1] + 1)),
                )  # fmt: skip
                jobs.append(job)
        return jobs
