"""`qdeck version`."""

from __future__ import annotations

import typer

from quarterdeck import __version__
from quarterdeck.cli.common import Json, print_json


def version(as_json: Json = False) -> None:
    """The version of this program."""
    if as_json:
        print_json({"version": __version__})
    else:
        print(f"quarterdeck {__version__}")


def add(app: typer.Typer) -> None:
    app.command()(version)
