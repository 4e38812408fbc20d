"""Time of day that never jumps: read once, then carried on by the monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds since 1970 (UTC)."""


def steady(not_before_s: float = 0.0) -> Clock:
    """A clock that starts at the time of day, or at `not_before_s` if that is later, and moves with monotonic time.

    Setting the machine's clock forth or back while the daemon runs thus ends no session early and holds nothing up;
    after a restart time goes on from the last entry of the log at the earliest.
    """
    offset_s = max(time.time(), not_before_s) - time.monotonic()
    return lambda: offset_s + time.monotonic()
