"""What is taken over from other systems."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from quarterdeck.wire.base import Answer, Label, Name, Request, Shots


class ImportedTask(Request, frozen=True):
    """A task that ended in another system.

    Attributes:
        id: Unique for ever: importing it again does nothing.
        number: The number it had there; it keeps it if no later one is in use here.
        payload: Its program's text; kept, not checked.
        counts: What it measured; all shots if it is done.
        error: Why it failed.
    """

    id: Name
    number: Annotated[int, Meta(ge=1, le=2**53)]
    user: Annotated[str, Meta(min_length=1, max_length=128)]
    device: Name
    shots: Shots
    state: Literal["done", "failed", "cancelled"]
    submitted_s: Annotated[float, Meta(ge=0)]
    started_s: Annotated[float, Meta(ge=0)] = 0.0
    ended_s: Annotated[float, Meta(ge=0)] = 0.0
    format: Name = "opaque"
    payload: str = ""
    counts: dict[str, int] | None = None
    error: Annotated[str, Meta(max_length=2000)] = ""
    job: Label = ""
    name: Label = ""


class TaskImport(Request, frozen=True):
    """POST /v1/tasks/import: take over the history of another system (administrators)."""

    tasks: Annotated[list[ImportedTask], Meta(max_length=1000)]


class Imported(Answer, frozen=True):
    """How many tasks were taken over, and how many were here already."""

    imported: int
    known: int
