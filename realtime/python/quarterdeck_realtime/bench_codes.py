"""`relay` beside other packages' decoders, on codes that no matching decodes: same process, same shots, in turns.

Each decodes batches of the same shots through its adapter, with that adapter's settings. Times are processor time of
the whole process, so that other load disturbs less and threads of a package count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import msgspec
import numpy as np

from quarterdeck_realtime.codes import experiment, masks
from quarterdeck_realtime.decoders import BatchDecoder, MissingPackage, decoder
from quarterdeck_realtime.decoders.own import relay
from quarterdeck_realtime.decoders.protocol import Bools
from quarterdeck_realtime.tables import table

__all__ = ["CASES", "CodeCase", "CodeRow", "Entry", "codes_lines", "compare_codes"]

OTHERS = ("relay-bp", "bp-osd", "bp-lsd", "tesseract")
BATCHES = 5


class CodeCase(msgspec.Struct, frozen=True):
    """A memory experiment of as many rounds as the distance."""

    code: str
    distance: int
    p: float
    others: tuple[str, ...] = OTHERS


CASES = (
    CodeCase("colour", 3, 5e-3),
    CodeCase("colour", 5, 1e-3),
    CodeCase("colour", 5, 3e-3),
    CodeCase("colour", 7, 1e-3, ("relay-bp", "bp-osd", "bp-lsd")),
    CodeCase("bicycle", 6, 1e-2, ("relay-bp", "bp-osd", "bp-lsd")),
    CodeCase("bicycle", 6, 2e-2, ("relay-bp", "bp-osd", "bp-lsd")),
    CodeCase("bicycle", 12, 1e-2, ("relay-bp", "bp-osd", "bp-lsd")),
)


class Entry(msgspec.Struct, frozen=True):
    """One decoder: microseconds of processor time a volume, the median over batches with the least and the largest."""

    name: str
    us: float
    us_least: float
    us_largest: float
    wrong: int  # volumes with a wrong observable, or without an answer (those of our own)


class CodeRow(msgspec.Struct, frozen=True):
    """A case; the first entry is our own decoder, packages that are not installed are left out."""

    case: CodeCase
    shots: int
    defects: float  # of a volume, in the mean
    entries: list[Entry]


def _us(one: BatchDecoder, events: Bools) -> tuple[float, Bools]:
    start = time.process_time_ns()
    flips = one.decode_batch(events)
    return (time.process_time_ns() - start) / 1000 / len(events), flips


def _row(case: CodeCase, seconds: float) -> CodeRow:
    exp = experiment(case.code, case.distance, case.p)
    own = relay(exp.dem)
    found: dict[str, BatchDecoder] = {"relay": own}
    for name in case.others:
        try:
            found[name] = decoder(name, exp.dem)
        except MissingPackage:
            continue
    probe = exp.sample(30, seed=1)
    slowest_us = max(_us(one, probe.detections)[0] for one in found.values())
    each = int(np.clip(seconds * 1e6 / slowest_us / BATCHES, 20, 4000))
    shots = exp.sample(BATCHES * each, seed=case.distance)
    times: dict[str, list[float]] = {name: [] for name in found}
    wrong = dict.fromkeys(found, 0)
    for first in range(0, len(shots), each):
        events, truth = shots.detections[first : first + each], shots.observables[first : first + each]
        for name, one in found.items():
            us, flips = _us(one, events)
            times[name].append(us)
            wrong[name] += int((masks(flips) != truth).sum())
    # A volume without an answer flips nothing, and is wrong even where that happens to be right.
    decoded = own.decode(shots.detections)
    wrong["relay"] = int((decoded.failed | (masks(decoded.observables) != shots.observables)).sum())
    entries = [
        Entry(name, statistics.median(times[name]), min(times[name]), max(times[name]), wrong[name]) for name in found
    ]
    return CodeRow(case, len(shots), float(shots.detections.sum(axis=1).mean()), entries)


def compare_codes(cases: Sequence[CodeCase] = CASES, *, seconds: float = 8.0) -> list[CodeRow]:
    """Measure cases; the slowest decoder of each takes about so many seconds."""
    return [_row(case, seconds) for case in cases]


def codes_lines(rows: list[CodeRow]) -> list[str]:
    """The table, as lines of Markdown."""
    names = list(dict.fromkeys(entry.name for row in rows for entry in row.entries))

    def us(value: float) -> str:
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    def cell(row: CodeRow, name: str) -> str:
        for entry in row.entries:
            if entry.name == name:
                return f"{entry.wrong}; {us(entry.us)} ({us(entry.us_least)} to {us(entry.us_largest)})"
        return ""

    lines = [
        [
            f"{row.case.code} d={row.case.distance}", f"{row.case.p:g}", f"{row.defects:.1f}", f"{row.shots}",
            *(cell(row, name) for name in names),
        ]
        for row in rows
    ]  # fmt: skip
    return [
        "Codes that no matching decodes; wrong volumes, and microseconds of processor time a volume (median of "
        f"{BATCHES} batches, least and largest):",
        "",
        *table(["code", "p", "defects", "volumes", *names], lines),
    ]
