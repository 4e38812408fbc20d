"""What any workload manager has to do with us, idempotent for each job.

    submission   check      what would refuse the job for good is told before it is queued
    start        acquire    as an administrator, for the user; the same call again gives the same session
    each step    access     the job's session and its token: `environment` makes variables of them
    meanwhile    renew      a heartbeat, where the lease does not reach to the job's end
    end          release    as often as it may be called; the answer says what the job used

Whatever gets lost on the way, the lease ends; an agent that compares `jobs` with the manager's own list does it sooner.
Slurm and Grid Engine are thin adapters on this; docs/schedulers.md tells how to write another one.
"""

from __future__ import annotations

import msgspec

from quarterdeck import wire
from quarterdeck.errors import QuarterdeckError
from quarterdeck.schedulers.door import Door, path

GRACE_S = 600.0
"""How much longer than its wall time a job's lease is: a manager ends jobs a little late, and hooks run after it."""
DAY_S = 86400.0
"""The lease of a job without a wall time; an agent renews it."""

FOR_GOOD = frozenset({400, 402, 403, 404, 405, 413, 422})
"""HTTP statuses of refusals that asking again later does not change; all others a job may wait out."""


def for_good(error: QuarterdeckError) -> bool:
    """Whether this refuses a job for ever, so that waiting is no use."""
    return error.status in FOR_GOOD


def closed(name: str, device: wire.Device | None) -> str:
    """Why a device takes no new job, as a sentence; empty if it does. `device` is None if the daemon has none such."""
    if device is None:
        return f"{name} is no device of the daemon"
    if device.status == "online":
        return ""
    state = "in maintenance" if device.status == "maintenance" else device.status
    return f"{name} is {state}" + (f": {device.reason}" if device.reason else "")


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A job that wants QPUs.

    Attributes:
        id: Unique for ever, such as `slurm:CLUSTER:1234`: letters, digits and `._:@+-`, at most 128.
        manager: `slurm`, `gridengine`, ...
        devices: The first one is what programs find when they do not say which.
        user: Whose job it is; empty for whoever asks.
        walltime_s: None if it has no end.
    """

    id: str
    manager: str
    devices: tuple[str, ...]
    user: str = ""
    class_: wire.Class = "development"
    project: str = ""
    walltime_s: float | None = None
    mode: wire.Mode = "shared"

    @property
    def ttl_s(self) -> float:
        return self.walltime_s + GRACE_S if self.walltime_s is not None else DAY_S


class Contract:
    """The calls. Each raises a `QuarterdeckError`; `DaemonUnreachable` if nobody answers in `door.timeout_s`."""

    def __init__(self, door: Door) -> None:
        self.door = door

    def check(self, request: JobRequest) -> wire.JobCheck:
        """Whether the job could start now; raises what refuses it for good. For its user or an administrator."""
        return self.door.ask("POST", path("jobs", "check"), wire.JobCheck, _body(request))

    def acquire(self, request: JobRequest) -> wire.Job:
        """Give the job its QPUs. Raises `DeviceUnavailable` if it has to wait for one. For administrators."""
        return self.door.ask("PUT", path("jobs", request.id), wire.Job, _body(request))

    def access(self, id: str) -> wire.Job:
        """The job with its token. Raises `NotFound` if it has no QPUs (any more). For its user or an administrator."""
        return self.door.ask("GET", path("jobs", id, "access"), wire.Job)

    def renew(self, id: str, ttl_s: float) -> wire.Job:
        """A heartbeat: the lease is `ttl_s` from now on. Raises `NotFound` once it is released."""
        return self.door.ask("POST", path("jobs", id, "renew"), wire.Job, wire.JobRenew(ttl_s=ttl_s))

    def release(self, id: str, session: str | None = None) -> wire.Job:
        """Take its QPUs back; the answer has its `usage`. Raises `NotFound` for a job that never had any.

        An agent names the `session` that it saw: a job that was queued again meanwhile keeps its new one.
        """
        return self.door.ask("DELETE", path("jobs", id), wire.Job, query={"session": session} if session else None)

    def job(self, id: str) -> wire.Job:
        """A job, open or released, and its `usage`. Raises `NotFound`."""
        return self.door.ask("GET", path("jobs", id), wire.Job)

    def jobs(self, manager: str) -> list[wire.Job]:
        """The manager's jobs that have QPUs now, without `usage`."""
        return self.door.ask("GET", path("jobs"), wire.JobPage, query={"manager": manager}).items

    def devices(self) -> list[wire.Device]:
        """The devices, how they are doing and what comes next."""
        return self.door.ask("GET", path("devices"), wire.DevicePage).items


def _body(request: JobRequest) -> wire.JobAcquire:
    return wire.JobAcquire(
        devices=list(request.devices), user=request.user, manager=request.manager, class_=request.class_,
        project=request.project, mode=request.mode, ttl_s=request.ttl_s,
    )  # fmt: skip
