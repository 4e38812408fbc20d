"""The way from here to the daemon: requests in the contract's words."""

from __future__ import annotations

from quarterdeck.errors import DaemonUnreachable, QuarterdeckError
from quarterdeck.schedulers.contract import Contract, JobRequest
from quarterdeck.schedulers.door import Door
from quarterdeck.schedulers.gridengine.site import Class, Site

AWAY = "the quantum daemon does not answer"
MANAGER = "gridengine"


def contract(site: Site, timeout_s: float) -> Contract:
    """The contract with the site's daemon."""
    return Contract(Door(site.url, timeout_s=timeout_s, environ={}))  # a job's QDECK_URL must not get here


def request(
    site: Site, number: str, devices: tuple[str, ...], *, task: str = "", class_: Class, user: str, project: str,
    walltime_s: float | None,
) -> JobRequest:  # fmt: skip
    """What a job needs, in the contract's words."""
    return JobRequest(
        id=site.job(number, task), manager=MANAGER, devices=devices, user=user, class_=class_, project=project,
        walltime_s=walltime_s,
    )  # fmt: skip


def sentence(error: QuarterdeckError) -> str:
    """What went wrong, for the user of a job; where the daemon is, is the administrator's business."""
    return AWAY if isinstance(error, DaemonUnreachable) else str(error)
