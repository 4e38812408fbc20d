"""Projects, budgets, fair-share accounts and usage in the core."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.core import events as ev
from quarterdeck.core import month as months
from quarterdeck.core.accounts import Account, Usage
from quarterdeck.core.commands import StartSlice
from quarterdeck.core.deck import PARKED_AT_ONCE, Deck
from quarterdeck.core.invariants import Audit, Broken, validate
from quarterdeck.core.ledger import LONGEST, Rules
from quarterdeck.core.policy import Fifo
from quarterdeck.core.waiting import why
from quarterdeck.errors import Conflict, Forbidden, NotFound, OverBudget

from .conftest import Bench


@pytest.fixture(autouse=True)
def in_order(bench: Bench) -> None:
    """Who pays is told most easily where it is plain who comes next."""
    bench.deck = Deck(Fifo())


NOVEMBER_S = datetime(2026, 11, 30, 23, 0, tzinfo=UTC).timestamp()


def submit(
    bench: Bench, task: str, shots: int = 100, project: str = "atoms", user: str = "ada", **more: object
) -> None:
    bench.send(
        ev.Submitted(
            at_s=bench.now_s, task=task, user=user, device="qpu", program="p", shots=shots, project=project, **more  # type: ignore[arg-type]
        )
    )  # fmt: skip


def finish(bench: Bench, task: str, index: int, shots: int, qpu_s: float, after_s: float = 1.0) -> list[str]:
    """Report a slice; return the keys of what starts then."""
    step = bench.send(
        ev.SliceFinished(at_s=bench.now_s + after_s, task=task, index=index, shots=shots, qpu_s=qpu_s)
    )  # fmt: skip
    return [command.key for command in step.commands if isinstance(command, StartSlice)]


def budget(bench: Bench, qpu_s: float | None = None, shots: int | None = None, **more: object) -> list[str]:
    event = ev.BudgetSet(at_s=bench.now_s, project="atoms", qpu_s=qpu_s, shots=shots, **more)  # type: ignore[arg-type]
    return [command.key for command in bench.send(event).commands if isinstance(command, StartSlice)]


def project(bench: Bench, **more: object) -> None:
    bench.send(ev.ProjectSet(at_s=bench.now_s, project="atoms", **more))  # type: ignore[arg-type]


def account(bench: Bench, id: str = "atoms") -> Account:
    return bench.deck.ledger.accounts[id]


# -- months -----------------------------------------------------------------------------------------------------------


@given(st.floats(0, 10_000_000_000))
def test_months_are_those_of_the_calendar(at_s: float) -> None:
    moment = datetime.fromtimestamp(at_s, UTC)
    month = months.month_of(at_s)
    assert months.label(month) == moment.strftime("%Y-%m")
    assert datetime.fromtimestamp(months.start_s(month), UTC).strftime("%d %H%M%S") == "01 000000"
    assert months.start_s(month) <= at_s < months.start_s(month + 1)


# -- projects ---------------------------------------------------------------------------------------------------------


def test_any_label_is_a_project_until_one_is_set_up(bench: Bench) -> None:
    bench.device()
    submit(bench, "a", project="whatever I like")
    project(bench)
    with pytest.raises(NotFound, match="ions"):
        submit(bench, "b", project="ions")
    with pytest.raises(NotFound, match="ions"):
        bench.send(ev.SessionOpened(at_s=bench.now_s, session="s", user="ada", device="qpu", ttl_s=9, project="ions"))
    submit(bench, "c", project="atoms")
    submit(bench, "d", project="")


def test_only_members_use_a_project(bench: Bench) -> None:
    bench.device()
    project(bench, members=("ada",))
    submit(bench, "a")
    with pytest.raises(Forbidden, match=r"bob is no member of project atoms"):
        submit(bench, "b", user="bob")
    project(bench, members=())
    submit(bench, "b", user="bob")


def test_a_project_with_live_tasks_stays(bench: Bench) -> None:
    bench.device()
    project(bench)
    submit(bench, "a")
    with pytest.raises(Conflict, match="1 tasks"):
        bench.send(ev.ProjectRemoved(at_s=bench.now_s, project="atoms"))
    finish(bench, "a", 0, 100, 1.0)
    step = bench.send(ev.ProjectRemoved(at_s=bench.now_s, project="atoms"))
    assert {a.id for a in step.accounts.values() if a.state == "removed"} == {"atoms", "atoms/ada"}
    assert not bench.deck.ledger.accounts
    assert len(bench.deck.ledger.usage) == 1, "what it used is still reported"
    with pytest.raises(NotFound):
        bench.send(ev.ProjectRemoved(at_s=bench.now_s, project="atoms"))


@pytest.mark.parametrize(
    "event",
    [
        ev.ProjectSet(at_s=1, project="a/b"), ev.ProjectSet(at_s=1, project="a", share=0),
        ev.ProjectSet(at_s=1, project="a", share=float("nan")), ev.BudgetSet(at_s=1, project="", qpu_s=-1),
        ev.BudgetSet(at_s=1, project="", qpu_s=float("nan")), ev.BudgetSet(at_s=1, project="", shots=-1),
        ev.BudgetSet(at_s=1, project="", qpu_s=float("inf")),
    ],
)  # fmt: skip
def test_nonsense_is_refused(bench: Bench, event: ev.Event) -> None:
    before = bench.deck.state()
    with pytest.raises(Conflict):
        bench.deck.handle(event)
    assert bench.deck.state() == before


def test_a_budget_needs_its_project_and_its_member(bench: Bench) -> None:
    with pytest.raises(NotFound, match="atoms"):
        budget(bench, 5.0)
    project(bench, members=("ada",))
    with pytest.raises(Conflict, match="bob is no member"):
        budget(bench, 5.0, user="bob")
    bench.send(ev.BudgetSet(at_s=bench.now_s, project="", qpu_s=5.0))  # that of all who name none


# -- budgets ----------------------------------------------------------------------------------------------------------


def test_admission_counts_what_is_spent_and_what_is_held(bench: Bench) -> None:
    bench.device(slice_shots=100, shot_rate_hz=10.0)
    project(bench)
    budget(bench, 30.0)
    submit(bench, "a", 100)
    submit(bench, "b", 150)
    with pytest.raises(OverBudget) as refused:
        submit(bench, "c", 100)
    error = refused.value
    assert (error.project, error.user, error.what, error.left, error.needed) == ("atoms", "", "device seconds", 5, 10)
    assert str(error) == "project atoms has 5 device seconds left; this task would take about 10"
    submit(bench, "c", 50)
    assert account(bench).held_qpu_s == 30.0
    finish(bench, "a", 0, 100, 7.5)
    assert account(bench).held_qpu_s == 20.0 and account(bench).spent(bench.now_s) == (7.5, 100)
    bench.send(ev.Cancelled(at_s=bench.now_s, task="c"))
    assert account(bench).held_qpu_s == 15.0
    submit(bench, "d", 75)
    with pytest.raises(OverBudget):
        submit(bench, "e", 1)


def test_shots_have_a_budget_of_their_own_and_users_too(bench: Bench) -> None:
    bench.device(slice_shots=50)
    project(bench)
    budget(bench, shots=500)
    budget(bench, shots=100, user="ada")
    submit(bench, "a", 100)
    with pytest.raises(OverBudget, match="ada in project atoms has 0 shots left"):
        submit(bench, "b", 1)
    submit(bench, "b", 400, user="bob")
    with pytest.raises(OverBudget, match="project atoms has 0 shots left"):
        submit(bench, "c", 1, user="eve")
    submit(bench, "d", 10_000, project="")


def test_a_budget_below_what_is_spent_stops_new_work_and_loses_none(bench: Bench) -> None:
    bench.device(slice_shots=100, shot_rate_hz=10.0)
    project(bench)
    budget(bench, 1000.0)
    submit(bench, "a", 300)
    submit(bench, "b", 100)
    submit(bench, "other", 100, project="")
    finish(bench, "a", 0, 100, 10.0)
    assert budget(bench, 5.0) == []
    assert finish(bench, "a", 1, 100, 10.0) == ["other/0"], "others are served, though they came later"
    told = why(bench.deck, bench.deck.tasks["a"])
    assert told.reason == "budget" and "an administrator can raise it" in told.detail and told.estimate_s is None
    assert why(bench.deck, bench.deck.tasks["b"]).position == 1
    with pytest.raises(OverBudget):
        submit(bench, "c", 1)
    finish(bench, "other", 0, 100, 1.0)
    assert bench.deck.queued("qpu") == 2
    bench.send(ev.Cancelled(at_s=bench.now_s, task="b"))
    assert budget(bench, 100.0) == ["a/2"]
    finish(bench, "a", 2, 100, 10.0)
    assert bench.deck.tasks["a"].state == "done" and account(bench).held_us == 0


def test_what_was_spent_before_counts_unless_it_is_reset(bench: Bench) -> None:
    bench.device(shot_rate_hz=10.0)
    project(bench)
    submit(bench, "a")
    finish(bench, "a", 0, 100, 50.0)
    budget(bench, 40.0)
    assert account(bench).exhausted(bench.now_s)
    budget(bench, 40.0, reset=True)
    assert account(bench).left(bench.now_s) == (40.0, None)
    assert account(bench).total_qpu_s == 50.0


def test_the_month_turns_by_itself(bench: Bench) -> None:
    bench.now_s = NOVEMBER_S
    bench.device(slice_shots=100, shot_rate_hz=1.0)
    project(bench)
    budget(bench, 250.0, period="month")
    submit(bench, "a", 240)
    finish(bench, "a", 0, 100, 260.0)
    told = why(bench.deck, bench.deck.tasks["a"])
    assert told.reason == "budget" and "anew with the month" in told.detail
    assert told.estimate_s == pytest.approx(3599.0)
    assert bench.deck.next_alarm_s() == NOVEMBER_S + 3600
    step = bench.tick(NOVEMBER_S + 3600)
    assert [event.key for event in step.commands if isinstance(event, StartSlice)] == ["a/1"]
    assert account(bench).spent(bench.now_s) == (0.0, 0)
    finish(bench, "a", 1, 100, 100.0)
    assert account(bench).spent(bench.now_s) == (100.0, 100)
    assert account(bench).total_qpu_s == 360.0
    step = bench.send(ev.Tick(at_s=bench.now_s))
    months = {usage.month: usage.qpu_s for usage in bench.deck.ledger.usage.values()}
    assert months == {"2026-12": 100.0}


def test_a_month_without_budget_does_not_promise_the_next(bench: Bench) -> None:
    bench.now_s = NOVEMBER_S
    bench.device()
    submit(bench, "run", project="")
    submit(bench, "a")
    project(bench)
    budget(bench, 0.0, period="month")
    assert why(bench.deck, bench.deck.tasks["a"]).estimate_s is None


def test_near_its_end_a_budget_is_spent_by_one_slice_at_a_time(bench: Bench) -> None:
    bench.device(slice_shots=10, shot_rate_hz=1.0, lanes=3)
    bound_s = LONGEST * 10 + Rules().grace_s
    project(bench)
    budget(bench, 2 * bound_s)
    for name in "abcd":
        submit(bench, name, 10)
    assert bench.deck.devices["qpu"].running == ["a/0", "b/0"], "a third may cost more than is left"
    assert why(bench.deck, bench.deck.tasks["c"]).reason == "budget"
    assert "kept for its 2 slices" in why(bench.deck, bench.deck.tasks["c"]).detail
    assert finish(bench, "a", 0, 10, 10.0) == [], "the bounds of b and c come to more than is left now"
    assert finish(bench, "b", 0, 10, 2 * bound_s) == ["c/0"]
    assert account(bench).spent(bench.now_s) == (10.0 + bound_s, 20), "no slice is charged more than its bound"
    assert finish(bench, "c", 0, 10, 10.0) == ["d/0"]


def test_a_users_budget_does_not_keep_the_rest_of_the_project_waiting(bench: Bench) -> None:
    bench.device(slice_shots=10, shot_rate_hz=1.0)
    project(bench)
    budget(bench, 1000.0)
    submit(bench, "run", 10, project="")
    submit(bench, "a", 10)
    submit(bench, "b", 10, user="bob")
    budget(bench, 0.0)
    finish(bench, "run", 0, 10, 1.0)
    assert bench.deck.parked.account(bench.deck.tasks["a"]) == "atoms"
    budget(bench, 0.0, user="ada")
    assert budget(bench, 1000.0) == ["b/0"]
    assert bench.deck.parked.account(bench.deck.tasks["a"]) == "atoms/ada"


def test_a_closed_exclusive_session_takes_its_parked_tasks_along(bench: Bench) -> None:
    bench.device(slice_shots=10)
    project(bench)
    bench.send(
        ev.SessionOpened(
            at_s=bench.now_s, session="s", user="ada", device="qpu", ttl_s=60, mode="exclusive", project="atoms"
        )
    )
    submit(bench, "a", 20, session="s")
    budget(bench, shots=0)
    finish(bench, "a", 0, 10, 1.0)
    assert "a" in bench.deck.parked
    bench.send(ev.SessionClosed(at_s=bench.now_s, session="s"))
    assert bench.deck.tasks["a"].state == "cancelled" and bench.deck.queued("qpu") == 0


def test_many_tasks_are_set_aside_a_bit_at_a_time(bench: Bench) -> None:
    bench.device(slice_shots=10)
    project(bench)
    budget(bench, shots=10**6)
    submit(bench, "run", 10, project="")
    for number in range(PARKED_AT_ONCE + 100):
        bench.log += bench.deck.handle(
            ev.Submitted(
                at_s=bench.now_s, task=f"t{number}", user="ada", device="qpu", program="p", shots=1, project="atoms"
            )
        ).events
    submit(bench, "other", 10, project="")
    budget(bench, shots=0)
    assert finish(bench, "run", 0, 10, 1.0) == []
    assert bench.deck.parked.count("qpu") == PARKED_AT_ONCE and bench.deck.queued("qpu") == PARKED_AT_ONCE + 101
    alarm_s = bench.deck.next_alarm_s()
    assert alarm_s is not None and alarm_s < bench.now_s + 0.01
    step = bench.tick(alarm_s)
    assert [command.key for command in step.commands if isinstance(command, StartSlice)] == ["other/0"]


def test_no_exclusive_session_without_budget(bench: Bench) -> None:
    bench.device()
    project(bench)
    budget(bench, 0.0)
    opened = ev.SessionOpened(at_s=bench.now_s, session="s", user="ada", device="qpu", ttl_s=60, project="atoms")
    with pytest.raises(OverBudget, match=r"project atoms has no device seconds left$"):
        bench.send(msgspec.structs.replace(opened, mode="exclusive"))
    bench.send(opened)


# -- what is charged --------------------------------------------------------------------------------------------------


def test_what_is_charged(bench: Bench) -> None:
    bench.device(slice_shots=100)
    for name in ("done", "fault", "cancelled"):
        submit(bench, name, 100)
    bench.fail("done", 0, "lost")  # nothing is known to have been used
    finish(bench, "done", 1, 100, 3.0)
    bench.send(ev.SliceFailed(at_s=bench.now_s, task="fault", index=0, kind="fault", qpu_s=2.0))
    bench.send(ev.Cancelled(at_s=bench.now_s, task="cancelled"))
    finish(bench, "cancelled", 0, 40, 1.5)
    assert account(bench).spent(bench.now_s) == (6.5, 140)
    (usage,) = bench.deck.ledger.usage.values()
    told = (usage.qpu_s, usage.failed_s, usage.shots, usage.slices, usage.failed, usage.tasks)
    assert told == (6.5, 2.0, 140, 4, 2, 3)


def test_no_account_is_written_for_a_submission_without_budget(bench: Bench) -> None:
    bench.device()
    event = ev.Submitted(at_s=bench.now_s, task="a", user="ada", device="qpu", program="p", shots=9, project="atoms")
    step = bench.send(event)
    assert not step.accounts and not step.usage and not bench.deck.ledger.accounts


def test_use_decays_by_half_in_a_half_life(bench: Bench) -> None:
    bench.device()
    submit(bench, "a")
    finish(bench, "a", 0, 100, 8.0)
    day_s = bench.deck.ledger.rules.half_life_s
    assert bench.deck.usage("atoms", "ada") == bench.deck.usage("atoms") == 8.0
    bench.tick(bench.now_s + 2 * day_s)
    assert bench.deck.usage("atoms") == pytest.approx(2.0)
    submit(bench, "b")
    finish(bench, "b", 0, 100, 1.0, after_s=0.0)
    assert bench.deck.usage("atoms") == pytest.approx(3.0)
    assert bench.deck.usage("nobody") == 0.0
    project(bench, share=2.5)
    assert (bench.deck.share("atoms"), bench.deck.share("nobody")) == (2.5, 1.0)


# -- whatever happens -------------------------------------------------------------------------------------------------

FACTORS = (0.0, 0.01, 0.5, 1.0, 1.5, 10.0, 1000.0)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    limit=st.sampled_from([50.0, 400.0, 2000.0]),
    lanes=st.integers(1, 4),
    devices=st.integers(1, 3),
)
def test_budgets_are_overspent_by_one_slice_at_most(seed: int, limit: float, lanes: int, devices: int) -> None:
    """Estimates wrong by any factor, several devices and lanes, a restart now and then; all is done in the end."""
    deck, log, now_s, random = Deck(), list[ev.Event](), 1000.0, Random(seed)

    def send(event: ev.Event) -> None:
        log.extend(deck.handle(event).events)
        validate(deck)

    for number in range(devices):
        name = f"d{number}"
        send(ev.DeviceDeclared(at_s=now_s, device=name, lanes=lanes, slice_shots=10, shot_rate_hz=1.0, setup_s=1.0))
        send(ev.DeviceChanged(at_s=now_s, device=name, status="online"))
    for who in ("atoms", "ions"):
        send(ev.ProjectSet(at_s=now_s, project=who))
    send(ev.BudgetSet(at_s=now_s, project="atoms", qpu_s=limit))
    send(ev.BudgetSet(at_s=now_s, project="atoms", user="bob", shots=40))
    admitted = 0
    for number in range(random.randint(1, 25)):
        task = ev.Submitted(
            at_s=now_s, task=f"t{number}", user=random.choice(["ada", "bob"]), device=f"d{number % devices}",
            program="p", shots=random.randint(1, 45), project=random.choice(["atoms", "atoms", "ions"]),
            estimate_s=random.choice([0.0, 0.001, 30.0]),
        )  # fmt: skip
        try:
            send(task)
            admitted += 1
        except OverBudget:
            pass
    charges: list[float] = []
    while deck.slices:
        now_s += random.uniform(0, 100)
        slice = deck.slices[random.choice(sorted(deck.slices))]
        qpu_s = (1.0 + slice.shots) * random.choice(FACTORS)
        atoms = deck.tasks[slice.task].project == "atoms"
        if random.random() < 0.2:
            send(ev.SliceFailed(at_s=now_s, task=slice.task, index=slice.index, kind="lost", qpu_s=qpu_s))
        else:
            send(ev.SliceFinished(at_s=now_s, task=slice.task, index=slice.index, shots=slice.shots, qpu_s=qpu_s))
        if atoms:
            charges.append(min(qpu_s, slice.bound_s))
            assert sum(charges) <= limit + max(charges) + 1e-6
        if random.random() < 0.1:
            deck = restarted(deck)
    assert deck.ledger.accounts["atoms/bob"].spent(now_s)[1] <= 40, "shots are known beforehand"
    waiting = [task for task in deck.tasks.values() if not task.ended]
    assert all(why(deck, task).reason == "budget" for task in waiting)
    send(ev.BudgetSet(at_s=now_s, project="atoms"))
    while deck.slices:
        slice = next(iter(deck.slices.values()))
        send(ev.SliceFinished(at_s=now_s, task=slice.task, index=slice.index, shots=slice.shots, qpu_s=1.0))
    assert all(task.state == "done" for task in deck.tasks.values())
    for account in deck.ledger.accounts.values():
        assert (account.held_us, account.held_shots, account.flights, account.flight_us) == (0, 0, 0, 0)
    Audit().read(log)
    twin = Deck()
    for event in log:
        twin.apply(ev.decode(ev.encode(event)))  # type: ignore[arg-type]
    assert twin.state() == deck.state()


def restarted(deck: Deck) -> Deck:
    """The same from records, as after a crash."""
    nouns = [
        *[task for task in deck.tasks.values() if not task.ended], *deck.slices.values(), *deck.sessions.values(),
        *deck.devices.values(), *deck.ledger.accounts.values(), *deck.ledger.usage.values(),
    ]  # fmt: skip
    fresh = Deck()
    fresh.restore([msgspec.json.decode(msgspec.json.encode(n), type=type(n)) for n in nouns], deck.now_s, deck.seq)
    fresh.tasks.update((id, task) for id, task in deck.tasks.items() if task.ended)
    return fresh


def test_the_audit_sees_a_budget_that_is_overspent() -> None:
    start = [
        ev.DeviceDeclared(at_s=1, device="d", lanes=3),
        ev.ProjectSet(at_s=1, project="atoms"),
        ev.BudgetSet(at_s=1, project="atoms", qpu_s=5.0),
        *(ev.Submitted(at_s=1, task=t, user="u", device="d", program="p", shots=1, project="atoms") for t in "abc"),
        *(ev.SliceStarted(at_s=1, task=t, index=0, shots=1, bound_s=9.0) for t in "abc"),
    ]
    end = [ev.SliceFinished(at_s=2, task=t, index=0, shots=1, qpu_s=4.0) for t in "abc"]
    with pytest.raises(Broken, match="c/0 is the second"):
        Audit().read([*start, *end])
    late = ev.SliceStarted(at_s=3, task="c", index=0, shots=1, bound_s=9.0)
    with pytest.raises(Broken, match="nothing left"):
        Audit().read([*start[:-1], *end[:2], late])


def test_records_go_through_json() -> None:
    for record in (
        Account(id="a/b", project="a", user="b", members=("x",), budget_qpu_s=1.5, period="month"),
        Usage(month="2026-11", project="", user="u", class_="test", device="d", shots=3),
    ):
        assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record


def test_a_project_may_be_kept_to_classes(bench: Bench) -> None:
    bench.device()
    bench.send(ev.ProjectSet(at_s=bench.now_s, project="", classes=("development",)))
    bench.submit("a")
    task = ev.Submitted(at_s=bench.now_s, task="b", user="ada", device="qpu", program="p", shots=1, class_="production")
    with pytest.raises(Forbidden, match="development work, not production"):
        bench.deck.handle(task)
    opened = ev.SessionOpened(
        at_s=bench.now_s, session="s", user="ada", device="qpu", ttl_s=9.0, class_="production"
    )  # fmt: skip
    with pytest.raises(Forbidden):
        bench.deck.handle(opened)
    bench.send(ev.ProjectSet(at_s=bench.now_s, project=""))
    bench.send(task)
