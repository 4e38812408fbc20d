"""When a recurring window occurs: RRULE of RFC 5545 on the clocks of a time zone.

Only the live deck asks; what it finds is in the log as `WindowSet`, so that a replay needs neither python-dateutil nor
the time zone database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from math import floor, inf
from zoneinfo import ZoneInfo

from quarterdeck.errors import Invalid

SUB_DAILY = {"SECONDLY": 1, "MINUTELY": 60, "HOURLY": 3600}
LINEAR = {**SUB_DAILY, "DAILY": 86400}
"""Frequencies whose periods all have the same length on a clock that knows no daylight saving."""
LOOKED_AT = 100
"""Occurrences that are looked at to tell whether they overlap."""
FREQUENCIES = (*LINEAR, "WEEKLY", "MONTHLY", "YEARLY")
_WORDS = {
    "FREQ": rf"{'|'.join(FREQUENCIES)}", "WKST": "MO|TU|WE|TH|FR|SA|SU", "UNTIL": r"\d{8}(T\d{6}Z?)?",
    "BYDAY": r"([+-]?[1-5])?(MO|TU|WE|TH|FR|SA|SU)(,([+-]?[1-5])?(MO|TU|WE|TH|FR|SA|SU))*",
}  # fmt: skip
RANGES = {
    "INTERVAL": (1, 10_000), "COUNT": (1, 10_000), "BYSECOND": (0, 59), "BYMINUTE": (0, 59), "BYHOUR": (0, 23),
    "BYMONTH": (1, 12), "BYMONTHDAY": (-31, 31), "BYYEARDAY": (-366, 366), "BYWEEKNO": (-53, 53),
    "BYSETPOS": (-366, 366),
}  # fmt: skip
_CYCLE = timedelta(days=146_097)
"""The Gregorian calendar repeats after 400 years, weekdays included."""


def zone_of(name: str) -> ZoneInfo:
    """A time zone by the IANA's name. Raises `Invalid`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Invalid("$.zone", f"{name!r} is no time zone; write one such as Europe/Paris, or UTC") from None


def parts_of(rule: str) -> dict[str, str]:
    """The parts of a rule by name, such as FREQ. Raises `Invalid`."""
    parts: dict[str, str] = {}
    for part in rule.strip().upper().removeprefix("RRULE:").split(";"):
        name, _, value = part.partition("=")
        if name in parts or not _valid(name, value):
            raise Invalid("$.rule", f"{part[:80]!r} is no part of an RRULE such as FREQ=WEEKLY;BYDAY=MO;BYHOUR=3")
        parts[name] = value
    if "FREQ" not in parts:
        raise Invalid("$.rule", "it does not say how often: FREQ=DAILY, for example")
    if "COUNT" in parts and "UNTIL" in parts:
        raise Invalid("$.rule", "COUNT and UNTIL do not go together")
    # What python-dateutil gets wrong, or searches for by the second until the year 9999.
    often, rest = parts["FREQ"], {name for name in parts if name.startswith("BY")}
    if often in ("SECONDLY", "MINUTELY") and rest:
        raise Invalid("$.rule", f"{often} stands alone; write FREQ=DAILY;BYHOUR=9,10;BYMINUTE=0,30, for example")
    if "BYSETPOS" in rest and (often in LINEAR or len(rest) == 1):
        raise Invalid("$.rule", "BYSETPOS picks from the other BY parts of a week, a month or a year")
    if often not in ("MONTHLY", "YEARLY") and re.search(r"\d", parts.get("BYDAY", "")):
        raise Invalid("$.rule", "numbered weekdays such as 1MO are for MONTHLY and YEARLY")
    return parts


def _valid(name: str, value: str) -> bool:
    if name in _WORDS:
        return re.fullmatch(_WORDS[name], value, re.ASCII) is not None
    least, most = RANGES.get(name, (1, 0))
    numbers = value.split(",") if name.startswith("BY") else [value]
    return all(
        re.fullmatch(r"[+-]?\d{1,5}", number, re.ASCII) and least <= int(number) <= most and (least >= 0 or int(number))
        for number in numbers
    )


def occurrences(rule: str, start_s: float, zone: str, after_s: float) -> Iterator[float]:
    """The starts behind `after_s`, in order, in seconds since 1970. Raises `Invalid`.

    A time that daylight saving leaves out is taken by the clock before the change, one that comes twice is the first of
    the two (RFC 5545, 3.3.5). HOURLY, MINUTELY and SECONDLY without BY parts count true time.
    """
    parts, clock = parts_of(rule), zone_of(zone)
    until_s = _until(parts.pop("UNTIL", ""), clock)
    times = _elapsed(parts, start_s, after_s) if _counts_true_time(parts) else _wall(parts, start_s, clock, after_s)
    last_s = after_s
    for at_s in times:
        if at_s > until_s:
            return
        if at_s > last_s:
            last_s = at_s
            yield at_s


def check_rule(rule: str, start_s: float, zone: str, after_s: float, length_s: float) -> None:
    """Raise `Invalid` for a rule that never occurs behind `after_s`, or again before `length_s` have passed."""
    starts = list(islice(occurrences(rule, start_s, zone, after_s), LOOKED_AT))
    if not starts:
        raise Invalid("$.rule", "it never occurs from now on")
    shortest_s = min((b - a for a, b in pairwise(starts)), default=inf)
    if shortest_s < length_s:
        raise Invalid(
            "$.rule", f"it occurs again after {shortest_s:.0f} s, while a window may last for {length_s:.0f} s; "
            "let it occur less often, or be shorter",
        )  # fmt: skip


def _counts_true_time(parts: dict[str, str]) -> bool:
    return parts["FREQ"] in SUB_DAILY and not any(name.startswith("BY") for name in parts)


def _until(text: str, clock: ZoneInfo) -> float:
    if not text:
        return inf
    whole_day = "T" not in text
    try:
        at = datetime.strptime(text + "T235959" if whole_day else text.removesuffix("Z"), "%Y%m%dT%H%M%S")
        return at.replace(tzinfo=UTC if text.endswith("Z") else clock).timestamp()
    except (ValueError, OverflowError):
        raise Invalid("$.rule", f"UNTIL={text} is no time such as 20270131 or 20270131T120000Z") from None


def _elapsed(parts: dict[str, str], start_s: float, after_s: float) -> Iterator[float]:
    every_s = SUB_DAILY[parts["FREQ"]] * int(parts.get("INTERVAL", "1"))
    number = max(0, floor((after_s - start_s) / every_s))
    while number < int(parts.get("COUNT", number + 1)):
        yield start_s + number * every_s
        number += 1


def _wall(parts: dict[str, str], start_s: float, clock: ZoneInfo, after_s: float) -> Iterator[float]:
    from dateutil.rrule import rrulestr

    start = datetime.fromtimestamp(start_s, clock).replace(tzinfo=None, microsecond=0, fold=0)
    every_s = LINEAR.get(parts["FREQ"], 0) * int(parts.get("INTERVAL", "1"))
    if every_s and "COUNT" not in parts:  # nothing is gained from going through all the time since the start
        after = datetime.fromtimestamp(after_s, clock).replace(tzinfo=None) - timedelta(days=2)
        start += max(0, floor((after - start).total_seconds() / every_s)) * timedelta(seconds=every_s)
    # A rule that never occurs is searched for until the year 9999, which takes seconds; from far ahead it does not.
    ahead = (9629 - start.year) // 400 * _CYCLE
    try:
        rule = rrulestr(";".join(f"{name}={value}" for name, value in parts.items()), dtstart=start + ahead)
        for at in rule:
            yield (at - ahead).replace(tzinfo=clock).timestamp()
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:  # it raises all of these
        raise Invalid("$.rule", f"it cannot be understood: {error}") from None
