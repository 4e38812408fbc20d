"""A state machine attacks the core: random legal and illegal events, the invariants after each, the log replayed."""

from __future__ import annotations

from math import inf
from typing import Literal

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from quarterdeck.core import events as ev
from quarterdeck.core.commands import CancelSlice, StartSlice
from quarterdeck.core.deck import Deck
from quarterdeck.core.invariants import Audit, validate
from quarterdeck.core.nouns import Slice, holds
from quarterdeck.core.policy import make_policy
from quarterdeck.core.policy.slicing import min_slice_s, setup_s
from quarterdeck.core.state import Step
from quarterdeck.core.transition import InvalidTransition
from quarterdeck.core.turns import AHEAD_MOST
from quarterdeck.errors import QuarterdeckError

DEVICES = ("one", "two")
USERS = ("ada", "bob")
PROJECTS = ("", "", "atoms", "ions")
OVERHEAD_S = 0.5
WINDOWS: tuple[dict[str, object], ...] = (
    {"kind": "calibration"}, {"kind": "maintenance"}, {"kind": "calibration", "slack_s": 15.0},
    {"kind": "reservation", "user": "ada"}, {"kind": "reservation", "project": "atoms"},
    {"kind": "reservation", "user": "bob", "project": "atoms"},
)  # fmt: skip


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
            self.send(
                ev.DeviceDeclared(
                    at_s=1, device=device, lanes=2, slice_shots=7, shot_rate_hz=1.0, setup_s=1.0, decoders=4
                )
            )

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
        task, project = self.fresh("t"), data.draw(st.sampled_from(PROJECTS))
        both = device == "one" and data.draw(st.booleans())
        event = ev.Submitted(
            at_s=self.now_s, task=task, user=user, device=device, program="p", shots=shots, session=session,
            devices=DEVICES if both else (), register=data.draw(st.sampled_from(["", "a", "b"])),
            estimate_s=data.draw(st.sampled_from([0.0, 0.0, 2.0, 50.0])),
            deadline_s=data.draw(st.sampled_from([0.0, 0.0, self.now_s + 20])),
            min_quality=data.draw(st.sampled_from([0.0, 0.0, 0.5])),
            class_=data.draw(st.sampled_from(["production", "test", "development"])), project=project,
        )  # fmt: skip
        if self.send(event) is not None:
            self.accepted[task] = shots

    @rule(
        device=st.sampled_from(DEVICES),
        user=st.sampled_from(USERS),
        mode=st.sampled_from(["shared", "exclusive", "batch"]),
        ttl_s=st.floats(0.5, 50),
        idle_s=st.sampled_from([0.0, 3.0, 20.0]),
        lend_s=st.sampled_from([0.0, 0.5, 4.0]),
        both=st.booleans(),
        decoders=st.sampled_from([0, 0, 1, 3]),
    )
    def open_session(
        self, device: str, user: str, mode: str, ttl_s: float, idle_s: float, lend_s: float, both: bool, decoders: int
    ) -> None:
        opened = ev.SessionOpened(
            at_s=self.now_s, session=self.fresh("s"), user=user, device=device, ttl_s=ttl_s, mode=mode,  # type: ignore[arg-type]
            idle_s=idle_s, lend_s=lend_s if mode == "exclusive" else 0.0,
            devices=(device, *(other for other in DEVICES if other != device)) if both else (), decoders=decoders,
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

    @rule(
        device=st.sampled_from(DEVICES),
        what=st.sampled_from(WINDOWS),
        ahead_s=st.floats(-5, 40),
        length_s=st.floats(-1, 20),
        hard=st.booleans(),
    )
    def set_window(self, device: str, what: dict[str, object], ahead_s: float, length_s: float, hard: bool) -> None:
        start_s = self.now_s + ahead_s
        event = ev.WindowSet(
            at_s=self.now_s, window=self.fresh("w"), device=device, start_s=start_s, end_s=start_s + length_s,
            hard=hard, **what,  # type: ignore[arg-type]
        )  # fmt: skip
        self.send(event)

    @rule(
        device=st.sampled_from(DEVICES),
        what=st.sampled_from(WINDOWS),
        every=st.sampled_from(["SECONDLY;INTERVAL=20", "MINUTELY", "SECONDLY;INTERVAL=7;COUNT=9", "DAILY"]),
        length_s=st.floats(0, 30),
    )
    def set_calendar(self, device: str, what: dict[str, object], every: str, length_s: float) -> None:
        event = ev.CalendarSet(
            at_s=self.now_s, calendar=self.fresh("c"), device=device, start_s=self.now_s - 5, duration_s=length_s,
            rule=f"FREQ={every}", **what,  # type: ignore[arg-type]
        )  # fmt: skip
        self.send(event)

    @rule(data=st.data())
    def clear_calendar(self, data: st.DataObject) -> None:
        calendar = data.draw(st.sampled_from([*self.deck.calendars, "none"]))
        self.send(ev.CalendarCleared(at_s=self.now_s, calendar=calendar))

    @rule(data=st.data())
    def clear_window(self, data: st.DataObject) -> None:
        self.send(ev.WindowCleared(at_s=self.now_s, window=data.draw(st.sampled_from([*self.deck.windows, "none"]))))

    @rule(data=st.data(), share=st.floats(0, 1.2), qpu_s=st.sampled_from([None, None, 0.0, 0.5, 5.0, 500.0, 1e6]))
    def finish_slice(self, data: st.DataObject, share: float, qpu_s: float | None) -> None:
        key = data.draw(st.sampled_from([*self.started, "none/0"]))
        task, _, index = key.partition("/")
        shots = int(self.started.get(key, 1) * share)
        if qpu_s is None:
            qpu_s = shots * 0.9
        self.send(ev.SliceFinished(at_s=self.now_s, task=task, index=int(index), shots=shots, qpu_s=qpu_s))

    @rule(data=st.data(), kind=st.sampled_from(["rejected", "unavailable", "lost", "fault", "fault", "cancelled"]))
    def fail_slice(self, data: st.DataObject, kind: str) -> None:
        task, _, index = data.draw(st.sampled_from([*self.started, "none/0"])).partition("/")
        self.send(ev.SliceFailed(at_s=self.now_s, task=task, index=int(index), kind=kind, qpu_s=0.25))  # type: ignore[arg-type]

    @rule(project=st.sampled_from(PROJECTS), members=st.sampled_from([(), ("ada",)]), share=st.floats(-1, 9))
    def set_project(self, project: str, members: tuple[str, ...], share: float) -> None:
        self.send(ev.ProjectSet(at_s=self.now_s, project=project, members=members, share=share))

    @rule(project=st.sampled_from(PROJECTS))
    def remove_project(self, project: str) -> None:
        self.send(ev.ProjectRemoved(at_s=self.now_s, project=project))

    @rule(
        project=st.sampled_from(PROJECTS),
        user=st.sampled_from(("", "", *USERS)),
        qpu_s=st.sampled_from([None, 0.0, 1.0, 100.0, 1000.0, -1.0]),
        shots=st.sampled_from([None, None, 0, 10, 100]),
        period=st.sampled_from(["", "month"]),
        reset=st.booleans(),
    )
    def set_budget(
        self, project: str, user: str, qpu_s: float | None, shots: int | None, period: Literal["", "month"], reset: bool
    ) -> None:
        event = ev.BudgetSet(
            at_s=self.now_s, project=project, user=user, qpu_s=qpu_s, shots=shots, period=period, reset=reset
        )
        self.send(event)

    @rule()
    def a_month_goes_by(self) -> None:
        self.now_s += 31 * 86400.0
        self.send(ev.Tick(at_s=self.now_s))

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
        copies = [msgspec.json.decode(msgspec.json.encode(noun), type=type(noun)) for noun in self.deck.nouns()]
        fresh = Deck(make_policy(self.policy))
        fresh.restore(copies, now_s=self.deck.now_s, seq=self.deck.seq)
        assert fresh.state() == self.deck.state()
        self.deck = fresh
        self.send(ev.Tick(at_s=self.now_s))  # the daemon's first event lets the devices be served

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
            for moment in self.deck.offers(device) if len(device.running) < device.lanes else ():
                for task in self.deck.tasks.values():
                    holder = self.deck.exclusive(device.id)
                    lane = task.session if holder is not None and task.session == holder.id else ""
                    mine = device.id in task.eligible and lane == moment.lane and moment.admits(task)
                    paused = task.not_before_s > self.deck.now_s
                    if task.state != "queued" or not mine or paused or self.deck.unpaid(task) is not None:
                        continue
                    least_s = min(min_slice_s(device, self.deck.policy.settings), 1.3 * self.deck.work_s(task, device))
                    too_near = least_s + setup_s(task, device) + device.overhead_s > moment.gap_s
                    fits = self.deck.fit(device, task, moment.gap_s)
                    assert too_near or not fits, f"{task.id} could run on {device.id}"
                for key in self.deck.parked.at(device.id, moment.lane):
                    head = self.deck.parked.head(key)
                    shots = self.deck.fitting_shots(device, head)
                    assert not shots or not self.deck.may_spend(head, shots, device)

    @invariant()
    def what_is_held_is_let_go(self) -> None:
        for account in self.deck.ledger.accounts.values():
            if not any(t.project == account.project and not t.ended for t in self.deck.tasks.values()):
                assert (account.held_us, account.held_shots, account.flights, account.flight_us) == (0, 0, 0, 0)

    @invariant()
    def the_timetable_is_what_the_windows_say(self) -> None:
        table = self.deck.timetable
        for device in self.deck.devices.values():
            mine = [window for window in self.deck.windows.values() if window.device == device.id]
            assert {window.id for window in table.of(device.id)} == {window.id for window in mine}
            on = [window for window in mine if window.state == "on"]
            starts = [window.latest_s for window in mine if window.state == "planned" and window.keeps_away]
            gap_s = max(0.0, min(starts) - self.deck.now_s) if starts else inf
            assert self.deck.gap_s(device) == (0.0 if on else gap_s)
            closing = [window for window in on if window.kind != "reservation"]
            assert (table.closed_by(device.id) is None) == (not closing)

    @invariant()
    def what_recurs_is_planned(self) -> None:
        for calendar in self.deck.calendars.values():
            mine = [w for w in self.deck.timetable.of(calendar.device) if w.calendar == calendar.id]
            assert 1 <= len(mine) <= AHEAD_MOST + 1
            assert "COUNT" in calendar.rule or sum(w.state == "planned" for w in mine) >= 2


class Punctual(RuleBasedStateMachine):
    """Devices that take as long as they say: what must then be true at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.deck, self.audit, self.now_s, self.made = Deck(), Audit(), 1.0, 0
        self.spared: dict[str, set[str]] = {}
        for device in DEVICES:
            declared = ev.DeviceDeclared(
                at_s=1, device=device, lanes=2, slice_shots=7, shot_rate_hz=1.0, setup_s=1.0, overhead_s=OVERHEAD_S
            )
            self.send(declared)
            self.send(ev.DeviceChanged(at_s=1, device=device, status="online"))

    def send(self, event: ev.Event) -> None:
        """Handle an event; a window or an exclusive session spares what was in flight when it came."""
        flying = set(self.deck.slices)
        try:
            step = self.deck.handle(event)
        except QuarterdeckError:
            return
        self.audit.read(step.events)
        for entry in step.events:
            if isinstance(entry, ev.SliceStarted):
                flying.add(f"{entry.task}/{entry.index}")
            elif isinstance(entry, ev.WindowSet | ev.SessionOpened):
                self.spared[entry.window if isinstance(entry, ev.WindowSet) else entry.session] = set(flying)
        self.check()

    def check(self) -> None:
        now_s = self.deck.now_s
        for device in self.deck.devices.values():
            holder = self.deck.exclusive(device.id)
            for key in device.running:
                slice = self.deck.slices[key]
                task, left_s = self.deck.tasks[slice.task], slice.started_s + self.takes_s(slice) - now_s
                for window in self.deck.timetable.of(device.id):
                    others = window.kind != "reservation" or not holds(window.holder, task.user, task.project)
                    new = key not in self.spared[window.id]
                    if window.state == "on" and window.keeps_away and others and new:
                        assert left_s < 1e-6, f"{key} runs in {window} for another {left_s} s"
                if holder is not None and task.session != holder.id and key not in self.spared[holder.id]:
                    assert self.takes_s(slice) <= holder.lend_s + 1e-6

    def takes_s(self, slice: Slice) -> float:
        return OVERHEAD_S + self.deck.devices[slice.device].duration_s(slice.shots)

    @rule(step_s=st.floats(0, 30))
    def time_goes_by(self, step_s: float) -> None:
        until_s = self.now_s + step_s
        while True:
            ends = ((s.started_s + self.takes_s(s), s.task, s.index, s.shots) for s in self.deck.slices.values())
            end_s, task, index, shots = min(ends, default=(inf, "", 0, 0))
            alarm_s = self.deck.next_alarm_s()
            if min(end_s, inf if alarm_s is None else alarm_s) > until_s:
                break
            if alarm_s is not None and alarm_s < end_s:
                self.send(ev.Tick(at_s=alarm_s))
            else:
                finished = ev.SliceFinished(
                    at_s=end_s, task=task, index=index, shots=shots, qpu_s=1.0 + shots, setup_s=1.0
                )
                self.send(finished)
        self.now_s = until_s
        self.send(ev.Tick(at_s=until_s))

    @rule(
        device=st.sampled_from(DEVICES), user=st.sampled_from(USERS), project=st.sampled_from(PROJECTS),
        shots=st.integers(1, 30), own=st.booleans(),
    )  # fmt: skip
    def submit(self, device: str, user: str, project: str, shots: int, own: bool) -> None:
        mine = (s.id for s in self.deck.sessions.values() if s.user == user and s.device == device)
        event = ev.Submitted(
            at_s=self.now_s, task=self.fresh("t"), user=user, device=device, program="p", shots=shots,
            session=next(mine, "") if own else "", project=project,
        )  # fmt: skip
        self.send(event)

    @rule(
        device=st.sampled_from(DEVICES), what=st.sampled_from(WINDOWS), ahead_s=st.floats(-5, 60),
        length_s=st.floats(0.1, 20),
    )  # fmt: skip
    def set_window(self, device: str, what: dict[str, object], ahead_s: float, length_s: float) -> None:
        start_s = self.now_s + ahead_s
        event = ev.WindowSet(
            at_s=self.now_s, window=self.fresh("w"), device=device, start_s=start_s, end_s=start_s + length_s, **what  # type: ignore[arg-type]
        )  # fmt: skip
        self.send(event)

    @rule(device=st.sampled_from(DEVICES), what=st.sampled_from(WINDOWS), every_s=st.sampled_from([20, 45]))
    def set_calendar(self, device: str, what: dict[str, object], every_s: int) -> None:
        event = ev.CalendarSet(
            at_s=self.now_s, calendar=self.fresh("c"), device=device, start_s=self.now_s, duration_s=8.0,
            rule=f"FREQ=SECONDLY;INTERVAL={every_s};COUNT=4", **what,  # type: ignore[arg-type]
        )  # fmt: skip
        self.send(event)

    @rule(
        device=st.sampled_from(DEVICES), user=st.sampled_from(USERS), ttl_s=st.floats(1, 90),
        idle_s=st.sampled_from([0.0, 5.0]), lend_s=st.sampled_from([0.0, 2.0, 4.0]),
    )  # fmt: skip
    def open_exclusive(self, device: str, user: str, ttl_s: float, idle_s: float, lend_s: float) -> None:
        opened = ev.SessionOpened(
            at_s=self.now_s, session=self.fresh("s"), user=user, device=device, ttl_s=ttl_s, mode="exclusive",
            idle_s=idle_s, lend_s=lend_s,
        )  # fmt: skip
        self.send(opened)

    def fresh(self, kind: str) -> str:
        self.made += 1
        return f"{kind}{self.made}"


for machine in (Attack, Punctual):
    machine.TestCase.settings = settings(
        max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
    )
TestAttack = Attack.TestCase
TestPunctual = Punctual.TestCase


@pytest.mark.parametrize("name", ["fifo", "priority", "hrrn", "sjf", "fairshare"])
def test_other_policies_too(name: str) -> None:
    policy = type(f"Attack_{name}", (Attack,), {"policy": name})
    fewer = settings(max_examples=30, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(policy, settings=fewer)
