"""The simulator: every second has one cause, all work is done, and the core under it is the daemon's own."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.core.invariants import Broken
from quarterdeck.core.policy import Fifo
from quarterdeck.errors import Invalid
from quarterdeck.simulator.hostile import flood
from quarterdeck.simulator.incident import Incident
from quarterdeck.simulator.record import CLASSES, Record
from quarterdeck.simulator.run import simulate
from quarterdeck.simulator.site import Calendar, DeviceSpec, Faults, Site, load_site
from quarterdeck.simulator.study import Study
from quarterdeck.simulator.workload import Job, Round, Workload, together


def study(**settings: Any) -> Workload:
    return Study(**{"jobs": 120, "seed": 5, **settings}).workload()


def same(one: Record, other: Record) -> bool:
    return (one.jobs, one.slices, one.spans, one.busy, one.etas) == (
        other.jobs, other.slices, other.spans, other.busy, other.etas,
    )  # fmt: skip


def adds_up(record: Record) -> None:
    """Every lane's every second has one cause; idle and busy seconds are counted apart."""
    for device, seconds in record.busy.items():
        whole_s = (record.end_s - record.begin_s) * record.lanes[device]
        assert sum(seconds.values()) == pytest.approx(whole_s, abs=1e-4)
        assert min(seconds.values()) >= 0


@pytest.mark.parametrize("policy", ["fifo", "deck", "priority", "hrrn", "sjf", "fairshare"])
@pytest.mark.parametrize("modality", ["sc", "na"])
def test_all_work_is_done_and_every_second_has_a_cause(policy: str, modality: str) -> None:
    workload = study(modality=modality, jobs=60)
    record = simulate(workload, policy, slices=True, audit=True)
    jobs = {job.job: job for job in workload.jobs}
    adds_up(record)
    assert len(record.jobs) == 60 and not record.counters["unfinished"]
    for done in record.jobs:
        job = jobs[done.job]
        assert done.end_s >= done.arrival_s + done.work_s - 1e-6
        assert (done.quantum_s, done.rounds) == (pytest.approx(job.quantum_s), len(job.rounds))
    asked_s = sum(job.quantum_s for job in jobs.values())
    assert sum(seconds["working"] for seconds in record.busy.values()) == pytest.approx(asked_s)
    assert record.slices is not None
    shots = sum(slice.shots for slice in record.slices if slice.state == "finished")
    assert shots == sum(round.shots for job in jobs.values() for round in job.rounds)


def test_the_same_seed_gives_the_same_record_and_another_does_not() -> None:
    keep: dict[str, Any] = {"slices": True, "spans": True, "eta_every": 3}
    record = simulate(study(), "deck", **keep)
    assert record.etas and same(record, simulate(study(), "deck", **keep))
    assert not same(record, simulate(study(seed=6), "deck", **keep))


def test_time_lines_have_no_gap_and_no_overlap() -> None:
    record = simulate(study(modality="na"), "deck", spans=True)
    assert record.spans is not None
    spans = sorted(record.spans, key=lambda span: span.start_s)
    assert spans[0].start_s == 0 and spans[-1].end_s == pytest.approx(record.end_s)
    assert all(one.end_s == pytest.approx(other.start_s, abs=1e-6) for one, other in pairwise(spans))
    for cause, seconds in record.busy["atoms"].items():
        told_s = sum(span.end_s - span.start_s for span in spans if span.cause == cause)
        assert told_s == pytest.approx(seconds, abs=1e-4)


def test_nothing_runs_in_a_hard_window() -> None:
    workload = study(modality="na", load=0.9)
    record = simulate(workload, "deck", slices=True)
    assert record.slices is not None
    spec = load_site("neutral-atom").device[0]
    for start_s, end_s, _ in spec.windows():
        if start_s > record.end_s:
            break
        assert not any(one.start_s < end_s - 1e-6 and one.end_s > start_s + 1e-6 for one in record.slices)
    assert record.busy["atoms"]["calibration"] == pytest.approx(record.end_s - spec.usable_s(record.end_s))


def test_a_killed_slice_is_run_again_and_only_it_is_lost() -> None:
    """The core believes 100 s, it takes 1000: the window at 600 s kills what is not cut."""
    spec = DeviceSpec(id="q", shot_rate_hz=1.0, window=[Calendar(offset_s=600, duration_s=60)])
    turn = Round(think_s=0.0, quantum_s=1000.0, estimate_s=100.0, shots=100)

    def run(slices: bool) -> Record:
        job = Job(job=1, arrival_s=1.0, user="ada", rounds=[turn])
        workload = Workload(name="one", site=Site([spec]), jobs=[job])
        return simulate(workload, "fifo", settings={"slices": slices}, slices=True, audit=True)

    whole, cut = run(False), run(True)
    assert whole.counters["killed"] == 1 and whole.busy["q"]["lost"] == pytest.approx(599)
    assert cut.busy["q"]["lost"] < 200 and cut.end_s < whole.end_s
    assert whole.busy["q"]["working"] == pytest.approx(cut.busy["q"]["working"]) == pytest.approx(1000)


def test_idle_time_is_told_apart() -> None:
    """Alone on a device: empty until it comes, thinking in between, blocked before a window that is too near."""
    spec = DeviceSpec(id="q", shot_rate_hz=1.0, window=[Calendar(offset_s=200, duration_s=50)])
    rounds = [Round(10.0, 50.0, 50.0, 50), Round(20.0, 90.0, 90.0, 90)]
    job = Job(job=1, arrival_s=40.0, user="ada", rounds=rounds)
    workload = Workload(name="one", site=Site([spec]), jobs=[job])
    record = simulate(workload, "fifo", settings={"slices": False}, audit=True)
    seconds = {cause: round(took_s, 6) for cause, took_s in record.busy["q"].items() if took_s}
    assert seconds == {"empty": 40, "thinking": 30, "working": 140, "blocked": 80, "calibration": 50}
    assert record.jobs[0].end_s == 340


def test_a_reservation_is_its_holders_alone() -> None:
    """Both want the device from 0 on; bob has it from 100 to 200, and needs 30 s of that."""
    spec = DeviceSpec(
        id="q", shot_rate_hz=1.0, window=[Calendar(kind="reservation", offset_s=100, duration_s=100, user="bob")]
    )
    jobs = [
        Job(job=1, arrival_s=0.0, user="ada", rounds=[Round(0.0, 70.0, 70.0, 70), Round(0.0, 50.0, 50.0, 50)]),
        Job(job=2, arrival_s=110.0, user="bob", rounds=[Round(0.0, 30.0, 30.0, 30)]),
    ]
    settings = {"slices": False}
    workload = Workload(name="two", site=Site([spec]), jobs=jobs)
    record = simulate(workload, "fifo", settings=settings, slices=True, audit=True)
    adds_up(record)
    assert record.slices is not None
    assert [(one.user, one.start_s) for one in record.slices] == [("ada", 0), ("bob", 110), ("ada", 200)]
    assert record.busy["q"]["reservation"] == 70 and record.busy["q"]["blocked"] == 30


def test_a_movable_calibration_waits_for_a_pause() -> None:
    """Due at 50; the first task runs until 80 and nothing waits then."""
    spec = DeviceSpec(id="q", shot_rate_hz=1.0, window=[Calendar(offset_s=50, duration_s=40, slack_s=100)])
    rounds = [Round(0.0, 80.0, 80.0, 80), Round(60.0, 50.0, 50.0, 50)]
    job = Job(job=1, arrival_s=0.0, user="ada", rounds=rounds)
    record = simulate(Workload(name="one", site=Site([spec]), jobs=[job]), "fifo", spans=True, audit=True)
    adds_up(record)
    assert record.spans is not None
    told = [(span.start_s, span.end_s, span.cause) for span in record.spans if span.cause != "working"]
    assert told == [(80, 120, "calibration"), (120, 140, "thinking")]


@pytest.mark.parametrize("policy", ["fifo", "sjf"])
def test_a_daemon_killed_in_the_middle_changes_nothing(policy: str) -> None:
    workload = study(modality="na", load=0.9)
    keep: dict[str, Any] = {"slices": True, "spans": True}
    kills = [Incident(at_s=at_s, kind="restart") for at_s in (5.0, 4000.0, 54321.0, 100000.5)]
    calm, struck = simulate(workload, policy, **keep), simulate(workload, policy, incidents=kills, **keep)
    assert struck.counters["restarts"] == 4
    assert same(calm, struck)


def test_a_restored_deck_loses_no_work_under_the_default_policy() -> None:
    workload = study(modality="na", load=0.9)
    kills = [Incident(at_s=at_s, kind="restart") for at_s in (5.0, 4000.0, 54321.0)]
    record = simulate(workload, "deck", incidents=kills, audit=True)
    adds_up(record)
    assert len(record.jobs) == 120


@pytest.mark.parametrize("seconds", [7200.0, -7200.0, 0.5, -0.5])
def test_a_clock_that_jumps_stops_nobody(seconds: float) -> None:
    jump = Incident(at_s=9000.0, kind="clock", seconds=seconds)
    record = simulate(study(modality="na"), "deck", incidents=[jump], audit=True)
    adds_up(record)
    assert len(record.jobs) == 120


def test_a_cancel_storm_ends_who_waits_and_nobody_else() -> None:
    storm = Incident(at_s=20100.0, kind="cancel", user="mallory")
    workload = together("w", study(modality="na"), flood("neutral-atom", at_s=20000.0, tasks=300, quantum_s=5.0))
    record = simulate(workload, "deck", incidents=[storm], audit=True)
    adds_up(record)
    done = [job.user == "mallory" for job in record.jobs]
    assert done.count(False) == 120 and 0 < done.count(True) < 60
    assert record.counters["cancelled"] == 300 - done.count(True) and not record.counters["unfinished"]


def test_outages_and_lost_slices_lose_no_job() -> None:
    spec = load_site("neutral-atom").device[0]
    faults = Faults(between_s=20000.0, duration_s=900.0, slice_loss=0.02)
    site = Site([DeviceSpec(id="atoms", shot_rate_hz=10.0, overhead_s=1.0, window=spec.window, faults=faults)])
    outage = Incident(at_s=10000.0, kind="outage", device="atoms", seconds=600.0)
    record = simulate(study(modality="na"), "deck", site=site, seed=1, incidents=[outage], audit=True)
    adds_up(record)
    assert len(record.jobs) == 120
    assert record.counters["faults"] > 1 and record.counters["lost"] > 5
    assert record.busy["atoms"]["fault"] > 600 and record.busy["atoms"]["lost"] > 0
    other = simulate(study(modality="na"), "deck", site=site, seed=2, incidents=[outage])
    assert other.busy != record.busy, "the seed is of the faults"


def test_a_hostile_tenant_stops_nobody_and_harms_less_than_under_fifo() -> None:
    def delay_s(policy: str, *more: Workload) -> float:
        calm = study(modality="sc", load=0.5)
        record = simulate(together("flooded", calm, *more), policy)
        adds_up(record)
        honest = [job.end_s - job.arrival_s - job.work_s for job in record.jobs if job.user != "mallory"]
        assert len(honest) == 120 and not record.counters["unfinished"]
        return sum(honest) / len(honest)

    harm_s = {}
    for policy in ("deck", "fifo"):
        harm = flood("superconducting", at_s=5000.0, tasks=1500, quantum_s=2.0)
        harm_s[policy] = delay_s(policy, harm) - delay_s(policy)
    assert 0 < harm_s["deck"] < harm_s["fifo"]


def test_a_task_with_a_choice_takes_the_free_device() -> None:
    site = Site([DeviceSpec(id="slow", shot_rate_hz=1.0), DeviceSpec(id="fast", shot_rate_hz=10.0)])
    jobs = [Job(job=n, arrival_s=1.0, user="ada", rounds=[Round(0.0, 100.0, 0.0, 100)]) for n in (1, 2)]
    record = simulate(Workload(name="two", site=site, jobs=jobs), "fifo", slices=True, audit=True)
    assert record.slices is not None
    adds_up(record)
    assert {one.device for one in record.slices} == {"slow", "fast"}
    assert sorted(job.end_s for job in record.jobs) == [pytest.approx(11), pytest.approx(101)]


def test_lanes_work_side_by_side() -> None:
    site = Site([DeviceSpec(id="q", lanes=3, shot_rate_hz=10.0)])
    jobs = [Job(job=n, arrival_s=0.0, user="ada", rounds=[Round(0.0, 10.0, 10.0, 100)]) for n in range(1, 7)]
    record = simulate(Workload(name="six", site=site, jobs=jobs), "fifo", audit=True)
    adds_up(record)
    assert record.end_s == pytest.approx(20) and record.busy["q"]["working"] == pytest.approx(60)


def test_exclusive_sessions_take_turns() -> None:
    site = Site([DeviceSpec(id="q", shot_rate_hz=10.0)])
    rounds = [Round(5.0, 5.0, 5.0, 50)] * 2
    jobs = [Job(job=n, arrival_s=0.0, user=f"u{n}", rounds=rounds, session="exclusive") for n in (1, 2, 3)]
    record = simulate(Workload(name="three", site=site, jobs=jobs), "fifo", audit=True)
    adds_up(record)
    assert [job.end_s for job in record.jobs] == [20, 40, 60]
    assert record.busy["q"]["thinking"] == pytest.approx(30)


def test_a_closed_population_is_kept_up_until_the_end() -> None:
    workload = Study(modality="sc", population=4, jobs=50, seed=1).workload()
    record = simulate(workload, "deck", until_s=40000.0)
    adds_up(record)
    assert record.end_s == 40000 and record.counters["unfinished"] == 4
    assert record.counters["jobs"] == len(record.jobs) + 4 and len(record.jobs) > 50


def test_a_deadline_is_met_or_missed_or_makes_the_job_give_up() -> None:
    """Three tasks of 10 s, due after 15: the second runs when its time comes, the third still waits."""
    site = Site([DeviceSpec(id="q", shot_rate_hz=10.0)])
    turn = Round(0.0, 10.0, 10.0, 100)
    jobs = [Job(job=n, arrival_s=0.0, user="ada", deadline_s=15.0, rounds=[turn]) for n in (1, 2, 3)]
    record = simulate(Workload(name="three", site=site, jobs=jobs), "fifo", settings={"slices": False}, audit=True)
    assert [(job.job, job.missed) for job in record.jobs] == [(1, False), (2, True)]
    assert record.counters["cancelled"] == 1 and record.counters["missed"] == 2


def test_what_cannot_be_is_told() -> None:
    site = Site([DeviceSpec(id="q", qubits=5)])
    big = Job(job=1, arrival_s=0.0, user="ada", qubits=9, rounds=[Round(0.0, 1.0, 1.0, 1)])
    with pytest.raises(Invalid, match="9 qubits or more"):
        simulate(Workload(name="big", site=site, jobs=[big]), "fifo")
    with pytest.raises(Invalid, match="unknown"):
        simulate(study(), "no-such-policy")


def test_the_audit_sees_a_policy_that_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fifo, "queued", lambda self, device: 0)
    with pytest.raises(Broken, match="lost tasks"):
        simulate(study(load=2.0), "fifo", audit=True)


def _any_world(seed: int) -> tuple[Workload, list[Incident]]:
    """A site and a workload with a bit of everything, and what befalls them."""
    draw = random.Random(seed)
    devices = []
    for number in range(draw.randint(1, 3)):
        calendars = []
        for _ in range(draw.randint(0, 3)):
            kind: Any = draw.choice(["calibration", "maintenance", "reservation"])
            held, lasts_s = kind == "reservation", draw.uniform(1, 100)
            calendar = Calendar(
                kind=kind, duration_s=lasts_s, every_s=draw.choice([0, lasts_s + draw.uniform(50, 500)]),
                offset_s=draw.choice([0, draw.uniform(0, 500)]), hard=draw.random() < 0.7,
                slack_s=0 if held else draw.choice([0, draw.uniform(1, 100)]), user="u1" if held else "",
            )  # fmt: skip
            calendars.append(calendar)
        faults = Faults(between_s=draw.choice([0, 500]), duration_s=50, slice_loss=draw.choice([0, 0.1]))
        spec = DeviceSpec(
            id=f"d{number}", lanes=draw.choice([1, 1, 2]), shot_rate_hz=draw.choice([0, 1, 10]), window=calendars,
            setup_s=draw.choice([0.0, 3.0, (1.0, 9.0)]), overhead_s=draw.choice([0, 0.1, 2]), faults=faults,
            slice_shots=draw.choice([0, 20]), quality=draw.choice([None, 0.9]),
        )  # fmt: skip
        devices.append(spec)
    jobs = []
    reserved = any(calendar.kind == "reservation" for spec in devices for calendar in spec.window)
    modes: list[Any] = ["shared", "batch", "round", "none", *([] if reserved else ["exclusive"])]
    for number in range(draw.randint(1, 25)):
        took_s = draw.uniform(0.1, 80)
        rounds = [
            Round(draw.choice([0, draw.uniform(0, 60)]), took_s, draw.choice([0, took_s * draw.uniform(0.3, 3)]),
                  draw.randint(1, 100), draw.choice(["", "a", "b"]))
            for _ in range(draw.randint(1, 5))
        ]  # fmt: skip
        job = Job(
            job=number + 1, arrival_s=10.0 * number, user=f"u{draw.randint(0, 3)}", project=draw.choice(["", "p"]),
            class_=draw.choice(CLASSES), rounds=rounds, session=draw.choice(modes), deadline_s=draw.choice([0, 0, 300]),
            devices=draw.choice([(), ("d0",)]),
        )  # fmt: skip
        jobs.append(job)
    kinds: list[Any] = draw.sample(["restart", "clock", "cancel", "outage"], draw.randint(0, 3))
    incidents = [
        Incident(
            at_s=draw.uniform(0, 600),
            kind=kind,
            device="d0",
            seconds=40 if kind == "outage" else draw.choice([-50, 50]),
        )
        for kind in kinds
    ]
    return Workload(name=f"world {seed}", site=Site(devices), jobs=jobs), incidents


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_nothing_is_lost(seed: int) -> None:
    workload, incidents = _any_world(seed)
    policy = ["fifo", "deck", "priority", "hrrn", "sjf", "fairshare"][seed % 6]
    record = simulate(workload, policy, seed=seed, audit=True, incidents=incidents, until_s=200_000)
    adds_up(record)
    jobs = {job.job: job for job in workload.jobs}
    assert not record.counters["policy_failed"] and not record.counters["unfinished"]
    assert len(record.jobs) + record.counters["cancelled"] == record.counters["jobs"] == len(jobs)
    assert all(done.rounds == len(jobs[done.job].rounds) for done in record.jobs)


# -- the site ----------------------------------------------------------------------------------------------------------


def test_usable_time_is_the_studys() -> None:
    assert load_site("neutral-atom").device[0].usable_s(86400 * 10) / 864000 == pytest.approx(0.9184, abs=5e-5)


def test_windows_that_touch_are_one() -> None:
    spec = DeviceSpec(id="q", window=[Calendar(duration_s=150, every_s=3600), Calendar(duration_s=3600, every_s=86400)])
    windows = spec.windows()
    assert [next(windows)[:2] for _ in range(2)] == [(0, 3750), (7200, 7350)]
    assert spec.usable_s(spec.span_s(12345.0)) == pytest.approx(12345.0)


def test_a_register_has_one_set_up_time() -> None:
    spec = DeviceSpec(id="q", setup_s=(5.0, 30.0))
    took_s = {spec.register_setup_s(f"r{n}") for n in range(50)}
    assert len(took_s) == 50 and 5 <= min(took_s) < max(took_s) <= 30
    assert spec.register_setup_s("r1") == spec.register_setup_s("r1") and spec.register_setup_s("") == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("device = []", "there are none"),
        ("[[device]]\nid='a'\nlanes=0", "lanes"),
        ("[[device]]\nid='a'\n[[device]]\nid='a'", "two are called a"),
        ("[[device]]\nid='a'\ncolour='red'", "colour"),
        ("[[device]]\nid='a'\nsetup_s=[9,3]", "range"),
        ("[[device]]\nid='a'\n[[device.window]]\nduration_s=99\nevery_s=50", "lasts 99"),
        ("[[device]]\nid='a'\n[[device.window]]\nduration_s=0", "above 0"),
        ("[[device]]\nid='a'\nfaults={slice_loss=1.5}", "slice_loss"),
        ("[[device]]\nid='a'\n[[device.window]]\nduration_s=9\nkind='reservation'", "for a user or a project"),
        ("[[device", "no TOML"),
    ],
)
def test_a_devices_file_that_cannot_be_is_told(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "devices.toml"
    file.write_text(text)
    with pytest.raises(Invalid, match=why):
        load_site(str(file))


def test_the_devices_file_of_the_documentation_is_one(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "workloads.md"
    file = tmp_path / "devices.toml"
    file.write_text(page.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0])
    spec = load_site(str(file)).device[0]
    assert spec.register_setup_s("standard") == 4 and 5 <= spec.register_setup_s("other") <= 30
    assert [calendar.kind for calendar in spec.window] == ["calibration", "reservation"]


def test_a_devices_file_that_is_not_there_is_told() -> None:
    with pytest.raises(Invalid, match="give a file, or one of neutral-atom"):
        load_site("nowhere.toml")
