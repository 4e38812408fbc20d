"""The decoding graph of a detector error model as dense padded index arrays, for `min_sum` and `persistent`."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from quarterdeck_realtime.decoders.matrices import Mechanisms

__all__ = ["Graph", "graph_of"]

Ints = NDArray[np.int32]


class Graph(msgspec.Struct, frozen=True):
    """Edges join checks (detectors) with errors (mechanisms). Edge (d, c), the d-th of check c, has place d*checks + c.

    `errors_of` (degree, checks): the error at each edge; `len(prior)` where a check has fewer.
    `edges_of` (weight, errors): the places of the edges of each error; degree*checks where it has fewer.
    `prior` (errors): log((1-p)/p). `flips` (errors): the observables that each flips, bit k for observable k.
    """

    checks: int
    observables: int
    errors_of: Ints
    edges_of: Ints
    prior: NDArray[np.float64]
    flips: NDArray[np.uint64]

    @property
    def edges(self) -> int:
        """Places for edges, padding included."""
        return int(self.errors_of.size)


def graph_of(mechanisms: Mechanisms) -> Graph:
    """The graph of mechanisms; those that never happen are left out, certain ones are clipped to 1 - 1e-12.

    Raises ValueError for more than 64 observables and for models without errors.
    """
    if mechanisms.observables > 64:
        raise ValueError(f"belief propagation here has at most 64 observables, and the model {mechanisms.observables}")
    kept = np.flatnonzero(mechanisms.probabilities > 0)
    if not len(kept):
        raise ValueError("the model has no errors: there is nothing to decode")
    errors = np.repeat(np.arange(len(kept)), [len(mechanisms.flips[i]) for i in kept])
    checks = np.array([check for i in kept for check in mechanisms.flips[i]], dtype=np.int64)
    nth_of_check, degree = _nth(checks, mechanisms.detectors)
    nth_of_error, weight = _nth(errors, len(kept))
    errors_of = np.full((degree, mechanisms.detectors), len(kept), dtype=np.int32)
    errors_of[nth_of_check, checks] = errors
    edges_of = np.full((weight, len(kept)), errors_of.size, dtype=np.int32)
    edges_of[nth_of_error, errors] = nth_of_check * mechanisms.detectors + checks
    p = np.minimum(mechanisms.probabilities[kept], 1 - 1e-12)
    flips = np.array([sum(1 << k for k in mechanisms.logicals[i]) for i in kept], dtype=np.uint64)
    return Graph(mechanisms.detectors, mechanisms.observables, errors_of, edges_of, np.log((1 - p) / p), flips)


def _nth(owners: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], int]:
    """For each edge the how-manieth of its owner it is, and the most that one has."""
    many = np.bincount(owners, minlength=count)
    order = np.argsort(owners, kind="stable")
    nth = np.empty(len(owners), dtype=np.int64)
    nth[order] = np.arange(len(owners)) - np.repeat(np.cumsum(many) - many, many)
    return nth, int(many.max())
