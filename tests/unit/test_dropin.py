"""How `qdeck bench dropin` counts, and that its double does what its scripts say."""

from __future__ import annotations

import json

import httpx
import pytest

from quarterdeck.bench.dropin import SCENARIOS, Row, Tally, judge
from quarterdeck.bench.dropin_report import markdown, to_json
from quarterdeck.bench.dropin_sites import sequence
from quarterdeck.bench.qpu_process import QpuProcess

WHOLE = {"status": "DONE", "results": '{"counter": {"00": 15, "11": 5}}'}


@pytest.mark.parametrize(
    ("jobs", "programs", "excused", "expected"),
    [
        ([WHOLE, WHOLE], 2, 0, Tally(jobs=2)),
        ([WHOLE], 4, 0, Tally(jobs=1, duplicated=3)),
        ([WHOLE], 2, 1, Tally(jobs=1)),
        ([{"status": "DONE", "results": "{'counter': {'00': 20}}"}], 1, 0, Tally(jobs=1, lost=1)),
        ([{"status": "DONE", "results": '{"counter": {"00": 19}}'}], 1, 0, Tally(jobs=1, lost=1)),
        ([{"status": "DONE", "results": None}, {"status": "LOST"}], 2, 0, Tally(jobs=2, lost=2)),
        ([{"status": "ERROR"}, {"status": "CANCELED"}], 1, 0, Tally(jobs=2, burnt=1, lost=1)),
        ([{"status": "PENDING"}, {"status": "RUNNING"}, {}], 1, 0, Tally(jobs=3, blocked=3)),
    ],
)  # fmt: skip
def test_what_became_of_jobs(jobs: list[dict[str, object]], programs: int, excused: int, expected: Tally) -> None:
    assert judge(jobs, programs, excused) == expected


def test_the_report_has_every_row_and_says_what_could_not_be_done() -> None:
    rows = [
        Row(scenario="kill", what="kill -9", system="quarterdeck", tally=Tally(jobs=2, settled_s=1.25)),
        Row(scenario="kill", what="kill -9", system="warden", tally=Tally(jobs=2, duplicated=1, blocked=1)),
        Row(scenario="html", what="a | page", system="warden", why="no scheduler"),
    ]
    lines = markdown(rows).splitlines()
    assert lines[2] == "| kill -9 | quarterdeck | 2 | 0 | 0 | 0 | 0 | 0 | 1.2 s |  |"
    assert lines[4] == "| a \\| page | warden | - | - | - | - | - | - | - | no scheduler |"
    assert json.loads(to_json(rows))["rows"][1]["tally"]["duplicated"] == 1


def test_scenarios_have_distinct_names_and_sentences() -> None:
    assert len({what for what, _ in SCENARIOS.values()}) == len(SCENARIOS)


def test_the_double_runs_jobs_and_misbehaves_as_it_is_told() -> None:
    with QpuProcess() as qpu, httpx.Client(base_url=f"{qpu.uri}/api/v1", timeout=10, trust_env=False) as http:
        body = {"nb_run": 20, "pulser_sequence": sequence(), "context": {"batch_id": "b", "pasqman_job_id": "p"}}
        job = http.post("/jobs", json=body).json()["data"]
        assert (job["uid"], job["status"], job["context"]["pasqman_job_id"]) == (0, "PENDING", "p")
        while (job := http.get("/jobs/0").json()["data"])["status"] != "DONE":
            pass
        counter = json.loads(job["result"])["counter"]
        assert sum(counter.values()) == 20 and set(map(len, counter)) == {2}
        assert http.get("/jobs/1").status_code == 404
        assert http.get("/programs/0").json()["data"]["status"] == "DONE"
        qpu.script(run_s=60.0, operational="DOWN", unknown=400, get_status_next=1, get_status=502)
        assert http.get("/system/operational").json()["data"]["operational_status"] == "DOWN"
        assert http.post("/jobs", json=body).status_code == 503
        assert [http.get("/jobs/9").status_code for _ in range(2)] == [502, 400]
        qpu.script(operational="UP")
        first, second = (http.post("/jobs", json=body).json()["data"]["uid"] for _ in range(2))
        statuses = [http.get(f"/jobs/{uid}").json()["data"]["status"] for uid in (first, second)]
        assert statuses == ["CANCELED", "RUNNING"], "a job cancels the one before"
        late = http.put(f"/jobs/{first}/cancel")
        assert late.status_code == 400 and "3003" in late.json()["code"]
        qpu.script(forget=True)
        assert http.get("/jobs/0").status_code == 400
        assert [entry["what"] for entry in qpu.log()] == ["create", "done", "create", "cancel", "create", "forget"]
