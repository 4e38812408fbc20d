"""Experiments: what is sampled is what the host computes."""

from __future__ import annotations

import numpy as np
import pytest
import stim

from quarterdeck_realtime import _hot
from quarterdeck_realtime.codes import circuit_experiment, code_circuit, experiment, stream_shape

CODES = [("surface", 3), ("surface", 5), ("surface-x", 3), ("repetition", 5), ("colour", 3), ("bicycle", 6)]


@pytest.mark.parametrize(("code", "distance"), CODES)
def test_rows_of_d_make_the_detectors_of_stim(code: str, distance: int) -> None:
    exp = experiment(code, distance, 0.02)
    shots = exp.sample(300, seed=5)
    ours = np.stack([shots.measurements[:, row].sum(axis=1) % 2 for row in exp.detectors], axis=1).astype(bool)
    assert (ours == shots.detections).all()
    assert shots.detections.any()
    flips = [shots.measurements[:, row].sum(axis=1) % 2 for row in exp.readouts]
    assert (sum(bits.astype(np.uint64) << np.uint64(k) for k, bits in enumerate(flips)) == shots.observables).all()


def test_a_round_is_what_is_measured_together() -> None:
    assert experiment("surface", 5, 1e-3).round_bits == [24] * 5 + [25]
    assert experiment("repetition", 5, 1e-3, rounds=3).round_bits == [4, 4, 4, 5]
    assert experiment("colour", 3, 1e-3).round_bits == [3] * 3 + [7]
    assert experiment("bicycle", 6, 1e-3).round_bits == [36] * 6 + [72]


@pytest.mark.parametrize("code", ["surface", "repetition"])
def test_frames_hold_each_round_from_a_byte_on(code: str) -> None:
    exp = experiment(code, 5, 0.05)
    shots = exp.sample(20, seed=1)
    frames = exp.frames(shots)
    detectors = _hot.Detectors(exp.measurements, exp.detectors)
    for row, measured, fired in zip(frames, shots.measurements, shots.detections, strict=True):
        bits, at = [], 0
        for many in exp.round_bits:
            bits.append(np.unpackbits(row[at : at + (many + 7) // 8], count=many, bitorder="little"))
            at += (many + 7) // 8
        assert at == len(row)
        assert (np.concatenate(bits) == measured).all()
        packed = np.packbits(measured, bitorder="little").tobytes()
        assert sorted(detectors.defects(packed)) == np.flatnonzero(fired).tolist()


def test_the_same_seed_gives_the_same_shots() -> None:
    exp = experiment("surface", 3, 0.01)
    first, second = exp.sample(200, seed=3, loss=0.1), exp.sample(200, seed=3, loss=0.1)
    assert (first.measurements == second.measurements).all()
    assert (first.measurements != exp.sample(200, seed=4).measurements).any()


def test_lost_atoms_have_random_bits_and_a_mark() -> None:
    exp = experiment("surface", 3, 0.0)
    shots = exp.sample(400, seed=2, loss=0.25)
    assert shots.lost is not None
    assert 0.2 < shots.lost.mean() < 0.3
    outcomes = exp.outcomes(shots)
    assert ((outcomes == 2) == shots.lost).all()
    assert (outcomes[~shots.lost] == shots.measurements[~shots.lost]).all()
    assert 0.4 < shots.measurements[:, exp.detectors[0]][shots.lost[:, exp.detectors[0]]].mean() < 0.6


def test_noise_can_drift_away_from_the_model() -> None:
    exp = experiment("surface", 3, 1e-3)
    calm = exp.sample(2000, seed=1)
    worse = exp.sample(2000, seed=1, circuit=code_circuit("surface", 3, 3, 1e-2))
    assert worse.detections.sum() > 4 * calm.detections.sum()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="use one of surface"):
        experiment("steane", 3, 1e-3)


def test_detectors_that_are_odd_without_noise() -> None:
    """As in Stim's colour codes; what fires is what is not as it is without noise."""
    one = stim.Circuit("X 0\nX_ERROR(0.5) 0\nM 0\nDETECTOR rec[-1]\nOBSERVABLE_INCLUDE(0) rec[-1]")
    for exp in (circuit_experiment("one", one), experiment("colour", 5, 0.01)):
        assert exp.odd
        detectors = _hot.Detectors(exp.measurements, exp.detectors, odd=exp.odd)
        shots = exp.sample(20, seed=3)
        for measured, fired in zip(shots.measurements, shots.detections, strict=True):
            packed = np.packbits(measured, bitorder="little").tobytes()
            assert sorted(detectors.defects(packed)) == np.flatnonzero(fired).tolist()
        with pytest.raises(ValueError, match="a stream's detectors are even"):
            stream_shape(exp)
