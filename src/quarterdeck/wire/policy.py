"""What decides the order on the devices."""

from __future__ import annotations

from typing import Any

from quarterdeck.wire.base import Answer


class Knob(Answer, frozen=True):
    """A setting of the policy. `used`: the policy in effect looks at it."""

    name: str
    value: Any
    default: Any
    about: str
    used: bool


class PolicyDevice(Answer, frozen=True):
    """What the policy makes of a device.

    Attributes:
        waiting: Tasks that wait, by class.
        owed: Device seconds by class (and `aged`, the oldest) that are due to it by its guaranteed share; negative if
            it had more. Empty for policies without guarantees.
        slice_s: Length of a slice.
        overhead_s: What a slice costs besides its shots and set-up, as measured.
        typical_s: Device seconds of a typical task, as measured; 0 before the first.
        setup_s: The longest set-up.
    """

    device: str
    waiting: dict[str, int]
    owed: dict[str, float]
    slice_s: float
    overhead_s: float
    typical_s: float
    setup_s: float


class Policy(Answer, frozen=True):
    """GET /v1/policy. `failed` is why `name` is not the one that was `configured`."""

    name: str
    configured: str
    failed: str
    knobs: list[Knob]
    devices: list[PolicyDevice]
