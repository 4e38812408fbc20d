"""Percentiles of one round, and the median and spread over rounds."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

import msgspec

from quarterdeck.simulator.metrics import percentile as percentile


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
