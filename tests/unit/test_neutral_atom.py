"""The emulated QPU's limits and its workers."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from quarterdeck.devices.driver import Slice
from quarterdeck.devices.emulation import admit, make_spec
from quarterdeck.devices.neutral_atom import NeutralAtomEmulator
from quarterdeck.devices.workers import WorkerDied, Workers
from quarterdeck.errors import BadProgram, TooCostly
from quarterdeck.programs.program import Program

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "programs"
AFM, MIS = ((EXAMPLES / f"{name}.json").read_text() for name in ("afm_chain", "mis"))
SWEEP = {"amplitude": [0, 5, 5, 0], "detuning": [-8, 0, 0, 8]}
LIMITS = (120.0, 4096.0, 1)


@pytest.mark.parametrize(
    ("parameters", "where"),
    [
        ({}, "$.parameters.amplitude"),
        ({**SWEEP, "x": 1}, "$.parameters.x"),
        ({**SWEEP, "detuning": [1, 2]}, "$.parameters.detuning"),
        ({**SWEEP, "detuning": [1, 2, 3, float("nan")]}, "$.parameters.detuning"),
        ({**SWEEP, "amplitude": [0, 50, 5, 0]}, "max_amp"),
        ({**SWEEP, "detuning": [-800, 0, 0, 8]}, "max_abs_detuning"),
    ],
)
def test_the_broken_limit_is_named(parameters: dict[str, object], where: str) -> None:
    with pytest.raises(BadProgram) as told:
        admit(MIS, parameters, 1, make_spec("e"), LIMITS)
    assert told.value.where == where


def test_atoms_shots_and_cost_are_limited() -> None:
    with pytest.raises(BadProgram, match="max_atom_num: 7 atoms"):
        admit(AFM, {}, 1, make_spec("e", 5), LIMITS)
    with pytest.raises(BadProgram, match="max_runs"):
        admit(AFM, {}, 10_001, make_spec("e"), LIMITS)
    with pytest.raises(TooCostly, match="Use a shorter sequence"):
        admit(AFM, {}, 1, make_spec("e"), (0.06, 4096.0, 1))


def test_the_same_key_gives_the_same_counts() -> None:
    async def once() -> dict[str, int]:
        driver = NeutralAtomEmulator("e", time_scale=1000.0)
        try:
            await driver.target()
            slice = Slice(key="k", program=Program.of("pulser", AFM), shots=50)
            return (await driver.wait(await driver.start(slice))).counts
        finally:
            await driver.close()

    assert asyncio.run(once()) == asyncio.run(once())


def test_a_worker_that_dies_or_hangs_is_replaced() -> None:
    async def main() -> None:
        workers = Workers(1)
        try:
            with pytest.raises(WorkerDied):
                await workers.run(os._exit, 1)
            assert await workers.run(abs, -1) == 1
            with pytest.raises(WorkerDied, match="not done"):
                await workers.run(time.sleep, 60, timeout_s=0.5)
            assert await workers.run(abs, -2) == 2
        finally:
            await workers.close()

    asyncio.run(main())
