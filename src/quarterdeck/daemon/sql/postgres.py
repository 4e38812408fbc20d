"""PostgreSQL: several daemons, one leader by advisory lock, every write fenced by the leader's epoch."""

from __future__ import annotations

import asyncio
import logging

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from quarterdeck.daemon.sql.store import SqlStore
from quarterdeck.daemon.sql.writer import reason

log = logging.getLogger(__name__)
LOCK = 0x51_44_45_43_4B  # "QDECK"
POLL_S = 0.05


class PostgresStore(SqlStore):
    """The lock lives as long as its session: the server frees it when the holder dies. The fence does the rest."""

    mark = "%s"
    begin = "BEGIN"
    fencing = "SELECT 1 FROM leader WHERE epoch = %s FOR SHARE"

    def __init__(self, url: str) -> None:
        self.name = "postgresql"
        keepalive = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000,
                     "connect_timeout": 5}  # fmt: skip
        engine = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"), pool_size=4, max_overflow=4, pool_pre_ping=True,
            connect_args=keepalive,
        )  # fmt: skip
        super().__init__(engine, readers=4)
        self._lock: Connection | None = None

    async def _take_lead(self) -> None:
        self._lock = await self._off_loop(self._autocommit)
        while not await self._off_loop(self._try_lock):  # noqa: ASYNC110  # the server tells nobody when it comes free
            await asyncio.sleep(POLL_S)

    def _autocommit(self) -> Connection:
        return self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def _try_lock(self) -> bool:
        assert self._lock is not None
        return bool(self._lock.execute(sa.select(sa.func.pg_try_advisory_lock(LOCK))).scalar())

    def _give_up_lead(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            try:
                lock.invalidate()  # closes the session, and with it the lock
                lock.close()
            except SQLAlchemyError as error:
                log.info("giving up the lead: %s", reason(error))

    def _open_writer(self) -> Connection:
        return self._autocommit()
