"""The only writer: a thread that makes many records durable in one transaction."""

from __future__ import annotations

import asyncio
import logging
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from quarterdeck.daemon.sql.statements import Statements
from quarterdeck.daemon.store import Blob, KeyRow, NounRow, Record, SliceRow, TaskRow
from quarterdeck.errors import StoreUnavailable

log = logging.getLogger(__name__)
_tuple = msgspec.structs.astuple

BATCH = 512
"""Records in one transaction at most: more hardly pays, and the first of them waits for the last."""
WAITING = 20_000
"""Records that may wait before more are refused."""
PLAIN_BYTES = 256
"""Content up to this size is stored as it is: compressing it gains nothing."""


class Chore(msgspec.Struct, gc=False):
    """A seldom write that no record stands for, in the same queue and transaction. `ended` is called on the loop."""

    run: Callable[[Connection], None]
    ended: Callable[[Exception | None], None]


def unavailable(name: str, error: BaseException) -> StoreUnavailable:
    """A database's exception in our words, without statement and parameters."""
    if isinstance(error, StoreUnavailable):
        return StoreUnavailable(error.what, error.why, error.retry_after_s)
    cause = getattr(error, "orig", None) or error
    return StoreUnavailable(f"the store ({name})", " ".join(str(cause).split()) or type(cause).__name__, 1.0)


class Writer:
    """Commits what is appended, in its order, from `start` until `stop` or the first failure.

    connection: used by this thread alone until `join`
    seq: number of the log's last entry
    epoch: ours; None where no fence is needed
    failed: called on the loop, at most once; after it no `done` is called
    """

    def __init__(
        self, name: str, connection: Connection, statements: Statements, seq: int, epoch: int | None,
        failed: Callable[[Exception], None],
    ) -> None:  # fmt: skip
        self._name = name
        self._connection = connection
        self._sql = statements
        self._seq = seq
        self._epoch = epoch
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Record | Chore | None] = SimpleQueue()
        self._waiting = 0
        self.failure: Exception | None = None
        self._stopping = False
        self._told = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    # -- on the event loop ----------------------------------------------------------------------------------------

    def append(self, record: Record | Chore) -> None:
        if self.failure is not None:
            raise unavailable(self._name, self.failure)
        if self._stopping:
            raise StoreUnavailable(f"the store ({self._name})", "it is stopping", 1.0)
        if self._waiting >= WAITING:
            raise StoreUnavailable(f"the store ({self._name})", f"{WAITING} writes are waiting for it", 1.0)
        self._waiting += 1
        self._queue.put(record)

    def fail(self, error: Exception) -> None:
        """Give up: what is not committed yet is not acknowledged any more."""
        if self.failure is None:
            self.failure = error
        self._queue.put(None)
        self._tell()

    def stop(self) -> None:
        """Commit what waits, then end. Follow it by `join` on another thread."""
        if not self._stopping:
            self._stopping = True
            self._queue.put(None)

    def join(self) -> None:
        self._thread.join()

    def _durable(self, batch: list[Record | Chore], numbers: list[int]) -> None:
        self._waiting -= len(batch)
        if self._told:
            return  # the loop was told of a failure in the meantime, and starts over from what is durable
        for item, number in zip(batch, numbers, strict=True):
            if type(item) is Record:
                item.done(number)
            elif type(item) is Chore:
                item.ended(None)

    def _tell(self) -> None:
        if self._told or self.failure is None:
            return
        self._told = True
        self._failed(self.failure)

    def _drop(self, batch: list[Record | Chore]) -> None:
        for item in batch:
            if type(item) is Chore:
                item.ended(self.failure)

    # -- on the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        batch: list[Record | Chore] = []
        try:
            more = True
            while more:
                batch, more = self._next()
                if self.failure is not None:
                    break
                if batch:
                    numbers = self._commit(batch)
                    self._on_loop(self._durable, batch, numbers)
                    batch = []
        except (SQLAlchemyError, OSError) as error:
            self.failure = self.failure or unavailable(self._name, error)
        except Exception as error:  # a StoreUnavailable, or a defect of ours: the loop must hear of it
            self.failure = self.failure or error
        if self.failure is not None:
            while self._queue.qsize():
                item = self._queue.get()
                if item is not None:
                    batch.append(item)
            log.debug("the writer gives up with %d records", len(batch))
            self._on_loop(self._tell)
            self._on_loop(self._drop, batch)

    def _on_loop(self, call: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(call, *args)

    def _next(self) -> tuple[list[Record | Chore], bool]:
        batch: list[Record | Chore] = []
        take = self._queue.get_nowait
        item = self._queue.get()
        try:
            while item is not None:
                batch.append(item)
                if len(batch) == BATCH:
                    return batch, True
                item = take()
        except Empty:
            return batch, True
        return batch, False

    def _commit(self, batch: list[Record | Chore]) -> list[int]:
        """Write a batch in one transaction; return the log's number after each of its items."""
        events: list[tuple[int, str | None, str | None, bytes]] = []
        tasks: dict[str, TaskRow] = {}
        slices: dict[tuple[str, int], SliceRow] = {}
        nouns: dict[tuple[str, str], NounRow] = {}
        blobs: dict[tuple[str, str], Blob] = {}
        keys: dict[int, KeyRow] = {}
        chores: list[Chore] = []
        numbers: list[int] = []
        seq = self._seq
        for item in batch:
            if type(item) is Record:
                for event in item.events:
                    seq += 1
                    events.append((seq, event.task, event.user, event.body))
                for task in item.tasks:
                    tasks[task.id] = task
                for slice in item.slices:
                    slices[slice.task, slice.index] = slice
                for noun in item.nouns:
                    nouns[noun.kind, noun.id] = noun
                for blob in item.blobs:
                    blobs.setdefault((blob.kind, blob.id), blob)
                for key in item.keys:
                    keys[key.seq] = key
            elif type(item) is Chore:
                chores.append(item)
            numbers.append(seq)
        sql, connection = self._sql, self._connection
        with connection.begin():
            write = connection.exec_driver_sql
            if self._epoch is not None and write(sql.fence, (self._epoch,)).first() is None:
                raise StoreUnavailable(f"the store ({self._name})", "fenced: another daemon leads", 1.0)
            if events:
                write(sql.event, events)
            if tasks:
                write(sql.task, [_tuple(row) for row in tasks.values()])
            if slices:
                write(sql.slice, [_tuple(row) for row in slices.values()])
            if nouns:
                write(sql.noun, [_tuple(row) for row in nouns.values()])
            if blobs:
                write(sql.blob, [(row.kind, row.id, row.meta, *pack(row.content)) for row in blobs.values()])
            if keys:
                write(sql.key, [_tuple(row) for row in keys.values()])
            for chore in chores:
                chore.run(connection)
        self._seq = seq
        return numbers


def pack(content: bytes) -> tuple[int, bytes]:
    """Codec and stored form of a blob's content."""
    return (0, content) if len(content) <= PLAIN_BYTES else (1, zlib.compress(content, 1))


def unpack(codec: int, stored: bytes) -> bytes:
    """The content that `pack` stored."""
    return stored if codec == 0 else zlib.decompress(stored)
