"""`qdeck submit`."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from quarterdeck.cli.common import Class, Devices, Json, Timeout, connect, note, print_json, where
from quarterdeck.cli.tasks import show_result


def parameter(text: str) -> tuple[str, float | list[float]]:
    """`NAME=VALUE` as a name and a number or a list of numbers. Raises `BadParameter`."""
    name, equals, value = text.partition("=")
    try:
        told: Any = json.loads(f"[{value}]" if "," in value and not value.startswith("[") else value)
    except ValueError:
        told = None
    numbers = told if isinstance(told, list) else [told]
    if not equals or not name or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise typer.BadParameter(f"{text!r} is not NAME=NUMBER or NAME=NUMBER,NUMBER,...", param_hint="--param")
    return name, told


def read(file: str) -> str:
    """A program's text: from a file, standard input (`-`), or the id of one that the daemon keeps, as it is."""
    if re.fullmatch(r"[0-9a-f]{64}", file) and not Path(file).exists():
        return file
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from None
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file} is not text: byte {error.start}", param_hint="FILE") from None


def submit(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The program; - for standard input; or the id of an uploaded one.")
    ],
    shots: Annotated[int, typer.Option("--shots", "-n", help="How often to run it and measure.")],
    device: Devices = "",
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A variable's value; repeat for more."),
    ] = None,
    format: Annotated[str, typer.Option(help="The program's format.")] = "pulser",
    name: Annotated[str, typer.Option(help="A label for people.")] = "",
    session: Annotated[str | None, typer.Option(help="Session to run in; by default the job's, if any.")] = None,
    class_: Annotated[Class, typer.Option("--class", help="What the task is for.")] = "development",
    key: Annotated[str | None, typer.Option(help="Idempotency-Key: the same key again is the same task.")] = None,
    project: Annotated[
        str | None, typer.Option(help="Who pays, if no session says so; QDECK_PROJECT sets a default.")
    ] = None,
    modality: Annotated[str, typer.Option(help="Any device of this modality, in place of a name.")] = "",
    quality: Annotated[float, typer.Option(help="With --modality: least calibration quality.", min=0, max=1)] = 0.0,
    deadline: Annotated[
        float | None, typer.Option(help="Give it up if it is not done within this many seconds.", min=0)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the result and print it.")] = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Submit a program. Prints the task's id, or with --wait its result.

    \b
        qdeck submit program.json --device fresnel-emulator --shots 500 --wait
        qdeck submit program.json -d fresnel-emulator -n 100 -p omega=6.3 -p delta=-4,0,4
        qdeck submit - -d fresnel-emulator -n 100 --json < program.json
        qdeck submit program.json --modality neutral-atom -n 100 --deadline 3600
    """
    one, several, needs = where(device, modality, quality, session or "")
    parameters = dict(parameter(text) for text in param or [])
    text = read(file)
    with connect() as client:
        task = client.submit(
            text, device=one, devices=several, needs=needs,
            deadline_s=time.time() + deadline if deadline is not None else 0.0, shots=shots, parameters=parameters,
            format=format, session=session, name=name, class_=class_, key=key, project=project,
        )  # fmt: skip
        if wait:
            show_result(task, timeout, as_json)
        elif as_json:
            print_json(task.info)
        else:
            print(task.id)
            if sys.stderr.isatty():
                note(f"`qdeck result {task.id} --wait` prints its result")


def add(app: typer.Typer) -> None:
    app.command()(submit)
