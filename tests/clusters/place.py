"""Where a cluster lives: a short directory, a mount namespace, and a Python there that every user may run."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAPPED = ("QDECK_", "SLURM_", "SBATCH_", "SRUN_", "SALLOC_", "PYTHON")


def missing(packages: Mapping[str, str]) -> str:
    """Why a cluster cannot be run here; empty if it can. `packages`: program to the package that brings it."""
    if os.geteuid() != 0:
        return "a cluster with several users needs root"
    for program, package in packages.items():
        if shutil.which(program, path=SYSTEM_PATH) is None:
            return f"{program} is not installed: apt-get install {package}"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "mount namespaces are not allowed here"
    return ""


SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def free_ports(number: int) -> list[int]:
    """Ports on which nothing listens now, next to each other."""
    for first in range(21000 + os.getpid() % 500 * 20, 32000, 20):
        probes = [socket.socket() for _ in range(number)]
        try:
            for offset, probe in enumerate(probes):
                probe.bind(("127.0.0.1", first + offset))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return list(range(first, first + number))
    raise AssertionError("no free ports")


class Place:
    """A directory and a mount namespace. Users cannot read root's home, so that what runs there is bound in here.

    Attributes:
        directory: Short, and open to every user.
        python: A Python that every user may run, with Quarterdeck and its packages.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="qd"))
        self.directory.chmod(0o755)
        self.python = self.directory / "bin" / "python"
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        binds = {
            "py": Path(sys.base_prefix),
            "venv": Path(sys.prefix),
            "src": ROOT / "src",
            "examples": ROOT / "examples",
        }
        if (clients := ROOT / ".tools" / "clients").exists():
            binds["clients"] = clients
        for name in (*binds, "bin"):
            (self.directory / name).mkdir()
        packages = f"{self.directory}/venv/lib/{version}/site-packages"
        self.python.write_text(
            "#!/bin/sh\n"
            f"export PYTHONPATH={self.directory}/src:{packages} PYTHONHOME={self.directory}/py\n"
            f"export LD_LIBRARY_PATH={self.directory}/py/lib OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1\n"
            f'exec {self.directory}/py/bin/{version} "$@"\n'
        )  # fmt: skip
        qdeck = self.directory / "bin" / "qdeck"
        qdeck.write_text(f'#!/bin/sh\nexec {self.python} -m quarterdeck "$@"\n')
        for script in (self.python, qdeck):
            script.chmod(0o755)
        mounts = " && ".join(f"mount --bind '{path}' {self.directory}/{name}" for name, path in binds.items())
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"{mounts} && echo ready && exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n", "bind mounts do not work here"

    def inside(self, command: Sequence[str | Path], user: str = "root") -> list[str]:
        """The command line that runs it here as that user."""
        account = pwd.getpwnam(user)
        drop = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--"]
        enter = ["nsenter", f"--target={self._holder.pid}", "--mount", f"--wd={self.directory}", "--"]
        return [*enter, *(drop if account.pw_uid else []), *map(str, command)]

    def environ(self, **more: str | Path) -> dict[str, str]:
        """A clean environment for it."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(MAPPED)}
        path = f"{self.directory}/bin:{SYSTEM_PATH}"
        return {**clean, "PATH": path, **{name: str(value) for name, value in more.items()}}

    def close(self) -> None:
        """Leave it. Whatever still runs inside keeps its mounts until it ends."""
        assert self._holder.stdin is not None and self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)
