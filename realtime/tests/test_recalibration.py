"""Weights from detection events."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import stim

from quarterdeck_realtime import model_of
from quarterdeck_realtime._hot import Matching, Model
from quarterdeck_realtime.decoders.own import OwnDecoder
from quarterdeck_realtime.recalibration import EventStatistics, reweighted

Surface = Callable[..., stim.Circuit]


def probabilities(model: Model) -> np.ndarray:
    return np.array([1 / (1 + np.exp(weight)) for _, _, weight, _ in model.edges])


def drifted(circuit: stim.Circuit, qubits: set[int], p: float) -> stim.Circuit:
    """The circuit with some data qubits of their own much worse than the others."""
    worse = stim.Circuit()
    for instruction in circuit.flattened():
        worse.append(instruction)
        if instruction.name == "DEPOLARIZE1":
            hit = [target.value for target in instruction.targets_copy() if target.value in qubits]
            if hit:
                worse.append("DEPOLARIZE1", hit, p)
    return worse


def test_independent_edges_are_found() -> None:
    """On a graph of independent errors the estimate converges to the probabilities behind the events."""
    dem = stim.Circuit.generated(
        "repetition_code:memory", distance=4, rounds=5, before_round_data_depolarization=0.06,
        before_measure_flip_probability=0.03,
    ).detector_error_model(decompose_errors=True)  # fmt: skip
    truth = model_of(dem)
    events, _, _ = dem.compile_sampler(seed=1).sample(400_000)
    blank = reweighted(truth, np.full(len(truth.edges), 0.02))
    statistics = EventStatistics(blank)
    for part in np.array_split(events, 7):
        statistics.observe(part)
    assert statistics.shots == 400_000
    p = probabilities(truth)
    inner = np.array([v >= 0 for _, v, _, _ in truth.edges])
    assert np.abs(statistics.measured() - p)[inner].max() < 2e-3
    # Two edges from one detector to the boundary are told apart only by the prior, which here says: alike.
    assert np.abs(statistics.measured() - p).max() < 5e-3
    after = probabilities(statistics.model(pool_rounds=False))  # the prior knows nothing of how rounds differ
    assert np.abs(after - p)[inner].max() < 2e-3
    few = EventStatistics(blank)
    few.observe(events[:50])
    assert np.abs(probabilities(few.model(trust_shots=1e9)) - 0.02).max() < 1e-6  # too few to say anything


def test_a_device_that_drifted_is_decoded_better_again(surface: Surface) -> None:
    circuit = surface(5, 3e-3)
    before = model_of(circuit.detector_error_model(decompose_errors=True))
    worse = drifted(circuit, {1, 13, 25, 38}, 0.1)
    now = model_of(worse.detector_error_model(decompose_errors=True))
    calibration = worse.compile_detector_sampler(seed=2).sample(20_000)
    events, truth = worse.compile_detector_sampler(seed=3).sample(40_000, separate_observables=True)
    statistics = EventStatistics(before)
    statistics.observe(calibration)
    wrong = {
        name: np.count_nonzero(OwnDecoder(model, Matching(model)).decode_batch(events) != truth)
        for name, model in (("stale", before), ("measured", statistics.model()), ("true", now))
    }
    print(wrong)
    assert wrong["stale"] > 1.2 * wrong["true"]
    gain = (wrong["stale"] - wrong["measured"]) / (wrong["stale"] - wrong["true"])
    assert gain > 0.8
    statistics.forget()
    with pytest.raises(ValueError, match="no shots"):
        statistics.model()


def test_a_decoder_is_rebuilt_beside_the_one_that_runs(surface: Surface) -> None:
    circuit = surface(5, 4e-3)
    model = model_of(circuit.detector_error_model(decompose_errors=True))
    events = circuit.compile_detector_sampler(seed=2).sample(20_000)
    running = OwnDecoder.of(model, Matching, direct=6)
    expected = running.decode_batch(events[:2_000])
    statistics = EventStatistics(model)
    statistics.observe(events)
    built: list[OwnDecoder] = []
    builder = threading.Thread(target=lambda: built.append(running.rebuilt(statistics.model())))
    builder.start()
    assert (running.decode_batch(events[:2_000]) == expected).all()
    builder.join()
    fresh = built[0].decode_batch(events[:2_000])
    assert 0.97 < (fresh == expected).mean() <= 1
    with pytest.raises(ValueError, match="120 detectors and 1 observables"):
        running.rebuilt(model_of(surface(3, 4e-3).detector_error_model(decompose_errors=True)))


def test_shapes_are_checked(surface: Surface) -> None:
    model = model_of(surface(3, 4e-3).detector_error_model(decompose_errors=True))
    with pytest.raises(ValueError, match="24 detectors"):
        EventStatistics(model).observe(np.zeros((3, 5), dtype=np.bool_))
    with pytest.raises(ValueError, match="the model has 78 edges"):
        reweighted(model, np.zeros(3))
