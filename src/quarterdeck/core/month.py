"""Calendar months in UTC, by arithmetic alone: the core has no clock and no calendar library."""

from __future__ import annotations

from functools import lru_cache

DAY_S = 86400.0
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _leaps(year: int) -> int:
    """Leap days before the first of January of the year."""
    last = year - 1
    return last // 4 - last // 100 + last // 400


@lru_cache(maxsize=1024)
def start_s(month: int) -> float:
    """When a month begins, in seconds since 1970 (UTC). Months count from year 0: 2026-11 is `2026 * 12 + 10`."""
    year, index = divmod(month, 12)
    leap = _leaps(year + 1) - _leaps(year)
    days = 365 * (year - 1970) + _leaps(year) - _leaps(1970) + sum(_LENGTHS[:index]) + (leap if index > 1 else 0)
    return days * DAY_S


def month_of(at_s: float) -> int:
    """The month of a time."""
    month = 1970 * 12 + int(at_s / (30.436875 * DAY_S))  # the mean length: at most one off
    while start_s(month) > at_s:
        month -= 1
    while start_s(month + 1) <= at_s:
        month += 1
    return month


def label(month: int) -> str:
    """`2026-11`."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


def number(label: str) -> int:
    """The month with this label."""
    year, month = label.split("-")
    return int(year) * 12 + int(month) - 1
