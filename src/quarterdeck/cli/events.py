"""`qdeck events`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from quarterdeck.cli.common import Json, clock, connect


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")] = False,
    after: Annotated[int, typer.Option(min=0, help="Start behind this entry.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most this many entries.")] = None,
    as_json: Json = False,
) -> None:
    """The event log, oldest first.

    With --json one JSON object per line, as `qdeck replay` reads it.

    \b
        qdeck events --follow
        qdeck events --json > log.ndjson
    """
    import msgspec

    with connect() as client:
        try:
            for entry in client.events(after, follow, limit):
                if as_json:
                    print(msgspec.json.encode(entry).decode(), flush=follow)
                else:
                    what = dict(entry.event)
                    name, at_s = what.pop("event", "?"), what.pop("at_s", 0.0)
                    told = " ".join(f"{key}={value}" for key, value in what.items())
                    print(f"{entry.seq:>7}  {clock(at_s)}  {name:<14} {told}".rstrip(), flush=follow)
        except KeyboardInterrupt:
            if not follow:
                raise
    sys.stdout.flush()


def add(app: typer.Typer) -> None:
    app.command()(events)
