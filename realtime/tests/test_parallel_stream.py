"""Parallel windows behind the loop: a stream of rounds in, the same corrections out."""

from __future__ import annotations

import numpy as np

from quarterdeck_realtime.closed_loop import ClosedLoop
from quarterdeck_realtime.codes import experiment


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
