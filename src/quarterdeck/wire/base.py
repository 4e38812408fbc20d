"""The words that all nouns of `/v1` share: names, labels, and what requests and answers are."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Shots = Annotated[int, Meta(ge=1, le=2**31 - 1, description="How often to run the program and measure.")]
Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@/+-]*\Z")]
Label = Annotated[str, Meta(max_length=200, description="Free text for people.")]
UserName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^/\x00-\x1f\x7f]+\Z")]
Class = Literal["production", "test", "development"]
Mode = Literal["shared", "exclusive", "batch"]
TaskState = Literal["queued", "running", "cancelling", "done", "failed", "cancelled"]
DeviceStatus = Literal["online", "draining", "calibrating", "maintenance", "offline"]
WindowKind = Literal["calibration", "maintenance", "reservation"]
Reason = Literal[
    "queue", "device_offline", "device_calibrating", "device_maintenance", "window_ahead", "exclusive_session",
    "retrying", "running", "settled", "budget", "reserved", "quality",
]  # fmt: skip
SHA = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="SHA-256 of the content, 64 hexadecimal digits.")]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what clients send: an unknown field is an error, since a silently ignored one is a surprise."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what the daemon sends: clients ignore fields they do not know."""
