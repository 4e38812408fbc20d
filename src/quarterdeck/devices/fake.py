"""The smallest driver: deterministic, and instant unless told otherwise. A template for the next one."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from time import monotonic

from quarterdeck.devices.driver import Outcome, Slice, Status, Target, Trace
from quarterdeck.errors import BadProgram, NotFound
from quarterdeck.programs.program import Parameters, Program

KEPT = 10_000


class FakeDriver:
    """Two qubits that give random bits, the same ones for the same key.

    With `slow_s` a slice takes that many seconds; one that is cancelled gives the share of its shots that ran by then.
    """

    def __init__(self, name: str, slow_s: float = 0.0, lanes: int = 1, max_shots: int = 1_000_000) -> None:
        self._slow_s = slow_s
        self._target = Target(
            name=name, qubits=2, formats=("opaque", "pulser"), max_shots=max_shots, lanes=lanes,
            setup_s=slow_s, can_cancel=True, can_lookup=True,
        )  # fmt: skip
        self._runs: OrderedDict[str, tuple[Slice, float, asyncio.Future[float]]] = OrderedDict()

    async def target(self) -> Target:
        return self._target

    async def status(self) -> Status:
        return Status(True)

    async def admit(self, program: Program, parameters: Parameters, shots: int) -> None:
        if program.format not in self._target.formats:
            raise BadProgram("format", f"{self._target.name} takes {', '.join(self._target.formats)}")
        if shots > self._target.max_shots:
            raise BadProgram("max_shots", f"{shots} shots, but {self._target.name} takes {self._target.max_shots}")

    async def start(self, slice: Slice) -> str:
        self._runs.setdefault(slice.key, (slice, monotonic(), asyncio.get_running_loop().create_future()))
        if len(self._runs) > KEPT:
            self._runs.popitem(last=False)
        return slice.key

    async def wait(self, handle: str) -> Outcome:
        slice, began_s, stopped = self._run(handle)
        left_s = began_s + self._slow_s - monotonic()
        if left_s > 0:
            await asyncio.wait({stopped}, timeout=left_s)
        ran_s = min(self._slow_s, stopped.result() - began_s) if stopped.done() else self._slow_s
        rest = int(slice.shots * ran_s / self._slow_s) if self._slow_s else slice.shots
        counts, chance = {}, random.Random(handle)
        for bits in ("00", "01", "10"):
            counts[bits] = chance.randint(0, rest)
            rest -= counts[bits]
        return Outcome({bits: n for bits, n in {**counts, "11": rest}.items() if n}, ran_s)

    async def cancel(self, handle: str) -> None:
        _, _, stopped = self._run(handle)
        if not stopped.done():
            stopped.set_result(monotonic())

    async def lookup(self, key: str, trace: Trace = Trace()) -> str | None:  # noqa: B008  # frozen
        return key if key in self._runs else None

    async def close(self) -> None:
        return

    def _run(self, handle: str) -> tuple[Slice, float, asyncio.Future[float]]:
        if handle not in self._runs:
            raise NotFound("slice", handle)
        return self._runs[handle]
