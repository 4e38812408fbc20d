"""The embedded neutral-atom QPU: emulated physics (pulser-simulation) behind a machine's timing. No hardware behind it.

Slices are known by their key within this process only: after a restart `lookup` gives None, the slice runs again, and
since its samples are seeded by its key it gives the same counts.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import OrderedDict
from random import Random
from time import monotonic
from typing import Any, NoReturn

from quarterdeck.devices import emulation
from quarterdeck.devices.driver import Outcome, Slice, Status, Target, Trace
from quarterdeck.devices.machine import Machine
from quarterdeck.devices.sampling import chance, sample
from quarterdeck.devices.workers import Workers
from quarterdeck.errors import BadProgram, DeviceUnavailable, Invalid, NotFound
from quarterdeck.programs.program import Parameters, Program

WARM = ("pulser", "pulser_simulation", "quarterdeck.devices.emulation")
ADMISSIONS, DISTRIBUTIONS, RUNS = 4096, 32, 4096


class NeutralAtomEmulator:
    """An emulated analog neutral-atom QPU. One process checks programs, another emulates them.

    Args:
        shot_rate_hz, setup_s, time_scale: The timing model, see `Machine`.
        max_atoms: Fewer atoms than Pulser's AnalogDevice holds; None for its 80 (the cost limits come first).
        max_emulation_s, max_emulation_mib: Programs predicted to take more are refused.
        modulated: Emulate the finite bandwidth of the modulators, too.
        noise: Arguments of Pulser's NoiseModel, plus `trajectories`; none by default.
        faults: How often `start` fails (`fail`) or finds the device away (`unavailable`) before it behaves.
        fault_rate: Probability that a slice is lost halfway; whether it is, follows from `seed` and its key.
        offline: Windows (from, to), in seconds after its making, in which it takes no work.
        seed: Of the samples and of `fault_rate`.
        quality: Figure of merit that it claims for itself, 0 to 1; tasks with a choice go to the best device.
    """

    def __init__(
        self, name: str, shot_rate_hz: float = 100.0, setup_s: float = 2.0, time_scale: float = 1.0,
        max_atoms: int | None = None, max_emulation_s: float = 120.0, max_emulation_mib: float = 4096.0,
        modulated: bool = False, noise: dict[str, Any] | None = None, faults: dict[str, int] | None = None,
        fault_rate: float = 0.0, offline: list[list[float]] | None = None, seed: int = 0,
        quality: float = 0.0,
    ) -> None:  # fmt: skip
        def refuse(key: str, why: str) -> NoReturn:
            raise Invalid(f"devices.{name}.{key}", why)

        for key, value in (
            ("shot_rate_hz", shot_rate_hz), ("time_scale", time_scale), ("max_emulation_s", max_emulation_s),
            ("max_emulation_mib", max_emulation_mib), ("max_atoms", 1 if max_atoms is None else max_atoms),
        ):  # fmt: skip
            if not 0 < value < math.inf:
                refuse(key, "must be a positive number")
        if not 0 <= setup_s < math.inf:
            refuse("setup_s", "must not be negative")
        if unknown := set(faults or {}) - {"fail", "unavailable"}:
            refuse("faults", f"unknown {', '.join(sorted(unknown))}; known are fail, unavailable")
        if not 0 <= quality <= 1:
            refuse("quality", "must lie from 0 to 1")
        told = dict(noise or {})
        chances = {"fault_rate": fault_rate, **{f"noise.{key}": told.get(key, 0.0) for key in emulation.DETECTION}}
        for key, value in chances.items():
            if not 0 <= value <= 1:
                refuse(key, "must be a probability, 0 to 1")
        if told.get("trajectories", 1) < 1:
            refuse("noise.trajectories", "must be at least 1")
        self._name, self._seed, self._modulated, self._noise = name, seed, modulated, told
        self._machine = Machine(shot_rate_hz=shot_rate_hz, setup_s=setup_s, time_scale=time_scale)
        self._faults, self._fault_rate = dict(faults or {}), fault_rate
        self._offline = [(float(begin), float(end)) for begin, end in offline or []]
        self._limits = (max_emulation_s, max_emulation_mib, emulation.trajectories(told))
        self._quality = quality
        self._born = monotonic()
        self._checkers, self._emulators = Workers(1, WARM), Workers(1, WARM, kill_cancelled=True)
        self._lane = asyncio.Lock()
        self._spec = emulation.spec(name, max_atoms)
        self._admitted: OrderedDict[str, str] = OrderedDict()
        self._known: OrderedDict[str, asyncio.Task[dict[str, float]]] = OrderedDict()
        self._runs: OrderedDict[str, _Run] = OrderedDict()

    async def target(self) -> Target:
        self._checkers.warm_up()
        self._emulators.warm_up()
        if self._limits[2]:
            await self._checkers.run(emulation.check_noise, self._noise, timeout_s=120.0)
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
        return Status(not away, "offline on purpose (setting `offline`)" if away else "", self._quality)

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

    async def lookup(self, key: str, trace: Trace = Trace()) -> str | None:  # noqa: B008  # frozen
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
        key = _key(program, parameters)
        if key not in self._admitted:
            self._admitted[key] = await self._checkers.run(
                emulation.admit, program.payload, parameters, 1, self._spec, self._limits, timeout_s=60.0
            )
            while len(self._admitted) > ADMISSIONS:
                self._admitted.popitem(last=False)
        return self._admitted[key]

    async def _run(self, run: _Run) -> Outcome:
        async with self._lane:
            checked = asyncio.create_task(self._register(run.slice.program, run.slice.parameters))
            checked.add_done_callback(_retrieve)
            if await _stopped(run.stop, None, checked):
                return Outcome({})
            register = checked.result()
            found = self._distribution(run)
            try:
                return await self._shoot(run, register, found)
            finally:
                self._leave(run, found)

    async def _shoot(self, run: _Run, register: str, found: asyncio.Task[dict[str, float]]) -> Outcome:
        slice, began = run.slice, monotonic()
        setup_s = self._machine.load(register)
        shots, busy_s = slice.shots, setup_s + self._machine.shots_s(slice.shots)
        if self._fault_rate and Random(chance(self._seed, "fault", slice.key)).random() < self._fault_rate:
            await _stopped(run.stop, busy_s / 2)
            raise ConnectionResetError("lost halfway on purpose (setting `fault_rate`)")
        if await _stopped(run.stop, busy_s):
            busy_s = monotonic() - began
            shots = min(shots, self._machine.shots_in(busy_s - setup_s))
            if busy_s < setup_s:
                self._machine.register = ""
        else:
            await _stopped(run.stop, None, found)
        if not found.done() or not shots:
            return Outcome({}, busy_s)
        wrong = {key: self._noise.get(key, 0.0) for key in emulation.DETECTION}
        counts = sample(found.result(), shots, chance(self._seed, slice.key), **wrong)
        return Outcome(counts, busy_s, min(setup_s, busy_s))

    def _distribution(self, run: _Run) -> asyncio.Task[dict[str, float]]:
        program, parameters = run.slice.program, run.slice.parameters
        task = self._known.get(run.work)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            work = self._emulators.run(
                emulation.distribution, program.payload, parameters, self._spec, self._modulated, self._noise,
                timeout_s=10 * self._limits[0],
            )  # fmt: skip
            task = self._known[run.work] = asyncio.create_task(work)
            task.add_done_callback(_retrieve)
        self._known.move_to_end(run.work)
        while len(self._known) > DISTRIBUTIONS:
            self._known.popitem(last=False)
        return task

    def _leave(self, run: _Run, found: asyncio.Task[dict[str, float]]) -> None:
        """Stop the emulation, if it still goes on and no other slice waits for it: the device is free at once."""
        others = (one for one in self._runs.values() if one is not run and not one.task.done())
        if not found.done() and not any(one.work == run.work and not one.stop.is_set() for one in others):
            self._known.pop(run.work, None)
            found.cancel()


class _Run:
    def __init__(self, slice: Slice) -> None:
        self.slice = slice
        self.work = _key(slice.program, slice.parameters)
        self.stop = asyncio.Event()
        self.task: asyncio.Task[Outcome]


def _key(program: Program, parameters: Parameters) -> str:
    """What is emulated: the same program with the same parameters."""
    return program.id + json.dumps(parameters, sort_keys=True)


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # perhaps nobody waits for it any more


async def _stopped(stop: asyncio.Event, seconds: float | None, *work: asyncio.Task[Any]) -> bool:
    """Wait until told to stop, until the work is done, or for so long. Whether it was told to stop."""
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({waiting, *work}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return stop.is_set()
