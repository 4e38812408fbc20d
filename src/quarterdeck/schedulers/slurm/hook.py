"""What Slurm runs: `python -m quarterdeck.schedulers.slurm.hook ACTION`, in a tenth of a second, and always bounded.

prolog   PrologSlurmctld: give the job its QPUs. 1: not now, Slurm queues it again; for good: it is held, too
epilog   EpilogSlurmctld: take them back. Always 0; what gets lost here the agent and the lease make good
check QPUS CLASS PROJECT MODE     the SPANK plugin before a submission, as the user. 1 with `error: SENTENCE`
access JOB UID HET_JOB HET_SIZE   the SPANK plugin in each step, as root: NAME=VALUE lines, or 1 and `error: ...`
usage JOB UID ARRAY TASK          the SPANK plugin at a script's end: what was used, into the AdminComment
"""

from __future__ import annotations

import os
import pwd
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

from quarterdeck import wire
from quarterdeck.errors import (
    Conflict,
    DaemonUnreachable,
    DeviceUnavailable,
    NotFound,
    QuarterdeckError,
    TooManyRequests,
    Unavailable,
)
from quarterdeck.schedulers.contract import Contract, for_good
from quarterdeck.schedulers.environment import environment
from quarterdeck.schedulers.slurm import remark
from quarterdeck.schedulers.slurm.queue import Facts, Queue
from quarterdeck.schedulers.slurm.request import Asked, asked, job_id, request, told
from quarterdeck.schedulers.slurm.settings import SlurmSettings, load

PAUSE_S = 1.0


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    action = arguments[0] if arguments else ""
    try:
        settings = load()
        hook = Hook(settings, Contract(settings.door), Queue(settings))
        if action == "prolog":
            return hook.prolog(os.environ)
        if action == "epilog":
            return hook.epilog(os.environ)
        if action == "check":
            return hook.check(*[*arguments[1:], "", "", "", ""][:4])
        if action == "access":
            return hook.access(*[*arguments[1:], "", "", "", ""][:4])
        if action == "usage":
            return hook.usage(*[*arguments[1:], "", "", "", ""][:4])
    except QuarterdeckError as error:
        if action == "check":  # a missing file on this host is no reason to refuse
            print(f"note: {_line(error)}")
            return 0
        print(f"error: {_line(error)}")
        return 0 if action in ("epilog", "usage") else 1
    print(__doc__, file=sys.stderr)
    return 2


class Hook:
    """The actions. `sleep` and `clock` are replaced in tests."""

    def __init__(
        self, settings: SlurmSettings, contract: Contract, queue: Queue,
        sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._contract = contract
        self._queue = queue
        self._sleep = sleep
        self._clock = clock

    def prolog(self, environ: Mapping[str, str]) -> int:
        """Give a starting job its QPUs. Nodes are allocated already, so that this decides fast."""
        job, wanted = environ["SLURM_JOB_ID"], asked(environ)
        if not wanted.qpus:
            return 0
        name = _name(environ)
        try:
            self._acquire(job, environ, wanted)
        except (DeviceUnavailable, Conflict) as error:
            return self._turned_away(name, environ, "held", error)
        except QuarterdeckError as error:
            if for_good(error):
                return self._turned_away(name, environ, "refused", error)
            self._say(name, "held", error)
            return 1
        return 0

    def _acquire(self, job: str, environ: Mapping[str, str], wanted: Asked) -> None:
        facts = Facts(partition=environ.get("SLURM_JOB_PARTITION", ""))
        with suppress(Unavailable):  # the lease is a day then, and the agent shortens it
            facts = self._queue.facts(int(job))
        wish = request(self._settings, job, environ["SLURM_JOB_USER"], wanted, facts)
        self._patiently(partial(self._contract.acquire, wish))

    def _patiently(self, call: Callable[[], wire.Job]) -> wire.Job:
        """Again for a while if the daemon does not answer: it restarts, perhaps."""
        end = self._clock() + self._settings.patience_s
        while True:
            try:
                return call()
            except DeviceUnavailable:
                raise
            except (Unavailable, TooManyRequests):
                if self._clock() + PAUSE_S > end:
                    raise
            self._sleep(PAUSE_S)

    def _turned_away(self, job: str, environ: Mapping[str, str], kind: remark.Kind, error: QuarterdeckError) -> int:
        """Hold it with the reason, so that it neither runs nor comes back every two minutes; the agent lets it go.

        A heterogeneous job is held as a whole: its classical components do not come to the agent's notice.
        """
        self._say(job, kind, error)
        with suppress(QuarterdeckError):
            self._queue.hold(environ.get("SLURM_HET_JOB_ID") or job)
        return 1

    def _say(self, job: str, kind: remark.Kind, error: QuarterdeckError) -> None:
        """To its srun or salloc; in its AdminComment, by which the agent knows it; in its Comment, for squeue."""
        print(f"job {job} does not start: {_line(error)}")
        with suppress(QuarterdeckError):
            self._queue.tell(job, f"quarterdeck: {_line(error)}")
        with suppress(QuarterdeckError):
            self._queue.comment(job, remark.write(self._queue.remarks(job), kind, str(error)))
        with suppress(QuarterdeckError):
            self._queue.explain(job, self._queue.said(job), str(error))

    def epilog(self, environ: Mapping[str, str]) -> int:
        """Take a job's QPUs back, and write what it used where Slurm can keep it."""
        job = environ["SLURM_JOB_ID"]
        if not asked(environ).qpus:
            return 0
        with suppress(NotFound):  # it never got any
            done = self._contract.release(job_id(self._settings, job))
            if self._settings.accounting and done.usage is not None:
                self._queue.account(job, remark.write("", "usage", told(done.usage)))
        return 0

    def check(self, qpus: str, class_: str, project: str, mode: str) -> int:
        """Refuse a submission that could never start. Partition and QOS are not known yet: the start decides."""
        wanted = Asked(qpus=qpus, class_=class_, project=project, mode=mode)
        wish = request(self._settings, "check", "", wanted, Facts())
        try:
            self._contract.check(wish)
        except DaemonUnreachable:
            print("note: the Quarterdeck daemon does not answer; the job is queued, and starts once it does")
        except QuarterdeckError as error:
            print(f"{'error' if for_good(error) else 'note'}: {_line(error)}")
            return int(for_good(error))
        return 0

    def access(self, job: str, uid: str, het_job: str, het_size: str) -> int:
        """A step's variables. Only of its own user's jobs: the other components' ids come from its environment."""
        user = _user_name(int(uid))
        for each in _components(job, het_job, het_size):
            try:
                found = self._patiently(partial(self._contract.access, job_id(self._settings, each)))
            except NotFound:
                continue
            if found.user == user:
                for name, value in self._variables(found, int(uid)).items():
                    print(f"{name}={value}")
                return 0
        print(f"error: job {job} has no QPU; ask for it when the job is submitted, such as: sbatch --qpu=NAME")
        return 1

    def _variables(self, job: wire.Job, uid: int) -> dict[str, str]:
        door = self._contract.door
        return environment(job, door.url if door.local or not job.url else job.url, uid)

    def usage(self, job: str, uid: str, array: str = "", task: str = "") -> int:
        """What a job used so far, into its AdminComment: after its end Slurm takes nothing more."""
        with suppress(NotFound):
            found = self._contract.job(job_id(self._settings, job))
            if found.user == _user_name(int(uid)) and found.usage is not None:
                name = f"{array}_{task}" if array.strip("0") else job
                self._queue.comment(name, remark.write(self._queue.remarks(name), "usage", told(found.usage)))
        return 0


def _components(job: str, het_job: str, het_size: str) -> Iterator[str]:
    """The job itself, then the other components of its heterogeneous job: their ids follow each other."""
    yield job
    if het_size.isdigit():
        first = int(het_job) if het_job.isdigit() else int(job)
        for offset in range(min(int(het_size), 128)):
            if str(first + offset) != job:
                yield str(first + offset)


def _name(environ: Mapping[str, str]) -> str:
    """What Slurm's commands call this job alone: an array's last task has the whole array's id."""
    if environ.get("SLURM_ARRAY_JOB_ID") and environ.get("SLURM_ARRAY_TASK_ID"):
        return f"{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
    return environ["SLURM_JOB_ID"]


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _line(error: QuarterdeckError) -> str:
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
