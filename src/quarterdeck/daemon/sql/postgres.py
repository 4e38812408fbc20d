"""PostgreSQL: several daemons, one leads. An advisory lock says who, an epoch in every transaction makes sure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg  # noqa: F401  # says what is missing before anything else does
from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from quarterdeck.daemon.sql.statements import statements
from quarterdeck.daemon.sql.store import READERS, SqlStore
from quarterdeck.errors import StoreUnavailable

LOCK = 0x7164_6563_6B
"""The number of the advisory lock: "qdeck" in ASCII."""
_ALIVE = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "qdeck",
}


class PostgresStore(SqlStore):
    """State in the database that `url` names. What the URL's query sets overrides our connection settings."""

    name = "postgresql"
    fenced = True

    def __init__(self, url: URL) -> None:
        super().__init__()
        url = url.set(drivername="postgresql+psycopg")
        settings: dict[str, Any] = {
            "connect_args": {name: value for name, value in _ALIVE.items() if name not in url.query},
            "paramstyle": "format",
        }
        self._writes = create_engine(url, poolclass=NullPool, **settings)
        event.listen(self._writes, "connect", _for_writing)
        self._locks = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", **settings)
        self._reads = create_engine(
            url, poolclass=QueuePool, pool_size=READERS, max_overflow=0, pool_pre_ping=True,
            isolation_level="AUTOCOMMIT", **settings,
        )  # fmt: skip
        self._statements = statements(self._writes.dialect)
        self._lock: Connection | None = None
        self._watched: tuple[asyncio.AbstractEventLoop, int] | None = None

    def _try_lock(self) -> bool:
        if self._lock is None:
            self._lock = self._locks.connect()
        return bool(self._lock.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (LOCK,)).scalar())

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(SQLAlchemyError):
                lock.close()

    def _connect(self) -> Connection:
        return self._writes.connect()

    def _dispose(self) -> None:
        for engine in (self._reads, self._writes, self._locks):
            engine.dispose()

    def _watch(self, lost: Callable[[Exception], None]) -> None:
        """The server says nothing on an idle connection until it ends it: that it can be read means it is lost."""
        if self._lock is None:
            return
        loop = asyncio.get_running_loop()
        fd = int(self._lock.connection.driver_connection.fileno())  # type: ignore[union-attr]

        def readable() -> None:
            self._unwatch()
            lost(StoreUnavailable(f"the store ({self.name})", "the connection that holds the lead is lost", 1.0))

        loop.add_reader(fd, readable)
        self._watched = (loop, fd)

    def _unwatch(self) -> None:
        if self._watched is not None:
            loop, fd = self._watched
            self._watched = None
            loop.remove_reader(fd)


def _for_writing(connection: Any, record: Any) -> None:
    """What is acknowledged must be on a disk, whatever the server's own default is."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        if cursor.fetchone()[0] == "off":
            cursor.execute("SET synchronous_commit = on")
    connection.commit()
