"""New weights for a decoder that runs: from a new error model, or from the detection events that it has seen.

Weights from events: in a graph of independent errors the correlation of two detectors is due to the edge between them
(Spitz et al., Adv. Quantum Technol. 1, 1800012; Google Quantum AI, arXiv:2102.06132),

    p_ij = 1/2 - sqrt(1/4 - (<x_i x_j> - <x_i><x_j>) / (1 - 2<x_i> - 2<x_j> + 4<x_i x_j>)),

and what fires a detector besides, p_iB, is the boundary's: 1 - 2<x_i> = (1 - 2 p_iB) prod_j (1 - 2 p_ij).

A new decoder is compiled from the new model beside the one that runs, in any thread (compilation does not hold Python's
lock), and the host swaps it in between two volumes.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from quarterdeck_realtime.model import Model

__all__ = ["EventStatistics", "reweighted"]

_LEAST = 1e-7  # of an edge's probability: none is impossible
_MOST = 0.499


def _probability(weight: float) -> float:
    return 1 / (1 + math.exp(weight))


def reweighted(model: Model, probabilities: NDArray[np.float64]) -> Model:
    """The model with other probabilities of its edges, in their order; they are kept between 1e-7 and 0.499."""
    edges = model.edges
    if probabilities.shape != (len(edges),):
        raise ValueError(f"the model has {len(edges)} edges, and there are {probabilities.shape} probabilities")
    fresh = Model()
    fresh.detectors, fresh.observables, fresh.layer = model.detectors, model.observables, model.layer
    for (u, v, _, mask), p in zip(edges, np.clip(probabilities, _LEAST, _MOST), strict=True):
        fresh.add(u, v, float(np.log((1 - p) / p)), mask)
    return fresh


class EventStatistics:
    """Counts detection events of shots and of pairs of detectors that share an edge, and tells the weights behind them.

    Memory grows with the edges, not with the shots.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        edges = model.edges
        self._u = np.array([u for u, _, _, _ in edges], dtype=np.int64)
        self._v = np.array([v for _, v, _, _ in edges], dtype=np.int64)
        self._prior = np.array([_probability(weight) for _, _, weight, _ in edges])
        self._inner = np.flatnonzero(self._v >= 0)
        self._outer = np.flatnonzero(self._v < 0)
        self._groups = _alike(model)
        self.forget()

    def forget(self) -> None:
        """Begin anew: what was seen before a change of the device would blur it."""
        self.shots = 0
        self._single = np.zeros(self._model.detectors, dtype=np.int64)
        self._double = np.zeros(len(self._inner), dtype=np.int64)

    def observe(self, events: NDArray[np.bool_]) -> None:
        """Count shots: events (shots, detectors)."""
        if events.ndim != 2 or events.shape[1] != self._model.detectors:
            raise ValueError(f"events are a bool array (shots, {self._model.detectors} detectors), not {events.shape}")
        columns = np.ascontiguousarray(events.T)
        self.shots += events.shape[0]
        self._single += np.count_nonzero(columns, axis=1)
        for at in range(0, len(self._inner), 64):  # in blocks, for memory
            chosen = self._inner[at : at + 64]
            both = columns[self._u[chosen]] & columns[self._v[chosen]]
            self._double[at : at + 64] += np.count_nonzero(both, axis=1)

    def measured(self) -> NDArray[np.float64]:
        """The probability of each edge as the events alone tell it; noisy, and not kept between 0 and 1/2.

        Edges that join the same detectors share what was measured as the model's probabilities do.
        """
        if self.shots == 0:
            raise ValueError("no shots were observed yet")
        x = self._single / self.shots
        u, v = self._u[self._inner], self._v[self._inner]
        both = self._double / self.shots
        spread = 1 - 2 * x[u] - 2 * x[v] + 4 * both
        share = np.divide(both - x[u] * x[v], spread, out=np.zeros_like(both), where=spread > 0)
        p = np.zeros(len(self._prior))
        p[self._inner] = 0.5 - np.sqrt(np.maximum(0.25 - share, 0))
        self._divide(p, self._inner)
        left = 1 - 2 * x  # what remains for the boundary
        for e in self._inner:
            left[self._u[e]] /= 1 - 2 * p[e]
            left[self._v[e]] /= 1 - 2 * p[e]
        p[self._outer] = (1 - left[self._u[self._outer]]) / 2
        self._divide(p, self._outer)
        return p

    def _divide(self, p: NDArray[np.float64], chosen: NDArray[np.int64]) -> None:
        pairs = defaultdict(list)
        for e in chosen:
            pairs[min(self._u[e], self._v[e]), max(self._u[e], self._v[e])].append(e)
        for edges in pairs.values():
            if len(edges) > 1:
                p[edges] *= self._prior[edges] / self._prior[edges].sum()

    def model(self, trust_shots: float = 1000.0, pool_rounds: bool = True) -> Model:
        """The model with weights as observed.

        The model's own weights count as much as `trust_shots` shots. With `pool_rounds`, edges at the same place in
        different rounds share one correction, which needs fewer shots; it needs a model with layers.
        """
        measured = self.measured()
        corrected = np.empty_like(measured)
        groups = self._groups if pool_rounds else [np.array([e]) for e in range(len(measured))]
        for group in groups:
            prior = self._prior[group].sum()
            seen = max(measured[group].sum(), 0.0)
            ratio = (
                (trust_shots * prior + self.shots * seen) / ((trust_shots + self.shots) * prior) if prior > 0 else 1.0
            )
            corrected[group] = self._prior[group] * ratio
        return reweighted(self._model, corrected)


def _alike(model: Model) -> list[NDArray[np.int64]]:
    """Edges by their place within a round: what differs is only when."""
    if not model.layer:
        return [np.array([e]) for e in range(len(model.edges))]
    layer = model.layer
    rank: list[int] = []
    seen: dict[int, int] = defaultdict(int)
    for t in layer:
        rank.append(seen[t])
        seen[t] += 1
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for e, (u, v, _, mask) in enumerate(model.edges):
        if v >= 0 and (layer[v], rank[v]) < (layer[u], rank[u]):
            u, v = v, u
        # Ranks mean the same place only in rounds with as many detectors.
        place = (rank[u], seen[layer[u]], mask)
        groups[(*place, -1, 0, 0) if v < 0 else (*place, rank[v], seen[layer[v]], layer[v] - layer[u])].append(e)
    return [np.array(group) for group in groups.values()]
