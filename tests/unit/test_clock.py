"""The daemon's time of day does not jump, whatever happens to the machine's."""

from __future__ import annotations

import time

import pytest

from quarterdeck.daemon.clock import steady


def test_setting_the_machines_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = steady()
    before = now()
    assert abs(before - time.time()) < 1.0
    for jump_s in (86400.0, -86400.0):
        monkeypatch.setattr(time, "time", lambda jump_s=jump_s: before + jump_s)
        assert 0 <= now() - before < 1.0


def test_a_clock_that_went_back_goes_on_from_the_last_entry_of_the_log() -> None:
    ahead_s = time.time() + 3600
    now = steady(not_before_s=ahead_s)
    assert 0 <= now() - ahead_s < 1.0
