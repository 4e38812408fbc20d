"""The daemon is killed, starved and lied to; no acknowledged task is lost and no shot is counted twice.

Every test runs on SQLite and on PostgreSQL (fixture `database`: a fresh one's URL; empty for SQLite).
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psycopg
import pytest

from quarterdeck.core import events as ev
from quarterdeck.core.replay import replay

from .running import Daemon, as_nobody

ROUNDS = int(os.environ.get("QDECK_FAULT_ROUNDS", "100"))  # for each database: 200 in all


class Load(threading.Thread):
    """Clients that submit without pause, each with its own keys, and remember what was acknowledged."""

    def __init__(self, state: Path, number: int) -> None:
        super().__init__(daemon=True)
        self.socket = state / "run" / "qdeck.sock"
        self.number = number
        self.acknowledged: dict[str, tuple[str, int]] = {}
        self.wrong: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        choose = Random(self.number)
        program, count = "", 0
        transport = httpx.HTTPTransport(uds=str(self.socket))
        with httpx.Client(transport=transport, base_url="http://qdeck", timeout=20.0, trust_env=False) as http:
            while not self.over.is_set():
                key, shots = f"load{self.number}-{count}", Random(f"{self.number}-{count}").randint(1, 250)
                try:
                    if not program:
                        program = http.post("/v1/programs", json={"format": "opaque", "payload": "x"}).json()["id"]
                    answer = http.post(
                        "/v1/tasks",
                        json={"device": "fake", "program": program, "shots": shots},
                        headers={"Idempotency-Key": key},
                    )
                except (httpx.HTTPError, KeyError, json.JSONDecodeError):
                    time.sleep(0.01)
                    continue  # the same key again: it may or may not have been accepted
                if answer.status_code in (200, 201):
                    self.acknowledged[key] = (answer.json()["id"], shots)
                    count += 1
                    if choose.random() < 0.1:
                        try:
                            http.post(f"/v1/tasks/{answer.json()['id']}/cancel")
                        except httpx.HTTPError:
                            pass
                elif answer.status_code != 503:
                    self.wrong.append(answer.text)
                    return
                time.sleep(choose.random() * 0.01)


def check_books(daemon: Daemon, acknowledged: dict[str, tuple[str, int]]) -> None:
    """Everything acknowledged is there, ended and counted once; the log says the same."""
    events = [ev.decode(json.dumps(event)) for event in daemon.events()]
    told = replay(events)
    submitted = [event.task for event in events if isinstance(event, ev.Submitted)]
    assert len(submitted) == len(set(submitted))
    for key, (id, shots) in acknowledged.items():
        task = told.ended.get(id)
        assert task is not None, f"{key}: task {id} is lost or has not ended"
        assert task.shots == shots
        assert task.state in ("done", "cancelled"), task
        assert task.state == "cancelled" or task.shots_done == shots
    choose = Random(0)
    for id, _ in choose.sample(sorted(acknowledged.values()), min(50, len(acknowledged))):
        result = daemon.http.get(f"/v1/tasks/{id}/result").json()
        assert sum(result["counts"].values()) == result["shots_done"] == told.ended[id].shots_done


def wait_drained(daemon: Daemon, within_s: float = 60.0) -> None:
    """Return once nothing is queued or running."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        told = daemon.http.get("/v1/devices")
        assert told.status_code == 200, told.text + daemon.log()
        if all(device["queued"] == device["running"] == 0 for device in told.json()["items"]):
            return
        time.sleep(0.05)
    raise AssertionError(f"the queue does not drain: {daemon.http.get('/v1/devices').text} {daemon.log()}")


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:Exception ignored in.*socket:pytest.PytestUnraisableExceptionWarning")  # httpx
def test_killed_at_random_moments_under_load(tmp_path: Path, database: str) -> None:
    """kill -9 and SIGTERM in turn, at random moments, with clients that never stop."""
    daemon = Daemon(tmp_path / "d", database, slices_of(100)).start()
    load = [Load(daemon.state, number) for number in range(3)]
    for client in load:
        client.start()
    choose = Random(1)
    try:
        for number in range(ROUNDS):
            time.sleep(choose.random() * 0.3)
            if number % 4 == 3:
                assert daemon.stop() == 0, daemon.log()
            else:
                daemon.kill()
            daemon.start()
        assert daemon.stop() == 0
        daemon.start()
        for client in load:
            client.over.set()
        for client in load:
            client.join(30)
        assert not [wrong for client in load for wrong in client.wrong]
        acknowledged = {key: told for client in load for key, told in client.acknowledged.items()}
        assert len(acknowledged) > ROUNDS
        wait_drained(daemon)
        check_books(daemon, acknowledged)
        assert daemon.stop() == 0
        assert not [line for line in daemon.log().splitlines() if " ERROR " in line or " CRITICAL " in line]
    finally:
        for client in load:
            client.over.set()
            client.join(30)
        daemon.__exit__()


def slices_of(shots: int, **settings: Any) -> dict[str, dict[str, Any]]:
    return {"fake": {"driver": "fake", "slice_shots": shots, **settings}}


def test_a_database_that_is_locked_is_waited_for(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        program = daemon.upload()
        other = sqlite3.connect(daemon.state / "quarterdeck.db", isolation_level=None, timeout=10)
        other.execute("BEGIN EXCLUSIVE")
        answers: list[httpx.Response] = []
        client = threading.Thread(target=lambda: answers.append(daemon.submit(program, key="k")))
        client.start()
        time.sleep(2.0)
        assert not answers, "acknowledged while the database was locked"
        other.execute("COMMIT")
        other.close()
        client.join(20)
        assert answers[0].status_code == 201
        assert daemon.ended(answers[0].json()["id"])["state"] == "done"


def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    """The file size limit stands in for the disk: writes fail with EFBIG or SQLITE_FULL, as on a full file system."""
    daemon = Daemon(tmp_path / "d")
    with daemon:
        program = daemon.upload()
        kept = [daemon.submit(program, key=f"a{n}").json()["id"] for n in range(20)]
    size_kib = (daemon.state / "quarterdeck.db").stat().st_size // 1024 + 600
    daemon.start(limits=f"ulimit -f {size_kib * 2}; trap '' XFSZ;")
    refused = 0
    for number in range(4000):
        answer = daemon.submit(program, key=f"b{number}", parameters={"x": [0.5] * 1500})
        if answer.status_code != 201:
            assert answer.status_code == 503, answer.text
            refused += 1
            if refused > 3:
                break
            time.sleep(0.2)
            continue
        kept.append(answer.json()["id"])
    assert refused > 3, "the limit was never reached"
    assert daemon.process is not None
    alive = daemon.process.poll() is None
    assert alive or daemon.process.returncode == 70
    daemon.kill()
    with daemon:
        for id in kept:
            assert daemon.ended(id)["state"] == "done"
        assert daemon.ended(daemon.submit(program, key="after").json()["id"])["state"] == "done"


def test_a_postgres_that_refuses_writes_is_waited_for(tmp_path: Path, postgres_server: Any) -> None:
    """Read-only mode stands in for PostgreSQL's full disk: every write fails, reading goes on."""
    url = postgres_server.database()
    with Daemon(tmp_path / "d", url) as daemon, psycopg.connect(url, autocommit=True) as other:
        name = other.info.dbname
        program = daemon.upload()
        kept = daemon.submit(program, key="a").json()["id"]
        other.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        assert daemon.submit(program, key="b").status_code == 503
        other.execute("SET default_transaction_read_only = off")
        other.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        daemon.wait_ready()
        after = daemon.submit(program, key="b").json()["id"]
        assert daemon.ended(kept)["state"] == daemon.ended(after)["state"] == "done"


def test_a_postgres_table_that_is_locked_is_waited_for(tmp_path: Path, postgres_server: Any) -> None:
    url = postgres_server.database()
    with Daemon(tmp_path / "d", url) as daemon, psycopg.connect(url) as other:
        program = daemon.upload()
        other.execute("LOCK TABLE event IN EXCLUSIVE MODE")
        answers: list[httpx.Response] = []
        client = threading.Thread(target=lambda: answers.append(daemon.submit(program, key="k")))
        client.start()
        time.sleep(1.5)
        assert not answers, "acknowledged while the table was locked"
        other.commit()
        client.join(20)
        assert answers[0].status_code == 201
        assert daemon.ended(answers[0].json()["id"])["state"] == "done"


def test_a_postgres_that_restarts_is_waited_for(tmp_path: Path, postgres_server: Any) -> None:
    """The database server is stopped at once and started again; the daemon carries on by itself."""
    with Daemon(tmp_path / "d", postgres_server.database()) as daemon:
        program = daemon.upload()
        first = daemon.submit(program, key="a").json()["id"]
        postgres_server.stop()
        assert daemon.submit(program, key="b").status_code == 503
        assert daemon.http.get("/v1/health/ready").status_code == 503
        assert daemon.http.get("/v1/health/live").status_code == 200
        postgres_server.start()
        daemon.wait_ready()
        second = daemon.submit(program, key="b").json()["id"]
        assert daemon.ended(first)["state"] == daemon.ended(second)["state"] == "done"


def test_two_daemons_on_one_store_one_leads(tmp_path: Path, database: str) -> None:
    """The second stands by; on PostgreSQL it passes requests on; when the first dies it takes over."""
    first = Daemon(tmp_path / "a", database).start()
    second = Daemon(tmp_path / "b", database or f"sqlite:///{first.state / 'quarterdeck.db'}")
    try:
        second.start(ready_s=0)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if second.answers() and second.http.get("/v1/health/live").json()["role"] == "standby":
                break
            time.sleep(0.05)
        else:
            raise AssertionError(second.log())
        program = first.upload()
        id = second.submit(program, key="through the standby").json()["id"]
        assert first.ended(id)["state"] == "done"
        assert second.http.get(f"/v1/tasks/{id}/result").json()["shots_done"] == 10
        began = time.monotonic()
        first.kill()
        while second.http.get("/v1/health/live").json()["role"] != "leader":
            assert time.monotonic() - began < 10, second.log()
            time.sleep(0.01)
        again = second.submit(program, key="through the standby")
        assert (again.status_code, again.json()["id"]) == (200, id)
        assert second.ended(second.submit(program).json()["id"])["state"] == "done"
    finally:
        second.__exit__()
        first.__exit__()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to ask as another user")
def test_a_standby_passes_on_who_asks_and_no_claims(tmp_path: Path, database: str) -> None:
    """Headers that only daemons may send are taken off a client's request."""
    first = Daemon(tmp_path / "a", database).start()
    second = Daemon(tmp_path / "b", database or f"sqlite:///{first.state / 'quarterdeck.db'}")
    claims = {"X-Qdeck-User": "root", "X-Qdeck-Administrator": "yes"}
    try:
        second.start()
        mine = first.submit(first.upload()).json()["id"]
        socket_file = second.state / "run" / "qdeck.sock"
        for directory in socket_file.parents:
            directory.chmod(directory.stat().st_mode | 0o055)
        with (
            httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_file)), base_url="http://q") as http,
            as_nobody(),
        ):
            for headers in ({}, claims, {"X-Qdeck-Standby": "x", **claims}):
                assert http.get("/v1/tasks", headers=headers).json()["items"] == []
                assert http.get(f"/v1/tasks/{mine}", headers=headers).status_code == 404
                status = http.post("/v1/devices/fake/status", headers=headers, json={"status": "maintenance"})
                assert status.status_code == 403
    finally:
        second.__exit__()
        first.__exit__()


@pytest.mark.parametrize(
    ("fault", "times"), [("die_on_start", 2), ("garbage", 2), ("accept_then_timeout", 2), ("hang", 1)]
)
def test_a_driver_that_misbehaves_costs_no_task(tmp_path: Path, database: str, fault: str, times: int) -> None:
    devices = {"fake": {"driver": "fake", "faults": {fault: times}}}
    with Daemon(tmp_path / "d", database, devices, answer_s=0.5, grace_s=1.0) as daemon:
        program = daemon.upload()
        tasks = [daemon.submit(program, 7, key=f"k{n}").json()["id"] for n in range(3)]
        for id in tasks:
            assert daemon.ended(id, 60)["state"] == "done"
        log = daemon.events()
        failed = [event for event in log if event["event"] == "SliceFailed"]
        assert failed or fault == "accept_then_timeout", "the fault did not happen"
        assert replay(ev.decode(json.dumps(event)) for event in log).ended[tasks[0]].shots_done == 7


def test_a_device_that_is_gone_for_a_while_burns_nothing(tmp_path: Path, database: str) -> None:
    devices = {"fake": {"driver": "fake", "away_s": 3.0}}
    with Daemon(tmp_path / "d", database, devices) as daemon:
        program = daemon.upload()
        tasks = [daemon.submit(program, 7).json()["id"] for _ in range(10)]
        why = daemon.http.get(f"/v1/tasks/{tasks[3]}/why").json()
        assert (why["reason"], why["position"]) == ("device_offline", 3)
        for id in tasks:
            told = daemon.ended(id)
            assert (told["state"], told["slices"]) == ("done", 1)


def test_sigterm_ends_it_within_a_second_and_cleanly(tmp_path: Path, database: str) -> None:
    with Daemon(tmp_path / "d", database) as daemon:
        daemon.http.post("/v1/devices/fake/status", json={"status": "maintenance", "reason": "test"})
        id = daemon.submit(daemon.upload()).json()["id"]
        waiting = threading.Thread(target=lambda: daemon.http.get(f"/v1/tasks/{id}", params={"wait": 30}))
        waiting.start()
        time.sleep(0.2)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 3.0
        waiting.join(5)
        daemon.start()
        why = daemon.http.get(f"/v1/tasks/{id}/why").json()
        assert why["reason"] == "device_maintenance", "maintenance is forgotten at a restart"


def test_workers_die_with_the_daemon(tmp_path: Path) -> None:
    """kill -9 leaves no emulation behind."""
    daemon = Daemon(tmp_path / "d", "", {"fresnel-emulator": {"driver": "neutral-atom-emulator"}}).start()
    assert daemon.process is not None
    children = _children(daemon.process.pid)
    daemon.kill()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/cmdline").exists() and _alive(pid) for pid in children):
        assert time.monotonic() < deadline, "workers outlive the daemon"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    told = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True, check=False).stdout
    direct = [int(word) for word in told.split()]
    return direct + [grandchild for child in direct for grandchild in _children(child)]


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
