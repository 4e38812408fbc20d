"""Intervals of ratios, against a textbook's."""

from __future__ import annotations

import math

import pytest

from quarterdeck_realtime.chance import ratio


def test_an_exact_interval() -> None:
    found = ratio(55, 1000, 41, 1000)  # scipy.stats.beta.ppf(0.025, 55, 42) and (0.975, 56, 41), as odds
    assert found.value == pytest.approx(55 / 41)
    assert (found.least, found.most) == pytest.approx((0.879081, 2.061716), abs=1e-6)
    longer = ratio(55, 2000, 41, 1000)  # twice as many shots: half the rate
    assert (longer.least, longer.most) == pytest.approx((0.879081 / 2, 2.061716 / 2), abs=1e-6)
    assert str(found) == "1.3 (0.88 to 2.1)"


def test_ratios_without_events() -> None:
    none = ratio(0, 10, 0, 10)
    assert math.isnan(none.value) and (none.least, none.most) == (0, math.inf) and str(none) == "-"
    first, second = ratio(0, 10, 4, 10), ratio(4, 10, 0, 10)
    assert first.value == first.least == 0 and second.value == second.most == math.inf
    assert first.most == pytest.approx(1 / second.least)
    # Four heads of four: the chance of that is 2.5 % at p = 0.3976.
    assert second.least == pytest.approx(0.025**0.25 / (1 - 0.025**0.25))
