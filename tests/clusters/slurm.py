"""A private, real Slurm: munged, slurmctld, one quantum node, two classical ones; with slurmdbd if asked for."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.clusters import place
from tests.clusters.place import Place, free_ports
from tests.integration.munged import Munged

PROGRAMS = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "munged": "munge", "gcc": "gcc libslurm-dev"}
DATABASE = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server"}
NODES = ("qn1", "cn1", "cn2")
CONF = """\
ClusterName=qtest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={munge}
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool/%n
SlurmctldPidFile={dir}/run/slurmctld.pid
SlurmdPidFile={dir}/run/slurmd.%n.pid
SlurmctldLogFile={dir}/log/slurmctld.log
SlurmdLogFile={dir}/log/slurmd.%n.log
SlurmctldDebug=info
SlurmdDebug=verbose
MailProg=/bin/true
ReturnToService=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=10000
MinJobAge=300
KillWait=2
InactiveLimit=0
Waittime=0
MessageTimeout=10
SlurmctldTimeout=30
SlurmdTimeout=60
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/none
PriorityType=priority/multifactor
PriorityWeightPartition=1000
JobCompType=jobcomp/none
{accounting}
SlurmdParameters=config_overrides
NodeName=qn1 NodeHostname={host} NodeAddr=127.0.0.1 Port={qn} CPUs=16 RealMemory=4000 State=UNKNOWN
NodeName=cn[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{cn}] CPUs=8 RealMemory=2000 State=UNKNOWN
PartitionName=classical Nodes=cn[1-2] Default=YES MaxTime=INFINITE State=UP
PartitionName=quantum Nodes=qn1 MaxTime=60:00 State=UP
PartitionName=urgent Nodes=qn1 MaxTime=60:00 State=UP PriorityTier=2
PartitionName=mixed Nodes=ALL MaxTime=60:00 State=UP
"""
SLURMDBD = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={munge}
AccountingStorageEnforce=associations,limits,qos"""


def missing(database: bool = False) -> str:
    """Why it cannot be run here; empty if it can."""
    return place.missing({**PROGRAMS, **(DATABASE if database else {})})


class Slurm:
    """The cluster. `up()` starts it, `down()` ends all that it started and all jobs.

    `user`: whom slurmctld, its hooks and slurmdbd run as.
    """

    def __init__(self, database: bool = False, user: str = "root") -> None:
        self.place = Place()
        self.dir = self.place.directory
        self.munged = Munged()
        self.conf = self.dir / "etc" / "slurm.conf"
        self._mariadb: subprocess.Popen[bytes] | None = None
        for name in ("etc", "state", "spool", "log", "run"):
            (self.dir / name).mkdir()
        (self.dir / "jobs").mkdir(mode=0o777)
        (self.dir / "jobs").chmod(0o1777)
        self.ports = free_ports(6)
        port, qn, cn1, cn2, dbd, db = self.ports
        assert cn2 == cn1 + 1
        for name in ("state", "log", "run"):
            shutil.chown(self.dir / name, user)
        values = {
            "user": user, "dir": self.dir, "host": socket.gethostname().partition(".")[0],
            "munge": self.munged.socket, "port": port, "qn": qn, "cn": f"{cn1}-{cn2}", "dbd": dbd,
        }  # fmt: skip
        accounting = SLURMDBD.format_map(values) if database else "AccountingStorageType=accounting_storage/none"
        self.conf.write_text(CONF.format_map({**values, "accounting": accounting}))
        (self.dir / "etc" / "cgroup.conf").write_text("CgroupAutomount=no\n")
        self._environ = self.place.environ(SLURM_CONF=self.conf)
        if database:
            self._start_database(dbd, db, user)

    # -- daemons ------------------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Start it; returns once every node is idle."""
        self.start("slurmctld", "-c")
        self.until(lambda: self.root("scontrol", "ping", check=False).returncode == 0, 15, "slurmctld does not answer")
        for node in NODES:
            self.start("slurmd", "-N", node)
        self.until(self.idle, 20, "not every node is idle")

    def start(self, *command: str) -> None:
        """Start one of its daemons, which puts itself in the background."""
        done = subprocess.run(
            self.place.inside(command), env=self._environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=30, check=False, start_new_session=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{command} ended with {done.returncode}: {self.log(command[0])}"

    def pid(self, name: str) -> int:
        """The process of slurmctld, or of slurmd.NODE; 0 if there is none."""
        try:
            pid = int((self.dir / "run" / f"{name}.pid").read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return 0
        return 0 if state == "Z" or not _comm(pid).startswith(name.partition(".")[0][:15]) else pid

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """End a daemon at once, and wait until it is gone."""
        if pid := self.pid(name):
            os.kill(pid, number)
            self.until(lambda: not self.pid(name), 15, f"{name} does not end")

    def steps(self) -> list[int]:
        """Its slurmstepd processes: they work in the directory of the log."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
                if _comm(pid).startswith("slurmstepd") and _cwd(pid).startswith(f"{self.dir}/")]  # fmt: skip

    def idle(self) -> bool:
        """Whether every node is."""
        found = self.root("sinfo", "-h", "-N", "-t", "idle", "-o", "%N", check=False).stdout.split()
        return set(found) == set(NODES)

    def down(self) -> None:
        """Cancel the jobs, then stop the daemons; what does not end is killed. Raises if something stays."""
        if self.pid("slurmctld"):
            self.clear()
        names = [f"slurmd.{node}" for node in NODES] + ["slurmctld", "slurmdbd", "mariadbd"]
        for name in names:
            if (pid := self.pid(name)) and name not in ("slurmdbd", "mariadbd"):
                os.kill(pid, signal.SIGTERM)
        for pid in self.steps():  # a step that lost its slurmd ignores TERM
            _kill_tree(pid)
        for name in names:
            try:
                self.kill(name, signal.SIGTERM)
            except AssertionError:
                self.kill(name)
        if self._mariadb is not None:
            self._mariadb.wait(10)
        self.munged.close()

    def close(self) -> None:
        """Take its directory away, once nothing writes into it any more."""
        self.place.close()

    def clear(self) -> None:
        """Cancel every job and wait until none is left."""
        self.root("scancel", "--full", "-u", "root,daemon,games,nobody", check=False)
        left = self.root("squeue", "-h", "-o", "%A", check=False).stdout.split()
        if left:
            self.root("scancel", *left, check=False)
        self.until(lambda: not self.root("squeue", "-h", check=False).stdout.strip(), 20, "jobs do not end")

    # -- clients ------------------------------------------------------------------------------------------------------

    def run(
        self, *command: str | Path, user: str = "nobody", within_s: float = 60, check: bool = True, stdin: str = "",
        cwd: Path | None = None, **environ: str | Path,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """A command as that user, with the cluster in its environment."""
        env = {**self._environ, "SLURM_EXIT_ERROR": "70", **{k: str(v) for k, v in environ.items()}}
        shell = ["sh", "-c", 'cd "$0" && exec "$@"', str(cwd or self.dir / "jobs"), *map(str, command)]
        done = subprocess.run(
            ["timeout", "--kill-after=2", str(within_s), *self.place.inside(shell, user)], env=env, input=stdin,
            capture_output=True, text=True, timeout=within_s + 10, check=False,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, (
                f"{command}: {done.returncode} {done.stdout}{done.stderr}{self.log('slurmctld')}"
            )
        return done

    def popen(self, *command: str | Path, user: str = "nobody", **environ: str) -> subprocess.Popen[str]:
        """The same, without waiting; for what a test watches or ends."""
        shell = ["sh", "-c", 'cd "$0" && exec "$@"', str(self.dir / "jobs"), *map(str, command)]
        return subprocess.Popen(
            self.place.inside(shell, user), env={**self._environ, **environ}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def root(self, *command: str | Path, check: bool = True, within_s: float = 10) -> subprocess.CompletedProcess[str]:
        """A command of the administrator."""
        return self.run(*command, user="root", check=check, within_s=within_s)

    def sbatch(self, script: str, *options: str, user: str = "nobody") -> int:
        """Submit a script; returns the job's id."""
        done = self.run("sbatch", "--parsable", "-o", "%j.out", *options, user=user, stdin=f"#!/bin/sh\n{script}\n")
        return int(done.stdout.strip().partition(";")[0])

    def job(self, job: int) -> dict[str, Any]:
        """What slurmctld knows of it."""
        return next(each for each in self.jobs() if each["job_id"] == job)

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs that slurmctld remembers."""
        found: list[dict[str, Any]] = json.loads(self.root("squeue", "--json").stdout)["jobs"]
        return found

    def state(self, job: int) -> str:
        """Such as PENDING or COMPLETED."""
        return str(self.job(job)["job_state"])

    def output(self, job: int | str) -> str:
        """What it printed."""
        file = self.dir / "jobs" / f"{job}.out"
        return file.read_text() if file.exists() else ""

    def ended(self, job: int, within_s: float = 60) -> str:
        """Its state, once it has ended."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL")
        self.until(lambda: self.state(job) in over, within_s, f"job {job} does not end")
        if (state := self.state(job)) != "COMPLETED":  # shown if the test fails
            print(
                self.job(job),
                self.output(job),
                *map(self.log, ["slurmctld", *(f"slurmd.{node}" for node in NODES)]),
                sep="\n",
            )
        return state

    def until(self, holds: Callable[[], bool], within_s: float, what: str) -> None:
        """Wait until something holds. Raises with the end of the controller's log."""
        end = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < end, f"{what} within {within_s} s\n{self.log('slurmctld')}"
            time.sleep(0.05)

    def log(self, name: str) -> str:
        """The end of a daemon's log."""
        file = self.dir / "log" / f"{name}.log"
        return file.read_text(errors="replace")[-3000:] if file.exists() else ""

    # -- accounting ---------------------------------------------------------------------------------------------------

    def _start_database(self, dbd: int, db: int, user: str) -> None:
        data, sock, secret = self.dir / "db", self.dir / "run" / "db.sock", secrets.token_hex(16)
        (self.dir / "etc" / "slurmdbd.conf").touch(mode=0o600)
        shutil.chown(self.dir / "etc" / "slurmdbd.conf", user)
        (self.dir / "etc" / "slurmdbd.conf").write_text(
            f"AuthType=auth/munge\nAuthInfo=socket={self.munged.socket}\nDbdHost={socket.gethostname().partition('.')[0]}\n"
            f"DbdAddr=127.0.0.1\nDbdPort={dbd}\nSlurmUser={user}\nLogFile={self.dir}/log/slurmdbd.log\n"
            f"PidFile={self.dir}/run/slurmdbd.pid\nStorageType=accounting_storage/mysql\nStorageHost=127.0.0.1\n"
            f"StoragePort={db}\nStorageUser=slurm\nStoragePass={secret}\nStorageLoc=slurm_acct_db\n"
            "CommunicationParameters=NoInAddrAny\n"
        )  # fmt: skip
        self.root("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}",
                  "--auth-root-authentication-method=socket", within_s=60)  # fmt: skip
        self._mariadb = subprocess.Popen(
            self.place.inside(["mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={sock}",
                               f"--pid-file={self.dir}/run/mariadbd.pid", f"--port={db}", "--bind-address=127.0.0.1",
                               "--innodb-buffer-pool-size=32M", "--innodb-lock-wait-timeout=900"]),
            env=self._environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        sql = ["mariadb", "--no-defaults", "-S", str(sock), "-e"]
        self.until(lambda: self.root(*sql, "select 1", check=False).returncode == 0, 30, "MariaDB does not answer")
        self.root(*sql, f"create database slurm_acct_db; create user slurm@localhost identified by '{secret}'; "
                  f"create user slurm@127.0.0.1 identified by '{secret}'; grant all on slurm_acct_db.* to "
                  "slurm@localhost; grant all on slurm_acct_db.* to slurm@127.0.0.1")  # fmt: skip
        self.start("slurmdbd")
        listed = ("sacctmgr", "-n", "list", "cluster")
        self.until(lambda: self.root(*listed, check=False).returncode == 0, 30, "slurmdbd does not answer")
        self.root("sacctmgr", "-i", "add", "cluster", "qtest")


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _cwd(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _kill_tree(pid: int) -> None:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    for child in map(int, children):
        _kill_tree(child)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


__all__: Sequence[str] = ("Slurm", "missing")
