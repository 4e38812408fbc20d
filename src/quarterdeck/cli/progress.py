"""Live progress of a task, on standard error if that is a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from quarterdeck.cli.common import note

if TYPE_CHECKING:
    from quarterdeck import wire
    from quarterdeck.client import TaskHandle


def wait(task: TaskHandle, timeout_s: float | None) -> wire.Task:
    """Wait until it has ended. Ctrl-C ends the waiting, not the task."""
    try:
        return _bar(task, timeout_s) if sys.stderr.isatty() and not task.ended else task.wait(timeout_s)
    except KeyboardInterrupt:
        note(f"task {task.id} goes on; `qdeck result {task.id} --wait` waits again, `qdeck cancel {task.id}` stops it")
        raise


def _bar(task: TaskHandle, timeout_s: float | None) -> wire.Task:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn("shots"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        line = progress.add_task("", total=task.info.shots)

        def show(info: wire.Task) -> None:
            what = f"{info.id} {info.state}"
            if info.state == "queued":
                what = f"{what}: {task.why().detail}"
            elif info.slices:
                what = f"{what}, slice {info.slices}"
            progress.update(line, description=what, completed=info.shots_done)

        return task.wait(timeout_s, progress=show)
