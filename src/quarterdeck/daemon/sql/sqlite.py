"""SQLite: one file, one writer, kept by a lock that the kernel frees when its holder dies."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from quarterdeck.daemon.sql.store import SqlStore

log = logging.getLogger(__name__)
T = TypeVar("T")
BUSY_MS = 10_000
POLL_S = 0.05


class SqliteStore(SqlStore):
    """WAL with synchronous=FULL; readers can only read, and only the writer checkpoints.

    SQLite before 3.51.3 can damage a WAL when several connections write or checkpoint at once (fixed in 3.53.0, see
    sqlite.org/changes.html); with one writing connection at a time that cannot happen.
    """

    mark = "?"
    begin = "BEGIN IMMEDIATE"
    fencing = "SELECT 1 FROM leader WHERE epoch = ?"

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.name = "sqlite"
        self.path = path
        self._lock: int | None = None
        engine = sa.create_engine(f"sqlite:///{path}", pool_size=4, max_overflow=4)
        sa.event.listen(engine, "connect", _reader)
        super().__init__(engine, readers=4)
        self._write_engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
        sa.event.listen(self._write_engine, "connect", _writer)

    async def _take_lead(self) -> None:
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(POLL_S)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def _give_up_lead(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _open_writer(self) -> Connection:
        return self._write_engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def _with_writer_engine(self, call: Callable[[Connection], T]) -> T:
        with self._write_engine.connect() as connection:
            return call(connection)


def _reader(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA wal_autocheckpoint=0")


def _writer(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA wal_autocheckpoint=4000")
