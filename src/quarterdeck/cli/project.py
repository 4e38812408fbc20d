"""`qdeck project`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck.cli.common import Json, clock, connect, print_columns, print_fields, print_json
from quarterdeck.errors import NotFound, QuarterdeckError

if TYPE_CHECKING:
    from quarterdeck.wire import Budget, Project

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Who pays: projects, their members and budgets.")
UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def project_names(incomplete: str) -> list[str]:
    """Completion: the projects that one may use."""
    try:
        with connect() as client:
            return [project.name for project in client.projects() if project.name.startswith(incomplete)]
    except QuarterdeckError:
        return []


CLASSES = ("production", "test", "development")
Name = Annotated[
    str, typer.Argument(metavar="PROJECT", help="The project's name.", autocompletion=project_names)
]  # fmt: skip


def seconds(text: str) -> float | None:
    """`90`, `90s`, `1.5h`, `2d` as seconds; `none` as None. Raises `BadParameter`."""
    if text == "none":
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS_S else (text, "s")
    try:
        told = float(number) * UNITS_S[unit]
    except ValueError:
        told = -1.0
    if not 0 <= told < float("inf"):
        raise typer.BadParameter(f"{text!r} is no time such as 90s, 30m, 1.5h or 2d, nor none", param_hint="--qpu")
    return told


def count(text: str) -> int | None:
    """A number of shots; `none` as None. Raises `BadParameter`."""
    if text == "none":
        return None
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is no number of shots, nor none", param_hint="--shots")
    return int(text)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """The projects that you may use, and what they have left.

    \b
        qdeck project list
    """
    with connect() as client:
        found = client.projects()
    if as_json:
        print_json({"items": found})
        return
    rows = [
        (p.name, f"{p.share:g}", len(p.members) or "all", _limit(own.qpu_s, " s"), _limit(own.left_qpu_s, " s"),
         _limit(own.shots), _limit(own.left_shots), own.period, f"{own.total_qpu_s:.1f} s")
        for p in found for own in (p.budget,)
    ]  # fmt: skip
    print_columns(("PROJECT", "SHARE", "MEMBERS", "TIME", "LEFT", "SHOTS", "LEFT", "EACH", "USED EVER"), rows)


@app.command()
def show(name: Name = "default", as_json: Json = False) -> None:
    """All about a project: members, budgets, what is spent.

    \b
        qdeck project show atoms
        qdeck project show
    """
    with connect() as client:
        told = client.project(name)
    _print(told, as_json)


@app.command("set")
def set_(
    name: Name,
    share: Annotated[float | None, typer.Option(help="Its weight in fair shares; 1 if never set.")] = None,
    add: Annotated[list[str] | None, typer.Option(metavar="USER", help="A new member; repeat for more.")] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="USER", help="A member no more; repeat for more.")] = None,
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="CLASS", help="production, test or development; repeat for more."),
    ] = None,
    any_class: Annotated[bool, typer.Option("--any-class", help="Its work may be of any class.")] = False,
    everybody: Annotated[bool, typer.Option("--everybody", help="No members: everybody may use it.")] = False,
    as_json: Json = False,
) -> None:
    """Set up a project, or change it (administrators).

    A project without members is everybody's. What is not named stays.

    \b
        qdeck project set atoms --share 2 --add ada --add bob
        qdeck project set atoms --drop bob
        qdeck project set default --class development
    """
    if class_ and any_class:
        raise typer.BadParameter("goes without --class", param_hint="--any-class")
    if unknown := set(class_ or ()) - set(CLASSES):
        raise typer.BadParameter(f"{min(unknown)} is none of {', '.join(CLASSES)}", param_hint="--class")
    if everybody and (add or drop):
        raise typer.BadParameter("goes without --add and --drop", param_hint="--everybody")
    with connect() as client:
        try:
            was = client.project(name)
        except NotFound:
            was = None
        members = set(was.members if was is not None and not everybody else ())
        if missing := set(drop or ()) - members:
            raise typer.BadParameter(f"{min(missing)} is no member of {name}", param_hint="--drop")
        left = (members | set(add or ())) - set(drop or ())
        if members and not left and not everybody:
            raise typer.BadParameter("this would open the project to everybody; say --everybody", param_hint="--drop")
        share = share if share is not None else was.share if was is not None else 1.0
        classes = class_ or (was.classes if was is not None and not any_class else [])
        told = client.set_project(name, share, sorted(left), classes)
    _print(told, as_json)


@app.command()
def rm(name: Name, as_json: Json = False) -> None:
    """Remove a project (administrators). Its usage reports stay.

    \b
        qdeck project rm atoms
    """
    with connect() as client:
        told = client.remove_project(name)
    if as_json:
        print_json(told)
    else:
        print(f"{told.name} removed; it had used {told.budget.total_qpu_s:.1f} s and {told.budget.total_shots} shots")


@app.command()
def budget(
    name: Name,
    qpu: Annotated[str | None, typer.Option(metavar="TIME", help="Device time: 90s, 30m, 1.5h, 2d, or none.")] = None,
    shots: Annotated[str | None, typer.Option(metavar="N", help="Shots, or none.")] = None,
    user: Annotated[str, typer.Option(help="That user's part of it, instead of the whole project's.")] = "",
    month: Annotated[
        bool | None, typer.Option("--month/--once", help="In each calendar month, or in all. As before if not said.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="What was spent so far counts no more.")] = False,
    as_json: Json = False,
) -> None:
    """Set what a project may spend (administrators).

    Without --qpu and --shots, shows it. A limit that is not named stays. The project `default` is that of all who name
    none. A budget below what is spent loses nothing: no new work starts until it is raised.

    \b
        qdeck project budget atoms --qpu 20h --month
        qdeck project budget atoms --user ada --shots 100000
        qdeck project budget atoms --qpu none
    """
    given_s, given_shots = seconds(qpu or "none"), count(shots or "none")
    with connect() as client:
        told = client.project(name)
        if qpu is not None or shots is not None or month is not None or reset:
            was = next((b for b in told.users if b.user == user), None) if user else told.budget
            period = ("month" if month else "") if month is not None else was.period if was is not None else ""
            told = client.set_budget(
                name, user=user, period=period, reset=reset,
                qpu_s=given_s if qpu is not None else was.qpu_s if was is not None else None,
                shots=given_shots if shots is not None else was.shots if was is not None else None,
            )  # fmt: skip
    _print(told, as_json)


def _print(told: Project, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    own = told.budget
    print_fields(
        (
            ("project", told.name), ("set up", "" if told.declared or told.name == "default" else "no, a label only"),
            ("share", f"{told.share:g}"), ("members", ", ".join(told.members) or "everybody"),
            ("classes", ", ".join(told.classes) or "all"),
            ("device time", _words(own.qpu_s, own.spent_qpu_s, own.held_qpu_s, " s", own)),
            ("shots", _words(own.shots, own.spent_shots, own.held_shots, "", own)),
            ("used of late", f"{told.recent_qpu_s:.1f} s"), ("used ever", f"{own.total_qpu_s:.1f} s"),
            ("anew", clock(own.anew_s)), ("note", own.note),
        )
    )  # fmt: skip
    if told.users:
        print()
        rows = [(b.user, _limit(b.qpu_s, " s"), f"{b.spent_qpu_s:.1f} s", _limit(b.shots), b.spent_shots, b.period,
                 "nothing left" if b.note else "") for b in told.users]  # fmt: skip
        print_columns(("USER", "TIME", "SPENT", "SHOTS", "SPENT", "EACH", ""), rows)


def _words(limit: float | None, spent: float, held: float, unit: str, own: Budget) -> str:
    if limit is None:
        return "no limit"
    each = " a month" if own.period else ""
    spent, held, free = (round(value, 1) for value in (spent, held, limit - spent - held))
    return f"{limit:,.10g}{unit}{each}: {spent:,} spent, {held:,} held, {free:,} free"


def _limit(value: float | None, unit: str = "") -> str:
    return "no limit" if value is None else f"{value:,.10g}{unit}"


def add(parent: typer.Typer) -> None:
    parent.add_typer(app, name="project")
