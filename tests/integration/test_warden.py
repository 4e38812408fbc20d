"""Warden's interface: what its clients may rely on, and what they may not do."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from quarterdeck.munge import Munge

from .munged import Munged, as_uid
from .running import Daemon

ROOT = Path(__file__).resolve().parents[2]
AFM = (ROOT / "examples" / "programs" / "afm_chain.json").read_text()
PAIR = json.dumps({**json.loads(AFM), "register": json.loads(AFM)["register"][:2]})  # the fake device has two qubits
ALICE, BOB = 4001, 4002
STATUSES = {"PENDING", "RUNNING", "DONE", "ERROR", "CANCELED"}


class Site:
    """A daemon with Warden's interface, asked as the users of a cluster would."""

    def __init__(self, daemon: Daemon, munged: Munged) -> None:
        self.daemon = daemon
        self.munge = Munge(str(munged.socket))
        self.http = httpx.Client(base_url=self.url(), timeout=60.0, trust_env=False)

    def url(self) -> str:
        return (self.daemon.state / "warden-url").read_text().strip()

    def credential(self, uid: int, payload: bytes = b"") -> str:
        if uid == 0:
            return self.munge.encode(payload)
        with as_uid(uid):
            return self.munge.encode(payload)

    def ask(self, method: str, path: str, uid: int | None = None, **more: Any) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if uid is not None:
            headers["X-Munge-Cred"] = self.credential(uid)
        return self.http.request(method, path, headers=headers, **more)

    def session(self, uid: int, job: str = "77") -> str:
        answer = self.ask("POST", "/sessions", 0, json={"user_id": str(uid), "slurm_job_id": job})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def submit(self, uid: int, session: str, shots: Any = 100, sequence: Any = PAIR) -> httpx.Response:
        body = {"sequence": sequence, "shots": shots}
        return self.ask("POST", "/jobs", uid, json=body, headers={"X-Warden-Session": session})

    def job(self, uid: int, id: int) -> dict[str, Any]:
        answer = self.ask("GET", f"/jobs/{id}", uid)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def close(self) -> None:
        self.http.close()
        self.munge.close()


def settings(munged: Munged, **warden: Any) -> dict[str, Any]:
    return {"listen": "127.0.0.1:0", "munge_socket": str(munged.socket), **warden}


@contextmanager
def running(
    directory: Path, munged: Munged, devices: dict[str, dict[str, Any]] | None = None, store: str = "", **warden: Any
) -> Iterator[Site]:
    with Daemon(directory, store, devices, tables={"warden": settings(munged, **warden)}) as daemon:
        site = Site(daemon, munged)
        try:
            yield site
        finally:
            site.close()


@pytest.fixture(scope="module")
def site(munged: Munged, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    devices = {"fake": {"driver": "fake"}, "slow": {"driver": "fake", "slow_s": 0.6}}
    with running(tmp_path_factory.mktemp("warden"), munged, devices, device="fake") as site:
        yield site


# -- what clients rely on ---------------------------------------------------------------------------------------------


def test_a_job_from_session_to_result(site: Site) -> None:
    assert site.ask("GET", "/accessible").json()["is_accessible"] is True
    session = site.ask("POST", "/sessions", 0, json={"user_id": str(ALICE), "slurm_job_id": "1"}).json()
    assert session["user_id"] == str(ALICE) and session["revoked_at"] is None and session["created_at"].endswith("Z")
    answer = site.submit(ALICE, session["id"])
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert isinstance(job["id"], int) and 0 < job["id"] < 2**31
    assert job["user_id"] == str(ALICE) and job["status"] in STATUSES and job["results"] is None
    done = site.job(ALICE, job["id"])
    assert done["status"] == "DONE" and isinstance(done["results"], str)
    assert sum(json.loads(done["results"])["counter"].values()) == 100
    logs = site.ask("GET", f"/jobs/{job['id']}/logs", ALICE).json()["logs"]
    assert "submitted by" in logs and "finished" in logs
    cancelled = site.ask("POST", f"/jobs/{job['id']}/cancel", ALICE)
    assert cancelled.status_code == 200 and cancelled.json()["status"] == "DONE", "ended jobs stay as they are"
    assert site.ask("GET", "/jobs", ALICE).json()[0]["id"] == job["id"]
    gone = site.ask("DELETE", f"/sessions/{session['id']}", 0)
    assert gone.status_code == 200 and gone.json()["id"] == session["id"] and gone.json()["revoked_at"].endswith("Z")
    assert site.ask("DELETE", f"/sessions/{session['id']}", 0).status_code == 200, "closing twice is closing once"


@pytest.mark.parametrize(
    "path",
    ["/accessible", "//accessible", "/accessible/", "/warden/accessible", "//warden//accessible//", "/fake/accessible",
     "/warden/slow/accessible"],
)  # fmt: skip
def test_paths_may_be_prefixed_and_doubled(site: Site, path: str) -> None:
    with socket.create_connection(("127.0.0.1", int(site.url().rpartition(":")[2])), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    assert json.loads(body)["is_accessible"] is True


def test_it_is_on_the_common_listener_too(site: Site) -> None:
    assert site.daemon.http.get("/warden/accessible").json()["is_accessible"] is True
    answer = httpx.get(site.daemon.url() + "/warden/qpu/specs", trust_env=False)
    assert json.loads(answer.json()["specs"])["name"] == "fake", "specs are JSON in a string"


def test_a_status_call_is_held_until_the_job_has_ended(site: Site) -> None:
    answer = site.ask("POST", "/slow/sessions", 0, json={"user_id": str(ALICE), "slurm_job_id": "2"})
    id = site.submit(ALICE, answer.json()["id"]).json()["id"]
    began_s = time.monotonic()
    assert site.job(ALICE, id)["status"] == "DONE"
    assert time.monotonic() - began_s > 0.3, "it was not held"


@pytest.mark.parametrize(
    ("shots", "sequence", "where"),
    [
        (-5, PAIR, "shots"), (0, PAIR, "shots"), (2**63 - 1, PAIR, "shots"), (2**31, PAIR, "shots"), 
        (True, PAIR, "shots"),
        (1.5, PAIR, "shots"), ("ten", PAIR, "shots"), (None, PAIR, "shots"), (10, "", "sequence"), (10, "hello", ""),
        (10, "a\0b", ""), (10, 7, "sequence"), (10, None, "sequence"), (10, "[" * 10_000, ""), (10, "{}", ""),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_before_it_is_queued(site: Site, shots: Any, sequence: Any, where: str) -> None:
    session = site.session(ALICE, "3")
    before = site.ask("GET", "/jobs", ALICE).json()
    answer = site.submit(ALICE, session, shots, sequence)
    assert answer.status_code == 422, answer.text
    told = answer.json()["detail"][0]
    assert where in told["loc"] or not where
    assert told["msg"]
    assert site.ask("GET", "/jobs", ALICE).json() == before


def test_digits_in_a_string_are_shots(site: Site) -> None:
    assert site.submit(ALICE, site.session(ALICE, "3"), "10").json()["shots"] == 10


@pytest.mark.parametrize("id", ["0", "-1", "999999", "2147483648", "9" * 30, "abc", "%00", "1.0", "²"])
def test_an_unknown_job_is_a_404(site: Site, id: str) -> None:
    for method, path in (("GET", f"/jobs/{id}"), ("POST", f"/jobs/{id}/cancel"), ("GET", f"/jobs/{id}/logs")):
        answer = site.ask(method, path, ALICE)
        assert (answer.status_code, answer.json()["detail"]) == (404, "Job not found")


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 422), (b'{"sequence":"{}"}', 422), (b'{"sequence":"\xff","shots":1}', 400),
     (b'{"sequence":"\\ud800","shots":1}', 400), (b"[" * 200_000, 422), (b'{"sequence":' + b"[" * 200_000, 422)],
)  # fmt: skip
def test_a_body_that_is_none(site: Site, body: bytes, status: int) -> None:
    headers = {"X-Warden-Session": site.session(ALICE, "3")}
    answer = site.ask("POST", "/jobs", ALICE, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_a_large_body_is_refused_while_it_arrives(site: Site) -> None:
    session = site.session(ALICE, "3")
    answer = site.ask("POST", "/jobs", ALICE, content=b"x" * 9_000_000, headers={"X-Warden-Session": session})
    assert answer.status_code == 413


def test_sessions_say_why_they_will_not_do(site: Site) -> None:
    assert site.submit(ALICE, "").json()["detail"] == "Missing 'X-Warden-Session' header."
    assert site.submit(ALICE, "b7c2f1f0-0000-4000-8000-000000000000").json()["detail"] == "Invalid session."
    mine = site.session(ALICE, "4")
    assert site.submit(BOB, mine).json()["detail"] == "Session belongs to another user."
    assert site.ask("DELETE", f"/sessions/{mine}", 0).status_code == 200
    assert site.submit(ALICE, mine).json()["detail"].startswith("Session has been revoked")
    assert all(site.submit(*who).status_code == 403 for who in ((ALICE, ""), (BOB, mine), (ALICE, mine)))
    unknown = site.ask("DELETE", "/sessions/b7c2f1f0-0000-4000-8000-000000000000", 0)
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "Session not found.")


def test_the_same_job_gets_the_same_session(site: Site) -> None:
    assert site.session(ALICE, "5") == site.session(ALICE, "5") != site.session(BOB, "5")


def test_a_closed_session_takes_its_pending_tasks_along(munged: Munged, tmp_path: Path) -> None:
    with running(tmp_path, munged, {"slow": {"driver": "fake", "slow_s": 2.0}}) as site:
        session = site.session(ALICE)
        ids = [site.submit(ALICE, session).json()["id"] for _ in range(3)]
        site.ask("DELETE", f"/sessions/{session}", 0)
        assert [site.job(ALICE, id)["status"] for id in ids] == ["DONE", "CANCELED", "CANCELED"]


def test_a_lease_expires(munged: Munged, tmp_path: Path) -> None:
    slow = {"slow": {"driver": "fake", "slow_s": 20.0}}
    with running(tmp_path, munged, slow, session_ttl_s=5.0) as site:  # long enough to load Pulser
        session = site.session(ALICE)
        running_, waiting = (site.submit(ALICE, session).json()["id"] for _ in range(2))
        assert site.job(ALICE, waiting)["status"] == "CANCELED"
        assert "expired" in site.submit(ALICE, session).json()["detail"]
        site.ask("POST", f"/jobs/{running_}/cancel", ALICE)


def test_work_renews_a_lease(munged: Munged, tmp_path: Path) -> None:
    with running(tmp_path, munged, session_ttl_s=2.0) as site:
        told = {"format": "pulser", "payload": PAIR}
        assert (
            site.daemon.http.post("/v1/programs", json=told).status_code == 201
        )  # it loads Pulser before the lease runs
        session = site.session(ALICE)
        until_s = time.monotonic() + 4.0
        while time.monotonic() < until_s:
            assert site.submit(ALICE, session).status_code == 200
            time.sleep(0.2)


def test_a_running_job_is_cancelled(munged: Munged, tmp_path: Path) -> None:
    with running(tmp_path, munged, {"slow": {"driver": "fake", "slow_s": 60.0}}, hold_until="change") as site:
        session = site.session(ALICE)
        first, second = (site.submit(ALICE, session).json()["id"] for _ in range(2))
        url, headers = f"{site.url()}/jobs/{second}", {"X-Munge-Cred": site.credential(ALICE)}
        with ThreadPoolExecutor(1) as pool:
            held = pool.submit(httpx.get, url, headers=headers, timeout=30, trust_env=False)
            assert site.ask("POST", f"/jobs/{second}/cancel", ALICE).json()["status"] == "CANCELED"
            assert held.result().json()["status"] == "CANCELED", "the held call ends with it"
        site.ask("POST", f"/jobs/{first}/cancel", ALICE)
        assert site.job(ALICE, first)["status"] == "CANCELED"


# -- accessible -------------------------------------------------------------------------------------------------------


def test_accessible_is_enforced_with_its_reason(munged: Munged, tmp_path: Path) -> None:
    with running(tmp_path, munged) as site:
        session = site.session(ALICE)
        body = {"is_accessible": False, "message": "the laser is being aligned"}
        told = site.daemon.http.post("/warden/accessible", json=body)  # the Unix socket, as root
        assert told.status_code == 200 and told.json()["is_accessible"] is False, told.text
        seen = site.ask("GET", "/accessible").json()
        assert seen["is_accessible"] is False and "the laser is being aligned" in seen["message"]
        for answer in (
            site.submit(ALICE, session),
            site.ask("POST", "/sessions", 0, json={"user_id": str(ALICE), "slurm_job_id": "9"}),
        ):
            assert answer.status_code == 503 and "the laser is being aligned" in answer.text
        assert site.daemon.http.post("/warden/accessible", json={"is_accessible": True}).status_code == 200
        assert site.submit(ALICE, session).status_code == 200


def test_accessible_may_be_advice_only(munged: Munged, tmp_path: Path) -> None:
    with running(tmp_path, munged, enforce=False) as site:
        site.daemon.http.post("/warden/accessible", json={"is_accessible": False, "message": "wait"})
        assert site.submit(ALICE, site.session(ALICE)).status_code == 200


def test_a_calibration_window_is_enforced_with_its_end(munged: Munged, tmp_path: Path) -> None:
    with running(tmp_path, munged, hold_s=0) as site:
        session = site.session(ALICE)
        now_s = time.time()
        window = {"kind": "calibration", "start_s": now_s - 1, "end_s": now_s + 3600, "reason": "Rabi calibration"}
        set_ = site.daemon.http.post("/v1/devices/fake/windows", json=window)
        assert set_.status_code == 201, set_.text
        seen = site.ask("GET", "/accessible").json()
        assert seen["is_accessible"] is False
        assert "Rabi calibration" in seen["message"] and "UTC" in seen["message"]
        refused = site.ask("POST", "/sessions", 0, json={"user_id": str(ALICE), "slurm_job_id": "10"})
        assert refused.status_code == 503 and "Rabi calibration" in refused.text
        id = site.submit(ALICE, session).json()["id"]
        assert site.job(ALICE, id)["status"] == "PENDING", "work of open sessions waits"
        assert "calibration" in site.ask("GET", f"/jobs/{id}/logs", ALICE).json()["logs"]
        assert site.daemon.http.delete(f"/v1/windows/{set_.json()['id']}").status_code == 200
        deadline = time.monotonic() + 10
        while site.job(ALICE, id)["status"] != "DONE":
            assert time.monotonic() < deadline
            time.sleep(0.02)


# -- who may do what --------------------------------------------------------------------------------------------------


def test_credentials(site: Site) -> None:
    def get(credential: str) -> httpx.Response:
        return site.http.get("/jobs", headers={"X-Munge-Cred": credential} if credential else {})

    good = site.credential(ALICE)
    assert get(good).status_code == 200
    replayed = get(good)
    assert (replayed.status_code, replayed.json()["detail"]) == (401, "MUNGE credential replayed")
    fresh = site.credential(ALICE)
    flipped = fresh[:40] + ("A" if fresh[40] != "A" else "B") + fresh[41:]
    for bad in ("MUNGE:xx:", "garbage", flipped, fresh[:-10], "x" * 300):
        assert get(bad).status_code == 401, bad
    assert get("").json()["detail"] == "Missing MUNGE credential"
    assert get("x" * 20_000).status_code == 431
    assert site.submit(ALICE, "").status_code == 403, "identity comes first"


def test_an_expired_credential(munged: Munged, tmp_path: Path) -> None:
    short = Munged("--max-ttl=1")
    try:
        with running(tmp_path, short) as site:
            credential = site.credential(ALICE)
            time.sleep(3.0)  # munged's clock is what is tested
            answer = site.http.get("/jobs", headers={"X-Munge-Cred": credential})
            assert (answer.status_code, answer.json()["detail"]) == (401, "MUNGE credential expired")
    finally:
        short.close()


def test_without_munged_nobody_is_let_in_and_it_says_why(tmp_path: Path, munged: Munged) -> None:
    own = Munged()
    try:
        with running(tmp_path, own) as site:
            credential = site.credential(ALICE)
            own.stop()
            answer = site.http.get("/jobs", headers={"X-Munge-Cred": credential})
            assert answer.status_code == 503 and "munged" in answer.text
            assert site.ask("GET", "/accessible").status_code == 200
            own.start()
            assert site.ask("GET", "/jobs", ALICE).status_code == 200
    finally:
        own.close()


def test_only_trusted_uids_open_sessions(munged: Munged, tmp_path: Path) -> None:
    body = {"user_id": str(ALICE), "slurm_job_id": "1"}
    with running(tmp_path, munged, trusted_uids=[BOB], authorized_users=[ALICE, "nobody"]) as site:
        for uid in (0, ALICE):
            answer = site.ask("POST", "/sessions", uid, json=body)
            assert (answer.status_code, answer.json()["detail"]) == (403, "Endpoint restricted to root user.")
        opened = site.ask("POST", "/sessions", BOB, json=body)
        assert opened.status_code == 200
        assert site.ask("DELETE", f"/sessions/{opened.json()['id']}", ALICE).status_code == 403
        other = site.ask("POST", "/sessions", BOB, json={"user_id": "4999", "slurm_job_id": "1"})
        assert (other.status_code, other.json()["detail"]) == (403, "User ID not authorized.")
    for user, status in (("x", 422), ("", 422), ("-1", 422), ("4294967295", 422), ("0", 403), ("999", 403)):
        with_user = site_refuses(munged, tmp_path / (user or "empty"), user)
        assert with_user == status, user


def site_refuses(munged: Munged, directory: Path, user: str) -> int:
    with running(directory, munged) as site:
        return site.ask("POST", "/sessions", 0, json={"user_id": user, "slurm_job_id": "1"}).status_code


def test_nobody_sees_anybody_elses_job(site: Site) -> None:
    id = site.submit(ALICE, site.session(ALICE, "6")).json()["id"]
    for uid in (BOB, 0):
        for method, path in (("GET", f"/jobs/{id}"), ("POST", f"/jobs/{id}/cancel"), ("GET", f"/jobs/{id}/logs")):
            answer = site.ask(method, path, uid)
            assert (answer.status_code, answer.json()["detail"]) == (404, "Job not found")
        assert all(job["user_id"] != str(ALICE) for job in site.ask("GET", "/jobs", uid).json())
    assert site.job(ALICE, id)["status"] == "DONE"


def test_a_stolen_root_credential_does_no_harm(munged: Munged, tmp_path: Path) -> None:
    """The attack of a user who made root's plugin talk to a listener of theirs: the credential was never used before.

    The workload manager is asked; here by a command of the site's own, which knows job 77 of ALICE's and no other.
    """
    jobs = tmp_path / "jobs"
    jobs.write_text(f'#!/bin/sh\n[ "$1" = 77 ] && echo {ALICE} || {{ echo "no such job" >&2; exit 1; }}\n')
    jobs.chmod(jobs.stat().st_mode | stat.S_IXUSR)
    with running(tmp_path / "state", munged, job_check=[str(jobs), "{job}"]) as site:

        def steal() -> str:
            return site.credential(0)

        def with_stolen(method: str, path: str, body: Any) -> int:
            headers = {"X-Munge-Cred": steal()}
            return site.http.request(method, path, json=body, headers=headers).status_code

        for user, job in ((str(BOB), "78"), (str(BOB), "77"), ("0", "77"), (str(ALICE), "78"), (str(BOB), "--help"),
                          (str(BOB), "77; echo 4002"), (str(BOB), "")):  # fmt: skip
            assert with_stolen("POST", "/sessions", {"user_id": user, "slurm_job_id": job}) == 403, (user, job)
        assert with_stolen("POST", "/accessible", {"is_accessible": False, "message": "mine"}) == 403
        assert site.ask("GET", "/accessible").json()["is_accessible"] is True
        assert site.daemon.http.get("/v1/sessions").json()["items"] == []
        headers = {"X-Munge-Cred": steal()}
        body = {"user_id": str(ALICE), "slurm_job_id": "77"}
        assert site.http.post("/sessions", json=body, headers=headers).status_code == 200, "what the job has anyway"
        assert site.http.post("/sessions", json=body, headers=headers).status_code == 401, "and once only"
        id = site.submit(ALICE, site.session(ALICE)).json()["id"]
        headers = {"X-Munge-Cred": steal()}
        assert site.http.get(f"/jobs/{id}", headers=headers).status_code == 404, "root's credential reads no results"


def test_an_open_door_is_told_at_the_start(munged: Munged, tmp_path: Path) -> None:
    with running(tmp_path / "open", munged, listen="0.0.0.0:0") as site:
        assert "warden.job_check is empty" in site.daemon.log()
    with running(tmp_path / "checked", munged, listen="0.0.0.0:0", job_check=["true", "{job}"]) as site:
        assert "job_check" not in site.daemon.log()


def test_a_credential_from_another_host(munged: Munged, tmp_path: Path) -> None:
    elsewhere = Munged("--origin=lo")
    try:
        with running(tmp_path / "a", elsewhere, origin="enforce") as site:
            assert site.ask("GET", "/jobs", ALICE).status_code == 200, "made and sent at 127.0.0.1"
            other = httpx.Client(
                transport=httpx.HTTPTransport(local_address="127.0.0.2"), base_url=site.url(), trust_env=False
            )
            with other:
                answer = other.get("/jobs", headers={"X-Munge-Cred": site.credential(ALICE)})
            assert answer.status_code == 401 and "another host" in answer.json()["detail"]
    finally:
        elsewhere.close()


def test_another_daemon_knows_used_credentials(munged: Munged, tmp_path: Path, postgres_server: Any) -> None:
    """Two daemons on one PostgreSQL, each with a munged of its own on the same key, as on two hosts."""
    twin = Munged()
    try:
        twin.stop()
        key = (munged.directory / "key").read_bytes()
        path = twin.directory / "key"
        path.chmod(0o600)
        path.write_bytes(key)
        path.chmod(0o400)
        twin.start()
        store = postgres_server.database()
        with (
            running(tmp_path / "a", munged, store=store) as first,
            running(tmp_path / "b", twin, store=store) as second,
        ):
            credential = first.credential(ALICE)
            assert second.http.get("/jobs", headers={"X-Munge-Cred": credential}).status_code == 200, "passed on"
            assert first.http.get("/jobs", headers={"X-Munge-Cred": credential}).status_code == 401
            session = second.session(ALICE)
            id = second.submit(ALICE, session).json()["id"]
            assert first.job(ALICE, id)["status"] == "DONE"
            assert second.job(ALICE, id)["status"] == "DONE"
            assert second.ask("GET", f"/jobs/{id}", BOB).status_code == 404
            claims = {"X-Qdeck-Uid": "0", "X-Qdeck-Near": "yes", "X-Qdeck-User": "root"}
            for at in (first, second):
                assert at.http.post("/accessible", json={"is_accessible": False}, headers=claims).status_code == 401
    finally:
        twin.close()


def test_memory_is_flat_over_100_000_requests(munged: Munged, tmp_path: Path) -> None:
    """Replayed credentials with a payload: libmunge fills in a buffer even for these."""
    with running(tmp_path, munged) as site:
        credential = site.credential(ALICE, os.urandom(9000))
        assert len(credential) < 16_000
        assert site.http.get("/jobs", headers={"X-Munge-Cred": credential}).status_code == 200
        assert site.daemon.process is not None
        status = Path(f"/proc/{site.daemon.process.pid}/status")

        def rss_mb() -> float:
            return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if "VmRSS" in line)

        request = f"GET /jobs HTTP/1.1\r\nHost: x\r\nX-Munge-Cred: {credential}\r\n\r\n".encode()
        connections = [socket.create_connection(("127.0.0.1", int(site.url().rpartition(":")[2]))) for _ in range(4)]
        files = [connection.makefile("rb") for connection in connections]

        def hammer(number: int) -> int:
            refused = 0
            for _ in range(number):
                for connection in connections:
                    connection.sendall(request)
                for file in files:
                    refused += file.readline().split()[1] == b"401"
                    length = 0
                    while (line := file.readline()) not in (b"\r\n", b""):
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    file.read(length)
            return refused

        hammer(2_500)
        before_mb = rss_mb()
        assert hammer(25_000) == 100_000
        grown_mb = rss_mb() - before_mb
        for file, connection in zip(files, connections, strict=True):
            file.close()
            connection.close()
        assert grown_mb < 20, f"{grown_mb:.0f} MB: each of 100,000 unfreed buffers would have held 9 kB"
