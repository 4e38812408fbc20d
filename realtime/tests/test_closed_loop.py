"""Controller and host against each other: every correction is PyMatching's, every shot is accounted for."""

from __future__ import annotations

import os
import threading
from typing import Any

import msgspec
import numpy as np
import pytest

from quarterdeck_realtime import _hot, model_of
from quarterdeck_realtime.bench import bench, busy_times, head, near_ties, typical
from quarterdeck_realtime.closed_loop import ClosedLoop, causes_of
from quarterdeck_realtime.codes import Experiment, Shots, experiment
from quarterdeck_realtime.over_udp import run_udp
from quarterdeck_realtime.profiles import PROFILES, Cores
from quarterdeck_realtime.report import Case, Jitter, Report, markdown
from quarterdeck_realtime.status import CAUSES, Ledger, Miss, prometheus

EASY = msgspec.structs.replace(PROFILES["superconducting"], cycle_us=5.0)  # for machines that do other things, too


def prepared(code: str, distance: int, p: float, many: int, seed: int = 1) -> tuple[Experiment, Shots, Any, Any, Any]:
    exp = experiment(code, distance, p)
    shots = exp.sample(many, seed)
    expected, weights = exp.expected(shots)
    return exp, shots, expected, weights, _hot.Matching(model_of(exp.dem))


@pytest.mark.parametrize("plain", [False, True], ids=["push", "plain"])
@pytest.mark.parametrize(
    ("code", "distance", "p"),
    [("surface", 3, 5e-3), ("surface", 5, 5e-3), ("surface-x", 5, 5e-3), ("repetition", 7, 2e-2)],
)
def test_corrections_are_pymatchings(code: str, distance: int, p: float, plain: bool) -> None:
    exp, shots, expected, weights, compiled = prepared(code, distance, p, 1500)
    with ClosedLoop(EASY, fifo=0) as loop:
        loop.seat(exp.name, exp, compiled, head(shots, 50))
        loop.start()
        block = loop.run(0, shots, expected, warm_shots=0, plain=plain)
        patch = loop.status().patches[0]
    differ, ties = near_ties(compiled, [block], shots, expected, weights)
    assert differ == ties == block.tally["differ"]
    assert differ <= 3
    assert abs(block.tally["logical_errors"] - int((expected != shots.observables).sum())) <= differ
    assert block.tally["shots"] == patch.shots == 1500
    assert block.tally["lost"] == block.tally["failed"] == patch.lost_rounds == patch.refused == patch.failures == 0
    assert patch.rounds == 1500 * len(exp.round_bits) == block.tally["rounds"]
    assert patch.in_time + patch.late == 1500
    assert sum(block.causes.values()) == block.misses
    assert patch.reaction.count == patch.decode.count == 1500


def test_the_null_control_answers_0_over_the_same_loop() -> None:
    exp, shots, expected, _, compiled = prepared("surface", 3, 5e-3, 400)
    with ClosedLoop(EASY, fifo=0) as loop:
        loop.seat(exp.name, exp, compiled, head(shots, 50))
        null = loop.seat("null control", exp, _hot.Null(), head(shots, 1))
        loop.start()
        blocks = [loop.run(seat, shots, expected, warm_shots=0) for seat in (null, 0, null)]
        names = [patch.name for patch in loop.status().patches]
    assert [block.tally["differ"] for block in blocks] == [int((expected != 0).sum()), 0, int((expected != 0).sum())]
    assert names == [exp.name, "null control"]


def test_the_busy_control_spins_as_it_is_told() -> None:
    exp, shots, expected, _, _ = prepared("surface", 3, 5e-3, 60)
    with ClosedLoop(EASY, fifo=0) as loop:
        busy = loop.seat("busy control", exp, _hot.Busy([0]), head(shots, 1))
        null = loop.seat("null control", exp, _hot.Null(), head(shots, 1))
        loop.start()
        loop.host.swap(loop.seats[busy][2], _hot.Busy([0, 0, 70_000]), shots.detections[:1], warm_ns=0)
        block = loop.run(busy, shots, expected, warm_shots=9)
        other = loop.run(null, shots, expected, warm_shots=0)
    # Shots that are late are decoded again, which takes times of the list, too: which ones are long may shift.
    assert block.misses >= 10
    assert block.late_among(np.full(60, True), 10_000) == block.misses
    assert block.late_among(np.arange(60) < 9, 10_000) == 0  # they warmed up
    assert (typical([block, other, other]) == other.tally["reaction_ns"]).all()
    times = busy_times([block, other, other], [other], 10_000)
    assert len(times) == 60 and 0 <= min(times) and max(times) <= 10_000
    with pytest.raises(ValueError, match="one volume at least"):
        _hot.Busy([])


def test_swaps_under_load_lose_nothing() -> None:
    exp, shots, expected, _, compiled = prepared("surface", 3, 5e-3, 3000)
    other = _hot.Matching(model_of(exp.dem))
    warm = head(shots, 20)
    with ClosedLoop(EASY, fifo=0) as loop:
        place = loop.seats[loop.seat(exp.name, exp, compiled, warm)][2]
        loop.start()
        done = threading.Event()
        offered: list[int] = []

        def swap() -> None:
            while not done.is_set():
                offered.append(loop.host.swap(place, other if len(offered) % 2 else compiled, warm.detections, 0))
                loop.host.collect(place)

        swapper = threading.Thread(target=swap)
        swapper.start()
        block = loop.run(0, shots, expected, warm_shots=0)
        done.set()
        swapper.join()
        lost = loop.status().patches[0].lost_rounds
    assert block.tally["differ"] == block.tally["lost"] == block.tally["failed"] == lost == 0
    assert block.tally["epochs"] > 0
    assert offered[-1] >= block.tally["epochs"]


def test_a_swap_that_the_controller_asks_for_is_in_force_from_the_next_volume_on() -> None:
    exp, shots, expected, _, compiled = prepared("surface", 3, 5e-3, 200)
    with ClosedLoop(EASY, fifo=0) as loop:
        place = loop.seats[loop.seat(exp.name, exp, compiled, head(shots, 5))][2]
        for _ in range(10):
            assert loop.host.stage(place, compiled, shots.detections[:5])
        loop.start()
        block = loop.run(0, shots, expected, warm_shots=0, swap_every_shots=20)
        assert loop.host.collect(place) == loop.host.epoch(place) == 9  # the last one was asked for in the last volume
    assert block.tally["epoch"].tolist() == [shot // 20 for shot in range(200)]
    assert block.tally["swaps"] == 10
    assert block.tally["differ"] == 0


@pytest.mark.parametrize("policy", ["wait", "idle", "defer"])
def test_millisecond_cycles_with_naps(policy: str) -> None:
    exp, shots, expected, _, compiled = prepared("surface", 3, 5e-3, 25)
    profile = msgspec.structs.replace(PROFILES["ion"], cycle_us=500.0, policy=policy)
    with ClosedLoop(profile, fifo=0) as loop:
        loop.seat("ion", exp, compiled, head(shots, 5))
        loop.start()
        block = loop.run(0, shots, expected, warm_shots=0)
        status = loop.status()
    assert block.tally["differ"] == block.tally["lost"] == 0
    assert status.asleep_share > 0
    assert status.patches[0].policy == policy


def test_the_ledger_tells_what_a_monitor_wants_to_know() -> None:
    exp, shots, expected, _, compiled = prepared("surface", 3, 5e-3, 100)
    hasty = msgspec.structs.replace(EASY, budget_us=0.001)  # nobody answers that fast: every shot is late
    with ClosedLoop(hasty, fifo=0) as loop:
        loop.seat('left "upper"', exp, compiled, head(shots, 5))
        loop.start()
        block = loop.run(0, shots, expected, warm_shots=0)
        with Ledger(loop.name) as ledger:
            status, misses = ledger.status(), ledger.misses()
        text = prometheus(status)
        name = loop.name
    patch = status.patches[0]
    assert status.pid == os.getpid()
    assert patch.in_time == 0
    assert patch.late == 100 == len(misses) == block.misses == block.tally["told_late"]
    assert [miss.shot for miss in misses] == list(range(100))
    for miss in misses:
        parts = miss.transport_us + miss.backlog_us + miss.decode_us + miss.preempted_us
        assert miss.cause in CAUSES
        assert parts == pytest.approx(miss.reaction_us)
    assert sum(patch.misses.values()) == sum(block.causes.values()) == 100
    assert 'quarterdeck_realtime_shots_total{patch="left \\"upper\\"",decoder="0",place="0"} 100' in text
    assert text.count("quarterdeck_realtime_misses_total{") == 4
    with pytest.raises(FileNotFoundError, match="qdeck realtime run"):
        Ledger(name)


def test_volumes_over_udp() -> None:
    over, _ = run_udp(3, 5e-3, 100, 1, 1, fifo=0)
    assert over.own.shots + over.null.shots + over.lost_answers == 180
    assert over.differ == 0
    text = markdown(Report("", "", {}, Cores(0, 1, []), True, 0.0, [], Jitter(0, 0, 0, 0, 0, 0), [], udp=[over]))
    assert "UDP on the loopback" in text


def test_a_controller_without_a_host_is_told() -> None:
    exp, shots, expected, _, compiled = prepared("surface", 3, 5e-3, 10)
    with ClosedLoop(EASY, fifo=0) as loop:
        loop.seat(exp.name, exp, compiled, head(shots, 5))
        with pytest.raises(RuntimeError, match="is the host running"):
            loop.run(0, shots, expected, timeout_ns=5_000_000)


def miss(shot: int, **parts: float) -> Miss:
    known = {"transport_us": 0.0, "backlog_us": 0.0, "decode_us": 0.0, "preempted_us": 0.0} | parts
    return Miss(place=0, shot=shot, epoch=0, cause="none", published_ns=1, reaction_us=sum(known.values()), **known)


def test_each_miss_has_one_cause_from_both_ends() -> None:
    reactions = np.array([5_000, 20_000, 20_000, 20_000, 20_000, 20_000], np.uint32)
    gaps = np.array([0, 0, 0, 15_000, 0, 15_000], np.uint32)
    host = {
        11: miss(11, decode_us=15.0),
        12: miss(12, backlog_us=6.0, preempted_us=12.0),
        13: miss(13, transport_us=18.0),
        15: miss(15, decode_us=12.0, transport_us=2.0),
    }
    causes = causes_of(reactions, gaps, host, 10_000, first=10)
    # 11: the decoder; 12: the machine, at the host; 13: the machine, at the controller; 14: nobody but the way; 15: the
    # controller's gap cannot have been longer than what the host's parts leave.
    assert causes == {"transport": 1, "backlog": 0, "decode": 2, "preempted": 2}


def test_admission_is_by_measured_cost() -> None:
    exp, shots, _, _, compiled = prepared("surface", 5, 1e-3, 300)
    detectors = _hot.Detectors(exp.measurements, exp.detectors)
    seating = _hot.seat_volumes(detectors, 1, compiled, shots.detections[:50])
    cost = _hot.measure(seating, exp.round_bits, exp.frames(shots), others=1 << 20)
    round_ns, last_ns, p99_ns, rounds = cost
    assert round_ns > 0
    assert last_ns > 0
    assert p99_ns > 0
    assert rounds == 6
    with pytest.raises(ValueError, match="has its place already"):
        _hot.Host().add(_hot.Rings(16, 128), _hot.Terms(name="x", decoder=0, **EASY.terms), seating)
    cheap = (100.0, 800.0, 1000.0, 6, 1_000_000, 100_000)
    assert _hot.refusal([cheap] * 50, cheap) == ""
    assert "end a volume together" in _hot.refusal([cheap] * 120, cheap)
    assert "all 9 together" in _hot.refusal(
        [(100.0, 800.0, 1000.0, 6, 2_000, 10_000_000)] * 8, (0.0, 1e4, 1e4, 1, 20_000, 10**9)
    )


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="with one core the bench is only a look at the loop")
def test_the_bench_closes_the_loop_and_reports_it() -> None:
    lines: list[str] = []
    report = bench(
        quick=True, cases=[Case("surface", 3, 5e-3, 600, 2), Case("repetition", 5, 1e-2, 600, 1, True)],
        swaps=20, rounds=2000, holding=[3], extras=False, tell=lines.append, fifo=0,
    )  # fmt: skip
    assert [row.differ - row.near_ties for row in report.rows] == [0, 0]
    assert [row.answered for row in report.rows] == [1200, 600]
    sides = [side for row in report.rows for side in (row.own, row.null, row.busy)]
    assert all(sum(side.causes.values()) == side.misses for side in sides)
    assert len({side.shots for side in sides}) == 2
    assert all(0 <= row.slow_misses <= row.own.misses for row in report.rows)
    assert report.swaps is not None
    assert report.swaps.swaps >= 20
    assert report.swaps.lost_rounds == report.swaps.lost_answers == report.swaps.differ == report.swaps.wrong_epoch == 0
    assert report.holding[0].differ == report.holding[0].lost == 0
    assert sum(report.holding[0].causes.values()) == report.holding[0].misses
    text = markdown(report)
    assert "| surface d=3 p=0.005 | 1080 |" in text
    assert "Hot swaps, d=5" in text
    assert "All cases together: " in text
    assert report.streams is not None
    assert report.streams.lost_rounds == report.streams.failures == 0
    assert report.streams.short_differ <= 2
    assert len(lines) == 6
    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)).rows[0].name == report.rows[0].name
