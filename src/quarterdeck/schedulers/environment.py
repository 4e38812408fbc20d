"""What a job needs in its environment: to find its QPUs with `qdeck` and with programs written for QRMI.

It carries the token of the job's session, which is good for nothing once the session is closed, and no other secret.
Facts: QRMI 0.26, CUDA-Q 0.16.
"""

from __future__ import annotations

from collections.abc import Sequence

from quarterdeck import wire

RESOURCES = ("FRESNEL", "FRESNEL_CAN1")
"""QRMI's pasqal-cloud resources must have a name of Pasqal's. Not EMU_...: Qiskit's backend would take another device.
What is behind the first says the session's first device; the second is its second."""


def qrmi(url: str, *, session: str, token: str, user: str, project: str, job: str, devices: int = 1) -> dict[str, str]:
    """QRMI's variables for a session on devices that take Pulser programs; `url` is the daemon's over HTTP.

    `user` is a uid or a name. Of more than two devices only the first two have names that QRMI knows.
    """
    names = RESOURCES[:devices]
    told = {
        "QRMI_JOB_QPU_RESOURCES": ",".join(names), "QRMI_JOB_QPU_TYPES": ",".join("pasqal-cloud" for _ in names),
        "QRMI_JOB_UID": user, "QRMI_JOB_ID": job,
    }  # fmt: skip
    # QRMI falls back to these names; CUDA-Q 0.16 knows no others.
    told |= {name.replace("QRMI_JOB", "SLURM_JOB"): told[name] for name in list(told)[:2]}
    for name in names:
        cloud = f"{name}_QRMI_PASQAL_CLOUD"
        told |= {
            f"{name}_QRMI_JOB_ACQUISITION_TOKEN": session, f"{cloud}_BASE_URL": f"{url.rstrip('/')}/pasqal-cloud",
            f"{cloud}_AUTH_TOKEN": token, f"{cloud}_PROJECT_ID": project or user,
        }  # fmt: skip
    return told


def environment(job: wire.Job, url: str, uid: int | None = None) -> dict[str, str]:
    """The variables of a workload manager's job, from `Contract.access`.

    Args:
        url: Where the job reaches the daemon: its Unix socket on the daemon's own host, else over HTTP.
        uid: The user's, where that is known.
    """
    names = [device.name for device in job.devices]
    told = {
        "QDECK_URL": url, "QDECK_SESSION": job.session, "QDECK_TOKEN": job.token, "QDECK_JOB": job.id,
        "QDECK_DEVICE": names[0] if names else "", "QDECK_DEVICES": ",".join(names),
    }  # fmt: skip
    pulser = _leading(job.devices)
    if job.url and pulser:
        who = str(uid) if uid is not None else job.user
        told |= qrmi(
            job.url, session=job.session, token=job.token, user=who, project=job.project, job=job.id, devices=pulser
        )  # fmt: skip
    return told


def _leading(devices: Sequence[wire.JobDevice]) -> int:
    """How many devices, from the first on, take Pulser programs: QRMI's resources stand for these."""
    count = 0
    for device in devices:
        if "pulser" not in device.formats:
            break
        count += 1
    return count
