"""The base of every policy but `fifo`: streams of tasks that are alike, ranked by a value for each."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heappop, heappush
from math import log2
from typing import Any, ClassVar

import numpy as np

from quarterdeck.core.nouns import Device, Task
from quarterdeck.core.policy.policy import Cause, Choice, Facts, Moment, Place
from quarterdeck.core.policy.settings import PolicySettings
from quarterdeck.core.policy.slicing import UNSURE, min_slice_s, setup_s
from quarterdeck.core.policy.streams import CLASSES, Floats, Queue

NEVER = -np.inf
BINS = 8
"""Sizes within a factor of 2**(1/8), 9 %, count as alike."""


class Ranked:
    """A policy whose order is a value for each stream, greatest first, ties in order of arrival.

    Derived classes give `key` (which tasks are alike), `fill` (the columns of a head), and `values`.
    """

    name: ClassVar[str] = "ranked"

    def __init__(self, settings: PolicySettings | None = None) -> None:
        self.settings = settings if settings is not None else PolicySettings()
        self._queues: dict[tuple[str, str], Queue] = {}
        self._homes: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._queued: dict[str, int] = {}
        self._facts: Facts

    def bind(self, facts: Facts) -> None:
        self._facts = facts

    # -- what derived classes give --------------------------------------------------------------------------------

    def key(self, task: Task, work_s: float) -> Hashable:
        """Tasks with the same key follow each other in order of arrival. Same user, project and quality at least."""
        raise NotImplementedError

    def fill(self, queue: Queue, row: int, task: Task, device: Device, work_s: float) -> None:
        """Write the columns of a new head, beyond those that all policies have."""

    def values(self, queue: Queue, moment: Moment) -> Floats:
        """One value for each row; a new array."""
        raise NotImplementedError

    def choose(self, queue: Queue, moment: Moment, values: Floats) -> tuple[int, Cause]:
        """The row to take. `values` may hold `NEVER`."""
        return int(values.argmax()), "order"

    # -- the interface --------------------------------------------------------------------------------------------

    def add(self, task: Task, lane: str) -> None:
        devices = task.eligible
        self._homes[task.id] = (lane, devices)
        for device in devices:
            self._queued[device] = self._queued.get(device, 0) + 1
            queue = self._queues.get((device, lane))
            if queue is None:
                queue = self._queues[device, lane] = Queue()
            if task.not_before_s > self._facts.now_s:
                heappush(queue.paused, (task.not_before_s, task.seq))
                queue.tasks[task.seq] = task
            else:
                self._enter(queue, task, device)

    def _enter(self, queue: Queue, task: Task, device: str) -> None:
        machine = self._facts.devices[device]
        work_s = self._facts.work_s(task, machine)
        row = queue.enter(task, self.key(task, work_s), work_s)
        if row is not None:
            self._fill(queue, row, task, machine, work_s)

    def _fill(self, queue: Queue, row: int, task: Task, device: Device, work_s: float) -> None:
        queue.seq[row] = task.seq
        queue.work[row] = work_s
        queue.need[row] = min(min_slice_s(device, self.settings), UNSURE * work_s) + device.overhead_s
        queue.register[row] = hash(task.register) if task.register else 0
        queue.class_[row] = CLASSES[task.class_]
        self.fill(queue, row, task, device, work_s)

    def remove(self, task: Task) -> None:
        home = self._homes.pop(task.id, None)
        if home is None:
            return
        lane, devices = home
        for device in devices:
            self._queued[device] -= 1
            queue = self._queues[device, lane]
            if task.seq not in queue.homes:
                queue.tasks.pop(task.seq, None)  # it pauses
            elif (stream := queue.leave(task)) is not None:
                head = queue.tasks[stream.seqs[0]]
                self._fill(queue, stream.row, head, self._facts.devices[device], queue.works[head.seq])
            if not queue.tasks and lane:
                del self._queues[device, lane]

    def pick(self, moment: Moment) -> Choice | None:
        queue = self._queues.get((moment.device.id, moment.lane))
        if queue is None:
            return None
        if queue.paused:
            self._wake(queue, moment.device.id, moment.now_s)
        if not queue.rows:
            return None
        if len(queue.rows) == 1:
            return self._only(queue, moment)
        values = self.values(queue, moment)
        self._mask(queue, moment, values)
        while True:
            row, cause = self.choose(queue, moment, values)
            value = values.item(row)
            if value == NEVER:
                return None
            values[row] = NEVER
            rival = int(values.argmax())
            second = values.item(rival)
            if second == value and cause == "order":  # equals go in order of arrival
                equals = np.append(np.flatnonzero(values == value), row)
                values[equals] = value
                row, rival = equals[np.argsort(queue.seq[equals])[:2]].tolist()
                values[row] = NEVER
            task = queue.head(row)
            shots = self._facts.fit(moment.device, task, moment.gap_s)
            if shots:
                if second == NEVER:
                    return Choice(task, shots, cause)
                return Choice(task, shots, cause, queue.head(rival).id, self.lead(value, second))
            if not self.settings.backfill:
                return None

    def _only(self, queue: Queue, moment: Moment) -> Choice | None:
        """The choice when there is none."""
        task, device = queue.head(0), moment.device
        if not moment.admits(task) or queue.need[0] + setup_s(task, device) > moment.gap_s:
            return None
        shots = self._facts.fit(device, task, moment.gap_s)
        return Choice(task, shots) if shots else None

    def lead(self, value: float, rival: float) -> float:
        """By how much a value is ahead of another, for the record."""
        return value - rival

    def _mask(self, queue: Queue, moment: Moment, values: Floats) -> None:
        """Leave out whom a reservation keeps away, and what is not worth starting before the next window."""
        if moment.holder is not None:
            for row in range(len(queue)):
                if not moment.admits(queue.head(row)):
                    values[row] = NEVER
        device = moment.device
        if moment.gap_s <= device.setup_s + device.overhead_s + min_slice_s(device, self.settings):
            n = len(queue)
            lacking_s: Any = device.setup_s
            if device.register:
                lacking_s = np.where(queue.register[:n] == hash(device.register), 0.0, device.setup_s)
            values[queue.need[:n] + lacking_s > moment.gap_s] = NEVER

    def _wake(self, queue: Queue, device: str, now_s: float) -> None:
        while queue.paused and queue.paused[0][0] <= now_s:
            _, seq = heappop(queue.paused)
            task = queue.tasks.get(seq)
            if task is not None and seq not in queue.homes:
                self._enter(queue, task, device)

    def wake_s(self, device: Device, lane: str) -> float | None:
        queue = self._queues.get((device.id, lane))
        return queue.paused[0][0] if queue is not None and queue.paused else None

    def served(self, device: Device, task: Task, seconds: float) -> None:
        pass

    def place(self, task: Task, device: Device) -> Place:
        lane, _ = self._homes[task.id]
        queue = self._queues[device.id, lane]
        stream = queue.homes.get(task.seq)
        if stream is None:  # it pauses: behind everybody
            return Place(len(queue.homes), sum(queue.works.values()))
        values = self.values(queue, Moment(device, self._facts.now_s, np.inf, lane))
        mine, me = values[stream.row], int(queue.seq[stream.row])
        count, work_s = queue.ahead(task)
        for row in np.flatnonzero(values >= mine):
            other = queue.rows[row]
            if other is not stream and (values[row] > mine or queue.seq[row] < me):
                count += other.count
                work_s += other.work_s
        return Place(count, max(0.0, work_s))

    def queued(self, device: str) -> int:
        return self._queued.get(device, 0)

    def explain(self, task: Task, device: Device) -> dict[str, float]:
        return {}

    def leader(self, task: Task, device: Device) -> dict[str, float]:
        queue = self._queues[device.id, self._homes[task.id][0]] if task.id in self._homes else None
        if queue is None or not queue.rows:
            return {}
        values = self.values(queue, Moment(device, self._facts.now_s, np.inf))
        head = queue.head(int(values.argmax()))
        return self.explain(head, device) if head is not task else {}

    def owed(self, device: str) -> dict[str, float]:
        return {}

    def knobs(self) -> dict[str, Any]:
        used = ("slices", "backfill", "slice_overhead", "slice_min_s", "usage_half_life_s")
        return {"name": self.name, **{name: getattr(self.settings, name) for name in used}}


def alike(task: Task) -> tuple[Hashable, ...]:
    """What tasks of one stream have in common at least."""
    return (task.user, task.project, task.min_quality)


def size(work_s: float) -> int:
    """The bin of a size."""
    return round(BINS * log2(max(work_s, 1e-6)))
