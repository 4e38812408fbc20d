"""What kinds of hardware ask of a real-time host: cadence, budget, and what is done when an answer is late."""

from __future__ import annotations

import os

import msgspec

__all__ = ["POLICIES", "PROFILES", "Cores", "Profile", "choose_cores"]

POLICIES = ("wait", "idle", "defer")
"""What a controller does while an answer is missing, by number."""


class Profile(msgspec.Struct, frozen=True):
    """Figures of the kind, not of one machine; every field may be set otherwise."""

    name: str
    cycle_us: float  # from one round of measurements to the next
    budget_us: float  # from the last round published to the answer
    policy: str  # of the controller while an answer is missing: wait, idle or defer
    spin_us: float  # the host looks for frames that long before it naps; below 0: always
    nap_us: float  # the longest nap
    wake_early_us: float  # before the next frame is expected
    loss: float = 0.0  # probability that an atom is gone when it is measured

    @property
    def terms(self) -> dict[str, int]:
        """As the compiled module takes them."""
        return {
            "cycle_ns": round(self.cycle_us * 1e3),
            "budget_ns": round(self.budget_us * 1e3),
            "policy": POLICIES.index(self.policy),
        }


PROFILES = {
    "superconducting": Profile("superconducting", 1.0, 10.0, "wait", 300.0, 1000.0, 0.0),
    "ion": Profile("ion", 1000.0, 67.0, "idle", 50.0, 900.0, 120.0),
    "neutral-atom": Profile("neutral-atom", 1000.0, 1000.0, "defer", 50.0, 900.0, 120.0, loss=0.005),
}


class Cores(msgspec.Struct, frozen=True):
    """Where the two ends run; -1: wherever the system puts them."""

    controller: int
    host: int
    warnings: list[str]


def choose_cores() -> Cores:
    """The first and the last core that this process may use, or none where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return Cores(
            -1, -1, ["There is only one core for controller and host: they take turns, and figures say little."]
        )
    return Cores(allowed[0], allowed[-1], [])
