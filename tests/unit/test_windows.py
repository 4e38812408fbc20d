"""Windows: what keeps away from them, what may run in them, when they begin, and calendars of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from itertools import islice, pairwise
from time import perf_counter
from zoneinfo import ZoneInfo

import msgspec
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck import wire
from quarterdeck.cli.window import RULES, duration_s, rule_of, timeline
from quarterdeck.core import events as ev
from quarterdeck.core.calendar import FREQUENCIES, RANGES, check_rule, occurrences
from quarterdeck.core.commands import BeginWindow, EndWindow, StartSlice
from quarterdeck.core.deck import Deck
from quarterdeck.core.invariants import Audit, Broken
from quarterdeck.core.nouns import Window
from quarterdeck.core.state import Step
from quarterdeck.core.turns import AHEAD_MOST
from quarterdeck.core.waiting import why
from quarterdeck.core.windows import Timetable
from quarterdeck.errors import Conflict, Invalid, NotFound, QuarterdeckError

from .conftest import Bench

PARIS = ZoneInfo("Europe/Paris")


def set_window(bench: Bench, start_s: float, end_s: float, window: str = "w", **more: object) -> Step:
    fields = {"kind": "calibration", **more}
    return bench.send(
        ev.WindowSet(at_s=bench.now_s, window=window, device="qpu", start_s=start_s, end_s=end_s, **fields)  # type: ignore[arg-type]
    )


def reserve(
    bench: Bench, start_s: float, end_s: float, window: str = "r", user: str = "ada", project: str = ""
) -> Step:
    return set_window(bench, start_s, end_s, window, kind="reservation", user=user, project=project)


def calendar(bench: Bench, rule: str, duration_s: float, start_s: float = 0.0, **more: object) -> Step:
    fields = {"kind": "calibration", **more}
    return bench.send(
        ev.CalendarSet(
            at_s=bench.now_s, calendar="c", device="qpu", rule=rule, start_s=start_s, duration_s=duration_s, **fields  # type: ignore[arg-type]
        )
    )  # fmt: skip


def started(step: Step) -> list[tuple[str, int]]:
    return [(command.task, command.shots) for command in step.commands if isinstance(command, StartSlice)]


def names(step: Step) -> list[str]:
    return [type(event).__name__ for event in step.events]


# -- reservations -------------------------------------------------------------------------------------------------


def test_a_reservation_is_its_holders(bench: Bench) -> None:
    bench.device(shot_rate_hz=1.0)
    reserve(bench, 1000, 1100)
    assert bench.deck.holder(bench.deck.devices["qpu"]) == ("ada", "")
    assert bench.deck.gap_s(bench.deck.devices["qpu"]) == 0
    assert started(bench.submit("theirs", 10, user="bob")) == []
    told = why(bench.deck, bench.deck.tasks["theirs"])
    assert (told.reason, told.detail) == ("reserved", "qpu is reserved for ada for another 100 s")
    assert started(bench.submit("mine", 10)) == [("mine", 10)]
    assert started(bench.finish("mine", 0, 10, after_s=10)) == []
    assert started(bench.tick(1100)) == [("theirs", 10)]
    assert bench.deck.holder(bench.deck.devices["qpu"]) is None


def test_others_keep_away_from_a_reservation_and_its_holder_runs_across_its_start(bench: Bench) -> None:
    bench.device(shot_rate_hz=1.0)
    reserve(bench, 1050, 1200)
    assert bench.deck.gap_s(bench.deck.devices["qpu"]) == 50
    assert started(bench.submit("theirs", 80, user="bob")) == [("theirs", 50)]
    bench.submit("mine", 80)
    assert bench.finish("theirs", 0, 50, after_s=49.5).commands == [
        StartSlice(device="qpu", key="mine/0", task="mine", index=0, program="p", parameters="{}", shots=80)
    ], "the half second that is left is too short for a shot of others', not for its holder's"
    assert bench.tick(1050).commands == [], "it began under its holder's slice"
    assert bench.deck.windows["r"].state == "on"
    assert why(bench.deck, bench.deck.tasks["theirs"]).reason == "reserved"


def test_a_slice_of_the_holders_is_not_cut_at_the_start(bench: Bench) -> None:
    bench.device(shot_rate_hz=1.0)
    reserve(bench, 1050, 1200)
    set_window(bench, 1300, 1400)
    assert started(bench.submit("mine", 400)) == [("mine", 300)]


@pytest.mark.parametrize(
    ("holder", "user", "project", "runs"),
    [
        (("ada", ""), "ada", "x", True), (("ada", ""), "bob", "x", False),
        (("", "x"), "bob", "x", True), (("", "x"), "bob", "", False),
        (("ada", "x"), "ada", "x", True), (("ada", "x"), "ada", "y", False), (("ada", "x"), "bob", "x", False),
    ],
)  # fmt: skip
def test_whose_a_reservation_is(bench: Bench, holder: tuple[str, str], user: str, project: str, runs: bool) -> None:
    bench.device()
    reserve(bench, 1000, 1100, user=holder[0], project=holder[1])
    task = ev.Submitted(at_s=bench.now_s, task="t", user=user, device="qpu", program="p", shots=1, project=project)
    assert bool(bench.send(task).commands) == runs


def test_calibration_in_a_reservation_closes_the_device_for_its_holder_too(bench: Bench) -> None:
    bench.device()
    reserve(bench, 1000, 1100)
    set_window(bench, 1010, 1020)
    bench.tick(1010)
    assert started(bench.submit("mine")) == []
    assert started(bench.tick(1020)) == [("mine", 100)]


def test_overlapping_windows_are_their_union(bench: Bench) -> None:
    bench.device()
    set_window(bench, 1010, 1050, "a")
    set_window(bench, 1030, 1080, "b", kind="maintenance")
    set_window(bench, 1080, 1090, "c")
    bench.tick(1010)
    bench.submit("t")
    assert started(bench.tick(1050)) == []
    assert why(bench.deck, bench.deck.tasks["t"]).reason == "device_maintenance"
    assert started(bench.tick(1080)) == []
    assert started(bench.tick(1090)) == [("t", 100)]


# -- movable windows ----------------------------------------------------------------------------------------------


def test_a_movable_window_begins_when_the_device_has_nothing_to_do(bench: Bench) -> None:
    bench.device(shot_rate_hz=1.0, slice_shots=20)
    bench.submit("a", 40)
    set_window(bench, 1010, 1070, slack_s=600)
    assert bench.tick(1010).commands == [], "there is work"
    assert started(bench.finish("a", 0, 20, after_s=10)) == [("a", 20)]
    step = bench.finish("a", 1, 20, after_s=20)
    assert step.commands == [BeginWindow(device="qpu", window="w", kind="calibration", end_s=1100)]
    assert step.events[-1] == ev.WindowBegan(at_s=1040, window="w", end_s=1100), "as long as it was planned"
    assert started(bench.submit("b")) == []
    assert EndWindow(device="qpu", window="w") in bench.tick(1100).commands


def test_a_movable_window_begins_at_its_time_on_an_idle_device(bench: Bench) -> None:
    bench.device()
    set_window(bench, 1010, 1070, slack_s=600)
    assert bench.tick(1010).events == [ev.WindowBegan(at_s=1010, window="w")]


@pytest.mark.parametrize("status", ["offline", "maintenance"])
def test_a_movable_window_does_not_wait_for_a_device_that_does_nothing(bench: Bench, status: str) -> None:
    bench.device()
    bench.send(ev.DeviceChanged(at_s=bench.now_s, device="qpu", status=status))  # type: ignore[arg-type]
    bench.submit("waits")
    set_window(bench, 1010, 1070, slack_s=600)
    assert names(bench.tick(1010)) == ["WindowBegan"]


def test_a_movable_window_is_hard_at_its_latest_start(bench: Bench) -> None:
    bench.device(shot_rate_hz=1.0)
    set_window(bench, 1010, 1070, slack_s=90, hard=False)
    assert bench.deck.gap_s(bench.deck.devices["qpu"]) == 100
    assert started(bench.submit("a", 300)) == [("a", 100)]
    bench.tick(1010)
    assert names(bench.finish("a", 0, 100, after_s=90)) == ["SliceFinished", "WindowBegan"]
    assert bench.deck.windows["w"].end_s == 1160


def test_a_movable_window_begins_when_what_is_ready_does_not_fit_any_more(bench: Bench) -> None:
    bench.device(shot_rate_hz=1.0, setup_s=20.0, slice_shots=80)
    set_window(bench, 1010, 1070, slack_s=110)
    bench.submit("a", 300)
    assert names(bench.finish("a", 0, 80, after_s=100)) == ["SliceFinished", "WindowBegan"]  # 20 s are left


# -- time jumps ---------------------------------------------------------------------------------------------------


def test_a_jump_over_windows_and_leases_takes_each_once_and_in_order(bench: Bench) -> None:
    bench.device()
    reserve(bench, 1100, 1200, "over", user="bob")
    set_window(bench, 5000, 7000, "within")
    set_window(bench, 9000, 9100, "ahead")
    opened = ev.SessionOpened(at_s=bench.now_s, session="s", user="ada", device="qpu", ttl_s=500)
    bench.send(opened)
    bench.submit("t", session="s")
    step = bench.tick(6000)
    assert step.events == [
        ev.WindowCleared(at_s=6000, window="over"),
        ev.SessionClosed(at_s=6000, session="s", reason="expired"),
        ev.WindowBegan(at_s=6000, window="within"),
    ]
    assert step.commands == [BeginWindow(device="qpu", window="within", kind="calibration", end_s=7000)]
    assert bench.tick(6000).events == [] == bench.tick(6999).events
    assert names(bench.finish("t", 0, 100)) == ["SliceFinished", "WindowCleared"]


def test_when_the_clock_is_set_back_time_stands_still(bench: Bench) -> None:
    bench.device()
    set_window(bench, 1010, 1020)
    assert names(bench.tick(1010)) == ["WindowBegan"]
    assert bench.tick(500).events == []
    assert bench.deck.now_s == 1010
    assert bench.deck.windows["w"].state == "on"
    assert names(bench.tick(1020)) == ["WindowCleared"]


def test_a_jump_into_a_movable_window_keeps_its_length(bench: Bench) -> None:
    bench.device()
    set_window(bench, 1010, 1070, slack_s=100)
    bench.tick(1140)
    assert bench.deck.windows["w"].end_s == 1170, "it counts from its latest start"


# -- refusals -----------------------------------------------------------------------------------------------------


def refused(bench: Bench, error: type[QuarterdeckError], match: str, call: Callable[[], object]) -> None:
    before = bench.deck.state()
    with pytest.raises(error, match=match):
        call()
    assert bench.deck.state() == before


@pytest.mark.parametrize(
    ("start_s", "end_s", "more", "error", "match"),
    [
        (2000, 1999, {}, Conflict, "end after it starts"), (2000, 2000, {}, Conflict, "end after it starts"),
        (10, 999, {}, Conflict, "in the past"), (2000, 2000 + 31 * 86400, {}, Invalid, "30 days, not for 31"),
        (1e300, 1.1e300, {}, Invalid, "30 days"), (1e12, 1e12 + 60, {}, Invalid, "ten years"),
        (2000, 2100, {"kind": "reservation"}, Invalid, "name a user"),
        (2000, 2100, {"kind": "maintenance", "user": "ada"}, Invalid, "nobody may use"),
        (2000, 2100, {"kind": "reservation", "user": "ada", "slack_s": 5.0}, Invalid, "begins when it says"),
        (2000, 2100, {"slack_s": -1.0}, Invalid, "slack_s"),
        (2000, 2100, {"slack_s": 1e9}, Invalid, "slack_s"),
    ],
)  # fmt: skip
def test_impossible_windows(
    bench: Bench, start_s: float, end_s: float, more: dict[str, object], error: type[QuarterdeckError], match: str
) -> None:
    bench.device()
    refused(bench, error, match, lambda: set_window(bench, start_s, end_s, **more))


def test_a_device_is_promised_to_one_holder_at_a_time(bench: Bench) -> None:
    bench.device()
    reserve(bench, 2000, 3000)
    refused(bench, Conflict, "reservation r is for ada", lambda: reserve(bench, 2500, 3500, "x", user="bob"))
    refused(bench, Conflict, "for ada", lambda: calendar(
        bench, "FREQ=DAILY", 60, 2500, kind="reservation", user="bob"))  # fmt: skip
    reserve(bench, 2500, 3500, "more")
    reserve(bench, 3500, 4000, "after", user="bob")
    set_window(bench, 2100, 2200)


def test_a_reservation_and_somebodys_exclusive_session(bench: Bench) -> None:
    bench.device()
    opened = ev.SessionOpened(at_s=1000, session="s", user="ada", device="qpu", ttl_s=500, mode="exclusive")
    bench.send(opened)
    refused(bench, Conflict, "exclusive session s of ada has qpu", lambda: reserve(bench, 1400, 1600, user="bob"))
    refused(bench, Conflict, "exclusive session", lambda: calendar(
        bench, "FREQ=DAILY", 60, 1400, kind="reservation", project="x"))  # fmt: skip
    reserve(bench, 1400, 1450)
    reserve(bench, 1500, 1600, "after", user="bob")


def test_unknown_devices_and_windows(bench: Bench) -> None:
    bench.device()
    nowhere = ev.WindowSet(at_s=1, window="w", device="x", kind="calibration", start_s=2, end_s=3000)
    refused(bench, NotFound, "device", lambda: bench.send(nowhere))
    recurring = ev.CalendarSet(
        at_s=1, calendar="c", device="x", kind="calibration", rule="FREQ=DAILY", start_s=0, duration_s=1
    )
    refused(bench, NotFound, "device", lambda: bench.send(recurring))
    refused(bench, NotFound, "calendar", lambda: bench.send(ev.CalendarCleared(at_s=1, calendar="c")))


# -- rules --------------------------------------------------------------------------------------------------------


def times(rule: str, start: str, after: str, number: int = 4, zone: str = "Europe/Paris") -> list[str]:
    clock = ZoneInfo(zone)
    start_s, after_s = (datetime.fromisoformat(text).replace(tzinfo=clock).timestamp() for text in (start, after))
    found = islice(occurrences(rule, start_s, zone, after_s), number)
    return [datetime.fromtimestamp(at_s, clock).strftime("%d.%m. %H:%M %z") for at_s in found]


def test_a_daily_window_follows_the_clock_through_daylight_saving() -> None:
    """Set back on 25 October and forth on 29 March, 2026 and 2027 in Europe."""
    assert times("FREQ=DAILY", "2026-01-01T04:00", "2026-03-28T05:00", 2) == [
        "29.03. 04:00 +0200",
        "30.03. 04:00 +0200",
    ]
    assert times("FREQ=DAILY", "2026-01-01T04:00", "2026-10-24T05:00", 2) == [
        "25.10. 04:00 +0100",
        "26.10. 04:00 +0100",
    ]


def test_a_time_that_there_is_not_and_one_that_there_is_twice() -> None:
    assert times("FREQ=DAILY", "2026-01-01T02:30", "2026-03-28T03:00", 2) == [
        "29.03. 03:30 +0200", "30.03. 02:30 +0200"
    ]  # fmt: skip
    assert times("FREQ=DAILY", "2026-01-01T02:30", "2026-10-24T03:00", 2) == [
        "25.10. 02:30 +0200", "26.10. 02:30 +0100"
    ]  # fmt: skip


def test_every_six_hours_is_every_six_hours() -> None:
    zoned = ZoneInfo("Europe/Paris")
    start_s = datetime(2026, 3, 28, 0, tzinfo=zoned).timestamp()
    found = list(islice(occurrences("FREQ=HOURLY;INTERVAL=6", start_s, "Europe/Paris", start_s), 12))
    assert {b - a for a, b in pairwise(found)} == {6 * 3600.0}


def test_hours_by_the_clock_come_once_each_in_order() -> None:
    assert times("FREQ=HOURLY;BYDAY=SU", "2026-01-01T00:30", "2026-03-28T23:45", 4) == [
        "29.03. 00:30 +0100", "29.03. 01:30 +0100", "29.03. 03:30 +0200", "29.03. 04:30 +0200",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("FREQ=WEEKLY;BYDAY=MO;BYHOUR=3", ["30.03. 03:00 +0200", "06.04. 03:00 +0200"]),
        ("RRULE:FREQ=MONTHLY;BYDAY=-1SU", ["29.03. 00:00 +0100", "26.04. 00:00 +0200"]),
        ("FREQ=DAILY;COUNT=88", ["28.03. 00:00 +0100", "29.03. 00:00 +0100"]),
        ("FREQ=DAILY;UNTIL=20260328", ["28.03. 00:00 +0100"]),
        ("FREQ=DAILY;UNTIL=20260328T220000Z", ["28.03. 00:00 +0100"]),
        ("FREQ=DAILY;UNTIL=20260327T225959Z", []),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", ["29.02. 00:00 +0100", "29.02. 00:00 +0100"]),
        ("FREQ=HOURLY;INTERVAL=12;COUNT=175", ["28.03. 00:00 +0100"]),
    ],
)
def test_rules(rule: str, told: list[str]) -> None:
    assert times(rule, "2026-01-01T00:00", "2026-03-27T12:00", len(told) or 1) == told


@pytest.mark.parametrize(
    "rule",
    ["", "FREQ", "FREQ=SOMETIMES", "INTERVAL=2", "FREQ=DAILY;FREQ=DAILY", "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;COUNT=0",
     "FREQ=DAILY;BYHOUR=25", "FREQ=DAILY;BYDAY=XX", "FREQ=DAILY;UNTIL=soon", "FREQ=DAILY;COUNT=1;UNTIL=20270101",
     "FREQ=DAILY\nDTSTART:20200101", "FREQ=DAILY;BYEASTER=0", "FREQ=DAILY;BYHOUR=,", "FREQ=HOURLY;INTERVAL=24;BYHOUR=5",
     "FREQ=DAILY;COUNT=999999999", "FREQ=DAILY;INTERVAL=١", "FREQ=DAILY;BYHOUR=-1", "FREQ=DAILY;BYMONTHDAY=0",
     "FREQ=DAILY;UNTIL=00010101", "FREQ=MINUTELY;BYHOUR=9", "FREQ=DAILY;BYDAY=1MO", "FREQ=DAILY;BYSETPOS=1;BYHOUR=1",
     "FREQ=WEEKLY;BYSETPOS=1"],
)  # fmt: skip
def test_what_is_no_rule(rule: str) -> None:
    with pytest.raises(Invalid, match="rule"):
        check_rule(rule, 5 * 3600.0, "Europe/Paris", 1000.0, 1.0)


NUMBERS = st.lists(st.integers(-400, 400).map(str), min_size=1, max_size=3).map(",".join)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "BYDAY": st.lists(st.sampled_from(["MO", "TU", "-1SU", "+2FR", "5MO"]), min_size=1, max_size=3).map(",".join),
    "UNTIL": st.sampled_from(["20270101", "20270101T000000Z", "99991231", "00010101", "20271301", "20270101T0"]),
    "WKST": st.sampled_from(["MO", "SU", "XX"]),
    **{name: st.integers(0, high + 1).map(str) for name, (_, high) in RANGES.items()},
}
PARTS = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: (VALUES[name] | NUMBERS).map(lambda text: f"{name}={text}")
)


@given(st.sampled_from(FREQUENCIES), st.lists(PARTS, max_size=4), st.sampled_from([0.0, 1.7e9, 1.95e9]))
@settings(max_examples=300, deadline=3000, database=None)
def test_whatever_the_rule_it_is_evaluated_or_refused_and_soon(often: str, parts: list[str], start_s: float) -> None:
    """What else the core raises would end the daemon's engine."""
    with suppress(Invalid):
        check_rule(";".join([f"FREQ={often}", *parts]), start_s, "Australia/Lord_Howe", 1.795e9, 1.0)


@pytest.mark.parametrize("frequency", ["HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"])
def test_a_rule_that_never_occurs_is_found_out_quickly(frequency: str) -> None:
    began_s = perf_counter()
    with pytest.raises(Invalid, match="never occurs"):
        check_rule(f"FREQ={frequency};BYMONTH=2;BYMONTHDAY=30", 0.0, "UTC", 1000.0, 1.0)
    assert perf_counter() - began_s < 3.0, "python-dateutil itself searches for seconds, until the year 9999"


def test_rules_that_are_refused(bench: Bench) -> None:
    bench.device()
    refused(bench, Invalid, "again after 3600 s", lambda: calendar(bench, "FREQ=HOURLY", 3601))
    refused(bench, Invalid, "again after 3600 s", lambda: calendar(bench, "FREQ=HOURLY", 1800, slack_s=1801))
    refused(bench, Invalid, "again after 60 s", lambda: calendar(bench, "FREQ=DAILY;BYHOUR=3;BYMINUTE=0,1", 90))
    refused(bench, Invalid, "no time zone", lambda: calendar(bench, "FREQ=DAILY", 60, zone="Mars/Olympus"))
    refused(bench, Invalid, "no time zone", lambda: calendar(bench, "FREQ=DAILY", 60, zone="../../etc/passwd"))
    refused(bench, Invalid, "never", lambda: calendar(bench, "FREQ=DAILY;UNTIL=19690101", 60))
    refused(bench, Invalid, "30 days", lambda: calendar(bench, "FREQ=YEARLY", 40 * 86400))
    refused(bench, Conflict, "end after", lambda: calendar(bench, "FREQ=DAILY", 0))


# -- calendars ----------------------------------------------------------------------------------------------------


def planned(bench: Bench) -> list[float]:
    return [window.start_s for window in bench.deck.timetable.of("qpu")]


def test_a_calendar_plans_two_or_a_day_and_goes_on(bench: Bench) -> None:
    bench.device()
    step = calendar(bench, "FREQ=DAILY;INTERVAL=3", 60, start_s=5000)
    assert names(step) == ["CalendarSet", "WindowSet", "WindowSet"]
    assert planned(bench) == [5000, 5000 + 3 * 86400]
    assert {window.calendar for window in bench.deck.windows.values()} == {"c"}
    assert names(bench.tick(5000)) == ["WindowBegan", "WindowSet"]
    assert names(bench.tick(5060)) == ["WindowCleared"]
    assert planned(bench) == [5000 + 3 * 86400, 5000 + 6 * 86400]


def test_a_calendar_plans_a_day_ahead_and_no_more_than_it_must(bench: Bench) -> None:
    bench.device()
    calendar(bench, "FREQ=HOURLY;INTERVAL=6", 60, start_s=5000)
    assert len(planned(bench)) == 4
    bench.send(ev.CalendarCleared(at_s=bench.now_s, calendar="c"))
    calendar(bench, "FREQ=MINUTELY", 10)
    assert len(planned(bench)) == AHEAD_MOST


def test_a_window_of_a_calendar_that_is_under_way_is_on_at_once(bench: Bench) -> None:
    bench.device()
    assert names(calendar(bench, "FREQ=DAILY", 600, start_s=700))[:3] == ["CalendarSet", "WindowSet", "WindowSet"]
    assert bench.deck.windows["c-700"].state == "on"


def test_a_cleared_calendar_takes_its_windows_along_but_for_one_that_is_on(bench: Bench) -> None:
    bench.device()
    calendar(bench, "FREQ=HOURLY", 600, start_s=1000)
    bench.tick(1000)
    bench.send(ev.CalendarCleared(at_s=bench.now_s, calendar="c"))
    assert [window.state for window in bench.deck.windows.values()] == ["on"]
    assert bench.deck.calendars == {}
    bench.tick(1600)
    assert bench.deck.windows == {}


def test_a_calendar_that_has_come_to_its_end_is_cleared(bench: Bench) -> None:
    bench.device()
    calendar(bench, "FREQ=HOURLY;COUNT=2", 60, start_s=2000)
    bench.tick(2000)
    bench.tick(2060)
    bench.tick(5600)
    assert names(bench.tick(5660)) == ["WindowCleared", "CalendarCleared"]


def test_one_occurrence_can_be_left_out(bench: Bench) -> None:
    bench.device()
    calendar(bench, "FREQ=DAILY", 60, start_s=90000)
    step = bench.send(ev.WindowCleared(at_s=bench.now_s, window="c-90000"))
    assert names(step) == ["WindowCleared", "WindowSet"]
    assert planned(bench) == [90000 + 86400, 90000 + 2 * 86400]


def test_a_jump_over_many_occurrences_does_not_make_up_for_them(bench: Bench) -> None:
    bench.device()
    calendar(bench, "FREQ=DAILY", 60, start_s=5000)
    step = bench.tick(5030 + 100 * 86400)
    cleared = [event.window for event in step.events if isinstance(event, ev.WindowCleared)]
    began = [event.window for event in step.events if isinstance(event, ev.WindowBegan)]
    assert cleared == ["c-5000", f"c-{5000 + 86400}"] and began == [f"c-{5000 + 100 * 86400}"]
    assert len(planned(bench)) == 3


def test_a_calendar_of_reservations_leaves_out_what_somebody_was_promised_before(bench: Bench) -> None:
    bench.device()
    calendar(bench, "FREQ=DAILY", 60, start_s=5000, kind="reservation", user="ada")
    reserve(bench, 5000 + 2 * 86400, 5600 + 2 * 86400, user="bob")
    bench.tick(5000)
    assert [w.start_s for w in bench.deck.timetable.of("qpu") if w.calendar] == [5000, 91400, 5000 + 3 * 86400]


def test_a_replay_needs_neither_rules_nor_zones(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.device()
    calendar(bench, "FREQ=DAILY", 60, start_s=5000, zone="Europe/Paris")
    bench.tick(200_000)
    monkeypatch.setattr("quarterdeck.core.calendar.zone_of", None)
    monkeypatch.setattr("quarterdeck.core.turns.occurrences", None)
    twin = Deck()
    for event in bench.log:
        twin.apply(event)
    twin.now_s = bench.deck.now_s
    assert twin.state() == bench.deck.state()


def test_restored_with_calendars_a_deck_goes_on_as_before(bench: Bench) -> None:
    bench.device(shot_rate_hz=1.0)
    calendar(bench, "FREQ=HOURLY", 60, start_s=5000)
    set_window(bench, 1010, 1070, slack_s=600)
    reserve(bench, 1900, 2900)
    bench.submit("a", 40)
    bench.tick(1015)
    twin = Deck()
    nouns = [*bench.deck.devices.values(), *bench.deck.windows.values(), *bench.deck.calendars.values(),
             *bench.deck.tasks.values(), *bench.deck.slices.values()]  # fmt: skip
    copies = [msgspec.json.decode(msgspec.json.encode(noun), type=type(noun)) for noun in nouns]
    twin.restore(copies, now_s=bench.deck.now_s, seq=bench.deck.seq)
    assert twin.state() == bench.deck.state()
    later: list[ev.Event] = [ev.SliceFinished(at_s=1040, task="a", index=0, shots=40)]
    later += [ev.Tick(at_s=at_s) for at_s in (1100, 1900, 2900, 5000, 5060, 8600, 8660)]
    for event in later:
        mine, theirs = bench.send(event), twin.handle(event)
        assert (mine.events, mine.commands) == (theirs.events, theirs.commands)


# -- words of the command line ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h", 3600), ("90m", 5400), ("90min", 5400), ("1h30m", 5400), ("2d", 172800), ("0.5s", 0.5), ("1d2h3m4s", 93784)],
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert duration_s("--for", text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "1x", "1h 30m", "-1h", "1hh", "1e3s", "one hour"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="1h30m"):
        duration_s("--for", text)


@pytest.mark.parametrize("every", [*RULES, "6h", "30m", "90min", "2d", "45s"])
def test_whatever_every_says_is_a_rule(every: str) -> None:
    check_rule(rule_of(every), 1e9, "Europe/Paris", 1e9, 1.0)


@pytest.mark.parametrize("every", ["", "0h", "h", "1.5h", "fortnight", "99999h", "6h;COUNT=1"])
def test_what_every_does_not_know(every: str) -> None:
    with pytest.raises(typer.BadParameter):
        rule_of(every)


def test_the_picture_of_a_day() -> None:
    now_s = datetime(2026, 11, 21, 10, 40).timestamp()  # the machine's own clock
    hour_s = now_s - 40 * 60

    def block(kind: str, start_s: float, end_s: float) -> wire.Window:
        return wire.Window(
            id="w", device="d", kind=kind, start_s=hour_s + start_s, end_s=hour_s + end_s, hard=True, state="planned"  # type: ignore[arg-type]
        )  # fmt: skip

    blocks = [
        block("reservation", 2 * 3600, 6 * 3600), block("calibration", 3 * 3600, 3 * 3600 + 60),
        block("maintenance", -7200, 1800), block("maintenance", 23.5 * 3600, 30 * 3600), block("calibration", 9e4, 1e5),
    ]  # fmt: skip
    hours, mine, none, legend = timeline({"qpu": blocks, "other": []}, now_s)
    assert hours.split() == [f"{(10 + n) % 24:02}" for n in range(0, 24, 2)] and hours.index("10") == mine.index("M")
    assert mine.split()[1] == "M...RRCRRRRR" + "." * 35 + "M"
    assert none.split() == ["other", "." * 48] and "half an hour" in legend


# -- the timetable, and the audit ---------------------------------------------------------------------------------


def test_a_question_about_a_device_does_not_depend_on_how_many_windows_there_are() -> None:
    def asking_s(number: int) -> float:
        table = Timetable()
        for n in range(number):
            table.add(Window(id=f"w{n}", device="d", kind="calibration", start_s=n, end_s=n + 0.5))
        began_s = perf_counter()
        for _ in range(2000):
            assert table.gap_s("d", -1.0) == 1.0
            assert table.closed_by("d") is table.reservation("d") is None
        return perf_counter() - began_s

    assert min(asking_s(20_000) for _ in range(3)) < 10 * min(asking_s(10) for _ in range(3)) + 0.01


def log_of(*more: ev.Event) -> list[ev.Event]:
    return [
        ev.DeviceDeclared(at_s=1, device="d", shot_rate_hz=1.0),
        ev.DeviceChanged(at_s=1, device="d", status="online"),
        ev.Submitted(at_s=2, task="t", user="u", device="d", program="p", shots=50),
        *more,
        ev.SliceStarted(at_s=10, task="t", index=0, shots=9),
    ]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([ev.WindowSet(at_s=3, window="w", device="d", kind="calibration", start_s=19, end_s=30)], ""),
        ([ev.WindowSet(at_s=3, window="w", device="d", kind="calibration", start_s=18, end_s=30)], "cannot end before"),
        ([ev.WindowSet(at_s=3, window="w", device="d", kind="calibration", start_s=18, end_s=30, hard=False)], ""),
        ([ev.WindowSet(at_s=3, window="w", device="d", kind="calibration", start_s=9, end_s=30, slack_s=9)], "cannot"),
        ([ev.WindowSet(at_s=3, window="w", device="d", kind="maintenance", start_s=4, end_s=30, hard=False),
          ev.WindowBegan(at_s=4, window="w")], "started in window w"),
        ([ev.WindowSet(at_s=3, window="w", device="d", kind="reservation", start_s=4, end_s=30, user="u"),
          ev.WindowBegan(at_s=4, window="w")], ""),
        ([ev.WindowSet(at_s=3, window="w", device="d", kind="reservation", start_s=4, end_s=30, user="v"),
          ev.WindowBegan(at_s=4, window="w")], "started in window w"),
        ([ev.SessionOpened(at_s=3, session="s", user="v", device="d", ttl_s=9, mode="exclusive")], "disturbs"),
        ([ev.SessionOpened(at_s=3, session="s", user="v", device="d", ttl_s=9, mode="exclusive", lend_s=8)], "longer"),
        ([ev.SessionOpened(at_s=3, session="s", user="v", device="d", ttl_s=9, mode="exclusive", lend_s=9)], ""),
    ],
)  # fmt: skip
def test_the_audit_sees_from_the_log_alone_what_was_not_allowed(more: list[ev.Event], told: str) -> None:
    if not told:
        Audit().read(log_of(*more))
        return
    with pytest.raises(Broken, match=told):
        Audit().read(log_of(*more))
