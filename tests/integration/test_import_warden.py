"""`qdeck import-warden` on a database with Warden's tables, filled with what Wardens leave behind."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .munged import Munged
from .running import Daemon
from .test_warden import PAIR, running

TABLES = """
CREATE TABLE sessions (id UUID NOT NULL PRIMARY KEY, created_at DATETIME NOT NULL, revoked_at DATETIME,
    user_id VARCHAR(255) NOT NULL, slurm_job_id VARCHAR(255) NOT NULL);
CREATE TABLE jobs (id INTEGER NOT NULL PRIMARY KEY, created_at DATETIME NOT NULL, started_at DATETIME,
    ended_at DATETIME, status VARCHAR(50) NOT NULL, shots INTEGER NOT NULL, sequence TEXT NOT NULL,
    backend_id VARCHAR(255), results TEXT, session_id UUID NOT NULL);
INSERT INTO sessions VALUES ('aa', '2026-05-01 10:00:00.0', NULL, '65534', '77');
INSERT INTO sessions VALUES ('bb', '2026-05-01 11:00:00.0', NULL, '4001', '78');
"""
AT = "2026-05-01 12:00:00.250000"
JOBS = [
    (3, "DONE", 100, "{}", '{"counter": {"00": 60, "11": 40}}', "aa"),
    (5, "DONE", 100, "{}", "{'counter': {'01': 100}}", "aa"),  # Python, as a stand-in for a QPU leaves it
    (6, "DONE", 100, "not JSON", '{"counter": {"01": 30}}', "bb"),
    (7, "ERROR", 10, "{}", None, "bb"),
    (8, "CANCELED", 10, "{}", None, "bb"),
    (9, "DONE", 10, "{}", '__import__("os").abort()', "bb"),
    (10, "ERROR", -5, "", None, "aa"),
    (11, "DONE", 5, "{}", '{"counter": {"0": 10}}', "aa"),
]
WAITING = [(12, "PENDING", 10, "{}", None, "aa"), (13, "RUNNING", 10, "{}", None, "bb")]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return make(tmp_path / "warden.db", JOBS)


def make(path: Path, jobs: list[tuple[object, ...]]) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(TABLES)
        for id, status, shots, sequence, results, session in jobs:
            row = (id, AT, AT, AT, status, shots, sequence, "1", results, session)
            connection.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return path


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d")) as daemon:
        yield daemon


def imported(daemon: Daemon, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "QDECK_URL": f"unix://{daemon.state}/run/qdeck.sock"}
    command = [sys.executable, "-m", "quarterdeck", "import-warden", *map(str, words)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_history_comes_over_once_with_numbers_users_times_and_results(daemon: Daemon, database: Path) -> None:
    before = database.read_bytes()
    dry = imported(daemon, database, "--dry-run", "--json")
    assert json.loads(dry.stdout) == {"jobs": 8, "CANCELED": 1, "DONE": 5, "ERROR": 2}
    assert daemon.http.get("/v1/tasks").json()["items"] == []
    done = imported(daemon, database, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"imported": 8, "known": 0, "skipped": 0}
    assert json.loads(imported(daemon, database, "--json").stdout) == {"imported": 0, "known": 8, "skipped": 0}
    assert database.read_bytes() == before
    tasks = {task["number"]: task for task in daemon.http.get("/v1/tasks").json()["items"]}
    assert sorted(tasks) == [3, 5, 6, 7, 8, 9, 10, 11]
    states = [tasks[number]["state"] for number in sorted(tasks)]
    assert states == ["done", "done", "failed", "failed", "cancelled", "failed", "failed", "done"]
    assert (tasks[3]["user"], tasks[3]["job"], tasks[7]["user"]) == ("nobody", "77", "4001")
    assert tasks[3]["submitted_s"] == tasks[3]["ended_s"] == 1777636800.25, "UTC"
    assert "30 of 100" in tasks[6]["error"]["message"]
    counts = [daemon.http.get(f"/v1/tasks/warden-{number}/result").json()["counts"] for number in (3, 5, 11)]
    assert counts == [{"00": 60, "11": 40}, {"01": 100}, {"0": 10}]


def test_what_has_not_ended_is_not_taken_over_as_work(daemon: Daemon, tmp_path: Path) -> None:
    database = make(tmp_path / "warden.db", [(100 + int(str(job[0])), *job[1:]) for job in [*JOBS[:1], *WAITING]])
    refused = imported(daemon, database)
    assert refused.returncode == 2 and "1 PENDING" in refused.stderr and "--unfinished" in refused.stderr
    assert daemon.http.get("/v1/tasks/warden-103").status_code == 404, "nothing half-done"
    skipped = imported(daemon, database, "--unfinished", "skip", "--json")
    assert json.loads(skipped.stdout) == {"imported": 1, "known": 0, "skipped": 2}
    failed = imported(daemon, database, "--unfinished", "fail", "--json")
    assert json.loads(failed.stdout) == {"imported": 2, "known": 1, "skipped": 0}
    assert "PENDING" in daemon.http.get("/v1/tasks/warden-112").json()["error"]["message"]


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100, None], ids=["empty", "garbage", "none"])
def test_what_is_no_wardens_database_is_told(daemon: Daemon, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.db"
    if content is not None:
        path.write_bytes(content)
    done = imported(daemon, path)
    assert done.returncode == 1 and str(path) in done.stderr and "Traceback" not in done.stderr


def test_users_find_their_old_jobs_under_their_numbers(munged: Munged, database: Path, tmp_path: Path) -> None:
    with running(tmp_path / "site", munged) as site:
        assert imported(site.daemon, database).returncode == 0
        old = site.job(65534, 3)
        assert old["status"] == "DONE" and json.loads(old["results"]) == {"counter": {"00": 60, "11": 40}}
        assert old["created_at"] == "2026-05-01T12:00:00.250000Z"
        assert site.ask("GET", "/jobs/3", 4001).status_code == 404
        assert site.submit(4001, site.session(4001), 10, PAIR).json()["id"] == 12


def test_a_database_that_is_away_is_told_without_its_password(daemon: Daemon) -> None:
    done = imported(daemon, "postgresql://user:secret@localhost:1/warden")
    assert done.returncode == 1 and "user:***@" in done.stderr and "secret" not in done.stderr
    for wrong in ("mysql://user:secret@host/warden", "sqlite:////nowhere/w.db", "postgresql://user:secret@host:port/w"):
        done = imported(daemon, wrong)
        assert done.returncode == 1 and "postgresql://USER@HOST/NAME" in done.stderr and "secret" not in done.stderr
