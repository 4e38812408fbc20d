"""The smallest driver: instant, deterministic, and wrong on demand. A template for the next one."""

from __future__ import annotations

import asyncio
import math
import random
from collections import OrderedDict
from time import monotonic

from quarterdeck.devices.driver import Outcome, Slice, Status, Target
from quarterdeck.errors import BadProgram, DeviceUnavailable, Invalid, NotFound
from quarterdeck.programs.program import Parameters, Program

FAULTS = ("die_on_start", "hang", "garbage", "accept_then_timeout", "unavailable")
KEPT = 10_000


class FakeDriver:
    """Two qubits that give random bits, the same ones for the same key.

    Args:
        faults: How often each fault of `FAULTS` happens before the device behaves.
        away_s: Seconds after its making during which the device is away.
        slow_s: Seconds that each slice takes. One that is cancelled before gives the share of its shots that the time
            since it was begun allows, as if each took equally long.
    """

    def __init__(
        self, name: str, faults: dict[str, int] | None = None, away_s: float = 0.0, slow_s: float = 0.0,
        lanes: int = 1, max_shots: int = 1_000_000,
    ) -> None:  # fmt: skip
        self._faults = dict(faults or {})
        if unknown := set(self._faults) - set(FAULTS):
            raise Invalid("faults", f"unknown {', '.join(sorted(unknown))}; known are {', '.join(FAULTS)}")
        self._away_until = monotonic() + away_s
        self._slow_s = slow_s
        self._target = Target(
            name=name, qubits=2, formats=("opaque", "pulser"), max_shots=max_shots, lanes=lanes,
            setup_s=slow_s, can_cancel=True, can_lookup=True,
        )  # fmt: skip
        self._slices: OrderedDict[str, _Run] = OrderedDict()

    def _fault(self, name: str) -> bool:
        left = self._faults.get(name, 0)
        self._faults[name] = left - 1
        return left > 0

    async def target(self) -> Target:
        return self._target

    async def status(self) -> Status:
        away = monotonic() < self._away_until
        return Status(not away, "away on purpose" if away else "")

    async def admit(self, program: Program, parameters: Parameters, shots: int) -> None:
        if program.format not in self._target.formats:
            raise BadProgram("format", f"{self._target.name} takes {', '.join(self._target.formats)}")
        if shots > self._target.max_shots:
            raise BadProgram("max_shots", f"{shots} shots, but {self._target.name} takes {self._target.max_shots}")

    async def start(self, slice: Slice) -> str:
        if monotonic() < self._away_until or self._fault("unavailable"):
            raise DeviceUnavailable(self._target.name, "away on purpose", 1.0)
        if self._fault("die_on_start"):
            raise ConnectionResetError("died on purpose")
        self._slices.setdefault(slice.key, _Run(slice))
        if len(self._slices) > KEPT:
            self._slices.popitem(last=False)
        if self._fault("accept_then_timeout"):
            raise TimeoutError("accepted, but the answer was lost on purpose")
        return slice.key

    async def wait(self, handle: str) -> Outcome:
        if handle not in self._slices:
            raise NotFound("slice", handle)
        run = self._slices[handle]
        if self._fault("hang"):
            await asyncio.Event().wait()
        if self._fault("garbage"):
            return Outcome({"01": -1, "2": run.slice.shots + 1})
        rest, ran_s = run.slice.shots, self._slow_s
        if self._slow_s:
            try:
                await asyncio.wait_for(run.stop.wait(), max(0.0, run.began_s + self._slow_s - monotonic()))
            except TimeoutError:
                pass
            ran_s = min(self._slow_s, run.ended_s - run.began_s)
            rest = int(rest * ran_s / self._slow_s)
        counts, chance = {}, random.Random(handle)
        for bits in ("00", "01", "10"):
            counts[bits] = chance.randint(0, rest)
            rest -= counts[bits]
        return Outcome({bits: n for bits, n in {**counts, "11": rest}.items() if n}, ran_s)

    async def cancel(self, handle: str) -> None:
        if handle not in self._slices:
            raise NotFound("slice", handle)
        run = self._slices[handle]
        run.ended_s = min(run.ended_s, monotonic())
        run.stop.set()

    async def lookup(self, key: str) -> str | None:
        return key if key in self._slices else None

    async def close(self) -> None:
        return


class _Run:
    def __init__(self, slice: Slice) -> None:
        self.slice = slice
        self.stop = asyncio.Event()
        self.began_s = monotonic()
        self.ended_s = math.inf
