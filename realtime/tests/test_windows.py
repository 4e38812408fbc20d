"""Sliding windows beside the decoding of whole volumes, on the same shots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pymatching
import pytest
import stim

from quarterdeck_realtime import model_of
from quarterdeck_realtime._hot import Parallel, UnionFind, Windowed

Surface = Callable[..., stim.Circuit]


@pytest.mark.parametrize("inner", ["matching", "union-find"])
@pytest.mark.parametrize(("distance", "p", "shots"), [(3, 3e-3, 8_000), (5, 4e-3, 4_000)])
def test_windows_are_as_accurate_as_the_whole_volume(
    surface: Surface, distance: int, p: float, shots: int, inner: str
) -> None:
    circuit = surface(distance, p, 60)
    dem = circuit.detector_error_model(decompose_errors=True)
    model = model_of(dem)
    events, observables = circuit.compile_detector_sampler(seed=2).sample(shots, separate_observables=True)
    truth = observables[:, 0]
    if inner == "matching":
        flips = pymatching.Matching.from_detector_error_model(dem).decode_batch(events)[:, 0]
    else:
        flips = UnionFind(model).decode_batch(events)[0]
    whole = np.count_nonzero(flips != truth)
    windowed = Windowed(model, 2 * distance, distance, inner)
    masks, _, qualities = windowed.decode_batch(events)
    wrong = np.count_nonzero(masks != truth)
    parallel = Parallel(model, distance, distance, distance, inner)
    sides = [parallel.decode_batch(events[:200] if workers else events, workers)[0] for workers in (0, 2)]
    assert (sides[0][:200] == sides[1]).all()  # whatever the threads do
    beside = np.count_nonzero(sides[0] != truth)
    assert abs(beside - whole) < 3 * np.sqrt(whole)
    print(f"d={distance} p={p} {inner}: windows {wrong}, parallel {beside}, whole volume {whole} of {shots}")
    assert (qualities == (inner == "union-find")).all()
    assert whole > 50
    assert abs(wrong - whole) < 3 * np.sqrt(whole)  # they share most errors, so that this is generous


def test_a_volume_without_repetition_is_refused(surface: Surface) -> None:
    model = model_of(surface(3, 1e-3, 2).detector_error_model(decompose_errors=True))
    with pytest.raises(ValueError, match="no two of the 3 layers are alike"):
        Windowed(model, 6, 3, "union-find")
    model = model_of(surface(3, 1e-3, 6).detector_error_model(decompose_errors=True))
    with pytest.raises(ValueError, match="too short for windows of 6 that advance by 3: they need"):
        Windowed(model, 6, 3, "union-find")
    with pytest.raises(ValueError, match="no decoder for windows is called 'guess'"):
        Windowed(model, 2, 1, "guess")
