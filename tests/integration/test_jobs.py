"""Jobs of workload managers: acquired by root for a user, accessed by that user, released once and for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from quarterdeck.errors import (
    Conflict,
    DaemonUnreachable,
    DeviceUnavailable,
    Forbidden,
    Invalid,
    NotFound,
    OverBudget,
    Unauthenticated,
)
from quarterdeck.schedulers.contract import Contract, JobRequest
from quarterdeck.schedulers.door import Door
from quarterdeck.schedulers.environment import environment

from .munged import Munged, as_uid
from .munged import missing as no_munge
from .running import FAKE, Daemon, as_nobody

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be several users")
ALICE = 4001


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    for directory in (tmp_path, tmp_path.parent, tmp_path.parent.parent):  # other users must find the socket
        directory.chmod(directory.stat().st_mode | 0o055)
    device = {**FAKE, "slow_s": 0.05}
    with Daemon(tmp_path, devices={"one": device, "two": device}) as daemon:
        yield daemon


@pytest.fixture
def contract(daemon: Daemon) -> Contract:
    return Contract(Door(f"unix://{daemon.state}/run/qdeck.sock"))


def request(id: str = "slurm:c:7", *devices: str, user: str = "nobody", **more: object) -> JobRequest:
    fields = {"walltime_s": 60.0, **more}
    return JobRequest(id=id, manager="slurm", devices=devices or ("one",), user=user, **fields)  # type: ignore[arg-type]


def run(daemon: Daemon, token: str, **fields: object) -> httpx.Response:
    body = {"program": {"format": "opaque", "payload": "p"}, "shots": 5, **fields}
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{daemon.url()}/v1/tasks", json=body, headers=headers, trust_env=False)


def finish(daemon: Daemon, id: str) -> None:
    deadline = time.monotonic() + 20
    while daemon.http.get(f"/v1/tasks/{id}?wait=5").json()["state"] not in ("done", "failed", "cancelled"):
        assert time.monotonic() < deadline


def test_a_job_from_its_submission_to_its_usage(daemon: Daemon, contract: Contract) -> None:
    assert contract.check(request()).ready
    job = contract.acquire(request(class_="production"))
    assert (job.state, job.user, job.manager, job.class_) == ("open", "nobody", "slurm", "production")
    assert 600 < job.expires_s - time.time() < 661 and job.token.startswith("qds_")
    again = contract.acquire(request(class_="production"))
    assert (again.session, again.token) == (job.session, job.token), "every step of a job asks"
    assert contract.access(job.id).token == job.token
    assert [one.id for one in contract.jobs("slurm")] == [job.id] and contract.jobs("gridengine") == []
    task = run(daemon, job.token).json()
    assert (task["user"], task["session"], task["class"], task["job"]) == ("nobody", job.session, "production", job.id)
    finish(daemon, task["id"])
    told = contract.release(job.id)
    assert told.state == "released" and told.usage is not None and told.token == ""
    assert (told.usage.shots, told.usage.tasks) == (5, 1) and told.usage.qpu_s > 0
    assert contract.release(job.id).usage == told.usage, "once is as good as twice"
    assert contract.job(job.id).usage == told.usage and contract.jobs("slurm") == []
    assert run(daemon, job.token).status_code == 401, "the token of a finished job is refused"
    with pytest.raises(NotFound):
        contract.access(job.id)
    with pytest.raises(NotFound):
        contract.renew(job.id, 60)
    with pytest.raises(NotFound):
        contract.release("slurm:c:8")


def test_a_job_that_is_queued_again_gets_a_new_session_and_one_account(daemon: Daemon, contract: Contract) -> None:
    first = contract.acquire(request())
    finish(daemon, run(daemon, first.token).json()["id"])
    contract.release(first.id)
    second = contract.acquire(request())
    assert second.session != first.session and second.token != first.token
    finish(daemon, run(daemon, second.token).json()["id"])
    assert contract.release(first.id, first.session).state == "open"  # an agent that was late
    used = contract.release(second.id, second.session).usage
    assert used is not None and (used.shots, used.tasks) == (10, 2)


def test_a_job_outlasts_the_daemon(daemon: Daemon, contract: Contract) -> None:
    job = contract.acquire(request())
    daemon.kill()
    with pytest.raises(DaemonUnreachable, match="qdeck serve"):
        contract.access(job.id)
    daemon.start()
    assert contract.access(job.id).token == contract.acquire(request()).token == job.token
    assert contract.renew(job.id, 5000.0).expires_s > time.time() + 4000
    assert run(daemon, job.token).status_code == 201


def test_two_that_acquire_at_once_get_the_same(contract: Contract) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: contract.acquire(request()).session, range(16)))
    assert len(set(found)) == 1 and len(contract.jobs("slurm")) == 1


def test_a_job_with_two_qpus(daemon: Daemon, contract: Contract) -> None:
    job = contract.acquire(request("slurm:c:9", "two", "one"))
    assert [device.name for device in job.devices] == ["two", "one"]
    assert run(daemon, job.token, device="one").json()["device"] == "one"
    spread = {run(daemon, job.token, shots=400).json()["id"] for _ in range(4)}
    for task in spread:
        finish(daemon, task)
    assert {daemon.http.get(f"/v1/tasks/{task}").json()["device"] for task in spread} == {"one", "two"}
    told = environment(job, "unix:///run/q.sock", 65534)
    assert (told["QDECK_DEVICE"], told["QDECK_DEVICES"], told["QDECK_SESSION"]) == ("two", "two,one", job.session)
    assert told["QRMI_JOB_QPU_RESOURCES"] == told["SLURM_JOB_QPU_RESOURCES"] == "FRESNEL,FRESNEL_CAN1"
    assert told["FRESNEL_CAN1_QRMI_PASQAL_CLOUD_AUTH_TOKEN"] == job.token
    secrets = {value for value in told.values() if daemon.token() in value}
    assert not secrets, "only the job's own short-lived token"
    with pytest.raises(Conflict, match="has two, one for nobody already"):
        contract.acquire(request("slurm:c:9", "one"))
    with pytest.raises(Invalid, match="may have one QPU"):
        contract.acquire(request("slurm:c:10", "two", "one", mode="exclusive"))


def test_what_refuses_a_job_is_told_before_it_is_queued(daemon: Daemon, contract: Contract) -> None:
    with pytest.raises(Invalid, match="there is no QPU three; there are one, two"):
        contract.check(request("slurm:c:1", "three"))
    put = daemon.http.put
    assert put("/v1/projects/qchem", json={"classes": ["development"]}).status_code == 200
    assert put("/v1/projects/closed", json={"members": ["ada"]}).status_code == 200
    assert put("/v1/projects/spent", json={}).status_code == 200
    assert put("/v1/projects/spent/budget", json={"qpu_s": 0.0}).status_code == 200
    for project, class_, error in (
        ("qchem", "production", Forbidden), ("closed", "development", Forbidden), ("spent", "development", OverBudget),
        ("nowhere", "development", NotFound),
    ):  # fmt: skip
        for call in (contract.check, contract.acquire):
            with pytest.raises(error):
                call(request(project=project, class_=class_))
    assert contract.jobs("slurm") == []


def test_a_device_that_takes_no_work_lets_jobs_wait(daemon: Daemon, contract: Contract) -> None:
    running = contract.acquire(request("slurm:c:1"))
    daemon.http.post("/v1/devices/one/status", json={"status": "maintenance", "reason": "vacuum"})
    told = contract.check(request("slurm:c:2", "one", "two"))
    assert not told.ready and told.message == "one is in maintenance: vacuum"
    with pytest.raises(DeviceUnavailable, match="one is unavailable: in maintenance: vacuum"):
        contract.acquire(request("slurm:c:2"))
    assert contract.acquire(request("slurm:c:1")).session == running.session, "who has it keeps it"
    daemon.http.post("/v1/devices/one/status", json={"status": "online"})
    now_s = time.time()
    window = {"kind": "calibration", "start_s": now_s, "end_s": now_s + 60}
    set_ = daemon.http.post("/v1/devices/two/windows", json=window).json()
    assert "two is in calibration for another" in contract.check(request("slurm:c:2", "two")).message
    daemon.http.delete(f"/v1/windows/{set_['id']}")
    deadline = time.monotonic() + 20
    while not contract.check(request("slurm:c:2", "two", "one")).ready:  # the next probe finds it
        assert time.monotonic() < deadline
    contract.acquire(request("slurm:c:3", "two", mode="exclusive"))
    assert "held by an exclusive session of nobody" in contract.check(request("slurm:c:2", "two", user="ada")).message


@needs_root
def test_users_see_and_end_their_own_jobs_only(daemon: Daemon, contract: Contract) -> None:
    theirs, mine = contract.acquire(request("slurm:c:1", user="ada")), contract.acquire(request("slurm:c:2"))
    with as_nobody():
        assert [one.id for one in contract.jobs("slurm")] == [mine.id]
        assert contract.access(mine.id).token == mine.token
        for call in (contract.access, contract.job, contract.release):
            with pytest.raises(NotFound):
                call(theirs.id)
        with pytest.raises(Forbidden, match="workload manager"):
            contract.acquire(request("slurm:c:3"))
        with pytest.raises(Forbidden, match="another user"):
            contract.check(request("slurm:c:3", user="ada"))
        assert contract.check(request("slurm:c:3", user="")).ready


@pytest.mark.skipif(bool(no_munge()), reason=no_munge())
def test_hooks_on_other_nodes_come_with_munge(tmp_path: Path) -> None:
    munged = Munged()
    try:
        with Daemon(tmp_path, munge=True, munge_socket=str(munged.socket)) as daemon:
            contract = Contract(Door(daemon.url(), munge_socket=str(munged.socket)))
            job = contract.acquire(request("slurm:c:1", "fake", user=str(ALICE)))
            with as_uid(ALICE):
                assert contract.access(job.id).token == job.token
                with pytest.raises(Forbidden):
                    contract.acquire(request("slurm:c:2", "fake"))
            door = Door(daemon.url(), munge_socket=str(munged.socket))
            stolen = door._credential("GET", "/v1/jobs", b"")
            with httpx.Client(base_url=daemon.url(), trust_env=False) as http:
                headers = {"Authorization": f"MUNGE {stolen}"}
                other = http.delete("/v1/jobs/slurm:c:1", headers=headers)
                assert other.status_code == 401 and "made for another request" in other.text
                assert http.get("/v1/jobs", headers=headers).status_code == 401, "munged lets it be used once"
                assert http.get("/v1/jobs", headers={"Authorization": "MUNGE nonsense"}).status_code == 401
                assert http.get("/v1/jobs?manager=slurm", headers={
                    "Authorization": f"MUNGE {door._credential('GET', '/v1/jobs?manager=slurm', b'')}"
                }).status_code == 200  # fmt: skip
        with Daemon(tmp_path / "without") as daemon:
            with pytest.raises(Unauthenticated, match=r"daemon\.munge"):
                Contract(Door(daemon.url(), munge_socket=str(munged.socket))).jobs("slurm")
    finally:
        munged.close()


def test_qdeck_shows_jobs(daemon: Daemon, contract: Contract) -> None:
    job = contract.acquire(request())
    environ = {**os.environ, "QDECK_STATE": str(daemon.state)}
    qdeck = Path(sys.executable).with_name("qdeck")

    def told(*words: str) -> str:
        done = subprocess.run([qdeck, "jobs", *words], env=environ, capture_output=True, text=True, check=True)
        return done.stdout

    assert job.id in told() and job.id in told("--manager", "slurm") and job.id not in told("--manager", "pbs")
    assert "0 shots in 0 tasks" in told(job.id)
    assert json.loads(told(job.id, "--json"))["state"] == "open"
    with suppress(NotFound):
        contract.release(job.id)
    assert "released" in told(job.id)


def test_a_hook_starts_quickly() -> None:
    """It imports neither the client's HTTP library nor the CLI's."""
    slow = ["httpx", "typer", "asyncio", "numpy", "quarterdeck.core"]
    code = "import sys, quarterdeck.schedulers.contract, quarterdeck.schedulers.environment; " \
           f"print(*(name for name in {slow} if name in sys.modules))"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
