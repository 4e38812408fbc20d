"""A state machine attacks the core: random legal and illegal events, the invariants after each, the log replayed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from quarterdeck.core import events as ev
from quarterdeck.core.books import Step
from quarterdeck.core.commands import CancelSlice, StartSlice
from quarterdeck.core.deck import Deck
from quarterdeck.core.invariants import Audit, validate
from quarterdeck.core.policy import make_policy
from quarterdeck.core.policy.slicing import min_slice_s, setup_s
from quarterdeck.core.transition import InvalidTransition
from quarterdeck.errors import QuarterdeckError

DEVICES = ("one", "two")
USERS = ("ada", "bob")


class Attack(RuleBasedStateMachine):
    """Plays users, devices, administrators and time, all at random."""

    policy = "deck"

    def __init__(self) -> None:
        super().__init__()
        self.deck, self.audit, self.twin = Deck(make_policy(self.policy)), Audit(), Deck()
        self.now_s, self.made = 1.0, 0
        self.started: dict[str, int] = {}
        self.accepted: dict[str, int] = {}
        for device in DEVICES:
            self.send(ev.DeviceDeclared(at_s=1, device=device, lanes=2, slice_shots=7, shot_rate_hz=1.0, setup_s=1.0))

    def send(self, event: ev.Event) -> Step | None:
        before = self.deck.state()
        try:
            step = self.deck.handle(event)
        except (QuarterdeckError, InvalidTransition):
            assert self.deck.state() == before
            return None
        self.audit.read(step.events)
        for entry in step.events:
            self.twin.apply(ev.decode(ev.encode(entry)))  # type: ignore[arg-type]
        self.twin.now_s = self.deck.now_s
        for command in step.commands:
            if isinstance(command, StartSlice):
                assert command.key not in self.started, "a slice was started twice"
                self.started[command.key] = command.shots
            elif isinstance(command, CancelSlice):
                assert command.key in self.deck.slices
        return step

    def fresh(self, kind: str) -> str:
        self.made += 1
        return f"{kind}{self.made}"

    @rule(device=st.sampled_from(DEVICES), status=st.sampled_from(["online", "online", "offline", "maintenance"]))
    def device_changes(self, device: str, status: str) -> None:
        quality = {"online": 0.7, "offline": None, "maintenance": 0.2}[status]
        self.send(ev.DeviceChanged(at_s=self.now_s, device=device, status=status, quality=quality))  # type: ignore[arg-type]

    @rule(
        device=st.sampled_from((*DEVICES, "nowhere")),
        user=st.sampled_from(USERS),
        shots=st.integers(1, 30),
        data=st.data(),
    )
    def submit(self, device: str, user: str, shots: int, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(["", *self.deck.sessions]))
        task = self.fresh("t")
        both = device == "one" and not session and data.draw(st.booleans())
        event = ev.Submitted(
            at_s=self.now_s, task=task, user=user, device=device, program="p", shots=shots, session=session,
            devices=DEVICES if both else (), register=data.draw(st.sampled_from(["", "a", "b"])),
            estimate_s=data.draw(st.sampled_from([0.0, 0.0, 2.0, 50.0])),
            deadline_s=data.draw(st.sampled_from([0.0, 0.0, self.now_s + 20])),
            min_quality=data.draw(st.sampled_from([0.0, 0.0, 0.5])),
            class_=data.draw(st.sampled_from(["production", "test", "development"])),
        )  # fmt: skip
        if self.send(event) is not None:
            self.accepted[task] = shots

    @rule(
        device=st.sampled_from(DEVICES),
        user=st.sampled_from(USERS),
        mode=st.sampled_from(["shared", "exclusive", "batch"]),
        ttl_s=st.floats(0.5, 50),
    )
    def open_session(self, device: str, user: str, mode: str, ttl_s: float) -> None:
        opened = ev.SessionOpened(
            at_s=self.now_s, session=self.fresh("s"), user=user, device=device, ttl_s=ttl_s, mode=mode  # type: ignore[arg-type]
        )  # fmt: skip
        self.send(opened)

    @rule(data=st.data(), renew=st.booleans())
    def end_or_renew_session(self, data: st.DataObject, renew: bool) -> None:
        session = data.draw(st.sampled_from([*self.deck.sessions, "none"]))
        kind = ev.SessionRenewed if renew else ev.SessionClosed
        self.send(kind(at_s=self.now_s, session=session))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.send(ev.Cancelled(at_s=self.now_s, task=data.draw(st.sampled_from([*self.deck.tasks, "none"]))))

    @rule(device=st.sampled_from(DEVICES), ahead_s=st.floats(-5, 40), length_s=st.floats(-1, 20), hard=st.booleans())
    def set_window(self, device: str, ahead_s: float, length_s: float, hard: bool) -> None:
        start_s = self.now_s + ahead_s
        event = ev.WindowSet(
            at_s=self.now_s, window=self.fresh("w"), device=device, kind="calibration", start_s=start_s,
            end_s=start_s + length_s, hard=hard,
        )  # fmt: skip
        self.send(event)

    @rule(data=st.data())
    def clear_window(self, data: st.DataObject) -> None:
        self.send(ev.WindowCleared(at_s=self.now_s, window=data.draw(st.sampled_from([*self.deck.windows, "none"]))))

    @rule(data=st.data(), share=st.floats(0, 1.2))
    def finish_slice(self, data: st.DataObject, share: float) -> None:
        key = data.draw(st.sampled_from([*self.started, "none/0"]))
        task, _, index = key.partition("/")
        shots = int(self.started.get(key, 1) * share)
        self.send(ev.SliceFinished(at_s=self.now_s, task=task, index=int(index), shots=shots, qpu_s=shots * 0.9))

    @rule(data=st.data(), kind=st.sampled_from(["rejected", "unavailable", "lost", "fault", "fault", "cancelled"]))
    def fail_slice(self, data: st.DataObject, kind: str) -> None:
        task, _, index = data.draw(st.sampled_from([*self.started, "none/0"])).partition("/")
        self.send(ev.SliceFailed(at_s=self.now_s, task=task, index=int(index), kind=kind))  # type: ignore[arg-type]

    @rule(step_s=st.floats(0, 30))
    def time_goes_by(self, step_s: float) -> None:
        self.now_s += step_s
        self.send(ev.Tick(at_s=self.now_s))

    @rule(back_s=st.floats(0, 100))
    def clock_is_set_back(self, back_s: float) -> None:
        self.send(ev.Tick(at_s=self.now_s - back_s))

    @rule()
    def restart_from_records(self) -> None:
        """What the daemon does after a crash."""
        live = [task for task in self.deck.tasks.values() if not task.ended]
        groups = (live, self.deck.slices.values(), self.deck.sessions.values(), self.deck.devices.values())
        nouns = [noun for group in (*groups, self.deck.windows.values()) for noun in group]
        copies = [msgspec.json.decode(msgspec.json.encode(noun), type=type(noun)) for noun in nouns]
        fresh = Deck(make_policy(self.policy))
        fresh.restore(copies, now_s=self.deck.now_s, seq=self.deck.seq)
        assert fresh.state() == self.deck.state()
        self.deck = fresh

    @invariant()
    def consistent(self) -> None:
        validate(self.deck)

    @invariant()
    def log_replays_to_the_same_state(self) -> None:
        assert self.twin.state() == self.deck.state()

    @invariant()
    def no_accepted_task_is_lost(self) -> None:
        for task, shots in self.accepted.items():
            known = self.deck.tasks.get(task) or self.twin.tasks.get(task)
            assert known is not None and known.shots == shots

    @invariant()
    def nothing_idles_that_could_work(self) -> None:
        for device in self.deck.devices.values():
            if self.deck.blocked(device) is None and len(device.running) < device.lanes:
                holder = self.deck.exclusive(device.id)
                gap_s = self.deck.gap_s(device)
                for task in self.deck.tasks.values():
                    mine = device.id in task.eligible
                    barred = holder is not None and task.session != holder.id
                    paused = task.not_before_s > self.deck.now_s
                    if task.state != "queued" or not mine or barred or paused:
                        continue
                    least_s = min(min_slice_s(device, self.deck.policy.settings), 1.3 * self.deck.work_s(task, device))
                    too_near = least_s + setup_s(task, device) + device.overhead_s > gap_s
                    assert too_near or not self.deck.fit(device, task, gap_s), f"{task.id} could run on {device.id}"


Attack.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAttack = Attack.TestCase


@pytest.mark.parametrize("name", ["fifo", "priority", "hrrn", "sjf", "fairshare"])
def test_other_policies_too(name: str) -> None:
    policy = type(f"Attack_{name}", (Attack,), {"policy": name})
    fewer = settings(max_examples=30, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(policy, settings=fewer)
