"""The core, event by event: feed events, compare what comes out."""

from __future__ import annotations

import msgspec
import pytest

from quarterdeck.core import events as ev
from quarterdeck.core.commands import BeginWindow, CancelSlice, EndWindow, StartSlice
from quarterdeck.core.deck import Deck
from quarterdeck.core.nouns import Device, Session, Slice, Task, Window
from quarterdeck.core.transition import SESSION, SLICE, TASK, WINDOW, InvalidTransition, check
from quarterdeck.core.waiting import why
from quarterdeck.errors import Conflict, NotFound

from .conftest import Bench


def start(task: str, index: int, shots: int, device: str = "qpu") -> StartSlice:
    return StartSlice(
        device=device, key=f"{task}/{index}", task=task, index=index, program="p", parameters="{}", shots=shots
    )


def test_a_task_runs_in_slices_and_keeps_its_place(bench: Bench) -> None:
    bench.device(slice_shots=100)
    assert bench.submit("a", 250).commands == [start("a", 0, 100)]
    assert bench.submit("b", 50).commands == []
    assert bench.finish("a", 0, 100).commands == [start("a", 1, 100)]
    assert bench.finish("a", 1, 100).commands == [start("a", 2, 50)]
    assert bench.finish("a", 2, 50).commands == [start("b", 0, 50)]
    assert bench.deck.tasks["a"].state == "done"
    assert bench.deck.tasks["a"].shots_done == 250


def test_every_decision_is_in_the_log(bench: Bench) -> None:
    bench.device()
    step = bench.submit("a")
    assert [type(event).__name__ for event in step.events] == ["Submitted", "SliceStarted"]


def test_nothing_starts_on_a_device_that_is_away_and_all_is_kept(bench: Bench) -> None:
    bench.device(online=False)
    assert bench.submit("a").commands == []
    assert why(bench.deck, bench.deck.tasks["a"]).reason == "device_offline"
    step = bench.send(ev.DeviceChanged(at_s=bench.now_s + 600, device="qpu", status="online"))
    assert step.commands == [start("a", 0, 100)]


def test_lanes_are_filled_and_not_more(bench: Bench) -> None:
    bench.device(lanes=2)
    assert len([c for name in "abc" for c in bench.submit(name).commands]) == 2
    assert bench.finish("b", 0, 100).commands == [start("c", 0, 100)]


def test_a_cancelled_task_keeps_what_it_measured(bench: Bench) -> None:
    bench.device(slice_shots=100)
    bench.submit("a", 300)
    bench.finish("a", 0, 100)
    step = bench.send(ev.Cancelled(at_s=bench.now_s, task="a", by="ada"))
    assert step.commands == [CancelSlice(device="qpu", key="a/1")]
    assert bench.deck.tasks["a"].state == "cancelling"
    bench.finish("a", 1, 37)
    assert (bench.deck.tasks["a"].state, bench.deck.tasks["a"].shots_done) == ("cancelled", 137)


def test_a_waiting_task_is_cancelled_at_once(bench: Bench) -> None:
    bench.device()
    bench.submit("a")
    bench.submit("b")
    assert bench.send(ev.Cancelled(at_s=bench.now_s, task="b")).commands == []
    assert bench.deck.tasks["b"].state == "cancelled"
    assert bench.finish("a", 0, 100).commands == []


def test_a_cancel_that_comes_too_late_leaves_a_done_task(bench: Bench) -> None:
    bench.device()
    bench.submit("a")
    bench.send(ev.Cancelled(at_s=bench.now_s, task="a"))
    bench.finish("a", 0, 100)
    assert bench.deck.tasks["a"].state == "done"
    with pytest.raises(InvalidTransition):
        bench.send(ev.Cancelled(at_s=bench.now_s, task="a"))


@pytest.mark.parametrize("kind", ["unavailable", "lost"])
def test_what_is_not_the_tasks_fault_is_not_held_against_it(bench: Bench, kind: str) -> None:
    bench.device()
    bench.submit("a")
    for index in range(50):
        assert bench.fail("a", index, kind).commands == [start("a", index + 1, 100)]
    assert bench.deck.tasks["a"].faults == 0


def test_a_refused_program_fails_its_task_with_the_reason(bench: Bench) -> None:
    bench.device()
    bench.submit("a")
    bench.fail("a", 0, "rejected", code="bad_program", message="amplitude: too high")
    task = bench.deck.tasks["a"]
    assert (task.state, task.error_code, task.error_message) == ("failed", "bad_program", "amplitude: too high")


def test_a_bad_task_lets_others_pass_and_fails_after_five_faults(bench: Bench) -> None:
    bench.device()
    bench.submit("bad")
    index = good = 0
    while not bench.deck.tasks["bad"].ended:
        bench.submit(f"good{good}")
        step = bench.fail("bad", index, "fault", message="kaput")
        if not bench.deck.tasks["bad"].ended:
            assert step.commands == [start(f"good{good}", 0, 100)]
            then = bench.finish(f"good{good}", 0, 100).commands + bench.tick(bench.now_s + 60).commands
            assert then == [start("bad", index + 1, 100)]
        index, good = index + 1, good + 1
    assert index == 5
    assert "5 runs went wrong" in bench.deck.tasks["bad"].error_message


def test_a_sick_device_burns_no_queue(bench: Bench) -> None:
    """Ten minutes of nothing but faults: every task is still there."""
    bench.device()
    for number in range(5):
        bench.submit(f"t{number}")
    end_s = bench.now_s + 600
    while bench.now_s < end_s:
        for key in list(bench.deck.slices):
            task, _, index = key.partition("/")
            bench.fail(task, int(index), "fault", after_s=0.1)
        alarm_s = bench.deck.next_alarm_s()
        assert alarm_s is not None
        bench.tick(alarm_s)
    assert all(not task.ended for task in bench.deck.tasks.values())
    for key in list(bench.deck.slices):
        task, _, index = key.partition("/")
        bench.fail(task, int(index), "fault")
    assert {why(bench.deck, task).reason for task in bench.deck.tasks.values()} == {"retrying"}


def test_a_hopeless_task_ends_even_without_a_witness(bench: Bench) -> None:
    bench.device()
    bench.submit("a")
    for index in range(20):
        bench.fail("a", index, "fault")
        bench.tick(bench.now_s + 120)
    assert bench.deck.tasks["a"].state == "failed"


def test_shots_are_counted_once(bench: Bench) -> None:
    bench.device(slice_shots=60)
    bench.submit("a", 100)
    bench.finish("a", 0, 60)
    with pytest.raises(InvalidTransition):
        bench.finish("a", 0, 60)
    with pytest.raises(InvalidTransition):
        bench.finish("a", 1, 41)
    bench.finish("a", 1, 40)
    assert bench.deck.tasks["a"].shots_done == 100


def test_a_short_slice_counts_and_the_rest_is_run(bench: Bench) -> None:
    bench.device()
    bench.submit("a", 100)
    assert bench.finish("a", 0, 30).commands == [start("a", 1, 70)]


# -- sessions -----------------------------------------------------------------------------------------------------


def open_session(bench: Bench, session: str, mode: str = "shared", user: str = "ada", ttl_s: float = 60.0) -> None:
    event = ev.SessionOpened(at_s=bench.now_s, session=session, user=user, device="qpu", ttl_s=ttl_s, mode=mode)  # type: ignore[arg-type]
    bench.send(event)


def test_a_closed_session_cancels_what_waits_in_it_and_lets_the_running_slice_end(bench: Bench) -> None:
    bench.device()
    open_session(bench, "s")
    bench.submit("a", session="s", shots=250)
    bench.submit("b", session="s")
    bench.submit("c")
    step = bench.send(ev.SessionClosed(at_s=bench.now_s, session="s"))
    assert step.commands == []
    assert [bench.deck.tasks[id].state for id in "ac"] == ["running", "queued"]
    assert step.tasks["b"].state == "cancelled"
    with pytest.raises(NotFound):
        bench.submit("d", session="s")
    step = bench.finish("a", 0, 100)
    assert (step.tasks["a"].state, step.tasks["a"].shots_done) == ("cancelled", 100), "the rest is called off"
    assert step.commands == [start("c", 0, 100)]


def test_the_last_slice_of_a_closed_session_completes_its_task(bench: Bench) -> None:
    bench.device()
    open_session(bench, "s")
    bench.submit("a", session="s")
    bench.send(ev.SessionClosed(at_s=bench.now_s, session="s"))
    assert bench.finish("a", 0, 100).tasks["a"].state == "done"


def test_a_lease_expires_unless_renewed(bench: Bench) -> None:
    bench.device()
    open_session(bench, "s", ttl_s=60)
    bench.tick(1059)
    bench.send(ev.SessionRenewed(at_s=bench.now_s, session="s"))
    assert bench.tick(1100).events == []
    step = bench.tick(1119)
    assert step.events == [ev.SessionClosed(at_s=1119, session="s", reason="expired")]


def test_an_exclusive_session_is_alone(bench: Bench) -> None:
    bench.device()
    bench.submit("before")
    open_session(bench, "s", mode="exclusive")
    bench.submit("other", user="bob")
    bench.submit("mine", session="s")
    assert bench.finish("before", 0, 100).commands == [start("mine", 0, 100)]
    assert bench.finish("mine", 0, 100).commands == []
    assert why(bench.deck, bench.deck.tasks["other"]).reason == "exclusive_session"
    with pytest.raises(Conflict):
        open_session(bench, "second", mode="exclusive", user="bob")
    assert bench.send(ev.SessionClosed(at_s=bench.now_s, session="s")).commands == [start("other", 0, 100)]


def test_somebody_elses_session_does_not_exist(bench: Bench) -> None:
    bench.device()
    open_session(bench, "s")
    with pytest.raises(NotFound):
        bench.submit("a", user="bob", session="s")


# -- windows ------------------------------------------------------------------------------------------------------


def window(bench: Bench, start_s: float, end_s: float, hard: bool = True) -> ev.WindowSet:
    return ev.WindowSet(
        at_s=bench.now_s, window="w", device="qpu", kind="calibration", start_s=start_s, end_s=end_s, hard=hard
    )


def test_nothing_starts_that_cannot_end_before_a_hard_window(bench: Bench) -> None:
    bench.device(slice_shots=100, shot_rate_hz=10.0, setup_s=2.0)
    bench.send(window(bench, 1010, 1070))
    assert bench.submit("a", 100).commands == [start("a", 0, 80)]  # 8 s of shots, 2 s of set-up
    assert bench.finish("a", 0, 80, after_s=9).commands == []
    assert why(bench.deck, bench.deck.tasks["a"]).reason == "window_ahead"
    assert bench.tick(1010).commands == [BeginWindow(device="qpu", window="w", kind="calibration", end_s=1070)]
    assert why(bench.deck, bench.deck.tasks["a"]).reason == "device_calibrating"
    assert bench.tick(1070).commands == [EndWindow(device="qpu", window="w"), start("a", 1, 20)]


def test_a_cleared_window_gives_the_device_back(bench: Bench) -> None:
    bench.device()
    bench.send(window(bench, 1000, 2000))
    assert bench.submit("a").commands == []
    step = bench.send(ev.WindowCleared(at_s=bench.now_s, window="w"))
    assert step.commands == [EndWindow(device="qpu", window="w"), start("a", 0, 100)]


# -- refusals -----------------------------------------------------------------------------------------------------


def test_what_is_refused_leaves_no_trace(bench: Bench) -> None:
    bench.device()
    bench.submit("a")
    before = bench.deck.state()
    refused: list[ev.Event] = [
        ev.Submitted(at_s=1, task="a", user="ada", device="qpu", program="p", shots=1),
        ev.Submitted(at_s=1, task="x", user="ada", device="nowhere", program="p", shots=1),
        ev.Submitted(at_s=1, task="x", user="ada", device="qpu", program="p", shots=1, session="none"),
        ev.SessionRenewed(at_s=1, session="none"),
        ev.WindowCleared(at_s=1, window="none"),
        ev.WindowSet(at_s=1, window="w", device="qpu", kind="calibration", start_s=2, end_s=1),
        ev.DeviceChanged(at_s=1, device="nowhere", status="online"),
        ev.SliceFinished(at_s=1, task="a", index=7, shots=1),
        ev.SliceFailed(at_s=1, task="x", index=0, kind="lost"),
        ev.Cancelled(at_s=1, task="x"),
    ]
    for event in refused:
        with pytest.raises((Conflict, NotFound, InvalidTransition)):
            bench.deck.handle(event)
        assert bench.deck.state() == before


def test_time_does_not_run_backwards(bench: Bench) -> None:
    bench.device()
    step = bench.send(ev.Submitted(at_s=3.0, task="a", user="ada", device="qpu", program="p", shots=1))
    assert {event.at_s for event in step.events} == {1000.0}


@pytest.mark.parametrize("table", [TASK, SLICE, SESSION, WINDOW], ids=["task", "slice", "session", "window"])
def test_only_the_listed_steps_are_possible(table: dict[str, frozenset[str]]) -> None:
    for state in table:
        for to in table:
            if to in table[state]:
                check(table, "noun", "id", state, to)
            else:
                with pytest.raises(InvalidTransition, match=f"cannot become {to}"):
                    check(table, "noun", "id", state, to)


def test_a_device_that_left_the_configuration_keeps_its_queue(bench: Bench) -> None:
    bench.device(online=False)
    bench.submit("a")
    bench.send(ev.DeviceRetired(at_s=bench.now_s, device="qpu"))
    with pytest.raises(NotFound):
        bench.submit("b")
    bench.device()
    assert bench.deck.tasks["a"].state == "running"


def test_maintenance_outlasts_a_restart(bench: Bench) -> None:
    bench.device()
    bench.send(ev.DeviceChanged(at_s=bench.now_s, device="qpu", status="maintenance", reason="vacuum"))
    bench.send(ev.DeviceDeclared(at_s=bench.now_s, device="qpu"))
    assert bench.deck.devices["qpu"].status == "maintenance"


def test_restored_from_its_records_a_deck_goes_on_as_before(bench: Bench) -> None:
    bench.device(slice_shots=50)
    open_session(bench, "s", mode="exclusive")
    bench.send(window(bench, 5000, 6000))
    for number in range(5):
        bench.submit(f"t{number}", session="s" if number % 2 else "")
    nouns: list[Task | Slice | Session | Device | Window] = [
        *bench.deck.tasks.values(), *bench.deck.slices.values(), *bench.deck.sessions.values(),
        *bench.deck.devices.values(), *bench.deck.windows.values(),
    ]  # fmt: skip
    copies = [msgspec.json.decode(msgspec.json.encode(noun), type=type(noun)) for noun in nouns]
    twin = Deck()
    twin.restore(copies, now_s=bench.deck.now_s, seq=bench.deck.seq)
    assert twin.state() == bench.deck.state()
    for event in [
        ev.SliceFinished(at_s=1001, task="t1", index=0, shots=50),
        ev.SliceFinished(at_s=1002, task="t1", index=1, shots=50),
        ev.Tick(at_s=1100),
        ev.Tick(at_s=5000),
        ev.Tick(at_s=6000),
    ]:
        mine, theirs = bench.send(event), twin.handle(event)
        assert (mine.events, mine.commands) == (theirs.events, theirs.commands)
