"""A scripted double of a Pasqal QPU's HTTP interface: emulated hardware, for tests and `qdeck bench dropin`.

Written from the wire protocol. It measures nothing: its counts are random bits from a seed. What it can do wrong is
set by `PUT /double/script` with any of the fields of `Script`; `GET /double/log` has every job that was created, done,
cancelled or forgotten. Like the real one it has no authentication, and posting a job cancels the one before.

    python -m quarterdeck.bench.qpu_double --port 8005
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import signal
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any

import msgspec

from quarterdeck.devices.emulation import spec

NAME = "DOUBLE-QPU"
SCRIPTED = "/double/script"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Script(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What it does. Numbers named `..._next` count down with each request that they spoil.

    Attributes:
        run_s: Seconds from a job's start to its end.
        operational: What /system/operational says: UP or DOWN.
        refuse_s: For so long from now connections are refused.
        post_status, post_status_next: HTTP status for the next POSTs, which are not accepted.
        get_status, get_status_next: HTTP status for the next GETs of jobs.
        post_html_next, get_html_next: These answer 200 with a page of HTML; nothing is accepted.
        post_no_data_next, get_no_data_next: These answer 200 with an envelope without `data`; POST accepts.
        post_slow_s, post_slow_next: These POSTs are accepted at once, and answered so late.
        post_late_s, post_late_next: These POSTs are accepted so late, and answered then.
        post_drop_next: These POSTs are accepted; the connection closes before the answer.
        cut_next: These answers to anything under /api break off halfway.
        word, word_next: A status that no client knows, for the next GETs of jobs.
        cancel: ok, 3003 (too late to cancel), other (400), 500.
        unknown: HTTP status for uids that it does not know: 404 or 400.
        cancels_previous: A new job cancels the one before, if it has not ended.
        error_next: The next jobs end as ERROR.
        python: Results are Python's repr instead of JSON.
        no_context: Jobs are shown without the context that they were posted with.
        skip_uids: So many uids are left out before each new job.
        keep: So many of the youngest jobs are shown; older ones are unknown.
        get_missing_next: A gateway answers 404 to these GETs of jobs, with a page of HTML.
    """

    run_s: float = 0.05
    operational: str = "UP"
    refuse_s: float = 0.0
    post_status: int = 500
    post_status_next: int = 0
    get_status: int = 500
    get_status_next: int = 0
    post_html_next: int = 0
    get_html_next: int = 0
    post_no_data_next: int = 0
    get_no_data_next: int = 0
    post_slow_s: float = 7.0
    post_slow_next: int = 0
    post_late_s: float = 7.0
    post_late_next: int = 0
    post_drop_next: int = 0
    cut_next: int = 0
    word: str = "PAUSED"
    word_next: int = 0
    cancel: str = "ok"
    unknown: int = 404
    cancels_previous: bool = True
    error_next: int = 0
    python: bool = False
    no_context: bool = False
    skip_uids: int = 0
    keep: int = 1_000_000
    get_missing_next: int = 0


class _Job(msgspec.Struct):
    uid: int
    shots: int
    atoms: int
    context: dict[str, Any]
    made_s: float
    ends_s: float
    ends_as: str = "DONE"
    stopped_s: float = 0.0

    def status(self, now_s: float) -> str:
        if self.stopped_s:
            return "CANCELED"
        return "RUNNING" if now_s < self.ends_s else self.ends_as


class Double:
    """The QPU. `answer` may raise `ConnectionAbortedError`: close without a word."""

    def __init__(self, seed: int = 1) -> None:
        self.script = Script()
        self.log: list[dict[str, Any]] = []
        self.refuse_until_s = 0.0
        self._jobs: list[_Job] = []
        self._random = random.Random(seed)
        self._told: set[int] = set()
        self._next = 0

    def _spoil(self, name: str) -> bool:
        left: int = getattr(self.script, name)
        if left > 0:
            setattr(self.script, name, left - 1)
        return left > 0

    def _write(self, what: str, job: _Job | None = None, **more: Any) -> None:
        told = {} if job is None else {
            "uid": job.uid, "pasqman_job_id": job.context.get("pasqman_job_id"),
            "batch_id": job.context.get("batch_id"), "nb_run": job.shots,
        }  # fmt: skip
        self.log.append({"at_s": time(), "what": what, **told, **more})

    def settle(self) -> None:
        """Write down the jobs that have ended since."""
        now_s = monotonic()
        for job in self._jobs:
            if job.uid not in self._told and job.status(now_s) in ("DONE", "ERROR"):
                self._told.add(job.uid)
                self._write("done", job, status=job.status(now_s))

    def forget(self) -> None:
        """Lose all jobs; uids begin at 0 again."""
        self.settle()
        self._write("forget")
        self._jobs, self._told, self._next = [], set(), 0

    # -- the interface --------------------------------------------------------------------------------------------

    async def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """HTTP status and body (bytes are sent as HTML)."""
        self.settle()
        if path == SCRIPTED and method == "PUT":
            told = msgspec.json.decode(body or b"{}")
            if told.pop("forget", False):
                self.forget()
            self.script = msgspec.convert({**msgspec.to_builtins(self.script), **told}, Script)
            if self.script.refuse_s:
                self.refuse_until_s, self.script.refuse_s = monotonic() + self.script.refuse_s, 0.0
            return 200, msgspec.to_builtins(self.script)
        if path == "/double/log":
            return 200, self.log
        if path == "/api/v1/system":
            return _envelope(200, {"specs": json.loads(spec(NAME)) | {"max_runs": 10_000}})
        if path == "/api/v1/system/operational":
            return _envelope(200, {"operational_status": self.script.operational})
        parts = path.removeprefix("/api/v1/").split("/")
        match method, parts:
            case "POST", ["jobs"]:
                return await self._post(body)
            case "GET", ["jobs", uid]:
                return self._get(uid)
            case "PUT", ["jobs", uid, "cancel"]:
                return self._cancel(uid)
            case "GET", ["programs", uid]:
                job = self._find(uid)
                if job is not None:
                    return _envelope(200, {"uid": job.uid, "status": self._program(job)})
        return self._unknown()

    async def _post(self, body: bytes) -> tuple[int, Any]:
        if self._spoil("post_status_next"):
            return _envelope(self.script.post_status, None, "Not now.")
        if self._spoil("post_html_next"):
            return 200, b"<html><body>a gateway's page</body></html>"
        if self.script.operational == "DOWN":
            return _envelope(503, None, "The system is down.")
        try:
            told = msgspec.json.decode(body)
            shots, sequence, context = int(told["nb_run"]), json.loads(told["pulser_sequence"]), dict(told["context"])
            atoms = len(sequence["register"])
            if not 1 <= shots <= 10_000:
                raise ValueError("nb_run")
        except (KeyError, TypeError, ValueError, msgspec.DecodeError) as error:
            return _envelope(400, {"description": f"Invalid job: {error}"}, "Bad request.")
        if self._spoil("post_late_next"):
            await asyncio.sleep(self.script.post_late_s)
        job = self._create(shots, atoms, context)
        if self._spoil("post_slow_next"):
            await asyncio.sleep(self.script.post_slow_s)
        if self._spoil("post_drop_next"):
            raise ConnectionAbortedError
        return _envelope(200, None if self._spoil("post_no_data_next") else self._view(job, "PENDING"))

    def _create(self, shots: int, atoms: int, context: dict[str, Any]) -> _Job:
        now_s = monotonic()
        if self.script.cancels_previous and self._jobs and self._jobs[-1].status(now_s) == "RUNNING":
            self._stop(self._jobs[-1], "by the next job")
        ends_as = "ERROR" if self._spoil("error_next") else "DONE"
        self._next += self.script.skip_uids
        job = _Job(self._next, shots, atoms, context, time(), now_s + self.script.run_s, ends_as)
        self._next += 1
        self._jobs.append(job)
        self._write("create", job)
        return job

    def _get(self, uid: str) -> tuple[int, Any]:
        if self._spoil("get_status_next"):
            return _envelope(self.script.get_status, None, "Not now.")
        if self._spoil("get_html_next"):
            return 200, b"<html><body>a gateway's page</body></html>"
        if self._spoil("get_missing_next"):
            return 404, b"<html><body>no such site</body></html>"
        job = self._find(uid)
        if job is None:
            return self._unknown()
        if self._spoil("get_no_data_next"):
            return _envelope(200, None)
        return _envelope(200, self._view(job, self.script.word if self._spoil("word_next") else ""))

    def _cancel(self, uid: str) -> tuple[int, Any]:
        job = self._find(uid)
        if job is None:
            return self._unknown()
        if self.script.cancel == "500":
            return _envelope(500, None, "Internal error.")
        if self.script.cancel == "other":
            return _envelope(400, {"description": "No.", "status": self._program(job)}, "Bad request.", "ABCD1001")
        if self.script.cancel == "3003" or job.status(monotonic()) != "RUNNING":
            said = {"description": "Cannot cancel program.", "status": self._program(job)}
            return _envelope(400, said, "Bad request.", "ABCD3003")
        self._stop(job, "on request")
        return _envelope(200, self._view(job))

    def _stop(self, job: _Job, why: str) -> None:
        job.stopped_s = monotonic()
        self._write("cancel", job, why=why)

    def _find(self, uid: str) -> _Job | None:
        return next((job for job in self._jobs[-self.script.keep :] if str(job.uid) == uid), None)

    def _unknown(self) -> tuple[int, Any]:
        return (400, {"detail": "Bad request"}) if self.script.unknown == 400 else _envelope(404, None, "Not found.")

    def _program(self, job: _Job) -> str:
        status = job.status(monotonic())
        return "DONE" if status == "ERROR" else status

    def _view(self, job: _Job, status: str = "") -> dict[str, Any]:
        now_s = monotonic()
        status = status or job.status(now_s)
        made = datetime.fromtimestamp(job.made_s, UTC).replace(tzinfo=None)  # naive, as Warden's own stand-in sends it
        ended = status in ("DONE", "ERROR", "CANCELED")
        end = datetime.fromtimestamp(job.made_s + self.script.run_s, UTC).replace(tzinfo=None)
        result = None
        if status == "DONE":
            counter = self._counter(job)
            result = repr({"counter": counter}) if self.script.python else json.dumps({"counter": counter})
        told = {
            "uid": job.uid, "status": status, "result": result, "batch_id": job.context.get("batch_id"),
            "program_id": job.uid, "nb_run": job.shots, "created_datetime": made.isoformat(),
            "start_datetime": made.isoformat(), "end_datetime": end.isoformat() if ended else None,
        }  # fmt: skip
        return told if self.script.no_context else told | {"context": job.context}

    def _counter(self, job: _Job) -> dict[str, int]:
        """Random bits, the same each time for the same job."""
        chance = random.Random(f"{job.uid} {job.context.get('pasqman_job_id')}")
        counter: dict[str, int] = {}
        for _ in range(job.shots):
            bits = "".join(chance.choice("01") for _ in range(job.atoms))
            counter[bits] = counter.get(bits, 0) + 1
        return counter


def _envelope(status: int, data: Any, message: str = "OK.", code: int | str = 0) -> tuple[int, Any]:
    word = "success" if status < 300 else "fail" if status < 500 else "error"
    return status, {"status": word, "code": code or status, "message": message, "data": data}


# -- serving ----------------------------------------------------------------------------------------------------------


class Server:
    """The double on 127.0.0.1; `control` is the port of its /double side, which is there while the QPU refuses."""

    def __init__(self, double: Double, port: int) -> None:
        self.double = double
        self.port = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def run(self, stop: asyncio.Event, control: int, ready: Any) -> None:
        """Serve until told to stop."""
        controller = await asyncio.start_server(self._talk, "127.0.0.1", control)
        await self._open()
        ready(self.port, controller.sockets[0].getsockname()[1])
        while not stop.is_set():
            refusing = monotonic() < self.double.refuse_until_s
            if refusing and self._server is not None:
                self._shut()
            if not refusing and self._server is None:
                await self._open()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.02)
        self._shut()
        controller.close()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            if writer.get_extra_info("sockname")[1] == self.port:
                writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else b""
                method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
                path = "/" + "/".join(part for part in target.partition("?")[0].split("/") if part)
                status, told = await self.double.answer(method, path, body)
                kind = "text/html" if isinstance(told, bytes) else "application/json"
                sent = told if isinstance(told, bytes) else msgspec.json.encode(told)
                first = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(sent)}\r\n\r\n".encode()
                if path.startswith("/api") and self.double._spoil("cut_next"):
                    writer.write(first + sent[: len(sent) // 2])
                    await writer.drain()
                    break
                writer.write(first + sent)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


def main() -> None:
    """Serve until SIGTERM or SIGINT. Prints both ports once it does."""
    parser = argparse.ArgumentParser(description="An emulated Pasqal QPU's HTTP interface, with faults on demand.")
    parser.add_argument("--port", type=int, default=8005, help="of the QPU; 0 takes a free one")
    parser.add_argument("--control", type=int, default=0, help="of the script and the log, too, while the QPU refuses")
    parser.add_argument("--run-s", type=float, default=0.05, help="seconds that a job takes")
    given = parser.parse_args()

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        double = Double()
        double.script.run_s = given.run_s
        await Server(double, given.port).run(stop, given.control, lambda *ports: print(*ports, flush=True))

    try:
        asyncio.run(serve())
    except OSError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
