"""Where the daemon is, and what to show it: from arguments, the environment, or the usual places."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from quarterdeck import places
from quarterdeck.errors import Invalid

SYSTEM = Path("/var/lib/quarterdeck")
"""Where root's daemon keeps its state: a user without a daemon of their own means this one."""


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """An address taken apart.

    Attributes:
        url: As people write it: `unix:///run/qdeck.sock` or `http://127.0.0.1:8765`.
        base: What goes before `/v1` in requests.
        socket: The Unix socket; None for TCP.
        token: Bearer token; empty for none. Never shown.
        local: On this machine, so that no proxy may come between.
    """

    url: str
    base: str
    socket: str | None = None
    token: str = ""
    local: bool = True

    def __repr__(self) -> str:
        return f"Address({self.url!r})"


def find(url: str | None = None, token: str | None = None, environ: Mapping[str, str] | None = None) -> Address:
    """The daemon's address.

    `url` is asked first, then `QDECK_URL`, then the Unix socket in `QDECK_STATE` or the usual state directory, then the
    socket of a daemon that root runs. A token comes from `token`, `QDECK_TOKEN`, or the file that `QDECK_TOKEN_FILE`
    names; the token file in the state directory is used on its own only for daemons on this machine.

    Raises `Invalid` for an address that is none, and for a token file that cannot be read.
    """
    environ = os.environ if environ is None else environ
    state = places.state_dir(environ)
    where = url or environ.get("QDECK_URL") or f"unix://{_socket(state, environ)}"
    if where.startswith(("unix:", "/")):
        path = where.removeprefix("unix:")
        path = "/" + path.lstrip("/") if path.startswith("/") else path
        if not path.startswith("/"):
            raise Invalid("QDECK_URL", f"{where!r}: a Unix socket is written unix:///PATH, with a full path")
        return Address(url=f"unix://{path}", base="http://qdeck", socket=path)
    parts = urlsplit(where)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid("QDECK_URL", f"{where!r} is neither unix:///PATH nor http://HOST:PORT")
    local = _local(parts.hostname)
    return Address(
        url=where.rstrip("/"),
        base=where.rstrip("/"),
        local=local,
        token=_token(token, environ, state if local else None),
    )


def _socket(state: Path, environ: Mapping[str, str]) -> Path:
    own, system = places.socket_file(state), places.socket_file(SYSTEM)
    return system if "QDECK_STATE" not in environ and not own.exists() and system.exists() else own


def _token(given: str | None, environ: Mapping[str, str], state: Path | None) -> str:
    if token := given or environ.get("QDECK_TOKEN"):
        return token
    if named := environ.get("QDECK_TOKEN_FILE"):
        path = Path(named)
    elif state is not None and os.access(places.token_file(state), os.R_OK):
        path = places.token_file(state)
    else:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid("QDECK_TOKEN_FILE", f"{path} cannot be read: {error}") from None


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
