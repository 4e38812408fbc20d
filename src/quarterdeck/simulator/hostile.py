"""A tenant who means harm, to be put `together` with a workload."""

from __future__ import annotations

from quarterdeck.simulator.record import Class
from quarterdeck.simulator.site import Site
from quarterdeck.simulator.workload import Job, Round, Workload


def flood(
    site: str | Site, *, at_s: float = 0.0, tasks: int = 1000, every_s: float = 0.0, quantum_s: float = 1.0,
    estimate_s: float = 0.001, class_: Class = "development", user: str = "mallory", devices: tuple[str, ...] = (),
) -> Workload:  # fmt: skip
    """So many tasks, all at once or one `every_s`, each a job of its own that declares far less than it takes."""
    turn = [Round(0.0, quantum_s, estimate_s, 100)]
    jobs = [
        Job(job=n + 1, arrival_s=at_s + n * every_s, user=user, project=user, class_=class_, record_class=class_,
            rounds=turn, session="none", devices=devices)
        for n in range(tasks)
    ]  # fmt: skip
    return Workload(name="flood", site=site, jobs=jobs)
