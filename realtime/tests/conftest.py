"""Circuits for the tests of the real-time host."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import pytest
import stim

if find_spec("quarterdeck_realtime") is None:  # test_built.py says so
    collect_ignore_glob = ["test_[!bc]*.py"]


def _surface(distance: int, p: float, rounds: int | None = None) -> stim.Circuit:
    return stim.Circuit.generated(
        "surface_code:rotated_memory_z",
        distance=distance,
        rounds=rounds or distance,
        after_clifford_depolarization=p,
        before_round_data_depolarization=p,
        before_measure_flip_probability=p,
        after_reset_flip_probability=p,
    )


@pytest.fixture(scope="session")
def surface() -> Callable[..., stim.Circuit]:
    """Memory of a rotated surface code in the Z basis: surface(distance, p, rounds=distance), noise p everywhere."""
    return _surface
