"""The embedded neutral-atom QPU: emulated physics (pulser-simulation) behind a machine's timing. No hardware behind it.

Slices are known by their key within this process only: after a restart `lookup` gives None, the slice runs again, and
since its samples are seeded by its key it gives the same counts.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import OrderedDict
from collections.abc import Awaitable
from hashlib import sha256
from time import monotonic
from typing import Any, Literal

from quarterdeck.devices import emulation
from quarterdeck.devices.driver import Counts, Outcome, Slice, Status, Target
from quarterdeck.devices.machine import Machine
from quarterdeck.devices.workers import Workers
from quarterdeck.errors import BadProgram, DeviceUnavailable, Invalid, NotFound
from quarterdeck.programs.program import Parameters, Program

WARM = ("pulser", "pulser_simulation", "quarterdeck.devices.emulation")
ADMISSIONS, DISTRIBUTIONS, RUNS = 4096, 32, 4096
Fault = Literal["fail", "unavailable"]


class NeutralAtomEmulator:
    """An emulated analog neutral-atom QPU.

    Args:
        shot_rate_hz, setup_s, time_scale: The timing model, see `Machine`.
        max_atoms: Fewer atoms than Pulser's AnalogDevice holds; None for its 80 (the cost limits come first).
        max_emulation_s, max_emulation_mib: Programs predicted to take more are refused.
        modulated: Emulate the finite bandwidth of the modulators, too.
        noise: Arguments of Pulser's NoiseModel, plus `trajectories`; none by default.
        faults: How often `start` fails (`fail`) or finds the device away (`unavailable`) before it behaves.
        offline: Windows (from, to), in seconds after its making, in which it takes no work.
        seed: Of the samples.
        processes: Emulations at once; another process checks programs.
    """

    def __init__(
        self, name: str, shot_rate_hz: float = 100.0, setup_s: float = 2.0, time_scale: float = 1.0,
        max_atoms: int | None = None, max_emulation_s: float = 120.0, max_emulation_mib: float = 4096.0,
        modulated: bool = False, noise: dict[str, Any] | None = None, faults: dict[str, int] | None = None,
        offline: list[list[float]] | None = None, seed: int = 0, processes: int = 1,
    ) -> None:  # fmt: skip
        for key, value in (("shot_rate_hz", shot_rate_hz), ("time_scale", time_scale), ("processes", processes)):
            if not 0 < value < math.inf:
                raise Invalid(f"devices.{name}.{key}", "must be a positive number")
        if not 0 <= setup_s < math.inf:
            raise Invalid(f"devices.{name}.setup_s", "must not be negative")
        if unknown := set(faults or {}) - {"fail", "unavailable"}:
            raise Invalid(f"devices.{name}.faults", f"unknown {', '.join(sorted(unknown))}")
        self._name, self._max_atoms, self._seed, self._modulated = name, max_atoms, seed, modulated
        self._machine = Machine(shot_rate_hz=shot_rate_hz, setup_s=setup_s, time_scale=time_scale)
        self._noise, self._faults, self._offline = dict(noise or {}), dict(faults or {}), offline or []
        self._limits = (max_emulation_s, max_emulation_mib, int(self._noise.get("trajectories", 1)))
        self._born = monotonic()
        self._checkers, self._emulators = Workers(1, WARM), Workers(processes, WARM)
        self._lane = asyncio.Lock()
        self._spec = ""
        self._admitted: OrderedDict[str, str] = OrderedDict()
        self._known: OrderedDict[str, asyncio.Task[dict[str, float]]] = OrderedDict()
        self._runs: OrderedDict[str, _Run] = OrderedDict()

    async def target(self) -> Target:
        self._checkers.warm_up()
        self._emulators.warm_up()
        if not self._spec:
            self._spec = await self._checkers.run(emulation.make_spec, self._name, self._max_atoms, timeout_s=120.0)
        machine = self._machine
        return Target(
            name=self._name, modality="neutral-atom", qubits=json.loads(self._spec)["max_atom_num"],
            formats=("pulser",), emulated=True, max_shots=emulation.MAX_RUNS, can_cancel=True, can_lookup=True,
            shot_rate_hz=machine.shot_rate_hz * machine.time_scale, setup_s=machine.setup_s / machine.time_scale,
            spec=self._spec,
        )  # fmt: skip

    async def status(self) -> Status:
        age_s = monotonic() - self._born
        away = any(begin <= age_s < end for begin, end in self._offline)
        return Status(not away, "offline on purpose (setting `offline`)" if away else "")

    async def admit(self, program: Program, parameters: Parameters, shots: int) -> None:
        if program.format != "pulser":
            raise BadProgram("$.format", f"{self._name} takes pulser, not {program.format}")
        if shots > emulation.MAX_RUNS:
            raise BadProgram("max_runs", f"{shots} shots, but {self._name} takes at most {emulation.MAX_RUNS} at once")
        await self._register(program, parameters)

    async def start(self, slice: Slice) -> str:
        if slice.key not in self._runs:
            online = await self.status()
            if not online.online or self._fault("unavailable"):
                raise DeviceUnavailable(self._name, online.reason or "away on purpose", 1.0)
            if self._fault("fail"):
                raise ConnectionResetError("failed on purpose")
            if slice.key not in self._runs:
                self._runs[slice.key] = run = _Run(slice)
                run.task = asyncio.create_task(self._run(run))
                self._forget()
        return slice.key

    async def wait(self, handle: str) -> Outcome:
        return await asyncio.shield(self._find(handle).task)

    async def cancel(self, handle: str) -> None:
        self._find(handle).stop.set()

    async def lookup(self, key: str) -> str | None:
        return key if key in self._runs else None

    async def close(self) -> None:
        tasks = [*(run.task for run in self._runs.values()), *self._known.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(self._checkers.close(), self._emulators.close())

    def _find(self, handle: str) -> _Run:
        if handle not in self._runs:
            raise NotFound("slice", handle)
        return self._runs[handle]

    def _forget(self) -> None:
        while len(self._runs) > RUNS and next(iter(self._runs.values())).task.done():
            self._runs.popitem(last=False)

    def _fault(self, name: str) -> bool:
        left = self._faults.get(name, 0)
        self._faults[name] = left - 1
        return left > 0

    async def _register(self, program: Program, parameters: Parameters) -> str:
        key = program.id + json.dumps(parameters, sort_keys=True)
        if key not in self._admitted:
            self._spec or await self.target()
            self._admitted[key] = await self._checkers.run(
                emulation.admit, program.payload, parameters, 1, self._spec, self._limits, timeout_s=60.0
            )
            while len(self._admitted) > ADMISSIONS:
                self._admitted.popitem(last=False)
        return self._admitted[key]

    async def _run(self, run: _Run) -> Outcome:
        async with self._lane:
            if run.stop.is_set():
                return Outcome({})
            slice, began = run.slice, monotonic()
            register = await self._register(slice.program, slice.parameters)
            found = self._distribution(slice.program, slice.parameters)
            setup_s = self._machine.load(register)
            planned_s = setup_s + self._machine.shots_s(slice.shots)
            shots, busy_s = slice.shots, planned_s
            if await _within(run.stop.wait(), planned_s - (monotonic() - began)):
                busy_s = monotonic() - began
                shots = min(shots, self._machine.shots_in(busy_s - setup_s))
            elif not found.done():
                stop = asyncio.create_task(run.stop.wait())
                await asyncio.wait({stop, found}, return_when=asyncio.FIRST_COMPLETED)
                stop.cancel()
            if not found.done() or not shots:
                return Outcome({}, busy_s)
            return Outcome(self._sample(await asyncio.shield(found), slice.key, shots), busy_s)

    def _distribution(self, program: Program, parameters: Parameters) -> asyncio.Task[dict[str, float]]:
        key = program.id + json.dumps(parameters, sort_keys=True)
        task = self._known.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            work = self._emulators.run(
                emulation.distribution, program.payload, parameters, self._spec, self._modulated, self._noise,
                timeout_s=10 * self._limits[0],
            )  # fmt: skip
            task = self._known[key] = asyncio.create_task(work)
        self._known.move_to_end(key)
        while len(self._known) > DISTRIBUTIONS:
            self._known.popitem(last=False)
        return task

    def _sample(self, found: dict[str, float], key: str, shots: int) -> Counts:
        import numpy as np

        chance = np.random.default_rng(list(sha256(f"{self._seed}/{key}".encode()).digest()))
        weights = np.fromiter(found.values(), float)
        drawn = chance.multinomial(shots, weights / weights.sum())
        counts = {bits: int(n) for bits, n in zip(found, drawn, strict=True) if n}
        wrong_0, wrong_1 = self._noise.get("p_false_pos", 0.0), self._noise.get("p_false_neg", 0.0)
        if not wrong_0 and not wrong_1:
            return counts
        seen: Counts = {}
        for bits, n in counts.items():
            flips = chance.random((n, len(bits))) < np.where(np.array(list(bits)) == "1", wrong_1, wrong_0)
            for row in flips:
                told = "".join(str(int(bit) ^ int(flip)) for bit, flip in zip(bits, row, strict=True))
                seen[told] = seen.get(told, 0) + 1
        return seen


class _Run:
    def __init__(self, slice: Slice) -> None:
        self.slice = slice
        self.stop = asyncio.Event()
        self.task: asyncio.Task[Outcome]


async def _within(event: Awaitable[Any], seconds: float) -> bool:
    """Whether the event comes within so many seconds."""
    try:
        await asyncio.wait_for(event, max(0.0, seconds))
    except TimeoutError:
        return False
    return True
