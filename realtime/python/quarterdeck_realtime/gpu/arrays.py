"""Where arrays live: numpy on the host, CuPy on a GPU. Both offer what `min_sum` uses under the same names."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from quarterdeck_realtime.decoders.protocol import MissingPackage

__all__ = ["DEVICES", "array_module", "cupy_with_gpu"]

DEVICES = ("auto", "cpu", "gpu")


def array_module(device: str) -> Any:
    """numpy or cupy; 'auto' takes the GPU where there is one.

    With device 'gpu' raises MissingPackage where CuPy is not installed and RuntimeError where it finds no GPU.
    """
    if device not in DEVICES:
        raise ValueError(f"the device is one of {', '.join(DEVICES)}, not {device!r}")
    if device == "cpu":
        return np
    try:
        return cupy_with_gpu("a decoder with device 'gpu'")
    except (MissingPackage, RuntimeError):
        if device == "gpu":
            raise
        return np


def cupy_with_gpu(who: str) -> Any:
    """CuPy, if it is installed and finds a GPU; else an error, about `who` asked, that says what to do."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise MissingPackage(
            f"{who} needs an NVIDIA GPU and CuPy: pip install cupy-cuda12x, or the package of its manual that fits "
            f"your CUDA ({error})"
        ) from error
    try:
        devices = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(f"{who} needs an NVIDIA GPU: CuPy finds none here ({error}); check nvidia-smi") from error
    if not devices:
        raise RuntimeError(f"{who} needs an NVIDIA GPU: CuPy finds none here; check nvidia-smi")
    return cupy
