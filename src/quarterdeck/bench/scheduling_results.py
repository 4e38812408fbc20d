"""What the cases of the scheduling study came to: figures by case and seed, compared pairwise over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import exp, log
from typing import NamedTuple

import msgspec

from quarterdeck.simulator.metrics import Gain, interval
from quarterdeck.simulator.record import CLASSES

SHAPES = ("superconducting", "neutral-atom")
GEOMETRIC = ("p50", "p95", "p99", "delay", "share_ratio", "makespan_s", "node_wait_s")
"""Figures whose mean over seeds is a geometric one."""


class Setting(NamedTuple):
    """What is simulated, but for the seed.

    `part` of the study, `shape` of the workload, offered `load`, `variant` of the workload ("" is as it stands), and
    the name of the `policy`, a key of `scheduling_case.POLICIES`.
    """

    part: str
    shape: str
    load: float
    variant: str
    policy: str

    def with_policy(self, policy: str) -> Setting:
        return self._replace(policy=policy)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One run: a setting, a seed and the number of jobs."""

    setting: Setting
    seed: int
    jobs: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one case, by name (`p95 production`, `working`, `jain`, ...), and how long it took."""

    case: Case
    figures: dict[str, float]
    wall_s: float


class Results:
    """Figures by setting and seed."""

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        found = defaultdict[Setting, dict[int, dict[str, float]]](dict)
        for outcome in outcomes:
            found[outcome.case.setting][outcome.case.seed] = outcome.figures
        self._by_setting = dict(found)

    def settings(self, part: str = "") -> list[Setting]:
        """Those that were run, in the order of the plan."""
        return [setting for setting in self._by_setting if not part or setting.part == part]

    def __contains__(self, setting: Setting) -> bool:
        return setting in self._by_setting

    def values(self, setting: Setting, figure: str) -> list[float]:
        """The figure of each seed that has it."""
        return [of[figure] for _, of in sorted(self._by_setting.get(setting, {}).items()) if figure in of]

    def mean(self, setting: Setting, figure: str) -> Gain | None:
        """Mean over seeds with its interval; a geometric mean for slowdowns and times. None if no seed has it."""
        values = self.values(setting, figure)
        if not values:
            return None
        geometric = figure.split()[0] in GEOMETRIC and min(values) > 0
        return interval([log(value) for value in values] if geometric else values, geometric=geometric)

    def gain(self, ours: Setting, theirs: Setting, figures: Sequence[str]) -> Gain | None:
        """How many times lower our figures are: the geometric mean over these figures and over the seeds of both.

        The interval is over seeds, each seed's figures being one observation. None without a common seed.
        """
        mine, its = self._by_setting.get(ours, {}), self._by_setting.get(theirs, {})
        logs = []
        for seed in sorted(mine.keys() & its.keys()):
            if all(name in mine[seed] and name in its[seed] for name in figures):
                ratios = [log(max(its[seed][name], 1e-12) / max(mine[seed][name], 1e-12)) for name in figures]
                logs.append(sum(ratios) / len(ratios))
        return interval(logs, geometric=True) if logs else None

    def gains(self, ours: Setting, theirs: Setting, percentile: str = "p95") -> dict[str, Gain]:
        """The gain over all classes together (under "all") and for each class, of a percentile of the slowdown."""
        names = [f"{percentile} {name}" for name in CLASSES]
        asked = {"all": names} | {name: [f"{percentile} {name}"] for name in CLASSES}
        found = {what: self.gain(ours, theirs, figures) for what, figures in asked.items()}
        return {what: gain for what, gain in found.items() if gain is not None}

    def harm(self, ours: Setting, strict: Setting, plain: Setting, figure: str) -> Gain | None:
        """What we add to a figure beyond `plain`, as a part of what `strict` adds; on means over the seeds of all.

        The interval is a bootstrap over seeds of the ratio of the two sums.
        """
        sets = [self._by_setting.get(setting, {}) for setting in (ours, strict, plain)]
        seeds = sorted(set.intersection(*(set(one) for one in sets)))
        seeds = [seed for seed in seeds if all(figure in one[seed] for one in sets)]
        if not seeds:
            return None
        import numpy as np

        mine, its, base = (np.array([log(one[seed][figure]) for seed in seeds]) for one in sets)
        draws = np.random.default_rng(0).integers(0, len(seeds), (2000, len(seeds)))

        def part(rows: np.ndarray) -> np.ndarray:  # of geometric means, as everywhere
            ours, theirs, plain = (np.exp(of[rows].mean(axis=-1)) for of in (mine, its, base))
            return np.asarray((ours - plain) / np.maximum(theirs - plain, 1e-12))

        low, high = np.quantile(part(draws), (0.025, 0.975))
        return Gain(float(part(np.arange(len(seeds)))), float(low), float(high), len(seeds))


def inverse(gain: Gain) -> Gain:
    """The same as how many times higher."""
    return Gain(1 / gain.mean, 1 / gain.high, 1 / gain.low, gain.seeds)


def times(gain: Gain, by: float) -> Gain:
    """The same, multiplied."""
    return Gain(gain.mean * by, gain.low * by, gain.high * by, gain.seeds)


def log_mean(values: Iterable[float]) -> float:
    """Geometric mean. Raises `ValueError` for none."""
    found = [log(value) for value in values]
    if not found:
        raise ValueError("no values")
    return exp(sum(found) / len(found))
