"""Quarterdeck as a peer: a private daemon with one instant device, in a directory of its own."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

import msgspec

from quarterdeck.bench import proc
from quarterdeck.bench.load import TOKEN, Load, Sent
from quarterdeck.bench.peer import Trace, program, until
from quarterdeck.bench.wire_client import BadAnswer, fetch, request
from quarterdeck.errors import QuarterdeckError, Unavailable
from quarterdeck.wire import Device, ProgramInfo, Task

T = TypeVar("T")
DEVICE = "instant"
FORMAT = "opaque"
CONFIG = """\
[daemon]
state = {state}
listen = "127.0.0.1:0"

[limits]
tasks = 10000000

[devices.{device}]
driver = "bench-instant"
trace = {trace}
"""


class Own:
    """A private daemon. A context manager: entering starts it, leaving ends it."""

    name = "quarterdeck"
    kinds: tuple[str, ...] = ("referenced", "cold")

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.transports: dict[str, str] = {}
        self._state = directory / "state"
        self._trace = Trace(directory / "starts")
        self._program = ""

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True)
        config, log = self.directory / "qdeck.toml", self.directory / "log"
        quoted = {
            key: msgspec.json.encode(str(path)).decode()
            for key, path in (("state", self._state), ("trace", self._trace.path))
        }
        config.write_text(CONFIG.format(device=DEVICE, **quoted))
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from quarterdeck.cli import main; main()", "serve", "--config", str(config)],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            until(self._ready, "the private daemon to be ready", 30.0, 0.05)
            self._headers = {"Authorization": f"Bearer {(self._state / 'token').read_text().strip()}"}
            upload = msgspec.json.encode({"format": FORMAT, "payload": program("referenced")})
            self._program = self._ask("POST", "/v1/programs", ProgramInfo, upload).id
        except QuarterdeckError as error:
            self.__exit__(None, None, None)
            told = log.read_text(errors="replace")[-2000:]
            raise Unavailable("the private daemon", f"{error}\n{told}", 0.0) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return False

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise Unavailable("the private daemon", f"it ended with status {self._process.returncode}", 0.0)
        with suppress(OSError, BadAnswer):
            lines = (self._state / "url").read_text().split()
            unix, tcp = (line.removeprefix("unix://").removeprefix("http://") for line in lines)
            self.transports = {"tcp": tcp, "unix": f"unix:{unix}"}
            return fetch(tcp, request("GET", "/v1/health/ready", {}))[0] == 200
        return False

    def _ask(self, method: str, path: str, type: type[T], body: bytes = b"") -> T:
        status, answer = fetch(self.transports["unix"], request(method, path, {}, body))
        if status >= 300:
            raise QuarterdeckError.from_json(msgspec.json.decode(answer), status)
        return msgspec.json.decode(answer, type=type)

    def submissions(self, transport: str, kind: str, clients: int) -> Load:
        sent: object = self._program if kind == "referenced" else {"format": FORMAT, "payload": program()}
        body = msgspec.json.encode({"device": DEVICE, "program": sent, "shots": 100}).decode()
        return Load(
            address=self.transports[transport], clients=clients, method="POST", path="/v1/tasks", body=body,
            headers=self._sign(transport) | {"Idempotency-Key": TOKEN},
        )  # fmt: skip

    def statuses(self, transport: str, ids: list[str], clients: int) -> Load:
        return Load(
            address=self.transports[transport], clients=clients, method="GET", path="/v1/tasks/@id@", ids=ids,
            headers=self._sign(transport),
        )  # fmt: skip

    def _sign(self, transport: str) -> dict[str, str]:
        return {} if transport == "unix" else self._headers

    def hold(self) -> None:
        self._turn("maintenance")

    def release(self) -> None:
        self._turn("online")

    def _turn(self, status: str) -> None:
        body = msgspec.json.encode({"status": status, "reason": "benchmark" if status != "online" else ""})
        self._ask("POST", f"/v1/devices/{DEVICE}/status", object, body)

    def queued(self) -> int:
        """Tasks that wait for the device."""
        return self._ask("GET", f"/v1/devices/{DEVICE}", Device).queued

    def starts(self) -> dict[str, float]:
        return {key.partition("/")[0]: at_s for key, at_s in self._trace.times()}

    def started(self) -> int:
        return self._trace.count()

    def label(self, sent: Sent) -> str:
        return sent.id

    def ended(self, id: str) -> bool:
        return self._ask("GET", f"/v1/tasks/{id}", Task).state == "done"

    def pids(self) -> list[int]:
        return proc.family(self._process.pid)
