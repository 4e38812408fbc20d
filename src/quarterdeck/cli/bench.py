"""`qdeck bench`: its own command line, loaded when used."""

from __future__ import annotations

import typer

from quarterdeck.cli.common import note


def bench(context: typer.Context) -> None:
    """Measure this installation, and others beside it.

    `qdeck bench --help` lists what can be measured.

    \b
        qdeck bench control-plane --quick
    """
    try:
        from quarterdeck.bench.cli import app
    except ImportError as error:
        note(f"the benchmarks need more than is installed: {error}")
        raise typer.Exit(1) from None
    app(context.args or ["--help"], prog_name="qdeck bench")


def add(app: typer.Typer) -> None:
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(context_settings=settings, add_help_option=False)(bench)
