"""Parallel windows behind the loop: a stream of rounds in, the same corrections out, also while weights are swapped."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from quarterdeck_realtime.closed_loop import ClosedLoop
from quarterdeck_realtime.codes import circuit_experiment, code_circuit, experiment, stream_plan
from quarterdeck_realtime.model import model_of


def test_a_stream_is_decoded_by_workers() -> None:
    exp = experiment("surface", 3, 4e-3, rounds=60)
    sampled = exp.sample(150, 5)
    expected, _ = exp.expected(sampled)
    differ = {}
    for workers in (0, 1):
        with ClosedLoop(fifo=0) as loop:
            seat = loop.seat_stream(exp.name, exp, window=8, commit=4, workers=workers)
            loop.start()
            block = loop.run(seat, sampled, expected, warm_shots=0, stream=True)
            patch = loop.status().patches[0]
        assert (patch.failures, patch.lost_rounds) == (0, 0)
        assert block.tally["shots"] == 150
        differ[workers] = block.tally["differ"]
        assert block.tally["logical_errors"] <= np.count_nonzero(expected != sampled.observables) + 6
    print(f"unlike PyMatching of the whole: {differ} of 150")
    assert max(differ.values()) <= 6


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_swaps_in_the_middle_of_streams_change_no_answer(workers: int) -> None:
    """One stream after the other, each with the same weights swapped in again and again: answers are as without."""
    exp = experiment("surface", 3, 4e-3, rounds=60)
    plan = stream_plan(exp, model_of(exp.dem), 8, 4, workers=workers)
    sampled = exp.sample(400, 6)
    expected, _ = exp.expected(sampled)
    with ClosedLoop(fifo=0) as loop:
        place = loop.seats[loop.seat_stream(exp.name, exp, window=8, commit=4, workers=workers)][2]
        loop.start()
        calm = loop.run(0, sampled, expected, warm_shots=0, stream=True)
        done = threading.Event()
        offered = []

        def swap() -> None:
            while not done.is_set():
                offered.append(loop.host.swap_stream(place, plan))
                loop.host.collect(place)

        swapper = threading.Thread(target=swap)
        swapper.start()
        block = loop.run(0, sampled, expected, warm_shots=0, stream=True)
        while block.tally["epochs"] < 3 and len(offered) < 1000:
            block = loop.run(0, sampled, expected, warm_shots=0, stream=True)
        done.set()
        swapper.join()
        patch = loop.status().patches[0]
    assert (patch.failures, patch.lost_rounds, block.tally["lost"], block.tally["failed"]) == (0, 0, 0, 0)
    assert np.array_equal(block.tally["corrections"], calm.tally["corrections"])
    assert block.tally["shots"] == 400
    assert 3 <= block.tally["epochs"] <= offered[-1]


def test_weights_that_take_over_in_mid_stream_make_the_errors_that_they_should() -> None:
    """Measurements are far worse than the first weights say: stale weights, swapped ones, and both by turns."""
    calm = experiment("surface", 3, 2e-3, rounds=40)
    now = circuit_experiment("now", code_circuit("surface", 3, 40, 2e-3, 6e-2))
    plans = [stream_plan(exp, model_of(exp.dem), 8, 4, workers=1) for exp in (calm, now)]
    sampled = calm.sample(500, 7, circuit=now.circuit)
    truth = {
        name: int(np.count_nonzero(exp.expected(sampled)[0] != sampled.observables))
        for name, exp in (("stale", calm), ("fresh", now))
    }
    errors = {}
    with ClosedLoop(fifo=0) as loop:
        place = loop.seats[loop.seat_stream(calm.name, calm, window=8, commit=4, workers=1)][2]
        loop.start()

        def run() -> int:
            block = loop.run(0, sampled, sampled.observables, warm_shots=0, stream=True)
            assert (block.tally["shots"], block.tally["failed"]) == (500, 0)
            return int(block.tally["logical_errors"])

        errors["stale"] = run()
        loop.host.swap_stream(place, plans[1])
        errors["fresh"] = run()
        done = threading.Event()

        def swap() -> None:
            for turn in itertools.takewhile(lambda _: not done.is_set(), itertools.count()):
                loop.host.swap_stream(place, plans[turn % 2])
                loop.host.collect(place)

        swapper = threading.Thread(target=swap)
        swapper.start()
        errors["both"] = run()
        done.set()
        swapper.join()
    print(f"logical errors of 500 streams: {errors}, PyMatching of the whole: {truth}")
    assert abs(errors["stale"] - truth["stale"]) <= 10
    assert abs(errors["fresh"] - truth["fresh"]) <= 10
    assert truth["fresh"] + 20 < truth["stale"]
    assert errors["fresh"] - 10 <= errors["both"] <= errors["stale"] + 10
