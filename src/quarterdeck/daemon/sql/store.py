"""What SQLite and PostgreSQL have in common: leading, loading and reading."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, Select, delete, func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from quarterdeck.daemon.sql import tables as t
from quarterdeck.daemon.sql.migrate import migrate
from quarterdeck.daemon.sql.statements import Statements, bump
from quarterdeck.daemon.sql.writer import Chore, Writer, unavailable, unpack
from quarterdeck.daemon.store import KeyRow, Loaded, Record, TaskQuery
from quarterdeck.errors import StoreUnavailable

log = logging.getLogger(__name__)
CHUNK = 10_000
READERS = 4


class SqlStore(ABC):
    """Durable state in a database; see `daemon.store.Store`.

    Reads run on a few threads with connections of their own. Taking and giving up the lead runs on one more thread, one
    step after the other: so whatever is cancelled half-way is undone afterwards.
    """

    name: str
    poll_s = 0.03
    """How often to try for the lead."""
    fenced = False
    _statements: Statements
    _reads: Engine

    def __init__(self) -> None:
        self._readers = ThreadPoolExecutor(READERS, "store-reader")
        self._control = ThreadPoolExecutor(1, "store-control")
        self._connection: Connection | None = None
        self._writer: Writer | None = None
        self._epoch = 0
        self._seq = 0

    # -- what the databases do differently; called on the control thread -------------------------------------------

    @abstractmethod
    def _try_lock(self) -> bool:
        """Try to become the only one. Without waiting; may raise."""

    @abstractmethod
    def _unlock(self) -> None:
        """Undo `_try_lock`, also half-way and twice. Does not raise."""

    @abstractmethod
    def _connect(self) -> Connection:
        """A connection to write with."""

    @abstractmethod
    def _dispose(self) -> None:
        """Close every connection."""

    def _watch(self, lost: Callable[[Exception], None]) -> None:  # noqa: B027  # nothing to watch, as a rule
        """On the event loop: call `lost` when the lead is lost."""

    def _unwatch(self) -> None:  # noqa: B027
        """On the event loop: end `_watch`."""

    # -- the lead ---------------------------------------------------------------------------------------------------

    async def lead(self) -> int:
        """Wait for the lead, bring the tables up to date, and take the next epoch."""
        try:
            while not await self._controlled(self._try_lock):
                await asyncio.sleep(self.poll_s)
            return await self._controlled(self._take_over)
        except BaseException:
            self._control.submit(self._let_go)
            raise

    def _take_over(self) -> int:
        self._connection = self._connect()
        migrate(self._connection)
        with self._connection.begin():
            self._connection.execute(bump)
            self._epoch = self._connection.execute(select(t.leader.c.epoch)).scalar_one()
            self._seq = self._connection.execute(select(func.max(t.event.c.seq))).scalar() or 0
        return self._epoch

    async def load(self, keys_since_s: float) -> Loaded:
        return await self._controlled(self._load, keys_since_s)

    def _load(self, keys_since_s: float) -> Loaded:
        connection = self._led()

        def column(query: Select[Any]) -> list[bytes]:
            result = connection.execution_options(yield_per=CHUNK).execute(query)
            return [row[0] for rows in result.partitions() for row in rows]

        with connection.begin():
            last = connection.execute(select(func.max(t.task.c.seq))).scalar()
            return Loaded(
                last_event=self._seq,
                last_task_seq=last or 0,
                tasks=column(select(t.task.c.body).where(t.task.c.live).order_by(t.task.c.seq)),
                slices=column(select(t.slice.c.body).where(t.slice.c.live)),
                nouns=[
                    (kind, body) for kind, body in connection.execute(select(t.noun.c.kind, t.noun.c.body).where(t.noun.c.live))
                ],
                keys=column(select(t.key.c.key).where(t.key.c.at_s >= keys_since_s)),
            )

    def _led(self) -> Connection:
        if self._connection is None:
            raise StoreUnavailable(f"the store ({self.name})", "this daemon does not lead", 1.0)
        return self._connection

    def start(self, failed: Callable[[Exception], None]) -> None:
        writer = Writer(
            self.name, self._led(), self._statements, self._seq, self._epoch if self.fenced else None, failed
        )
        self._writer = writer
        self._watch(writer.fail)

    def append(self, record: Record) -> None:
        if self._writer is None:
            raise StoreUnavailable(f"the store ({self.name})", "it is not started", 1.0)
        self._writer.append(record)

    async def stop(self) -> None:
        self._unwatch()
        writer = self._writer
        if writer is not None:
            writer.stop()
            await self._controlled(writer.join)
            self._writer = None
        await self._controlled(self._let_go, writer is None or writer.failure is None)

    def _let_go(self, well: bool = False) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                if well:
                    with connection.begin():
                        connection.execute(update(t.leader).where(t.leader.c.epoch == self._epoch).values(url=""))
            with suppress(SQLAlchemyError):
                connection.invalidate() if not well else None
                connection.close()
        self._unlock()

    async def close(self) -> None:
        await self.stop()
        await self._controlled(self._dispose)
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._control.shutdown(wait=True)

    async def _chore(self, run: Callable[[Connection], None]) -> None:
        """A write beside the records: by the writer if there is one."""
        if self._writer is None:

            def alone() -> None:
                connection = self._led()
                with connection.begin():
                    run(connection)

            return await self._controlled(alone)
        future = asyncio.get_running_loop().create_future()

        def ended(error: Exception | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(unavailable(self.name, error))

        self._writer.append(Chore(run, ended))
        await future

    async def advertise(self, url: str) -> None:
        mine = update(t.leader).where(t.leader.c.epoch == self._epoch).values(url=url)
        await self._chore(lambda connection: void(connection.execute(mine)))

    async def forget_keys(self, before_s: float) -> None:
        old = delete(t.key).where(t.key.c.at_s < before_s)
        await self._chore(lambda connection: void(connection.execute(old)))

    async def _controlled[**P, T](self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...

    # -- reading ----------------------------------------------------------------------------------------------------
