"""Any driver, misbehaving on demand: what the fault tests are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic

from quarterdeck.devices.driver import Driver, Outcome, Slice, Status, Target, Trace
from quarterdeck.devices.fake import FakeDriver
from quarterdeck.errors import DeviceUnavailable, Invalid
from quarterdeck.programs.program import Parameters, Program

FAULTS = ("die_on_start", "hang", "garbage", "accept_then_timeout", "unavailable")


class Faulty:
    """Passes everything on to `driver`, but for `faults` (kind to how often) and its first `away_s` seconds."""

    def __init__(self, driver: Driver, faults: Mapping[str, int], away_s: float) -> None:
        if unknown := set(faults) - set(FAULTS):
            raise Invalid("faults", f"unknown {', '.join(sorted(unknown))}; known are {', '.join(FAULTS)}")
        self._driver = driver
        self._left = dict(faults)
        self._back_s = monotonic() + away_s

    def _fault(self, name: str) -> bool:
        left = self._left.get(name, 0)
        self._left[name] = left - 1
        return left > 0

    def _away(self) -> bool:
        return monotonic() < self._back_s

    async def target(self) -> Target:
        return await self._driver.target()

    async def status(self) -> Status:
        return Status(False, "away on purpose") if self._away() else await self._driver.status()

    async def admit(self, program: Program, parameters: Parameters, shots: int) -> None:
        await self._driver.admit(program, parameters, shots)

    async def start(self, slice: Slice) -> str:
        if self._away() or self._fault("unavailable"):
            raise DeviceUnavailable((await self.target()).name, "away on purpose", 1.0)
        if self._fault("die_on_start"):
            raise ConnectionResetError("died on purpose")
        handle = await self._driver.start(slice)
        if self._fault("accept_then_timeout"):
            raise TimeoutError("accepted, but the answer was lost on purpose")
        return handle

    async def wait(self, handle: str) -> Outcome:
        if self._fault("hang"):
            await asyncio.Event().wait()
        outcome = await self._driver.wait(handle)
        return Outcome({"01": -1, "2": 1}) if self._fault("garbage") else outcome

    async def cancel(self, handle: str) -> None:
        await self._driver.cancel(handle)

    async def lookup(self, key: str, trace: Trace = Trace()) -> str | None:  # noqa: B008  # frozen
        return await self._driver.lookup(key, trace)

    async def close(self) -> None:
        await self._driver.close()


def fake(
    name: str, faults: Mapping[str, int] | None = None, away_s: float = 0.0, slow_s: float = 0.0, lanes: int = 1,
    max_shots: int = 1_000_000,
) -> Driver:  # fmt: skip
    """A fake device; with `faults` or `away_s`, one that misbehaves first."""
    driver = FakeDriver(name, slow_s, lanes, max_shots)
    return Faulty(driver, faults or {}, away_s) if faults or away_s else driver
