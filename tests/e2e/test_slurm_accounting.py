"""Slurm with slurmdbd: limits on QPUs per user, classes from the QOS, and usage that outlives the job."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.schedulers.slurm import remark
from tests.clusters.quantum import Quantum
from tests.clusters.slurm import missing

pytestmark = pytest.mark.timeout(180)
ALICE, BOB = "nobody", "games"


@pytest.fixture(scope="module")
def site() -> Iterator[Quantum]:
    if why := missing(database=True):
        pytest.skip(why)
    with Quantum(database=True, user="slurm") as quantum:  # as most sites run it: not as root
        # as docs/slurm.md has it
        for words in (
            ["add", "account", "phys"], ["add", "user", ALICE, "account=phys"], ["add", "user", BOB, "account=phys"],
            ["add", "qos", "gold"], ["modify", "qos", "gold", "set", "MaxTRESPerUser=gres/qpu=1"],
            ["modify", "account", "phys", "set", "qos=normal,gold"],
        ):  # fmt: skip
            quantum.slurm.root("sacctmgr", "-i", *words, within_s=30)
        told = lambda: all(f"UserName={user}(" in quantum.slurm.root("scontrol", "show", "assoc_mgr").stdout  # noqa: E731
                           for user in (ALICE, BOB))  # fmt: skip
        quantum.slurm.until(told, 20, "slurmctld does not know the users")
        yield quantum
        assert not quantum.drained()


def accounted(site: Quantum, job: int) -> dict[str, str]:
    """What sacct tells of a job."""
    names = ("State", "QOS", "AllocTRES", "AdminComment")
    line = site.slurm.root("sacct", "-n", "-P", "-X", "-j", str(job), "-o", ",".join(names)).stdout.strip()
    return dict(zip(names, line.split("|"), strict=True)) if line else dict.fromkeys(names, "")


def usage(site: Quantum, job: int) -> dict[str, str]:
    return dict(remark.fields(remark.read(accounted(site, job)["AdminComment"], "usage")))


def test_what_a_job_used_is_in_sacct(site: Quantum) -> None:
    job = site.slurm.sbatch(site.hybrid(2, 20), "--qpu=slow", "-q", "gold", "-t", "5")
    assert site.slurm.ended(job) == "COMPLETED"
    site.slurm.until(lambda: usage(site, job).get("shots") == "40", 20, "sacct has no usage")
    assert "gres/qpu:slow=1" in accounted(site, job)["AllocTRES"]
    told = site.contract.job(f"slurm:qtest:{job}")
    assert (told.class_, told.project) == ("production", "atoms")  # of the QOS and of the account


def test_a_cancelled_jobs_usage_is_there_too(site: Quantum) -> None:
    """scontrol refuses it once a job is over; sacctmgr takes it."""
    job = site.slurm.sbatch(site.hybrid(1, 10000), "--qpu=slow", "-t", "5")
    site.slurm.until(lambda: "task" in site.slurm.output(job), 20, "it submits no task")
    task = re.findall(r"task (\w+)", site.slurm.output(job))[0]
    site.slurm.until(lambda: site.task(task).shots_done >= 20, 20, "no shots")
    site.slurm.run("scancel", str(job))
    assert site.slurm.ended(job) == "CANCELLED"
    site.slurm.until(lambda: site.task(task).state == "cancelled", 20, "its task goes on")
    done = str(site.task(task).shots_done)  # with the slice that ran when it was cancelled
    site.slurm.until(lambda: usage(site, job).get("shots") == done, 20, "sacct has not all of its usage")


def test_hooks_and_agent_as_slurms_own_user(site: Quantum) -> None:
    """slurmctld is not root: its start hook still holds a job with the reason, and the agent lets it go."""
    assert Path(f"/proc/{site.slurm.pid('slurmctld')}").owner() == "slurm"
    site.qdeck("project", "set", "atoms")
    site.qdeck("project", "budget", "atoms", "--shots", "0")
    job = site.slurm.sbatch(site.hybrid(1, 5), "--qpu=slow", "-t", "5")
    site.slurm.until(lambda: site.slurm.job(job)["state_reason"] == "JobHeldAdmin", 20, "it is not held")
    assert remark.read(site.comment(job), "refused") == "project atoms has no shots left"
    site.qdeck("project", "budget", "atoms", "--shots", "1000")
    assert site.slurm.ended(job, 40) == "COMPLETED" and "good" in site.slurm.output(job)


def test_a_limit_on_qpus_for_each_user(site: Quantum) -> None:
    first = site.slurm.sbatch("sleep 60", "--qpu=slow", "-q", "gold", "-t", "5")
    site.slurm.until(lambda: site.slurm.state(first) == "RUNNING", 20, "it does not start")
    second = site.slurm.sbatch("true", "--qpu=slow", "-q", "gold", "-t", "5")
    other = site.slurm.sbatch("true", "--qpu=slow", "-q", "gold", "-t", "5", user=BOB)
    assert site.slurm.ended(other) == "COMPLETED"
    assert site.slurm.job(second)["state_reason"] == "QOSMaxGRESPerUser"
    site.slurm.run("scancel", str(first))
    assert site.slurm.ended(second, 30) == "COMPLETED"
