"""Prolog and epilog: what happens on the execution host, as root, around each job.

The prolog's exit codes are Grid Engine's: 0 the job starts; 99 it goes back to the queue, and nothing else is touched;
100 this job, and only it, goes into the error state. Any other would take the queue away from everybody, so there is
none, whatever fails.
"""

from __future__ import annotations

import os
import pwd
import sys
import syslog
from contextlib import suppress
from pathlib import Path

from quarterdeck.errors import QuarterdeckError
from quarterdeck.schedulers.contract import Contract, for_good
from quarterdeck.schedulers.environment import environment
from quarterdeck.schedulers.gridengine import door
from quarterdeck.schedulers.gridengine.cluster import Cluster, plain
from quarterdeck.schedulers.gridengine.request import Ask, allowed, granted
from quarterdeck.schedulers.gridengine.site import CLASS, PROJECT, Site, load
from quarterdeck.schedulers.gridengine.verifier import WAITS

RUN, REQUEUE, REFUSE = 0, 99, 100
DAEMON_S = 10.0
MARKER = "quarterdeck"
"""A file in the job's spool directory: its id for the daemon, once it was acquired."""
PROLOG = "$job_id $ja_task_id $job_owner $queue"
EPILOG = "$job_id $ja_task_id"


def prolog(spool: Path, words: list[str], site: Site, cluster: Cluster, contract: Contract) -> int:
    """Acquire the job's QPUs and put the way to them into its environment. Returns the exit code."""
    number, task, owner, queue = words
    try:
        job = cluster.job(number)
    except QuarterdeckError as error:
        return _requeue(f"job {number}: {error}")
    devices = granted(job.resources, site)
    if not devices:
        return RUN
    try:
        ask = Ask(devices=devices, class_=job.context.get(CLASS, ""), project=job.context.get(PROJECT, ""))
        request = door.request(
            site, number, devices, task=task, class_=allowed(ask, queue.partition("@")[0], site), user=owner,
            project=ask.project or site.projects.get(job.project, job.project), walltime_s=job.walltime_s,
        )  # fmt: skip
        acquired = contract.acquire(request)
    except QuarterdeckError as error:
        if not for_good(error):
            return _wait(cluster, number, door.sentence(error))
        with (spool / "error").open("a") as file:  # execd tells its first line as the reason in `qstat -j`
            file.write(f"Quarterdeck: {plain(str(error))}\n")
        return REFUSE
    try:
        (spool / MARKER).write_text(site.job(number, task))
        _export(spool, environment(acquired, site.url, _uid(owner)))
    except OSError as error:
        contract.release(site.job(number, task))
        return _wait(cluster, number, f"the job's environment cannot be written: {error}")
    if WAITS in job.context:
        with suppress(QuarterdeckError):
            cluster.untell(number, WAITS)
    return RUN


def epilog(spool: Path, site: Site, contract: Contract) -> int:
    """Release what the prolog acquired, and report what was used. Always 0: the lease is the backstop."""
    try:
        id_ = (spool / MARKER).read_text()
    except FileNotFoundError:
        return 0
    usage = contract.release(id_).usage
    if site.usage_file and usage is not None:
        with (spool / "usage").open("a") as file:
            file.write(f"qdeck_qpu_s={usage.qpu_s:g}\nqdeck_shots={usage.shots}\nqdeck_tasks={usage.tasks}\n")
    return 0


def _uid(owner: str) -> int | None:
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        return None


def _export(spool: Path, values: dict[str, str]) -> None:
    """Append to the file that the shepherd makes the job's environment from; it holds a token from now on."""
    file = spool / "environment"
    groups = [line.partition("=")[2] for line in (spool / "config").read_text().splitlines() if "add_grp_id=" in line]
    if groups and groups[0].strip().isdigit():
        os.chown(file, -1, int(groups[0]))  # the group that only this job's processes carry
    file.chmod(0o640)
    with file.open("a") as lines:
        for name, value in values.items():
            if "\n" in value:
                raise OSError(f"{name} has several lines")
            lines.write(f"{name}={value}\n")


def _wait(cluster: Cluster, number: str, why: str) -> int:
    try:
        cluster.tell(number, WAITS, why)
    except QuarterdeckError as error:
        why = f"{why} ({error})"
    return _requeue(f"job {number} goes back to the queue: {why}")


def _requeue(why: str) -> int:
    syslog.syslog(syslog.LOG_WARNING, f"quarterdeck: {why}")
    return REQUEUE


def main(which: str, file: Path) -> int:
    """The programs that a queue's `prolog` and `epilog` name. Whatever fails, no queue is set in error."""
    spool = Path(os.environ.get("SGE_JOB_SPOOL_DIR", "."))
    try:
        if which == "epilog" and not (spool / MARKER).exists():
            return 0
        site = load(file)
        contract = door.contract(site, DAEMON_S)
        if which == "epilog":
            return epilog(spool, site, contract)
        return prolog(spool, sys.argv[1:], site, Cluster(site), contract)
    except Exception as error:
        syslog.syslog(syslog.LOG_ERR, f"quarterdeck: {which} {sys.argv[1:]}: {type(error).__name__}: {error}")
        return REQUEUE if which == "prolog" else 0
