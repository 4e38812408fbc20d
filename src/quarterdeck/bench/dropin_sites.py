"""The two systems that faults are replayed against, each before its own double of a QPU, asked in the same words."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from quarterdeck.bench import proc
from quarterdeck.bench.peer import until
from quarterdeck.bench.qpu_double import NAME, Script
from quarterdeck.bench.qpu_process import QpuProcess
from quarterdeck.devices.emulation import spec
from quarterdeck.errors import Invalid, Unavailable
from quarterdeck.munge import Munge

ENDED = frozenset({"DONE", "ERROR", "CANCELED"})
CONFIG = """\
[daemon]
state = {state}
listen = "127.0.0.1:0"

[warden]
listen = "127.0.0.1:0"
first_uid = 0
hold_s = 0
admin_networks = ["127.0.0.0/8"]

[devices.qpu]
driver = "pasqal-qpu"
uri = {uri}
emulated = true
shot_rate_hz = 100.0
slice_shots = 10000
"""


def sequence() -> str:
    """Two atoms under one pulse, in Pulser's abstract representation, for the double's device."""
    atoms = [{"name": "q0", "x": -3.0, "y": 0.0}, {"name": "q1", "x": 3.0, "y": 0.0}]
    constant = {"kind": "constant", "duration": 400}
    pulse = {
        "op": "pulse", "channel": "g", "protocol": "min-delay", "amplitude": {**constant, "value": 6.0},
        "detuning": {**constant, "value": 0.0}, "phase": 0.0, "post_phase_shift": 0.0,
    }  # fmt: skip
    return json.dumps({
        "version": "1", "name": "dropin", "register": atoms, "channels": {"g": "rydberg_global"}, "variables": {},
        "operations": [pulse], "measurement": "ground-rydberg", "device": json.loads(spec(NAME)),
    })  # fmt: skip


class Site:
    """A system behind Warden's interface. `drivers` are the processes that drive its QPU."""

    name = ""
    url = ""

    def __init__(self, qpu: QpuProcess) -> None:
        self.qpu = qpu
        self.munge = Munge()
        self.http = httpx.Client(timeout=30.0, trust_env=False)
        self.mark = 0
        self._sequence = sequence()

    def ask(self, method: str, path: str, credential: str | None = None, **more: Any) -> httpx.Response:
        """A request with a fresh credential of this process's user, or the one given."""
        headers = {**more.pop("headers", {}), "X-Munge-Cred": credential or self.munge.encode()}
        return self.http.request(method, self.url + path, headers=headers, **more)

    def session(self, job: str = "1", uid: int | None = None) -> httpx.Response:
        """Ask for a session."""
        user = str(os.getuid() if uid is None else uid)
        return self.ask("POST", "/sessions", json={"user_id": user, "slurm_job_id": job})

    def submit(self, session: str, shots: Any = 20, sequence: str | None = None) -> httpx.Response:
        """Submit a job."""
        body = {"sequence": self._sequence if sequence is None else sequence, "shots": shots}
        return self.ask("POST", "/jobs", json=body, headers={"X-Warden-Session": session})

    def jobs(self, number: int, job: str = "1") -> list[int]:
        """Submit so many jobs in one session; their ids. Raises `Unavailable` if one is refused."""
        answer = self.session(job)
        if answer.status_code == 200:
            answers = [self.submit(answer.json()["id"]) for _ in range(number)]
            answer = next((one for one in answers if one.status_code != 200), answers[0])
            if answer.status_code == 200:
                return [one.json()["id"] for one in answers]
        raise Unavailable(self.name, f"refuses a job ({answer.status_code} {answer.text[:200]})", 0.0)

    def look(self, id: int) -> dict[str, Any]:
        """A job, or an empty one if it is not told."""
        with suppress(httpx.HTTPError, ValueError):
            answer = self.ask("GET", f"/jobs/{id}")
            if answer.status_code == 200:
                told: dict[str, Any] = answer.json()
                return told
            if answer.status_code == 404:
                return {"status": "LOST"}
        return {}

    def created(self) -> int:
        """Programs that the QPU got since the scenario began."""
        return len(self.qpu.log("create")) - self.mark

    def reach(self, number: int, within_s: float = 30.0) -> None:
        """Wait until the QPU got so many programs."""
        until(lambda: self.created() >= number, f"{number} programs to reach the QPU of {self.name}", within_s, 0.02)

    def begin(self) -> None:
        """Everything well, and only what comes from now on counts."""
        self.qpu.script(**msgspec.to_builtins(Script()))
        accessible = lambda: self.ask("GET", "/accessible").json()["is_accessible"]  # noqa: E731
        until(accessible, f"{self.name} to be accessible", 30.0, 0.05)
        self.mark = len(self.qpu.log("create"))

    def kill(self, number: int) -> None:
        """Send a signal to what drives the QPU, and start it again once it has ended."""
        raise NotImplementedError

    def database(self) -> Path:
        """Its SQLite file."""
        raise NotImplementedError

    def lock(self, seconds: float) -> None:
        """Hold the database's lock for so long, as a backup would."""
        connection = sqlite3.connect(self.database(), timeout=20.0, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")
        finally:
            connection.close()

    def close(self) -> None:
        self.http.close()
        self.munge.close()


class Own(Site):
    """A private Quarterdeck."""

    name = "quarterdeck"

    def __init__(self, qpu: QpuProcess, directory: Path) -> None:
        super().__init__(qpu)
        self._state = directory / "state"
        self._config = directory / "qdeck.toml"
        self._log = directory / "log"
        quoted = {key: json.dumps(value) for key, value in (("state", str(self._state)), ("uri", qpu.uri))}
        self._config.write_text(CONFIG.format(**quoted))

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self.close()

    def _start(self) -> None:
        (self._state / "warden-url").unlink(missing_ok=True)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "quarterdeck", "serve", "--config", str(self._config)],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        until(self._ready, "the private daemon to be ready", 60.0, 0.05)

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise Unavailable("the private daemon", self._log.read_text(errors="replace")[-2000:], 0.0)
        with suppress(OSError, httpx.HTTPError, ValueError, KeyError):  # not there yet, or not leading
            self.url = (self._state / "warden-url").read_text().strip()
            return bool(self.url) and self.ask("GET", "/accessible").json()["is_accessible"] is True
        return False

    def kill(self, number: int) -> None:
        self._process.send_signal(number)
        self._process.wait(30)
        self._start()

    def database(self) -> Path:
        return self._state / "quarterdeck.db"


class Warden(Site):
    """A running Warden; its scheduler is found by its command line, killed and started again as it was."""

    name = "warden"

    def __init__(self, qpu: QpuProcess, url: str) -> None:
        super().__init__(qpu)
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://127.0.0.1:", "http://localhost:")):
            raise Invalid("--warden", f"{url!r} is not http://127.0.0.1:PORT: faults are replayed on this machine only")
        try:
            self.ask("GET", "/accessible").raise_for_status()
        except httpx.HTTPError as error:
            raise Unavailable("Warden", f"{self.url}: {error}", 0.0) from None
        if not self._scheduler():
            raise Unavailable("Warden", "its scheduler (python -m warden.scheduler) is not running", 0.0)
        self._remember()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _scheduler(self) -> list[int]:
        return proc.running("warden.scheduler")

    def _remember(self) -> None:
        place = Path(f"/proc/{self._scheduler()[0]}")
        self._argv = (place / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        self._cwd = os.readlink(place / "cwd")
        pairs = (item.partition(b"=") for item in (place / "environ").read_bytes().rstrip(b"\0").split(b"\0"))
        self._environ = {name: value for name, _, value in pairs}

    def begin(self) -> None:
        """What an earlier scenario left behind is worked off by a fresh scheduler first, so that it does not count."""
        self.qpu.script(**msgspec.to_builtins(Script()))
        self.kill(signal.SIGKILL)
        left = [job["id"] for job in self.ask("GET", "/jobs").json() if job["status"] not in ENDED]
        with suppress(Unavailable):
            until(lambda: all(self.look(id).get("status") in ENDED for id in left), "Warden's queue", 90.0, 0.2)
        super().begin()

    def kill(self, number: int) -> None:
        for pid in self._scheduler():
            os.kill(pid, number)
        until(lambda: not self._scheduler(), "Warden's scheduler to end", 30.0, 0.05)
        subprocess.Popen(
            self._argv, cwd=self._cwd, env=self._environ, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until(lambda: bool(self._scheduler()), "Warden's scheduler to start", 30.0, 0.05)

    def database(self) -> Path:
        for link in Path(f"/proc/{proc.listener(int(self.url.rpartition(':')[2]))}/fd").iterdir():
            target = os.readlink(link)
            if target.endswith(".db"):
                return Path(target)
        return Path(self._cwd) / "warden.db"
