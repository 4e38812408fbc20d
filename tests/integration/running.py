"""A real daemon in a process of its own, to be asked, killed and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

FAKE = {"driver": "fake"}


@contextmanager
def as_nobody() -> Iterator[None]:
    """The kernel tells the daemon the effective user at the moment of connecting. Needs root."""
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def toml(value: Any) -> str:
    """A value in TOML: JSON, but for tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


class Daemon:
    """`qdeck serve` on a directory; the same directory again is the same daemon after a restart."""

    def __init__(
        self, state: Path, store: str = "", devices: dict[str, dict[str, Any]] | None = None,
        tables: dict[str, dict[str, Any]] | None = None, **daemon: Any,
    ):  # fmt: skip
        self.state = state
        self.config = state / "qdeck.toml"
        state.mkdir(parents=True, exist_ok=True)
        settings = {"state": str(state), "listen": "127.0.0.1:0", "probe_s": 0.2, "store": store, **daemon}
        own = {f"devices.{name}": device for name, device in (devices or {"fake": FAKE}).items()}
        lines = []
        for table, values in {"daemon": settings, **own, **(tables or {})}.items():
            lines += [f"[{table}]", *(f"{key} = {toml(value)}" for key, value in values.items()), ""]
        self.config.write_text("\n".join(lines))
        self.process: subprocess.Popen[bytes] | None = None
        self.http = self._client()

    def _client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.state / "run" / "qdeck.sock"))
        return httpx.Client(transport=transport, base_url="http://qdeck", timeout=60.0, trust_env=False)

    def start(self, ready_s: float = 20.0, limits: str = "") -> Daemon:
        """Start it and wait until it is ready. `limits`: a shell prefix such as `ulimit -f 100;`."""
        code = "import sys; from pathlib import Path; from quarterdeck.daemon.serve import main; " \
               "sys.exit(main(Path(sys.argv[1]), log_level='warning'))"  # fmt: skip
        command = ["sh", "-c", f'{limits} exec "$0" "$@"', sys.executable, "-c", code, str(self.config)]
        self._renew()
        log = (self.state / "daemon.log").open("ab")
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        )
        log.close()
        if ready_s:
            self.wait_ready(ready_s)
        return self

    def wait_ready(self, within_s: float = 20.0) -> None:
        """Return once it leads or stands by. Raises with its log otherwise."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}: {self.log()}")
            if self.answers() and self.http.get("/v1/health/ready").status_code == 200:
                return
            time.sleep(0.02)
        raise AssertionError(f"the daemon is not ready after {within_s} s: {self.log()}")

    def answers(self) -> bool:
        """Whether something listens on its socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.state / "run" / "qdeck.sock")) == 0

    def log(self) -> str:
        """The end of what it printed."""
        return (self.state / "daemon.log").read_text()[-4000:]

    def url(self) -> str:
        """Where it answers on TCP."""
        return (self.state / "url").read_text().split()[1]

    def token(self) -> str:
        """Its token."""
        return (self.state / "token").read_text().strip()

    def kill(self) -> None:
        """kill -9, and wait."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._renew()

    def stop(self, within_s: float = 10.0) -> int:
        """SIGTERM, and wait. Returns the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(within_s)
        self._renew()
        return status

    def _renew(self) -> None:
        self.http.close()
        self.http = self._client()

    def __enter__(self) -> Daemon:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        self.http.close()

    # -- shorthand ------------------------------------------------------------------------------------------------

    def upload(self, payload: str = "hello", format: str = "opaque") -> str:
        """Keep a program; return its id."""
        answer = self.http.post("/v1/programs", json={"format": format, "payload": payload})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def submit(self, program: str, shots: int = 10, device: str = "fake", key: str = "", **more: Any) -> httpx.Response:
        """Submit a task."""
        body = {"device": device, "program": program, "shots": shots, **more}
        return self.http.post("/v1/tasks", json=body, headers={"Idempotency-Key": key} if key else {})

    def ended(self, task: str, within_s: float = 30.0) -> dict[str, Any]:
        """The task, once it has ended."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            answer = self.http.get(f"/v1/tasks/{task}", params={"wait": 5})
            assert answer.status_code == 200, answer.text
            told: dict[str, Any] = answer.json()
            if told["state"] in ("done", "failed", "cancelled"):
                return told
        raise AssertionError(f"task {task} is still {told['state']} after {within_s} s")

    def events(self) -> list[dict[str, Any]]:
        """The whole log."""
        answer = self.http.get("/v1/events", headers={"Accept": "application/x-ndjson"})
        assert answer.status_code == 200, answer.text
        return [json.loads(line)["event"] for line in answer.text.splitlines()]
