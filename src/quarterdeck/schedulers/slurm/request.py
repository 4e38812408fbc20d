"""What Slurm knows of a job, as the contract wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from quarterdeck import wire
from quarterdeck.errors import Invalid
from quarterdeck.schedulers.contract import JobRequest
from quarterdeck.schedulers.slurm import remark
from quarterdeck.schedulers.slurm.queue import Facts, SlurmJob, named
from quarterdeck.schedulers.slurm.settings import SlurmSettings

MANAGER = "slurm"
OPTION = "SPANK__SLURM_SPANK_OPTION_quarterdeck_"
"""How the SPANK plugin's options reach PrologSlurmctld (Slurm 22.05)."""

QPUS, NONE = "SPANK_QDECK_QPU", "none"
"""What the job itself asks for, as the plugin says: Slurm gives later components earlier ones' options, too."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The values of --qpu, --qpu-class, --qpu-project, --qpu-mode; empty where not given."""

    qpus: str = ""
    class_: str = ""
    project: str = ""
    mode: str = ""


def job_id(settings: SlurmSettings, job: int | str) -> str:
    """A job's id in the daemon."""
    return f"{MANAGER}:{settings.cluster}:{job}"


def asked(environ: Mapping[str, str]) -> Asked:
    """From the environment of slurmctld's hooks."""
    given = [environ.get(f"{OPTION}{name}", "") for name in ("qpu_class", "qpu_project", "qpu_mode")]
    qpus = environ.get(QPUS, "")
    return Asked(qpus="" if qpus == NONE else qpus, class_=given[0], project=given[1], mode=given[2])


def request(settings: SlurmSettings, job: int | str, user: str, asked: Asked, facts: Facts) -> JobRequest:
    """Raises `Invalid` for a class that the partition or the QOS does not give."""
    return _request(settings, job, user, tuple(asked.qpus.split(",")), asked, facts)


def of_queue(settings: SlurmSettings, job: SlurmJob) -> JobRequest:
    """The same from the queue: what job_submit.lua noted of the options is in the comment."""
    told = remark.fields(remark.read(job.comment, "asks"))
    options = Asked(class_=told.get("class", ""), project=told.get("project", ""), mode=told.get("mode", ""))
    facts = Facts(
        partition=job.partition, qos=named(job.qos or ""), account=named(job.account or ""), walltime_s=job.walltime_s
    )
    return _request(settings, job.job_id, job.user_name, tuple(job.qpus), options, facts)


def _request(
    settings: SlurmSettings, job: int | str, user: str, devices: Sequence[str], asked: Asked, facts: Facts
) -> JobRequest:
    mode = asked.mode or "shared"
    if mode not in ("shared", "exclusive"):
        raise Invalid("--qpu-mode", f"{mode!r} is neither shared nor exclusive")
    return JobRequest(
        id=job_id(settings, job), manager=MANAGER, devices=tuple(devices), user=user,
        class_=msgspec.convert(settings.class_of(facts.partition, facts.qos, asked.class_), wire.Class),
        project=settings.project_of(facts.account, asked.project), mode=msgspec.convert(mode, wire.Mode),
        walltime_s=facts.walltime_s,
    )  # fmt: skip


def told(usage: wire.JobUsage) -> str:
    """What a job used, for its AdminComment."""
    return f"qpu_s={usage.qpu_s:.3f} shots={usage.shots} tasks={usage.tasks} waited_s={usage.waited_s:.3f}"
