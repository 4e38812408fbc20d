"""What SQLite and PostgreSQL have in common: leading, loading and reading."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, Select, delete, func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from quarterdeck.daemon.sql import tables as t
from quarterdeck.daemon.sql.migrate import migrate
from quarterdeck.daemon.sql.statements import Statements, bump
from quarterdeck.daemon.sql.writer import Chore, Writer, unavailable, unpack
from quarterdeck.daemon.store import KeyRow, Loaded, Record, TaskQuery
from quarterdeck.errors import StoreUnavailable

T = TypeVar("T")
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
            while not await self._controlled(self._try_lock):  # noqa: ASYNC110  # the lock tells nobody that it is free
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
            result = connection.execute(query.execution_options(yield_per=CHUNK))
            return [row[0] for rows in result.partitions() for row in rows]

        with connection.begin():
            last = connection.execute(select(func.max(t.task.c.seq))).scalar()
            return Loaded(
                last_event=self._seq,
                last_task_seq=last or 0,
                tasks=column(select(t.task.c.body).where(t.task.c.live).order_by(t.task.c.seq)),
                slices=column(select(t.slice.c.body).where(t.slice.c.live)),
                nouns=[
                    (kind, body)
                    for kind, body in connection.execute(select(t.noun.c.kind, t.noun.c.body).where(t.noun.c.live))
                ],
                keys=[
                    (seq, key)
                    for seq, key in connection.execute(
                        select(t.key.c.seq, t.key.c.key).where(t.key.c.at_s >= keys_since_s)
                    )
                ],
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
        await self._chore(lambda connection: _execute(connection, mine))

    async def forget_keys(self, before_s: float) -> None:
        old = delete(t.key).where(t.key.c.at_s < before_s)
        await self._chore(lambda connection: _execute(connection, old))

    async def _controlled(self, call: Callable[..., T], *args: Any) -> T:
        return await self._on(self._control, call, *args)

    async def _on(self, pool: ThreadPoolExecutor, call: Callable[..., T], *args: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, call, *args)
        except (SQLAlchemyError, OSError) as error:
            raise unavailable(self.name, error) from None

    # -- reading ----------------------------------------------------------------------------------------------------

    async def _rows(self, query: Select[Any]) -> Sequence[Any]:
        def read() -> Sequence[Any]:
            with self._reads.connect() as connection:
                return connection.execute(query).all()

        return await self._on(self._readers, read)

    async def leader_url(self) -> str:
        rows = await self._rows(select(t.leader.c.url))
        return str(rows[0][0]) if rows else ""

    async def task(self, id: str) -> bytes | None:
        rows = await self._rows(select(t.task.c.body).where(t.task.c.id == id))
        return rows[0][0] if rows else None

    async def tasks(self, query: TaskQuery) -> list[tuple[int, bytes]]:
        columns = t.task.c
        wanted = select(columns.seq, columns.body).order_by(columns.seq.desc()).limit(query.limit)
        for name in ("user", "state", "session", "device"):
            if (value := getattr(query, name)) is not None:
                wanted = wanted.where(columns[name] == value)
        if query.session:
            wanted = wanted.where(columns.session != "")  # says that the partial index will do
        if query.before_seq is not None:
            wanted = wanted.where(columns.seq < query.before_seq)
        return [(seq, body) for seq, body in await self._rows(wanted)]

    async def slices(self, task: str) -> list[tuple[bytes, str | None]]:
        columns = t.slice.c
        wanted = select(columns.body, columns.result).where(columns.task == task).order_by(columns.index)
        return [(body, result) for body, result in await self._rows(wanted)]

    async def noun(self, kind: str, id: str) -> bytes | None:
        rows = await self._rows(select(t.noun.c.body).where(t.noun.c.kind == kind, t.noun.c.id == id))
        return rows[0][0] if rows else None

    async def nouns(self, kind: str, since: str = "", before: str = "") -> list[bytes]:
        columns = t.noun.c
        wanted = select(columns.body).where(columns.kind == kind)
        if since:
            wanted = wanted.where(columns.id >= since)
        if before:
            wanted = wanted.where(columns.id < before)
        return [row[0] for row in await self._rows(wanted)]

    async def blob(self, kind: str, id: str) -> tuple[bytes, bytes] | None:
        columns = t.blob.c
        wanted = select(columns.meta, columns.codec, columns.content).where(columns.kind == kind, columns.id == id)
        for meta, codec, content in await self._rows(wanted):
            return meta, unpack(codec, content)
        return None

    async def key(self, seq: int) -> KeyRow | None:
        rows = await self._rows(select(t.key).where(t.key.c.seq == seq))
        return KeyRow(*rows[0]) if rows else None

    async def events(
        self, after: int, limit: int, task: str | None = None, user: str | None = None
    ) -> list[tuple[int, bytes]]:
        columns = t.event.c
        wanted = select(columns.seq, columns.body).where(columns.seq > after).order_by(columns.seq).limit(limit)
        if task is not None:
            wanted = wanted.where(columns.task == task)
        if user is not None:
            wanted = wanted.where(or_(columns.user == user, columns.user.is_(None)))
        return [(seq, body) for seq, body in await self._rows(wanted)]


def _execute(connection: Connection, statement: Executable) -> None:
    connection.execute(statement)
