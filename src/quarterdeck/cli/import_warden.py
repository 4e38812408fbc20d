"""`qdeck import-warden`: the history of a Warden becomes history here."""

from __future__ import annotations

import ast
import json
import pwd
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from quarterdeck.cli.common import Json, connect, device_names, note, print_json
from quarterdeck.errors import Invalid

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from quarterdeck import wire
    from quarterdeck.client import Client

TASKS, BYTES = 200, 2_000_000
"""Most tasks, and about most bytes of programs, of one request."""
LARGEST = 4_000_000
"""Longest program, in characters, that is brought over; of larger ones only the result."""
STATES: dict[str, Literal["done", "failed", "cancelled"]] = {
    "DONE": "done", "ERROR": "failed", "CANCELED": "cancelled",
}  # fmt: skip
QUERY = (
    "SELECT j.id, j.created_at, j.started_at, j.ended_at, j.status, j.shots, j.sequence, j.results, "
    "s.user_id, s.slurm_job_id FROM jobs j JOIN sessions s ON s.id = j.session_id ORDER BY j.id"
)


def import_warden(
    database: Annotated[
        str, typer.Argument(metavar="DB", help="Warden's SQLite file, or its database as postgresql://USER@HOST/NAME.")
    ],
    device: Annotated[
        str,
        typer.Option(
            "--device",
            "-d",
            autocompletion=device_names,
            help="The device that Warden stood for; needed if there are several.",
        ),
    ] = "",
    unfinished: Annotated[
        Literal["refuse", "skip", "fail"],
        typer.Option(
            help="Jobs that have not ended: refuse to import anything, skip them, or bring them over as failed."
        ),
    ] = "refuse",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a Warden's jobs over, with results and numbers.

    Users and times come along. For administrators, on the Unix socket. Warden's database is only read. Into a daemon
    that has no tasks yet, jobs keep their numbers, so that users find them where they were. Importing twice imports
    nothing twice.

    Stop Warden's intake and let its queue run empty first: what has not ended there is not taken over as work.

    \b
        qdeck import-warden /opt/warden/warden.db --dry-run
        qdeck import-warden /opt/warden/warden.db --device fresnel
    """
    engine = _open(database)
    if "://" in database:
        database = engine.url.render_as_string(hide_password=True)
    try:
        counted = _count(engine, database)
        waiting = sum(number for status, number in counted.items() if status not in STATES)
        if not dry_run and waiting and unfinished == "refuse":
            words = ", ".join(
                f"{number} {status}" for status, number in sorted(counted.items()) if status not in STATES
            )
            note(
                f"{database} has jobs that have not ended ({words}): let Warden finish them, or say "
                "--unfinished skip or --unfinished fail"
            )
            raise typer.Exit(2)
        if dry_run:
            _tell({"jobs": sum(counted.values()), **counted}, as_json)
            return
        with connect() as client:
            target = client.device(device).name if device else _only(client)
            told = {"imported": 0, "known": 0, "skipped": waiting if unfinished == "skip" else 0}
            with _Bar(sum(counted.values()) - told["skipped"]) as bar:
                for tasks in _batches(_tasks(engine, target, unfinished == "fail")):
                    answer = client.import_tasks(tasks)
                    told["imported"] += answer.imported
                    told["known"] += answer.known
                    bar.advance(len(tasks))
        _tell(told, as_json)
    finally:
        engine.dispose()


def _only(client: Client) -> str:
    """The daemon's device, if it has one only. Raises `Invalid`."""
    names = [device.name for device in client.devices()]
    if len(names) != 1:
        raise Invalid("--device", f"say which device Warden stood for: {', '.join(names) or 'the daemon has none'}")
    return names[0]


def _tell(told: dict[str, int], as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        print(", ".join(f"{number} {word}" for word, number in told.items()))


def _open(database: str) -> Engine:
    """Read-only, so that going back stays possible. Raises `Invalid`."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError

    if "://" in database:
        if not database.startswith("postgresql://"):
            raise Invalid("DB", "give a file, or postgresql://USER@HOST/NAME")
        try:
            url = database.replace("postgresql://", "postgresql+psycopg://", 1)
            return create_engine(url, execution_options={"postgresql_readonly": True})
        except ModuleNotFoundError as error:
            raise Invalid("DB", f"{error}: pip install 'quarterdeck[postgres]'") from None
        except (ArgumentError, ValueError):
            raise Invalid("DB", "give a file, or postgresql://USER@HOST/NAME") from None
    path = Path(database)
    if not path.is_file():
        raise Invalid("DB", f"there is no file {database}")
    return create_engine(f"sqlite:///file:{path.resolve()}?mode=ro&uri=true")


def _count(engine: Engine, database: str) -> dict[str, int]:
    """Jobs by status. Raises `Invalid` for what is no Warden's database."""
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with engine.connect() as connection:
            connection.execute(text(QUERY + " LIMIT 1")).all()
            rows = connection.execute(text("SELECT status, count(*) FROM jobs GROUP BY status ORDER BY status"))
            return {str(status): int(number) for status, number in rows}
    except SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise Invalid("DB", f"{database} cannot be read as a Warden's: {why}") from None


def _tasks(engine: Engine, device: str, fail: bool) -> Iterator[wire.ImportedTask]:
    """Each job as a task, in order of its number."""
    from sqlalchemy import text

    with engine.connect() as connection:
        rows = connection.execution_options(yield_per=500).execute(text(QUERY))
        for row in rows:
            if row.status in STATES or fail:
                yield _task(row, device)


def _task(row: Any, device: str) -> wire.ImportedTask:
    from quarterdeck import wire

    state, error = STATES.get(row.status, "failed"), ""
    shots = min(max(1, int(row.shots)), 2**31 - 1)
    counts = _counts(row.results)
    found = sum(counts.values()) if counts else 0
    if row.status not in STATES:
        error = f"it was {row.status} in Warden when its history was taken over, and never ran to its end"
    elif state == "failed":
        error = "it ended as ERROR in Warden, which keeps no reason"
    elif state == "done" and found > shots:
        shots = found
    elif state == "done" and found < shots:
        state, error = "failed", f"Warden says DONE, but its result holds {found} of {row.shots} shots"
    sequence = row.sequence if isinstance(row.sequence, str) else ""
    return wire.ImportedTask(
        id=f"warden-{row.id}", number=row.id, user=_user(str(row.user_id)), device=device, shots=shots, state=state,
        submitted_s=_seconds(row.created_at), started_s=_seconds(row.started_at), ended_s=_seconds(row.ended_at),
        format="pulser", payload=sequence if len(sequence) <= LARGEST else "", counts=counts, error=error,
        job=str(row.slurm_job_id)[:200],
    )  # fmt: skip


def _counts(results: Any) -> dict[str, int] | None:
    """The counts in a result: JSON, or the Python that some QPU stand-ins leave. None for anything else."""
    if not isinstance(results, str):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            counter = read(results)["counter"]
            counts = {str(bits): int(number) for bits, number in counter.items() if int(number) > 0}
        except (ValueError, SyntaxError, KeyError, TypeError, AttributeError, RecursionError, MemoryError):
            continue
        if counts and all(set(bits) <= {"0", "1"} for bits in counts) and len({len(bits) for bits in counts}) == 1:
            return counts
    return None


def _seconds(at: Any) -> float:
    """A time of Warden's, UTC with or without saying so; 0 for none."""
    if at is None:
        return 0.0
    try:
        moment = at if isinstance(at, datetime) else datetime.fromisoformat(str(at))
    except ValueError:
        return 0.0
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


@lru_cache(maxsize=4096)
def _user(uid: str) -> str:
    """The user's name on this host; the uid where it has none."""
    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (KeyError, ValueError, OverflowError):
        return uid[:128] or "unknown"


def _batches(tasks: Iterator[wire.ImportedTask]) -> Iterator[list[wire.ImportedTask]]:
    batch: list[wire.ImportedTask] = []
    size = 0
    for task in tasks:
        if batch and (len(batch) == TASKS or size + len(task.payload) > BYTES):
            yield batch
            batch, size = [], 0
        batch.append(task)
        size += len(task.payload)
    if batch:
        yield batch


class _Bar:
    """Progress on standard error, if that is a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._progress: Any = None

    def __enter__(self) -> _Bar:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._progress = Progress(console=Console(stderr=True), transient=True)
            self._progress.start()
            self._line = self._progress.add_task("jobs", total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance(self, number: int) -> None:
        if self._progress is not None:
            self._progress.advance(self._line, number)


def add(app: typer.Typer) -> None:
    app.command("import-warden")(import_warden)
