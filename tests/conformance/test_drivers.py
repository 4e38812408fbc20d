"""What every driver must do. A new driver joins by adding itself to DRIVERS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from quarterdeck.bench.qpu_process import QpuProcess
from quarterdeck.devices.driver import Driver, Slice, Target
from quarterdeck.devices.registry import make
from quarterdeck.errors import BadProgram, NotFound
from quarterdeck.programs.program import Program
from quarterdeck.programs.result import check_outcome

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "programs"
AFM = Program.of("pulser", (EXAMPLES / "afm_chain.json").read_text())
DRIVERS: list[tuple[str, dict[str, Any], Program]] = [
    ("fake", {}, Program.of("opaque", "x")),
    ("neutral-atom-emulator", {"time_scale": 1000.0}, AFM),
]


def with_driver(kind: str, settings: dict[str, Any], use: Callable[[Driver, Target], Awaitable[None]]) -> None:
    async def main() -> None:
        with TemporaryDirectory() as state:
            driver = make("device", kind, settings, Path(state) / "device")
            try:
                await use(driver, await driver.target())
            finally:
                await driver.close()

    asyncio.run(main())


@pytest.mark.parametrize(("kind", "settings", "program"), DRIVERS, ids=[kind for kind, _, _ in DRIVERS])
def test_the_contract(kind: str, settings: dict[str, Any], program: Program) -> None:
    async def use(driver: Driver, target: Target) -> None:
        assert target.name == "device" and target.qubits > 0 and program.format in target.formats
        assert (await driver.status()).online
        await driver.admit(program, {}, 100)
        with pytest.raises(BadProgram, match=r"max_shots|max_runs"):
            await driver.admit(program, {}, target.max_shots + 1)
        with pytest.raises(BadProgram, match="format"):
            await driver.admit(Program.of("no-such-format", "x"), {}, 1)
        slice = Slice(key="a/0", program=program, shots=100)
        handle = await driver.start(slice)
        assert await driver.start(slice) == handle
        outcome = await driver.wait(handle)
        check_outcome(outcome, 100)
        assert sum(outcome.counts.values()) == 100
        assert await driver.wait(handle) == outcome
        if target.can_lookup:
            assert await driver.lookup("a/0") == handle
            assert await driver.lookup("never") is None
        await driver.cancel(handle)
        with pytest.raises(NotFound):
            await driver.wait("never")
        handles = [await driver.start(Slice(key=f"b/{n}", program=program, shots=n)) for n in range(1, 6)]
        told = await asyncio.gather(*map(driver.wait, handles))
        assert [sum(one.counts.values()) for one in told] == [1, 2, 3, 4, 5]

    with_driver(kind, settings, use)


def test_the_contract_with_a_pasqal_qpu() -> None:
    """The scripted double of one. It is told to take several jobs at once, as this suite starts them."""
    with QpuProcess() as qpu:
        qpu.script(cancels_previous=False)
        settings = {"uri": qpu.uri, "poll_s": 0.02, "longest_poll_s": 0.1, "settle_s": 0.2}
        test_the_contract("pasqal-qpu", settings, AFM)


@pytest.mark.parametrize(
    ("kind", "settings", "program"),
    [
        ("fake", {"slow_s": 2.0}, Program.of("opaque", "x")),
        ("neutral-atom-emulator", {"shot_rate_hz": 10.0, "setup_s": 0.0}, AFM),
    ],
)
def test_cancel_stops_a_slice(kind: str, settings: dict[str, Any], program: Program) -> None:
    """At once it gives no shots or few; after a while those measured by then."""

    async def use(driver: Driver, target: Target) -> None:
        await driver.wait(await driver.start(Slice(key="warm", program=program, shots=1)))
        for key, after_s, least in (("c", 0.0, 0), ("d", 0.5, 1)):
            handle = await driver.start(Slice(key=key, program=program, shots=600))
            await asyncio.sleep(after_s)
            await driver.cancel(handle)
            async with asyncio.timeout(20):
                outcome = await driver.wait(handle)
            assert least <= sum(outcome.counts.values()) < 300
            assert await driver.wait(handle) == outcome

    with_driver(kind, settings, use)


def test_the_emulator_samples_what_pulser_says() -> None:
    """Chi-square of the driver's counts against QutipBackendV2 run directly on the same sequence."""
    from pulser import Sequence
    from pulser.backend import StateResult
    from pulser_simulation import QutipBackendV2, QutipConfig
    from scipy.stats import chisquare

    config = QutipConfig(observables=[StateResult(evaluation_times=[1.0])])
    state: Any = QutipBackendV2(Sequence.from_abstract_repr(AFM.payload), config=config).run().final_state
    expected = state.bitstring_probabilities(cutoff=0.0)
    shots = 5000

    async def use(driver: Driver, target: Target) -> None:
        counts = (await driver.wait(await driver.start(Slice(key="d", program=AFM, shots=shots)))).counts
        likely = [bits for bits, chance in expected.items() if float(chance) * shots >= 5]
        seen = [counts.get(bits, 0) for bits in likely]
        wanted = [float(expected[bits]) * shots for bits in likely]
        seen.append(shots - sum(seen))
        wanted.append(shots - sum(wanted))
        assert chisquare(seen, wanted).pvalue > 1e-4

    with_driver("neutral-atom-emulator", {"time_scale": 1000.0}, use)
