"""Check matrices of detector error models, and the way back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import stim
from numpy.typing import NDArray

__all__ = ["Mechanisms", "dem_of", "mechanisms_of"]


class Mechanisms(msgspec.Struct, frozen=True):
    """Independent error mechanisms: the detectors and observables that each flips, in order, and its probability."""

    detectors: int
    observables: int
    flips: list[tuple[int, ...]]
    logicals: list[tuple[int, ...]]
    probabilities: NDArray[np.float64]

    def checks(self) -> NDArray[np.uint8]:
        """The dense check matrix (detectors, mechanisms)."""
        return _dense(self.flips, self.detectors)

    def logical_matrix(self) -> NDArray[np.uint8]:
        """The dense matrix (observables, mechanisms)."""
        return _dense(self.logicals, self.observables)


def _dense(columns: Sequence[tuple[int, ...]], rows: int) -> NDArray[np.uint8]:
    matrix = np.zeros((rows, len(columns)), dtype=np.uint8)
    for column, ones in enumerate(columns):
        matrix[list(ones), column] = 1
    return matrix


def mechanisms_of(dem: stim.DetectorErrorModel) -> Mechanisms:
    """All mechanisms of a model, those with the same flips merged; suggested decompositions are put together again.

    A mechanism that flips observables and no detector cannot be decoded and is left out.
    """
    merged: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}
    for error in dem.flattened():
        if error.type != "error":
            continue
        (p,) = error.args_copy()
        flips: set[int] = set()
        logicals: set[int] = set()
        for target in error.targets_copy():
            if target.is_relative_detector_id():
                flips ^= {target.val}
            elif target.is_logical_observable_id():
                logicals ^= {target.val}
        if flips:
            key = (tuple(sorted(flips)), tuple(sorted(logicals)))
            before = merged.get(key, 0.0)
            merged[key] = before * (1 - p) + p * (1 - before)
    return Mechanisms(
        detectors=dem.num_detectors,
        observables=dem.num_observables,
        flips=[flips for flips, _ in merged],
        logicals=[logicals for _, logicals in merged],
        probabilities=np.array(list(merged.values()), dtype=np.float64),
    )


def dem_of(mechanisms: Mechanisms, layers: Sequence[int] = ()) -> stim.DetectorErrorModel:
    """The detector error model of mechanisms; `layers` are the rounds of the detectors, if known.

    Mechanisms that flip no detector or have no probability are left out.
    """
    dem = stim.DetectorErrorModel()
    for flips, logicals, p in zip(mechanisms.flips, mechanisms.logicals, mechanisms.probabilities, strict=True):
        if not flips or p == 0:
            continue
        targets = [stim.target_relative_detector_id(v) for v in flips]
        targets += [stim.target_logical_observable_id(k) for k in logicals]
        dem.append("error", float(p), targets)
    for detector, layer in enumerate(layers):
        dem.append("detector", [float(layer)], [stim.target_relative_detector_id(detector)])
    if mechanisms.detectors and not layers:  # name the last of each, so that the model has as many
        dem.append("detector", [], [stim.target_relative_detector_id(mechanisms.detectors - 1)])
    if mechanisms.observables:
        dem.append("logical_observable", [], [stim.target_logical_observable_id(mechanisms.observables - 1)])
    return dem
