"""Whether one more logical qubit fits onto a host, by what it costs when it is tried on the loop's own code."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from quarterdeck_realtime import _hot
from quarterdeck_realtime.profiles import Profile

__all__ = ["WORKING_SET", "Cost", "refusal", "tried"]

WORKING_SET = 32 << 10
"""Bytes that a qubit works with besides its decoder's tables: slots of its rings, its page of the ledger, a shot."""
MOST_OTHERS = 64 << 20


class Cost(msgspec.Struct, frozen=True):
    """Of one qubit, in ns of the loop."""

    round_ns: float  # mean, of an enqueue that ends no volume
    last_ns: float  # mean, of the one that does, with its decoding
    last_p99_ns: float
    rounds: int  # of a volume
    cycle_ns: int
    budget_ns: int

    @property
    def share(self) -> float:
        """Of the core."""
        return (self.round_ns * (self.rounds - 1) + self.last_ns) / (self.rounds * self.cycle_ns)


def tried(
    seating: Any,
    round_bits: list[int],
    frames: npt.NDArray[np.uint8],
    profile: Profile,
    others: int = 0,
) -> Cost:
    """Run volumes (rows of bytes) of a qubit through a loop of its own, on this thread.

    `seating`: of that qubit; it is used up. `others`: bytes that the host's other tenants work with, and which will be
    in the caches in its place.
    """
    cost = _hot.measure(seating, round_bits, frames, min(others, MOST_OTHERS))
    return Cost(*cost, profile.terms["cycle_ns"], profile.terms["budget_ns"])


def refusal(tenants: list[Cost], candidate: Cost, share: float = 0.7, measured: float = -1.0) -> str:
    """Why it does not fit beside the tenants, or an empty string.

    `share` of the core may be taken by all together. `measured`: what the tenants take on the running loop; below 0 if
    nobody knows.
    """
    rows = [msgspec.structs.astuple(tenant) for tenant in tenants]
    found: str = _hot.refusal(rows, msgspec.structs.astuple(candidate), share=share, measured=measured)
    return found
