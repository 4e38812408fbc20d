"""Warden's words: what its clients send and read."""

from __future__ import annotations

import json
import pwd
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from quarterdeck import wire
from quarterdeck.errors import Invalid

STATUS = {
    "queued": "PENDING", "running": "RUNNING", "cancelling": "RUNNING", "done": "DONE", "failed": "ERROR",
    "cancelled": "CANCELED",
}  # fmt: skip
"""A task's state to the status of a job: five words that clients match exactly."""

NUMBERS = 2**31 - 1
"""Clients read job ids as signed 32-bit integers. After so many tasks ids begin anew, and the youngest is meant."""


def number(seq: int) -> int:
    """The id of the task with this order of submission."""
    return (seq - 1) % NUMBERS + 1


def moment(at_s: float) -> str | None:
    """A time as ISO 8601 in UTC; None for a time that has not come."""
    if not at_s:
        return None
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@lru_cache(maxsize=4096)
def uid_of(user: str) -> str:
    """The user's uid in digits; the name itself for one that this host does not know."""
    try:
        return str(pwd.getpwnam(user).pw_uid)
    except KeyError:
        return user


class JobRequest(msgspec.Struct, frozen=True):
    """POST /jobs. The sequence may be an AHS document or a Pulser sequence, as text or as an object."""

    sequence: str | dict[str, Any]
    shots: int | str

    def program(self) -> str:
        """The sequence's text. Raises `Invalid` for none."""
        text = self.sequence if isinstance(self.sequence, str) else json.dumps(self.sequence)
        if not text.strip():
            raise Invalid("$.sequence", "is empty")
        return text

    def runs(self) -> int:
        """The number of shots; digits in a string will do. Raises `Invalid`."""
        try:
            shots = int(self.shots)
        except ValueError:
            raise Invalid("$.shots", f"{str(self.shots)[:40]!r} is not a whole number") from None
        if not 1 <= shots < 2**31:
            raise Invalid("$.shots", f"{str(shots)[:40]} shots; at least 1 are needed, and at most {2**31 - 1}")
        return shots


class SessionRequest(msgspec.Struct, frozen=True):
    """POST /sessions."""

    user_id: str
    slurm_job_id: str


class AccessibleRequest(msgspec.Struct, frozen=True):
    """POST /accessible."""

    is_accessible: bool
    message: str = ""


def job(task: wire.Task, counts: dict[str, int] | None) -> dict[str, Any]:
    """A job, as clients read it: results only when it is done, as JSON in a string."""
    error = f"{task.error.message}" if task.error else ""
    return {
        "id": number(task.number), "user_id": uid_of(task.user), "created_at": moment(task.submitted_s),
        "status": STATUS[task.state], "results": None if counts is None else json.dumps({"counter": counts}),
        "started_at": moment(task.started_s), "ended_at": moment(task.ended_s), "shots": task.shots,
        "shots_done": task.shots_done, "uuid": task.id, "session_id": task.session or None, "reason": error,
    }  # fmt: skip


def session(session: wire.Session) -> dict[str, Any]:
    """A session, as clients read it."""
    revoked = session.state == "closed"
    return {
        "id": session.id, "user_id": uid_of(session.user), "slurm_job_id": session.job, "device": session.device,
        "created_at": moment(session.opened_s), "expires_at": moment(session.expires_s),
        "revoked_at": moment(session.closed_s) if revoked else None, "reason": session.reason,
    }  # fmt: skip


def is_uuid(text: str) -> bool:
    """Whether the text has the form of a UUID."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def invalid(error: Invalid) -> list[dict[str, Any]]:
    """A validation error as a list with one entry: type, place, sentence."""
    parts = [part for part in error.where.removeprefix("$").split(".") if part]
    place = ["body", *("sequence" if part == "program" else part for part in parts)]
    return [{"type": error.code, "loc": place, "msg": error.why, "input": None}]
