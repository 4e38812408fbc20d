"""Bearer tokens of sessions: they speak for the session's user, for as long as it is open.

Only the SHA-256 of a token is kept (it holds 256 random bits), so neither the store nor the log gives one away.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256

PREFIX = "qds_"


def new(session: str) -> str:
    """A new token for a session."""
    return f"{PREFIX}{session}.{secrets.token_urlsafe(32)}"


def digest(token: str) -> str:
    """What is kept of a token."""
    return sha256(token.encode()).hexdigest()


def session_of(token: str) -> str:
    """The session that a token claims to be of; empty if it is none of ours."""
    return token[len(PREFIX) :].rpartition(".")[0] if token.startswith(PREFIX) else ""


def matches(token: str, kept: str) -> bool:
    """Whether the token is the one whose digest is kept."""
    return bool(kept) and hmac.compare_digest(digest(token), kept)
