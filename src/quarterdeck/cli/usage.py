"""`qdeck usage` and `qdeck limits`."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck.cli.common import Json, connect, note, print_columns, print_json
from quarterdeck.cli.project import project_names

if TYPE_CHECKING:
    from quarterdeck.wire import UsageRow

BAR = 30
FIGURES = ("qpu_s", "setup_s", "failed_s", "shots", "slices", "failed", "tasks")


def usage(
    by: Annotated[str, typer.Option(help="Some of project, user, class, device, month, with commas.")] = "project",
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="This month only (UTC).")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="YYYY-MM", help="From this month on.")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="YYYY-MM", help="To this month, included.")] = None,
    project: Annotated[
        str | None, typer.Option(help="This project's only; members see all of it.", autocompletion=project_names)
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values with a head line.")] = False,
    as_json: Json = False,
) -> None:
    """Device time and shots that were used.

    Your own use; with --project, all of a project that lists you as a member; everybody's for administrators.

    \b
        qdeck usage
        qdeck usage --by project,user --month 2026-11
        qdeck usage --by month,class --project atoms --csv > atoms.csv
    """
    if month is not None and (since or until):
        raise typer.BadParameter("goes without --from and --to", param_hint="--month")
    if as_csv and as_json:
        raise typer.BadParameter("goes without --json", param_hint="--csv")
    keys = list(dict.fromkeys(key for key in by.split(",") if key))
    with connect() as client:
        found = client.usage(keys, since=month or since, until=month or until, project=project)
    if as_json:
        print_json({"items": found})
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([*keys, *FIGURES])
        writer.writerows([*_keys(row, keys), *(getattr(row, figure) for figure in FIGURES)] for row in found)
    elif not found:
        note("nothing was used")
    else:
        _table(found, keys)


def _table(found: list[UsageRow], keys: list[str]) -> None:
    most = max(row.qpu_s for row in found)
    rows = [
        (*_keys(row, keys), f"{row.qpu_s:,.1f}".rjust(10), row.shots, row.tasks, f"{_failed(row):.1f} %".rjust(6),
         "#" * round(BAR * row.qpu_s / most) if most else "")
        for row in found
    ]  # fmt: skip
    print_columns((*(key.upper() for key in keys), "DEVICE TIME s".rjust(10), "SHOTS", "TASKS", "FAILED", ""), rows)


def _failed(row: UsageRow) -> float:
    return 100.0 * row.failed_s / row.qpu_s if row.qpu_s else 0.0


def _keys(row: UsageRow, keys: list[str]) -> list[str]:
    return [getattr(row, "class_" if key == "class" else key) for key in keys]


def limits(as_json: Json = False) -> None:
    """What you may ask for, and what you have in use.

    \b
        qdeck limits
    """
    with connect() as client:
        found = client.limits()
    if as_json:
        print_json({"items": found})
        return
    rows = [(x.name, f"{x.allowed:g}" if x.allowed else "no limit", f"{x.used:g}", x.about) for x in found]
    print_columns(("LIMIT", "ALLOWED", "USED", "MEANING"), rows)


def add(app: typer.Typer) -> None:
    app.command()(usage)
    app.command()(limits)
