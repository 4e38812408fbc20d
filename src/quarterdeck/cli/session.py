"""`qdeck session`."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck.cli.common import Class, Device, Json, Mode, clock, connect, print_columns, print_json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Leases on devices: open, renew, close, list.")
Id = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")]


@app.command("open")
def open_(
    device: Device,
    mode: Annotated[Mode, typer.Option(help="shared: interleaved with others; exclusive: nobody else.")] = "shared",
    class_: Annotated[Class, typer.Option("--class", help="What it is for.")] = "development",
    project: Annotated[str, typer.Option(help="Who pays.")] = "",
    job: Annotated[str, typer.Option(help="The workload manager's job.")] = "",
    ttl: Annotated[float, typer.Option(help="Seconds until it ends unless renewed.")] = 3600.0,
    as_json: Json = False,
) -> None:
    """Open a session and print its id. `qdeck run` does this, renews it, and closes it, all by itself.

    \b
        qdeck session open --device fresnel-emulator --ttl 600
    """
    with connect() as client:
        told = client.session(device, mode, class_=class_, project=project, job=job, ttl_s=ttl, renew=False).info
    if as_json:
        print_json(told)
    else:
        print(told.id)


@app.command()
def close(id: Id, as_json: Json = False) -> None:
    """End a session; its waiting tasks are cancelled.

    \b
        qdeck session close s0123456789abcdef
    """
    with connect() as client:
        told = client.open_session(id).close()
    if as_json:
        print_json(told)
    else:
        print(f"{told.id} {told.state}")


@app.command()
def renew(id: Id, as_json: Json = False) -> None:
    """Start a session's lease anew.

    \b
        qdeck session renew s0123456789abcdef
    """
    with connect() as client:
        told = client.open_session(id).renew()
    if as_json:
        print_json(told)
    else:
        print(f"{told.id} until {clock(told.expires_s)}")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """The open sessions.

    \b
        qdeck session list
    """
    with connect() as client:
        found = client.sessions()
    if as_json:
        print_json({"items": found})
        return
    rows = [(s.id, s.device, s.mode, s.class_, s.user, clock(s.expires_s), s.job) for s in found]
    print_columns(("SESSION", "DEVICE", "MODE", "CLASS", "USER", "EXPIRES", "JOB"), rows)


def add(parent: typer.Typer) -> None:
    parent.add_typer(app, name="session")
