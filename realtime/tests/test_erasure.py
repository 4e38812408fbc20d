"""What it is worth to know which atoms were lost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pymatching
import pytest
import stim

from quarterdeck_realtime._hot import Erasure
from quarterdeck_realtime.erasure import erasure_model, with_losses

Surface = Callable[..., stim.Circuit]


def sampled(circuit: stim.Circuit, detectors: int, shots: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    events, observables = circuit.compile_detector_sampler(seed=seed).sample(shots, separate_observables=True)
    return np.ascontiguousarray(events[:, :detectors]), np.ascontiguousarray(events[:, detectors:]), observables[:, 0]


def test_a_circuit_without_losses_is_the_circuit(surface: Surface) -> None:
    circuit = surface(3, 4e-3)
    assert with_losses(circuit, 0) == circuit.flattened()
    with pytest.raises(ValueError, match="0 to 1"):
        with_losses(circuit, 1.5)


def test_losses_that_are_known_at_least_halve_logical_errors(surface: Surface) -> None:
    circuit, shots = surface(5, 5e-3), 40_000
    lossy = with_losses(circuit, 0.5)
    losses = erasure_model(lossy, circuit.num_detectors)
    assert len(losses.sites) == lossy.num_detectors - circuit.num_detectors
    events, lost, truth = sampled(lossy, losses.detectors, shots, seed=3)
    aware, weights, qualities = Erasure(losses.aware, losses.sites).decode_batch(events, lost)
    searched, exactly, _ = Erasure(losses.aware, losses.sites, tables=False).decode_batch(events[:4_000], lost[:4_000])
    assert np.abs(weights[:4_000] - exactly).max() < 0.05  # tables have distances of 15 bits
    assert np.count_nonzero(searched != aware[:4_000]) <= 4  # near ties
    blind = Erasure(losses.blind, []).decode_batch(events)[0]
    wrong, wrong_blind = np.count_nonzero(aware != truth), np.count_nonzero(blind != truth)
    print(f"{wrong} wrong with the places of losses, {wrong_blind} without, of {shots}")
    assert not qualities.any()
    assert wrong > 50 and wrong_blind > 1.8 * wrong


def test_without_losses_it_is_exact_matching(surface: Surface) -> None:
    circuit = surface(5, 3e-3)
    losses = erasure_model(with_losses(circuit, 0), circuit.num_detectors)
    events, _, _ = sampled(circuit, losses.detectors, 5_000, seed=4)
    dem = circuit.detector_error_model(decompose_errors=True)
    expected, weights = pymatching.Matching.from_detector_error_model(dem).decode_batch(events, return_weights=True)
    masks, ours, qualities = Erasure(losses.blind, []).decode_batch(events)
    exact = qualities == 0
    assert exact.all()
    assert np.abs(ours - weights)[exact].max() < 0.05  # PyMatching rounds its weights
    assert np.count_nonzero(masks != expected[:, 0]) <= 5  # near ties


def test_shapes_and_sites_are_checked(surface: Surface) -> None:
    circuit = surface(3, 3e-3)
    losses = erasure_model(with_losses(circuit, 0.5), circuit.num_detectors)
    decoder = Erasure(losses.aware, losses.sites)
    with pytest.raises(ValueError, match=r"losses must have 2 rows of \d+ sites"):
        decoder.decode_batch(np.zeros((2, 24), dtype=bool), np.zeros((2, 3), dtype=bool))
    with pytest.raises(ValueError, match="site 0 erases edge 9999"):
        Erasure(losses.aware, [[9999]])
