"""A store in memory, for simulation: it loses what is not committed, fails on demand, and is the same every time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from quarterdeck.daemon.store import Blob, EventRow, KeyRow, Loaded, NounRow, Record, SliceRow, TaskQuery, TaskRow
from quarterdeck.errors import StoreUnavailable


class MemoryStore:
    """A `Store` whose commits take up to `latency_s` seconds of the loop's time; see there for what methods promise.

    The object outlives a simulated crash, as a disk does.
    """

    name = "memory"

    def __init__(self, random: Random, latency_s: float) -> None:
        self._random = random
        self._latency_s = latency_s
        self._events: list[EventRow] = []
        self._tasks: dict[str, TaskRow] = {}
        self._slices: dict[tuple[str, int], SliceRow] = {}
        self._nouns: dict[tuple[str, str], NounRow] = {}
        self._blobs: dict[tuple[str, str], Blob] = {}
        self._keys: dict[int, KeyRow] = {}
        self._epoch = 0
        self._url = ""
        self._waiting: list[Record] = []
        self._commit: asyncio.TimerHandle | None = None
        self._failed: Callable[[Exception], None] | None = None
        self._fail_next = False

    # -- trouble --------------------------------------------------------------------------------------------------

    def crash(self) -> None:
        """The process dies: what waits is lost, or became durable without anybody being told."""
        if self._random.random() < 0.5:
            self._keep(self._waiting)
        self._drop()

    def fail_next(self) -> None:
        """Let the next commit fail, as on a full disk."""
        self._fail_next = True

    def heal(self) -> None:
        """Let no commit fail any more."""
        self._fail_next = False

    def _drop(self) -> None:
        self._waiting = []
        self._failed = None
        if self._commit is not None:
            self._commit.cancel()
            self._commit = None

    # -- writing --------------------------------------------------------------------------------------------------

    async def lead(self) -> int:
        self._epoch += 1
        return self._epoch

    def start(self, failed: Callable[[Exception], None]) -> None:
        self._drop()
        self._failed = failed

    def append(self, record: Record) -> None:
        if self._failed is None:
            raise StoreUnavailable("the store", "it is not written to now", 1.0)
        self._waiting.append(record)
        if self._commit is None:
            delay_s = self._latency_s * self._random.random()
            self._commit = asyncio.get_running_loop().call_later(delay_s, self._flush)

    def _flush(self) -> None:
        batch, self._waiting, self._commit = self._waiting, [], None
        if self._fail_next and self._failed is not None:
            self._fail_next, failed, self._failed = False, self._failed, None
            failed(StoreUnavailable("the store", "no space left on device", 1.0))
            return
        number = len(self._events)
        self._keep(batch)
        for record in batch:
            number += len(record.events)
            record.done(number)

    def _keep(self, batch: list[Record]) -> None:
        for record in batch:
            self._events += record.events
            self._tasks.update((task.id, task) for task in record.tasks)
            self._slices.update(((slice.task, slice.index), slice) for slice in record.slices)
            self._nouns.update(((noun.kind, noun.id), noun) for noun in record.nouns)
            for blob in record.blobs:
                self._blobs.setdefault((blob.kind, blob.id), blob)
            self._keys.update((key.seq, key) for key in record.keys)

    async def stop(self) -> None:
        if self._failed is not None and self._waiting:
            self._flush()
        self._drop()

    async def close(self) -> None:
        await self.stop()

    async def advertise(self, url: str) -> None:
        self._url = url

    async def leader_url(self) -> str:
        return self._url

    async def forget_keys(self, before_s: float) -> None:
        self._keys = {seq: row for seq, row in self._keys.items() if row.at_s >= before_s}

    # -- reading --------------------------------------------------------------------------------------------------

    async def load(self, keys_since_s: float) -> Loaded:
        return Loaded(
            last_event=len(self._events),
            last_task_seq=max((task.seq for task in self._tasks.values()), default=0),
            tasks=[task.body for task in self._tasks.values() if task.live],
            slices=[slice.body for slice in self._slices.values() if slice.live],
            nouns=[(noun.kind, noun.body) for noun in self._nouns.values() if noun.live],
            keys=[(seq, row.key) for seq, row in self._keys.items() if row.at_s >= keys_since_s],
        )

    async def task(self, id: str) -> bytes | None:
        task = self._tasks.get(id)
        return task.body if task else None

    async def tasks(self, query: TaskQuery) -> list[tuple[int, bytes]]:
        wanted = {name: getattr(query, name) for name in ("user", "state", "session", "device")}
        found = [
            task
            for task in self._tasks.values()
            if all(value is None or getattr(task, name) == value for name, value in wanted.items())
            and (query.before_seq is None or task.seq < query.before_seq)
        ]
        found.sort(key=lambda task: -task.seq)
        return [(task.seq, task.body) for task in found[: query.limit]]

    async def slices(self, task: str) -> list[tuple[bytes, str | None]]:
        mine = sorted((slice.index, slice) for slice in self._slices.values() if slice.task == task)
        return [(slice.body, slice.result) for _, slice in mine]

    async def noun(self, kind: str, id: str) -> bytes | None:
        noun = self._nouns.get((kind, id))
        return noun.body if noun else None

    async def nouns(self, kind: str, since: str = "", before: str = "") -> list[bytes]:
        found = (noun for noun in self._nouns.values() if noun.kind == kind and noun.id >= since)
        return [noun.body for noun in found if not before or noun.id < before]

    async def blob(self, kind: str, id: str) -> tuple[bytes, bytes] | None:
        blob = self._blobs.get((kind, id))
        return (blob.meta, blob.content) if blob else None

    async def key(self, seq: int) -> KeyRow | None:
        return self._keys.get(seq)

    async def events(
        self, after: int, limit: int, task: str | None = None, user: str | None = None
    ) -> list[tuple[int, bytes]]:
        found = []
        for number in range(max(0, after), len(self._events)):
            event = self._events[number]
            if (task is None or event.task == task) and (user is None or event.user in (None, user)):
                found.append((number + 1, event.body))
                if len(found) == limit:
                    break
        return found
