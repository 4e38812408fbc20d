"""Sessions: what an exclusive one shuts out and lends, when idle ones end, how leases go on."""

from __future__ import annotations

import msgspec
import pytest

from quarterdeck.core import events as ev
from quarterdeck.core.commands import StartSlice
from quarterdeck.core.deck import Deck
from quarterdeck.core.state import Step
from quarterdeck.errors import Conflict

from .conftest import Bench


def open_session(bench: Bench, session: str = "s", **more: object) -> Step:
    fields = {"mode": "exclusive", "user": "ada", "ttl_s": 1e5, **more}
    return bench.send(ev.SessionOpened(at_s=bench.now_s, session=session, device="qpu", **fields))  # type: ignore[arg-type]


def window(bench: Bench, start_s: float, end_s: float, **more: object) -> Step:
    fields = {"kind": "maintenance", "window": "w", **more}
    return bench.send(ev.WindowSet(at_s=bench.now_s, device="qpu", start_s=start_s, end_s=end_s, **fields))  # type: ignore[arg-type]


def status(bench: Bench, status: str, at_s: float) -> None:
    bench.send(ev.DeviceChanged(at_s=at_s, device="qpu", status=status))  # type: ignore[arg-type]


def started(step: Step) -> list[tuple[str, int]]:
    return [(command.task, command.shots) for command in step.commands if isinstance(command, StartSlice)]


def closed(step: Step) -> list[str]:
    return [event.reason for event in step.events if isinstance(event, ev.SessionClosed)]


# -- a choice of devices ------------------------------------------------------------------------------------------


def pair(bench: Bench) -> None:
    bench.device()
    bench.device("other")


def test_the_tasks_of_a_session_spread_over_its_devices(bench: Bench) -> None:
    pair(bench)
    open_session(bench, mode="shared", devices=("qpu", "other"))
    where = []
    for task in ("a", "b", "c"):
        event = ev.Submitted(
            at_s=bench.now_s, task=task, user="ada", device="qpu", program="p", shots=1, session="s",
            devices=("qpu", "other"),
        )  # fmt: skip
        where += [command.device for command in bench.send(event).commands if isinstance(command, StartSlice)]
    assert where == ["qpu", "other"]
    assert [command.device for command in bench.finish("b", 0, 1).commands if isinstance(command, StartSlice)] == [
        "other"
    ], "c goes to the device that is free first"
    bench.submit("d", device="other", session="s")
    bench.send(ev.SessionClosed(at_s=bench.now_s, session="s"))
    assert bench.deck.tasks["d"].state == "cancelled"


def test_a_task_may_not_leave_the_devices_of_its_session(bench: Bench) -> None:
    pair(bench)
    bench.device("third")
    open_session(bench, mode="batch", devices=("qpu", "other"))
    with pytest.raises(Conflict, match="is on device qpu or other, not third"):
        bench.submit("a", device="third", session="s")
    chosen = ev.Submitted(
        at_s=bench.now_s, task="a", user="ada", device="other", program="p", shots=1, session="s",
        devices=("other", "third"),
    )  # fmt: skip
    with pytest.raises(Conflict, match="not third"):
        bench.send(chosen)


def test_an_exclusive_session_has_one_device(bench: Bench) -> None:
    pair(bench)
    with pytest.raises(Conflict, match="an exclusive session has one device"):
        open_session(bench, devices=("qpu", "other"))


def test_a_session_is_idle_while_one_of_its_devices_is_there(bench: Bench) -> None:
    pair(bench)
    open_session(bench, mode="shared", devices=("qpu", "other"), idle_s=60)
    status(bench, "offline", 1010)
    assert bench.deck.sessions["s"].active_s is not None, "the other one is there"
    bench.send(ev.DeviceChanged(at_s=1020, device="other", status="offline"))
    assert bench.deck.sessions["s"].active_s is None
    bench.send(ev.DeviceChanged(at_s=1100, device="other", status="online"))
    assert closed(bench.tick(1139)) == []
    assert closed(bench.tick(1140)) == ["idle"]


# -- lending ------------------------------------------------------------------------------------------------------


def test_an_exclusive_session_that_lends_waits_for_one_short_slice(bench: Bench) -> None:
    bench.device(shot_rate_hz=10.0, setup_s=2.0, overhead_s=1.0)
    open_session(bench, lend_s=10.0)
    assert started(bench.submit("theirs", 500, user="bob")) == [("theirs", 70)]  # 3 s, and 7 s of shots
    bench.submit("mine", 500, session="s")
    assert started(bench.finish("theirs", 0, 70, after_s=10)) == [("mine", 500)]
    assert started(bench.finish("mine", 0, 500, after_s=50)) == [("theirs", 70)]


def test_an_exclusive_session_that_does_not_lend_leaves_the_device_idle(bench: Bench) -> None:
    bench.device(shot_rate_hz=10.0)
    open_session(bench)
    assert started(bench.submit("theirs", 10, user="bob")) == []


def test_what_takes_longer_to_set_up_than_is_lent_is_not_started(bench: Bench) -> None:
    bench.device(shot_rate_hz=10.0, setup_s=10.0)
    open_session(bench, lend_s=10.0)
    assert started(bench.submit("theirs", 10, user="bob")) == []


def test_a_lent_slice_ends_before_a_window_and_is_not_for_others_in_a_reservation(bench: Bench) -> None:
    bench.device(shot_rate_hz=10.0)
    window(bench, 1100, 1200, kind="reservation", user="ada")
    open_session(bench, lend_s=10.0)
    bench.tick(1095)
    assert started(bench.submit("theirs", 500, user="bob")) == [("theirs", 50)]
    assert started(bench.finish("theirs", 0, 50, after_s=5)) == []
    assert bench.deck.holder(bench.deck.devices["qpu"]) == ("ada", "")
    assert started(bench.submit("hers", 20)) == [("hers", 20)], "the holder's own, outside of the session"


def test_the_owner_comes_first_also_after_a_pause(bench: Bench) -> None:
    bench.device(shot_rate_hz=10.0)
    open_session(bench, lend_s=10.0)
    bench.submit("mine", 20, session="s")
    bench.fail("mine", 0, "fault")
    assert started(bench.submit("theirs", 500, user="bob")) == [("theirs", 100)], "nothing of the owner's is ready"
    assert started(bench.finish("theirs", 0, 100, after_s=10)) == [("mine", 20)]


# -- idle sessions ------------------------------------------------------------------------------------------------


def test_an_idle_exclusive_session_is_closed(bench: Bench) -> None:
    bench.device()
    open_session(bench, idle_s=60)
    assert closed(bench.tick(1059)) == []
    bench.submit("a", session="s")
    assert closed(bench.tick(1500)) == [], "it is at work"
    bench.finish("a", 0, 100)
    assert closed(bench.tick(1560)) == []
    assert closed(bench.tick(1561)) == ["idle"]
    open_session(bench, "another", user="bob")


def test_a_session_without_a_limit_stays(bench: Bench) -> None:
    bench.device()
    open_session(bench)
    assert closed(bench.tick(bench.now_s + 9e4)) == []


def test_a_task_that_comes_at_the_last_moment_is_served(bench: Bench) -> None:
    bench.device()
    open_session(bench, idle_s=60)
    event = ev.Submitted(at_s=1060, task="a", user="ada", device="qpu", program="p", shots=1, session="s")
    step = bench.send(event)
    assert closed(step) == [] and started(step) == [("a", 1)]


@pytest.mark.parametrize("how", ["offline", "maintenance", "window"])
def test_time_in_which_the_device_is_away_is_not_idle(bench: Bench, how: str) -> None:
    bench.device()
    open_session(bench, idle_s=60)
    if how == "window":
        window(bench, 1050, 2000)
        bench.tick(1050)
        bench.tick(2000)
    else:
        status(bench, how, 1050)
        status(bench, "online", 2000)
    session = bench.deck.sessions["s"]
    assert session.active_s is not None and bench.now_s - session.active_s == 50
    assert closed(bench.tick(2009)) == []
    assert closed(bench.tick(2010)) == ["idle"]


def test_a_lost_device_ends_no_session_early_and_leaks_none(bench: Bench) -> None:
    bench.device()
    open_session(bench, idle_s=60, ttl_s=500)
    bench.submit("a", session="s")
    bench.submit("b", user="bob")
    status(bench, "offline", 1010)
    bench.fail("a", 0, "unavailable")
    bench.send(ev.Cancelled(at_s=1020, task="a"))
    assert closed(bench.tick(1499)) == [], "it is not idle, its device is away"
    assert closed(bench.tick(1500)) == ["expired"], "the lease goes on, though"
    assert bench.deck.exclusive("qpu") is None and bench.deck.sessions == {}
    status(bench, "online", 1600)
    assert bench.deck.tasks["b"].state == "running"


def test_a_retired_device_leaks_no_session(bench: Bench) -> None:
    bench.device()
    open_session(bench, idle_s=60, ttl_s=500)
    bench.send(ev.DeviceRetired(at_s=1010, device="qpu"))
    assert closed(bench.tick(1500)) == ["expired"]
    bench.device()
    open_session(bench, "next")


def test_somebody_elses_slices_do_not_keep_a_session_alive(bench: Bench) -> None:
    bench.device(shot_rate_hz=10.0)
    open_session(bench, idle_s=60, lend_s=10.0)
    bench.submit("theirs", 5000, user="bob")
    assert closed(bench.tick(1060)) == ["idle"]


def test_a_busy_session_keeps_one_alarm(bench: Bench) -> None:
    bench.device()
    open_session(bench, idle_s=60)
    for number in range(200):
        bench.submit(f"t{number}", session="s")
        bench.finish(f"t{number}", 0, 100, after_s=0.1)
    assert len(bench.deck._alarms) < 5


def test_restored_a_deck_has_the_same_idle_clocks(bench: Bench) -> None:
    bench.device()
    open_session(bench, idle_s=60, lend_s=5)
    bench.tick(1040)
    status(bench, "offline", 1050)
    twin = Deck()
    nouns = [*bench.deck.devices.values(), *bench.deck.sessions.values()]
    copies = [msgspec.json.decode(msgspec.json.encode(noun), type=type(noun)) for noun in nouns]
    twin.restore(copies, now_s=bench.deck.now_s, seq=0)
    assert twin.state() == bench.deck.state()
    status(bench, "online", 1100)
    twin.handle(ev.DeviceChanged(at_s=1100, device="qpu", status="online"))
    for at_s in (1109, 1110):
        mine, theirs = bench.tick(at_s), twin.handle(ev.Tick(at_s=at_s))
        assert mine.events == theirs.events
    assert twin.sessions == {}


# -- batches ------------------------------------------------------------------------------------------------------


def test_a_batch_lives_as_long_as_it_works_and_a_while_longer(bench: Bench) -> None:
    bench.device(slice_shots=10)
    open_session(bench, mode="batch", ttl_s=100, idle_s=60)
    assert closed(bench.tick(1090)) == [], "the idle time counts from its first task"
    bench.submit("a", 30, session="s")
    for index in range(3):
        step = bench.finish("a", index, 10, after_s=150)
        assert closed(step) == []
    assert bench.deck.tasks["a"].state == "done"
    end_s = bench.now_s
    assert closed(bench.tick(end_s + 59)) == []
    assert closed(bench.tick(end_s + 60)) == ["idle"]


def test_a_batch_that_is_not_used_ends_with_its_lease(bench: Bench) -> None:
    bench.device()
    open_session(bench, mode="batch", ttl_s=100, idle_s=60)
    assert closed(bench.tick(1100)) == ["expired"]


def test_a_batch_waits_for_its_device_as_long_as_it_takes(bench: Bench) -> None:
    bench.device(online=False)
    open_session(bench, mode="batch", ttl_s=100, idle_s=60)
    bench.submit("a", session="s")
    step = bench.tick(1e6)
    assert [type(event).__name__ for event in step.events] == ["SessionRenewed"]
    status(bench, "online", 1e6 + 1)
    assert bench.deck.tasks["a"].state == "running"


# -- leases and reservations --------------------------------------------------------------------------------------


def test_a_renewal_ends_where_somebodys_reservation_starts(bench: Bench) -> None:
    bench.device()
    open_session(bench, ttl_s=100)
    window(bench, 1150, 1200, kind="reservation", user="bob")
    step = bench.send(ev.SessionRenewed(at_s=1080, session="s"))
    assert step.events == [ev.SessionRenewed(at_s=1080, session="s", expires_s=1150)]
    assert step.sessions["s"].expires_s == 1150
    assert closed(bench.tick(1150)) == ["expired"]
    assert bench.deck.holder(bench.deck.devices["qpu"]) == ("bob", "")


@pytest.mark.parametrize(
    ("user", "project", "cut"), [("ada", "", False), ("", "x", False), ("bob", "", True), ("", "y", True)]
)
def test_ones_own_reservation_cuts_no_lease(bench: Bench, user: str, project: str, cut: bool) -> None:
    bench.device()
    open_session(bench, ttl_s=100, project="x")
    window(bench, 1150, 1200, kind="reservation", user=user, project=project)
    step = bench.send(ev.SessionRenewed(at_s=1080, session="s"))
    assert step.sessions["s"].expires_s == (1150 if cut else 1180)


@pytest.mark.parametrize("mode", ["shared", "batch"])
def test_other_leases_are_not_cut(bench: Bench, mode: str) -> None:
    bench.device()
    window(bench, 1050, 1200, kind="reservation", user="bob")
    open_session(bench, mode=mode, ttl_s=100)
    assert bench.send(ev.SessionRenewed(at_s=1080, session="s")).sessions["s"].expires_s == 1180


def test_no_exclusive_session_reaches_into_somebodys_reservation(bench: Bench) -> None:
    bench.device()
    window(bench, 1050, 1200, kind="reservation", user="bob")
    before = bench.deck.state()
    with pytest.raises(Conflict, match="reserved for somebody else in 50 s; ask for a lease that ends before"):
        open_session(bench, ttl_s=51)
    assert bench.deck.state() == before
    open_session(bench, ttl_s=50)
    bench.tick(1050)
    with pytest.raises(Conflict, match="reserved for somebody else now"):
        open_session(bench, ttl_s=1)
    open_session(bench, "bobs", user="bob")


def test_a_lease_runs_into_a_calibration_and_goes_on_after_it(bench: Bench) -> None:
    bench.device()
    open_session(bench, ttl_s=500)
    window(bench, 1050, 1100)
    bench.tick(1050)
    assert started(bench.submit("a", session="s")) == []
    assert started(bench.tick(1100)) == [("a", 100)]
