"""Bearer tokens of sessions: they speak for the session's user, for as long as it is open.

Only the SHA-256 of a token is kept (it holds 256 random bits), so neither the store nor the log gives one away. The
tokens of jobs are made from the session's id and a key in the state directory.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256

PREFIX = "qds_"


def new(session: str) -> str:
    """A new token for a session."""
    return f"{PREFIX}{session}.{secrets.token_urlsafe(32)}"


def derive(key: bytes, session: str) -> str:
    """The token of a job's session: the same whenever it is asked for, since every step of a job asks."""
    drawn = hmac.digest(key, session.encode(), "sha256")
    return f"{PREFIX}{session}.{urlsafe_b64encode(drawn).decode().rstrip('=')}"


def digest(token: str) -> str:
    """What is kept of a token."""
    return sha256(token.encode()).hexdigest()


def session_of(token: str) -> str:
    """The session that a token claims to be of; empty if it is none of ours."""
    return token[len(PREFIX) :].rpartition(".")[0] if token.startswith(PREFIX) else ""


def matches(token: str, kept: str) -> bool:
    """Whether the token is the one whose digest is kept."""
    return bool(kept) and hmac.compare_digest(digest(token), kept)
