"""`qdeck`: thin commands that parse, ask the client, and print. One module per noun; what is heavy loads when used."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from quarterdeck.cli import (
    bench,
    demo,
    devices,
    events,
    gridengine,
    import_warden,
    init,
    jobs,
    policy,
    project,
    realtime,
    replay,
    run,
    serve,
    session,
    simulate,
    slurm,
    submit,
    tasks,
    usage,
    version,
    window,
)
from quarterdeck.errors import BadProgram, DeviceUnavailable, NotFound, NotReady, OverBudget, QuarterdeckError

app = typer.Typer(
    name="qdeck",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    url: Annotated[
        str,
        typer.Option(help="The daemon: unix:///PATH or http://HOST:PORT. Otherwise QDECK_URL, or the usual socket."),
    ] = "",
) -> None:
    """Quantum processors as resources of an HPC centre.

    \b
        qdeck serve      start the daemon, with the embedded emulated QPU
        qdeck devices    what there is to run on
        qdeck submit program.json -d fresnel-emulator --shots 500 --wait
        qdeck run -d fresnel-emulator -- python job.py

    Every command that answers takes --json and then prints one JSON document. Exit codes: 0 all is well; 1 the task
    failed or the daemon refused, with the reason in one sentence; 2 the command line is wrong.
    """
    if url:
        os.environ["QDECK_URL"] = url


for module in (
    serve, init, demo, devices, submit, tasks, session, jobs, window, policy, run, project, usage, events, replay,
    simulate, realtime, slurm, gridengine, import_warden, bench, version,
):  # fmt: skip
    module.add(app)


def main() -> None:
    """The console script. Failures are told in a sentence; QDECK_DEBUG=1 shows where they came from."""
    try:
        app()
    except QuarterdeckError as error:
        _debug(error)
        _end(f"qdeck: {error}{_next(error)}", 1)
    except Exception as error:
        _debug(error)
        _end(f"qdeck: {type(error).__name__}: {error}; this is a defect, QDECK_DEBUG=1 shows where", 1)


LISTS = {
    "task": "qdeck tasks", "device": "qdeck devices", "session": "qdeck session list", "window": "qdeck window list",
    "calendar": "qdeck window list", "project": "qdeck project list",
}  # fmt: skip


def _next(error: QuarterdeckError) -> str:
    """What to do next, where the message does not say it itself."""
    match error:
        case NotFound(noun=noun) if (name := noun.removeprefix("open ")) in LISTS:
            return f"; `{LISTS[name]}` shows those that there are"
        case BadProgram():
            return "; `qdeck devices DEVICE` tells the device's limits"
        case DeviceUnavailable():
            return "; `qdeck devices` tells how it is doing, and what is queued waits"
        case OverBudget(project=project):
            return f"; `qdeck project show {project}` shows the budget"
        case NotReady(task=task):
            return f"; `qdeck why {task}` tells what it waits for"
        case _:
            return ""


def _debug(error: Exception) -> None:
    if os.environ.get("QDECK_DEBUG"):
        raise error


def _end(message: str, status: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(status)
