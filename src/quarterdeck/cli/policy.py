"""`qdeck policy`."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck.cli.common import Json, connect, note, print_columns, print_json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What decides who runs next.")


@app.command()
def show(
    all_knobs: Annotated[bool, typer.Option("--all", help="Also the knobs that this policy does not use.")] = False,
    as_json: Json = False,
) -> None:
    """The policy in effect, its knobs, and each device's state.

    Knobs are set in the daemon's configuration, in the table [policy]; those that differ from their default are marked.
    Try others on a recorded or a made-up workload first: `qdeck simulate`.

    \b
        qdeck policy show
        qdeck policy show --all --json
    """
    with connect() as client:
        told = client.policy()
    if as_json:
        print_json(told)
        return
    if told.failed:
        note(f"policy {told.configured} failed, tasks are served first come, first served: {told.failed}")
    rows = [
        ("*" if knob.value != knob.default else "", knob.name, str(knob.value), knob.about)
        for knob in told.knobs
        if knob.used or all_knobs
    ]
    print_columns(("", "KNOB", "VALUE", "WHAT IT DOES"), rows)
    print()
    head = ("DEVICE", "PRODUCTION", "TEST", "DEVELOPMENT", "SLICE", "OVERHEAD", "TYPICAL TASK", "SET-UP")
    devices = [
        (
            one.device, *one.waiting.values(), f"{one.slice_s:.1f} s", f"{1000 * one.overhead_s:.0f} ms",
            f"{one.typical_s:.1f} s", f"{one.setup_s:.1f} s",
        )
        for one in told.devices
    ]  # fmt: skip
    print_columns(head, devices)
    for one in told.devices:
        due = [f"{name} {seconds:.1f} s" for name, seconds in one.owed.items() if seconds > 0.0]
        if due:
            print(f"{one.device} owes its guaranteed share to: {', '.join(due)}")


def add(parent: typer.Typer) -> None:
    parent.add_typer(app, name="policy")
