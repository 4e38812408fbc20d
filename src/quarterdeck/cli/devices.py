"""`qdeck devices`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck.cli.common import Json, clock, connect, device_names, print_columns, print_fields, print_json

if TYPE_CHECKING:
    from quarterdeck import wire


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
            rows = [(d.name, d.status, d.modality, d.qubits, d.queued, d.running, _kind(d.emulated), _next_window(d),
                     d.reason) for d in found]  # fmt: skip
            head = ("DEVICE", "STATUS", "MODALITY", "QUBITS", "QUEUED", "RUNNING", "KIND", "NEXT WINDOW", "REASON")
            print_columns(head, rows)
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
            ("running", device.running), ("next window", _next_window(device)), ("real-time host", _realtime(device)),
            ("specification", f"{len(device.spec)} characters, shown with --json" if device.spec else ""),
        )
    )  # fmt: skip


def _next_window(device: wire.Device) -> str:
    """The time block that comes next, and from when to when."""
    window = device.next_window
    if window is None:
        return ""
    told = f"{window.kind} {clock(window.start_s)[:16]} to {clock(window.end_s)[:16]}"
    return f"{told} ({window.reason})" if window.reason else told


def _realtime(device: wire.Device) -> str:
    host = device.realtime
    return f"{host.host}: {host.free} of {host.decoders} decoders free" if host is not None else ""


def _kind(emulated: bool) -> str:
    return "emulated" if emulated else "hardware"


def add(app: typer.Typer) -> None:
    app.command()(devices)
