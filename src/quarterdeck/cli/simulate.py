"""`qdeck simulate`: the daemon's own core under virtual time, to choose a policy before touching production."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from quarterdeck.cli.common import Json, note, print_columns, print_json
from quarterdeck.errors import Invalid

if TYPE_CHECKING:
    from quarterdeck.simulator.record import Record


def simulate(
    workload: Annotated[
        str,
        typer.Argument(help="A shipped workload (see --list), or a file: .swf, .swf.gz, a QStone .json, a log .jsonl."),
    ] = "",
    policies: Annotated[
        list[str] | None,
        typer.Option(
            "--policy", "-p", metavar="NAME[,KEY=VALUE...]",
            help="A policy, with settings of its own; repeat it to compare. [default: deck]",
        ),
    ] = None,
    devices: Annotated[
        str, typer.Option("--devices", "-d", help="A shipped site (see --list) or a TOML file. [default: the workload's]")
    ] = "",
    load: Annotated[
        float, typer.Option(min=0.01, max=5, help="Quantum seconds offered, over the time outside windows.")
    ] = 0.85,
    days: Annotated[float | None, typer.Option(min=0.01, help="How long work arrives. [default: the workload's]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the jobs; the same for all policies.")] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="policy.KEY=VALUE", help="A setting for all policies.")
    ] = None,
    tau_s: Annotated[
        float, typer.Option("--tau", min=0.001, help="Jobs shorter than this many seconds count as this long.")
    ] = 10.0,
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write pictures here: summary, Gantt, waits, utilisation, queue.")
    ] = None,
    picture: Annotated[Literal["png", "svg", "pdf"], typer.Option(help="Format of the pictures.")] = "png",
    qstone_rows: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each job's steps here as rows of QStone's schema.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show the shipped workloads and sites, and the policies.")] = False,
    as_json: Json = False,
) -> None:
    """Try policies on a workload, in virtual time.

    The very core that serves users decides; only time, users and devices are simulated. Each policy gets the same jobs.
    A month of a busy QPU takes seconds to minutes. docs/simulator.md tells what each figure means.

    \b
        qdeck simulate superconducting -p fifo -p deck --days 3
        qdeck simulate neutral-atom -p deck -p deck,weight_production=8,weight_test=3 --load 0.7 --plots pictures
        qdeck simulate trace.swf.gz --devices site.toml -p fifo -p deck --json
        qdeck simulate --list
    """
    from quarterdeck.simulator import table
    from quarterdeck.simulator.metrics import measure
    from quarterdeck.simulator.record import CLASSES

    if listing:
        _list(as_json)
        return
    if not workload:
        raise typer.BadParameter("name one, such as superconducting; --list shows them", param_hint="WORKLOAD")
    if plots:
        _need_matplotlib()
    given = _settings(settings or ())
    variants = [_variant(text, given) for text in policies or ["deck"]]
