"""A living daemon that schedules: three users, three classes, a calibration window; the log meets every invariant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from quarterdeck.core import events as ev
from quarterdeck.core.invariants import Audit
from quarterdeck.core.replay import replay

from .running import Daemon

QDECK = Path(sys.executable).with_name("qdeck")
USERS = {65534: "development", 64001: "test", 64002: "production"}
DEVICES = {name: {"driver": "fake", "slow_s": 0.03} for name in ("one", "two")}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path, devices=DEVICES) as daemon:
        yield daemon


@contextmanager
def as_user(daemon: Daemon, uid: int) -> Iterator[httpx.Client]:
    """A client of another user's on the Unix socket. Needs root."""
    where = daemon.state / "run" / "qdeck.sock"
    for directory in where.parents:
        directory.chmod(directory.stat().st_mode | 0o055)
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(where)), base_url="http://q", timeout=60.0) as http:
        os.seteuid(uid)
        try:
            yield http
        finally:
            os.seteuid(0)


def submit(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    body = {"program": {"format": "opaque", "payload": "p"}, "shots": 100, **fields}
    answer = http.post("/v1/tasks", json=body)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def ended(daemon: Daemon, id: str) -> dict[str, Any]:
    told: dict[str, Any] = daemon.http.get(f"/v1/tasks/{id}", params={"wait": 30}).json()
    return told


def log(daemon: Daemon) -> list[ev.Event]:
    return [ev.decode(msgspec.json.encode(entry)) for entry in daemon.events()]


def qdeck(daemon: Daemon, *words: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QDECK_")}
    environ = {**clean, "QDECK_STATE": str(daemon.state)}
    done = subprocess.run([QDECK, *words], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be several users")
def test_three_users_three_classes_and_a_calibration(daemon: Daemon, tmp_path: Path) -> None:
    window = {"kind": "calibration", "start_s": time.time() + 0.5, "end_s": time.time() + 1.0}
    assert daemon.http.post("/v1/devices/one/windows", json=window).status_code == 201
    ids = []
    for uid, class_ in USERS.items():
        with as_user(daemon, uid) as http:
            for number in range(12):
                where = {"device": "one"} if number % 3 else {"devices": ["one", "two"]}
                ids.append(submit(http, shots=10 * (number + 1), **where, **{"class": class_})["id"])
    assert {ended(daemon, id)["state"] for id in ids} == {"done"}
    entries = log(daemon)
    Audit().read(entries)
    told = replay(entries)
    assert set(told.ended) == set(ids) and len({task.user for task in told.ended.values()}) == 3
    assert {task.class_ for task in told.ended.values()} == set(USERS.values())
    began = next(event for event in entries if isinstance(event, ev.WindowBegan))
    over = next(event for event in entries if isinstance(event, ev.WindowCleared))
    starts = [event for event in entries if isinstance(event, ev.SliceStarted)]
    on_one = [event for event in starts if (event.device or told.ended[event.task].device) == "one"]
    assert not any(began.at_s <= event.at_s < over.at_s for event in on_one), "a slice in the window"
    assert any(event.at_s < began.at_s for event in on_one) and any(event.at_s >= over.at_s for event in on_one)
    assert {told.ended[event.task].device for event in starts} == {"one", "two"}
    assert all(event.cause for event in starts)
    # The same log is a workload: what the site had can be tried under another policy.
    file = tmp_path / "log.jsonl"
    file.write_text(qdeck(daemon, "events", "--json"))
    assert json.loads(qdeck(daemon, "simulate", str(file), "-p", "fifo", "-p", "deck", "--json"))


def test_a_policy_is_shown_and_a_decision_explained(daemon: Daemon) -> None:
    busy = submit(daemon.http, device="one", shots=100)
    first, second = (submit(daemon.http, device="one", shots=n, name=str(n)) for n in (50, 5000))
    told = daemon.http.get(f"/v1/tasks/{second['id']}/why").json()
    if told["state"] == "queued":
        assert told["policy"] == "deck" and told["basis"] == "forecast" and told["estimate_s"] >= 0
        assert set(told["score"]) == {"class", "slowdown", "short", "fresh", "fair"}
    for task in (busy, first, second):
        assert ended(daemon, task["id"])["state"] == "done"
    decisions = daemon.http.get(f"/v1/tasks/{second['id']}/why").json()["decisions"]
    assert decisions and decisions[0].startswith("slice 0: ")
    assert "slice 0: " in qdeck(daemon, "why", second["id"])
    assert "weight_production" in qdeck(daemon, "policy", "show")
    shown = json.loads(qdeck(daemon, "policy", "show", "--json"))
    assert shown["name"] == shown["configured"] == "deck" and not shown["failed"]
    assert {knob["name"] for knob in shown["knobs"]} >= {"aged_s", "setup_edge", "slice_overhead"}
    assert {one["device"] for one in shown["devices"]} == {"one", "two"}


def test_a_choice_of_devices_needs_and_deadlines(daemon: Daemon) -> None:
    task = submit(daemon.http, needs={"modality": "none", "qubits": 2})
    assert ended(daemon, task["id"])["device"] in ("one", "two")
    for body, where in (
        ({"needs": {"qubits": 1000}}, "$.needs"),
        ({"device": "one", "devices": ["two"]}, "$.device"),
        ({}, "$.device"),
        ({"device": "one", "deadline_s": 5.0}, "$.deadline_s"),
        ({"needs": {"colour": "red"}}, "$.needs"),
    ):
        told = {"program": {"format": "opaque", "payload": "p"}, "shots": 1, **body}
        answer = daemon.http.post("/v1/tasks", json=told)
        assert (answer.status_code, answer.json()["error"]["where"]) == (422, where), answer.text
    refused = daemon.http.post(
        "/v1/tasks", json={"program": {"format": "qir", "payload": "p"}, "shots": 1, "devices": ["one", "two"]}
    )
    assert refused.status_code == 422 and "takes opaque, pulser" in refused.text
    blocked = daemon.http.post("/v1/devices/one/status", json={"status": "maintenance", "reason": "vacuum"})
    assert blocked.status_code == 200
    late = submit(daemon.http, device="one", deadline_s=time.time() + 0.3)
    told = ended(daemon, late["id"])
    assert (told["state"], told["error"]["code"]) == ("failed", "deadline_missed")
    other = submit(daemon.http, devices=["one", "two"])
    assert ended(daemon, other["id"])["device"] == "two"


def test_a_session_over_several_devices(daemon: Daemon, tmp_path: Path) -> None:
    opened = daemon.http.post("/v1/sessions", json={"devices": ["two", "one"]}).json()
    assert sorted(opened["devices"]) == ["one", "two"] and opened["device"] == opened["devices"][0]
    tasks = [submit(daemon.http, session=opened["id"]) for _ in range(6)]
    assert all(task["session"] == opened["id"] for task in tasks)
    assert {ended(daemon, task["id"])["device"] for task in tasks} == {"one", "two"}
    assert submit(daemon.http, session=opened["id"], device="two")["device"] == "two"
    by_need = daemon.http.post("/v1/sessions", json={"needs": {"modality": "none"}, "mode": "batch"}).json()
    assert sorted(by_need["devices"]) == ["one", "two"]
    for body in ({}, {"device": "one", "devices": ["two"]}):
        refused = daemon.http.post("/v1/sessions", json=body)
        assert (refused.status_code, refused.json()["error"]["where"]) == (422, "$.device")
    alone = daemon.http.post("/v1/sessions", json={"devices": ["one", "two"], "mode": "exclusive"})
    assert (alone.status_code, alone.json()["error"]["where"]) == (422, "$.devices")
    session = qdeck(daemon, "session", "open", "-d", "one,two").strip()
    program = tmp_path / "program"
    program.write_text("p")
    told = qdeck(daemon, "submit", str(program), "--format", "opaque", "-n", "1", "--session", session, "--json")
    assert json.loads(told)["session"] == session


def test_a_daemon_refuses_a_bad_policy(tmp_path: Path) -> None:
    for table, told in (
        ({"name": "nonsense"}, "'nonsense' is unknown"),
        ({"weight_production": 0}, "weight_production"),
        ({"share_production": 0.9, "share_test": 0.3}, "at most 0.9"),
    ):
        daemon = Daemon(tmp_path / str(len(told)), tables={"policy": table})
        with pytest.raises(AssertionError, match="ended with 2"):
            daemon.start()
        assert told in daemon.log()
