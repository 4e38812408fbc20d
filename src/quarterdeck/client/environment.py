"""What a job needs in its environment for programs written for QRMI to find their QPU (QRMI 0.26, CUDA-Q 0.16)."""

from __future__ import annotations

import os

from quarterdeck.client.session import SessionHandle

RESOURCE = "FRESNEL"
"""QRMI's pasqal-cloud resources must have a name of Pasqal's. Not EMU_...: Qiskit's backend would take another device.
What is behind it says the device's own specification, whose name is the device's."""


def qrmi(session: SessionHandle, url: str) -> dict[str, str]:
    """QRMI's variables for a session on a device that takes Pulser programs; `url` is the daemon's over HTTP.

    They hold the session's own token, which is good for nothing once the session is closed.
    """
    cloud = f"{RESOURCE}_QRMI_PASQAL_CLOUD"
    told = {
        "QRMI_JOB_QPU_RESOURCES": RESOURCE, "QRMI_JOB_QPU_TYPES": "pasqal-cloud",
        "QRMI_JOB_UID": str(os.getuid()), "QRMI_JOB_ID": session.info.job or session.id,
        f"{RESOURCE}_QRMI_JOB_ACQUISITION_TOKEN": session.id,
        f"{cloud}_BASE_URL": f"{url.rstrip('/')}/pasqal-cloud", f"{cloud}_AUTH_TOKEN": session.token,
        f"{cloud}_PROJECT_ID": session.info.project or session.info.user,
    }  # fmt: skip
    # QRMI falls back to these names; CUDA-Q 0.16 knows no others.
    return told | {name.replace("QRMI_JOB", "SLURM_JOB"): told[name] for name in list(told)[:2]}
