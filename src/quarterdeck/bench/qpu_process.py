"""The scripted double of a Pasqal QPU as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Any, Self

import httpx

from quarterdeck.errors import Unavailable


class QpuProcess:
    """Emulated hardware. A context manager; `port` 0 takes a free one."""

    def __init__(self, port: int = 0, run_s: float = 0.05) -> None:
        self._run_s = run_s
        self.port = port

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; after `stop` at the same port, without its memory. Raises `Unavailable` if the port is taken."""
        command = [sys.executable, "-m", "quarterdeck.bench.qpu_double", "--port", str(self.port), "--run-s",
                   str(self._run_s)]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        told = self._process.stdout.readline().split()
        if len(told) != 2:
            self._process.wait()
            self._process.stdout.close()
            raise Unavailable("the emulated QPU", f"port {self.port} of 127.0.0.1 cannot be had", 0.0)
        self.port, control = map(int, told)
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{control}", timeout=30.0, trust_env=False)

    def stop(self) -> None:
        """kill -9."""
        self._http.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, **knobs: Any) -> None:
        """What it does from now on: see `quarterdeck.bench.qpu_double.Script`."""
        self._http.put("/double/script", json=knobs).raise_for_status()

    def log(self, what: str = "") -> list[dict[str, Any]]:
        """What happened, oldest first."""
        entries: list[dict[str, Any]] = self._http.get("/double/log").json()
        return [entry for entry in entries if not what or entry["what"] == what]
