"""Projects, budgets, usage reports and limits, over HTTP and on the command line, with a daemon that is killed too."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.core import events as ev
from quarterdeck.core.replay import replay

from .running import Daemon
from .test_desk import nobody

QDECK = Path(sys.executable).with_name("qdeck")
SLOW = {"driver": "fake", "slow_s": 0.1, "slice_shots": 20}


@pytest.fixture
def daemon(database: str, tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path, database, {"fake": {"driver": "fake"}, "slow": SLOW}) as daemon:
        yield daemon


def put(daemon: Daemon, path: str, **body: Any) -> dict[str, Any]:
    answer = daemon.http.put(f"/v1/projects/{path}", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def get(daemon: Daemon, path: str, **query: str) -> dict[str, Any]:
    answer = daemon.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def qdeck(daemon: Daemon, *words: str, status: int = 0) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QDECK_")}
    done = subprocess.run(
        [QDECK, *words], env=clean | {"QDECK_STATE": str(daemon.state)}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def wait_for(daemon: Daemon, task: str, reason: str) -> dict[str, Any]:
    """What `why` says of the task, once it waits for that reason."""
    deadline = time.monotonic() + 20
    while (told := get(daemon, f"/v1/tasks/{task}/why"))["reason"] != reason:
        assert time.monotonic() < deadline, told
        state = get(daemon, f"/v1/tasks/{task}")
        daemon.http.get(f"/v1/tasks/{task}", params={"wait": 5, "after": state["version"]})
    return told


def test_a_budget_from_its_setting_to_its_end(daemon: Daemon) -> None:
    """Admission, a budget lowered under running work, a kill, and one that is raised again."""
    program = daemon.upload()
    put(daemon, "atoms", share=2.0)
    told = put(daemon, "atoms/budget", shots=200)
    assert told["budget"]["left_shots"] == 200 and told["budget"]["note"] == ""
    refused = daemon.submit(program, 201, "slow", project="atoms")
    assert refused.status_code == 402, refused.text
    error = refused.json()["error"]
    assert (error["code"], error["project"], error["left"], error["needed"]) == ("over_budget", "atoms", 200, 201)
    task = daemon.submit(program, 120, "slow", project="atoms").json()
    assert task["project"] == "atoms"
    assert daemon.submit(program, 100, "slow", project="atoms").status_code == 402, "120 are held"
    told = put(daemon, "atoms/budget", shots=10)
    why = wait_for(daemon, task["id"], "budget")
    assert "project atoms" in why["detail"] and why["estimate_s"] is None
    other = daemon.ended(daemon.submit(program, 20, "slow").json()["id"])
    assert other["state"] == "done", "others are served"
    before = get(daemon, "/v1/projects/atoms")
    assert before["budget"]["note"].startswith("nothing is left")
    assert before["budget"]["left_shots"] <= 0
    daemon.kill()
    daemon.start()
    after = get(daemon, "/v1/projects/atoms")
    for name in ("spent_shots", "spent_qpu_s", "held_shots", "shots", "total_shots"):
        assert after["budget"][name] == before["budget"][name], name
    assert wait_for(daemon, task["id"], "budget")
    put(daemon, "atoms/budget", shots=120)
    assert daemon.ended(task["id"])["state"] == "done"
    own = get(daemon, "/v1/projects/atoms")["budget"]
    assert (own["spent_shots"], own["held_shots"], own["held_qpu_s"], own["left_shots"]) == (120, 0, 0, 0)
    replay(ev.decode(json.dumps(event)) for event in daemon.events())


def test_device_seconds_are_spent_by_measure(daemon: Daemon) -> None:
    program = daemon.upload()
    put(daemon, "atoms")
    put(daemon, "atoms/budget", qpu_s=1000.0, period="month")
    ended = daemon.ended(daemon.submit(program, 40, "slow", project="atoms").json()["id"])
    told = get(daemon, "/v1/projects/atoms")["budget"]
    assert told["spent_qpu_s"] == pytest.approx(ended["qpu_s"]) and ended["qpu_s"] > 0
    assert told["anew_s"] > ended["ended_s"]
    assert told["left_qpu_s"] == pytest.approx(1000.0 - ended["qpu_s"])


def test_members_and_others(daemon: Daemon) -> None:
    program = daemon.upload()
    put(daemon, "open")
    put(daemon, "closed", members=["root"])
    put(daemon, "ours", members=["root", "nobody"])
    daemon.ended(daemon.submit(program, 7, project="ours").json()["id"])
    with nobody(daemon) as http:
        assert [p["name"] for p in http.get("/v1/projects").json()["items"]] == ["open", "ours"]
        assert http.get("/v1/projects/closed").status_code == http.get("/v1/projects/none").status_code == 404
        assert http.get("/v1/projects/ours").json()["users"] == [], "root's part is root's affair"
        body = {"device": "fake", "program": program, "shots": 3}
        assert http.post("/v1/tasks", json={**body, "project": "closed"}).status_code == 403
        assert http.post("/v1/tasks", json={**body, "project": "none"}).status_code == 404
        assert http.post("/v1/sessions", json={"device": "fake", "project": "closed"}).status_code == 403
        task = http.post("/v1/tasks", json={**body, "project": "ours"})
        assert task.status_code == 201
        for method, path, sent in (
            ("PUT", "/v1/projects/ours", {}), ("PUT", "/v1/projects/ours/budget", {}),
            ("DELETE", "/v1/projects/ours", None),
        ):  # fmt: skip
            assert http.request(method, path, json=sent).status_code == 403
        assert http.get(f"/v1/tasks/{task.json()['id']}", params={"wait": 20}).json()["state"] == "done"
        mine = http.get("/v1/usage", params={"by": "user"}).json()["items"]
        assert [(row["user"], row["shots"]) for row in mine] == [("nobody", 3)]
        ours = http.get("/v1/usage", params={"by": "user", "project": "ours"}).json()["items"]
        assert [(row["user"], row["shots"]) for row in ours] == [("nobody", 3), ("root", 7)]
        assert "ProjectSet" not in http.get("/v1/events", headers={"Accept": "application/x-ndjson"}).text
    session = daemon.http.post("/v1/sessions", json={"device": "fake", "project": "ours"}).json()
    mixed = daemon.submit(program, 1, session=session["id"], project="open")
    assert mixed.status_code == 409 and "is in project ours" in mixed.text
    assert daemon.submit(program, 1, session=session["id"]).json()["project"] == "ours"


def test_a_project_goes_when_nothing_of_it_is_live(daemon: Daemon) -> None:
    program = daemon.upload()
    put(daemon, "atoms")
    task = daemon.submit(program, 2000, "slow", project="atoms").json()["id"]
    busy = daemon.http.delete("/v1/projects/atoms")
    assert busy.status_code == 409 and "1 tasks" in busy.text
    daemon.http.post(f"/v1/tasks/{task}/cancel")
    daemon.ended(task)
    assert daemon.http.delete("/v1/projects/atoms").json()["name"] == "atoms"
    assert daemon.http.delete("/v1/projects/atoms").status_code == 404
    assert daemon.http.get("/v1/projects/atoms").status_code == 404
    daemon.kill()
    daemon.start()
    assert daemon.http.get("/v1/projects/atoms").status_code == 404
    rows = get(daemon, "/v1/usage", by="project")["items"]
    assert [row["project"] for row in rows] == ["atoms"], "its use stays in the reports"


@pytest.mark.parametrize(
    ("method", "path", "body", "where"),
    [
        ("PUT", "/v1/projects/a", {"share": 0}, "$.share"), ("PUT", "/v1/projects/a", {"share": "much"}, "$.share"),
        ("PUT", "/v1/projects/a", {"members": ["a/b"]}, "$.members[0]"), ("PUT", "/v1/projects/a", {"owner": 1}, "$"),
        ("PUT", "/v1/projects/a/budget", {"qpu_s": -1}, "$.qpu_s"),
        ("PUT", "/v1/projects/a/budget", {"shots": 1.5}, "$.shots"),
        ("PUT", "/v1/projects/a/budget", {"period": "week"}, "$.period"),
        ("PUT", "/v1/projects/a/budget", {"user": "a/b"}, "$.user"),
        ("GET", "/v1/usage?by=colour", None, "?by"), ("GET", "/v1/usage?from=2026-13", None, "?from"),
        ("GET", "/v1/usage?to=yesterday", None, "?to"), ("GET", "/v1/usage?project=a/b", None, "?project"),
        ("POST", "/v1/tasks", {"device": "fake", "program": "0" * 64, "shots": 1, "project": "a/b"}, "$.project"),
        ("POST", "/v1/sessions", {"device": "fake", "project": "a\tb"}, "$.project"),
    ],
)  # fmt: skip
def test_bad_input_is_told_where_it_is(
    daemon_of_all: Daemon, method: str, path: str, body: dict[str, Any] | None, where: str
) -> None:
    answer = daemon_of_all.http.request(method, path, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["where"] == where


@pytest.fixture(scope="module")
def daemon_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


def test_usage_reports(daemon: Daemon) -> None:
    program = daemon.upload()
    month = datetime.now(UTC).strftime("%Y-%m")
    for project, class_, shots in (("a", "test", 5), ("a", "production", 6), ("b", "test", 7), ("", "test", 8)):
        task = daemon.submit(program, shots, project=project, **{"class": class_}).json()["id"]
        assert daemon.ended(task)["state"] == "done"
    months = {month, datetime.now(UTC).strftime("%Y-%m")}  # it may have turned just now

    def shots(by: str, **more: str) -> dict[tuple[str, ...], int]:
        rows = get(daemon, "/v1/usage", by=by, **more)["items"]
        return {tuple(row[key] for key in by.split(",") if key): row["shots"] for row in rows}

    assert shots("project") == {("a",): 11, ("b",): 7, ("default",): 8}
    assert shots("project,class") == {
        ("a", "production"): 6, ("a", "test"): 5, ("b", "test"): 7, ("default", "test"): 8
    }  # fmt: skip
    assert shots("user,device") == {("root", "fake"): 26} and shots("") == {(): 26}
    assert shots("class", project="a") == {("production",): 6, ("test",): 5}
    assert shots("project", project="default") == {("default",): 8}
    assert {key[0] for key in shots("month")} <= months and sum(shots("month").values()) == 26
    if len(months) == 1:
        assert shots("", **{"from": month, "to": month}) == {(): 26}
        assert shots("", to="2026-01") == {} and shots("", **{"from": "2999-01"}) == {}
    daemon.kill()
    daemon.start()
    task = daemon.submit(program, 1, project="a").json()["id"]
    daemon.ended(task)
    assert shots("project")[("a",)] == 12, "counting goes on after a crash"


def test_limits_are_told_and_kept(tmp_path: Path) -> None:
    limits = {"tasks": 3, "sessions": 2, "submissions_per_minute": 60.0, "burst": 5}
    with Daemon(tmp_path, devices={"slow": {**SLOW, "slow_s": 30.0}}, tables={"limits": limits}) as daemon:
        program = daemon.upload()
        tasks = []
        for _ in range(3):
            answer = daemon.submit(program, 10, "slow", key=f"k{len(tasks)}")
            assert answer.status_code == 201, answer.text
            tasks.append(answer.json()["id"])
        full = daemon.submit(program, 10, "slow")
        assert full.status_code == 429 and int(full.headers["retry-after"]) > 0
        error = full.json()["error"]
        assert (error["code"], error["limit"], error["allowed"], error["used"]) == ("too_many_requests", "tasks", 3, 3)
        told = {limit["name"]: limit for limit in get(daemon, "/v1/limits")["items"]}
        assert (told["tasks"]["allowed"], told["tasks"]["used"]) == (3, 3)
        assert told["sessions"]["used"] == 0 and 3 <= told["submissions_per_minute"]["used"] <= 4
        assert daemon.submit(program, 10, "slow", key="k1").json()["id"] == tasks[1], "a repetition is not a submission"
        daemon.http.post(f"/v1/tasks/{tasks[2]}/cancel")
        daemon.ended(tasks[2])
        answers = [daemon.submit(program, 10, "slow") for _ in range(8)]
        assert answers[0].status_code == 201
        slow = [a.json()["error"]["limit"] for a in answers[1:] if a.status_code == 429]
        assert len(slow) == 7 and "submissions_per_minute" in slow
        for number in range(3):
            answer = daemon.http.post("/v1/sessions", json={"device": "slow"})
            assert answer.status_code == (201 if number < 2 else 429)
        assert answer.json()["error"]["limit"] == "sessions"
        daemon.kill()
        daemon.start()
        told = {limit["name"]: limit for limit in get(daemon, "/v1/limits")["items"]}
        assert (told["tasks"]["used"], told["sessions"]["used"]) == (3, 2)
        assert "tasks" in qdeck(daemon, "limits")


def test_the_command_line(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        program = daemon.upload()
        assert "is everybody's" not in qdeck(daemon, "project", "set", "atoms", "--share", "2", "--add", "root")
        told = json.loads(qdeck(daemon, "project", "set", "atoms", "--add", "ada", "--json"))
        assert (told["share"], told["members"]) == (2.0, ["ada", "root"])
        qdeck(daemon, "project", "set", "atoms", "--drop", "ada")
        assert "--everybody" in qdeck(daemon, "project", "set", "atoms", "--drop", "root", status=2)
        assert "no member" in qdeck(daemon, "project", "set", "atoms", "--drop", "eve", status=2)
        qdeck(daemon, "project", "budget", "atoms", "--qpu", "1.5h", "--month")
        qdeck(daemon, "project", "budget", "atoms", "--shots", "50")
        told = json.loads(qdeck(daemon, "project", "show", "atoms", "--json"))["budget"]
        assert (told["qpu_s"], told["shots"], told["period"]) == (5400.0, 50, "month"), "what is not named stays"
        task = qdeck(daemon, "submit", program, "-d", "fake", "-n", "40", "--project", "atoms").strip()
        qdeck(daemon, "task", task, "--wait")
        refused = qdeck(daemon, "submit", program, "-d", "fake", "-n", "40", "--project", "atoms", status=1)
        assert "project atoms has 10 shots left" in refused and "`qdeck project show atoms`" in refused
        assert "50 a month: 40 spent, 0 held, 10 free" in qdeck(daemon, "project", "show", "atoms")
        assert "5,400 s" in qdeck(daemon, "project", "list")
        assert (
            json.loads(qdeck(daemon, "project", "budget", "atoms", "--qpu", "none", "--json"))["budget"]["qpu_s"]
            is None
        )
        assert "--qpu" in qdeck(daemon, "project", "budget", "atoms", "--qpu", "soon", status=2)
        table = qdeck(daemon, "usage", "--by", "project,user")
        assert "PROJECT" in table and "atoms" in table and "root" in table
        rows = list(csv.DictReader(io.StringIO(qdeck(daemon, "usage", "--by", "class,month", "--csv"))))
        assert rows[0]["shots"] == "40" and rows[0]["class"] == "development" and len(rows[0]["month"]) == 7
        items = json.loads(qdeck(daemon, "usage", "--json", "--project", "atoms"))["items"]
        assert items[0]["tasks"] == 1
        assert "?by" in qdeck(daemon, "usage", "--by", "colour", status=1)
        assert "`qdeck project list`" in qdeck(daemon, "project", "show", "ions", status=1)
        assert "atoms removed" in qdeck(daemon, "project", "rm", "atoms")
