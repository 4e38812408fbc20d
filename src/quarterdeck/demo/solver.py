"""The classical part: differential evolution over the pulse's knobs. No input, no output, no clock.

Each round is one generation: a few pulses, tried with one task each, submitted together so that the QPU never waits for
the optimizer. scipy's differential evolution replaces a pulse only by one that did better, which suits costs that are
known only up to shot noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quarterdeck.demo.ansatz import Knob
from quarterdeck.demo.graph import UnitDiskGraph

Counts = Mapping[str, int]
Run = Callable[[int, Sequence[tuple[float, ...]]], Sequence[Counts]]
"""The seam to the QPU: round number (from 1) and knob settings in, one histogram for each out."""

PENALTY = 2.0
"""What an edge inside the set costs. Above 1, so that dropping one of its ends always pays."""


def cost(graph: UnitDiskGraph, counts: Counts) -> float:
    """Mean over the shots of PENALTY x (edges inside the set) - (vertices in the set); at best minus the optimum."""
    total = sum(n * (PENALTY * graph.violations(bits) - bits.count("1")) for bits, n in counts.items())
    return total / sum(counts.values())


def share_of_optima(graph: UnitDiskGraph, counts: Counts) -> float:
    """Which part of the shots was a maximum independent set, 0 to 1."""
    return sum(counts.get(bits, 0) for bits in graph.optima) / sum(counts.values())


def best_set(graph: UnitDiskGraph, counts: Counts) -> str:
    """The largest independent set that was measured (the most frequent of equals); empty if there is none."""
    good = [bits for bits in counts if "1" in bits and graph.independent(bits)]
    return max(good, key=lambda bits: (bits.count("1"), counts[bits], bits), default="")


@dataclass(frozen=True)
class Trial:
    """One pulse and what it gave."""

    round: int
    values: tuple[float, ...]
    cost: float
    best_set: str
    shots: int


@dataclass
class Search:
    """How far the search has come.

    Attributes:
        trials: Every pulse tried, in order; the first is the untuned one.
        best_set: The largest independent set measured so far.
    """

    trials: list[Trial] = field(default_factory=list)
    best_set: str = ""

    @property
    def rounds(self) -> int:
        return self.trials[-1].round if self.trials else 0

    @property
    def best(self) -> Trial:
        return min(self.trials, key=lambda trial: trial.cost)

    def best_of_round(self, number: int) -> Trial:
        return min((trial for trial in self.trials if trial.round == number), key=lambda trial: trial.cost)


def solve(
    graph: UnitDiskGraph,
    knobs: Sequence[Knob],
    run: Run,
    *,
    rounds: int,
    pulses: int,
    seed: int,
    after_round: Callable[[Search], None] = lambda search: None,
) -> Search:
    """Tune the knobs over `rounds` rounds of `pulses` tasks each (at least 5); the first task has the start values."""
    from scipy.optimize import differential_evolution

    low, high = np.array([knob.lower for knob in knobs]), np.array([knob.upper for knob in knobs])
    search = Search()

    def one_round(unit: NDArray[np.float64]) -> NDArray[np.float64]:
        number = search.rounds + 1
        settings = [tuple(float(x) for x in low + (high - low) * column) for column in unit.T]
        histograms = run(number, settings)
        costs = [cost(graph, counts) for counts in histograms]
        for values, counts, value in zip(settings, histograms, costs, strict=True):
            found = best_set(graph, counts)
            if found.count("1") > search.best_set.count("1"):
                search.best_set = found
            search.trials.append(Trial(number, values, value, found, sum(counts.values())))
        after_round(search)
        return np.array(costs)

    random = np.random.default_rng(seed)
    start = (np.array([knob.start for knob in knobs]) - low) / (high - low)
    around = np.clip(start + 0.3 * random.standard_normal((pulses - 1, len(knobs))), 0, 1)
    differential_evolution(
        one_round,
        [(0.0, 1.0)] * len(knobs),
        init=np.vstack([start, around]),
        maxiter=rounds - 1,
        vectorized=True,
        updating="deferred",
        polish=False,
        tol=0.0,
        seed=seed,
    )
    return search
