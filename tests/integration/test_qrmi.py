"""The unmodified `qrmi` package from PyPI, with a real munged, against Warden's interface."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from quarterdeck.core import events as ev
from quarterdeck.core.invariants import Audit
from quarterdeck.munge import Munge

from .munged import Munged, client
from .running import Daemon
from .test_warden import AFM, PAIR, settings

SCRIPTS = Path(__file__).resolve().parents[1] / "clients"
USER = 4001
EMULATOR = {"driver": "neutral-atom-emulator", "setup_s": 0.1, "shot_rate_hz": 1000.0}


@pytest.fixture(scope="module")
def site(munged: Munged, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    tables = {"warden": settings(munged, first_uid=0)}
    with Daemon(tmp_path_factory.mktemp("qrmi"), "", {"fresnel-emulator": EMULATOR}, tables) as daemon:
        yield daemon


def url(site: Daemon) -> str:
    return (site.state / "warden-url").read_text().strip()


def python(name: str) -> Path:
    """The interpreter with an unmodified client; skips without."""
    path = client(name)
    if not path.exists():
        pytest.skip(f"the client {name} is not installed: ./run clients")
    return path


def run(
    munged: Munged, name: str, script: str, *args: str, stdin: str = "", environ: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run a client's script where it finds this munged. Returns the JSON on its last line."""
    command = munged.seen_by([python(name), SCRIPTS / script, *args])
    done = subprocess.run(command, input=stdin, env=environ, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize("version", ["0.26.1", "0.26.4"])
def test_the_whole_life_of_a_task(site: Daemon, munged: Munged, version: str) -> None:
    seen = run(munged, f"qrmi-{version}", "lifecycle.py", url(site) + "/", str(USER), stdin=AFM)
    assert seen["accessible"] is True and seen["acquired_again"] is True
    assert seen["device"] == seen["spec"]
    assert "Completed" in seen["ended"] and sum(seen["counts"].values()) == 100
    assert set(map(len, seen["counts"])) == {7}
    assert "finished" in seen["logs"]
    assert "Completed" in seen["after_stop"]
    assert seen["early_result"]
    assert "Cancelled" in seen["stopped"]
    assert "404" in seen["bogus"] and "Job not found" in seen["bogus"]
    assert "422" in seen["bad"]
    assert "403" in seen["after_release"] and "revoked" in seen["after_release"]


@pytest.mark.parametrize("version", ["0.24", "0.25"])
def test_older_wheels_come_as_far_as_they_can(site: Daemon, munged: Munged, version: str) -> None:
    """Wheels before 0.26.1 were built without MUNGE: of pasqal-local they can only ask whether it is accessible."""
    seen = run(munged, f"qrmi-{version}", "probe.py", url(site))
    assert seen["accessible"] is True
    assert "Munge support is disabled" in seen["acquire"]


def job(site: Daemon, name: str = "fresnel") -> dict[str, str]:
    """The environment of a batch job as a plugin for the workload manager leaves it; the session is root's here."""
    munge = Munge(str((site.state / "qdeck.toml").read_text().partition('munge_socket = "')[2].partition('"')[0]))
    headers = {"X-Munge-Cred": munge.encode()}
    munge.close()
    answer = httpx.post(f"{url(site)}/sessions", json={"user_id": "0", "slurm_job_id": "5"}, headers=headers)
    assert answer.status_code == 200, answer.text
    return {
        **os.environ, "OPENBLAS_NUM_THREADS": "1", "QRMI_JOB_UID": "0", "QRMI_JOB_ID": "5",
        "QRMI_JOB_QPU_RESOURCES": name, "QRMI_JOB_QPU_TYPES": "pasqal-local", f"{name}_QRMI_WARDEN_URL": url(site),
        f"{name}_QRMI_JOB_ACQUISITION_TOKEN": answer.json()["id"],
    }  # fmt: skip


def test_pulser_through_qrmi(site: Daemon, munged: Munged) -> None:
    """The shape of the public example. Jobs of 0.3 s must not cost the second that clients sleep between two polls."""
    seen = run(munged, "pasqal", "pulser_qrmi.py", "5", environ=job(site))
    assert seen["device"] == "fresnel-emulator" and seen["status"] == "BatchStatus.DONE"
    strong, weak = seen["counts"]
    assert sum(strong.values()) == sum(weak.values()) == 200
    assert weak["000"] > 180 > strong.get("000", 0), "the variable did not reach the pulse"
    assert seen["logs"] == [True, True]
    assert seen["median_s"] < 1.0, "status calls were not held"


def test_qiskit_through_qrmi(site: Daemon, munged: Munged) -> None:
    """The shape of the public example: the blockade keeps the two atoms beside the corner apart from it."""
    seen = run(munged, "pasqal", "qiskit_qrmi.py", environ=job(site))
    assert sum(seen["counts"].values()) == 200
    assert max(seen["counts"], key=seen["counts"].get) == "011"


def live(site: Daemon) -> list[str]:
    """Tasks that have not ended."""
    pages = [site.http.get("/v1/tasks", params={"state": state}) for state in ("queued", "running", "cancelling")]
    return [task["id"] for page in pages for task in page.json()["items"]]


def sockets(pid: int) -> int:
    """How many sockets a process holds open."""
    links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    return sum(link.startswith("socket:") for link in links)


def test_a_thousand_sessions_of_fifty_users(munged: Munged, tmp_path: Path) -> None:
    tables = {"warden": settings(munged, hold_s=10)}
    devices = {"fake": {"driver": "fake", "slow_s": 0.01, "lanes": 2}}
    with Daemon(tmp_path, "", devices, tables) as site:
        assert site.process is not None
        site.ended(site.submit(site.upload(PAIR, "pulser")).json()["id"])
        before = sockets(site.process.pid)
        seen = run(munged, "qrmi-0.26.4", "crowd.py", url(site), "50", "20", stdin=PAIR)
        assert seen["wrong"] == []
        assert (seen["reports"], seen["tasks"], seen["tokens"], seen["foreign"]) == (50, 1000, 1000, 0)
        assert site.http.get("/v1/sessions").json()["items"] == [], "every session was released"
        deadline = time.monotonic() + 10
        while (left := live(site)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, "nothing is left in the queue"
        while sockets(site.process.pid) > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sockets(site.process.pid) <= before, "connections were left open"
        Audit().read(ev.decode(json.dumps(event)) for event in site.events())


def ahs(separation_m: float) -> dict[str, Any]:
    """A pulse of area pi on two atoms, as CUDA-Q writes it: SI units, numbers as text."""
    times = ["0.00000000", "0.00000050"]

    def series(value: str) -> dict[str, Any]:
        return {"pattern": "uniform", "time_series": {"times": times, "values": [value, value]}}

    sites = [["0.00000000", "0.00000000"], [f"{separation_m:.8f}", "0.00000000"]]
    drive = {"amplitude": series("6283185.30717959"), "detuning": series("0.0"), "phase": series("0.0")}
    return {
        "setup": {"ahs_register": {"sites": sites, "filling": [1, 1]}},
        "hamiltonian": {"drivingFields": [drive], "localDetuning": []},
    }


@pytest.mark.parametrize("text", [True, False], ids=["text", "object"])
def test_an_analog_hamiltonian_as_the_sequence(site: Daemon, munged: Munged, text: bool) -> None:
    """Far apart both atoms flip; close together the blockade lets only one."""
    munge = Munge(str(munged.socket))
    counts = []
    with httpx.Client(base_url=url(site), timeout=60.0, trust_env=False) as http:

        def ask(method: str, path: str, session: str = "", **more: Any) -> Any:
            answer = http.request(
                method, path, headers={"X-Munge-Cred": munge.encode(), "X-Warden-Session": session}, **more
            )
            assert answer.status_code == 200, answer.text
            return answer.json()

        session = ask("POST", "/sessions", json={"user_id": "0", "slurm_job_id": "6"})["id"]
        for separation_m in (15e-6, 5e-6):
            document: Any = ahs(separation_m)
            body = {"sequence": json.dumps(document) if text else document, "shots": 100}
            job = ask("POST", "/jobs", session, json=body)
            done = ask("GET", f"/jobs/{job['id']}")
            assert done["status"] == "DONE", done
            counts.append(json.loads(done["results"])["counter"])
    munge.close()
    far, near = counts
    assert far.get("11", 0) > 90 and near.get("11", 0) < 5
    assert near.get("01", 0) + near.get("10", 0) > 20
