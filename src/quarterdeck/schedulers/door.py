"""The way to the daemon for hooks: the standard library's HTTP and nothing that takes long to import.

A hook starts at every step of every job; `quarterdeck.client` would take a quarter of a second of each.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from hashlib import sha256
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from quarterdeck import places
from quarterdeck.errors import DaemonUnreachable, Invalid, QuarterdeckError, Remote

T = TypeVar("T")


class Door:
    """Asks the daemon at `url`: `unix:///PATH` or `http://HOST:PORT`; by default QDECK_URL or this host's own.

    Who asks is the kernel's word on the Unix socket; over TCP a token's, if there is one, else munged's.
    """

    def __init__(
        self, url: str = "", *, token: str = "", munge_socket: str = "", timeout_s: float = 10.0,
        environ: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        environ = os.environ if environ is None else environ
        self.url = url or environ.get("QDECK_URL", "") or f"unix://{places.socket_file(places.state_dir(environ))}"
        self.timeout_s = timeout_s
        self._token = token
        self._munge_socket = munge_socket
        parts = urlsplit(self.url)
        if parts.scheme not in ("unix", "http", "https") or not (
            parts.path if parts.scheme == "unix" else parts.hostname
        ):
            raise Invalid("QDECK_URL", f"{self.url!r} is neither unix:///PATH nor http://HOST:PORT")
        self._scheme, self._host, self._port, self._path = parts.scheme, parts.hostname or "", parts.port, parts.path

    @property
    def local(self) -> bool:
        """Whether the daemon is reached through a Unix socket, so that jobs on this host can, too."""
        return self._scheme == "unix"

    def ask(
        self, method: str, path: str, answer: type[T], body: msgspec.Struct | None = None,
        query: Mapping[str, str] | None = None,
    ) -> T:  # fmt: skip
        """One request. Raises what the daemon raised, or `DaemonUnreachable`; nothing is repeated."""
        target = path + (f"?{urlencode(query)}" if query else "")
        raw = msgspec.json.encode(body) if body is not None else b""
        headers = {"Content-Type": "application/json"} if raw else {}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        elif not self.local:
            headers["Authorization"] = f"MUNGE {self._credential(method, target, raw)}"
        connection = self._connection()
        try:
            connection.request(method, target, raw or None, headers)
            response = connection.getresponse()
            status, content = response.status, response.read()
        except (OSError, HTTPException) as error:
            why = str(error) or type(error).__name__
            raise DaemonUnreachable(self.url, f"{why}; is `qdeck serve` running there?", 5.0) from None
        finally:
            connection.close()
        try:
            if status >= 400:
                raise QuarterdeckError.from_json(msgspec.json.decode(content), status)
            return msgspec.json.decode(content, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Remote(f"{self.url} does not answer as a Quarterdeck daemon does: {error}") from None

    def _connection(self) -> HTTPConnection:
        if self._scheme == "unix":
            return _Unix(self._path, self.timeout_s)
        kind = HTTPSConnection if self._scheme == "https" else HTTPConnection
        return kind(self._host, self._port, timeout=self.timeout_s)

    def _credential(self, method: str, target: str, raw: bytes) -> str:
        """A MUNGE credential for this one request: see `daemon.munge` in docs/settings.md."""
        from quarterdeck.munge import Munge

        said = sha256(f"{method} {target}\n".encode() + raw).hexdigest()
        return Munge(self._munge_socket).encode(said.encode())


class _Unix(HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("qdeck", timeout=timeout_s)
        self._path = str(Path("/") / path.lstrip("/"))

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def path(*parts: Any) -> str:
    """`/v1/...` of these parts, each quoted."""
    return "/v1/" + "/".join(quote(str(part), safe="") for part in parts)
