"""Work for a simulated site: jobs that think, run a quantum task, think again, until their rounds are over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Literal

import msgspec

from quarterdeck.simulator.record import Class
from quarterdeck.simulator.site import Site


class Round(msgspec.Struct, gc=False, frozen=True):
    """One turn of a job.

    Attributes:
        think_s: Classical work before its task.
        quantum_s: Device seconds that all its shots really take, on the first of the job's devices; hidden from the
            core. A device with another shot rate takes more or less in proportion.
        estimate_s: What is declared of that; 0 to leave it to the device's shot rate.
        shots: Of the task.
        register: Key of its set-up; empty for none.
    """

    think_s: float
    quantum_s: float
    estimate_s: float
    shots: int
    register: str = ""


class Job(msgspec.Struct, kw_only=True):
    """A user's program, from its arrival to the end of its last round.

    Attributes:
        class_: As submitted. `record_class` is what it counts as, if that is another (a relabelling cheater).
        session: `shared`, `exclusive` or `batch`: one session from its first think to its end. `round`: a session of
            its own for each round. `none`: tasks without one.
        joins: Name of a shared session that it has in common with other jobs of its user; it stays open.
        devices: Where its tasks may run; empty for every device with the `modality` and the `qubits`.
        min_quality: Of the devices' calibration, 0 to 1.
        deadline_s: Seconds after its arrival by which its last task is to be done; 0 for none.
    """

    job: int
    arrival_s: float
    user: str
    project: str = ""
    class_: Class = "development"
    record_class: Class | None = None
    rounds: list[Round]
    session: Literal["shared", "exclusive", "batch", "round", "none"] = "shared"
    joins: str = ""
    devices: tuple[str, ...] = ()
    modality: str = ""
    qubits: int = 0
    min_quality: float = 0.0
    deadline_s: float = 0.0

    @property
    def quantum_s(self) -> float:
        return sum(round.quantum_s for round in self.rounds)

    @property
    def work_s(self) -> float:
        """Think and quantum seconds: how long it takes when nobody is in its way."""
        return sum(round.think_s + round.quantum_s for round in self.rounds)


class Workload(msgspec.Struct, kw_only=True):
    """A name, the jobs in order of arrival, and the site they were made for (or its name).

    `jobs` may be an iterator, and is then good for one run. With a `population` the arrival times do not count: so many
    jobs are there at any time, and the next one comes when one ends. Every `ask_every`-th task is worth asking for its
    estimate: the rest would say the same, and asking takes milliseconds.
    """

    name: str
    site: str | Site
    jobs: Iterable[Job]
    seed: int = 0
    population: int = 0
    ask_every: int = 20


def together(name: str, *workloads: Workload) -> Workload:
    """Several workloads as one, on the first one's site; the jobs are numbered anew."""

    def jobs() -> Iterator[Job]:
        for number, job in enumerate(merge(*(w.jobs for w in workloads), key=lambda job: job.arrival_s), 1):
            yield msgspec.structs.replace(job, job=number)

    return Workload(name=name, site=workloads[0].site, jobs=jobs(), seed=workloads[0].seed)
