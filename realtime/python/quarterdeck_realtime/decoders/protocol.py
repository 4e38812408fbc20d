"""What every decoder offers to Python, hot or slow."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import stim
from numpy.typing import NDArray

__all__ = ["BatchDecoder", "Bools", "DecoderFactory", "MissingPackage", "checked"]

Bools = NDArray[np.bool_]


class MissingPackage(ImportError):
    """A plug-in needs a package that is not installed; the message says which, and how to get it."""


@runtime_checkable
class BatchDecoder(Protocol):
    """A decoder of one detector error model."""

    detectors: int
    observables: int

    def decode_batch(self, events: Bools) -> Bools:
        """Decode detection events (shots, detectors) into flips of observables (shots, observables)."""
        ...


class DecoderFactory(Protocol):
    """Makes a decoder; settings are keyword arguments. Entry points of the group `quarterdeck.decoders` name such."""

    def __call__(self, dem: stim.DetectorErrorModel, **settings: object) -> BatchDecoder: ...


def checked(events: Bools, detectors: int) -> Bools:
    """Events as a contiguous bool array; raises ValueError for another shape."""
    rows = np.ascontiguousarray(events, dtype=np.bool_)
    if rows.ndim != 2 or rows.shape[1] != detectors:
        raise ValueError(f"events are a bool array (shots, {detectors} detectors), not an array of shape {rows.shape}")
    return rows
