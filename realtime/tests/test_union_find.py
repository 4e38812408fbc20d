"""Union-find beside exact matching, on the same shots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pymatching
import pytest
import stim

from quarterdeck_realtime import model_of
from quarterdeck_realtime._hot import UnionFind

Surface = Callable[..., stim.Circuit]


@pytest.mark.parametrize(
    ("distance", "p", "shots", "factor"), [(3, 3e-3, 100_000, 1.3), (5, 5e-3, 60_000, 1.3), (7, 5e-3, 40_000, 1.5)]
)
def test_a_few_more_logical_errors_than_matching(
    surface: Surface, distance: int, p: float, shots: int, factor: float
) -> None:
    circuit = surface(distance, p)
    dem = circuit.detector_error_model(decompose_errors=True)
    events, observables = circuit.compile_detector_sampler(seed=5).sample(shots, separate_observables=True)
    expected, weights = pymatching.Matching.from_detector_error_model(dem).decode_batch(events, return_weights=True)
    masks, ours, qualities = UnionFind(model_of(dem)).decode_batch(events)
    assert (qualities == 1).all()
    assert (ours > weights - 0.05).all()  # PyMatching rounds its weights
    wrong, matched = np.count_nonzero(masks != observables[:, 0]), np.count_nonzero(expected != observables)
    print(f"d={distance} p={p}: union-find {wrong}, matching {matched} of {shots}")
    assert 20 < matched and wrong < factor * matched


def test_the_shape_of_events_is_checked(surface: Surface) -> None:
    decoder = UnionFind(model_of(surface(3, 1e-3).detector_error_model(decompose_errors=True)))
    with pytest.raises(ValueError, match="events have 5 columns, the model has 24 detectors"):
        decoder.decode_batch(np.zeros((2, 5), dtype=bool))
