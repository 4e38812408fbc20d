"""Waiting tasks in streams: tasks that are alike follow each other in order of arrival, and only the heads compete.

The heads' ranks lie in numpy columns, so that a choice is a handful of vector operations over the streams, however many
tasks there are: 0.1 ms for some ten thousand streams.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quarterdeck.core.nouns import Task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CLASSES = {"production": 0, "test": 1, "development": 2}


class Stream:
    """Tasks that are alike, by sequence number; those that left are dropped when they come up."""

    __slots__ = ("count", "key", "row", "seqs", "work_s")

    def __init__(self, key: Hashable, row: int) -> None:
        self.key = key
        self.row = row
        self.seqs: list[int] = []
        self.count = 0
        self.work_s = 0.0


class Queue:
    """The tasks that wait for one device (or for one exclusive session on it).

    Columns, one row for each stream's head: `near` and `far`, the coefficients without and with a set-up; `zero`, the
    time from which it grows; `need`, seconds of the shortest slice; `seq`; `work`; `user`; `register`; `class_`.
    """

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.works: dict[int, float] = {}
        self.homes: dict[int, Stream] = {}
        self.streams: dict[Hashable, Stream] = {}
        self.rows: list[Stream] = []
        self.paused: list[tuple[float, int]] = []
        self.classes = [0, 0, 0]
        self.deadlines: set[int] = set()
        self._columns(16)

    def _columns(self, size: int) -> None:
        self.near: Floats = np.zeros(size)
        self.far: Floats = np.zeros(size)
        self.zero: Floats = np.zeros(size)
        self.need: Floats = np.zeros(size)
        self.work: Floats = np.zeros(size)
        self.seq: Ints = np.zeros(size, np.int64)
        self.user: Ints = np.zeros(size, np.int64)
        self.register: Ints = np.zeros(size, np.int64)
        self.class_: Ints = np.zeros(size, np.int64)
        self.all: tuple[NDArray[Any], ...] = (
            self.near, self.far, self.zero, self.need, self.work, self.seq, self.user, self.register, self.class_,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    def enter(self, task: Task, key: Hashable, work_s: float) -> int | None:
        """The task waits. Returns the row to fill if it is the head of its stream now."""
        stream = self.streams.get(key)
        if stream is None:
            row = len(self.rows)
            if row == len(self.seq):
                self._grow()
            stream = self.streams[key] = Stream(key, row)
            self.rows.append(stream)
        seq = task.seq
        self.tasks[seq] = task
        self.works[seq] = work_s
        self.homes[seq] = stream
        self.classes[CLASSES[task.class_]] += 1
        if task.deadline_s:
            self.deadlines.add(seq)
        heappush(stream.seqs, seq)
        stream.count += 1
        stream.work_s += work_s
        return stream.row if stream.seqs[0] == seq else None

    def leave(self, task: Task) -> Stream | None:
        """The task waits no more. Returns its stream if that has another head now, whose row is to be filled."""
        seq = task.seq
        if self.tasks.pop(seq, None) is None:
            return None
        self.classes[CLASSES[task.class_]] -= 1
        if task.deadline_s:
            self.deadlines.discard(seq)
        stream = self.homes.pop(seq)
        stream.count -= 1
        stream.work_s -= self.works.pop(seq)
        seqs = stream.seqs
        if not stream.count:
            self._drop(stream)
            return None
        if seqs[0] != seq:
            if len(seqs) > 64 and len(seqs) > 4 * stream.count:
                seqs[:] = {one for one in seqs if self.homes.get(one) is stream}
                heapify(seqs)
            return None
        heappop(seqs)
        while self.homes.get(seqs[0]) is not stream:
            heappop(seqs)
        return stream

    def head(self, row: int) -> Task:
        """The first task of a stream."""
        return self.tasks[self.rows[row].seqs[0]]

    def ahead(self, task: Task) -> tuple[int, float]:
        """Tasks before it in its own stream, and their work. O(length of the stream)."""
        stream = self.homes[task.seq]
        before = {seq for seq in stream.seqs if seq < task.seq and self.homes.get(seq) is stream}
        return len(before), sum(self.works[seq] for seq in before)

    def _drop(self, stream: Stream) -> None:
        del self.streams[stream.key]
        last = self.rows.pop()
        if last is not stream:
            row = last.row = stream.row
            self.rows[row] = last
            at = len(self.rows)
            for column in self.all:
                column[row] = column[at]

    def _grow(self) -> None:
        old = self.all
        size = len(self.seq)
        self._columns(2 * size)
        for column, values in zip(self.all, old, strict=True):
            column[:size] = values
