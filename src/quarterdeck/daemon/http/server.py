"""uvicorn on our own sockets: a Unix socket that knows its peers, and TCP."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from quarterdeck.daemon.http.identity import peer_uid
from quarterdeck.errors import Invalid


class PeerProtocol(HttpToolsProtocol):
    """Puts the peer's uid into each request's state, where no header reaches."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Joined(transport))  # type: ignore[arg-type]
        connection = transport.get_extra_info("socket")
        self.app_state = {**self.app_state, "peer_uid": peer_uid(connection) if connection is not None else None}


class Joined:
    """A transport that writes what comes within one turn of the loop at once.

    uvicorn writes an answer's head and body apart, and uvloop makes a system call of each: this halves them, and the
    reader wakes up once.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: list[bytes] = []
        self._call_soon = asyncio.get_running_loop().call_soon

    def write(self, data: bytes) -> None:
        if not self._held:
            self._call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, []
            self._transport.write(b"".join(held))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def unix_socket(path: Path) -> socket.socket:
    """A listening Unix socket that every local user may connect to; who they are is the kernel's word.

    Raises `Invalid` if something else answers there, or if the path is too long.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    if len(os.fsencode(path)) > 107:
        raise Invalid(
            "daemon.socket", f"{path} is longer than the 107 bytes that Unix sockets allow; set a shorter one"
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise Invalid("daemon.socket", f"{path} exists and is not a socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            with suppress(OSError):
                probe.connect(str(path))
                raise Invalid("daemon.socket", f"another daemon answers at {path}")
        path.unlink()
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen(2048)
    return listener


def tcp_socket(host: str, port: int, setting: str = "daemon.listen") -> socket.socket:
    """A listening TCP socket. Raises `Invalid` if the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Invalid(setting, f"{host}:{port} cannot be had: {error.strerror}") from None
    listener.listen(2048)
    return listener


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: whoever runs it decides when it ends."""

    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(
            app, http=PeerProtocol, ws="none", loop="none", lifespan="off", access_log=False, log_config=None,
            proxy_headers=False, server_header=False, backlog=2048, timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=64 * 1024,
        )  # fmt: skip
        super().__init__(config)

    def capture_signals(self) -> Any:
        return nullcontext()
