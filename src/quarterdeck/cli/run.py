"""`qdeck run`: a job's environment without a workload manager."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck.cli.common import Class, Device, Mode, connect, note
from quarterdeck.errors import NotFound, QuarterdeckError

if TYPE_CHECKING:
    from quarterdeck.client import Client, SessionHandle

FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
NOT_FOUND, NOT_EXECUTABLE, BY_SIGNAL = 127, 126, 128
"""Exit codes, as shells use them."""


def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="What to run, after two dashes.")],
    device: Device,
    mode: Annotated[Mode, typer.Option(help="shared: interleaved with others; exclusive: nobody else.")] = "shared",
    class_: Annotated[Class, typer.Option("--class", help="What it is for.")] = "development",
    project: Annotated[str, typer.Option(help="Who pays.")] = "",
    lend: Annotated[
        bool, typer.Option("--lend", help="Exclusive: let others run short slices while it has nothing to do.")
    ] = False,
) -> None:
    """Run a command in a session of its own.

    Opens a session on the device, runs the command, closes the session. The exit code is the command's.

    The command finds the daemon in QDECK_URL, its session in QDECK_SESSION and its device in QDECK_DEVICE, as in a job
    of a workload manager: `quarterdeck.connect()` and `qdeck submit` use them. If the device takes Pulser programs and
    the daemon answers over TCP, programs written for QRMI (Pulser, Qiskit, CUDA-Q) find it, too. Signals are passed on.

    \b
        qdeck run --device fresnel-emulator -- python job.py
        qdeck run --device fresnel-emulator --mode exclusive --lend -- ./job.sh
    """
    with Child() as child, connect() as client:
        with client.session(device, mode, class_=class_, project=project, job=_job(), lend=lend) as session:
            try:
                with _environment(session, _qrmi(client, session)) as environ:
                    code = child.run(command, environ)
            finally:
                _close(session)
    raise typer.Exit(code)


class Child:
    """The command's process. From entering on, signals are kept for it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Child:
        for number in FORWARDED:
            handler = signal.getsignal(number)
            if handler is not signal.SIG_IGN:  # nohup stays nohup
                self._before[number] = handler
                signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, command: list[str], environ: dict[str, str]) -> int:
        """Run it to its end. Returns its exit code as a shell would; never raises for what the command did."""
        if self._early:
            return BY_SIGNAL + self._early[0]
        try:
            self._process = subprocess.Popen(command, env=environ)
        except OSError as error:
            note(f"{command[0]}: {error.strerror}")
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        for number in self._early:  # came while it was being started
            self._process.send_signal(number)
        code = self._process.wait()
        return code if code >= 0 else BY_SIGNAL - code

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if self._process is None:
            self._early.append(number)
        elif not (number in FROM_TERMINAL and _in_foreground()):  # there the terminal has told the command already
            self._process.send_signal(number)


def _in_foreground() -> bool:
    with suppress(OSError):
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    return False


def _job() -> str:
    """A name for what runs: the workload manager's job, else this process."""
    return os.environ.get("SLURM_JOB_ID") or os.environ.get("JOB_ID") or f"{socket.gethostname()}:{os.getpid()}"


def _qrmi(client: Client, session: SessionHandle) -> dict[str, str]:
    """QRMI's variables, if they would be true."""
    from quarterdeck.schedulers.environment import qrmi

    address = session.address
    url = client.health().url if address.socket else address.url
    if not url or "pulser" not in client.device(session.device).formats:
        return {}
    info = session.info
    return qrmi(
        url, session=session.id, token=session.token, user=str(os.getuid()), project=info.project or info.user,
        job=info.job or session.id,
    )  # fmt: skip


@contextmanager
def _environment(session: SessionHandle, more: dict[str, str]) -> Iterator[dict[str, str]]:
    """The command's environment. The session's token stands in for the caller's own, which is not passed on."""
    address = session.address
    environ = {name: value for name, value in os.environ.items() if name not in ("QDECK_TOKEN", "QDECK_TOKEN_FILE")}
    environ |= {"QDECK_URL": address.url, "QDECK_SESSION": session.id, "QDECK_DEVICE": session.device, **more}
    if not address.token:
        yield environ
        return
    with tempfile.TemporaryDirectory(prefix="qdeck-") as directory:  # mode 0700
        path = Path(directory) / "token"
        path.touch(mode=0o600)
        path.write_text(session.token or address.token)
        yield environ | {"QDECK_TOKEN_FILE": str(path)}


def _close(session: SessionHandle) -> None:
    """Close it; where that fails the lease ends by itself, and the command's exit code counts, not ours."""
    try:
        session.close()
    except NotFound:
        pass
    except QuarterdeckError as error:
        note(f"session {session.id} could not be closed and ends by itself within {session.info.ttl_s:.0f} s: {error}")


def add(app: typer.Typer) -> None:
    app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(run)
