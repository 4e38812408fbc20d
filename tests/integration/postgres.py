"""A PostgreSQL server of our own: in a temporary directory, on a Unix socket, with no need to be root or not to be."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any


def binaries() -> Path | None:
    """The directory of the newest server's programs, or None."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if not found and (there := shutil.which("postgres")):
        found = [Path(there).resolve().parent]
    return max(found, key=lambda path: [int(part) for part in path.parts if part.isdigit()], default=None)


class Postgres:
    """A server that can be stopped and started; `database` makes an empty database and returns its URL."""

    def __init__(self) -> None:
        found = binaries()
        if found is None:
            raise FileNotFoundError("PostgreSQL is not installed")
        self._bin = found
        self._made = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="qdeck-pg-"))
        self._as: dict[str, Any] = {"cwd": "/", "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres", "postgres")
            self._as |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        command = [self._bin / "initdb", "-D", self.directory / "data", "-A", "trust", "-U", "postgres", "-N"]
        subprocess.run([*command, "--no-instructions"], check=True, **self._as)
        self.start()

    def start(self) -> None:
        """Start it, and return once it answers."""
        command = [self._bin / "postgres", "-D", self.directory / "data", "-k", self.directory]
        self._process = subprocess.Popen([*command, "-c", "listen_addresses=", "-c", "fsync=off"], **self._as)
        deadline = time.monotonic() + 30
        while subprocess.run([self._bin / "pg_isready", "-q", "-h", self.directory], **self._as).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL does not start")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once; whoever is connected is thrown out."""
        if self._process is not None:
            self._process.send_signal(2)  # SIGINT: fast shutdown
            self._process.wait(30)
            self._process = None

    def database(self) -> str:
        """The URL of a new, empty database."""
        self._made += 1
        name = f"test{self._made}"
        subprocess.run([self._bin / "createdb", "-h", self.directory, "-U", "postgres", name], check=True, **self._as)
        return f"postgresql://postgres@/{name}?host={self.directory}"

    def close(self) -> None:
        """Stop it and remove everything."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
