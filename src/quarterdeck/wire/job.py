"""Jobs of workload managers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from quarterdeck.wire.base import Answer, Class, Label, Mode, Name, Request


class JobAcquire(Request, frozen=True):
    """PUT /v1/jobs/ID: a workload manager's job gets its QPUs; POST /v1/jobs/check: whether it would.

    All its devices are in one session, so any task of the job may go to any of them; an exclusive one has one device.

    Attributes:
        user: Whose job it is; empty: whoever asks.
        manager: The workload manager, such as `slurm`.
        ttl_s: The lease: the job's wall time and a little more. The same request again starts it anew.
    """

    devices: Annotated[list[Name], Meta(min_length=1, max_length=100)]
    user: Label = ""
    manager: Label = ""
    class_: Class = msgspec.field(default="development", name="class")
    project: Label = ""
    mode: Mode = "shared"
    ttl_s: Annotated[float, Meta(gt=0, le=366 * 86400)] = 86400.0


class JobCheck(Answer, frozen=True):
    """What a job that asks for these devices would meet. `message` says what it would wait for, if not `ready`."""

    ready: bool
    message: str = ""


class JobRenew(Request, frozen=True):
    """POST /v1/jobs/ID/renew: the lease is `ttl_s` from now on."""

    ttl_s: Annotated[float, Meta(gt=0, le=366 * 86400)] = 86400.0


class JobUsage(Answer, frozen=True):
    """What a job used: device seconds, shots, tasks, and seconds that its tasks waited for their first slice."""

    qpu_s: float = 0.0
    shots: int = 0
    tasks: int = 0
    waited_s: float = 0.0


class JobDevice(Answer, frozen=True):
    """A device of a job."""

    name: str
    formats: list[str]
    emulated: bool


class Job(Answer, frozen=True):
    """A workload manager's job. `state` is `open` while it has its QPUs.

    Attributes:
        session: The session that it has, or had last.
        token: That session's bearer token, for the job's environment; in answers to `PUT` and `/access` only.
        url: Where the daemon answers over HTTP; empty if it does not.
        usage: Of all its sessions: a job that was queued again had several. Not in lists.
    """

    id: str
    user: str
    manager: str
    project: str
    class_: Class = msgspec.field(name="class")
    mode: Mode
    devices: list[JobDevice]
    state: Literal["open", "released"]
    session: str
    acquired_s: float
    expires_s: float
    released_s: float
    usage: JobUsage | None = None
    token: str = ""
    url: str = ""


class JobPage(Answer, frozen=True):
    """GET /v1/jobs: those that have their QPUs."""

    items: list[Job]
