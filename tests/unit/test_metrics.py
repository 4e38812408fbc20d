"""The figures of a simulated run: by hand on small cases, and against slower, plainer ways to compute the same."""

from __future__ import annotations

from math import isclose, log
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.simulator import metrics
from quarterdeck.simulator.record import EtaRecord, JobRecord, Record, SliceRecord


def job(number: int = 0, **given: Any) -> JobRecord:
    usual: dict[str, Any] = {
        "user": "ada", "project": "p", "class_": "test", "arrival_s": 0.0, "end_s": 100.0, "work_s": 50.0,
        "quantum_s": 20.0, "rounds": 3,
    }  # fmt: skip
    return JobRecord(job=number, **(usual | given))


def piece(job: int, start_s: float, end_s: float, **given: Any) -> SliceRecord:
    usual: dict[str, Any] = {
        "device": "qpu", "task": f"{job}", "class_": "test", "user": "ada", "setup_s": 0.0, "overhead_s": 0.0,
        "state": "finished", "shots": 10,
    }  # fmt: skip
    return SliceRecord(job=job, start_s=start_s, end_s=end_s, **(usual | given))


def test_slowdown_and_delay() -> None:
    assert metrics.slowdown(job(), 10.0) == 2.0
    assert metrics.slowdown(job(work_s=1.0, end_s=30.0), 10.0) == 3.0, "a short job counts as tau"
    assert metrics.slowdown(job(work_s=1.0, end_s=3.0), 10.0) == 1.0
    assert metrics.delay_s(job()) == 50.0


def test_the_middle_is_cut_evenly_and_by_arrival() -> None:
    jobs = [job(n, arrival_s=float(-n)) for n in range(10)]
    assert [one.job for one in metrics.middle_of(jobs, 0.8)] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert len(metrics.middle_of(jobs, 1.0)) == 10
    assert metrics.middle_of([], 0.8) == []


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0, 1))
def test_percentiles_are_nearest_ranks(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = metrics.percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) / len(ordered) >= share - 1e-9
    below = [value for value in ordered if value < found]
    assert len(below) / len(ordered) < share or not below


def test_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no percentile"):
        metrics.percentile([], 0.5)
    with pytest.raises(ValueError, match="no percentile"):
        metrics.percentile([1.0], 1.5)


@given(st.lists(st.floats(0.01, 1e3), min_size=1, max_size=30))
def test_jain(values: list[float]) -> None:
    mean = fmean(values)
    variation = fmean((value - mean) ** 2 for value in values) / mean**2
    assert isclose(metrics.jain(values), 1 / (1 + variation), rel_tol=1e-9)


def test_jain_of_one_who_has_everything() -> None:
    assert metrics.jain([8, 0, 0, 0]) == 0.25
    assert metrics.jain([]) == 1.0


@given(st.dictionaries(st.integers(0, 9).map(str), st.floats(0, 100), min_size=1), st.floats(0, 500))
def test_max_min_against_pouring_drop_by_drop(wanted: dict[str, float], total: float) -> None:
    total = min(total, sum(wanted.values()))
    dealt = dict.fromkeys(wanted, 0.0)
    left, drops = total, 400
    for _ in range(drops):  # pour each drop out evenly over those who still want
        drop = total / drops
        while drop > 1e-9 and (thirsty := [user for user in wanted if wanted[user] - dealt[user] > 1e-9]):
            each = min(drop / len(thirsty), min(wanted[user] - dealt[user] for user in thirsty))
            for user in thirsty:
                dealt[user] += each
            drop -= each * len(thirsty)
        left -= total / drops
    found = metrics.max_min(wanted, total)
    assert found.keys() == wanted.keys()
    assert all(isclose(found[user], dealt[user], abs_tol=1e-4) for user in wanted)


def test_share_distance_by_hand() -> None:
    jobs = [job(1, user="ada", end_s=100, work_s=100, quantum_s=100), job(2, user="bob", end_s=100, work_s=100,
            quantum_s=100)]  # fmt: skip
    even = [piece(1, 0, 50), piece(2, 50, 100)]
    assert metrics.share_distance(jobs, even, 100.0) == 0.0
    skewed = [piece(1, 0, 75), piece(2, 75, 100)]
    assert metrics.share_distance(jobs, skewed, 100.0) == pytest.approx(0.25)
    assert metrics.share_distance(jobs, even, 50.0) == pytest.approx(0.5), "each window has one user alone"
    # Bob could use a tenth at most, so that nothing is unfair if he gets that.
    modest = [jobs[0], job(2, user="bob", end_s=100, work_s=100, quantum_s=10)]
    assert metrics.share_distance(modest, [piece(1, 0, 90), piece(2, 90, 100)], 100.0) == pytest.approx(0.0)


@given(st.lists(st.tuples(st.floats(0, 900), st.floats(0.1, 300)), min_size=1, max_size=20), st.floats(5, 400))
def test_windows_hold_all_the_time(pieces: list[tuple[float, float]], length_s: float) -> None:
    for begin_s, span_s in pieces:
        found = list(metrics._windows(begin_s, begin_s + span_s, length_s))
        assert isclose(sum(seconds for _, seconds in found), span_s, rel_tol=1e-9, abs_tol=1e-9)
        assert all(0 < seconds <= length_s * (1 + 1e-9) for _, seconds in found)
        assert [window for window, _ in found] == sorted({window for window, _ in found})


def test_utilisation_sums_to_one_and_capacity_counts_usable_time() -> None:
    busy = [{"working": 60.0, "calibration": 20.0, "empty": 20.0}, {"working": 20.0, "fault": 80.0}]
    found = metrics.utilisation(busy)
    assert set(found) == set(metrics.CAUSES) and isclose(sum(found.values()), 1.0)
    assert (found["working"], found["fault"]) == (0.4, 0.4)
    assert metrics.capacity(busy) == pytest.approx(80 / 100)
    assert metrics.utilisation([])["working"] == 0.0 and metrics.capacity([]) == 0.0


def test_share_ratio_eta_error_and_what_is_redone() -> None:
    shares = [
        job(n, user=user, quantum_s=seconds) for n, (user, seconds) in enumerate([("a", 10), ("b", 20), ("c", 60)])
    ]
    assert metrics.share_ratio(shares) == 3.0
    etas = [EtaRecord(estimate_s=10, actual_s=actual, class_="test") for actual in (10, 20, 5, 10, 40)]
    assert metrics.eta_error(etas, 0.5) == pytest.approx(log(2))
    assert metrics.eta_error(etas, 0.9) == pytest.approx(log(4))
    assert metrics.eta_error([], 0.5) is None
    assert metrics.redone([{"working": 30.0, "lost": 10.0, "empty": 60.0}]) == 0.25


def test_measure_counts_what_ended_and_says_what_did_not() -> None:
    jobs = [job(n, class_="production" if n % 2 else "test", arrival_s=n, end_s=n + 100.0) for n in range(20)]
    jobs[4] = job(4, arrival_s=4, end_s=104, deadline_s=90, missed=True)
    jobs[6] = job(6, arrival_s=6, end_s=106, deadline_s=200)
    record = Record(
        policy="fifo", devices=["qpu"], begin_s=0, end_s=130, jobs=jobs, slices=None,
        busy={"qpu": {"working": 65.0, "empty": 65.0}}, spans=None, etas=[], counters={"unfinished": 1.0},
    )  # fmt: skip
    found = metrics.measure(record, tau_s=10, middle=1.0)
    assert (found.jobs, found.unfinished) == (20, 1)
    assert list(found.classes) == ["production", "test"], "no row for a class without jobs"
    assert found.classes["test"].deadline_hits == 0.5 and found.classes["production"].deadline_hits is None
    assert found.classes["test"].p95 == 2.0 and found.makespan_s == 119.0
    assert found.node_wait_s == 20 * 50.0
    assert found.share_distance is None and found.redone == 0 and found.eta_error is None


def test_a_gain_is_paired() -> None:
    random = np.random.default_rng(3)
    theirs = np.exp(random.normal(2.0, 1.5, 24))  # seeds differ a lot
    ours = theirs / 2.5 * np.exp(random.normal(0, 0.05, 24))  # and the ratio hardly
    found = metrics.gain(list(ours), list(theirs))
    assert found.low < 2.5 * 1.03 and found.high > 2.5 / 1.03 and found.high / found.low < 1.1
    assert found == metrics.gain(list(ours), list(theirs)), "the same seed gives the same interval"
    assert found.seeds == 24
    with pytest.raises(ValueError, match="no seeds"):
        metrics.gain([], [])
    with pytest.raises(ValueError, match="longer"):
        metrics.gain([1.0], [1.0, 2.0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        found = metrics.interval(list(random.normal(1.0, 0.5, 24)), draws=400)
        hits += found.low <= 1.0 <= found.high
    assert 0.88 <= hits / 200 <= 0.99
