"""A private, real Grid Engine (Debian's 8.1.9) in one directory: qmaster and one execution host, both this one.

No systemd, no debconf, nothing under /etc or /var touched. Needs root and the packages gridengine-master,
gridengine-exec and gridengine-client.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.clusters.place import SYSTEM_PATH

LIB, SHARE, VAR = Path("/usr/lib/gridengine"), Path("/usr/share/gridengine"), Path("/var/lib/gridengine")
CLIENT_S = 20.0
QUEUES = {"all.q": "NONE", "qplain": "NONE", "qprod": "NONE", "qlow": "NONE", "qhigh": "qlow=1"}
"""Queue by name, and whom it suspends while a job of it runs."""


def missing() -> str:
    """Why it cannot be run here; empty if it can."""
    if not all((LIB / name).exists() for name in ("spoolinit", "spooldefaults")) or not _found("sge_execd"):
        return "no Grid Engine: apt-get install gridengine-master gridengine-exec gridengine-client"
    if os.geteuid() != 0:
        return "Grid Engine's daemons and jobs of several users need root"
    return ""


def _found(program: str) -> str | None:
    """Where a daemon is; not every PATH has the places of the administrator's programs."""
    return shutil.which(program, path=SYSTEM_PATH)


class GridEngine:
    """One cluster. `directory` must be fresh, short, and passable for other users."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.host = socket.gethostname()
        self.root = directory / "root"
        self.common = self.root / "default" / "common"
        self.spool = directory / "spool"
        master, execd = _free_ports(2)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SGE_", "QDECK_"))}
        self.environ = {
            **clean, "SGE_ROOT": str(self.root), "SGE_CELL": "default", "SGE_QMASTER_PORT": str(master),
            "SGE_EXECD_PORT": str(execd), "SGE_CLUSTER_NAME": f"qdeck{master}", "SGE_SINGLE_LINE": "1",
            "PATH": f"{LIB}:{clean['PATH']}:{SYSTEM_PATH}",  # those in /usr/bin are slow scripts around these
        }  # fmt: skip

    # -- up and down ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring it up; takes 3 to 6 s. Raises `AssertionError` with the daemons' last words."""
        try:
            self._prepare()
            self.start_qmaster()
            for option in ("-ah", "-as"):
                subprocess.run(
                    ["qconf", option, self.host], env=self.environ, capture_output=True, timeout=10, check=False
                )
            self._daemon("sge_execd")
            until(lambda: bool(self.run("qconf", "-sel", check=False).stdout.strip()), "the execution host registers")
            self._configure()
        except BaseException:
            self.stop()
            raise

    def start_qmaster(self) -> None:
        self._daemon("sge_qmaster")
        until(lambda: self._answers(), "sge_qmaster answers")

    def stop(self) -> None:
        """End everything of it, by process id, whatever state it is in."""
        if self._answers():
            self.run("qdel", "-u", "*", check=False)
            deadline = time.monotonic() + 5
            while self.run("qstat", "-u", "*", check=False).stdout.strip() and time.monotonic() < deadline:
                time.sleep(0.1)
        for pid in self.spool.glob("execd/*/execd.pid"):
            _end(_pid(pid), "sge_execd")
        for shepherd, _ in self.processes("sge_shepherd"):
            for child in (*_tree(shepherd), shepherd):
                _kill(child)
        _end(_pid(self.spool / "qmaster" / "qmaster.pid"), "sge_qmaster")

    def processes(self, name: str) -> list[tuple[int, str]]:
        """Process ids of this cluster's own processes with this name, and where each works: `.../JOB.TASK`."""
        found = []
        for comm in Path("/proc").glob("[0-9]*/comm"):
            try:
                where = os.readlink(comm.parent / "cwd")
                if comm.read_text().strip().startswith(name) and where.startswith(f"{self.directory}/"):
                    found.append((int(comm.parent.name), where))
            except OSError:
                continue
        return found

    # -- asking -----------------------------------------------------------------------------------------------------

    def run(
        self, *words: str, user: str = "", cwd: Path | None = None, check: bool = True, within_s: float = CLIENT_S,
        stdin: str | None = None, environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """A client command, bounded in time: clients of a dead qmaster block."""
        done = subprocess.run(
            [*_as(user), *words], env={**self.environ, **(environ or {})}, cwd=cwd, input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True, timeout=within_s,
            check=False, errors="replace",
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def popen(self, *words: str, user: str, cwd: Path) -> subprocess.Popen[str]:
        """One that waits, such as qrsh."""
        return subprocess.Popen(
            [*_as(user), *words], env=self.environ, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def state(self, job: str) -> str:
        """A job's state as qstat tells it, several for an array; empty once it is over."""
        lines = self.run("qstat", "-u", "*").stdout.splitlines()[2:]
        return " ".join(line.split()[4] for line in lines if line.split()[0] == job)

    def details(self, job: str) -> str:
        """`qstat -j`, as its user sees it."""
        return self.run("qstat", "-j", job, check=False).stdout

    def wait(self, job: str, state: str, within_s: float = 30.0) -> None:
        """Until the job is in this state; the empty one is its end."""
        until(
            lambda: self.state(job) == state, lambda: f"job {job} is {state or 'over'}: {self.state(job)!r}", within_s
        )

    def queue_states(self) -> dict[str, str]:
        """Each queue instance that is not simply there: its states, such as E or au."""
        found = {}
        for line in self.run("qstat", "-f").stdout.splitlines():
            parts = line.split()
            if parts and "@" in parts[0] and len(parts) > 5:
                found[parts[0]] = parts[5]
        return found

    def log(self) -> str:
        """The daemons' last words."""
        files = [*self.directory.glob("*.out"), *self.spool.glob("*/messages"), *self.spool.glob("*/*/messages")]
        return "\n".join(f"{file}:\n{file.read_text(errors='replace')[-1500:]}" for file in files)

    # -- how it is made ---------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        for path in (self.common, self.spool / "qmaster" / "job_scripts", self.spool / "execd"):
            path.mkdir(parents=True)
        self.directory.chmod(0o755)
        for name in ("bin", "lib", "util", "utilbin"):
            if (VAR / name).exists():
                (self.root / name).symlink_to((VAR / name).resolve())
        spool, common = self.spool, self.common
        (common / "bootstrap").write_text(
            "admin_user root\ndefault_domain none\nignore_fqdn false\nspooling_method classic\nspooling_lib libspoolc\n"
            f"spooling_params {common};{spool}/qmaster\nbinary_path /usr/sbin\nqmaster_spool_dir {spool}/qmaster\n"
            "security_mode none\nlistener_threads 2\nworker_threads 2\nscheduler_threads 1\n"
        )
        (common / "act_qmaster").write_text(f"{self.host}\n")
        names = {name for name in subprocess.run(
            ["getent", "hosts", "127.0.0.1"], capture_output=True, text=True, check=False
        ).stdout.split()[1:]}  # fmt: skip
        # 127.0.0.1 resolves back to these: without the aliases clients get "access denied".
        (common / "host_aliases").write_text(" ".join([self.host, *sorted(names | {"localhost"} - {self.host})]) + "\n")
        # The end of a job kills every process that carries the job's group id: no two clusters may share one.
        gid = 20_000 + random.SystemRandom().randrange(400) * 100
        replaced = {
            "execd_spool_dir": f"{spool}/execd", "gid_range": f"{gid}-{gid + 99}", "min_uid": "0", "min_gid": "0",
            "load_report_time": "00:00:02", "execd_params": "ENABLE_ADDGRP_KILL=true,PTF_MIN_PRIORITY=0",
        }  # fmt: skip
        lines = []
        for line in (SHARE / "default-configuration").read_text().splitlines():
            name = line.split(" ")[0]
            line = f"{name} {replaced[name]}" if name in replaced else line
            lines.append(line.replace("flush_time=00:00:15", "flush_time=00:00:01"))
        (self.directory / "global").write_text("\n".join(lines) + "\n")
        for command in (
            [LIB / "spoolinit", "classic", "libspoolc", f"{common};{spool}/qmaster", "init"],
            [LIB / "spooldefaults", "configuration", self.directory / "global"],
            [LIB / "spooldefaults", "complexes", SHARE / "util" / "resources" / "centry"],
            [LIB / "spooldefaults", "usersets", SHARE / "util" / "resources" / "usersets"],
            [LIB / "spooldefaults", "managers", "root"],
        ):
            done = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=30, check=False)
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    def _configure(self) -> None:
        host = self.run("qconf", "-sel").stdout.split()[0]
        faster = {
            "schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1", "schedd_job_info": "true",
            "load_formula": "np_load_avg", "job_load_adjustments": "NONE",
        }  # fmt: skip
        told = self.run("qconf", "-ssconf").stdout.splitlines()
        changed = [
            f"{name} {faster.get(name, rest.strip())}" for name, _, rest in (line.partition(" ") for line in told)
        ]
        self.put("-Msconf", "\n".join(changed))
        self.put("-Ahgrp", f"group_name @allhosts\nhostlist {host}")
        starter = self.directory / "starter"
        starter.write_text('#!/bin/bash\nexec /bin/bash -c "$*"\n')  # some accounts of the system have no shell
        starter.chmod(0o755)
        for name, subordinates in QUEUES.items():
            self.put("-Aq", _queue(name, subordinates, starter))
        until(
            lambda: len(_instances(self.run("qstat", "-f").stdout)) == len(QUEUES) and not self.queue_states(),
            lambda: f"the queues are ready: {self.queue_states()}",
        )

    def put(self, option: str, text: str) -> None:
        """`qconf OPTION FILE`."""
        file = self.directory / "qconf"
        file.write_text(text + "\n")
        self.run("qconf", option, str(file))

    def _daemon(self, name: str) -> None:
        """It puts itself into the background. Its output goes to a file: it would keep a pipe open."""
        with (self.directory / f"{name}.out").open("ab") as out:
            subprocess.run(
                [_found(name) or name], env=self.environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                timeout=30, check=True, cwd="/",
            )  # fmt: skip

    def _answers(self) -> bool:
        try:
            return self.run("qconf", "-sh", check=False, within_s=3).returncode == 0
        except subprocess.TimeoutExpired:
            return False


def until(true: Callable[[], bool], what: str | Callable[[], str], within_s: float = 30.0) -> None:
    """Wait until something is so. Raises `AssertionError` that tells what is not."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what if isinstance(what, str) else what()}"
        time.sleep(0.1)


def _instances(told: str) -> list[str]:
    return [line for line in told.splitlines() if "@" in line.split(" ")[0]]


def _queue(name: str, subordinates: str, starter: Path) -> str:
    fixed = {
        "qname": name, "hostlist": "@allhosts", "seq_no": "0", "load_thresholds": "NONE", "suspend_thresholds": "NONE",
        "nsuspend": "1", "suspend_interval": "00:05:00", "priority": "0", "min_cpu_interval": "00:05:00",
        "processors": "UNDEFINED", "qtype": "BATCH INTERACTIVE", "ckpt_list": "NONE", "pe_list": "NONE",
        "rerun": "TRUE", "slots": "8", "tmpdir": "/tmp", "shell": "/bin/bash", "prolog": "NONE", "epilog": "NONE",
        "shell_start_mode": "unix_behavior", "starter_method": str(starter), "suspend_method": "NONE",
        "resume_method": "NONE", "terminate_method": "NONE", "notify": "00:00:10", "owner_list": "NONE",
        "user_lists": "NONE", "xuser_lists": "NONE", "subordinate_list": subordinates, "complex_values": "NONE",
        "projects": "NONE", "xprojects": "NONE", "calendar": "NONE", "initial_state": "default",
    }  # fmt: skip
    limits = ("rt", "cpu", "fsize", "data", "stack", "core", "rss", "vmem")
    return "\n".join([*(f"{key} {value}" for key, value in fixed.items()),
                      *(f"{kind}_{limit} INFINITY" for limit in limits for kind in "sh")])  # fmt: skip


def _as(user: str) -> Sequence[str]:
    return ["setpriv", f"--reuid={user}", "--regid", _group(user), "--clear-groups", "--"] if user else []


def _group(user: str) -> str:
    return str(pwd.getpwnam(user).pw_gid)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now."""
    with_sockets = [socket.socket() for _ in range(count)]
    for each in with_sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in with_sockets]
    for each in with_sockets:
        each.close()
    return ports


def _pid(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def _alive(pid: int, name: str) -> bool:
    """Still that program (ids are used again), and no zombie."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return f"Name:\t{name}"[:20] in status and "\nState:\tZ" not in status


def _end(pid: int, name: str) -> None:
    """TERM, and KILL after a while: a healthy qmaster takes 5 to 9 s."""
    for number, patience_s in ((signal.SIGTERM, 12.0), (signal.SIGKILL, 3.0)):
        if not pid or not _alive(pid, name):
            return
        os.kill(pid, number)
        deadline = time.monotonic() + patience_s
        while _alive(pid, name) and time.monotonic() < deadline:
            time.sleep(0.05)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _tree(pid: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            mine = [int(child) for child in children.read_text().split()]
        except OSError:
            continue
        for child in mine:
            found += [*_tree(child), child]
    return found
