"""A simulated QPU with a memory of its own: it outlives the daemon, and does everything that goes wrong in life."""

from __future__ import annotations

import asyncio
from random import Random

import msgspec

from quarterdeck.devices.driver import Outcome, Slice, Status, Target, Trace
from quarterdeck.errors import DeviceUnavailable
from quarterdeck.programs.program import Parameters, Program


class Run(msgspec.Struct):
    """A slice that the machine accepted."""

    shots: int
    ends_s: float
    cancelled_s: float | None = None


class Machine:
    """Accepts a slice once per key, whatever its answers say. `chaos` is the probability that a call goes wrong."""

    def __init__(self, name: str, random: Random, *, can_lookup: bool, lanes: int) -> None:
        self.name = name
        self.random = random
        self.chaos = 0.0
        self.away_until_s = 0.0
        self.accepted: dict[str, int] = {}
        self.runs: dict[str, Run] = {}
        self._target = Target(
            name=name, qubits=10, formats=("opaque",), lanes=lanes, shot_rate_hz=10.0, setup_s=1.0,
            can_cancel=random.random() < 0.7, can_lookup=can_lookup, keeps_handles=random.random() < 0.5,
        )  # fmt: skip

    async def target(self) -> Target:
        return self._target

    async def status(self) -> Status:
        await self._reached()
        return Status(True)

    async def admit(self, program: Program, parameters: Parameters, shots: int) -> None:
        return None

    async def start(self, slice: Slice) -> str:
        await self._reached()
        if self._trouble():
            await self._go_wrong()
        if slice.key not in self.runs:
            self.accepted[slice.key] = self.accepted.get(slice.key, 0) + 1
            self.runs[slice.key] = Run(slice.shots, self._now() + 1.0 + slice.shots / 10.0)
        if self._trouble():
            await self._go_wrong()  # accepted, and nobody is told
        return slice.key

    async def wait(self, handle: str) -> Outcome:
        if self._trouble():
            self.runs.pop(handle, None)  # forgotten
        while True:
            await self._reached()
            run = self.runs[handle]
            ends_s = run.ends_s if run.cancelled_s is None else run.cancelled_s
            if self._now() >= ends_s:
                break
            await asyncio.sleep(min(5.0, ends_s - self._now()))
        if self._trouble():
            await self._go_wrong()
        if self._trouble():
            return self.random.choice(
                [Outcome({"01": -3}), Outcome({"x": 1}), Outcome({"01": run.shots + 1}), Outcome({"0": 1, "11": 1}),
                 Outcome({}), None, "<html>"]  # type: ignore[list-item]
            )  # fmt: skip
        shots = run.shots
        if run.cancelled_s is not None:
            shots = max(0, min(shots, int(shots - (run.ends_s - run.cancelled_s) * 10.0)))
        ones = self.random.randint(0, shots)
        return Outcome({bits: n for bits, n in (("00", shots - ones), ("11", ones)) if n}, 1.0 + shots / 10.0)

    async def cancel(self, handle: str) -> None:
        await self._reached()
        if self._trouble():
            await self._go_wrong()
        run = self.runs.get(handle)
        if run is not None and run.cancelled_s is None and self._now() < run.ends_s:
            run.cancelled_s = self._now()

    async def lookup(self, key: str, trace: Trace = Trace()) -> str | None:  # noqa: B008  # frozen
        await self._reached()
        if self._trouble():
            await self._go_wrong()
        assert trace.handle in ("", key), "the trace is of another slice"
        return key if key in self.runs else None

    async def close(self) -> None:
        return None

    # -- trouble --------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _trouble(self) -> bool:
        return self.random.random() < self.chaos

    async def _reached(self) -> None:
        await asyncio.sleep(self.random.random() * 0.01)
        if self._now() < self.away_until_s:
            raise DeviceUnavailable(self.name, "connection refused", 0.0)

    async def _go_wrong(self) -> None:
        kind = self.random.choice(["error", "hang", "timeout", "away"])
        if kind == "hang":
            await asyncio.sleep(1e7)
        if kind == "away":
            self.away_until_s = self._now() + self.random.random() * 300
            raise DeviceUnavailable(self.name, "it went away", 0.0)
        raise TimeoutError("no answer") if kind == "timeout" else OSError("connection reset")
