"""What can be told of the state: to policies, to users, and to whoever decides."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from quarterdeck.core.accounts import Account
from quarterdeck.core.ledger import Rules
from quarterdeck.core.nouns import Device, Task, Window
from quarterdeck.core.policy import Moment, Place, Policy, slicing
from quarterdeck.core.state import State


def chain_s(device: Device) -> float:
    """Half-life of what a closed session leaves behind: some typical tasks.

    Longer ones would hold against a user's next job what the last one had; shorter ones let a loop that opens a session
    for each round look fresh where tasks are long enough for that to pay.
    """
    return max(1.0, 3.0 * device.typical_s)


class Reads(State):
    """Questions. None changes anything."""

    def __init__(self, policy: Policy | None = None, rules: Rules | None = None) -> None:
        super().__init__(policy, rules)
        self.policy.bind(self)

    def blocked(self, device: Device) -> str | None:
        """Why nothing may start on the device at all, or None: a status, a window's kind, or `paused`.

        A reservation does not count: its holder's tasks run. See `holder`.
        """
        if device.status != "online":
            return device.status
        if self.now_s < device.not_before_s:
            return "paused"
        window = self.timetable.closed_by(device.id)
        return window.kind if window is not None else None

    def window_on(self, device: str) -> Window | None:
        """The calibration or maintenance that the device is in; of several the one that ends last."""
        return self.timetable.closed_by(device)

    def holder(self, device: Device) -> tuple[str, str] | None:
        """User and project (one may be empty) of the reservation that the device is in."""
        reservation = self.timetable.reservation(device.id)
        return reservation.holder if reservation is not None else None

    def gap_s(self, device: Device) -> float:
        """Seconds until nothing may run any more, but for a reservation's holder; 0 in a window, inf if none comes."""
        return self.timetable.gap_s(device.id, self.now_s)

    def gap_for_s(self, device: Device, user: str, project: str) -> float:
        """The same for this user's work for this project, in and across the reservations that it may use."""
        window = self.timetable.next_closing(device.id, user, project)
        return window.latest_s - self.now_s if window is not None else inf

    def fitting_shots(self, device: Device, task: Task) -> int:
        """How many shots the task's next slice may have, to end before the next hard window; 0 if none."""
        return self.fit(device, task, self.gap_for_s(device, task.user, task.project))

    def offers(self, device: Device) -> Iterator[Moment]:
        """What the device has to give now, in order: to whom, and for how long; nothing if it is blocked.

        An exclusive session is alone, but for what it lends while nothing of it is ready. A reservation is its
        holder's; what is the holder's may also start before it, and run across its start.
        """
        if self.blocked(device) is not None:
            return
        reservation = self.timetable.reservation(device.id)
        holder = reservation.holder if reservation is not None else None
        gap_s = self.timetable.gap_s(device.id, self.now_s) if holder is None else self.gap_for_s(device, *holder)
        if device.id in self._exclusive and (session := self.exclusive(device.id)) is not None:
            own_s = self.gap_for_s(device, session.user, session.project)
            yield Moment(device, self.now_s, own_s, session.id, holder)
            if session.lend_s:
                yield Moment(device, self.now_s, min(gap_s, session.lend_s), "", holder)
            return
        yield Moment(device, self.now_s, gap_s, "", holder)
        ahead = self.timetable.next_closing(device.id)
        if holder is None and ahead is not None and ahead.kind == "reservation":
            yield Moment(device, self.now_s, self.gap_for_s(device, *ahead.holder), "", ahead.holder)

    def fit(self, device: Device, task: Task, gap_s: float) -> int:
        """See `policy.Facts`."""
        if gap_s < inf and device.id not in self._exclusive:  # it may run on into its own reservation
            window = self.timetable.next_closing(device.id, task.user, task.project)
            gap_s = max(gap_s, window.latest_s - self.now_s) if window is not None else inf
        alone, settings = self.policy.queued(device.id) <= 1, self.policy.settings
        longest_s = inf if settings.slices else self.timetable.longest_gap_s(device.id)
        return slicing.fit(task, device, self.off(task), gap_s, settings, alone, longest_s)

    def work_s(self, task: Task, device: Device) -> float:
        """See `policy.Facts`."""
        return (task.shots - task.shots_done) * slicing.shot_s(task, device, self.off(task))

    def had(self, task: Task, device: Device) -> tuple[float, float]:
        """See `policy.Facts`."""
        session = self.sessions.get(task.session)
        if session is not None:
            return session.attained_s, min(session.began_s + session.attained_s, task.submitted_s)
        account = self.ledger.accounts.get(f"{task.project}/{task.user}")
        return (account.loose(self.now_s, chain_s(device))[0] if account is not None else 0.0), task.submitted_s

    def off(self, task: Task) -> float:
        """How far its estimate is expected to be off, ln(actual / estimate), from earlier ones of session and user.

        The user's count as one task of the session's: who always declares too little gains by it once.
        """
        if not task.estimate_s:
            return 0.0
        account = self.ledger.accounts.get(f"{task.project}/{task.user}")
        off = account.off if account is not None else 0.0
        session = self.sessions.get(task.session)
        return (off + session.error_sum) / (1 + session.errors) if session is not None else off

    def may_spend(self, task: Task, shots: int, device: Device | None = None) -> bool:
        """Whether its budgets let a slice of so many shots start now (on this device, if not the task's own)."""
        return self.payer_against(task, shots, device) is None

    def payer_against(self, task: Task, shots: int, device: Device | None = None) -> Account | None:
        """The account that does not let a slice start now, or None."""
        if not self.ledger.limited:
            return None
        return self.ledger.denier(device or self.devices[task.device], task, shots, self.now_s)

    def bound_s(self, task: Task, shots: int, device: Device | None = None) -> float:
        """The most that a slice is charged, for `SliceStarted.bound_s`; 0 if no budget pays for it."""
        if not self.ledger.limited:
            return 0.0
        return self.ledger.bound_s(device or self.devices[task.device], task, shots)

    def usage(self, project: str, user: str = "") -> float:
        """See `policy.Facts`; of the whole project without a user."""
        account = self.ledger.accounts.get(f"{project}/{user}" if user else project)
        return account.usage(self.now_s, self.ledger.rules.half_life_s) if account is not None else 0.0

    def share(self, project: str) -> float:
        """See `policy.Facts`."""
        account = self.ledger.accounts.get(project)
        return account.share if account is not None else 1.0

    def unpaid(self, task: Task) -> Account | None:
        """The account that a waiting task waits for, or None."""
        spent = next((a for a in self.ledger.payers(task.project, task.user) if a.exhausted(self.now_s)), None)
        if spent is None and task.id in self.parked:
            return self.ledger.accounts[self.parked.account(task)]
        return spent

    def place(self, task: Task, device: Device) -> Place:
        """Where a waiting task stands on a device: behind others of its account, if that cannot pay."""
        return Place(self.parked.ahead(task), 0.0) if task.id in self.parked else self.policy.place(task, device)

    def queued(self, device: str) -> int:
        """How many tasks wait for the device."""
        return self.policy.queued(device) + self.parked.count(device)

    def wanted(self, device: str) -> bool:
        """Whether any task waits for the device."""
        return self.policy.queued(device) > 0 or self.parked.count(device) > 0
