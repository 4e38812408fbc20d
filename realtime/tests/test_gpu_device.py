"""What needs a GPU. Collected only where CuPy finds one (conftest.py); as of writing that was nowhere: never run."""

from __future__ import annotations

import numpy as np
import pytest

from quarterdeck_realtime.bicycle import bicycle_circuit
from quarterdeck_realtime.gpu.decoder import gpu_bp
from quarterdeck_realtime.gpu.persistent import Persistent

pytest.importorskip("cupy")

CIRCUIT = bicycle_circuit(6, rounds=3, p=0.015)
DEM = CIRCUIT.detector_error_model()


@pytest.mark.parametrize("memory", [0.0, 0.1])
def test_a_gpu_decodes_as_numpy_does(memory: float) -> None:
    events = CIRCUIT.compile_detector_sampler(seed=5).sample(3_000)
    on_gpu = gpu_bp(DEM, device="gpu", memory=memory)
    assert on_gpu.device == "gpu"
    found, expected = on_gpu.decode(events), gpu_bp(DEM, device="cpu", memory=memory).decode(events)
    differ = (found.failed != expected.failed) | (found.observables != expected.observables).any(axis=1)
    assert not expected.failed.all() and differ.sum() <= 15  # sums in another order


def test_the_persistent_kernel_answers_many_patches() -> None:
    events = CIRCUIT.compile_detector_sampler(seed=6).sample(400)
    expected = gpu_bp(DEM, device="cpu", iterations=30).decode(events)
    powers = np.left_shift(np.uint64(1), np.arange(12, dtype=np.uint64))
    flips = (expected.observables * powers).sum(axis=1)
    with Persistent(DEM, patches=8) as kernel:
        answers = [kernel.decode(shot % 8, row) for shot, row in enumerate(events)]
    differ = [
        answer.flips != int(flip) or (answer.iterations == 0) != failed
        for answer, flip, failed in zip(answers, flips, expected.failed, strict=True)
    ]
    assert sum(differ) <= 2
