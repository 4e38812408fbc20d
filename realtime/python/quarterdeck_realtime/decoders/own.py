"""Quarterdeck's own decoders, compiled: these can also run on the hot path."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np
import stim
from numpy.typing import NDArray

from quarterdeck_realtime._hot import Compiled, Lookup, Matching, Parallel, Relay, UnionFind, Windowed
from quarterdeck_realtime.decoders.hypergraph import Mechanisms, hypergraph_of
from quarterdeck_realtime.decoders.protocol import Bools, checked
from quarterdeck_realtime.model import Model, model_of

__all__ = ["Decoded", "OwnDecoder", "lookup", "matching", "parallel", "relay", "union_find", "windows"]


class Decoded(msgspec.Struct, frozen=True):
    """Answers to shots: flips (shots, observables), weights of the solutions, and which shots could not be answered."""

    observables: Bools
    weights: NDArray[np.float64]
    failed: Bools


class OwnDecoder:
    """A compiled decoder: `compiled` is what a host takes (parallel windows apart), `model` what it was made from."""

    def __init__(self, model: Model | Mechanisms, compiled: Any, **settings: Any) -> None:
        self.model = model
        self.compiled: Compiled = compiled
        self.detectors: int = model.detectors
        self.observables: int = model.observables
        self._settings = settings
        self._decode = partial(compiled.decode_batch, **settings)
        self._compile: Callable[[Any], Any] | None = None

    @classmethod
    def of(cls, model: Model | Mechanisms, kind: Callable[..., Any], *arguments: Any, **options: Any) -> OwnDecoder:
        """Compile `kind(model, *arguments, **options)`."""
        made = cls(model, kind(model, *arguments, **options))
        made._compile = lambda fresh: kind(fresh, *arguments, **options)
        return made

    def rebuilt(self, model: Model | Mechanisms) -> OwnDecoder:
        """The same decoder with other weights, for the host to swap in; this one goes on as it is.

        Compilation may run in any thread beside the decoders in use. Raises ValueError for a model of another shape.
        """
        if (model.detectors, model.observables) != (self.detectors, self.observables):
            raise ValueError(
                f"the decoder is for {self.detectors} detectors and {self.observables} observables, and the new model "
                f"has {model.detectors} and {model.observables}: that is another volume, not a recalibration"
            )
        if self._compile is None:
            raise ValueError("this decoder was not made by OwnDecoder.of: it does not know how to be compiled again")
        fresh = OwnDecoder(model, self._compile(model), **self._settings)
        fresh._compile = self._compile
        return fresh

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
    return OwnDecoder.of(model_of(dem), Matching, direct=direct, vectors=vectors)


def union_find(dem: stim.DetectorErrorModel) -> OwnDecoder:
    """Weighted union-find: nearly as accurate as matching, without tables."""
    return OwnDecoder.of(model_of(dem), UnionFind)


def lookup(dem: stim.DetectorErrorModel, *, classes: bool = False, largest: int = 16) -> OwnDecoder:
    """A table of all answers, for distance 3: bases of at most `largest` detectors; `classes`: the likeliest class."""
    return OwnDecoder.of(model_of(dem), Lookup, classes=classes, largest=largest)


def windows(dem: stim.DetectorErrorModel, *, window: int, commit: int, inner: str = "matching") -> OwnDecoder:
    """Sliding windows of `window` rounds that advance by `commit` rounds; usual are 2 and 1 code distances.

    `inner` decodes a window: 'matching', 'union-find' or 'erasure'.
    """
    return OwnDecoder.of(model_of(dem), Windowed, window, commit, inner)


def parallel(
    dem: stim.DetectorErrorModel, *, core: int, gap: int, buffer: int, workers: int = 1, inner: str = "matching"
) -> OwnDecoder:
    """Windows side by side on `workers` threads: cores of `core` rounds, with `buffer` rounds around, and gaps.

    A gap is `gap` rounds; usual are 1 code distance each. `inner` decodes a window: 'matching',
    'union-find' or 'erasure'.
    """
    model = model_of(dem)
    made = OwnDecoder(model, Parallel(model, core, gap, buffer, inner), workers=workers)
    made._compile = lambda fresh: Parallel(fresh, core, gap, buffer, inner)
    return made


def relay(
    dem: stim.DetectorErrorModel,
    *,
    iterations: int = 80,
    legs: int = 60,
    leg_iterations: int = 60,
    solutions: int = 3,
    more: int = 2,
    memory: float = 0.125,
    memories: tuple[float, float] = (-0.24, 0.66),
    scaling: float = 1.0,
    seed: int = 0,
    vectors: bool = True,
) -> OwnDecoder:
    """Relay belief propagation, for any error model: colour codes, qLDPC codes. Do not decompose its errors.

    The first leg has at most `iterations`, and all errors share its `memory`. Where it does not converge, up to `legs`
    further ones of `leg_iterations` follow, with random memories of each error from the interval `memories`, by `seed`.
    The answer is the lightest of the first `solutions` that legs converge to, in at most `more` legs after the first
    that does, or one that is proven to be the lightest of all; a shot on which no leg converges has no answer.
    `scaling` multiplies check messages; 0: 1 - 2^-t in iteration t of a leg. `vectors`: whether AVX2 may be used; the
    answers are the same.
    """
    settings = {"iterations": iterations, "legs": legs, "leg_iterations": leg_iterations, "solutions": solutions}
    return OwnDecoder.of(
        hypergraph_of(dem), Relay, **settings, more=more, memory=memory, memories=memories, scaling=scaling, seed=seed,
        vectors=vectors,
    )  # fmt: skip
