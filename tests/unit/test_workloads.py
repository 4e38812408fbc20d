"""Workloads: exact loads, the same draws for the same seed, traces and logs read as they are."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from quarterdeck.core import events as ev
from quarterdeck.core.deck import Deck
from quarterdeck.errors import Invalid
from quarterdeck.simulator.catalogue import WORKLOADS, load_workload
from quarterdeck.simulator.facility import Facility
from quarterdeck.simulator.qstone import read_config
from quarterdeck.simulator.recorded import recorded
from quarterdeck.simulator.run import simulate
from quarterdeck.simulator.site import Site, load_site
from quarterdeck.simulator.study import Study
from quarterdeck.simulator.swf import decorate, read_trace
from quarterdeck.simulator.workload import Job


def drawn(**settings: Any) -> list[Job]:
    return list(Study(**settings).workload().jobs)


# -- the study ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("modality", "load", "sigma"), [("sc", 0.85, 1.0), ("na", 0.7, 1.0), ("na", 1.1, 0.0)])
def test_the_load_is_exact(modality: str, load: float, sigma: float) -> None:
    study = Study(modality=modality, load=load, sigma=sigma, jobs=400, seed=3)  # type: ignore[arg-type]
    workload = study.workload()
    jobs = list(workload.jobs)
    device = load_site(str(workload.site)).device[0]
    quantum_s = sum(job.quantum_s for job in jobs)
    last_s = jobs[-1].arrival_s
    assert [job.arrival_s for job in jobs] == sorted(job.arrival_s for job in jobs)
    span_s = device.span_s(quantum_s / load)
    assert last_s < span_s and quantum_s / device.usable_s(span_s) == pytest.approx(load, rel=1e-9)
    assert last_s > 0.97 * span_s


def test_the_draws_are_common_to_all_loads_and_errors() -> None:
    one, other = drawn(modality="na", jobs=200, load=0.5), drawn(modality="na", jobs=200, load=0.9, error=0.6)
    assert [(job.user, job.class_, len(job.rounds)) for job in one] == [
        (job.user, job.class_, len(job.rounds)) for job in other
    ]
    assert [job.quantum_s for job in one] == [job.quantum_s for job in other]
    assert [job.rounds[0].shots for job in one] != [job.rounds[0].shots for job in other]
    assert one[-1].arrival_s / other[-1].arrival_s == pytest.approx(9 / 5, rel=0.02)


def test_the_study_is_as_described() -> None:
    jobs = drawn(modality="sc", seed=1)
    tasks = [round for job in jobs for round in job.rounds]
    assert len(jobs) == 5000 and len({job.user for job in jobs}) == 12 and len({job.project for job in jobs}) == 4
    classes = Counter(job.class_ for job in jobs)
    assert [classes[name] / 5000 for name in ("production", "test", "development")] == pytest.approx(
        [0.2, 0.3, 0.5], abs=0.02
    )
    assert sum(task.quantum_s for task in tasks) / len(tasks) == pytest.approx(2.0, rel=0.1)
    assert max(task.quantum_s for task in tasks) <= 60
    assert sum(job.rounds[0].think_s for job in jobs) / 5000 == pytest.approx(20, rel=0.05)
    off = [task.estimate_s / task.quantum_s for task in tasks if task.quantum_s > 0.5]
    assert 0.2 < sum(0.74 < ratio < 1.35 for ratio in off) / len(off) < 0.75  # about two thirds within one sigma
    assert drawn(modality="sc", seed=1, sigma=0.0, jobs=50)[0].quantum_s != jobs[0].quantum_s


def test_cheaters_do_what_they_are_said_to() -> None:
    honest = drawn(modality="na", jobs=100)
    for cheat in ("declare", "reopen", "relabel"):
        jobs = drawn(modality="na", jobs=100, cheat=cheat)
        for one, other in zip(honest, jobs, strict=True):
            if one.user != "p0u0":
                assert one == other
            elif cheat == "declare":
                assert other.rounds[0].estimate_s == pytest.approx(one.rounds[0].estimate_s / 10)
                assert other.rounds[0].shots == one.rounds[0].shots
            elif cheat == "reopen":
                assert other.session == "round"
            else:
                assert other.class_ == "production" and other.record_class == one.class_


def test_a_cheater_who_reopens_sessions_is_recorded_as_one_job() -> None:
    record = simulate(Study(modality="na", jobs=60, cheat="reopen").workload(), "deck", audit=True)
    assert len(record.jobs) == 60


def test_what_no_study_can_be_is_told() -> None:
    with pytest.raises(Invalid, match="load above 0"):
        Study(load=0.0).workload()


# -- the facility ------------------------------------------------------------------------------------------------------


def test_a_facility_has_its_number_of_tasks_and_its_lectures() -> None:
    days = 14
    jobs = list(Facility(scale=10, days=days, seed=2).workload().jobs)
    assert sum(len(job.rounds) for job in jobs) / days == pytest.approx(20000, rel=0.1)
    assert [job.arrival_s for job in jobs] == sorted(job.arrival_s for job in jobs)
    assert [job.job for job in jobs] == list(range(1, len(jobs) + 1))
    assert {job.modality for job in jobs} == {"superconducting", "trapped-ion", "neutral-atom"}
    by_hour = Counter(int(job.arrival_s % 86400 // 3600) for job in jobs if job.project == "lecture")
    assert max(by_hour, key=lambda hour: by_hour[hour]) in (10, 11, 12, 13)


def test_a_facility_runs_on_ten_devices() -> None:
    record = simulate(load_workload("facility-x10", 1, days=1), "deck")
    assert not record.counters["unfinished"] and len(record.devices) == 10
    assert all(seconds["working"] > 0 for seconds in record.busy.values())
    assert record.counters["tasks"] == sum(job.rounds for job in record.jobs)


# -- by name and by file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_shipped_workload_is_there_and_can_be_read_twice(name: str) -> None:
    workload = load_workload(name, 7)
    site = load_site(str(workload.site))
    firsts = []
    for _ in range(2):
        job = next(iter(workload.jobs))
        assert site.matching(job.modality, job.qubits) and job.rounds
        firsts.append(job)
    assert firsts[0] == firsts[1]


def test_an_unknown_name_and_an_unknown_setting_are_told(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="neither a file nor one of study-na"):
        load_workload("study")
    with pytest.raises(Invalid, match="does not take these settings"):
        load_workload("study-na", colour="red")


# -- QStone ------------------------------------------------------------------------------------------------------------


def test_the_qstone_sample_runs() -> None:
    workload = load_workload("qstone", 1, load=0.6)
    jobs = list(workload.jobs)
    config = read_config()
    assert len(jobs) == len(config.users) * config.environment.job_count
    chemistry = [job for job in jobs if job.user == "chemistry"]
    test = sum(job.class_ == "test" for job in chemistry) / len(chemistry)
    assert test == pytest.approx(0.95, abs=0.02)
    assert {job.qubits for job in jobs if job.class_ == "production"} == {4, 5, 6}
    shots = {round.shots for job in jobs if job.class_ == "production" for round in job.rounds}
    assert min(shots) == 100 and max(shots) == 200
    record = simulate(workload, "deck")
    assert len(record.jobs) == len(jobs)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"users": []}, "there are none"),
        ({"users": [{"user": "a", "computations": {"VQE": 0.5}}]}, "sum to 1"),
        ({"users": [{"user": "a", "computations": {"GHZ": 1.0}}]}, "GHZ, which is not among the jobs"),
        ({"jobs": [{"type": "VQE", "qubits": [6, 4], "num_shots": [1]}]}, "two in order"),
        ({"jobs": 3}, "no QStone configuration"),
    ],
)
def test_a_bad_qstone_configuration_is_told(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    config = {
        "environment": {"job_count": 3},
        "jobs": [{"type": "VQE", "qubits": [4, 6], "num_shots": [100]}],
        "users": [{"user": "a", "computations": {"VQE": 1.0}}],
    }
    file = tmp_path / "qstone.json"
    file.write_text(json.dumps(config))
    assert sum(1 for _ in load_workload(str(file)).jobs) == 3
    file.write_text(json.dumps(config | change))
    with pytest.raises(Invalid, match=why):
        load_workload(str(file))


# -- SWF ---------------------------------------------------------------------------------------------------------------

SWF = """\
; Version: 2.2
; Computer: a made-up machine
;
  1      0   10   300   4 -1 -1   4  600 -1 1 101 5 -1 1 -1 -1 -1
  2     60    5  4000   8 -1 -1   8 9000 -1 1 102 5 -1 1 -1 -1 12

  3    120   -1 90000  16 -1 -1  16   -1 -1 0 103 6 -1 2 -1  1 30.5 ; a comment behind it
  4    130    7    -1   1 -1 -1   1   60 -1 5 104 6 -1 2 -1 -1 -1
"""
BAD = (
    "5 150 0 1\n6 x 0 5 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n7 -1 0 5 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n8 1 0 nan" + " 1" * 14 + "\n"
)


@pytest.mark.parametrize("packed", [False, True])
def test_a_trace_is_read(tmp_path: Path, packed: bool) -> None:
    file = tmp_path / ("trace.swf.gz" if packed else "trace.swf")
    file.write_bytes(gzip.compress(SWF.encode()) if packed else SWF.encode())
    trace = read_trace(file)
    assert trace.comments == {"Version": "2.2", "Computer": "a made-up machine"} and trace.bad == []
    assert [job.job for job in trace.jobs] == [1, 2, 3, 4]
    third = trace.jobs[2]
    assert (third.submit_s, third.run_s, third.processors, third.status, third.user, third.group, third.queue) == (
        120, 90000, 16, 0, 103, 6, 2,
    )  # fmt: skip
    assert third.think_s == 30.5
    jobs = list(load_workload(str(file), 3).jobs)
    assert [(job.class_, job.user, job.project) for job in jobs] == [
        ("development", "user101", "group5"), ("test", "user102", "group5"), ("production", "user103", "group6"),
    ]  # fmt: skip
    assert [job.arrival_s for job in jobs] == [0, 60, 120]
    assert jobs[1].rounds[0].think_s == 12 and 5 <= len(jobs[1].rounds) <= 20
    assert sum(round.think_s for round in jobs[0].rounds) == pytest.approx(300)
    assert len(simulate(decorate(trace, seed=3), "deck", audit=True).jobs) == 3


def test_bad_lines_are_told_with_their_number(tmp_path: Path) -> None:
    file = tmp_path / "trace.swf"
    file.write_text(SWF + BAD)
    trace = read_trace(file)
    assert len(trace.jobs) == 4
    assert trace.bad == [
        (9, "has 4 fields instead of 18"),
        (10, "field 2 is no number"),
        (11, "has no submit time"),
        (12, "has a number that is not finite"),
    ]
    with pytest.raises(Invalid, match=r"trace\.swf:9.*has 4 fields"):
        read_trace(file, strict=True)


def test_a_trace_is_stretched_to_a_load(tmp_path: Path) -> None:
    file = tmp_path / "trace.swf"
    file.write_text("".join(f"{n} {n * n} 0 900 1 {'-1 ' * 5} 1 {n % 7} 1 -1 1 -1 -1 -1\n" for n in range(1, 80)))
    workload = decorate(read_trace(file), seed=1, load=0.8)
    jobs = list(workload.jobs)
    quantum_s = sum(job.quantum_s for job in jobs)
    assert quantum_s / load_site("superconducting").device[0].usable_s(jobs[-1].arrival_s) == pytest.approx(0.8)
    assert jobs[10].arrival_s / jobs[20].arrival_s == pytest.approx((11**2 - 1) / (21**2 - 1))


def test_a_trace_without_a_job_is_told(tmp_path: Path) -> None:
    file = tmp_path / "trace.swf"
    file.write_text("; nothing\n1 2 3\n")
    with pytest.raises(Invalid, match="no job that ran; 1 bad lines"):
        load_workload(str(file))
    (tmp_path / "broken.swf.gz").write_bytes(b"\x1f\x8b broken")
    with pytest.raises(Invalid, match="cannot be read"):
        load_workload(str(tmp_path / "broken.swf.gz"))


# -- recorded logs -----------------------------------------------------------------------------------------------------


def log_of(workload: Any, policy: str) -> list[ev.Event]:
    """What a daemon would have written: the steps of a run's own core."""
    written: list[ev.Event] = []
    handle = Deck.handle

    def listened(self: Deck, event: ev.Event) -> Any:
        step = handle(self, event)
        written.extend(step.events)
        return step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Deck, "handle", listened)
        simulate(workload, policy)
    return written


def starts(events: list[ev.Event]) -> list[tuple[str, int, int]]:
    return [(event.task, event.index, event.shots) for event in events if isinstance(event, ev.SliceStarted)]


@pytest.fixture(scope="module")
def log() -> list[ev.Event]:
    return log_of(Study(modality="na", jobs=40, load=0.8, seed=4).workload(), "fifo")


def test_a_recorded_run_comes_out_again(log: list[ev.Event]) -> None:
    """Simulated again under the policy that it ran under: the same tasks at the same times, in the same order."""
    ended = {event.task for event in log if isinstance(event, ev.SliceFinished)}
    again = log_of(recorded(log), "fifo")
    names: dict[str, str] = {}  # tasks are numbered by arrival in both
    for one, other in zip(
        (event for event in log if isinstance(event, ev.Submitted) and event.task in ended),
        (event for event in again if isinstance(event, ev.Submitted)),
        strict=True,
    ):
        assert one.at_s == pytest.approx(other.at_s) and one.shots == other.shots
        names[one.task] = other.task
    assert [names[task] for task, _, _ in starts(log)] == [task for task, _, _ in starts(again)]


def test_a_closed_loop_keeps_the_pauses(log: list[ev.Event]) -> None:
    jobs = list(recorded(log, closed=True).jobs)
    asked = list(Study(modality="na", jobs=40, load=0.8, seed=4).workload().jobs)
    assert len(jobs) == 40
    for job, other in zip(jobs, asked, strict=True):
        assert (job.user, job.class_) == (other.user, other.class_)
        assert [round.think_s for round in job.rounds] == pytest.approx([round.think_s for round in other.rounds])
        assert [round.quantum_s for round in job.rounds] == pytest.approx([round.quantum_s for round in other.rounds])
    record = simulate(recorded(log, closed=True), "deck", audit=True)
    assert len(record.jobs) == 40


def test_logs_are_read_from_lines_and_from_a_store(tmp_path: Path, log: list[ev.Event]) -> None:
    lines = tmp_path / "log.ndjson"
    lines.write_bytes(
        b"".join(
            msgspec.json.encode({"seq": seq, "event": msgspec.Raw(ev.encode(event))}) + b"\n"
            for seq, event in enumerate(log, 1)
        )
    )
    store = tmp_path / "quarterdeck.db"
    with sqlite3.connect(store) as connection:
        connection.execute("CREATE TABLE event (seq INTEGER, body BLOB)")
        connection.executemany("INSERT INTO event VALUES (?, ?)", enumerate(map(ev.encode, log), 1))
    connection.close()
    one, other = load_workload(str(lines)), load_workload(str(store))
    assert list(one.jobs) == list(other.jobs)
    assert isinstance(one.site, Site) and one.site == other.site and one.site.device[0].id == "atoms"
    lines.write_text('{"seq": 1}\n')
    with pytest.raises(Invalid, match=r"log\.ndjson:1"):
        load_workload(str(lines))
    lines.write_text("")
    with pytest.raises(Invalid, match="no task that measured"):
        load_workload(str(lines))
