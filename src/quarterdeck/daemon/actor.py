"""Who asks, and what is kept for them."""

from __future__ import annotations

import msgspec


class Actor(msgspec.Struct, frozen=True):
    """Who asks. With a session's token also by which session; tasks belong to it unless they name another."""

    user: str
    administrator: bool = False
    session: str = ""


class Note(msgspec.Struct, frozen=True):
    """Something that a dialect keeps about a user's affairs. `kind` says whose it is; `body` is JSON."""

    kind: str
    id: str
    user: str
    body: bytes
