"""What the core wants done. A command is carried out only after the events that led to it are durable."""

from __future__ import annotations

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all commands."""

    device: str


class StartSlice(Command, frozen=True):
    """Run this batch of shots. Carrying it out twice with one `key` must run it once."""

    key: str
    task: str
    index: int
    program: str
    parameters: str
    shots: int


class CancelSlice(Command, frozen=True):
    """Stop this slice; report what it measured."""

    key: str


class BeginWindow(Command, frozen=True):
    """The device is yours: calibrate it, or stay away from it, until the window is cleared or `end_s`."""

    window: str
    kind: str
    end_s: float


class EndWindow(Command, frozen=True):
    """Give the device back."""

    window: str
