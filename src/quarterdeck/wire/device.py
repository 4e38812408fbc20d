"""Devices, and how they are doing."""

from __future__ import annotations

from typing import Literal

from quarterdeck.wire.base import Answer, DeviceStatus, Label, Request, WindowKind


class NextWindow(Answer, frozen=True):
    """The time block that comes next on a device."""

    kind: WindowKind
    start_s: float
    end_s: float
    reason: str = ""


class RealtimeHost(Answer, frozen=True):
    """What decodes the device's syndromes against a deadline: for how many logical qubits, and how many are `free`."""

    host: str
    decoders: int
    free: int


class Device(Answer, frozen=True):
    """A device and how it is doing. `spec` is the device in its framework's own words.

    `draining`: it was taken out of service, or its maintenance began, and slices still run. `next_window` is planned;
    nothing starts that cannot end before it.
    """

    name: str
    modality: str
    qubits: int
    formats: list[str]
    emulated: bool
    max_shots: int
    lanes: int
    shot_rate_hz: float
    setup_s: float
    slice_shots: int
    status: DeviceStatus
    reason: str
    queued: int
    running: int
    spec: str = ""
    next_window: NextWindow | None = None
    realtime: RealtimeHost | None = None


class DeviceSet(Request, frozen=True):
    """POST /v1/devices/NAME/status: `maintenance` takes it out of service, `online` gives it back."""

    status: Literal["online", "maintenance"]
    reason: Label = ""


class DevicePage(Answer, frozen=True):
    """GET /v1/devices."""

    items: list[Device]
