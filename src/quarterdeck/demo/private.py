"""A daemon of one's own: started in a temporary directory, gone afterwards with everything it wrote."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from quarterdeck.client import connect
from quarterdeck.errors import DaemonUnreachable

READY_S = 60.0
STOP_S = 15.0
SLICE_SHOTS = 100
"""Short slices, so that there is something to see."""
QDECK = "from quarterdeck.cli import main; main()"
"""The command, as this very interpreter finds it; no `qdeck` need be on PATH."""
CONFIG = """\
[daemon]
state = "{state}"
listen = ""

[devices.{device}]
driver = "neutral-atom-emulator"
time_scale = {time_scale}
slice_shots = {slice_shots}
"""


class PrivateDaemon:
    """`with PrivateDaemon("fresnel-emulator", time_scale=1000) as url:` runs `qdeck serve` with one emulated QPU.

    Only a Unix socket is opened. The end of the block, however it comes, stops the process and removes the directory.
    """

    def __init__(self, device: str, time_scale: float) -> None:
        self.device, self.time_scale = device, time_scale
        self.directory: Path | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> str:
        # Socket addresses end at 107 bytes, so not below a TMPDIR that is long already.
        below = "/tmp" if len(tempfile.gettempdir()) > 60 else None
        self.directory = Path(tempfile.mkdtemp(prefix="qdeck-demo-", dir=below))
        try:
            return self._start(self.directory)
        except BaseException:
            self._end()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _start(self, directory: Path) -> str:
        config, log = directory / "qdeck.toml", directory / "daemon.log"
        config.write_text(
            CONFIG.format(
                state=directory / "state", device=self.device, time_scale=self.time_scale, slice_shots=SLICE_SHOTS
            ),
            encoding="utf-8",
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("QDECK_")}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", QDECK, "serve", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,  # Ctrl-C is for us: we stop it in order
            )
        path = directory / "state" / "run" / "qdeck.sock"
        give_up_s = time.monotonic() + READY_S
        with connect(f"unix://{path}") as client:
            while time.monotonic() < give_up_s and self.process.poll() is None:
                if _listens(path) and client.health().ok:
                    return client.link.address.url
                time.sleep(0.05)
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        what = "did not get ready" if self.process.poll() is None else f"ended with status {self.process.returncode}"
        raise DaemonUnreachable("the private daemon", f"it {what}: {' | '.join(tail) or 'it said nothing'}", 0.0)

    def _end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)


def _listens(path: Path) -> bool:
    """Whether anybody answers the socket. Asked before the HTTP client is, which leaks a socket if nobody does."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
