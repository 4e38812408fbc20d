"""Colour and bivariate bicycle codes through controller, host and hot loop: relay's answers are those of its batch."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml

from quarterdeck_realtime import _hot
from quarterdeck_realtime.bench import head
from quarterdeck_realtime.client import Client, RingLink
from quarterdeck_realtime.closed_loop import ClosedLoop
from quarterdeck_realtime.codes import code_circuit, experiment
from quarterdeck_realtime.control import Control
from quarterdeck_realtime.decoders.matrices import mechanisms_of
from quarterdeck_realtime.decoders.own import relay
from quarterdeck_realtime.other_codes import OtherCase, other_codes_lines, run_other_code
from quarterdeck_realtime.profiles import PROFILES
from quarterdeck_realtime.service import Service
from quarterdeck_realtime.settings import RelaySettings, compiled_of, load

EASY = msgspec.structs.replace(PROFILES["superconducting"], cycle_us=200.0, budget_us=2000.0)


@pytest.mark.parametrize("plain", [False, True], ids=["push", "plain"])
@pytest.mark.parametrize(("code", "distance", "p"), [("bicycle", 6, 2e-2), ("colour", 5, 3e-3)])
def test_each_answer_is_that_of_the_batch(code: str, distance: int, p: float, plain: bool) -> None:
    exp = experiment(code, distance, p)
    shots = exp.sample(200, 3)
    compiled = relay(exp.dem).compiled
    expected, _, qualities = compiled.decode_batch(shots.detections)
    with ClosedLoop(EASY, fifo=0) as loop:
        loop.seat(exp.name, exp, compiled, head(shots, 20))
        loop.start()
        block = loop.run(0, shots, expected, warm_shots=0, plain=plain)
        patch = loop.status().patches[0]
    assert block.tally["differ"] == block.tally["lost"] == block.tally["failed"] == patch.failures == 0
    assert (block.tally["corrections"] == expected).all()
    assert block.tally["shots"] == patch.shots == 200
    assert block.tally["logical_errors"] == int((expected != shots.observables).sum())
    assert block.tally["heuristic"] == int((qualities == 1).sum()) < 200
    assert sum(block.causes.values()) == block.misses
    if code == "bicycle":
        assert expected.max() >= 1 << 11


def test_a_volume_that_fails_is_the_only_one() -> None:
    """The controller resets what a failure latched."""
    exp = experiment("bicycle", 6, 2e-2)
    shots = exp.sample(200, 3)
    compiled = relay(exp.dem, iterations=4, legs=0).compiled
    expected, _, qualities = compiled.decode_batch(shots.detections)
    failed = qualities == 2
    assert 20 < failed.sum() < 180
    with ClosedLoop(EASY, fifo=0) as loop:
        loop.seat(exp.name, exp, compiled, head(shots, 20))
        loop.start()
        block = loop.run(0, shots, expected, warm_shots=0)
        patch = loop.status().patches[0]
    answered = block.tally["reaction_ns"] != np.iinfo(np.uint32).max
    assert (answered == ~failed).all()
    assert (block.tally["corrections"][answered] == expected[answered]).all()
    assert block.tally["lost"] == block.tally["failed"] == patch.failures == failed.sum()
    assert block.tally["differ"] == 0


def test_a_swap_of_weights_in_the_loop() -> None:
    calm, worse = experiment("colour", 3, 1e-3), experiment("colour", 3, 2e-2)
    shots = worse.sample(150, 4)
    first, second = relay(calm.dem).compiled, relay(worse.dem).compiled
    answers = [one.decode_batch(shots.detections)[0] for one in (first, second)]
    assert (answers[0] != answers[1]).any()
    with ClosedLoop(EASY, fifo=0) as loop:
        seat = loop.seat("colour", calm, first, head(shots, 20))
        loop.start()
        stale = loop.run(seat, shots, answers[0], warm_shots=0)
        loop.host.swap(loop.seats[seat][2], second, shots.detections[:50])
        fresh = loop.run(seat, shots, answers[1], warm_shots=0)
    assert stale.tally["differ"] == fresh.tally["differ"] == 0
    assert set(fresh.tally["epoch"].tolist()) == {1}


def test_a_host_of_kind_relay(tmp_path: Path) -> None:
    exp = experiment("bicycle", 6, 1e-2, rounds=2)
    colour = experiment("colour", 5, 2e-3, rounds=4)
    exp.circuit.to_file(tmp_path / "bicycle.stim")
    colour.circuit.to_file(tmp_path / "colour.stim")
    exp.dem.to_file(tmp_path / "bicycle.dem")
    (tmp_path / "host.toml").write_text(
        f'name = "test-{os.getpid()}-relay"\nsocket = "{tmp_path}/host.sock"\n'
        + "".join(
            f'[[qubit]]\nname = "{name}"\n{given}\nkind = "relay"\ndecoder = {number}\nprofile = "neutral-atom"\n'
            for number, (name, given) in enumerate(
                [
                    ("left", 'circuit = "bicycle.stim"'),
                    ("bare", 'dem = "bicycle.dem"'),
                    ("three", 'circuit = "colour.stim"'),
                ]
            )
        )
    )
    shots, others = exp.sample(40, 5), colour.sample(40, 5)
    expected, _, _ = relay(exp.dem).compiled.decode_batch(shots.detections)
    wanted, _, _ = relay(colour.dem).compiled.decode_batch(others.detections)
    noisier = code_circuit("bicycle", 6, 2, 3e-2).detector_error_model()
    after, _, _ = relay(noisier).compiled.decode_batch(shots.detections)
    with Service(*load(tmp_path / "host.toml")) as service, Control(service.socket) as host:
        assert [(qubit.name, qubit.kind) for qubit in host.qubits()] == [
            ("left", "relay"), ("bare", "relay"), ("three", "relay"),
        ]  # fmt: skip
        assert all(0 < qubit.share < 0.5 for qubit in host.qubits())
        left, bare, three = (Client(RingLink(host.rings(name))) for name in ("left", "bare", "three"))

        def ask(client: Client, decoder: int, bits: np.ndarray, observables: int) -> int:
            client.enqueue(decoder, 0, bits)
            return sum(int(bit) << k for k, bit in enumerate(client.get_corrections(decoder, observables)))

        for measured, fired, mask in zip(shots.measurements, shots.detections, expected, strict=True):
            assert ask(left, 0, measured, 12) == ask(bare, 1, fired, 12) == mask
        for measured, mask in zip(others.measurements, wanted, strict=True):
            assert ask(three, 2, measured, 1) == mask
        assert host.swap("left", noisier) == 1
        for measured, mask in zip(shots.measurements, after, strict=True):
            assert ask(left, 0, measured, 12) == mask
        with pytest.raises(ValueError, match="has 144 detectors, left has 108"):
            host.swap("left", code_circuit("bicycle", 6, 3, 3e-2).detector_error_model())
        with pytest.raises(ValueError, match="fires 3 detectors at once, and matching takes two: decompose"):
            host.swap("three", colour.dem, "matching")


def test_settings_of_relay_and_nvidias_file(tmp_path: Path) -> None:
    """An nv-qldpc-decoder with relays runs hot, with its settings."""
    exp = experiment("bicycle", 6, 2e-2, rounds=1)
    exp.circuit.to_file(tmp_path / "bicycle.stim")
    (tmp_path / "host.toml").write_text(
        'name = "test"\n[[qubit]]\nname = "left"\ncircuit = "bicycle.stim"\nkind = "relay"\n'
        "relay = { iterations = 2, legs = 1, leg_iterations = 2, memories = [0, 0.5] }\n"
    )
    _, (qubit,) = load(tmp_path / "host.toml")
    assert qubit.settings.relay == RelaySettings(iterations=2, legs=1, leg_iterations=2, memories=(0, 0.5))
    shots = exp.sample(300, 6)
    short = compiled_of("relay", qubit.dem, qubit.settings.relay).decode_batch(shots.detections)[2] == 2
    assert 5 < short.sum() < 295
    mechanisms = mechanisms_of(exp.dem)
    sparse = {
        name: [at for row in matrix for at in (*np.flatnonzero(row).tolist(), -1)]
        for name, matrix in (
            ("H_sparse", mechanisms.checks()), ("O_sparse", mechanisms.logical_matrix()),
            ("D_sparse", np.eye(exp.dem.num_detectors)),
        )
    }  # fmt: skip
    relays = {"pre_iter": 2, "num_sets": 1, "stopping_criterion": "All"}
    arguments = {
        "bp_method": 3, "max_iterations": 2, "gamma0": 0.125, "gamma_dist": [0, 0.5], "srelay_config": relays,
        "error_rate_vec": mechanisms.probabilities.tolist(),
    }  # fmt: skip
    entry = {"id": 3, "type": "nv-qldpc-decoder", "block_size": len(mechanisms.flips), **sparse}
    entry |= {"syndrome_size": exp.dem.num_detectors, "decoder_custom_args": arguments}
    (tmp_path / "nvidia.yaml").write_text(yaml.safe_dump({"decoders": [entry]}))
    _, (theirs,) = load(tmp_path / "nvidia.yaml")
    assert theirs.settings.relay == msgspec.structs.replace(qubit.settings.relay, solutions=2, more=1)
    compiled = compiled_of("relay", theirs.dem, theirs.settings.relay)
    assert ((compiled.decode_batch(shots.detections)[2] == 2) == short).all()


def test_a_qubit_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    experiment("bicycle", 6, 2e-2).circuit.to_file(tmp_path / "bicycle.stim")
    (tmp_path / "host.toml").write_text(
        f'name = "test-{os.getpid()}-late"\nsocket = "{tmp_path}/host.sock"\n'
        '[[qubit]]\nname = "left"\ncircuit = "bicycle.stim"\nkind = "relay"\n'  # 1 us cycles, 10 us budget
    )
    with pytest.raises(ValueError, match="qubit left does not fit: "):
        Service(*load(tmp_path / "host.toml"))


def test_the_part_of_the_bench() -> None:
    case = OtherCase("bicycle", 6, 2e-2, 40, 40)
    one, _ = run_other_code(case, seed=3, fifo=0)
    assert one.differ == one.lost == one.failed == one.failed_offline == 0
    assert one.answered == 40 and one.own.shots == 30 and one.null.shots == 18
    assert (one.detectors, one.mechanisms, one.observables) == (252, 648, 12)
    assert sum(one.own.causes.values()) == one.own.misses
    assert one.unsolved_there == one.logical_errors
    page = "\n".join(other_codes_lines([one, msgspec.structs.replace(one, errors_beside=None)]))
    assert "bicycle d=6" in page and "bp-osd is not installed" in page
    assert msgspec.json.decode(msgspec.json.encode(one), type=type(one)) == one
    assert _hot.Relay.__doc__
