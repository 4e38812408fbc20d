"""Bivariate bicycle codes: check matrices, logical operators, and memory experiments with phenomenological noise.

After Bravyi, Cross, Gambetta, Maslov, Rall, Yoder: High-threshold and low-overhead fault-tolerant quantum memory,
Nature 627, 778 (2024), table 3. Distances are quoted from there. Circuit-level noise of their schedule is not here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import msgspec
import numpy as np
import stim
from numpy.typing import NDArray

__all__ = ["CODES", "Bicycle", "bicycle", "bicycle_circuit", "rank"]

Matrix = NDArray[np.uint8]
Powers = tuple[tuple[int, int], ...]


class _Recipe(msgspec.Struct, frozen=True):
    """Cyclic shifts x of order `l` and y of order `m`; polynomials as powers (of x, of y)."""

    l: int  # noqa: E741 (the paper's name)
    m: int
    a: Powers
    b: Powers


_A, _B = ((3, 0), (0, 1), (0, 2)), ((0, 3), (1, 0), (2, 0))
_RECIPES = {  # distance -> [[n, k, d]]
    6: _Recipe(6, 6, _A, _B),  # [[72,12,6]]
    10: _Recipe(9, 6, _A, _B),  # [[108,8,10]]
    12: _Recipe(12, 6, _A, _B),  # [[144,12,12]]
    18: _Recipe(12, 12, ((3, 0), (0, 2), (0, 7)), _B),  # [[288,12,18]]
}
CODES = tuple(_RECIPES)


class Bicycle(msgspec.Struct, frozen=True):
    """A CSS code: X and Z checks (checks, qubits), and Z operators (k, qubits) that stabilisers do not make."""

    distance: int
    x_checks: Matrix
    z_checks: Matrix
    z_logicals: Matrix

    @property
    def qubits(self) -> int:
        """Of data."""
        return int(self.x_checks.shape[1])


@functools.cache
def bicycle(distance: int) -> Bicycle:
    """The code of that distance. Raises ValueError for distances that are not in CODES."""
    if distance not in _RECIPES:
        raise ValueError(f"bicycle codes here have distance {', '.join(map(str, CODES))}, not {distance}")
    recipe = _RECIPES[distance]
    x = np.kron(_shift(recipe.l), np.eye(recipe.m, dtype=np.uint8))
    y = np.kron(np.eye(recipe.l, dtype=np.uint8), _shift(recipe.m))
    a, b = (_polynomial(x, y, powers) for powers in (recipe.a, recipe.b))
    x_checks, z_checks = np.hstack([a, b]), np.hstack([b.T, a.T])
    return Bicycle(distance, x_checks, z_checks, _logicals(commute_with=x_checks, beside=z_checks))


def bicycle_circuit(distance: int, rounds: int, p: float, measurement: float | None = None) -> stim.Circuit:
    """Memory in the Z basis with phenomenological noise: k observables; detectors are those of the Z checks.

    Before each of `rounds` rounds every data qubit flips with probability `p`; a measured check is wrong with
    probability `measurement` (as `p`, by default). A readout of the data ends it. With no rounds there is one step of
    errors before the readout: code capacity.
    """
    code = bicycle(distance)
    wrong = p if measurement is None else measurement
    data = list(range(code.qubits))
    checks = len(code.z_checks)
    helpers = list(range(code.qubits, code.qubits + checks))
    circuit = stim.Circuit()
    circuit.append("R", data + helpers)
    pairs = [q for helper, row in zip(helpers, code.z_checks, strict=True) for at in _ones(row) for q in (at, helper)]
    for turn in range(rounds):
        circuit.append("X_ERROR", data, p)
        circuit.append("CX", pairs)
        circuit.append("MR", helpers, wrong)
        for check in range(checks):
            before = [stim.target_rec(check - 2 * checks)] if turn else []
            circuit.append("DETECTOR", [stim.target_rec(check - checks), *before], [check, turn])
    if not rounds:
        circuit.append("X_ERROR", data, p)
    circuit.append("M", data)
    for check, row in enumerate(code.z_checks):
        last = [stim.target_rec(check - checks - code.qubits)] if rounds else []
        circuit.append("DETECTOR", [*_recorded(row), *last], [check, rounds])
    for k, row in enumerate(code.z_logicals):
        circuit.append("OBSERVABLE_INCLUDE", _recorded(row), k)
    return circuit


def rank(matrix: Matrix) -> int:
    """Over GF(2)."""
    return len(_Basis(_packed(matrix)).rows)


def _shift(order: int) -> Matrix:
    return np.roll(np.eye(order, dtype=np.uint8), 1, axis=1)


def _polynomial(x: Matrix, y: Matrix, powers: Powers) -> Matrix:
    terms = [np.linalg.matrix_power(x, i) @ np.linalg.matrix_power(y, j) for i, j in powers]
    return np.asarray(sum(terms) % 2, dtype=np.uint8)


def _ones(row: Matrix) -> list[int]:
    return [int(at) for at in np.flatnonzero(row)]


def _recorded(row: Matrix) -> list[stim.GateTarget]:
    """Data qubits, just measured, by how long ago."""
    return [stim.target_rec(at - len(row)) for at in _ones(row)]


def _packed(matrix: Matrix) -> list[int]:
    """Rows as numbers; bit q is column q."""
    return [sum(1 << at for at in _ones(row)) for row in matrix]


class _Basis:
    """Independent rows over GF(2), each with a leading bit that no other has at the top."""

    def __init__(self, rows: Iterable[int]) -> None:
        self.rows: dict[int, int] = {}
        for row in rows:
            self.add(row)

    def add(self, row: int) -> bool:
        """Whether `row` was independent of those before."""
        while row:
            top = row.bit_length()
            if top not in self.rows:
                self.rows[top] = row
                return True
            row ^= self.rows[top]
        return False


def _kernel(matrix: Matrix) -> list[int]:
    """Independent vectors that all rows of the matrix are orthogonal to, over GF(2)."""
    rows, columns = matrix.shape
    # Eliminate the transpose with an identity beside it, above: what is left without a bit below is in the kernel.
    work = [sum(1 << i for i in _ones(matrix[:, q])) << columns | 1 << q for q in range(columns)]
    for i in range(columns, columns + rows):
        pivots = [row for row in work if row >> i & 1]
        if pivots:
            work.remove(pivots[0])
            work = [row ^ pivots[0] if row >> i & 1 else row for row in work]
    return work


def _logicals(commute_with: Matrix, beside: Matrix) -> Matrix:
    basis = _Basis(_packed(beside))
    found = [vector for vector in _kernel(commute_with) if basis.add(vector)]
    columns = commute_with.shape[1]
    return np.array([[vector >> q & 1 for q in range(columns)] for vector in found], dtype=np.uint8)
