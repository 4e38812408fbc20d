"""Who asks: Unix peer credentials, a bearer token, MUNGE, or another daemon that passes a request on."""

from __future__ import annotations

import hmac
import pwd
import socket
import struct
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256

import msgspec
from starlette.requests import Request

from quarterdeck.daemon import tokens
from quarterdeck.daemon.actor import Actor
from quarterdeck.errors import Unauthenticated
from quarterdeck.munge import Munge

_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid: struct ucred in unix(7)


def peer_uid(connection: socket.socket) -> int | None:
    """The uid at the other end of a Unix socket, as the kernel saw it at connect; None for TCP."""
    if connection.family != socket.AF_UNIX:
        return None
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(packed)[1]
    return uid


class Identity(msgspec.Struct, frozen=True):
    """How requests are told apart.

    Attributes:
        owner: The user that the daemon runs as; the token speaks for this user.
        owner_uid: That user's uid.
        token: The bearer token of TCP clients; empty for none.
        standby: The secret with which a standby daemon passes requests on; empty for none.
        administrators: Users with all rights, besides root and the owner.
        bearer: Whoever a session's token speaks for; None while this daemon does not lead.
        munge: Decodes MUNGE credentials; None if they are not accepted.
    """

    owner: str
    owner_uid: int
    token: str
    standby: str = ""
    administrators: frozenset[str] = frozenset()
    bearer: Callable[[str], Actor] | None = None
    munge: Munge | None = None

    async def vouched(self, request: Request, raw: bytes) -> Actor | None:
        """The actor that munged vouches for; None for a request without a MUNGE credential.

        The credential is bound to the request: its payload is the SHA-256 of `METHOD TARGET`, a line feed, and the
        body. munged lets each be used once. Raises `Unauthenticated`, or `Unavailable` if munged is away.
        """
        scheme, _, credential = request.headers.get("authorization", "").partition(" ")
        if scheme.upper() != "MUNGE":
            return None
        if self.munge is None:
            raise Unauthenticated("this daemon takes no MUNGE credentials; its administrator can set daemon.munge")
        known = await self.munge.whose(credential)
        query = request.scope["query_string"]
        target = request.scope["raw_path"] + (b"?" + query if query else b"")
        said = sha256(request.method.encode() + b" " + target + b"\n" + raw).hexdigest()
        if not hmac.compare_digest(known.payload, said.encode()):
            raise Unauthenticated("this MUNGE credential was made for another request")
        user = user_name(known.uid)
        return Actor(user, known.uid in (0, self.owner_uid) or user in self.administrators)

    def of(self, request: Request) -> Actor:
        """The actor behind a request; one without a name if only the leading daemon can tell. Raises `Unauthenticated`.

        The peer's uid comes from the connection alone (put into the scope by our protocol class); no header can set it.
        """
        headers = request.headers
        if self.standby and (passed := headers.get("x-qdeck-standby")) is not None:
            if not hmac.compare_digest(passed.encode(), self.standby.encode()):
                raise Unauthenticated("this daemon does not know the standby that passes the request on")
            if user := headers.get("x-qdeck-user"):
                return Actor(user, headers.get("x-qdeck-administrator") == "yes")
        uid = request.scope["state"].get("peer_uid")
        if uid is not None and not tokens.session_of(headers.get("authorization", "").partition(" ")[2]):
            user = user_name(uid)
            return Actor(user, uid in (0, self.owner_uid) or user in self.administrators)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if not token:
            raise Unauthenticated("send the token of the daemon's token file as `Authorization: Bearer TOKEN`")
        if tokens.session_of(token) and scheme.lower() == "bearer":
            return self.bearer(token) if self.bearer is not None else Actor("")
        if not self.token or scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self.token.encode()):
            raise Unauthenticated("this token is not the daemon's")
        return Actor(self.owner, True)


@lru_cache(maxsize=4096)
def user_name(uid: int) -> str:
    """The user's name, or the uid in digits where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
