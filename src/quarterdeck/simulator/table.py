"""The figures of one or more runs as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from rich.console import Console
from rich.table import Table

from quarterdeck.simulator.metrics import Figures
from quarterdeck.simulator.record import CAUSES, CLASSES

WORDS = {"setup": "set-up", "blocked": "blocked", "empty": "no work", "reservation": "reserved"}


def show(figures: Sequence[Figures], console: Console, title: str = "") -> None:
    """Print what the jobs of each class met, and what the devices' time went to, policy by policy."""
    if title:
        console.print(title, style="bold", markup=False, soft_wrap=True)
    for table in (waits(figures), times(figures), fairness(figures)):
        console.print(table)
        console.print()
    tau_s = figures[0].tau_s if figures else 0.0
    console.print(f"p50, p95, p99: bounded slowdown, tau {tau_s:g} s; 1 is a job that never waited.", soft_wrap=True)


def waits(figures: Sequence[Figures]) -> Table:
    """Bounded slowdowns and delays: a row for each policy and class."""
    due = any(of.deadline_hits is not None for found in figures for of in found.classes.values())
    table = _table("waiting", "policy", "class", left=2)
    for name in ("jobs", "p50", "p95", "p99", "mean delay", *(["deadlines met"] if due else [])):
        table.add_column(name, justify="right")
    for found in figures:
        policy = found.policy
        for name in CLASSES:
            of = found.classes.get(name)
            if of is None:
                continue
            hits = ["" if of.deadline_hits is None else f"{of.deadline_hits:.1%}"] if due else []
            cells = [policy, name, f"{of.jobs:,}", *(number(value) for value in (of.p50, of.p95, of.p99))]
            table.add_row(*cells, duration(of.delay_s), *hits, end_section=name == list(found.classes)[-1])
            policy = ""
    return table


def times(figures: Sequence[Figures]) -> Table:
    """Per cent of all device time by cause; causes that took none are left out."""
    causes = [cause for cause in CAUSES if any(found.utilisation[cause] >= 0.0005 for found in figures)]
    table = _table("device time, %", "policy")
    for cause in causes:
        table.add_column(WORDS.get(cause, cause), justify="right")
    for found in figures:
        table.add_row(found.policy, *(f"{100 * found.utilisation[cause]:.1f}" for cause in causes))
    return table


def fairness(figures: Sequence[Figures]) -> Table:
    """Fairness between users, honesty of estimates, waste."""
    columns: list[tuple[str, list[str]]] = [
        ("Jain", [f"{found.jain:.2f}" for found in figures]),
        ("largest/median share", [number(found.share_ratio) for found in figures]),
        ("share distance", [_or(found.share_distance, "{:.3f}") for found in figures]),
        ("ETA off by", [_factor(found.eta_error) for found in figures]),
        ("p90", [_factor(found.eta_error_p90) for found in figures]),
        ("redone", [f"{found.redone:.2%}" for found in figures]),
        ("nodes waited", [duration(found.node_wait_s) for found in figures]),
        ("makespan", [duration(found.makespan_s) for found in figures]),
        ("not ended", [f"{found.unfinished:,}" if found.unfinished else "" for found in figures]),
    ]
    told = [(name, cells) for name, cells in columns if any(cells)]
    table = _table("fairness, estimates, waste", "policy")
    for name, _ in told:
        table.add_column(name, justify="right")
    for place, found in enumerate(figures):
        table.add_row(found.policy, *(cells[place] for _, cells in told))
    return table


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """In the largest unit that leaves at least one."""
    for size, unit in ((365.25 * 86400, "years"), (86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _table(title: str, *names: str, left: int = 1) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="dim", header_style="bold", box=None,
                  pad_edge=False)  # fmt: skip
    for name in names[:left]:
        table.add_column(name, no_wrap=True)
    return table


def _or(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _factor(error: float | None) -> str:
    """|ln(actual / estimate)| as a factor: 0.69 is "2.0 x"."""
    return "" if error is None else f"{exp(min(error, 20.0)):.1f} x"
