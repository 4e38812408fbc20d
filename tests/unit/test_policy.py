"""The policies: their orders, `deck`'s guards, slices, choices of device, deadlines, and a policy that fails."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from math import log
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.core import events as ev
from quarterdeck.core.commands import StartSlice
from quarterdeck.core.deck import Deck
from quarterdeck.core.forecast import forecast
from quarterdeck.core.invariants import validate
from quarterdeck.core.nouns import Device, Task
from quarterdeck.core.policy import POLICIES, Choice, DeckPolicy, Moment, Policy, PolicySettings, make_policy
from quarterdeck.core.policy.slicing import fit, slice_s
from quarterdeck.core.waiting import why
from quarterdeck.errors import Conflict, Invalid


class Site:
    """A deck whose devices take exactly as long as a slice is estimated to."""

    def __init__(self, policy: Policy, *devices: dict[str, Any]) -> None:
        self.deck = Deck(policy)
        self.now_s = 1000.0
        self.made = 0
        self.ends: list[tuple[float, str, int, int, float]] = []
        self.order: list[str] = []
        self.served: dict[str, float] = {}
        for device in devices or ({},):
            told = {"device": "qpu", "slice_shots": 0, "shot_rate_hz": 1.0, **device}
            quality = told.pop("quality", None)
            self.send(ev.DeviceDeclared(at_s=self.now_s, **told))
            changed = ev.DeviceChanged(at_s=self.now_s, device=told["device"], status="offline", quality=quality)
            self.send(changed)

    def online(self) -> None:
        for device in self.deck.devices:
            self.send(ev.DeviceChanged(at_s=self.now_s, device=device, status="online"))

    def send(self, event: ev.Event) -> None:
        step = self.deck.handle(event)
        for command in step.commands:
            if isinstance(command, StartSlice):
                task, slice = self.deck.tasks[command.task], self.deck.slices[command.key]
                each_s = self.deck.work_s(task, self.deck.devices[command.device]) / task.remaining
                took_s = slice.setup_s + each_s * command.shots
                self.ends.append((self.now_s + took_s, command.task, command.index, command.shots, took_s))
                self.order.append(command.task)
                self.served[task.user] = self.served.get(task.user, 0.0) + took_s
        self.deck.forget_ended()

    def submit(self, shots: int = 10, **fields: Any) -> str:
        self.made += 1
        told = {"task": f"t{self.made}", "user": "ada", "device": "qpu", "program": "p", "shots": shots, **fields}
        self.send(ev.Submitted(at_s=self.now_s, **told))
        return str(told["task"])

    def run(self, slices: int = 10_000) -> list[str]:
        """Let so many slices end, or all."""
        while self.ends and slices:
            slices -= 1
            self.ends.sort()
            at_s, task, index, shots, took_s = self.ends.pop(0)
            self.now_s = at_s
            setup_s = self.deck.slices[f"{task}/{index}"].setup_s
            self.send(ev.SliceFinished(at_s=at_s, task=task, index=index, shots=shots, qpu_s=took_s, setup_s=setup_s))
            validate(self.deck)
        return self.order


def site(name: str, *devices: dict[str, Any], **knobs: Any) -> Site:
    return Site(make_policy(name, knobs), *devices)


# -- orders -------------------------------------------------------------------------------------------------------


def waiting(name: str, tasks: Iterable[dict[str, Any]], **knobs: Any) -> list[str]:
    """The order in which these tasks, all there from the start, are run on one device; whole."""
    here = site(name, slices=False, **knobs)
    for task in tasks:
        here.submit(**task)
        here.now_s += 1.0
    here.online()
    return here.run()


def test_fifo_is_the_order_of_arrival() -> None:
    assert waiting("fifo", [{"shots": 50}, {"shots": 1}, {"shots": 9, "class_": "production"}]) == ["t1", "t2", "t3"]


def test_priority_goes_by_class_then_arrival() -> None:
    tasks = [{}, {"class_": "test"}, {"class_": "production"}, {"class_": "test", "user": "bob"}]
    assert waiting("priority", tasks) == ["t3", "t2", "t4", "t1"]


def test_shortest_first() -> None:
    assert waiting("sjf", [{"shots": 90}, {"shots": 5}, {"shots": 20}, {"shots": 5}]) == ["t2", "t4", "t3", "t1"]


def test_the_highest_response_ratio_weighs_waiting_by_size() -> None:
    here = site("hrrn", slices=False)
    here.submit(shots=1000)
    here.now_s += 500.0
    here.submit(shots=10)
    here.now_s += 4.0  # ratios 1.504 and 1.4
    here.online()
    assert here.run(1)[:1] == ["t1"]
    here = site("hrrn", slices=False)
    here.submit(shots=1000)
    here.now_s += 500.0
    here.submit(shots=10)
    here.now_s += 6.0  # ratios 1.506 and 1.6
    here.online()
    assert here.run(1)[:1] == ["t2"]


def test_fair_share_serves_who_had_least_for_the_share() -> None:
    here = site("fairshare", slices=False)
    for _ in range(6):
        here.submit(user="ada")
        here.submit(user="bob")
        here.submit(user="bob")
    here.online()
    here.run(12)
    assert here.served["ada"] == pytest.approx(here.served["bob"], abs=11.0)


def test_deck_takes_short_work_first_and_production_before_others_of_its_size() -> None:
    assert waiting("deck", [{"shots": 500}, {"shots": 20}])[0] == "t2"
    assert waiting("deck", [{"shots": 20}, {"shots": 20, "class_": "production"}])[0] == "t2"


def test_equals_go_in_order_of_arrival_under_every_policy() -> None:
    for name in POLICIES:
        here = site(name, slices=False)
        for user in ("dora", "carl", "bob", "ada"):
            here.submit(user=user)
        here.online()
        assert here.run() == ["t1", "t2", "t3", "t4"], name


# -- deck ---------------------------------------------------------------------------------------------------------


def score(policy: PolicySettings, deck: Deck, task: Task, device: Device, had_s: float, opened_s: float) -> float:
    """The documented formula, written down a second time."""
    e = deck.work_s(task, device)
    tau = policy.scale_s or max(10.0, 0.6 * device.typical_s)
    set_up = 0.0 if task.register and task.register == device.register else device.setup_s
    waited = deck.now_s - opened_s - had_s
    slowdown = 1.0 + waited / max(had_s + e, tau)
    return (
        log(policy.weights[task.class_]) + policy.slowdown * log(slowdown)
        - policy.short_first * log(e + set_up + max(device.overhead_s, 1e-6))
        - policy.fresh_first * log(had_s + e + tau)
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 5000), st.sampled_from(["production", "test", "development"]), st.sampled_from("abc"),
            st.floats(0, 5000), st.sampled_from(["", "s1", "s2"]), st.sampled_from(["x", "y"]),
        ),
        min_size=2, max_size=12,
    ),
    st.floats(1, 10_000),
)  # fmt: skip
def test_the_choice_is_the_highest_score_of_the_heads(tasks: list[Any], later_s: float) -> None:
    knobs = PolicySettings(
        slices=False, fair=0.0, share_production=0, share_test=0, share_development=0, share_aged=0, setup_edge=0
    )
    here = Site(DeckPolicy(knobs), {"setup_s": 7.0, "overhead_s": 0.5, "shot_rate_hz": 10.0})
    for session in ("s1", "s2"):
        opened = ev.SessionOpened(at_s=here.now_s, session=session, user="ada", device="qpu", ttl_s=1e9)
        here.send(opened)
    for shots, class_, register, gap_s, session, user in tasks:
        here.now_s += gap_s
        here.submit(
            shots=shots, class_=class_, register=register, session=session, user="ada" if session else user
        )  # fmt: skip
    here.now_s += later_s
    deck, device = here.deck, here.deck.devices["qpu"]
    deck.handle(ev.Tick(at_s=here.now_s))
    choice = deck.policy.pick(Moment(device, deck.now_s, float("inf")))
    assert choice is not None

    def told(task: Task) -> float:
        session = deck.sessions.get(task.session)
        if session is None:
            return score(knobs, deck, task, device, 0.0, task.submitted_s)
        return score(knobs, deck, task, device, session.attained_s, session.opened_s)

    live = list(deck.tasks.values())
    seen: set[str] = set()
    heads = [t for t in live if not t.session or not (t.session in seen or seen.add(t.session))]  # type: ignore[func-returns-value]
    best = max(told(task) for task in heads)
    # Sessionless tasks of one user that are about as large share a stream, in which the first comes first.
    slack = (knobs.short_first + knobs.fresh_first + knobs.slowdown) * log(2.0)
    assert told(choice.task) >= best - (slack if not choice.task.session else 1e-6) - 1e-6


def test_explanations_add_up_to_the_lead() -> None:
    here = site("deck", {"shot_rate_hz": 10.0, "overhead_s": 0.1})
    here.submit(shots=50)
    here.submit(shots=400, user="bob", class_="production")
    here.now_s += 60.0
    deck, device = here.deck, here.deck.devices["qpu"]
    deck.handle(ev.Tick(at_s=here.now_s))
    choice = deck.policy.pick(Moment(device, deck.now_s, float("inf")))
    assert choice is not None and choice.rival
    mine, other = (sum(deck.policy.explain(deck.tasks[id], device).values()) for id in (choice.task.id, choice.rival))
    assert choice.score == pytest.approx(mine - other, abs=1e-6)


def test_a_deadline_is_a_term_of_the_score() -> None:
    here = site("deck", {"shot_rate_hz": 10.0, "overhead_s": 0.1})
    here.submit(shots=50, deadline_s=here.now_s + 100.0)
    here.submit(shots=40, user="bob")
    here.now_s += 60.0
    deck, device = here.deck, here.deck.devices["qpu"]
    deck.handle(ev.Tick(at_s=here.now_s))
    choice = deck.policy.pick(Moment(device, deck.now_s, float("inf")))
    assert choice is not None and choice.task.id == "t1" and choice.rival == "t2"
    mine, other = (deck.policy.explain(deck.tasks[id], device) for id in ("t1", "t2"))
    assert set(mine) - set(other) == {"deadline"} and mine["deadline"] > 0.0
    assert choice.score == pytest.approx(sum(mine.values()) - sum(other.values()), abs=1e-6)


def test_what_was_measured_of_overhead_outlasts_a_restart() -> None:
    here = site("deck", {"shot_rate_hz": 10.0})
    here.online()
    task = here.submit(shots=10)
    here.deck.handle(ev.SliceFinished(at_s=here.now_s + 3.0, task=task, index=0, shots=10, qpu_s=1.0))
    assert here.deck.devices["qpu"].overhead_s == pytest.approx(2.0)
    here.deck.handle(ev.DeviceDeclared(at_s=here.now_s + 4.0, device="qpu", shot_rate_hz=10.0))
    assert here.deck.devices["qpu"].overhead_s == pytest.approx(2.0)


def test_the_same_set_up_is_kept_within_its_bound() -> None:
    def order(edge: float) -> list[str]:
        here = site("deck", {"setup_s": 20.0}, slices=False, setup_edge=edge, short_first=0.0, fresh_first=0.0)
        for number in range(4):
            here.submit(shots=10, register="ab"[number % 2], user=f"u{number}")
            here.now_s += 30.0
        here.online()
        return here.run()

    assert order(0.0) == ["t1", "t2", "t3", "t4"]
    assert order(2.0) == ["t1", "t3", "t2", "t4"]


def test_a_class_gets_its_guaranteed_share_whatever_the_weights() -> None:
    shares = {"share_production": 0, "share_test": 0, "share_development": 0.3, "share_aged": 0}
    here = site("deck", weight_production=1e6, **shares)
    for _ in range(200):
        here.submit(shots=10, class_="production", user="prod")
        here.submit(shots=10, class_="development", user="dev")
    here.online()
    here.run(150)
    assert here.served["dev"] / sum(here.served.values()) == pytest.approx(0.3, abs=0.06)


def test_shares_of_users_converge_when_only_fairness_counts() -> None:
    here = site("deck", short_first=0.0, fresh_first=0.0, slowdown=0.01, fair=4.0, usage_half_life_s=1e9)
    for number in range(120):
        here.submit(shots=30, user="ada")
        for _ in range(3):
            here.submit(shots=10, user="bob", name=str(number))
    here.online()
    here.run(160)
    assert here.served["ada"] / here.served["bob"] == pytest.approx(1.0, abs=0.15)


@settings(max_examples=15, deadline=None)
@given(st.integers(50, 2000), st.integers(1, 20), st.sampled_from(["production", "test"]))
def test_nobody_starves_under_deck(shots: int, rival_shots: int, class_: str) -> None:
    """However many short tasks of better classes keep coming, a long one gets `share_aged` once it has aged."""
    here = site("deck", weight_production=1e6, share_development=0.0, aged_s=500.0, slice_min_s=10.0)
    for _ in range(3):
        here.submit(shots=rival_shots, class_=class_, user="flood")
    long = here.submit(shots=shots, user="patient")
    here.online()
    began_s = here.now_s
    while long in here.deck.tasks:
        while sum(task.user == "flood" for task in here.deck.tasks.values()) < 3:
            here.submit(shots=rival_shots, class_=class_, user="flood")
        here.run(1)
        share = make_policy("deck").settings.share_aged
        assert here.now_s - began_s < 500.0 + (shots + 100.0 + 20 * rival_shots) / share, "it waits without bound"


# -- slices, devices, deadlines -------------------------------------------------------------------------------------


def device(**fields: Any) -> Device:
    return Device(id="qpu", slice_shots=0, status="online", **fields)


def task(shots: int = 1000, **fields: Any) -> Task:
    return Task(id="t", seq=1, user="ada", device="qpu", program="p", shots=shots, submitted_s=0.0, **fields)


def test_slices_grow_with_overhead_and_set_up() -> None:
    knobs = PolicySettings()
    plain = slice_s(device(typical_s=5.0), knobs, alone=False)
    assert slice_s(device(typical_s=5.0, overhead_s=1.0), knobs, alone=False) == pytest.approx(100.0)
    assert slice_s(device(typical_s=5.0, setup_s=30.0), knobs, alone=False) == pytest.approx(120.0)
    assert slice_s(device(typical_s=5.0), knobs, alone=True) == 2 * plain


def test_a_slice_ends_before_the_window_and_leaves_no_crumb() -> None:
    knobs = PolicySettings()
    quick = device(shot_rate_hz=10.0, typical_s=5.0, setup_s=2.0)  # slices of 10 s
    assert fit(task(1000), quick, 0.0, float("inf"), knobs) == 100
    assert fit(task(120), quick, 0.0, float("inf"), knobs) == 120
    assert fit(task(1000), quick, 0.0, 7.0, knobs) == 50
    assert fit(task(1000, register="a"), device(shot_rate_hz=10.0, setup_s=2.0, register="a"), 0.0, 7.0, knobs) == 70
    assert fit(task(1000), quick, 0.0, 1.5, knobs) == 0
    assert fit(task(100, estimate_s=13.0), quick, 0.0, 2.0 + 13.0, knobs) == int(100 / 1.3)
    assert fit(task(100, min_quality=0.5), quick, 0.0, float("inf"), knobs) == 0


def test_a_choice_of_devices_goes_to_the_best_that_is_free() -> None:
    two = ({"device": "good", "quality": 0.9}, {"device": "fair", "quality": 0.6})
    here = site("deck", *two)
    here.online()
    both = {"device": "fair", "devices": ("fair", "good")}
    first, second = here.submit(**both), here.submit(**both)
    assert (here.deck.tasks[first].device, here.deck.tasks[second].device) == ("good", "fair")
    third = here.submit(shots=5, min_quality=0.8, **both)
    fourth = here.submit(shots=5, **both)
    here.run(2)
    assert here.deck.tasks[third].device == "good" or third not in here.deck.tasks
    assert fourth not in [t.id for t in here.deck.tasks.values() if t.state == "queued"] or third in here.order
    with pytest.raises(Conflict):
        here.submit(device="fair", devices=("good", "fair"))


def test_who_needs_a_better_calibration_is_told_so() -> None:
    here = site("deck", {"quality": 0.5})
    here.online()
    told = why(here.deck, here.deck.tasks[here.submit(min_quality=0.9)])
    assert (told.reason, told.estimate_s) == ("quality", None)


def test_near_deadlines_come_first_and_missed_ones_make_way() -> None:
    here = site("deck", slices=False)
    here.submit(shots=100)
    here.submit(shots=100, user="bob", deadline_s=here.now_s + 150.0)
    here.online()
    assert here.order == ["t2"]
    here = site("deck", slices=False)
    late = here.submit(shots=100, deadline_s=here.now_s + 50.0)
    here.deck.handle(ev.Tick(at_s=here.now_s + 50.0))
    assert (here.deck.tasks[late].state, here.deck.tasks[late].error_code) == ("failed", "deadline_missed")
    with pytest.raises(Conflict):
        here.submit(deadline_s=here.now_s - 1.0)


# -- failure, settings, forecast ----------------------------------------------------------------------------------


class Failing(DeckPolicy):
    """Works three times, then raises."""

    name: ClassVar[str] = "failing"
    left = 3

    def pick(self, moment: Moment) -> Choice | None:
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError("a plug-in's defect")
        return super().pick(moment)


def test_a_policy_that_raises_is_replaced_and_says_so() -> None:
    here = Site(Failing())
    log_: list[ev.Event] = []
    for _ in range(6):
        here.submit(shots=5)
    record = here.deck._record
    here.deck._record = lambda event: (log_.append(event), record(event))[1]  # type: ignore[method-assign,func-returns-value]
    here.online()
    assert here.run() == ["t1", "t2", "t3", "t4", "t5", "t6"]
    failed = [event for event in log_ if isinstance(event, ev.PolicyFailed)]
    assert [(event.policy, event.message) for event in failed] == [("failing", "ZeroDivisionError: a plug-in's defect")]
    assert here.deck.policy.name == "fifo" and "defect" in here.deck.policy_failure
    assert "fallback" in {event.cause for event in log_ if isinstance(event, ev.SliceStarted)}


def test_bad_policies_are_refused() -> None:
    for name, knobs in (
        ("nonsense", {}), ("deck", {"weight_production": 0}), ("deck", {"unknown": 1}),
        ("deck", {"share_production": 0.9, "share_test": 0.2}), ("deck", {"short_first": "much"}),
    ):  # fmt: skip
        with pytest.raises(Invalid):
            make_policy(name, knobs)


@pytest.mark.parametrize("name", list(POLICIES))
def test_a_forecast_comes_true_when_nothing_happens_meanwhile(name: str) -> None:
    here = site(name, {"setup_s": 3.0, "shot_rate_hz": 5.0})
    here.online()
    for number in range(20):
        here.submit(
            shots=10 * (number % 7 + 1), user=f"u{number % 3}", register="ab"[number % 2],
            class_=("production", "test", "development")[number % 3],
        )  # fmt: skip
    before = here.deck.state()
    seen = {id: here.now_s + seconds for id, seconds in forecast(here.deck).items()}
    assert here.deck.state() == before
    starts: dict[str, float] = {}
    while here.ends:
        queued = {id for id, task in here.deck.tasks.items() if task.state == "queued" and not task.slices}
        here.run(1)
        for id in queued:
            if id not in here.deck.tasks or here.deck.tasks[id].state != "queued":
                starts.setdefault(id, here.now_s)
    assert starts and {id: seen[id] for id in starts} == pytest.approx(starts)


def test_a_forecast_leaves_nothing_behind() -> None:
    here = site("deck")
    for _ in range(50):
        here.submit(shots=10)
    here.online()
    gc.collect()
    gc.disable()
    try:
        forecast(here.deck)
        assert sum(type(one) is Deck for one in gc.get_objects()) == 1, "a copy is free as soon as it was used"
    finally:
        gc.enable()


def test_a_long_queue_is_told_by_its_length() -> None:
    here = site("fifo")
    for _ in range(2100):
        here.submit(shots=10)
    here.online()
    told = why(here.deck, here.deck.tasks["t2100"], ahead=True)
    assert told.basis == "queue" and told.estimate_s == pytest.approx(20_990.0, rel=0.01)
