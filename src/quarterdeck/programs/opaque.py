"""Programs that nobody reads: any text, for the fake device, benchmarks and tests."""

from __future__ import annotations

from quarterdeck.programs.program import Summary


def summarise(payload: str) -> Summary:
    """Nothing can be told of an opaque program."""
    return Summary()
