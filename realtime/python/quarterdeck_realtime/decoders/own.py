"""Quarterdeck's own decoders, compiled: these can also run on the hot path."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import numpy as np
import stim
from numpy.typing import NDArray

from quarterdeck_realtime._hot import Compiled, Lookup, Matching, Parallel, UnionFind, Windowed
from quarterdeck_realtime.decoders.protocol import Bools, checked
from quarterdeck_realtime.model import Model, model_of

__all__ = ["Decoded", "OwnDecoder", "lookup", "matching", "parallel", "union_find", "windows"]


class Decoded(msgspec.Struct, frozen=True):
    """Answers to shots: flips (shots, observables), weights of the solutions, and which shots could not be answered."""

    observables: Bools
    weights: NDArray[np.float64]
    failed: Bools


class OwnDecoder:
    """A compiled decoder: `compiled` is what a host takes (parallel windows apart), `model` what it was made from."""

    def __init__(self, model: Model, compiled: Any, **settings: Any) -> None:
        self.model = model
        self.compiled: Compiled = compiled
        self.detectors: int = model.detectors
        self.observables: int = model.observables
        self._decode = partial(compiled.decode_batch, **settings)

    def decode_batch(self, events: Bools) -> Bools:
        """As BatchDecoder says. A shot without an answer (see `decode`) flips nothing."""
        return self.decode(events).observables

    def decode(self, events: Bools) -> Decoded:
        """Decode detection events (shots, detectors). Shots fail that a lookup table does not cover, for example."""
        masks, weights, *rest = self._decode(checked(events, self.detectors))
        failed = rest[0] == 2 if rest else np.zeros(len(masks), dtype=np.bool_)
        bits = np.arange(self.observables, dtype=np.uint64)
        flips = (masks[:, None] >> bits & np.uint64(1)).astype(np.bool_)
        flips[failed] = False
        return Decoded(observables=flips, weights=weights, failed=failed)


def matching(dem: stim.DetectorErrorModel, *, direct: int = 8, vectors: bool = True) -> OwnDecoder:
    """Exact minimum-weight perfect matching.

    `direct` is the most defects that sums over all pairings solve, `vectors` whether AVX2 may be used.
    """
    model = model_of(dem)
    return OwnDecoder(model, Matching(model, direct=direct, vectors=vectors))


def union_find(dem: stim.DetectorErrorModel) -> OwnDecoder:
    """Weighted union-find: nearly as accurate as matching, without tables."""
    model = model_of(dem)
    return OwnDecoder(model, UnionFind(model))


def lookup(dem: stim.DetectorErrorModel, *, classes: bool = False, largest: int = 16) -> OwnDecoder:
    """A table of all answers, for distance 3: bases of at most `largest` detectors; `classes`: the likeliest class."""
    model = model_of(dem)
    return OwnDecoder(model, Lookup(model, classes=classes, largest=largest))


def windows(dem: stim.DetectorErrorModel, *, window: int, commit: int, inner: str = "matching") -> OwnDecoder:
    """Sliding windows of `window` rounds that advance by `commit` rounds; usual are 2 and 1 code distances.

    `inner` decodes a window: 'matching' or 'union-find'.
    """
    model = model_of(dem)
    return OwnDecoder(model, Windowed(model, window, commit, inner))


def parallel(
    dem: stim.DetectorErrorModel, *, core: int, gap: int, buffer: int, workers: int = 1, inner: str = "matching"
) -> OwnDecoder:
    """Windows side by side on `workers` threads: cores of `core` rounds, with `buffer` rounds around, and gaps.

    A gap is `gap` rounds; usual are 1 code distance each. `inner` decodes a window: 'matching' or 'union-find'.
    """
    model = model_of(dem)
    return OwnDecoder(model, Parallel(model, core, gap, buffer, inner), workers=workers)
