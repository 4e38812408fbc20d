"""Percentiles of one round, and the median and spread over rounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from statistics import median

import msgspec


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed (nearest rank).

    `ordered` ascends. A rank, not an interpolation: the figure is one that was really measured. Raises `ValueError`
    for no values or a share outside 0 to 1.
    """
    if not ordered or not 0 <= share <= 1:
        raise ValueError(f"no percentile {share} of {len(ordered)} values")
    # The small step back keeps 0.99 * 100 = 99.00000000000001 at rank 99.
    return ordered[max(ceil(share * len(ordered) - 1e-9), 1) - 1]


class Spread(msgspec.Struct, frozen=True):
    """A figure over several rounds: its median, and the lowest and highest round."""

    median: float
    low: float
    high: float
    rounds: int

    @staticmethod
    def of(values: Iterable[float]) -> Spread:
        """Of one value for each round. Raises `ValueError` for none."""
        found = sorted(values)
        if not found:
            raise ValueError("no rounds")
        return Spread(median(found), found[0], found[-1], len(found))


class Latency(msgspec.Struct, frozen=True):
    """Latencies of one round, in ms."""

    p50_ms: float
    p99_ms: float
    max_ms: float

    @staticmethod
    def of(seconds: Iterable[float]) -> Latency:
        """Of latencies in seconds. Raises `ValueError` for none."""
        found = sorted(seconds)
        return Latency(*(1000 * percentile(found, share) for share in (0.5, 0.99, 1.0)))
