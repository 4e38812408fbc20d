"""The table of `qdeck bench dropin`."""

from __future__ import annotations

import os
import platform

import msgspec
from rich.console import Console
from rich.table import Table

from quarterdeck.bench.dropin import Row

HEAD = ("What goes wrong", "System", "Jobs", "Lost", "Duplicated", "Burnt", "Blocked", "Accepted", "Settled", "Remark")
LEGEND = (
    "lost: unknown afterwards, or without all shots; duplicated: programs beyond one for each job; burnt: failed "
    "though nothing was wrong with them; blocked: not ended 45 s after the fault was over; accepted: what should have "
    "been refused or left alone; settled: from the fault's end until the last job had ended. The QPU is emulated."
)


def _cells(row: Row) -> tuple[str, ...]:
    tally = row.tally
    if tally is None:
        return (row.what, row.system, *("-",) * 7, row.why)
    figures = (tally.jobs, tally.lost, tally.duplicated, tally.burnt, tally.blocked, tally.accepted)
    settled = f"{tally.settled_s:.1f} s" if tally.jobs and not tally.blocked else ""
    return (row.what, row.system, *map(str, figures), settled, tally.note)


def to_json(rows: list[Row]) -> str:
    """The rows and the machine, as a JSON document."""
    document = {"machine": machine(), "emulated": True, "rows": rows}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def machine() -> str:
    """The machine, in a few words."""
    return f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def markdown(rows: list[Row]) -> str:
    """The table in Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "| --- | --- |" + " ---: |" * 7 + " --- |"]
    for row in rows:
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(row)) + " |")
    return "\n".join([*lines, "", f"{machine()}; {LEGEND}"])


def show(rows: list[Row], console: Console) -> None:
    """The table on a terminal; harm in red."""
    table = Table(caption=LEGEND, caption_justify="left")
    for index, head in enumerate(HEAD):
        table.add_column(head, justify="right" if 2 <= index <= 8 else "left", overflow="fold")
    last = ""
    for row in rows:
        if row.scenario != last and last:
            table.add_section()
        last = row.scenario
        style = "red" if row.tally is None or row.tally.harm else "green"
        table.add_row(*_cells(row), style=style)
    console.print(table)
