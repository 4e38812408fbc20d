"""What a device measured: checks of what a driver returns, and the sum of what several slices gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class GarbageOutcome(Exception):
    """A driver returned something that cannot be a measurement. Raised to fail the slice, never to fail the daemon."""


def check_counts(counts: Any, shots: int) -> None:
    """Raise `GarbageOutcome` unless `counts` maps bitstrings of one length to counts >= 0 that sum to <= `shots`."""
    if not isinstance(counts, dict):
        raise GarbageOutcome(f"counts are a {type(counts).__name__}, not a dict")
    lengths = set()
    total = 0
    for bits, number in counts.items():
        if not isinstance(bits, str) or not bits or set(bits) - {"0", "1"}:
            raise GarbageOutcome(f"{str(bits)[:80]!r} is not a bitstring")
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise GarbageOutcome(f"{bits[:80]} was counted {str(number)[:80]} times")
        lengths.add(len(bits))
        total += number
    if len(lengths) > 1:
        raise GarbageOutcome(f"bitstrings of different lengths: {sorted(lengths)[:8]}")
    if total > shots:
        raise GarbageOutcome(f"{total} shots, though only {shots} were asked for")


def check_outcome(outcome: Any, shots: int) -> None:
    """Raise `GarbageOutcome` unless `outcome` has proper counts and a finite `qpu_s` that is not negative."""
    check_counts(getattr(outcome, "counts", None), shots)
    qpu_s = getattr(outcome, "qpu_s", None)
    if isinstance(qpu_s, bool) or not isinstance(qpu_s, int | float) or not 0 <= qpu_s < float("inf"):
        raise GarbageOutcome(f"the device was occupied for {str(qpu_s)[:80]} seconds")


def merge(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of several counts, most frequent first (ties in order of the bits)."""
    total: dict[str, int] = {}
    for part in counts:
        for bits, number in part.items():
            total[bits] = total.get(bits, 0) + number
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
