"""Sessions: leases on access to devices."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from quarterdeck.wire.base import Answer, Class, Label, Mode, Name, Request
from quarterdeck.wire.task import Needs


class SessionOpen(Request, frozen=True):
    """POST /v1/sessions: a lease on access to a device. It ends unless renewed within `ttl_s` seconds.

    Say where: `device`; or several `devices`, or what a device `needs`, unless it is exclusive: each task of it then
    goes to the best of them that is free.

    Attributes:
        idle_s: It is closed after so many seconds without a task waiting or running; 0 for never. By default the
            daemon's setting for exclusive sessions and for batches, and never for shared ones. A batch's counts from
            its first task on. Time in which the device is offline, in maintenance or in a window does not count.
        lend: An exclusive session lets others run short slices while nothing of it is ready.
        decoders: Logical qubits of the device's real-time host to reserve, until the session ends.
    """

    device: Name | None = None
    mode: Mode = "shared"
    class_: Class = msgspec.field(default="development", name="class")
    project: Label = ""
    job: Label = ""
    ttl_s: Annotated[float, Meta(gt=0, le=7 * 86400)] = 3600.0
    idle_s: Annotated[float, Meta(ge=0, le=7 * 86400)] | None = None
    lend: bool = False
    devices: Annotated[list[Name], Meta(max_length=100)] = msgspec.field(default_factory=list)
    needs: Needs | None = None
    decoders: Annotated[int, Meta(ge=0, le=100_000)] = 0


class Session(Answer, frozen=True):
    """A session. `state` is `open` or `closed`; a closed one never opens again.

    `token` is in the answer to its opening only: a bearer token that speaks for the user while the session is open.
    `expires_s` of an exclusive one is earlier than its `ttl_s` says where somebody else's reservation starts.
    `lend_s` is the longest slice of others in its idle gaps; 0 if it lends none. `devices` is not empty if its tasks
    have several to choose from; `device` is the first of them then.
    """

    id: str
    user: str
    project: str
    device: str
    mode: Mode
    class_: Class = msgspec.field(name="class")
    job: str
    state: Literal["open", "closed"]
    opened_s: float
    expires_s: float
    ttl_s: float
    closed_s: float = 0.0
    reason: str = ""
    token: str = ""
    idle_s: float = 0.0
    lend_s: float = 0.0
    devices: list[str] = msgspec.field(default_factory=list)
    decoders: int = 0


class SessionPage(Answer, frozen=True):
    """GET /v1/sessions: the open ones."""

    items: list[Session]
