"""What the commands share: options, the client, and printing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from quarterdeck.errors import QuarterdeckError

if TYPE_CHECKING:
    from quarterdeck import wire
    from quarterdeck.client import Client

Class = Literal["production", "test", "development"]
Mode = Literal["shared", "exclusive", "batch"]


def connect() -> Client:
    """The client of the daemon that the options and the environment name."""
    import quarterdeck.client

    return quarterdeck.client.connect()


def where(
    device: str, modality: str, quality: float = 0.0, session: str = ""
) -> tuple[str | None, list[str], wire.Needs | None]:
    """One name, several, or what a device must have: whichever was given; nothing if it is the session's to say.

    Raises `BadParameter`.
    """
    from quarterdeck import wire

    names = [part for part in device.split(",") if part]
    if bool(names) == bool(modality) and not (session and not names):
        raise typer.BadParameter("give one of --device and --modality; `qdeck devices` shows what there is")
    if modality:
        return None, [], wire.Needs(modality=modality, quality=quality)
    return (None, names, None) if len(names) != 1 else (names[0], [], None)


def device_names(incomplete: str) -> list[str]:
    """Completion: the daemon's devices."""
    try:
        with connect() as client:
            return [device.name for device in client.devices() if device.name.startswith(incomplete)]
    except QuarterdeckError:
        return []


def task_ids(incomplete: str) -> list[tuple[str, str]]:
    """Completion: the latest tasks, with what is known of them."""
    try:
        with connect() as client:
            known = [task.info for task in client.tasks(limit=50)]
    except QuarterdeckError:
        return []
    return [(t.id, f"{t.state} {t.name or t.device}") for t in known if t.id.startswith(incomplete)]


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else, on standard output.")]
Device = Annotated[
    str,
    typer.Option("--device", "-d", envvar="QDECK_DEVICE", autocompletion=device_names, help="The device's name."),
]
Devices = Annotated[
    str,
    typer.Option(
        "--device",
        "-d",
        envvar="QDECK_DEVICE",
        autocompletion=device_names,
        help="The device's name, or several with commas between: the best one that is free is taken.",
    ),
]
TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The task's id.", autocompletion=task_ids)]
Timeout = Annotated[float | None, typer.Option(help="Give up waiting after this many seconds.", min=0)]


def print_json(value: Any) -> None:
    """One JSON document; indented for people."""
    import msgspec

    document = msgspec.json.encode(value)
    if sys.stdout.isatty():
        document = msgspec.json.format(document, indent=2)
    print(document.decode())


def print_columns(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table in plain text, for eyes and for grep; numbers to the right."""
    rows = list(rows)
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(head))]
    for line in cells:
        padded = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        )  # fmt: skip
        print("  ".join(padded).rstrip())


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Names and values below each other, without those that are empty."""
    told = [(name, str(value)) for name, value in fields if value not in ("", None)]
    width = max((len(name) for name, _ in told), default=0)
    for name, value in told:
        print(f"{name.ljust(width)}  {value}")


def note(message: str) -> None:
    """A remark for people, on standard error."""
    print(f"qdeck: {message}", file=sys.stderr)


def clock(at_s: float) -> str:
    """A time of the wire for people, in local time; empty for "not yet"."""
    return datetime.fromtimestamp(at_s).strftime("%Y-%m-%d %H:%M:%S") if at_s else ""
