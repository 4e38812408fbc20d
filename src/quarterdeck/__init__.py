"""Quantum processors as resources that an HPC centre can schedule, share, calibrate, secure and measure."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The client only when it is asked for, and by name: the daemon stands below it, and `qdeck --help` has no use for
    # an HTTP library. Its types are in __init__.pyi.
    if name in ("connect", "Client"):
        return getattr(import_module("quarterdeck.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
