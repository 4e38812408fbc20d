"""Windows, calendars and sessions over HTTP and on the command line, with a real daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from quarterdeck.core import events as ev
from quarterdeck.core.invariants import Audit
from quarterdeck.core.replay import replay

from .running import Daemon
from .test_desk import nobody

QDECK = Path(sys.executable).with_name("qdeck")
HOUR = 3600.0
DAILY = {"kind": "calibration", "rule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=0", "start_s": 1.7e9, "duration_s": HOUR,
         "zone": "Europe/Paris"}  # fmt: skip


@pytest.fixture
def either(database: str, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon on each database."""
    yield from running(tmp_path, database)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    yield from running(tmp_path, "")


def running(tmp_path: Path, database: str) -> Iterator[Daemon]:
    devices = {"fake": {"driver": "fake"}, "slow": {"driver": "fake", "slow_s": 1.0},
               "hour": {"driver": "fake", "slow_s": 3600.0}}  # fmt: skip
    with Daemon(tmp_path, database, devices, exclusive_idle_s=0.5, batch_idle_s=0.4, lend_s=3.0) as daemon:
        yield daemon
        check(daemon)


def check(daemon: Daemon) -> None:
    """The log meets every invariant."""
    entries = [ev.decode(msgspec.json.encode(entry)) for entry in daemon.events()]
    Audit().read(entries)
    replay(entries)


def qdeck(daemon: Daemon, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QDECK_")}
    return subprocess.run(
        [QDECK, *words], env={**clean, "QDECK_STATE": str(daemon.state), **environ},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def complete(daemon: Daemon, line: str) -> list[str]:
    """What bash offers at the end of the line."""
    return qdeck(daemon, _QDECK_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD="3").stdout.split()


def until(what: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)


def refused(answer: httpx.Response, status: int, where: str = "", why: str = "") -> None:
    assert answer.status_code == status, answer.text
    told = answer.json()["error"]
    assert told.get("where", "") == where and why in told["message"], told


def test_a_calendar_over_http_and_after_a_crash(either: Daemon) -> None:
    with nobody(either) as http:
        refused(http.post("/v1/devices/fake/calendars", json=DAILY), 403)
        assert http.get("/v1/devices/fake/calendars").json() == {"items": []}, "everybody may see them"
    answer = either.http.post("/v1/devices/fake/calendars", json=DAILY)
    assert answer.status_code == 201, answer.text
    calendar = answer.json()
    assert (calendar["device"], calendar["zone"], calendar["state"]) == ("fake", "Europe/Paris", "set")
    windows = either.http.get("/v1/devices/fake/windows").json()["items"]
    assert len(windows) >= 2 and {window["calendar"] for window in windows} == {calendar["id"]}
    assert {window["end_s"] - window["start_s"] for window in windows} == {HOUR}
    ahead = [window for window in windows if window["state"] == "planned"]
    told = either.http.get("/v1/devices/fake").json()["next_window"]
    assert told == {key: ahead[0][key] for key in ("kind", "start_s", "end_s", "reason")}
    either.kill()
    either.start()
    assert either.http.get("/v1/devices/fake/calendars").json() == {"items": [calendar]}
    assert either.http.get("/v1/devices/fake/windows").json()["items"] == windows
    with nobody(either) as http:
        refused(http.delete(f"/v1/calendars/{calendar['id']}"), 403)
    assert either.http.delete(f"/v1/calendars/{calendar['id']}").json()["state"] == "cleared"
    left = either.http.get("/v1/devices/fake/windows").json()["items"]
    assert all(window["state"] == "on" for window in left)
    refused(either.http.delete(f"/v1/calendars/{calendar['id']}"), 404)
    either.kill()
    either.start()
    assert either.http.get("/v1/devices/fake/calendars").json() == {"items": []}


@pytest.mark.parametrize(
    ("wrong", "status", "where", "why"),
    [
        ({"rule": "FREQ=SOMETIMES"}, 422, "$.rule", "no part of an RRULE"), ({"rule": ""}, 422, "$.rule", ""),
        ({"rule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"}, 422, "$.rule", "never occurs"),
        ({"duration_s": 25 * HOUR}, 422, "$.rule", "occurs again after"),
        ({"duration_s": 0}, 422, "$.duration_s", ""), ({"duration_s": 1e9}, 422, "$.duration_s", "30 days"),
        ({"zone": "Mars"}, 422, "$.zone", "Europe/Paris"), ({"start_s": 1e300}, 422, "$.start_s", "ten years"),
        ({"start_s": -1e300}, 422, "$.start_s", "1970"),
        ({"kind": "reservation"}, 422, "$.user", "name a user"), ({"user": "ada"}, 422, "$.user", "nobody may use"),
        ({"kind": "party"}, 422, "$.kind", ""), ({"slack_s": -1}, 422, "$.slack_s", ""),
        ({"reason": "a\nb"}, 422, "$.reason", "control"), ({"more": 1}, 422, "$", "more"),
    ],
)  # fmt: skip
def test_bad_calendars(one: Daemon, wrong: dict[str, Any], status: int, where: str, why: str) -> None:
    before = one.http.get("/v1/devices/fake/windows").json()
    refused(one.http.post("/v1/devices/fake/calendars", json={**DAILY, **wrong}), status, where, why)
    assert one.http.get("/v1/devices/fake/windows").json() == before
    assert one.http.get("/v1/health/ready").status_code == 200


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("one")) as daemon:
        yield daemon


@pytest.mark.parametrize(
    ("wrong", "status", "where"),
    [
        ({"end_s": 1.0}, 409, ""), ({"start_s": 1.0, "end_s": 2.0}, 409, ""),
        ({"end_s": 1e12}, 422, "$.end_s"), ({"start_s": 1e300, "end_s": 2e300}, 422, "$.end_s"),
        ({"kind": "reservation"}, 422, "$.user"),
        ({"kind": "reservation", "user": "u", "slack_s": 9}, 422, "$.slack_s"),
        ({"kind": "reservation", "project": "default"}, 422, "$.project"),
        ({"kind": "reservation", "project": "a/b"}, 422, "$.project"),
        ({"project": "x"}, 422, "$.user"), ({"start_s": "soon"}, 422, "$.start_s"),
    ],
)  # fmt: skip
def test_bad_windows(one: Daemon, wrong: dict[str, Any], status: int, where: str) -> None:
    good = {"kind": "maintenance", "start_s": time.time() + 1000, "end_s": time.time() + 2000}
    refused(one.http.post("/v1/devices/fake/windows", json={**good, **wrong}), status, where)
    assert one.http.get("/v1/devices/fake/windows").json() == {"items": []}
    assert one.http.post("/v1/devices/none/windows", json=good).status_code == 404


def test_a_reservation_is_its_holders(daemon: Daemon) -> None:
    program, now_s = daemon.upload(), time.time()
    reservation = {"kind": "reservation", "start_s": now_s - 1, "end_s": now_s + 600, "user": "nobody"}
    id = daemon.http.post("/v1/devices/fake/windows", json=reservation).json()["id"]
    root = daemon.submit(program).json()["id"]
    why = daemon.http.get(f"/v1/tasks/{root}/why").json()
    assert why["reason"] == "reserved" and "reserved for nobody" in why["detail"] and 500 < why["estimate_s"] < 700
    with nobody(daemon) as http:
        theirs = http.post("/v1/tasks", json={"device": "fake", "program": program, "shots": 5}).json()["id"]
        assert http.get(f"/v1/tasks/{theirs}", params={"wait": 10}).json()["state"] == "done"
    told = daemon.http.get("/v1/devices/fake").json()
    assert (told["status"], told["reason"]) == ("online", "reserved for nobody")
    refused(daemon.http.post("/v1/devices/fake/windows", json={**reservation, "user": "ada"}), 409)
    refused(
        daemon.http.post("/v1/sessions", json={"device": "fake", "mode": "exclusive"}), 409, why="somebody else now"
    )
    assert daemon.http.get(f"/v1/tasks/{root}").json()["state"] == "queued"
    assert daemon.http.delete(f"/v1/windows/{id}").json()["state"] == "over"
    assert daemon.ended(root)["state"] == "done"


def test_a_calibration_comes_and_goes_and_nothing_runs_in_it(daemon: Daemon) -> None:
    program, now_s = daemon.upload(), time.time()
    times = {"start_s": now_s + 1.5, "end_s": now_s + 2.5}
    id = daemon.http.post("/v1/devices/slow/windows", json={"kind": "calibration", **times}).json()["id"]
    tasks = [daemon.submit(program, device="slow").json()["id"] for _ in range(2)]  # of a second each
    assert {daemon.ended(task)["state"] for task in tasks} == {"done"}
    entries = daemon.events()
    began_s, over_s = (
        next(entry["at_s"] for entry in entries if entry["event"] == event and entry["window"] == id)
        for event in ("WindowBegan", "WindowCleared")
    )
    assert times["start_s"] <= began_s < times["end_s"] <= over_s
    runs = [daemon.http.get(f"/v1/tasks/{task}").json() for task in tasks]
    assert all(run["ended_s"] <= began_s or run["started_s"] >= over_s for run in runs), runs
    assert any(run["started_s"] >= over_s for run in runs), "one of the two had to wait for its end"


def test_a_movable_window_waits_for_the_work_that_is_there(daemon: Daemon) -> None:
    program, now_s = daemon.upload(), time.time()
    task = daemon.submit(program, device="slow").json()["id"]
    movable = {"kind": "calibration", "start_s": now_s, "end_s": now_s + 0.5, "slack_s": 60.0}
    id = daemon.http.post("/v1/devices/slow/windows", json=movable).json()["id"]
    assert daemon.ended(task)["state"] == "done"
    until(lambda: not daemon.http.get("/v1/devices/slow/windows").json()["items"])
    entries = [entry for entry in daemon.events() if entry.get("window") == id]
    told = [entry["event"] for entry in entries]
    assert told == ["WindowSet", "WindowBegan", "WindowCleared"]
    ended_s = daemon.http.get(f"/v1/tasks/{task}").json()["ended_s"]
    assert entries[1]["at_s"] >= ended_s and abs(entries[1]["end_s"] - entries[1]["at_s"] - 0.5) < 1e-3


def test_a_device_drains(daemon: Daemon) -> None:
    task = daemon.submit(daemon.upload(), device="hour").json()["id"]
    until(lambda: daemon.http.get("/v1/devices/hour").json()["running"] == 1)
    down = {"status": "maintenance", "reason": "new laser"}
    answer = daemon.http.post("/v1/devices/hour/status", json=down).json()
    assert (answer["status"], answer["reason"]) == ("draining", "new laser")
    assert "draining" in qdeck(daemon, "devices").stdout
    assert daemon.http.post(f"/v1/tasks/{task}/cancel").status_code == 200
    assert daemon.ended(task)["state"] == "cancelled"
    assert daemon.http.get("/v1/devices/hour").json()["status"] == "maintenance"


# -- sessions -----------------------------------------------------------------------------------------------------


def test_idle_exclusive_sessions_and_batches_are_closed(daemon: Daemon) -> None:
    opened = {
        mode: daemon.http.post("/v1/sessions", json={"device": "fake", "mode": mode, "ttl_s": 600}).json()
        for mode in ("shared", "batch", "exclusive")
    }
    assert {mode: session["idle_s"] for mode, session in opened.items()} == {
        "shared": 0,
        "batch": 0.4,
        "exclusive": 0.5,
    }
    task = daemon.submit(daemon.upload(), session=opened["exclusive"]["id"])
    assert daemon.ended(task.json()["id"])["state"] == "done"

    def state(mode: str) -> tuple[str, str]:
        told = daemon.http.get(f"/v1/sessions/{opened[mode]['id']}").json()
        return told["state"], told["reason"]

    until(lambda: state("exclusive") == ("closed", "idle"))
    assert state("batch") == ("open", ""), "it counts from its first task"
    daemon.ended(daemon.submit(daemon.upload(), session=opened["batch"]["id"]).json()["id"])
    until(lambda: state("batch") == ("closed", "idle"))
    assert state("shared") == ("open", "")
    refused(daemon.submit(daemon.upload(), session=opened["batch"]["id"]), 404)


def test_an_exclusive_session_lends_its_gaps_if_it_is_told_to(daemon: Daemon) -> None:
    program = daemon.upload()
    request = {"device": "slow", "mode": "exclusive", "idle_s": 0}
    refused(daemon.http.post("/v1/sessions", json={"device": "slow", "lend": True}), 422, "$.lend", "nothing to lend")
    for lend in (False, True):
        session = daemon.http.post("/v1/sessions", json={**request, "lend": lend}).json()
        assert session["lend_s"] == (3.0 if lend else 0.0)
        with nobody(daemon) as http:
            theirs = http.post("/v1/tasks", json={"device": "slow", "program": program, "shots": 5}).json()["id"]
            if lend:
                assert http.get(f"/v1/tasks/{theirs}", params={"wait": 10}).json()["state"] == "done"
            else:
                assert http.get(f"/v1/tasks/{theirs}/why").json()["reason"] == "exclusive_session"
        assert daemon.http.delete(f"/v1/sessions/{session['id']}").status_code == 200
        assert daemon.ended(theirs)["state"] == "done"


def test_a_renewal_shows_where_a_reservation_cuts_it(either: Daemon) -> None:
    request = {"device": "fake", "mode": "exclusive", "idle_s": 0, "ttl_s": 100}
    session = either.http.post("/v1/sessions", json=request).json()
    start_s = time.time() + 100.5
    reservation = {"kind": "reservation", "start_s": session["expires_s"] - 1, "end_s": start_s + 60, "project": "x"}
    refused(either.http.post("/v1/devices/fake/windows", json=reservation), 409, why="exclusive session")
    reservation["start_s"] = start_s
    assert either.http.post("/v1/devices/fake/windows", json=reservation).status_code == 201
    until(lambda: either.http.post(f"/v1/sessions/{session['id']}/renew").json()["expires_s"] == start_s)
    either.kill()
    either.start()
    assert either.http.get(f"/v1/sessions/{session['id']}").json()["expires_s"] == start_s


# -- the command line ---------------------------------------------------------------------------------------------


def test_windows_on_the_command_line(daemon: Daemon) -> None:
    add = ("window", "add", "fake", "--kind")
    once = qdeck(daemon, *add, "maintenance", "--start", "2035-01-01T02:00", "--for", "1h30m", "--zone", "Europe/Paris",
                 "--reason", "pump", "--json")  # fmt: skip
    assert once.returncode == 0, once.stderr
    window = json.loads(once.stdout)
    assert window["start_s"] == 2051226000.0 and window["end_s"] - window["start_s"] == 5400, "01:00 UTC in winter"
    daily = qdeck(
        daemon, *add, "calibration", "--for", "1h", "--every", "day", "--at", "02:00", "--zone", "Europe/Paris"
    )
    assert daily.returncode == 0, daily.stderr
    six = json.loads(qdeck(daemon, "window", "add", "slow", "--kind", "calibration", "--for", "5m", "--every", "6h",
                           "--movable", "30m", "--json", TZ="America/New_York").stdout)  # fmt: skip
    assert (six["rule"], six["slack_s"], six["zone"]) == ("FREQ=HOURLY;INTERVAL=6", 1800, "America/New_York")
    weekly = json.loads(qdeck(daemon, *add, "maintenance", "--for", "3h", "--rule", "FREQ=WEEKLY;BYDAY=MO;BYHOUR=3",
                              "--json").stdout)  # fmt: skip
    starts = [
        time.gmtime(each["start_s"])[6:1:-3]  # weekday and hour
        for each in daemon.http.get("/v1/devices/fake/windows").json()["items"] if each["calendar"] == weekly["id"]
    ]  # fmt: skip
    assert len(starts) == 2 and {start[0] for start in starts} == {0}
    now = qdeck(daemon, "window", "add", "slow", "--kind", "reservation", "--for", "2h", "--for-user", "ada",
                "--for-project", "atoms")  # fmt: skip
    assert now.returncode == 0, now.stderr
    shown = qdeck(daemon, "window", "list").stdout
    for text in (window["id"], daily.stdout.strip(), six["id"], "ada in atoms", "movable 30m", "pump", "FREQ=DAILY",
                 "Europe/Paris", "a letter is half an hour"):  # fmt: skip
        assert text in shown, shown
    line = next(line for line in shown.splitlines() if line.startswith("slow") and set(line[6:]) <= set("RCM. "))
    assert "RRR" in line and "C" in line and len(line.split()[1]) == 48
    listed = json.loads(qdeck(daemon, "window", "list", "slow", "--json").stdout)
    assert {each["id"] for each in listed["calendars"]} == {six["id"]}
    assert (
        "maintenance 20" in qdeck(daemon, "devices", "fake").stdout
        or "calibration 20" in qdeck(daemon, "devices").stdout
    )
    assert window["id"] in complete(daemon, "qdeck window rm w")
    for id in (window["id"], daily.stdout.strip(), six["id"], weekly["id"], now.stdout.strip()):
        assert qdeck(daemon, "window", "rm", id).stdout in (f"{id} over\n", f"{id} cleared\n")
    assert complete(daemon, "qdeck window rm w") == []
    gone = qdeck(daemon, "window", "rm", window["id"])
    assert gone.returncode == 1 and "qdeck window list" in gone.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--for", "soon"), "1h30m"), (("--for", "1h", "--every", "now and then"), "6h"),
        (("--for", "1h", "--every", "day", "--rule", "FREQ=DAILY"), "--every"),
        (("--for", "1h", "--at", "2"), "--every"),
        (("--for", "1h", "--start", "later"), "2026-11-22T02:00"), (("--for", "1h", "--zone", "Mars"), "Europe/Paris"),
        (("--for", "1h", "--every", "day", "--at", "noon"), "02:00"), (("--for", "1h", "--movable", "x"), "1h30m"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_words(one: Daemon, words: tuple[str, ...], why: str) -> None:
    done = qdeck(one, "window", "add", "fake", "--kind", "calibration", *words)
    assert done.returncode == 2 and done.stdout == "" and why in done.stderr and "Traceback" not in done.stderr


def test_what_the_daemon_refuses_is_one_sentence(one: Daemon) -> None:
    done = qdeck(one, "window", "add", "fake", "--kind", "calibration", "--for", "2h", "--every", "hour")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "occurs again after 3600 s" in done.stderr


def test_sessions_on_the_command_line(daemon: Daemon) -> None:
    opened = qdeck(
        daemon, "session", "open", "-d", "fake", "--mode", "exclusive", "--idle", "0", "--lend", "--ttl", "30"
    )
    assert opened.returncode == 0, opened.stderr
    id = opened.stdout.strip()
    row = next(line for line in qdeck(daemon, "session", "list").stdout.splitlines() if line.startswith(id))
    assert "exclusive" in row and "3 s" in row
    with subprocess.Popen(
        [QDECK, "session", "renew", id, "--every", "0.3"],
        env={**os.environ, "QDECK_STATE": str(daemon.state)}, stdout=subprocess.DEVNULL,
    ) as renewing:  # fmt: skip
        first_s = daemon.http.get(f"/v1/sessions/{id}").json()["expires_s"]
        until(lambda: daemon.http.get(f"/v1/sessions/{id}").json()["expires_s"] > first_s)
        assert qdeck(daemon, "session", "close", id).returncode == 0
        assert renewing.wait(10) == 0, "it ends with the session"
