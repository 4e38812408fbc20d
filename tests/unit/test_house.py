"""A house goes on after its store failed, and ends with its first defect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from quarterdeck import wire
from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.engine import DeviceSettings
from quarterdeck.daemon.house import House
from quarterdeck.daemon.http.identity import Identity
from quarterdeck.daemon.memory import MemoryStore
from quarterdeck.devices.fake import FakeDriver
from quarterdeck.errors import StoreUnavailable
from quarterdeck.programs.program import Summary

TASK = wire.TaskSubmit(device="fake", program=wire.ProgramUpload(format="opaque", payload="x"), shots=5)
ADA = Actor("ada")


def in_a_house(body: Callable[[House, MemoryStore, asyncio.Task[None]], Awaitable[None]]) -> None:
    """Run the body in a house that leads."""

    async def run() -> None:
        store, driver = MemoryStore(Random(1), 0.001), FakeDriver("fake")

        async def summarise(format: str, payload: str) -> Summary:
            return Summary()

        async def convert(payload: str, spec: str) -> str:
            return payload

        target = await driver.target()
        settings = {"fake": DeviceSettings(slice_shots=2)}
        house = House(
            store, {"fake": driver}, {"fake": target}, settings, summarise, convert, Identity("root", 0, ""), 1000
        )
        running = asyncio.ensure_future(house.run())
        await leads(house)
        try:
            await body(house, store, running)
        finally:
            running.cancel()
            await asyncio.wait({running})

    asyncio.run(run())


async def leads(house: House) -> None:
    async with asyncio.timeout(10):
        while house.role != "leader":  # noqa: ASYNC110  # what a client sees, by looking
            await asyncio.sleep(0.005)


def test_a_failed_commit_is_answered_and_the_house_starts_over() -> None:
    async def body(house: House, store: MemoryStore, running: asyncio.Task[None]) -> None:
        assert house.desk is not None
        first, _ = await house.desk.submit(ADA, TASK, "a", b"")
        before = house.desk.engine
        store.fail_next()
        with pytest.raises(StoreUnavailable):
            await house.desk.submit(ADA, TASK, "b", b"")
        assert house.desk is None
        await leads(house)
        assert house.desk is not None and house.desk.engine is not before
        again, new = await house.desk.submit(ADA, TASK, "a", b"")
        assert (again.id, new) == (first.id, False)
        for key in ("a", "b"):
            task, _ = await house.desk.submit(ADA, TASK, key, b"")
            assert (await house.desk.tasks.get(ADA, task.id, wait_s=10)).shots_done == 5
        assert not running.done()

    in_a_house(body)


def test_a_loop_that_dies_ends_the_house() -> None:
    async def body(house: House, store: MemoryStore, running: asyncio.Task[None]) -> None:
        async def defect() -> None:
            raise ZeroDivisionError("a defect of ours")

        assert house.desk is not None
        house.desk.engine._spawn(defect())
        await asyncio.wait({running}, timeout=5)
        assert running.done()
        with pytest.raises(ZeroDivisionError):
            await running
        assert house.desk is None and house.role != "leader"

    in_a_house(body)


def test_a_defect_of_the_core_ends_the_house_and_is_not_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(house: House, store: MemoryStore, running: asyncio.Task[None]) -> None:
        assert house.desk is not None
        desk = house.desk
        with monkeypatch.context() as patch:
            patch.setattr(desk.engine.deck, "_serve", lambda device: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await desk.submit(ADA, TASK, "a", b"")
        await asyncio.wait({running}, timeout=5)
        with pytest.raises(ZeroDivisionError):
            await running
        assert not [body for _, body in await store.events(0, 100) if b"Submitted" in body]

    in_a_house(body)


def test_everybody_who_waits_is_told_when_it_ends() -> None:
    async def body(house: House, store: MemoryStore, running: asyncio.Task[None]) -> None:
        assert house.desk is not None
        desk = house.desk
        await desk.engine.set_status("fake", "maintenance", "")
        task, _ = await desk.submit(ADA, TASK, "", b"")
        waiting = asyncio.ensure_future(desk.tasks.get(ADA, task.id, wait_s=60))
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(StoreUnavailable):
            async with asyncio.timeout(5):
                await waiting

    in_a_house(body)
