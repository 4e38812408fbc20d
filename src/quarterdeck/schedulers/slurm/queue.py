"""Slurm's queue, through its own commands. Each call is bounded: without a controller they would hang."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import msgspec

from quarterdeck.errors import Unavailable
from quarterdeck.schedulers.slurm.settings import SlurmSettings

OVER = frozenset({
    "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY",
    "REVOKED",
})  # fmt: skip
_UNLIMITED = 4294967294
SAYS = "qdeck: "
"""How a Comment begins that tells why a job waits."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _Number(msgspec.Struct, frozen=True):
    """A number since Slurm 23.02."""

    set: bool = False
    infinite: bool = False
    number: float = 0


Number = int | _Number | None


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """A job as `squeue --json` tells it: plain in 22.05; with lists of states and wrapped numbers since 23.02."""

    job_id: int
    job_state: str | list[str]
    user_name: str = ""
    partition: str = ""
    qos: str | None = ""
    account: str | None = ""
    time_limit: Number = None
    state_reason: str = ""
    priority: Number = 0
    admin_comment: str | None = ""
    comment: str | None = ""
    tres_per_node: str | None = ""
    array_job_id: Number = 0
    array_task_id: Number = None
    het_job_id: Number = 0
    start_time: Number = 0
    restart_cnt: Number = 0


class SlurmJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job in Slurm's queue; only what is used here. `time_limit` is in minutes, None for none.

    `said` is its Comment, which `squeue -o %k` shows: its user's, or why it waits.
    """

    job_id: int
    job_state: str
    user_name: str = ""
    partition: str = ""
    qos: str | None = ""
    account: str | None = ""
    time_limit: int | None = None
    state_reason: str = ""
    priority: int = 0
    admin_comment: str | None = ""
    said: str = ""
    tres_per_node: str | None = ""
    array_job_id: int = 0
    array_task_id: int | None = None
    het_job_id: int = 0
    start_time: int = 0
    restart_cnt: int = 0

    @staticmethod
    def of(told: _Told) -> SlurmJob:
        """Whatever version of Slurm told it."""
        states = [told.job_state] if isinstance(told.job_state, str) else told.job_state
        shown = next((state for state in ("COMPLETING", "CONFIGURING", "REQUEUED") if state in states), states[0])
        return SlurmJob(
            job_id=told.job_id, job_state=shown, user_name=told.user_name, partition=told.partition, qos=told.qos,
            account=told.account, time_limit=_whole(told.time_limit), state_reason=told.state_reason,
            priority=_whole(told.priority) or 0, admin_comment=told.admin_comment,
            said=told.comment or "", tres_per_node=told.tres_per_node,
            array_job_id=_whole(told.array_job_id) or 0, array_task_id=_whole(told.array_task_id),
            het_job_id=_whole(told.het_job_id) or 0, start_time=_whole(told.start_time) or 0,
            restart_cnt=_whole(told.restart_cnt) or 0,
        )  # fmt: skip

    @property
    def qpus(self) -> dict[str, int]:
        """Its QPUs, and how much of each."""
        return qpus(self.tres_per_node or "")

    @property
    def comment(self) -> str:
        return self.admin_comment or ""

    @property
    def walltime_s(self) -> float | None:
        """Its time limit; None if it has none."""
        limit = self.time_limit
        return None if limit is None or limit <= 0 or limit >= _UNLIMITED else limit * 60.0

    @property
    def over(self) -> bool:
        return self.job_state in OVER

    @property
    def held(self) -> bool:
        return self.job_state == "PENDING" and self.priority == 0

    @property
    def handle(self) -> str:
        """What it is held and released by: a heterogeneous job only as a whole."""
        return str(self.het_job_id) if self.het_job_id else self.record

    @property
    def record(self) -> str:
        """What its record is changed by. An array's tasks that still wait together have one.

        The raw id of an array's last task stands for the whole array, so that a task is ARRAY_TASK.
        """
        if self.array_job_id and self.array_task_id is not None:
            return f"{self.array_job_id}_{self.array_task_id}"
        return str(self.job_id)


def _whole(value: Number) -> int | None:
    if isinstance(value, _Number):
        return int(value.number) if value.set and not value.infinite else None
    return value


class _Answer(msgspec.Struct, frozen=True):
    jobs: list[_Told]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a hook needs to know of its job, and is not told by Slurm."""

    partition: str = ""
    qos: str = ""
    account: str = ""
    walltime_s: float | None = None


class Queue:
    """The controller's queue. Every method raises `Unavailable` if Slurm does not answer or refuses."""

    def __init__(self, settings: SlurmSettings) -> None:
        self._settings = settings
        self._environ = {**os.environ, "PATH": f"{settings.bin}:{PATH}" if settings.bin else PATH}
        if settings.conf:
            self._environ["SLURM_CONF"] = settings.conf
        for name in [name for name in self._environ if name.startswith(("SQUEUE_", "SCONTROL_", "SLURM_TIME_FORMAT"))]:
            del self._environ[name]  # a user's taste in columns is not for us

    def jobs(self) -> list[SlurmJob]:
        """Every job that the controller remembers."""
        try:
            return [SlurmJob.of(job) for job in msgspec.json.decode(self._run("squeue", "--json"), type=_Answer).jobs]
        except msgspec.DecodeError as error:
            raise Unavailable("Slurm", f"squeue --json is not understood: {error}", 0.0) from None

    def facts(self, job: int) -> Facts:
        """Of one job that is not over."""
        text = self._run("squeue", "-h", "-a", "-j", str(job), "-o", "%A|%P|%q|%a|%l").decode(errors="replace")
        for line in text.splitlines():
            raw, partition, qos, account, limit = line.split("|")
            if raw == str(job):
                return Facts(partition=partition, qos=named(qos), account=named(account), walltime_s=duration_s(limit))
        raise Unavailable(f"job {job}", "Slurm does not know it", 0.0)

    def hold(self, job: str) -> None:
        """As the administrator: its user cannot release it."""
        self._run("scontrol", "hold", job)

    def release(self, job: str) -> None:
        """Let it start again."""
        self._run("scontrol", "release", job)

    def soon(self, job: str) -> None:
        """Let a job that was queued again start in two seconds, not in two minutes.

        Not at once: a node whose slurmd was told to kill the job refuses credentials of that same second for good
        ("already killed, do not launch batch job"), and the job fails.
        """
        self._run("scontrol", "update", f"JobId={job}", "StartTime=now+2")

    def comment(self, job: str, text: str) -> None:
        """Write its AdminComment. Slurm 22.05 refuses once the job has ended."""
        self._run("scontrol", "update", f"JobId={job}", f"AdminComment={text}")

    def explain(self, job: str, said: str, why: str) -> None:
        """Tell in its Comment, which its user reads in squeue, why it waits; empty once it does not.

        `said` is what is there; what its user wrote stays.
        """
        text = SAYS + " ".join(why.split()) if why else ""
        if said != text and (not said or said.startswith(SAYS)):
            self._run("scontrol", "update", f"JobId={job}", f"Comment={text}")

    def remarks(self, job: str) -> str:
        """Its AdminComment."""
        return self._field(job, "AdminComment")

    def said(self, job: str) -> str:
        """Its Comment."""
        return self._field(job, "Comment")

    def _field(self, job: str, name: str) -> str:
        text = self._run("scontrol", "show", "job", job).decode(errors="replace")
        found = re.search(rf"^\s*{name}=(.*)$", text, re.MULTILINE)
        return found[1].strip() if found else ""

    def account(self, job: str, text: str) -> None:
        """Write the AdminComment of a job that has ended, into slurmdbd."""
        cluster = self._settings.cluster
        self._run(
            "sacctmgr", "-i", "modify", "job", f"JobId={job}", f"Cluster={cluster}", "set", f"AdminComment={text}"
        )

    def tell(self, job: str, text: str) -> None:
        """A line on the standard error of a job's srun or salloc."""
        self._run("scontrol", "notify", job, text)

    def _run(self, *command: str) -> bytes:
        try:
            done = subprocess.run(
                command, env=self._environ, stdin=subprocess.DEVNULL, capture_output=True, check=False,
                timeout=self._settings.command_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Unavailable("Slurm", f"{command[0]} took more than {self._settings.command_s:g} s", 0.0) from None
        except OSError as error:
            raise Unavailable("Slurm", f"{command[0]} cannot be run: {error.strerror}", 0.0) from None
        if done.returncode:
            why = " ".join((done.stderr or done.stdout).decode(errors="replace").split())
            raise Unavailable("Slurm", f"{' '.join(command[:2])} failed: {why or done.returncode}", 0.0)
        return done.stdout


def qpus(tres: str) -> dict[str, int]:
    """The QPUs in a list such as `gres:qpu:emu:1,gres/gpu:2`; in how many parts of each."""
    found: dict[str, int] = {}
    for part in tres.split(","):
        if match := re.fullmatch(r"(?:gres[:/])?qpu:([^:=]+)(?:[:=](\d+))?", part.strip()):
            found[match[1]] = found.get(match[1], 0) + int(match[2] or 1)
    return found


def named(text: str) -> str:
    """Slurm's words for nothing are nothing."""
    return "" if text in ("(null)", "N/A", "None assigned") else text


def duration_s(text: str) -> float | None:
    """Seconds of a time limit such as 1-02:00:00, 5:00 or UNLIMITED (None)."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return days * 86400.0 + hours * 3600.0 + minutes * 60.0 + seconds


def write_atomically(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, and every user may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o644)
    new.replace(path)
