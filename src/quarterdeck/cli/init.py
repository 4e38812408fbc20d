"""`qdeck init`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from quarterdeck import places
from quarterdeck.cli.common import Json, note, print_json


def init(
    path: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write it; by default where `qdeck serve` looks.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write an annotated configuration file.

    It holds every setting with its meaning and its default.

    \b
        qdeck init
        qdeck init ./qdeck.toml
    """
    from quarterdeck.daemon.config import template

    file = path or places.config_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(template())
    except FileExistsError:
        note(f"{file} exists already; --force overwrites it")
        raise typer.Exit(1) from None
    except OSError as error:
        note(f"{file} cannot be written: {error.strerror}; name another place: `qdeck init FILE`")
        raise typer.Exit(1) from None
    if as_json:
        print_json({"path": str(file)})
        return
    start = "qdeck serve" if file == places.config_file() else f"qdeck serve --config {shlex.quote(str(file))}"
    print(f"Wrote {file}.\nNext: look through it, then start the daemon with `{start}`.")


def add(app: typer.Typer) -> None:
    app.command()(init)
