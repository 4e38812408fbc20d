"""A real daemon, started and stopped as users do, with an emulated QPU that runs a thousand times faster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.client import Client
from quarterdeck.client.address import find
from quarterdeck.errors import DaemonUnreachable

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "examples" / "programs" / "afm_chain.json"
CONFIG = """\
[daemon]
listen = "127.0.0.1:0"
probe_s = 0.2

[devices.fake]
driver = "fake"

[devices.fresnel-emulator]
driver = "neutral-atom-emulator"
time_scale = 1000.0
"""


class Daemon:
    """`qdeck serve` in a directory, and `qdeck` as a user of it would call it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.config = directory / "qdeck.toml"
        self.config.write_text(CONFIG)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("QDECK_", "SLURM_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environ = {**clean, "PATH": path, "QDECK_STATE": str(self.state), "OPENBLAS_NUM_THREADS": "1"}

    def start(self) -> None:
        (self.state / "url").unlink(missing_ok=True)
        with (self.directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["qdeck", "serve", "--config", self.config, "--log-level", "warning"],
                env=self.environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the daemon is not ready: {self.log()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM. Asserts that it ends well, in time, and that nothing of it stays behind."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(20)
        finally:
            left = self._processes()
            for process in left:
                os.kill(process, signal.SIGKILL)
        assert status == 0, self.log()
        assert not left, f"left behind: {left}"

    def client(self) -> Client:
        return Client(find(environ=self.environ), environ=self.environ)

    def qdeck(self, *words: str | Path, stdin: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["qdeck", *words], env=self.environ | environ, input=stdin, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-4000:]

    def _ready(self) -> bool:
        if not (self.state / "url").exists():  # written once the sockets listen
            return False
        try:
            with self.client() as client:
                return client.health().ok and all(device.status == "online" for device in client.devices())
        except DaemonUnreachable:
            return False

    def _processes(self) -> list[int]:
        """Living processes of the daemon's session. Workers need a moment to see that it is gone."""
        deadline = time.monotonic() + 5
        while True:
            left = []
            for stat in Path("/proc").glob("[0-9]*/stat"):
                try:
                    state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
                except OSError:
                    continue
                if int(session) == self.process.pid and state != "Z":
                    left.append(int(stat.parent.name))
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.05)


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("qd"))
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with daemon.client() as client:
        yield client
