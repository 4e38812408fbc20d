"""`qdeck jobs`."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck.cli.common import Json, clock, connect, print_columns, print_json


def jobs(
    id: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="A job, such as slurm:cluster:1234; also one that is over.")
    ] = None,
    manager: Annotated[str | None, typer.Option(help="Of this workload manager: slurm, gridengine.")] = None,
    as_json: Json = False,
) -> None:
    """Workload managers' jobs with QPUs, or what one job used.

    \b
        qdeck jobs
        qdeck jobs slurm:cluster:1234
        qdeck jobs slurm:cluster:1234 --json
    """
    with connect() as client:
        if id is None:
            found = client.jobs(manager)
            if as_json:
                print_json({"items": found})
                return
            rows = [
                (j.id, j.user, ",".join(d.name for d in j.devices), j.mode, j.class_, j.project, clock(j.acquired_s),
                 clock(j.expires_s))
                for j in found
            ]  # fmt: skip
            print_columns(("JOB", "USER", "QPUS", "MODE", "CLASS", "PROJECT", "SINCE", "UNTIL AT MOST"), rows)
            return
        told = client.job(id)
    if as_json:
        print_json(told)
        return
    used = told.usage
    print(f"{told.id}  {told.state}  {told.user}  {','.join(d.name for d in told.devices)}  {told.class_}")
    print(f"from   {clock(told.acquired_s)}" + (f" to {clock(told.released_s)}" if told.state == "released" else ""))
    if used is not None:
        print(f"used   {used.qpu_s:.3f} QPU seconds, {used.shots} shots in {used.tasks} tasks")
        print(f"waited {used.waited_s:.3f} s, all its tasks together")


def add(app: typer.Typer) -> None:
    app.command()(jobs)
