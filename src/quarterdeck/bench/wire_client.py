"""A small HTTP/1.1 client for load: it shares the machine with the server it measures, so it must cost little.

One connection for each client, kept alive; callbacks instead of tasks; it reads no more of an answer than it needs
(status, length, body). It understands `Content-Length` answers only, and says so when it meets another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import cast

Answered = Callable[[int, bytes, float, float], None]
"""Called with status, body, and the times at which the request was sent and answered (seconds, monotonic clock)."""


class BadAnswer(Exception):
    """The server's answer cannot be read, or it hung up in the middle of one."""


class Connection(asyncio.Protocol):
    """One request at a time. `send` it, and `answered` is called; then the next one may be sent, from there too."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = b""
        self._head = 0
        self._length = -1
        self._status = 0
        self._sent_s = 0.0
        self._answered: Answered | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one in all but name

    def send(self, request: bytes, answered: Answered) -> None:
        """Send a whole request, head and body."""
        if self._answered is not None or self._transport is None:
            raise RuntimeError("a connection carries one request at a time")
        self._answered = answered
        self._sent_s = monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if self._length < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            try:
                self._status, self._length = read_head(self._buffer[:end])
            except BadAnswer as error:
                self._fail(error)
                return
            self._head = end + 4
        whole = self._head + self._length
        if len(self._buffer) < whole:
            return
        at_s = monotonic()
        body, self._buffer, self._length = self._buffer[self._head : whole], self._buffer[whole:], -1
        answered, self._answered = self._answered, None
        if answered is None:
            self._fail(BadAnswer("an answer to nothing"))
            return
        answered(self._status, body, self._sent_s, at_s)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            if self._answered is not None:
                self.lost.set_exception(exc or BadAnswer("the server hung up before it answered"))
            else:
                self.lost.set_result(None)

    def close(self) -> None:
        """Hang up. `lost` is done soon after."""
        if self._transport is not None:
            self._transport.close()

    def _fail(self, error: Exception) -> None:
        if not self.lost.done():
            self.lost.set_exception(error)
        self.close()


def read_head(head: bytes) -> tuple[int, int]:
    """Status and body length of an answer's head (without its empty line). Raises `BadAnswer`."""
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    try:
        status = int(lower[9:12])
        if at < 0:
            if status in (204, 304):
                return status, 0
            raise BadAnswer(f"no Content-Length in {head[:200]!r}")
        return status, int(lower[at + 17 :].split(b"\r\n", 1)[0])
    except ValueError:
        raise BadAnswer(f"not an HTTP answer: {head[:200]!r}") from None


async def connect(address: str) -> Connection:
    """A connection to `unix:PATH` or `HOST:PORT`. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    if address.startswith("unix:"):
        return (await loop.create_unix_connection(Connection, address.removeprefix("unix:")))[1]
    host, _, port = address.rpartition(":")
    return (await loop.create_connection(Connection, host, int(port)))[1]


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def fetch(address: str, raw: bytes, timeout_s: float = 30.0) -> tuple[int, bytes]:
    """One request on a connection of its own, waited for: for control calls, not for load."""

    async def one() -> tuple[int, bytes]:
        connection = await connect(address)
        got: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        connection.send(raw, lambda status, body, _sent, _at: got.set_result((status, body)))
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.wait((got, connection.lost), return_when=asyncio.FIRST_COMPLETED)
                if not got.done():
                    connection.lost.result()
                    raise BadAnswer("the server hung up before it answered")
                return got.result()
        finally:
            connection.close()
            await asyncio.wait((connection.lost,))
            connection.lost.exception()

    return asyncio.run(one())
