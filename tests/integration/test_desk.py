"""What `/v1` has for other systems' sake: session tokens, windows, imports; on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from quarterdeck.core import events as ev
from quarterdeck.core.invariants import Audit

from .running import Daemon, as_nobody


@pytest.fixture
def daemon(database: str, tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path, database) as daemon:
        yield daemon


@contextmanager
def nobody(daemon: Daemon) -> Iterator[httpx.Client]:
    """A client of user nobody's on the Unix socket."""
    where = daemon.state / "run" / "qdeck.sock"
    for directory in where.parents:
        directory.chmod(directory.stat().st_mode | 0o055)
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(where)), base_url="http://q", timeout=30.0) as http:
        with as_nobody():
            yield http


def tcp(daemon: Daemon, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=daemon.url(), headers=headers, timeout=30.0, trust_env=False)


def test_a_sessions_token_speaks_for_its_user_as_long_as_it_is_open(daemon: Daemon) -> None:
    with nobody(daemon) as http:
        answer = http.post("/v1/sessions", json={"device": "fake", "job": "42", "project": "atoms"})
        assert answer.status_code == 201, answer.text
        session = answer.json()
    token = session["token"]
    assert token not in str(daemon.events()) and token not in daemon.http.get(f"/v1/sessions/{session['id']}").text
    program = daemon.upload()
    with tcp(daemon, token) as client:
        task = client.post("/v1/tasks", json={"device": "fake", "program": program, "shots": 5})
        assert task.status_code == 201, task.text
        told = task.json()
        assert (told["user"], told["session"], told["job"]) == ("nobody", session["id"], "42")
        assert told["project"] == "atoms"
        root = daemon.ended(daemon.submit(program).json()["id"])
        assert client.get(f"/v1/tasks/{root['id']}").status_code == 404, "no more than its user's"
        assert client.post("/v1/devices/fake/status", json={"status": "maintenance"}).status_code == 403
        daemon.kill()
        daemon.start()
    with tcp(daemon, token) as client:  # another port
        assert client.get(f"/v1/tasks/{told['id']}").status_code == 200, "it outlives a crash"
        for forged in (token[:-1] + ("A" if token[-1] != "A" else "B"), token.partition(".")[0], "qds_", "qds_x.y"):
            assert client.get("/v1/tasks", headers={"Authorization": f"Bearer {forged}"}).status_code == 401
        assert client.delete(f"/v1/sessions/{session['id']}").status_code == 200
        assert client.get("/v1/tasks").status_code == 401, "over with its session"


def test_windows(daemon: Daemon) -> None:
    now_s = time.time()
    later = {"kind": "maintenance", "start_s": now_s + 500, "end_s": now_s + 600, "reason": "pump"}
    on = {"kind": "calibration", "start_s": now_s - 1, "end_s": now_s + 300}
    with nobody(daemon) as http:
        assert http.post("/v1/devices/fake/windows", json=on).status_code == 403
    ids = [daemon.http.post("/v1/devices/fake/windows", json=window).json()["id"] for window in (later, on)]
    listed = daemon.http.get("/v1/devices/fake/windows").json()["items"]
    assert [window["id"] for window in listed] == ids[::-1]
    assert daemon.http.get("/v1/devices/fake").json()["status"] == "calibrating"
    task = daemon.submit(daemon.upload()).json()["id"]
    why = daemon.http.get(f"/v1/tasks/{task}/why").json()
    assert why["reason"] == "device_calibrating"
    assert daemon.http.delete(f"/v1/windows/{ids[1]}").json()["state"] == "over"
    assert daemon.ended(task)["state"] == "done"
    assert daemon.http.delete(f"/v1/windows/{ids[1]}").status_code == 404
    assert daemon.http.post("/v1/devices/none/windows", json=on).status_code == 404
    backwards = {**on, "end_s": now_s - 100}
    assert daemon.http.post("/v1/devices/fake/windows", json=backwards).status_code == 409


DONE = {
    "id": "warden-7", "number": 7, "user": "nobody", "device": "fake", "shots": 10, "state": "done",
    "submitted_s": 1000.0, "started_s": 1001.0, "ended_s": 1002.0, "format": "pulser", "payload": "{}",
    "counts": {"00": 4, "11": 6}, "job": "99",
}  # fmt: skip
FAILED = {"id": "warden-9", "number": 9, "user": "alice", "device": "fake", "shots": 5, "state": "failed",
          "submitted_s": 1003.0, "error": "the QPU was away"}  # fmt: skip


def test_imported_tasks_keep_numbers_times_and_results(daemon: Daemon) -> None:
    answer = daemon.http.post("/v1/tasks/import", json={"tasks": [DONE, FAILED]})
    assert answer.json() == {"imported": 2, "known": 0}, answer.text
    assert daemon.http.post("/v1/tasks/import", json={"tasks": [FAILED, DONE]}).json() == {"imported": 0, "known": 2}
    with nobody(daemon) as http:
        task = http.get("/v1/tasks/warden-7").json()
        assert (task["number"], task["state"], task["shots_done"], task["job"]) == (7, "done", 10, "99")
        assert (task["submitted_s"], task["started_s"], task["ended_s"]) == (1000.0, 1001.0, 1002.0)
        result = http.get("/v1/tasks/warden-7/result").json()
        assert result["counts"] == {"00": 4, "11": 6}
        assert "taken over" in http.get("/v1/tasks/warden-7/log").text
        assert http.get("/v1/tasks/warden-9").status_code == 404, "another user's"
    daemon.kill()
    daemon.start()
    failed = daemon.http.get("/v1/tasks/warden-9").json()
    assert failed["error"]["message"] == "the QPU was away"
    fresh = daemon.submit(daemon.upload()).json()
    assert fresh["number"] == 10, "numbers go on behind them"
    Audit().read(ev.decode(httpx.Response(200, json=event).content) for event in daemon.events())


@pytest.mark.parametrize(
    "wrong",
    [{"device": "none"}, {"counts": {"00": 4}}, {"counts": {"00": 11}}, {"counts": {"x": 10}}, {"counts": None},
     {"state": "queued"}, {"number": 0}, {"shots": 0}, {"extra": 1}],
)  # fmt: skip
def test_a_bad_import_does_nothing(daemon: Daemon, wrong: dict[str, Any]) -> None:
    answer = daemon.http.post("/v1/tasks/import", json={"tasks": [FAILED, {**DONE, **wrong}]})
    assert answer.status_code == 422, answer.text
    assert daemon.http.get("/v1/tasks").json()["items"] == []
    with nobody(daemon) as http:
        assert http.post("/v1/tasks/import", json={"tasks": [DONE]}).status_code == 403


def test_decoders_of_a_real_time_host_are_reserved_by_sessions(database: str, tmp_path: Path) -> None:
    device = {"driver": "fake", "realtime": "qnode1, rings of socket /run/qdeck/d7.sock", "decoders": 4}
    with Daemon(tmp_path, database, {"fake": device}) as daemon:
        opened = daemon.http.post("/v1/sessions", json={"device": "fake", "decoders": 3})
        assert opened.status_code == 201 and opened.json()["decoders"] == 3
        daemon.kill()
        daemon.start()
        host = daemon.http.get("/v1/devices/fake").json()["realtime"]
        assert host == {"host": device["realtime"], "decoders": 4, "free": 1}
        refused = daemon.http.post("/v1/sessions", json={"device": "fake", "decoders": 2})
        assert refused.status_code == 409 and "1 of 4 decoders free" in refused.text
        assert daemon.http.delete(f"/v1/sessions/{opened.json()['id']}").status_code == 200
        assert daemon.http.post("/v1/sessions", json={"device": "fake", "decoders": 4}).status_code == 201


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"decoders": 0, "realtime": "x"}, "decoders: 0 is not a number of logical qubits"),
        ({"decoders": 4}, "where its real-time host is"),
        ({"realtime": "x"}, "`decoders` with it"),
        ({"slice_shots": "many"}, "is not a number of shots"),
    ],
    ids=lambda value: str(value),
)
def test_settings_of_a_device_that_make_no_sense(tmp_path: Path, settings: dict[str, Any], why: str) -> None:
    daemon = Daemon(tmp_path, devices={"fake": {"driver": "fake", **settings}})
    daemon.start(0.0)
    assert daemon.process is not None and daemon.process.wait(20) != 0
    assert why in daemon.log()
