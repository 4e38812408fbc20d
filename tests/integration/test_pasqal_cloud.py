"""Pasqal Cloud's interface, asked by its unmodified clients and by hand."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .running import Daemon

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".tools" / "clients" / "pasqal" / "bin" / "python"
DEVICE = "fresnel-emulator"
DEVICES = {DEVICE: {"driver": "neutral-atom-emulator", "time_scale": 1000}}
AFM = (ROOT / "examples" / "programs" / "afm_chain.json").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("pasqal"), "", DEVICES) as daemon:
        yield daemon


def token(daemon: Daemon, **session: Any) -> str:
    """A new session's bearer token."""
    answer = daemon.http.post("/v1/sessions", json={"device": DEVICE, **session})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def base(daemon: Daemon) -> str:
    return daemon.url() + "/pasqal-cloud"


def run(daemon: Daemon, script: str, *args: str, **environ: str) -> dict[str, Any]:
    """Run a client's script. Returns the JSON on its last line."""
    if not PYTHON.exists():
        pytest.skip("the clients of Pasqal Cloud are not installed: ./run clients")
    command = [PYTHON, ROOT / "tests" / "clients" / script, base(daemon), token(daemon), *args]
    environ = {"OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "NO_PROXY": "*", **environ}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_pulsers_backends(site: Daemon) -> None:
    seen = run(site, "pasqal_pulser.py")
    assert seen["devices"] == {DEVICE: DEVICE, "FRESNEL": DEVICE}
    assert {"FRESNEL", "EMU_FREE", "EMU_MPS", "EMU_FRESNEL", "EMU_SV"} < set(seen["public"])
    still, moved = seen["two_jobs"]
    assert still == {"000": 100} and sum(moved.values()) == 50 and set(moved) - {"000"}
    assert seen["batch_status"] == "DONE" and len(seen["job_ids"]) == 2
    assert seen["atom_order"] == ["q0", "q1", "q2"]
    assert seen["open_batch"] == [20, 30]
    assert seen["while_open"] in ("RUNNING", "PENDING") and seen["after_close"] == "DONE"
    assert max(seen["short_job_s"]) < 2.0  # the client's own first sleep: no call of it was answered too early
    assert seen["duration_ns"] == 400
    assert seen["emulator"] == 1000 and seen["observable"] == 77
    assert "occupation" in seen["refused"] and "invalid" in seen["refused"]
