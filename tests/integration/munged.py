"""A real munged of our own, on its own key and socket, and clients that find it where libmunge looks by default."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / ".tools" / "clients"


def missing() -> str:
    """Why munged cannot be run here; empty if it can."""
    if shutil.which("munged") is None and not Path("/usr/sbin/munged").exists():
        return "munged is not installed: apt-get install munge"
    if os.geteuid() != 0:
        return "credentials of several users need root"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "mount namespaces are not allowed here"
    return ""


def client(name: str) -> Path:
    """The interpreter of an unmodified client's environment."""
    return CLIENTS / name / "bin" / "python"


@contextmanager
def as_uid(uid: int) -> Iterator[None]:
    """munged tells credentials' uid from the kernel, too. Needs root."""
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


class Munged:
    """munged with a key of its own; `options` as on its command line."""

    def __init__(self, *options: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="qdeck-munge-"))
        self.socket = self.directory / "munge.socket.2"
        key = self.directory / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        user = "munge" if _has_user("munge") else "root"
        for path in (self.directory, key):
            shutil.chown(path, user, user)
        self.directory.chmod(0o755)
        self._command = [
            shutil.which("munged") or "/usr/sbin/munged", "--foreground", "--force", f"--key-file={key}",
            f"--socket={self.socket}", f"--pid-file={self.directory}/pid", f"--log-file={self.directory}/log",
            f"--seed-file={self.directory}/seed", *options,
        ]  # fmt: skip
        self._user = user
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        account = pwd.getpwnam(self._user)
        self._process = subprocess.Popen(
            self._command, user=account.pw_uid, group=account.pw_gid, extra_groups=[],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while not self.socket.exists():
            assert self._process.poll() is None and time.monotonic() < deadline, "munged does not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """End it; its socket goes with it."""
        self._process.terminate()
        self._process.wait(10)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    def seen_by(self, command: Sequence[str | Path]) -> list[str]:
        """A command that runs where this munged answers at the default socket: in a mount namespace of its own."""
        script = 'mount -t tmpfs tmpfs /run && mkdir /run/munge && mount --bind "$0" /run/munge && exec "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(self.directory),
                *map(str, command)]  # fmt: skip


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
