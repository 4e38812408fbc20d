"""`qdeck devices`."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck.cli.common import Json, connect, device_names, print_columns, print_fields, print_json


def devices(
    name: Annotated[
        str, typer.Argument(metavar="[DEVICE]", help="Tell all about this one.", autocompletion=device_names)
    ] = "",
    maintenance: Annotated[
        str | None, typer.Option(metavar="REASON", help="Take it out of service (administrators); tasks wait.")
    ] = None,
    online: Annotated[bool, typer.Option("--online", help="Give it back (administrators).")] = False,
    as_json: Json = False,
) -> None:
    """The devices, and how they are doing.

    With a name, all about that one.

    \b
        qdeck devices
        qdeck devices fresnel-emulator --json
        qdeck devices fresnel-emulator --maintenance "new laser"
        qdeck devices fresnel-emulator --online
    """
    if (maintenance is not None or online) and not name:
        raise typer.BadParameter("which device? `qdeck devices` lists them", param_hint="DEVICE")
    with connect() as client:
        if not name:
            found = client.devices()
            if as_json:
                print_json({"items": found})
                return
            rows = [(d.name, d.status, d.modality, d.qubits, d.queued, d.running, _kind(d.emulated), d.reason)
                    for d in found]  # fmt: skip
            print_columns(("DEVICE", "STATUS", "MODALITY", "QUBITS", "QUEUED", "RUNNING", "KIND", "REASON"), rows)
            return
        if maintenance is not None:
            client.set_device(name, "maintenance", maintenance)
        elif online:
            client.set_device(name, "online")
        device = client.device(name)
    if as_json:
        print_json(device)
        return
    print_fields(
        (
            ("device", device.name), ("status", device.status), ("reason", device.reason),
            ("kind", _kind(device.emulated)), ("modality", device.modality), ("qubits", device.qubits),
            ("formats", ", ".join(device.formats)), ("shots at most", device.max_shots),
            ("shots per slice", device.slice_shots),
            ("shots per second", f"{device.shot_rate_hz:g}" if device.shot_rate_hz else ""),
            ("set-up", f"{device.setup_s:g} s"), ("lanes", device.lanes), ("queued", device.queued),
            ("running", device.running),
            ("specification", f"{len(device.spec)} characters, shown with --json" if device.spec else ""),
        )
    )  # fmt: skip


def _kind(emulated: bool) -> str:
    return "emulated" if emulated else "hardware"


def add(app: typer.Typer) -> None:
    app.command()(devices)
