"""Whether two counts of rare events differ by more than chance."""

from __future__ import annotations

import math

import msgspec
from scipy.stats import binomtest

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

    found = binomtest(events, both).proportion_ci(confidence_level=level, method="exact")

    def rates(share: float) -> float:
        return math.inf if share >= 1 else share / (1 - share) * other_trials / trials

    return Ratio(rates(events / both), rates(float(found.low)), rates(float(found.high)), level)
