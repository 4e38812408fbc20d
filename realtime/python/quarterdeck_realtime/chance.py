"""Whether two counts of rare events differ by more than chance."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

__all__ = ["Ratio", "ratio"]


class Ratio(msgspec.Struct, frozen=True):
    """How many times more often something happened; `least` and `most` hold the truth in `level` of all cases."""

    value: float
    least: float
    most: float
    level: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "-"
        return f"{self.value:.2g} ({self.least:.2g} to {self.most:.2g})"


def ratio(events: int, trials: float, others: int, other_trials: float, level: float = 0.95) -> Ratio:
    """The ratio of two rates, with its exact interval, as if events were independent (Poisson).

    Given both counts together, the first one is binomial; its interval is that of Clopper and Pearson.
    """
    both = events + others
    if not both:
        return Ratio(math.nan, 0.0, math.inf, level)

    def rates(share: float) -> float:
        return math.inf if share >= 1 else share / (1 - share) * other_trials / trials

    tail = (1 - level) / 2
    least = _solve(lambda p: _at_least(events, both, p) - tail) if events else 0.0
    most = _solve(lambda p: tail - _at_least(others, both, 1 - p)) if others else 1.0
    return Ratio(rates(events / both), rates(least), rates(most), level)


def _at_least(many: int, of: int, p: float) -> float:
    """The probability of `many` or more successes."""
    if p <= 0 or p >= 1:
        return float(p >= 1)
    logs = math.log(p), math.log1p(-p)
    choose = math.lgamma(of + 1)
    return math.fsum(
        math.exp(choose - math.lgamma(k + 1) - math.lgamma(of - k + 1) + k * logs[0] + (of - k) * logs[1])
        for k in range(many, of + 1)
    )


def _solve(rising: Callable[[float], float]) -> float:
    """Where a function that rises from below to above 0 on 0 to 1 crosses it."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
