"""`qdeck serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from quarterdeck import places


def serve(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", exists=True, dir_okay=False, help="Configuration; `qdeck init` writes one."),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(help="How much to tell on standard error.")
    ] = "info",
) -> None:
    """Run the daemon until Ctrl-C or SIGTERM.

    Without a configuration file it serves the embedded emulated neutral-atom QPU, on a Unix socket and on loopback.

    \b
        qdeck serve
        qdeck serve --config /etc/quarterdeck/qdeck.toml --log-level warning
    """
    from quarterdeck.daemon.serve import main

    usual = places.config_file()
    raise typer.Exit(main(config or (usual if usual.exists() else None), log_level=log_level))


def add(app: typer.Typer) -> None:
    app.command()(serve)
