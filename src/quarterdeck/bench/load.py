"""The load generator: closed-loop clients in a process of their own, told what to do in lines of JSON.

`python -m quarterdeck.bench.load` reads one `Load` a line on stdin and answers each with one `Sample` on stdout.
Requests are built before the clock starts: building them (MUNGE credentials above all) must not cost the server time.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Literal, Self

import msgspec

from quarterdeck.bench.stats import Latency
from quarterdeck.bench.wire_client import BadAnswer, Connection, connect, request
from quarterdeck.munge import Munge

TOKEN = "@bench-token@"
"""Where a program's payload takes a text that makes it different from all others."""
ID = "@id@"


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to send.

    Attributes:
        address: `unix:PATH` or `HOST:PORT`.
        clients: Connections, each with one request in flight.
        path, body, headers: The request; `TOKEN` in the body or the headers is new each time, of constant length.
        ids: What replaces `ID` in the path, in turn.
        munge: Add a fresh MUNGE credential to each request.
        seconds: Stop after this long.
        limit: Stop after this many requests; 0 for no limit.
        ahead: Requests to build before the clock starts; later ones are built when they are due.
        gap_s: Wait this long between requests, at random between the two; none by default.
        keep: Tell of each request, not only of all together.
    """

    address: str
    clients: int
    method: str
    path: str
    body: str = ""
    headers: dict[str, str] = {}
    ids: list[str] = []
    munge: bool = False
    seconds: float = 60.0
    limit: int = 0
    ahead: int = 0
    gap_s: tuple[float, float] | None = None
    keep: bool = False


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """One request that was answered well: its token, the `id` in the answer, and when (monotonic clock, seconds)."""

    token: str
    id: str
    sent_s: float
    answered_s: float


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What came back.

    Attributes:
        ok, failed: Answers with a status of 2xx, and others.
        elapsed_s: From the first request to the last answer.
        latency: Of the good answers; None without any.
        cpu_s, built_s: CPU time of this process while the clock ran, and before, for building requests.
        failure: The first bad answer.
    """

    ok: int
    failed: int
    elapsed_s: float
    latency: Latency | None
    cpu_s: float
    built_s: float
    failure: str = ""
    sent: list[Sent] = []

    @property
    def rate_hz(self) -> float:
        return self.ok / self.elapsed_s if self.elapsed_s else 0.0


class Broken(Exception):
    """The load could not be carried out."""


class _Id(msgspec.Struct):
    id: str | int = ""


def builder(load: Load, nonce: str) -> Callable[[int], tuple[str, bytes]]:
    """A function that gives the token and the bytes of the i-th request."""
    token_length = len(nonce) + 9
    head = request(load.method, load.path, load.headers, load.body.replace(TOKEN, "0" * token_length).encode())
    if not load.body:
        body_parts = [b""]
    else:
        head = head[: head.index(b"\r\n\r\n") + 4]
        body_parts = load.body.encode().split(TOKEN.encode())
    head_parts = head.split(TOKEN.encode())
    ids = [id.encode() for id in load.ids]
    munge = Munge() if load.munge else None

    def build(index: int) -> tuple[str, bytes]:
        token = f"{nonce}-{index:08d}"
        encoded = token.encode()
        made = encoded.join(head_parts)
        if ids:
            made = made.replace(ID.encode(), ids[index % len(ids)], 1)
        if munge is not None:
            made = made.replace(b"\r\n", f"\r\nX-Munge-Cred: {munge.encode()}\r\n".encode(), 1)
        return token, made + encoded.join(body_parts)

    return build


class _Run:
    def __init__(self, load: Load) -> None:
        self.load = load
        build = builder(load, os.urandom(4).hex())
        self.build = build
        self.ready = [build(index) for index in range(load.ahead)]
        self.ready.reverse()
        self.given = 0
        self.sent: list[Sent] = []
        self.latencies_s: list[float] = []
        self.failed = 0
        self.failure = ""
        self.end_s = 0.0
        self.last_s = 0.0
        self.quiet = asyncio.Event()
        self.flying = 0

    async def rest(self) -> None:
        await self.quiet.wait()

    def client(self, connection: Connection) -> Callable[[], None]:
        load, latencies_s, sent, ready = self.load, self.latencies_s, self.sent, self.ready
        decode = msgspec.json.Decoder(_Id).decode
        loop = asyncio.get_running_loop()
        token = ""

        def go() -> None:
            nonlocal token
            if monotonic() >= self.end_s or (load.limit and self.given >= load.limit):
                self.flying -= 1
                if not self.flying:
                    self.quiet.set()
                return
            token, raw = ready.pop() if ready else self.build(self.given)
            self.given += 1
            connection.send(raw, answered)

        def answered(status: int, body: bytes, sent_s: float, at_s: float) -> None:
            self.last_s = at_s
            if 200 <= status < 300:
                latencies_s.append(at_s - sent_s)
                if load.keep:
                    sent.append(Sent(token, str(decode(body).id), sent_s, at_s))
            else:
                self.failed += 1
                self.failure = self.failure or f"{status} {body[:300].decode(errors='replace')}"
            if load.gap_s:
                loop.call_later(random.uniform(*load.gap_s), go)
            else:
                go()

        return go


async def generate(load: Load) -> Sample:
    """Carry out a load. Raises `OSError` or `BadAnswer` when a connection cannot be made or breaks."""
    born_s = _cpu_s()
    run = _Run(load)
    connections = [await connect(load.address) for _ in range(load.clients)]
    try:
        clients = [run.client(connection) for connection in connections]
        run.flying = len(clients)
        cpu_s, begin_s = _cpu_s(), monotonic()
        run.end_s = begin_s + load.seconds
        for go in clients:
            go()
        quiet = asyncio.ensure_future(run.rest())
        await asyncio.wait(
            (quiet, *(connection.lost for connection in connections)), return_when=asyncio.FIRST_COMPLETED
        )
        for connection in connections:
            if connection.lost.done():
                connection.lost.result()
                raise BadAnswer("the server hung up between two requests")
    finally:
        for connection in connections:
            connection.close()
        await asyncio.wait([connection.lost for connection in connections])
    return Sample(
        ok=len(run.latencies_s), failed=run.failed, elapsed_s=run.last_s - begin_s,
        latency=Latency.of(run.latencies_s) if run.latencies_s else None, cpu_s=_cpu_s() - cpu_s,
        built_s=cpu_s - born_s,
        failure=run.failure, sent=run.sent,
    )  # fmt: skip


def _cpu_s() -> float:
    used = os.times()
    return used.user + used.system


class Generator:
    """The load generator's process, from the outside. A context manager: leaving it ends the process."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "quarterdeck.bench.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if self._process.stdin and self._process.stdout:
            self._process.stdin.close()
            self._process.stdout.close()
        self._process.wait(10)
        return False

    def begin(self, load: Load) -> None:
        """Start a load and return at once; `end` gives what came of it."""
        assert self._process.stdin
        self._process.stdin.write(msgspec.json.encode(load) + b"\n")
        self._process.stdin.flush()

    def end(self) -> Sample:
        """Wait for the load that was begun. Raises `Broken`."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise Broken("the load generator died")
        if line.startswith(b'"'):
            raise Broken(msgspec.json.decode(line, type=str))
        return msgspec.json.decode(line, type=Sample)

    def run(self, load: Load) -> Sample:
        self.begin(load)
        return self.end()


def main() -> None:
    """The generator's process: serve loads until stdin ends."""
    import uvloop

    decoder = msgspec.json.Decoder(Load)
    for line in sys.stdin.buffer:
        try:
            answer: Sample | str = uvloop.run(generate(decoder.decode(line)))
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
