"""How the daemon is, and what went wrong."""

from __future__ import annotations

from typing import Any, Literal

from quarterdeck.wire.base import Answer


class Health(Answer, frozen=True):
    """GET /v1/health/live and /v1/health/ready.

    Attributes:
        role: `leader` runs the devices; `standby` passes requests on to the leader.
        url: Where this daemon answers over TCP; empty for nowhere.
    """

    ok: bool
    role: Literal["leader", "standby", "starting"]
    version: str
    store: str
    why: str = ""
    url: str = ""


class Failure(Answer, frozen=True):
    """The body of every answer with a status of 400 or above; see docs/errors.md for the codes."""

    error: dict[str, Any]
