"""Quantum processors as resources that an HPC centre can schedule, share, calibrate, secure and measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quarterdeck.client import Client, connect

__all__ = ["Client", "__version__", "connect"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The client only when it is asked for: the daemon and `qdeck --help` have no use for an HTTP library.
    if name in ("connect", "Client"):
        import quarterdeck.client

        return getattr(quarterdeck.client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
