"""A running Warden as a peer, through its HTTP API. Its QPU is our stand-in; see docs/benchmarks.md to run one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

import msgspec

from quarterdeck.bench import mock_qpu, proc
from quarterdeck.bench.load import Load, Sent
from quarterdeck.bench.peer import Trace, program
from quarterdeck.bench.wire_client import fetch, request
from quarterdeck.errors import Invalid, Unavailable
from quarterdeck.munge import Munge


class _Session(msgspec.Struct):
    id: str


class _Job(msgspec.Struct):
    status: str


class Warden:
    """A context manager: entering starts the stand-in for its QPU and opens a session."""

    name = "warden"
    kinds: tuple[str, ...] = ("cold",)

    def __init__(self, url: str, qpu_port: int, directory: Path) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost") or parts.port is None:
            raise Invalid("--warden", f"{url!r} is not http://127.0.0.1:PORT: both systems are measured on one machine")
        self._port = parts.port
        self.transports = {"tcp": f"127.0.0.1:{parts.port}"}
        self._qpu = f"127.0.0.1:{qpu_port}"
        self._trace = Trace(directory / "warden-starts")
        self._munge = Munge()

    def __enter__(self) -> Self:
        port = self._qpu.rpartition(":")[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "quarterdeck.bench.mock_qpu", port, str(self._trace.path)], stdout=subprocess.PIPE
        )
        assert self._process.stdout
        if not self._process.stdout.readline():
            raise Unavailable("the stand-in for a QPU", f"cannot answer at {self._qpu}", 0.0)
        body = msgspec.json.encode({"user_id": str(os.getuid()), "slurm_job_id": "1"})
        try:
            status, answer = fetch(self.transports["tcp"], self._request("POST", "/sessions", body))
        except OSError as error:
            raise Unavailable("Warden", f"cannot be reached: {error}", 0.0) from None
        if status != 200:
            raise Unavailable("Warden", f"opens no session ({status} {answer[:200]!r}); only root may", 0.0)
        self._session = msgspec.json.decode(answer, type=_Session).id
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._process.terminate()
        self._process.wait(10)
        if self._process.stdout:
            self._process.stdout.close()
        return False

    def _request(self, method: str, path: str, body: bytes = b"") -> bytes:
        return request(method, path, {"X-Munge-Cred": self._munge.encode()}, body)

    def submissions(self, transport: str, kind: str, clients: int) -> Load:
        body = msgspec.json.encode({"sequence": program(), "shots": 100}).decode()
        return Load(
            address=self.transports[transport], clients=clients, method="POST", path="/jobs", body=body, munge=True,
            headers={"X-Warden-Session": self._session},
        )  # fmt: skip

    def statuses(self, transport: str, ids: list[str], clients: int) -> Load:
        return Load(
            address=self.transports[transport], clients=clients, method="GET", path="/jobs/@id@", ids=ids, munge=True
        )

    def hold(self) -> None:
        self._turn("down")

    def release(self) -> None:
        self._turn("up")

    def _turn(self, word: str) -> None:
        fetch(self._qpu, mock_qpu.control(word))

    def starts(self) -> dict[str, float]:
        return dict(self._trace.times())

    def started(self) -> int:
        return self._trace.count()

    def label(self, sent: Sent) -> str:
        return sent.token

    def ended(self, id: str) -> bool:
        status, answer = fetch(self.transports["tcp"], self._request("GET", f"/jobs/{id}"))
        return status == 200 and msgspec.json.decode(answer, type=_Job).status == "DONE"

    def pids(self) -> list[int]:
        """Its API's and its scheduler's."""
        api = proc.listener(self._port)
        return ([api] if api else []) + proc.running("warden.scheduler")
