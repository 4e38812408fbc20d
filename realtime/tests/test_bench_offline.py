"""The offline bench: its figures hang together; how fast anything is belongs to no test."""

from __future__ import annotations

from quarterdeck_realtime.bench_offline import compare, markdown


def test_a_small_comparison() -> None:
    report = compare([3, 5], [3e-3], seconds=0.2, repeats=3)
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
