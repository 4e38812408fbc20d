"""A stand-in for a Pasqal QPU, written from its wire protocol: every job is DONE the moment it is posted.

It exists so that a system that drives such a QPU can be timed with a device that costs nothing. It writes the time of
each job's POST to a file, one line each: `TOKEN SECONDS` (monotonic clock), where TOKEN is the value of `bench` in the
posted program. `PUT /bench/up` and `PUT /bench/down` say whether it takes work.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from time import monotonic
from typing import Any, cast

import msgspec

from quarterdeck.bench.wire_client import request

SPECS = {"name": "BENCH", "dimensions": 2}
TOKEN = re.compile(rb'\\"bench\\": ?\\"([^"\\]*)\\"')


class MockQpu(asyncio.Protocol):
    """One connection; `shared` is what all connections know."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        at_s = monotonic()
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < whole:
                return
            method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            body, self.buffer = self.buffer[end + 4 : whole], self.buffer[whole:]
            code, data_out = self.shared.answer(method, path.rstrip("/"), body, at_s)
            self.transport.write(_answer(code, data_out))


class Shared:
    """The state of the stand-in: jobs posted, whether it is up, and the trace file (a descriptor)."""

    def __init__(self, trace: int) -> None:
        self.trace = trace
        self.up = True
        self.jobs: list[dict[str, Any]] = []

    def answer(self, method: str, path: str, body: bytes, at_s: float) -> tuple[int, Any]:
        """HTTP status and the `data` of the answer."""
        if path == "/api/v1/jobs" and method == "POST":
            posted = msgspec.json.decode(body)
            found = TOKEN.search(body)
            os.write(self.trace, b"%s %.6f\n" % (found[1] if found else b"?", at_s))
            shots, context = posted["nb_run"], posted.get("context") or {}
            job = {
                "uid": len(self.jobs), "status": "DONE", "result": f'{{"counter": {{"0": {shots}}}}}', "nb_run": shots,
                "batch_id": context.get("batch_id"), "program_id": len(self.jobs), "context": context,
                "created_datetime": "2026-01-01T00:00:00", "start_datetime": "2026-01-01T00:00:00",
                "end_datetime": "2026-01-01T00:00:00",
            }  # fmt: skip
            self.jobs.append(job)
            return 200, job
        if path == "/api/v1/system/operational":
            return 200, {"operational_status": "UP" if self.up else "DOWN"}
        if path == "/api/v1/system":
            return 200, {"specs": SPECS}
        if path.startswith("/api/v1/jobs/") and method == "GET":
            uid = path.removeprefix("/api/v1/jobs/")
            return (200, self.jobs[int(uid)]) if uid.isdigit() and int(uid) < len(self.jobs) else (404, None)
        if path in ("/bench/up", "/bench/down") and method == "PUT":
            self.up = path == "/bench/up"
            return 200, {"jobs": len(self.jobs)}
        return 404, None


def _answer(code: int, data: Any) -> bytes:
    good = code == 200
    envelope = {
        "status": "success" if good else "fail",
        "code": code,
        "message": "OK." if good else "No.",
        "data": data,
    }
    body = msgspec.json.encode(envelope)
    head = f"HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def control(word: str) -> bytes:
    """The request that turns the stand-in `up` or `down`."""
    return request("PUT", f"/bench/{word}", {})


async def serve(port: int, trace: int) -> None:
    """Answer on 127.0.0.1 until SIGTERM or SIGINT. Prints the port once it does."""
    loop = asyncio.get_running_loop()
    shared, stop = Shared(trace), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: MockQpu(shared), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()


def main() -> None:
    """`python -m quarterdeck.bench.mock_qpu PORT TRACE`."""
    port, path = int(sys.argv[1]), sys.argv[2]
    asyncio.run(serve(port, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)))


if __name__ == "__main__":
    main()
