"""What a benchmark found: figures with their spread, the ratios between systems, and the goals that were set."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

from quarterdeck.bench.stats import Spread

UNITS = {
    "rate_hz": "per s", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "max_ms": "max ms",
    "server_cpu_ms": "server CPU-ms", "rss_mib": "RSS MiB", "growth_kib": "KiB each",
}  # fmt: skip
"""Figures that a row may have, and how the table calls them."""
HIGHER_IS_BETTER = frozenset({"rate_hz"})


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One thing measured on one system.

    Attributes:
        what: What was done, the same words for all systems.
        system: Who did it.
        transport: `tcp` or `unix`; empty where it does not matter.
        clients: Requests in flight at once.
        figures: Name (a key of `UNITS`) to median and spread over the rounds.
        failed: Requests that were answered with an error, in all rounds together.
        note: The first such answer, or a remark.
    """

    what: str
    system: str
    transport: str = ""
    clients: int = 0
    figures: dict[str, Spread]
    failed: int = 0
    note: str = ""


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """Ours against another system's: `factor` times as good (a rate divided by theirs, a latency dividing theirs)."""

    what: str
    clients: int
    figure: str
    transport: str
    ours: float
    theirs: float
    factor: float


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A goal: `got` is to be at least, or at most, `wanted`."""

    name: str
    sense: Literal["at least", "at most"]
    wanted: float
    got: float

    @property
    def met(self) -> bool:
        return self.got >= self.wanted if self.sense == "at least" else self.got <= self.wanted


class Busy(msgspec.Struct, frozen=True):
    """How idle the machine was just before a round: load average, and the share of its cores in use."""

    before: str
    load_1min: float
    busy_share: float


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured."""

    cores: int
    memory_mib: int
    cpu: str
    kernel: str
    python: str

    @staticmethod
    def here() -> Machine:
        info = Path("/proc/cpuinfo").read_text()
        names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        return Machine(
            os.cpu_count() or 0, memory, names[0] if names else "", platform.release(), platform.python_version()
        )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    title: str
    started: str
    took_s: float
    version: str
    machine: Machine
    rounds: int
    quick: bool
    rows: list[Row]
    ratios: list[Ratio]
    goals: list[Goal]
    idle: list[Busy]

    def to_json(self) -> str:
        """The report as JSON, goals with their verdict."""
        data = msgspec.to_builtins(self)
        for goal, told in zip(self.goals, data["goals"], strict=True):
            told["met"] = goal.met
        return msgspec.json.format(msgspec.json.encode(data)).decode()


def compare(rows: Iterable[Row], ours: str, theirs: str, against: dict[str, str]) -> list[Ratio]:
    """The ratios of all rows that both systems have.

    `against` says which of our own rows, by `what`, stands against which of theirs, where the words differ.
    """
    rows = list(rows)
    found = []
    for row in rows:
        if row.system != ours:
            continue
        named = against.get(row.what, row.what)
        other = next((o for o in rows if (o.system, o.what, o.clients) == (theirs, named, row.clients)), None)
        for figure in sorted(row.figures.keys() & other.figures.keys()) if other else ():
            mine, its = row.figures[figure].median, other.figures[figure].median  # type: ignore[union-attr]
            above, below = (mine, its) if figure in HIGHER_IS_BETTER else (its, mine)
            if below > 0:
                ratio = Ratio(
                    what=row.what, clients=row.clients, figure=figure, transport=row.transport,
                    ours=mine, theirs=its, factor=above / below,
                )  # fmt: skip
                found.append(ratio)
    return found


def tables(report: Report) -> dict[str, list[list[str]]]:
    """The report's tables: title to rows of cells, the first row being the header."""
    names = [name for name in UNITS if any(name in row.figures for row in report.rows)]
    figures = [["what", "clients", "system", *(UNITS[name] for name in names), "failed"]]
    for row in report.rows:
        cells = [_spread(row.figures[name]) if name in row.figures else "" for name in names]
        system = f"{row.system} {row.transport}".strip()
        figures.append([row.what, str(row.clients or ""), system, *cells, str(row.failed or "")])
    ratios = [["what", "clients", "transport", "figure", "ours", "theirs", "times as good"]]
    for ratio in report.ratios:
        numbers = [_number(number) for number in (ratio.ours, ratio.theirs, ratio.factor)]
        ratios.append([ratio.what, str(ratio.clients or ""), ratio.transport, UNITS[ratio.figure], *numbers])
    goals = [["goal", "wanted", "got", "met"]]
    for goal in report.goals:
        wanted = f"{goal.sense} {_number(goal.wanted)}"
        goals.append([goal.name, wanted, _number(goal.got), "yes" if goal.met else "no"])
    named = {"median (lowest to highest round)": figures, "ratios": ratios, "goals": goals}
    return {title: rows for title, rows in named.items() if len(rows) > 1}


def remarks(report: Report) -> tuple[str, list[str]]:
    """A line on where and when, and what else there is to say."""
    machine = report.machine
    where = (
        f"{report.started}, {report.took_s:.0f} s, rounds: {report.rounds}; quarterdeck {report.version}, "
        f"Python {machine.python}; {machine.cores} cores, {machine.memory_mib} MiB, "
        f"Linux {machine.kernel} {machine.cpu}"
    )
    told = [f"{_name(row)}: {row.note}" for row in report.rows if row.note]
    if report.idle:
        worst = max(busy.busy_share for busy in report.idle)
        told.append(f"cores in use by others just before a round: {worst:.0%} at most")
    return where, told


def show(report: Report, console: Console) -> None:
    """Print the report as tables."""
    where, told = remarks(report)
    console.print(f"[bold]{report.title}[/bold]  {where}")
    for title, (header, *rows) in tables(report).items():
        table = Table(*header, title=title)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in told:
        console.print(line, markup=False, soft_wrap=True)


def markdown(report: Report) -> str:
    """The report in Markdown, for a page."""
    where, told = remarks(report)
    lines = [f"{report.title}, {where}"]
    for title, (header, *rows) in tables(report).items():
        lines += ["", f"**{title}**", "", "| " + " | ".join(header) + " |", "|--" * len(header) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"- {line}" for line in told), ""])


def _name(row: Row) -> str:
    clients = f", {row.clients} clients" if row.clients else ""
    return f"{row.what}{clients}, {row.system} {row.transport}".strip()


def _spread(spread: Spread) -> str:
    if spread.rounds == 1 or _number(spread.low) == _number(spread.high):
        return _number(spread.median)
    return f"{_number(spread.median)} ({_number(spread.low)}-{_number(spread.high)})"


def _number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"
