"""A Slurm cluster with Quarterdeck installed by its own installer, a daemon, and the agent: all of it real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

from quarterdeck import wire
from quarterdeck.schedulers.contract import Contract
from quarterdeck.schedulers.door import Door, path
from tests.clusters.slurm import NODES, Slurm, missing

CONFIG = """\
[daemon]
state = "{dir}/qdeck"
listen = "127.0.0.1:0"
probe_s = 0.2
munge = true
munge_socket = "{munge}"

[devices.fresnel-emulator]
driver = "neutral-atom-emulator"
time_scale = 1000.0

[devices.slow]
driver = "fake"
slow_s = 0.1
slice_shots = 10
"""
SETTINGS = """\
every_s = 0.5
command_s = 5.0
patience_s = 15.0
grace_s = 30.0

[classes]
partition = { urgent = "production" }
qos = { gold = "production" }

[projects]
account = { phys = "atoms" }
"""
BENCH = (
    CONFIG.partition("[devices.")[0]
    + """\
[devices.bench-emulator]
driver = "neutral-atom-emulator"
"""
)
"""One emulated QPU at a real one's pace, for `python -m tests.clusters.quantum COMMAND`."""
HYBRID = """\
# A hybrid job: classical steps between tasks on its QPU.
import os, sys
import quarterdeck
rounds, shots = int(sys.argv[1]), int(sys.argv[2])
form, text = ("opaque", "x") if os.environ["QDECK_DEVICE"] == "slow" else ("pulser", open(sys.argv[3]).read())
with quarterdeck.connect() as client:
    program = client.upload(text, format=form)
    for turn in range(rounds):
        task = client.submit(program, shots=shots, name=f"turn {turn}")
        print("task", task.id, flush=True)
        task.wait()
        print("counts", sum(task.result().counts.values()), flush=True)
print("good", flush=True)
"""
DEVICES = {"fresnel-emulator": 4, "slow": 2}


class Quantum:
    """`with Quantum() as site:` starts everything. Restarting the daemon or the agent keeps their state.

    `user`: whom slurmctld and the agent run as.
    """

    def __init__(
        self, database: bool = False, config: str = CONFIG, devices: dict[str, int] = DEVICES, user: str = "root"
    ) -> None:
        self.devices = devices
        self.slurm = Slurm(database, user)
        self.dir = self.slurm.dir
        self.config = self.dir / "etc" / "qdeck.toml"
        self.settings = self.dir / "site" / "etc" / "quarterdeck" / "slurm.toml"
        self.url = f"unix://{self.dir}/qdeck/run/qdeck.sock"
        text = config.format(dir=self.dir, munge=self.slurm.munged.socket)
        self.config.write_text(text.replace("[daemon]\n", f'[daemon]\nadministrators = ["{user}"]\n'))
        self._user = user
        self.settings.parent.mkdir(parents=True)
        self.settings.write_text(SETTINGS)
        self.contract = Contract(Door(self.url))
        self.program = self.dir / "jobs" / "hybrid.py"
        self.program.write_text(HYBRID)
        self._daemon: subprocess.Popen[bytes] | None = None
        self._agent: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Quantum:
        try:
            self.install("--apply")
            self.start_daemon()
            self.start_agent()
            self.slurm.up()
            self.slurm.until(lambda: (self.dir / "run" / "slurm.state").exists(), 10, "the agent writes no state")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all of it."""
        try:
            self.slurm.down()
        finally:
            for process in (self._agent, self._daemon):
                if process is not None and process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    process.wait(20)
            self.slurm.close()

    def install(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`qdeck slurm install` for this cluster."""
        devices = [word for name, count in self.devices.items() for word in ("--device", f"{name}:{count}")]
        return self.slurm.root(
            "qdeck", "slurm", "install", *options, "--root", self.dir / "site", "--slurm-conf", self.slurm.conf,
            "--node", "qn1", "--url", self.url, "--partition", "quantum", "--state", self.dir / "run" / "slurm.state",
            "--python", self.slurm.place.python, *devices, check=check, within_s=60,
        )  # fmt: skip

    # -- the daemon and the agent -----------------------------------------------------------------------------------

    def start_daemon(self) -> None:
        """Start it, and return once it and its devices are ready."""
        self._daemon = self._start("qdeck", "serve", "--config", str(self.config), "--log-level", "warning")
        end = time.monotonic() + 60
        while not self.answers():
            assert self._daemon.poll() is None and time.monotonic() < end, f"no daemon: {self.log('qdeck')}"
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether the daemon does, with all its devices online."""
        try:
            return all(device.status == "online" for device in self.contract.devices())
        except Exception:
            return False

    def kill_daemon(self) -> None:
        """kill -9."""
        _end(self._daemon)

    def start_agent(self) -> None:
        """Start `qdeck slurm agent`."""
        self._agent = self._start("qdeck", "slurm", "agent", "--config", str(self.settings), user=self._user)

    def kill_agent(self) -> None:
        """kill -9."""
        _end(self._agent)

    def _start(self, *command: str, user: str = "root") -> subprocess.Popen[bytes]:
        with (self.dir / "log" / f"{command[0]}{command[1]}.log").open("ab") as log:
            return subprocess.Popen(
                self.slurm.place.inside(command, user), env=self.slurm.place.environ(SLURM_CONF=self.slurm.conf),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def log(self, name: str) -> str:
        """The end of what they printed."""
        return "".join(path.read_text()[-2000:] for path in (self.dir / "log").glob(f"{name}*.log"))

    def hybrid(self, rounds: int, shots: int) -> str:
        """A shell command that runs a hybrid program on the job's QPU."""
        return f"python {self.program} {rounds} {shots} {self.dir}/examples/programs/afm_chain.json"

    # -- looking ----------------------------------------------------------------------------------------------------

    def qdeck(self, *words: str, user: str = "root", check: bool = True) -> Any:
        """What a `qdeck ... --json` answers."""
        done = self.slurm.run("qdeck", *words, "--json", user=user, check=check, QDECK_URL=self.url,
                              QDECK_SLURM=self.settings, HOME=self.dir / "jobs")  # fmt: skip
        return json.loads(done.stdout)

    def task(self, id: str) -> wire.Task:
        """A task in the daemon."""
        return self.contract.door.ask("GET", path("tasks", id), wire.Task)

    def open_jobs(self) -> list[str]:
        """Slurm's ids of the jobs that have QPUs."""
        return [job.id.rpartition(":")[2] for job in self.contract.jobs("slurm")]

    def comment(self, job: int) -> str:
        """Its AdminComment."""
        return str(self.slurm.job(job)["admin_comment"])

    def drained(self) -> list[str]:
        """Nodes that no job can have any more, with the reason. There must never be one."""
        lines = self.slurm.root("sinfo", "-h", "-N", "-o", "%N %T %E").stdout.splitlines()
        assert {line.split()[0] for line in lines} == set(NODES)
        return [line for line in lines if any(bad in line.split()[1] for bad in ("drain", "down", "fail"))]


def _end(process: subprocess.Popen[bytes] | None) -> None:
    assert process is not None
    # nsenter without --fork becomes the program, so that this is its process id
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)


def main(command: list[str]) -> int:
    """Run a command of a user in a private cluster with the device `bench-emulator`, which 16 jobs may share."""
    with Quantum(config=BENCH, devices={"bench-emulator": 16}) as site:
        settings = {"QDECK_URL": site.url, "QDECK_SLURM": site.settings, "HOME": site.dir / "jobs"}
        environ = site.slurm.place.environ(SLURM_CONF=site.slurm.conf, **settings)
        shell = ["sh", "-c", 'cd "$0" && exec "$@"', str(site.dir / "jobs"), *command]
        return subprocess.run(site.slurm.place.inside(shell, "nobody"), env=environ, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) < 2 or (why := missing()):
        sys.exit(f"{__doc__}\nusage: python -m tests.clusters.quantum COMMAND...\n{'' if len(sys.argv) < 2 else why}")
    sys.exit(main(sys.argv[1:]))
