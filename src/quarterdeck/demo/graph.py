"""The problem: a unit-disk graph, and its largest independent sets by looking at every subset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from quarterdeck.errors import Invalid

MOST_ATOMS = 16
"""Exact enumeration looks at 2^atoms subsets."""


@dataclass(frozen=True)
class UnitDiskGraph:
    """Vertices are points of the plane; two share an edge when they are at most `radius_um` apart.

    A set of vertices is a bitstring: its leftmost character is the first vertex, `1` means that it is in the set.
    """

    points_um: tuple[tuple[float, float], ...]
    radius_um: float

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        points = np.asarray(self.points_um)
        distance = np.linalg.norm(points[:, None] - points[None, :], axis=2)
        return tuple((int(a), int(b)) for a, b in zip(*np.nonzero(np.triu(distance <= self.radius_um, 1)), strict=True))

    def violations(self, bits: str) -> int:
        """Edges with both ends in the set; 0 for an independent set."""
        return sum(bits[a] == bits[b] == "1" for a, b in self.edges)

    def independent(self, bits: str) -> bool:
        return self.violations(bits) == 0

    def connected(self) -> bool:
        reached, todo = {0}, [0]
        while todo:
            here = todo.pop()
            new = {b if a == here else a for a, b in self.edges if here in (a, b)} - reached
            reached |= new
            todo += new
        return len(reached) == len(self.points_um)

    @cached_property
    def independent_sets(self) -> tuple[tuple[str, ...], ...]:
        """Every independent set, grouped by size: item k holds those of k vertices."""
        n = len(self.points_um)
        subsets = (np.arange(2**n)[:, None] >> np.arange(n - 1, -1, -1)) & 1
        bad = np.zeros(2**n, dtype=bool)
        for a, b in self.edges:
            bad |= (subsets[:, a] & subsets[:, b]) == 1
        good = subsets[~bad]
        groups: list[list[str]] = [[] for _ in range(int(good.sum(axis=1).max()) + 1)]
        for row in good:
            groups[int(row.sum())].append("".join(map(str, row)))
        return tuple(tuple(group) for group in groups)

    @property
    def optimum(self) -> int:
        """Vertices in a maximum independent set (exact)."""
        return len(self.independent_sets) - 1

    @property
    def optima(self) -> tuple[str, ...]:
        """Every maximum independent set."""
        return self.independent_sets[-1]

    @property
    def hardness(self) -> float:
        """Near-misses (one vertex short) for each optimum and vertex: the conductance-like hardness parameter of
        Ebadi et al., Science 376, 1209 (2022). The larger, the easier it is to end up in a wrong set."""
        return len(self.independent_sets[-2]) / (self.optimum * len(self.optima))


def draw(
    sites_um: Sequence[tuple[float, float]], radius_um: float, atoms: int, seed: int, draws: int = 150
) -> list[int]:
    """Which sites to fill so that the graph is connected and hard: the hardest of `draws` random choices.

    Args:
        sites_um: Where atoms may be; those near the centre are used.
        radius_um: The disk's radius.
        atoms: How many to place, 3 to `MOST_ATOMS`.
        seed: The same seed gives the same choice.

    Returns:
        Indices into `sites_um`, ascending.
    """
    if not 3 <= atoms <= MOST_ATOMS:
        raise Invalid("atoms", f"{atoms} is not between 3 and {MOST_ATOMS}")
    where: NDArray[np.float64] = np.asarray(sites_um, dtype=float)
    inner = np.argsort(np.linalg.norm(where, axis=1).round(6), kind="stable")[: max(7, round(1.8 * atoms))]
    if len(inner) < atoms:
        raise Invalid("atoms", f"the register has {len(inner)} sites for {atoms} atoms")
    random = np.random.default_rng(seed)
    best, hardest = None, -1.0
    for attempt in range(draws * 20):
        if best is not None and attempt >= draws:
            break
        chosen = sorted(int(site) for site in random.choice(inner, atoms, replace=False))
        graph = UnitDiskGraph(tuple((float(where[i][0]), float(where[i][1])) for i in chosen), radius_um)
        if graph.connected() and graph.hardness > hardest:
            best, hardest = chosen, graph.hardness
    if best is None:
        raise Invalid("atoms", f"no connected graph of {atoms} atoms found on this register")
    return best
