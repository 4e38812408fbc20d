"""The scheduling study as JSON, Markdown and tables, the aims with their verdicts first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from quarterdeck.bench.report import Machine
from quarterdeck.bench.scheduling_aims import PLAIN, Aim, aims
from quarterdeck.bench.scheduling_results import Results, Setting
from quarterdeck.simulator.metrics import Gain
from quarterdeck.simulator.record import CAUSES, CLASSES
from quarterdeck.simulator.table import duration, number

FIGURES = (
    *(f"{what} {name}" for what in ("p50", "p95", "p99", "delay") for name in CLASSES), *CAUSES, "capacity", "jain",
    "share_ratio", "share_distance", "eta", "eta_p90", "redone", "unfinished", "node_wait_s", "makespan_s",
    "cheater",
)  # fmt: skip


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One policy in one setting: figures and gains over plain FIFO, each with an interval over seeds."""

    part: str
    shape: str
    load: float
    variant: str
    policy: str
    seeds: int
    figures: dict[str, Gain]
    gains: dict[str, Gain]


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """A whole study. `code` is the digest of the sources that made it; `cpu_s` the time of all cases together."""

    title: str = "scheduling policies"
    started: str
    took_s: float
    cpu_s: float
    version: str
    code: str
    machine: Machine
    seeds: int
    quick: bool
    rows: list[Row]
    aims: list[Aim]

    @staticmethod
    def of(results: Results, **about: Any) -> Study:
        """The rows and verdicts of some results."""
        return Study(rows=[_row(results, setting) for setting in results.settings()], aims=aims(results), **about)

    def to_json(self) -> str:
        """As JSON, aims with their verdict."""
        data = msgspec.to_builtins(self)
        for aim, told in zip(self.aims, data["aims"], strict=True):
            told |= {"met": aim.met, "sure": aim.sure}
        return msgspec.json.format(msgspec.json.encode(data)).decode()


def _row(results: Results, setting: Setting) -> Row:
    figures = {name: mean for name in FIGURES if (mean := results.mean(setting, name)) is not None}
    plain = setting.with_policy(PLAIN)
    if setting.part == "ablation":
        plain = plain._replace(part="orders")
    gains = results.gains(setting, plain) if setting.policy != PLAIN else {}
    return Row(**setting._asdict(), seeds=max(one.seeds for one in figures.values()), figures=figures, gains=gains)


def tables(study: Study) -> Iterator[tuple[str, list[list[str]]]]:
    """Title and rows of cells of each table, the first row being the header."""
    head = ["aim", "wanted", "got [95 % interval]", "verdict"]
    if study.aims:
        cells = [[aim.name, f"{aim.sense} {number(aim.wanted)}", spread(aim.got), aim.verdict] for aim in study.aims]
        yield "Aims", [head, *cells]
    for (part, shape, load, variant), group in groupby(study.rows, _table_of):
        rows = list(group)
        where = f"{shape}-like, {f'load {load:g}' if load else 'saturated'}"
        where = "a day of 200,000 tasks on ten QPUs of three modalities, with faults" if part == "centre" else where
        title = f"{part}: {where}{', ' + variant if variant else ''}, {rows[0].seeds} seeds"
        if part in ("capacity", "sharing"):
            yield title, [["policy", "useful part of usable time", *_CAUSES], *map(_saturated, rows)]
            continue
        more = ["the user's mean slowdown"] if part == "gaming" else []
        yield title, [["policy", *_WAITS, *more], *map(_waits, rows)]
        if part in ("orders", "centre"):
            yield f"{title}: device time, fairness, estimates", [["policy", *_CAUSES, *_FAIR], *map(_shares, rows)]


def _table_of(row: Row) -> tuple[str, str, float, str]:
    """Rows with the same are in one table; where workloads are compared rather than policies, all variants are."""
    return row.part, row.shape, row.load, "" if row.part in ("sharing", "gaming") else row.variant


def _name(row: Row) -> str:
    name = f"{row.policy}, {row.variant}" if row.part in ("sharing", "gaming") else row.policy
    left = row.figures.get("unfinished")
    return (
        f"{name} ({left.mean:.0f} jobs never ended)"
        if (row.load or row.part == "centre") and left and left.mean
        else name
    )


_WAITS = ["p50", "p95 [95 % interval]", "p99", "mean delay", "p95 gain over plain fifo", "by class"]
_CAUSES = ["useful", "set-up", "overhead", "lost", "windows", "blocked", "thinking", "no work"]
_FAIR = ["Jain", "share distance", "largest/median", "ETA error (ln), p50", "p90"]
_SUMS = (
    ("working",), ("setup",), ("overhead",), ("lost",), ("calibration", "maintenance", "reservation", "fault"),
    ("blocked",), ("thinking",), ("empty",),
)  # fmt: skip


def _waits(row: Row) -> list[str]:
    def each(what: str) -> list[Gain | None]:
        return [row.figures.get(f"{what} {name}") for name in CLASSES]

    told = [" / ".join(map(spread if what == "p95" else _mean, each(what))) for what in ("p50", "p95", "p99")]
    told.append(" / ".join(duration(one.mean) if one else "" for one in each("delay")))
    told.append(spread(row.gains.get("all")))
    told.append(" / ".join(_mean(row.gains.get(name)) for name in CLASSES) if row.gains else "")
    return [_name(row), *told, *([spread(row.figures.get("cheater"))] if row.part == "gaming" else [])]


def _causes(row: Row) -> list[str]:
    found = [[row.figures[cause] for cause in causes if cause in row.figures] for causes in _SUMS]
    return [f"{100 * sum(one.mean for one in ones):.1f}" for ones in found]


def _saturated(row: Row) -> list[str]:
    return [_name(row), spread(row.figures.get("capacity")), *_causes(row)]


def _shares(row: Row) -> list[str]:
    names = ("jain", "share_distance", "share_ratio", "eta", "eta_p90")
    return [_name(row), *_causes(row), *(spread(row.figures.get(name)) for name in names)]


def spread(gain: Gain | None) -> str:
    """Mean and interval."""
    return f"{number(gain.mean)} [{number(gain.low)}, {number(gain.high)}]" if gain else ""


def _mean(gain: Gain | None) -> str:
    return number(gain.mean) if gain else ""


def where(study: Study) -> str:
    """A line on when, where, and with which code."""
    machine = study.machine
    return (
        f"{study.title}{' (quick)' if study.quick else ''}, {study.started}, {study.took_s:.0f} s ({study.cpu_s:.0f} s "
        f"of simulation), quarterdeck {study.version}, code {study.code}, Python {machine.python}; "
        f"{machine.cores} cores, {machine.cpu}"
    )


def show(study: Study, console: Console) -> None:
    """Print the study as tables."""
    console.print(where(study), markup=False)
    for title, (header, *rows) in tables(study):
        table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
        for name in header:
            table.add_column(name, overflow="fold")
        for row in rows:
            style = "red" if title == "Aims" and row[-1].startswith("missed") else None
            table.add_row(*row, style=style)
        console.print(table)


def markdown(study: Study) -> str:
    """The study in Markdown, for a page."""
    lines = [where(study) + "."]
    for title, (header, *rows) in tables(study):
        lines += ["", f"**{title}**", "", "| " + " | ".join(header) + " |", "|--" * len(header) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, ""])
