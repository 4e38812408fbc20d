"""`qdeck session`."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Annotated

import typer

from quarterdeck.cli.common import Class, Devices, Json, Mode, clock, connect, print_columns, print_json, where
from quarterdeck.errors import NotFound

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Leases on devices: open, renew, close, list.")
Id = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")]


@app.command("open")
def open_(
    device: Devices = "",
    mode: Annotated[
        Mode, typer.Option(help="shared: among others; exclusive: nobody else; batch: needs no renewing.")
    ] = "shared",
    class_: Annotated[Class, typer.Option("--class", help="What it is for.")] = "development",
    project: Annotated[str, typer.Option(help="Who pays.")] = "",
    job: Annotated[str, typer.Option(help="The workload manager's job.")] = "",
    ttl: Annotated[float, typer.Option(help="Seconds until it ends unless renewed.")] = 3600.0,
    idle: Annotated[
        float | None, typer.Option(help="Seconds without work after which it ends; 0: never. Default: the daemon's.")
    ] = None,
    lend: Annotated[
        bool, typer.Option("--lend", help="Exclusive: let others run short slices while it has nothing to do.")
    ] = False,
    modality: Annotated[str, typer.Option(help="All devices of this modality, in place of names.")] = "",
    decoders: Annotated[int, typer.Option(help="Logical qubits of the device's real-time host to reserve.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Open a session and print its id. `qdeck run` does this, renews it, and closes it, all by itself.

    \b
        qdeck session open --device fresnel-emulator --ttl 600
        qdeck session open -d fresnel-emulator --mode exclusive --idle 120 --lend
        qdeck session open -d fresnel-emulator --mode batch
        qdeck session open -d sc1,sc2,sc3
        qdeck session open -d sc1 --decoders 4
    """
    one, several, needs = where(device, modality)
    with connect() as client:
        told = client.session(
            one, mode, class_=class_, project=project, job=job, ttl_s=ttl, idle_s=idle, lend=lend, renew=False,
            devices=several, needs=needs, decoders=decoders,
        ).info  # fmt: skip
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
def renew(
    id: Id,
    every: Annotated[
        float | None, typer.Option(help="Go on renewing, each time after so many seconds, until it is closed.", min=0.1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Start a session's lease anew; with --every, again and again.

    It ends earlier than its length says where somebody else's reservation of the device starts.

    \b
        qdeck session renew s0123456789abcdef
        qdeck session renew s0123456789abcdef --every 60 &
    """
    with connect() as client:
        session = client.open_session(id)
        told = session.renew()
        with suppress(NotFound):  # closed: there is nothing left to do
            while every is not None:
                time.sleep(every)
                told = session.renew()
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
    rows = [
        (s.id, ",".join(s.devices) or s.device, s.mode, s.class_, s.user, clock(s.expires_s),
         f"{s.idle_s:g} s" if s.idle_s else "", f"{s.lend_s:g} s" if s.lend_s else "", s.job)
        for s in found
    ]  # fmt: skip
    print_columns(("SESSION", "DEVICE", "MODE", "CLASS", "USER", "EXPIRES", "IDLE", "LENDS", "JOB"), rows)


def add(parent: typer.Typer) -> None:
    parent.add_typer(app, name="session")
