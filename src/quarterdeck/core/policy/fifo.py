"""First come, first served."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from quarterdeck.core.nouns import Device, Task
from quarterdeck.core.policy.line import Line
from quarterdeck.core.policy.policy import Moment, Place
from quarterdeck.core.policy.ranked import Ranked, alike
from quarterdeck.core.policy.settings import PolicySettings
from quarterdeck.core.policy.streams import Floats, Queue


class Fifo(Ranked):
    """First come, first served. A task with shots left keeps its place; one that paused after a fault is passed by.

    It takes the place of a policy that failed.
    """

    name: ClassVar[str] = "fifo"

    def __init__(self, settings: PolicySettings | None = None) -> None:
        super().__init__(settings)
        self._lines: dict[tuple[str, str], Line] = {}

    def key(self, task: Task, work_s: float) -> Hashable:
        return alike(task)

    def values(self, queue: Queue, moment: Moment) -> Floats:
        return -queue.seq[: len(queue)].astype(float)

    def add(self, task: Task, lane: str) -> None:
        super().add(task, lane)
        for device in task.eligible:
            line = self._lines.get((device, lane))
            if line is None:
                line = self._lines[device, lane] = Line()
            line.add(task.seq, self._facts.work_s(task, self._facts.devices[device]))

    def remove(self, task: Task) -> None:
        home = self._homes.get(task.id)
        super().remove(task)
        if home is not None:
            for device in home[1]:
                line = self._lines[device, home[0]]
                line.remove(task.seq)
                if not line.total:
                    del self._lines[device, home[0]]

    def place(self, task: Task, device: Device) -> Place:
        return Place(*self._lines[device.id, self._homes[task.id][0]].ahead(task.seq))
