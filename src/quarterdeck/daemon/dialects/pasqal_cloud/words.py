"""The words of the wire: what clients send, and the JSON of batches, jobs and errors that they read.

Seen from pasqal-cloud 0.24 and QRMI 0.26; unknown fields are refused, since what they ask for would not be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from quarterdeck import wire
from quarterdeck.errors import QuarterdeckError

Label = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Tags = Annotated[list[Label], Meta(max_length=100)]
MOST_JOBS = 5000
"""Jobs of one batch."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what clients send."""


class JobRequest(Request, frozen=True):
    """One job: `runs` shots, perhaps with values for the sequence's variables or with a sequence of its own."""

    runs: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    variables: dict[str, Any] | None = None
    sequence: str | None = None


Jobs = Annotated[list[JobRequest], Meta(max_length=MOST_JOBS)]


class BatchRequest(Request, frozen=True):
    """POST v1/batches."""

    jobs: Jobs
    sequence_builder: str | None = None
    open: bool | None = None
    complete: bool | None = None
    device_type: Label | None = None
    project_id: Label | None = None
    webhook: str | None = None
    configuration: dict[str, Any] | None = None
    backend_configuration: str | None = None
    tags: Tags | None = None


class CancelBatches(Request, frozen=True):
    """PATCH v1/batches/cancel."""

    batch_ids: Annotated[list[str], Meta(max_length=1000)]


class CudaqRequest(Request, frozen=True):
    """POST v1/cudaq/job: an AHS document, as JSON or as text."""

    machine: Label
    sequence: msgspec.Raw
    shots: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    project_id: Label | None = None

    def document(self) -> str:
        """The AHS document's text."""
        text = bytes(self.sequence).decode()
        return msgspec.json.decode(text, type=str) if text.startswith('"') else text


STATUS = {
    "queued": "PENDING", "running": "RUNNING", "cancelling": "RUNNING", "done": "DONE", "failed": "ERROR",
    "cancelled": "CANCELED",
}  # fmt: skip
"""A task's state as a job's status. The SDK knows no CANCELING."""


def counted(tasks: Sequence[wire.Task]) -> dict[str, int]:
    """Jobs per status: what clients that wait look at."""
    counts: dict[str, int] = {}
    for task in tasks:
        counts[STATUS[task.state]] = counts.get(STATUS[task.state], 0) + 1
    return counts


def batch_status(tasks: Sequence[wire.Task], open: bool, cancelled: bool) -> str:
    """A batch's status, from those of its jobs. Never PAUSED, which ends Pulser with a KeyError."""
    counts = counted(tasks)
    ended = len(tasks) - counts.get("PENDING", 0) - counts.get("RUNNING", 0)
    if counts.get("RUNNING") or (ended and ended < len(tasks)):
        return "RUNNING"
    if ended < len(tasks):
        return "PENDING"
    if open:
        return "RUNNING" if tasks else "PENDING"
    if counts.get("ERROR"):
        return "ERROR"
    return "DONE" if counts.get("DONE") or (not cancelled and not tasks) else "CANCELED"


def stamp(at_s: float) -> str | None:
    """A time in ISO 8601, or None for "not yet"."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds") if at_s else None


def job(task: wire.Task, batch: str, project: str) -> dict[str, Any]:
    """A job of a batch."""
    return {
        "id": task.id, "batch_id": batch, "project_id": project, "user_id": task.user, "runs": task.shots,
        "status": STATUS[task.state], "created_at": stamp(task.submitted_s),
        "updated_at": stamp(task.ended_s or task.started_s or task.submitted_s), "variables": task.parameters or None,
        "start_timestamp": stamp(task.started_s), "end_timestamp": stamp(task.ended_s), "parent_id": None,
        "errors": [f"{task.error.code}: {task.error.message}"] if task.error else None,
    }  # fmt: skip


def success(data: Any, page: dict[str, int] | None = None) -> dict[str, Any]:
    """The envelope (JSend) around an answer."""
    told = {"status": "success", "code": 200, "message": "OK", "data": data}
    return {**told, "pagination": page} if page is not None else told


def failure(error: QuarterdeckError) -> dict[str, Any]:
    """The envelope around an error. The SDK shows `code` and `data.description`; QRMI the whole body."""
    return {"status": "fail", "code": error.code, "message": str(error), "data": {"description": str(error)}}
