"""The orders of service of other systems and of the textbook, to compare with."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

import numpy as np

from quarterdeck.core.nouns import Device, Task
from quarterdeck.core.policy.policy import Moment
from quarterdeck.core.policy.ranked import Ranked, alike, size
from quarterdeck.core.policy.streams import Floats, Queue


class Priority(Ranked):
    """Production before tests before development, each in order of arrival. Starves development under load."""

    name: ClassVar[str] = "priority"

    def key(self, task: Task, work_s: float) -> Hashable:
        return (*alike(task), task.class_)

    def values(self, queue: Queue, moment: Moment) -> Floats:
        n = len(queue)
        return (-(queue.class_[:n] << 45) - queue.seq[:n]).astype(np.float64)


class Shortest(Ranked):
    """Shortest remaining work first, to within 9 %."""

    name: ClassVar[str] = "sjf"

    def key(self, task: Task, work_s: float) -> Hashable:
        return (*alike(task), size(work_s))

    def values(self, queue: Queue, moment: Moment) -> Floats:
        return -queue.work[: len(queue)]


class ResponseRatio(Ranked):
    """Highest response ratio next: (waited + work) / work, per task (Brinch Hansen 1971; Origin Pilot's)."""

    name: ClassVar[str] = "hrrn"

    def key(self, task: Task, work_s: float) -> Hashable:
        return (*alike(task), size(work_s))

    def fill(self, queue: Queue, row: int, task: Task, device: Device, work_s: float) -> None:
        queue.zero[row] = task.submitted_s

    def values(self, queue: Queue, moment: Moment) -> Floats:
        n = len(queue)
        return (moment.now_s - queue.zero[:n]) / np.maximum(queue.work[:n], 1e-3)


class FairShare(Ranked):
    """The user who had the least for what the project is entitled to comes first, each in order of arrival."""

    name: ClassVar[str] = "fairshare"

    def key(self, task: Task, work_s: float) -> Hashable:
        return alike(task)

    def values(self, queue: Queue, moment: Moment) -> Floats:
        usage = self._facts.usage
        share = self._facts.share
        heads = (queue.head(row) for row in range(len(queue)))
        return np.array([-usage(task.project, task.user) / share(task.project) for task in heads])
