"""`qdeck demo`: its own command line, loaded when used."""

from __future__ import annotations

import typer


def demo(context: typer.Context) -> None:
    """Watch a hybrid job solve a problem on a QPU.

    The QPU is emulated unless you name a daemon with a real one. `qdeck demo --help` lists the options.

    \b
        qdeck demo
        qdeck demo --rounds 10 --out picture.png
    """
    from quarterdeck.demo import main

    raise typer.Exit(main(context.args))


def add(app: typer.Typer) -> None:
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(context_settings=settings, add_help_option=False)(demo)
