"""What the bench measures besides volumes, with few shots: nothing is lost, and every answer is another decoder's."""

from __future__ import annotations

import numpy as np
import pytest

from quarterdeck_realtime import _hot
from quarterdeck_realtime.codes import experiment, lossy_experiment, read_loss, stream_shape
from quarterdeck_realtime.model import model_of
from quarterdeck_realtime.scenarios import run_drift, run_holding, run_losses, run_profile, run_streams, run_swaps


@pytest.mark.parametrize(("name", "policy"), [("superconducting", "wait"), ("ion", "idle"), ("neutral-atom", "defer")])
def test_each_profile_answers_as_pymatching_does(name: str, policy: str) -> None:
    pacing, _ = run_profile(name, policy, 15, seed=3, fifo=0)
    assert pacing.differ == pacing.lost == 0
    assert pacing.side.shots == 5
    assert sum(pacing.side.causes.values()) == pacing.side.misses


def test_swapped_weights_follow_the_noise() -> None:
    drift, _ = run_drift(3, 500, seed=5, fifo=0)
    assert drift.differ == drift.lost == 0
    assert sum(drift.fresh) <= sum(drift.stale)
    assert drift.stale[-1] > drift.stale[0]


def test_a_decoder_that_is_told_of_losses_does_better() -> None:
    losses, _ = run_losses(3, 2e-2, 0.5, 1500, seed=5, fifo=0)
    assert losses.differ == losses.lost_answers == 0
    assert losses.errors_aware < losses.errors_blind
    assert losses.lost_per_shot > 0.5
    assert losses.readout_errors_aware < losses.readout_errors_blind


def test_a_lost_readout_erases_one_edge() -> None:
    exp = experiment("surface", 5, 1e-3)
    model = model_of(exp.dem)
    edges = read_loss(exp, model)
    assert all(len(each) == 1 for each in edges)
    for measurement, (number,) in enumerate(edges):
        u, v, _, mask = model.edges[number]
        fired = [detector for detector, row in enumerate(exp.detectors) if measurement in row]
        assert sorted(fired) == sorted({u, v} - {-1})
        assert mask == (measurement in exp.readouts[0])
    shots = exp.sample(30, seed=1, loss=0.2)
    silent = exp.silenced(shots)
    assert shots.lost is not None
    assert not (silent.measurements & shots.lost).any()
    assert (exp.outcomes(silent) == exp.outcomes(shots)).all()


def test_losses_go_with_the_round_that_tells_of_them() -> None:
    lossy = lossy_experiment("surface", 3, 1e-2, 0.5)
    exp = lossy.experiment
    assert len(exp.round_bits) == 4
    assert sum(exp.round_bits) == exp.measurements == exp.circuit.num_measurements
    assert len(lossy.herald_of) == len(lossy.erasures.sites)
    assert exp.measurements - len(lossy.herald_of) == 8 * 3 + 9
    plain = experiment("surface", 3, 1e-2)
    assert len(exp.detectors) == len(plain.detectors)
    shots = exp.sample(50, seed=1)
    ours = np.stack([shots.measurements[:, row].sum(axis=1) % 2 for row in exp.detectors], axis=1).astype(bool)
    assert (ours == shots.detections).all()


def test_streams_are_decoded_as_a_whole_would_be() -> None:
    streams, _ = run_streams(3, 2e-3, 3000, 60, seed=2, fifo=0)
    assert streams.lost_rounds == streams.failures == 0
    assert streams.short_differ <= 1
    assert streams.long.shots == 3001 - 1000  # rounds and the readout, without those that warm up
    assert streams.most_outstanding >= 1


def test_a_stream_needs_rounds_that_are_alike() -> None:
    shape = stream_shape(experiment("surface", 3, 1e-3, rounds=6))
    assert (shape.round_bits, shape.closing_bits, shape.reach) == (8, 9, 8)
    assert shape == stream_shape(experiment("surface", 3, 1e-3, rounds=9))
    with pytest.raises(ValueError, match="at least four rounds"):
        stream_shape(experiment("surface", 3, 1e-3, rounds=3))


def test_swaps_of_the_bench_are_counted() -> None:
    swaps, _ = run_swaps(3, 3e-3, 30, seed=4, fifo=0, every=20)
    assert swaps.swaps >= 30
    assert swaps.lost_rounds == swaps.lost_answers == swaps.differ == swaps.wrong_epoch == 0


def test_many_patches_on_one_host() -> None:
    (few, some), _ = run_holding(3, 3e-3, [2, 8], seed=4, volumes=4, fifo=0)
    assert few.differ == some.differ == few.lost == some.lost == 0
    assert some.shots == 8 * 3
    assert few.admitted
    assert _hot.refusal([], (1e9, 1e9, 1e9, 5, 1_000_000, 1_000_000)) != ""
