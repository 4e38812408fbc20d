"""SQLite: one file on one host. The kernel's lock on a file beside it says who leads, and frees it after kill -9."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from quarterdeck.daemon.sql.statements import statements
from quarterdeck.daemon.sql.store import READERS, SqlStore

log = logging.getLogger(__name__)
BUSY_S = 10
"""How long a write waits for another process that has the database locked."""
SOUND = (3, 51, 3)
"""Before this version, connections that checkpoint while others write may corrupt a WAL (sqlite.org/changes.html).

Here only the one writing connection checkpoints.
"""


class SqliteStore(SqlStore):
    """State in the file `path`, in WAL mode, synchronous=FULL."""

    name = "sqlite"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._lock: int | None = None
        _keep_private(path)
        self._writes = _engine(path, _for_writing, poolclass=NullPool)
        event.listen(self._writes, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        self._reads = _engine(path, _for_reading, poolclass=QueuePool, pool_size=READERS, max_overflow=0)
        self._statements = statements(self._writes.dialect)
        if sqlite3.sqlite_version_info < SOUND:
            log.info("SQLite %s is older than 3.51.3; only one connection checkpoints", sqlite3.sqlite_version)

    def _try_lock(self) -> bool:
        if self._lock is None:
            self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _connect(self) -> Connection:
        return self._writes.connect()

    def _dispose(self) -> None:
        self._reads.dispose()
        self._writes.dispose()


def _keep_private(path: Path) -> None:
    """Only the owner reads the store: it holds everybody's tasks. SQLite gives -wal and -shm the file's own mode."""
    with suppress(OSError):  # whatever is wrong with the place is told when the store is opened
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        for name in (path, f"{path}-wal", f"{path}-shm"):
            if os.path.exists(name):
                os.chmod(name, 0o600)


def _engine(path: Path, tune: Any, **settings: Any) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}", connect_args={"check_same_thread": False, "timeout": BUSY_S}, **settings
    )
    event.listen(engine, "connect", tune)
    return engine


def _for_writing(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say so
    connection.execute("PRAGMA journal_mode=WAL").fetchone()
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA wal_autocheckpoint=4000")  # pages: a WAL of 16 MB
    connection.execute("PRAGMA journal_size_limit=67108864")
    connection.execute("PRAGMA cache_size=-65536")  # KiB


def _for_reading(connection: Any, record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=1")
    connection.execute("PRAGMA wal_autocheckpoint=0")
