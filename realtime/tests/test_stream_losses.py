"""Losses told in the middle of streams: windows that are told answer as the whole volume that is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import stim

from quarterdeck_realtime import _hot
from quarterdeck_realtime.client import Client, RingLink
from quarterdeck_realtime.closed_loop import ClosedLoop
from quarterdeck_realtime.codes import (
    circuit_experiment,
    experiment,
    lossy_experiment,
    read_loss,
    stream_plan,
    stream_shape,
)  # fmt: skip
from quarterdeck_realtime.control import Control
from quarterdeck_realtime.model import model_of
from quarterdeck_realtime.profiles import PROFILES
from quarterdeck_realtime.service import Service
from quarterdeck_realtime.settings import load

Surface = Callable[..., stim.Circuit]
EASY = msgspec.structs.replace(PROFILES["superconducting"], cycle_us=5.0)


def test_heralds_in_a_stream() -> None:
    """Half of the depolarising errors are losses that are noticed at once, each by a measurement of its own."""
    lossy = lossy_experiment("surface", 3, 6e-3, 0.5, rounds=24)
    exp, model = lossy.experiment, lossy.erasures
    sampled = exp.sample(800, 3)
    whole, _, _ = _hot.Erasure(model.aware, model.sites).decode_batch(sampled.detections, lossy.losses(sampled))
    deaf = msgspec.structs.replace(exp, heralds=[])
    with ClosedLoop(EASY, fifo=0) as loop:
        loop.seat_stream("told", exp, 6, 3, inner="erasure", model=model.aware)
        loop.seat_stream("told, beside", exp, 6, 3, workers=1, inner="erasure", model=model.aware)
        loop.seat_stream("roughly told", exp, 6, 3, inner="union-find", model=model.aware)
        loop.seat_stream("not told", deaf, 6, 3, model=model.blind)
        loop.start()
        blocks = [loop.run(seat, sampled, whole, warm_shots=0, stream=True) for seat in range(4)]
        erased = [patch.failures for patch in loop.status().patches]
    errors = [block.tally["logical_errors"] for block in blocks]
    truth = int(np.count_nonzero(whole != sampled.observables))
    unlike = [block.tally["differ"] for block in blocks]
    print(f"{truth} logical errors of {len(sampled)} as a whole; in streams {errors}, unlike the whole {unlike}")
    assert erased == [0, 0, 0, 0]
    assert all(block.tally["shots"] == 800 and block.tally["failed"] == 0 for block in blocks)
    assert max(errors[:2]) <= truth * 1.1 + 5
    assert max(unlike[:2]) <= 16
    assert errors[2] <= truth * 1.3 + 10
    assert errors[3] > truth * 1.3


@pytest.mark.parametrize("workers", [0, 1])
def test_outcomes_that_are_lost_in_a_stream(workers: int) -> None:
    """Atoms that are not there when they are measured: outcomes of 2, in streams of many lengths."""
    exp = experiment("surface", 3, 2e-3, rounds=30)
    graph = model_of(exp.dem)
    hearing = msgspec.structs.replace(exp, lost=read_loss(exp, graph))
    assert sum(map(len, hearing.lost)) > 200
    noisy = exp.sample(800, 4, loss=0.06)
    silent = exp.silenced(noisy)
    whole, _, _ = _hot.Erasure(graph, hearing.lost).decode_batch(silent.detections, noisy.lost)
    with ClosedLoop(EASY, fifo=0) as loop:
        loop.seat_stream("told", hearing, 6, 3, workers=workers, inner="erasure")
        loop.seat_stream("random readouts", exp, 6, 3, workers=workers)
        loop.start()
        told = loop.run(0, silent, whole, warm_shots=0, stream=True)
        untold = loop.run(1, noisy, exp.expected(noisy)[0], warm_shots=0, stream=True)
    truth = int(np.count_nonzero(whole != silent.observables))
    errors = [block.tally["logical_errors"] for block in (told, untold)]
    print(f"{truth} logical errors of 800 as a whole, told and not told {errors}, {told.tally['differ']} unlike")
    assert told.tally["differ"] <= 16
    assert told.tally["failed"] == untold.tally["failed"] == 0
    assert errors[0] <= truth * 1.1 + 5
    assert errors[1] > errors[0] * 1.5


def test_a_single_stream_of_rounds_with_lost_outcomes() -> None:
    """An endless stream, its rounds one by one, ends with the answer that its volume has."""
    exp = experiment("surface", 3, 4e-3, rounds=60)
    graph = model_of(exp.dem)
    hearing = msgspec.structs.replace(exp, lost=read_loss(exp, graph))
    noisy = exp.sample(12, 5, loss=0.02)
    silent = exp.silenced(noisy)
    whole, _, _ = _hot.Erasure(graph, hearing.lost).decode_batch(silent.detections, noisy.lost)
    shape = stream_shape(exp)
    found = []
    with ClosedLoop(EASY, fifo=0) as loop:
        loop.seat_stream("told", hearing, 8, 4, inner="erasure")
        loop.start()
        for outcomes in hearing.outcomes(silent):
            rounds, closing = np.split(outcomes, [60 * shape.round_bits])
            rows = np.ascontiguousarray(rounds.reshape(60, shape.round_bits))
            block = loop.run_rounds(0, rows, closing.tolist(), warm_rounds=0)
            assert block.tally["failed"] == block.tally["lost"] == 0
            found.append(int(block.tally["corrections"][-1]))
    assert whole.any()
    assert np.count_nonzero(np.array(found) != whole) <= 1


def test_windows_that_cannot_be_told_refuse_losses() -> None:
    exp = experiment("surface", 3, 4e-3, rounds=20)
    graph = model_of(exp.dem)
    hearing = msgspec.structs.replace(exp, lost=read_loss(exp, graph))
    with ClosedLoop(EASY, fifo=0) as loop:
        for workers in (0, 1):
            with pytest.raises(ValueError, match="cannot take account of losses: take 'erasure' or 'union-find'"):
                loop.seat_stream("deaf", hearing, 6, 3, workers=workers)
    with pytest.raises(ValueError, match="no decoder for windows is called 'lookup'"):
        _hot.StreamPlan(graph, 6, 3, inner="lookup")
    with pytest.raises(ValueError, match="each of 8 measurements of the volume, not for 1"):
        _hot.StreamPlan(graph, 6, 3, inner="erasure", lost=[[]], round_bits=[4, 4])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_host_s_qubit_streams_lost_outcomes(tmp_path: Path, surface: Surface, workers: int) -> None:
    """`window` and kind `erasure` in a host's settings; new weights are swapped in while atoms are lost."""
    circuit = surface(3, 5e-3, 20)
    circuit.to_file(tmp_path / "long.stim")
    (tmp_path / "host.toml").write_text(
        f'name = "test-{os.getpid()}-losses"\nsocket = "{tmp_path}/host.sock"\n[[qubit]]\nname = "atoms"\n'
        f'circuit = "long.stim"\nwindow = 6\ncommit = 3\nworkers = {workers}\nkind = "erasure"\n'
        'profile = "neutral-atom"\n'
    )
    exp = circuit_experiment("d3", circuit)
    graph = model_of(exp.dem)
    lost = read_loss(exp, graph)
    noisy = exp.sample(60, 6, loss=0.15)
    silent = exp.silenced(noisy)
    whole, _, _ = _hot.Erasure(graph, lost).decode_batch(silent.detections, noisy.lost)
    untold, _ = exp.expected(silent)
    assert np.count_nonzero(whole != untold) > 3
    found = []
    with Service(*load(tmp_path / "host.toml")) as service, Control(service.socket) as host:
        client = Client(RingLink(host.rings("atoms")))
        for outcomes in msgspec.structs.replace(exp, lost=lost).outcomes(silent):
            *rounds, readout = np.split(outcomes, np.cumsum(exp.round_bits)[:-1])
            for number, values in enumerate(rounds):
                client.enqueue(0, number, values, outcomes=True)
                if number == 11:
                    host.swap("atoms", exp.dem)
            last = client.enqueue(0, len(rounds), readout, push=True, close=True, outcomes=True)
            found.append(last.bits(1)[0])
            client.reset(0)
        stats = client.stats(0)
        assert noisy.lost is not None
        assert (stats["epoch"], stats["erased"], stats["failures"]) == (60, noisy.lost.sum(), 0)
        with pytest.raises(ValueError, match="decoded by erasure: only its weights change"):
            host.swap("atoms", exp.dem, "matching")
    assert np.count_nonzero(np.array(found) != whole.astype(np.bool_)) <= 1


def test_the_plan_of_an_experiment_is_made_once_for_seats_and_swaps() -> None:
    """A swap with other losses, or none, is not taken by a stream that runs."""
    exp = experiment("surface", 3, 4e-3, rounds=30)
    graph = model_of(exp.dem)
    hearing = msgspec.structs.replace(exp, lost=read_loss(exp, graph))
    silent = exp.silenced(exp.sample(60, 7, loss=0.02))
    with ClosedLoop(EASY, fifo=0) as loop:
        place = loop.seats[loop.seat_stream("told", hearing, 6, 3, inner="erasure")][2]
        loop.start()
        calm = loop.run(0, silent, silent.observables, warm_shots=0, stream=True)
        loop.host.swap_stream(place, stream_plan(hearing, graph, 6, 3, inner="erasure"))
        again = loop.run(0, silent, silent.observables, warm_shots=0, stream=True)
        assert loop.host.epoch(place) == 1
    assert np.array_equal(calm.tally["corrections"], again.tally["corrections"])
