"""The emulated QPU: its limits, its clock, its faults, its noise."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from quarterdeck.devices import cost
from quarterdeck.devices.driver import Counts, Outcome, Slice
from quarterdeck.devices.emulation import SPEC, admit, make_spec, spec
from quarterdeck.devices.neutral_atom import WARM, NeutralAtomEmulator
from quarterdeck.devices.workers import Workers
from quarterdeck.errors import BadProgram, DeviceUnavailable, Invalid, TooCostly
from quarterdeck.programs.program import Program
from quarterdeck.programs.pulser import device_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "programs"
AFM, MIS = ((EXAMPLES / f"{name}.json").read_text() for name in ("afm_chain", "mis"))
SWEEP = {"amplitude": [0, 5, 5, 0], "detuning": [-8, 0, 0, 8]}
CHAIN = Program.of("pulser", AFM)
LIMITS = (120.0, 4096.0, 0)


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
        admit(MIS, parameters, 1, spec("e"), LIMITS)
    assert told.value.where == where


def test_atoms_shots_and_cost_are_limited() -> None:
    with pytest.raises(BadProgram, match="max_atom_num: 7 atoms"):
        admit(AFM, {}, 1, spec("e", 5), LIMITS)
    with pytest.raises(BadProgram, match="max_runs"):
        admit(AFM, {}, 10_001, spec("e"), LIMITS)
    with pytest.raises(TooCostly, match="what would fit: 4 atoms for 3000 ns, or 7 atoms for"):
        admit(AFM, {}, 1, spec("e"), (0.11, 4096.0, 0))


def sweep(atoms: int, duration_ns: int = 3000) -> str:
    """An adiabatic sweep of atoms on a square lattice."""
    from pulser import Pulse, Register, Sequence
    from pulser.devices import AnalogDevice

    grid = Register.rectangle(4, 5, 7.0, prefix="q")
    sequence = Sequence(Register(dict(list(grid.qubits.items())[:atoms])), AnalogDevice)
    sequence.declare_channel("rydberg", "rydberg_global")
    sequence.add(Pulse.ConstantPulse(duration_ns, 6.0, 0.0, 0.0), "rydberg")
    return str(sequence.to_abstract_repr())


def test_13_atoms_are_admitted_and_20_refused_with_what_would_fit() -> None:
    admit(sweep(13), {}, 1, spec("e"), LIMITS)
    began = monotonic()
    with pytest.raises(TooCostly) as told:
        admit(sweep(20), {}, 1, spec("e"), LIMITS)
    assert monotonic() - began < 10.0, "nothing is emulated to find out"
    assert told.value.where == "max_emulation_s"
    assert "20 atoms for 3000 ns would take about 2.52e+03 s" in told.value.why
    assert told.value.why.endswith("what would fit: 15 atoms for 3000 ns")


@pytest.mark.parametrize("limits", [(120.0, 4096.0, 0), (2.0, 4096.0, 0), (1e9, 300.0, 0), (120.0, 4096.0, 40)])
def test_what_would_fit_fits(limits: tuple[float, float, int]) -> None:
    seconds, mib, trajectories = limits
    with pytest.raises(TooCostly) as told:
        cost.check(18, 5000, seconds, mib, trajectories)
    for way in told.value.why.partition("what would fit: ")[2].split(", or "):
        words = way.split()
        cost.check(int(words[0]), int(words[3]), seconds, mib, trajectories)


def test_the_shipped_spec_is_what_pulser_says() -> None:
    """Else `python -m quarterdeck.devices.emulation` writes it anew."""
    assert device_of(SPEC.read_text()) == device_of(make_spec())
    told = json.loads(spec("other", 12))
    assert (told["name"], told["max_atom_num"]) == ("other", 12)


class Shared:
    """Workers that outlive the driver: each new process imports Pulser, which takes seconds."""

    def __init__(self, workers: Workers) -> None:
        self.run, self.warm_up, self.end = workers.run, workers.warm_up, workers.close

    async def close(self) -> None:
        return


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def pools(runner: asyncio.Runner) -> Iterator[tuple[Shared, Shared]]:
    made = Shared(Workers(1, WARM)), Shared(Workers(1, WARM, kill_cancelled=True))
    yield made
    for pool in made:
        runner.run(pool.end())


Use = Callable[..., Any]


@pytest.fixture
def with_emulator(runner: asyncio.Runner, pools: tuple[Shared, Shared]) -> Use:
    """`with_emulator(use, **settings)`: what the coroutine function makes of a driver with these settings."""

    def with_emulator(use: Callable[[NeutralAtomEmulator], Awaitable[Any]], **settings: Any) -> Any:
        async def main() -> Any:
            driver = NeutralAtomEmulator("e", **{"time_scale": 1000.0, **settings})
            driver._checkers, driver._emulators = pools  # type: ignore[assignment]
            try:
                await driver.target()
                return await use(driver)
            finally:
                await driver.close()

        return runner.run(main())

    return with_emulator


async def run(driver: NeutralAtomEmulator, key: str = "k", shots: int = 50, program: Program = CHAIN) -> Outcome:
    return await driver.wait(await driver.start(Slice(key=key, program=program, shots=shots)))


@pytest.fixture
def counts(with_emulator: Use) -> Callable[..., Counts]:
    """`counts(shots, **settings)`: what the chain gives."""

    def counts(shots: int = 50, **settings: Any) -> Counts:
        outcome: Outcome = with_emulator(lambda driver: run(driver, shots=shots), **settings)
        assert sum(outcome.counts.values()) == shots
        return outcome.counts

    return counts


def test_the_same_key_and_seed_give_the_same_counts(counts: Callable[..., Counts]) -> None:
    assert counts() == counts()
    assert counts() != counts(seed=1)


def test_the_target_is_known_at_once() -> None:
    async def main() -> None:
        began = monotonic()
        driver = NeutralAtomEmulator("e")
        try:
            assert (await driver.target()).qubits == 80
            assert monotonic() - began < 1.0, "it waited for Pulser"
        finally:
            await driver.close()

    asyncio.run(main())


def test_a_slice_cancelled_midway_gives_the_shots_measured_by_then(with_emulator: Use) -> None:
    """100 shots per second after 0.5 s of set-up: cancelled after 1.5 s, about 100 are there."""

    async def use(driver: NeutralAtomEmulator) -> None:
        await run(driver, "warm", shots=1)  # emulated and loaded; the next slice has no set-up
        began = monotonic()
        handle = await driver.start(Slice(key="c", program=CHAIN, shots=1000))
        await asyncio.sleep(1.0)
        await driver.cancel(handle)
        outcome = await driver.wait(handle)
        took_s = monotonic() - began
        assert 100 * 0.9 <= sum(outcome.counts.values()) <= 100 * took_s
        assert sum(outcome.counts.values()) == int(outcome.qpu_s * 100)
        assert 1.0 <= outcome.qpu_s <= took_s
        assert await driver.wait(handle) == outcome

    with_emulator(use, time_scale=1.0, setup_s=0.0)


def test_set_up_comes_before_the_first_shot_and_only_for_another_register(with_emulator: Use) -> None:
    async def use(driver: NeutralAtomEmulator) -> None:
        first, second = await run(driver, "a", 100), await run(driver, "b", 100)
        other = await run(driver, "c", 100, Program.of("pulser", sweep(2)))
        assert [round(one.qpu_s, 3) for one in (first, second, other)] == [0.3, 0.1, 0.3]
        handle = await driver.start(Slice(key="d", program=CHAIN, shots=100))
        await driver.cancel(handle)
        assert (await driver.wait(handle)).counts == {}
        assert round((await run(driver, "e", 100)).qpu_s, 3) == 0.3, "a set-up that was cancelled is not done"

    with_emulator(use, time_scale=10.0)


def test_cancelling_stops_the_emulation_and_frees_the_device(with_emulator: Use) -> None:
    """13 atoms take seconds; the slice behind the cancelled one does not wait for them."""

    async def use(driver: NeutralAtomEmulator) -> None:
        await run(driver, "warm")
        long = Program.of("pulser", sweep(13, 6000))
        await driver.admit(long, {}, 10)
        worker = await driver._emulators.run(os.getpid)
        handle = await driver.start(Slice(key="long", program=long, shots=10))
        twin = await driver.start(Slice(key="twin", program=long, shots=10))
        await asyncio.sleep(0.3)
        await driver.cancel(handle)
        assert (await driver.wait(handle)).counts == {}
        await asyncio.sleep(0.1)
        os.kill(worker, 0)  # still there: another slice needs the same emulation
        await driver.cancel(twin)
        began = monotonic()
        assert (await driver.wait(twin)).counts == {}
        assert monotonic() - began < 0.5
        assert await driver._emulators.run(os.getpid) != worker, "the emulation went on"
        assert sum((await run(driver, "next")).counts.values()) == 50

    with_emulator(use)


def test_faults_by_count(with_emulator: Use) -> None:
    async def use(driver: NeutralAtomEmulator) -> None:
        for _ in range(2):
            with pytest.raises(DeviceUnavailable, match="on purpose"):
                await run(driver)
        with pytest.raises(ConnectionResetError, match="on purpose"):
            await run(driver)
        assert await driver.lookup("k") is None, "it was not accepted"
        assert sum((await run(driver)).counts.values()) == 50

    with_emulator(use, faults={"unavailable": 2, "fail": 1})


def test_faults_by_rate_follow_from_the_seed(with_emulator: Use) -> None:
    async def use(driver: NeutralAtomEmulator) -> list[bool]:
        told = await asyncio.gather(*(run(driver, f"t/{n}", 1) for n in range(40)), return_exceptions=True)
        assert all(isinstance(one, Outcome | ConnectionResetError) for one in told)
        return [isinstance(one, Outcome) for one in told]

    first = with_emulator(use, fault_rate=0.5)
    assert 8 < sum(first) < 32
    assert first == with_emulator(use, fault_rate=0.5)
    assert first != with_emulator(use, fault_rate=0.5, seed=1)
    assert not any(with_emulator(use, fault_rate=1.0))


def test_offline_windows(with_emulator: Use) -> None:
    async def use(driver: NeutralAtomEmulator) -> None:
        assert (await driver.status()).online
        with pytest.raises(DeviceUnavailable, match="offline"):
            driver._born -= 100.0
            await driver.start(Slice(key="k", program=CHAIN, shots=1))
        told = await driver.status()
        assert not told.online and "offline" in told.reason
        driver._born -= 100.0
        assert (await driver.status()).online

    with_emulator(use, offline=[[50.0, 150.0], [300.0, 400.0]])


def test_noise_of_the_camera(counts: Callable[..., Counts]) -> None:
    assert counts(noise={"p_false_pos": 1.0}) == {"1" * 7: 50}
    assert counts(noise={"p_false_neg": 1.0}) == {"0" * 7: 50}
    clean, flipped = counts(), counts(noise={"p_false_pos": 1.0, "p_false_neg": 1.0})
    assert flipped == {bits.translate({48: "1", 49: "0"}): n for bits, n in clean.items()}


def test_noise_of_the_atoms_changes_what_is_measured(counts: Callable[..., Counts]) -> None:
    """Strong depolarising leaves little of the antiferromagnetic state; the camera's errors come on top."""
    ordered = "1010101"
    assert counts(500)[ordered] > 250
    assert counts(500, noise={"depolarizing_rate": 5.0}).get(ordered, 0) < 125
    assert counts(50, noise={"temperature": 50.0, "trajectories": 2, "p_false_pos": 1.0}) == {"1" * 7: 50}


def test_modulated_emulates_the_modulators(with_emulator: Use) -> None:
    """A pulse as short as the modulators' rise time does not do what it does with ideal ones."""
    short = Program.of("pulser", sweep(1, 100))

    async def excited(driver: NeutralAtomEmulator) -> int:
        return (await run(driver, "m", 5000, short)).counts.get("1", 0)

    ideal, real = with_emulator(excited), with_emulator(excited, modulated=True)
    assert 0 < ideal < 5000 and ideal != real


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"time_scale": 0.0}, "devices.e.time_scale"),
        ({"setup_s": -1.0}, "devices.e.setup_s"),
        ({"fault_rate": 1.5}, "devices.e.fault_rate"),
        ({"faults": {"x": 1}}, "devices.e.faults"),
        ({"noise": {"p_false_pos": 2.0}}, "devices.e.noise.p_false_pos"),
        ({"noise": {"trajectories": 0}}, "devices.e.noise.trajectories"),
        ({"noise": {"no_such_noise": 1.0}}, "noise"),
        ({"noise": {"with_leakage": True}}, "noise.with_leakage"),
    ],
)
def test_bad_settings_are_told_at_start_up(settings: dict[str, Any], where: str, with_emulator: Use) -> None:
    async def use(driver: NeutralAtomEmulator) -> None:
        raise AssertionError("it started")

    with pytest.raises(Invalid) as told:
        with_emulator(use, **settings)
    assert told.value.where == where


def test_settings_are_documented() -> None:
    """Every setting of the device has its row, with its default."""
    page = (EXAMPLES.parents[1] / "docs" / "emulated-device.md").read_text()
    for name, setting in list(inspect.signature(NeutralAtomEmulator).parameters.items())[1:]:
        default = "none" if setting.default is None else f"`{json.dumps(setting.default)}`"
        assert f"| `{name}` | {default} |" in page
