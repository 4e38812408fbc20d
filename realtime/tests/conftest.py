"""Circuits for the tests of the real-time host."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import stim

if find_spec("quarterdeck_realtime") is None or find_spec("quarterdeck_realtime._hot") is None:  # test_built.py says so
    _alone = ("test_built.py", "test_cpp.py")
    collect_ignore = [path.name for path in Path(__file__).parent.glob("test_*.py") if path.name not in _alone]
else:
    import numpy as np

    from quarterdeck_realtime.gpu.arrays import array_module

    collect_ignore = ["test_gpu_device.py"] if array_module("auto") is np else []


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
