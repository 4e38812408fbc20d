"""The offline bench: its figures hang together; how fast anything is belongs to no test."""

from __future__ import annotations

import numpy as np
import pytest

from quarterdeck_realtime.bench_codes import CodeCase, compare_codes
from quarterdeck_realtime.bench_offline import compare, markdown
from quarterdeck_realtime.codes import experiment, masks
from quarterdeck_realtime.decoders.own import relay


def test_a_small_comparison() -> None:
    report = compare([3, 5], [3e-3], seconds=0.2, repeats=3, codes=[])
    assert [row.distance for row in report.rows] == [3, 5]
    for row in report.rows:
        assert row.shots >= 4000
        assert 0 <= row.disagreements <= 2
        assert row.largest_weight_difference < 0.01
        assert abs(row.own_failures - row.pymatching_failures) <= row.disagreements
        for figure in (row.mean, row.p99):
            assert 0 < figure.ratio_least <= figure.ratio <= figure.ratio_largest
        assert row.own_table_bytes > 0
        assert row.own_decoder_bytes > 0
    assert markdown(report).count("\n| 5 | 0.003 |") == 3


def test_codes_that_no_matching_decodes() -> None:
    pytest.importorskip("relay_bp", reason="the package relay-bp is not installed: no other decoder to compare with")
    (row,) = compare_codes([CodeCase("colour", 3, 5e-3, ("relay-bp",))], seconds=0.2)
    own, other = row.entries
    assert (own.name, other.name) == ("relay", "relay-bp")
    assert row.shots >= 100
    for entry in row.entries:
        assert 0 < entry.us_least <= entry.us <= entry.us_largest
    shots = (exp := experiment("colour", 3, 5e-3)).sample(row.shots, seed=3)
    assert own.wrong == np.count_nonzero(masks(relay(exp.dem).decode_batch(shots.detections)) != shots.observables)
    assert 0 < other.wrong < row.shots // 4
