"""`qdeck tasks`, `task`, `result`, `cancel`, `why`, `log`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from quarterdeck.cli import progress
from quarterdeck.cli.common import (
    Json,
    TaskId,
    Timeout,
    clock,
    connect,
    device_names,
    note,
    print_columns,
    print_fields,
    print_json,
    task_ids,
)

if TYPE_CHECKING:
    from quarterdeck.client import TaskHandle

State = Literal["queued", "running", "cancelling", "done", "failed", "cancelled"]


def tasks(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    device: Annotated[
        str | None, typer.Option("--device", "-d", autocompletion=device_names, help="Only those for this device.")
    ] = None,
    session: Annotated[str | None, typer.Option(help="Only those of this session.")] = None,
    user: Annotated[str | None, typer.Option(help="Only this user's (administrators).")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most this many; 0 for all.")] = 20,
    as_json: Json = False,
) -> None:
    """Your tasks, newest first.

    \b
        qdeck tasks --state queued
        qdeck tasks --device fresnel-emulator --limit 0 --json
    """
    with connect() as client:
        found = [
            task.info
            for task in client.tasks(limit=limit or None, state=state, device=device, session=session, user=user)
        ]
    if as_json:
        print_json({"items": found})
        return
    rows = [(t.id, t.state, t.device, f"{t.shots_done}/{t.shots}", clock(t.submitted_s), t.user, t.name) for t in found]
    print_columns(("TASK", "STATE", "DEVICE", "SHOTS", "SUBMITTED", "USER", "NAME"), rows)


def task(
    id: TaskId,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait until it has ended; exit code 1 if it failed.")
    ] = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """All about one task.

    \b
        qdeck task t0123456789abcdef
        qdeck task t0123456789abcdef --wait --json
    """
    with connect() as client:
        handle = client.task(id)
        if wait:
            progress.wait(handle, timeout)
        told = handle.info
    if as_json:
        print_json(told)
    else:
        error = f"{told.error.message} ({told.error.code})" if told.error else ""
        print_fields(
            (
                ("task", told.id), ("state", told.state), ("error", error), ("name", told.name),
                ("device", told.device), ("shots", f"{told.shots_done} of {told.shots}"), ("slices", told.slices),
                ("device time", f"{told.qpu_s:.3f} s"), ("parameters", told.parameters or ""),
                ("session", told.session), ("class", told.class_), ("user", told.user), ("project", told.project),
                ("program", told.program), ("submitted", clock(told.submitted_s)), ("started", clock(told.started_s)),
                ("ended", clock(told.ended_s)),
            )
        )  # fmt: skip
    if wait and told.state == "failed":
        raise typer.Exit(1)


def result(
    id: TaskId,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it has ended.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Also before the end: what has been measured.")] = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """A task's counts. Exit code 1 if it failed, or has not ended (without --wait or --partial).

    \b
        qdeck result t0123456789abcdef
        qdeck result t0123456789abcdef --wait --json
    """
    with connect() as client:
        handle = client.task(id)
        if wait or partial or handle.ended:
            show_result(handle, timeout, as_json, now=partial and not wait)
        else:
            note(f"task {id} is {handle.info.state}; --wait waits for it, --partial shows what there is")
            raise typer.Exit(1)


def show_result(handle: TaskHandle, timeout_s: float | None, as_json: bool, now: bool = False) -> None:
    """Print a task's result once it is there. Exits with 1 if the task failed; what it measured is printed first."""
    told = handle.info if now else progress.wait(handle, timeout_s)
    result = handle.result(partial=True)
    if as_json:
        print_json(result)
    else:
        most = sorted(result.counts.items(), key=lambda item: (-item[1], item[0]))
        print_columns(("BITS", "COUNT"), most)
        if result.partial:
            note(f"{result.shots_done} of {result.shots} shots: the task is {result.state}")
    if told.state == "failed":
        why = f"{told.error.message} ({told.error.code})" if told.error else "no reason was given"
        note(f"task {handle.id} failed: {why}; `qdeck log {handle.id}` tells how")
        raise typer.Exit(1)


def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="TASK", help="Tasks to call off.", autocompletion=task_ids)],
    as_json: Json = False,
) -> None:
    """Call tasks off. What they measured is kept; those that have ended stay as they are.

    \b
        qdeck cancel t0123456789abcdef
    """
    with connect() as client:
        told = [client.task(id).cancel() for id in ids]
    if as_json:
        print_json({"items": told})
        return
    for task in told:
        print(f"{task.id} {task.state}")


def why(id: TaskId, as_json: Json = False) -> None:
    """Why a task is not running.

    The reason, its place in the queue, and when it should start.

    \b
        qdeck why t0123456789abcdef
    """
    with connect() as client:
        told = client.task(id).why()
    if as_json:
        print_json(told)
        return
    print(told.detail)
    for decision in told.decisions:
        print(decision)
    if told.position >= 0:
        print(f"{told.position} tasks ahead of it" if told.position else "next in the queue")
    if told.estimate_s is not None and told.state == "queued":
        how = "the scheduler run forward" if told.basis == "forecast" else "the work ahead of it"
        print(f"should start in about {told.estimate_s:.0f} s (from {how})")
    if told.score:
        print()
        names = list({**told.score, **told.first})
        rows = [("this task", *(f"{told.score.get(n, 0.0):.2f}" for n in names), f"{sum(told.score.values()):.2f}")]
        if told.first:
            rows.append(
                ("first now", *(f"{told.first.get(n, 0.0):.2f}" for n in names), f"{sum(told.first.values()):.2f}")
            )
        print_columns((f"SCORE ({told.policy})", *(n.upper() for n in names), "SUM"), rows)


def log(id: TaskId, as_json: Json = False) -> None:
    """What happened to a task, oldest first.

    \b
        qdeck log t0123456789abcdef
    """
    with connect() as client:
        told = client.task(id).log()
    if as_json:
        print_json(told)
        return
    for line in told.lines:
        print(f"{clock(line.at_s)}  {line.text}")


def add(app: typer.Typer) -> None:
    for command in (tasks, task, result, cancel, why, log):
        app.command()(command)
