"""What every store promises: order, durability, one writer, and starting over after a failure."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from quarterdeck.daemon.memory import MemoryStore
from quarterdeck.daemon.sql import open_store
from quarterdeck.daemon.sql.store import SqlStore
from quarterdeck.daemon.sql.tables import metadata
from quarterdeck.daemon.store import Blob, EventRow, KeyRow, NounRow, Record, SliceRow, Store, TaskQuery, TaskRow
from quarterdeck.errors import Invalid, StoreUnavailable

Body = Callable[[Any], Awaitable[None]]
ROUNDS = 10


@pytest.fixture
def url(database: str, tmp_path: Path) -> str:
    return database or f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    if request.param == "memory":
        return lambda: MemoryStore(random.Random(1), 0.001)
    if request.param == "sqlite":
        return lambda: open_store(f"sqlite:///{tmp_path / 'test.db'}")
    url = request.getfixturevalue("postgres_server").database()
    return lambda: open_store(url)


def with_store(make: Callable[[], Store], body: Body) -> None:
    async def run() -> None:
        store = make()
        try:
            await store.lead()
            store.start(lambda error: pytest.fail(str(error)))
            await body(store)
        finally:
            await store.close()

    asyncio.run(run())


async def write(store: Store, **rows: Any) -> int:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    store.append(Record(future.set_result, **rows))
    return await asyncio.wait_for(future, 15)


def task(number: int, **changed: Any) -> TaskRow:
    row = {"user": "ann", "session": "", "device": "d", "state": "queued", "live": True, "body": b"body%d" % number}
    return TaskRow(f"t{number}", number, **{**row, **changed})


def test_done_comes_in_order_with_the_number_of_the_last_event(make: Callable[[], Store]) -> None:
    async def body(store: Store) -> None:
        told: list[int] = []
        for _ in range(1500):
            store.append(Record(told.append, [EventRow("t", "ann", b"a"), EventRow(None, None, b"b")]))
        await write(store)
        assert told == list(range(2, 3001, 2))
        assert [seq for seq, _ in await store.events(0, 5000)] == list(range(1, 3001))

    with_store(make, body)


def test_rows_are_put_twice_and_kept_once(make: Callable[[], Store]) -> None:
    async def body(store: Store) -> None:
        plain, large = b"\x00counts", b"x" * 10_000
        rows: dict[str, Any] = {
            "tasks": [task(1)],
            "slices": [SliceRow("t1", 1, True, None, b"s1"), SliceRow("t1", 0, False, "r", b"s0")],
            "nouns": [NounRow("device", "d", True, b"d"), NounRow("session", "s", False, b"s")],
            "blobs": [Blob("program", "p", b"m", large), Blob("result", "r", b"", plain)],
            "keys": [KeyRow(7, b"k" * 32, b"b" * 32, "t1", 5.0)],
        }
        await write(store, **rows)
        await write(store, **rows)
        store.append(Record(lambda _: None, tasks=[task(1, state="running")]))
        await write(store, tasks=[task(1, state="done", live=False, body=b"end")])
        assert await store.task("t1") == b"end"
        assert await store.tasks(TaskQuery(state="done")) == [(1, b"end")]
        assert await store.slices("t1") == [(b"s0", "r"), (b"s1", None)]
        assert (await store.noun("device", "d"), await store.noun("device", "x")) == (b"d", None)
        assert await store.blob("program", "p") == (b"m", large)
        assert await store.blob("result", "r") == (b"", plain)
        assert await store.blob("result", "p") is None
        assert await store.key(7) == KeyRow(7, b"k" * 32, b"b" * 32, "t1", 5.0)
        await store.stop()
        await store.lead()
        loaded = await store.load(4.0)
        assert (loaded.tasks, loaded.slices, loaded.nouns) == ([], [b"s1"], [("device", b"d")])
        assert (loaded.keys, loaded.last_task_seq, loaded.last_event) == ([(7, b"k" * 32)], 1, 0)
        assert (await store.load(6.0)).keys == []
        await store.forget_keys(5.5)
        assert await store.key(7) is None

    with_store(make, body)


def test_pages(make: Callable[[], Store]) -> None:
    async def body(store: Store) -> None:
        users, sessions = ("ann", "bob"), ("", "s")
        await write(store, tasks=[task(n, user=users[n % 2], session=sessions[n % 3 == 0]) for n in range(1, 31)])
        assert [seq for seq, _ in await store.tasks(TaskQuery(limit=3))] == [30, 29, 28]
        assert [seq for seq, _ in await store.tasks(TaskQuery(user="bob", before_seq=28, limit=2))] == [27, 25]
        assert [seq for seq, _ in await store.tasks(TaskQuery(session="s", user="ann"))] == [30, 24, 18, 12, 6]
        assert await store.tasks(TaskQuery(device="other")) == await store.tasks(TaskQuery(state="done")) == []

    with_store(make, body)


def test_events_of_a_task_and_for_a_user(make: Callable[[], Store]) -> None:
    async def body(store: Store) -> None:
        owners = [("t1", "ann"), ("t2", "bob"), (None, None), ("t1", "ann")]
        await write(store, events=[EventRow(task, user, b"%d" % n) for n, (task, user) in enumerate(owners, 1)])
        assert [seq for seq, _ in await store.events(0, 9, task="t1")] == [1, 4]
        assert [seq for seq, _ in await store.events(0, 9, user="bob")] == [2, 3]
        assert await store.events(1, 2) == [(2, b"2"), (3, b"3")]
        assert await store.events(-1, 1) == [(1, b"1")]

    with_store(make, body)


def test_stopped_and_started_again_in_place(make: Callable[[], Store]) -> None:
    async def body(store: Store) -> None:
        told: list[int] = []
        store.append(Record(told.append, [EventRow(None, None, b"a")]))
        await store.stop()
        assert told == [1], "what was queued is committed first"
        with pytest.raises(StoreUnavailable):
            store.append(Record(told.append))
        await store.lead()
        assert (await store.load(0)).last_event == 1
        store.start(lambda error: pytest.fail(str(error)))
        await store.advertise("http://here")
        assert await store.leader_url() == "http://here"
        assert await write(store, events=[EventRow(None, None, b"b")]) == 2

    with_store(make, body)


def test_the_second_waits_and_leads_with_a_higher_epoch(url: str) -> None:
    async def run() -> None:
        first, second = open_store(url), open_store(url)
        try:
            epoch = await first.lead()
            waiting = asyncio.ensure_future(second.lead())
            done, _ = await asyncio.wait({waiting}, timeout=0.3)
            assert not done
            await first.stop()
            assert await asyncio.wait_for(waiting, 10) > epoch
        finally:
            await first.close()
            await second.close()

    asyncio.run(run())


def test_a_leader_that_lost_its_lock_writes_no_more(postgres_server: Any) -> None:
    url = postgres_server.database()

    async def run() -> None:
        first, second = open_store(url), open_store(url)
        failures: list[Exception] = []
        told: list[int] = []
        try:
            await first.lead()
            first.start(failures.append)
            first._unwatch()  # type: ignore[attr-defined]  # or it would notice before it is fenced
            await write(first, events=[EventRow(None, None, b"a")])
            _end_locks(url)
            await asyncio.wait_for(second.lead(), 10)
            first.append(Record(told.append, [EventRow(None, None, b"stale")]))
            await first.stop()
            assert told == [] and len(failures) == 1 and "fenced" in str(failures[0])
            assert (await second.load(0)).last_event == 1
        finally:
            await first.close()
            await second.close()

    asyncio.run(run())


def test_the_loss_of_the_lock_is_noticed_without_a_write(postgres_server: Any) -> None:
    url = postgres_server.database()

    async def run() -> None:
        store = open_store(url)
        failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        try:
            await store.lead()
            store.start(failed.set_result)
            _end_locks(url)
            assert "lead is lost" in str(await asyncio.wait_for(failed, 10))
            with pytest.raises(StoreUnavailable):
                store.append(Record(lambda _: None))
        finally:
            await store.close()

    asyncio.run(run())


def _end_locks(url: str) -> None:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))


def test_a_full_disk_loses_nothing_acknowledged(tmp_path: Path) -> None:
    async def run() -> None:
        store = open_store(f"sqlite:///{tmp_path / 'test.db'}")
        assert isinstance(store, SqlStore)
        told: list[int] = []
        failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        try:
            await store.lead()
            assert store._connection is not None
            store._connection.exec_driver_sql("PRAGMA max_page_count=200")
            store._connection.rollback()  # ends what that began
            store.start(failed.set_result)
            for _ in range(1000):
                try:
                    store.append(Record(told.append, [EventRow(None, None, b"x" * 5000)]))
                except StoreUnavailable:
                    break
                await asyncio.sleep(0)
            assert "full" in str(await asyncio.wait_for(failed, 10))
            with pytest.raises(StoreUnavailable, match="full"):
                store.append(Record(told.append))
            await store.stop()
            count = len(told)
            await store.lead()
            assert (await store.load(0)).last_event == count == len(await store.events(0, 2000))
            store.start(lambda error: pytest.fail(str(error)))
            assert await write(store, events=[EventRow(None, None, b"more")]) == count + 1
        finally:
            await store.close()

    asyncio.run(run())


def test_the_migrations_make_the_tables(url: str) -> None:
    async def run() -> None:
        store = open_store(url)
        await store.lead()
        await store.close()

    asyncio.run(run())
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


WRITER = """
import asyncio, sys
from quarterdeck.daemon.sql import open_store
from quarterdeck.daemon.store import EventRow, Record

async def main():
    store = open_store(sys.argv[1])
    await store.lead()
    store.start(lambda error: sys.exit(str(error)))
    while True:
        for _ in range(20):
            store.append(Record(lambda seq: print(seq, flush=True), [EventRow(None, None, b"x")]))
        await asyncio.sleep(0.001)

asyncio.run(main())
"""


def test_kill_9_loses_nothing_acknowledged(url: str) -> None:
    choose = random.Random(3)
    for _ in range(ROUNDS):
        process = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(choose.random() * 0.1)  # the moment is the point
        process.kill()
        # A line that was cut off was not told.
        told = [int(line) for line in (first + process.stdout.read()).splitlines(keepends=True) if line.endswith("\n")]
        process.stdout.close()
        process.wait()
        assert told

        async def check(last: int) -> None:
            store = open_store(url)
            try:
                await store.lead()
                loaded = await store.load(0)
                assert loaded.last_event >= last
                assert [seq for seq, _ in await store.events(0, 10**9)] == list(range(1, loaded.last_event + 1))
            finally:
                await store.close()

        asyncio.run(check(told[-1]))


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "sqlite://"])
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        open_store(url)
