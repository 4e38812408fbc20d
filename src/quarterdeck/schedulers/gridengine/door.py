"""The way from here to the daemon: requests in the contract's words, and which refusals are for good."""

from __future__ import annotations

from quarterdeck.errors import DaemonUnreachable, QuarterdeckError
from quarterdeck.schedulers.contract import Contract, JobRequest
from quarterdeck.schedulers.door import Door
from quarterdeck.schedulers.gridengine.site import Class, Site

AWAY = "the quantum daemon does not answer"
MANAGER = "gridengine"
FOR_GOOD = (402, 403, 404, 422)
"""Over budget, forbidden, no such device, not possible: asking again later changes nothing."""


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


def for_good(error: QuarterdeckError) -> bool:
    """Whether the daemon refuses this job for ever, so that waiting is no use."""
    return error.status in FOR_GOOD
