"""Programs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from quarterdeck.wire.base import SHA, Answer, Name, Request


class ProgramUpload(Request, frozen=True):
    """POST /v1/programs: a program to keep. Its id is the SHA-256 of format and payload: twice is once."""

    format: Name
    payload: Annotated[
        str, Meta(min_length=1, description="The program's own text, such as a Pulser sequence in JSON.")
    ]
    device: Name | None = None
    """Check against this device at once, too."""


class ProgramInfo(Answer, frozen=True):
    """A program that the daemon keeps, and what can be told of it without running it."""

    id: SHA
    format: str
    bytes: int
    qubits: int = 0
    duration_ns: int | None = None
    variables: dict[str, int] = msgspec.field(default_factory=dict)
    device: str | None = None
    register: str = ""
    """Key of the set-up that it needs: tasks with the same key follow each other without one."""
