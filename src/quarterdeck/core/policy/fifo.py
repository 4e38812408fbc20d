"""First come, first served: one line per device, and one per exclusive session."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import ClassVar

from quarterdeck.core.nouns import Device, Task
from quarterdeck.core.policy.line import Line
from quarterdeck.core.policy.policy import Place


class _Queue:
    """Tasks in order of submission, those that pause after a fault aside."""

    def __init__(self) -> None:
        self.ready: list[int] = []
        self.paused: list[tuple[float, int]] = []
        self.tasks: dict[int, Task] = {}
        self.line = Line()

    def head(self, now_s: float) -> Task | None:
        while self.paused and (self.paused[0][0] <= now_s or self.paused[0][1] not in self.tasks):
            _, seq = heappop(self.paused)
            if seq in self.tasks:
                heappush(self.ready, seq)
        while self.ready:
            task = self.tasks.get(self.ready[0])
            if task is not None and task.not_before_s <= now_s:
                return task
            heappop(self.ready)  # gone, or it pauses and stands in `paused` too
        return None


class Fifo:
    """First come, first served. A task with shots left keeps its place; one that paused after a fault is passed by."""

    name: ClassVar[str] = "fifo"

    def __init__(self) -> None:
        self._queues: dict[tuple[str, str], _Queue] = {}
        self._home: dict[str, str] = {}  # exclusive session's tasks: task id -> session
        self._queued: dict[str, int] = {}

    def _queue(self, device: str, session: str) -> _Queue:
        key = (device, session)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue()
        return queue

    def add(self, task: Task, exclusive: bool, work_s: float) -> None:
        if exclusive:
            self._home[task.id] = task.session
        queue = self._queue(task.device, task.session if exclusive else "")
        queue.tasks[task.seq] = task
        queue.line.add(task.seq, work_s)
        self._queued[task.device] = self._queued.get(task.device, 0) + 1
        if task.not_before_s:
            heappush(queue.paused, (task.not_before_s, task.seq))
        elif not queue.ready or queue.ready[0] != task.seq:  # the head that comes back still has its entry
            heappush(queue.ready, task.seq)

    def remove(self, task: Task) -> None:
        session = self._home.pop(task.id, "")
        queue = self._queue(task.device, session)
        if queue.tasks.pop(task.seq, None) is None:
            return
        queue.line.remove(task.seq)
        self._queued[task.device] -= 1
        if not queue.tasks:
            del self._queues[task.device, session]

    def pick(self, device: Device, session: str, now_s: float) -> Task | None:
        queue = self._queues.get((device.id, session))
        return queue.head(now_s) if queue else None

    def wake_s(self, device: Device, session: str) -> float | None:
        queue = self._queues.get((device.id, session))
        return queue.paused[0][0] if queue and queue.paused and not queue.ready else None

    def place(self, task: Task) -> Place:
        queue = self._queue(task.device, self._home.get(task.id, ""))
        return Place(*queue.line.ahead(task.seq))

    def queued(self, device: str) -> int:
        return self._queued.get(device, 0)
