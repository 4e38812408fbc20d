"""Who pays: accounts of projects and of users in them, and what was used in each month."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from quarterdeck.core import month as months
from quarterdeck.core.nouns import Task

US = 1_000_000
"""Microseconds in a second. What is held and in flight is counted in whole ones, so that sums are exact."""


class Account(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a project, or a user in a project, may spend and has spent.

    Attributes:
        id: The project's name, or "project/user". The project "" is that of all who name none.
        declared: An administrator set it up; others came into being by being used.
        share: The project's weight in fair shares.
        members: Users who may use the project; empty for everybody.
        classes: Classes that its work may have; empty for all.
        period: "" counts what is spent since the last reset, "month" in the present calendar month (UTC).
        budget_qpu_s: Most device seconds in the period; None for no limit.
        spent_qpu_s: Device seconds charged since the last reset; `month_qpu_s` those charged in `month`.
        total_qpu_s: Device seconds used ever, charged or not.
        held_us: Estimates of admitted tasks that have not ended, in microseconds (whole numbers: sums are exact).
            Kept, like `held_shots` and the rest, only while the account has a budget.
        flights: Slices in flight, with their bounds and shots.
        usage_s: Device seconds that decay, as of `usage_at_s`.
        loose_s, loose_waited_s: What sessions that closed had had and waited, as of `loose_at_s`; it decays, and the
            next session takes it over. So opening a new one for each round gains nothing.
        errors, error: Estimated tasks that ended (up to 50), and the moving mean of their ln(actual / estimate).
    """

    id: str
    project: str
    user: str = ""
    declared: bool = False
    share: float = 1.0
    members: tuple[str, ...] = ()
    classes: tuple[Literal["production", "test", "development"], ...] = ()
    period: Literal["", "month"] = ""
    budget_qpu_s: float | None = None
    budget_shots: int | None = None
    spent_qpu_s: float = 0.0
    spent_shots: int = 0
    month: int = 0
    month_qpu_s: float = 0.0
    month_shots: int = 0
    total_qpu_s: float = 0.0
    total_shots: int = 0
    held_us: int = 0
    held_shots: int = 0
    flights: int = 0
    flight_us: int = 0
    flight_shots: int = 0
    usage_s: float = 0.0
    usage_at_s: float = 0.0
    loose_s: float = 0.0
    loose_waited_s: float = 0.0
    loose_at_s: float = 0.0
    errors: int = 0
    error: float = 0.0
    state: Literal["open", "removed"] = "open"

    @property
    def limited(self) -> bool:
        """It has a budget."""
        return self.budget_qpu_s is not None or self.budget_shots is not None

    @property
    def held_qpu_s(self) -> float:
        return self.held_us / US

    @property
    def off(self) -> float:
        """How far the user's estimates are off, ln(actual / estimate); towards 0 as long as few are known."""
        return self.error * self.errors / (self.errors + 5)

    def covers(self, task: Task) -> bool:
        """It pays for the task."""
        return task.project == self.project and self.user in ("", task.user)

    def spent(self, now_s: float) -> tuple[float, int]:
        """Device seconds and shots spent in the period."""
        if self.period == "":
            return self.spent_qpu_s, self.spent_shots
        return (self.month_qpu_s, self.month_shots) if self.month == months.month_of(now_s) else (0.0, 0)

    def left(self, now_s: float) -> tuple[float | None, int | None]:
        """Device seconds and shots not spent yet, below 0 after one slice too many; None without a limit."""
        qpu_s, shots = self.spent(now_s)
        return (
            None if self.budget_qpu_s is None else self.budget_qpu_s - qpu_s,
            None if self.budget_shots is None else self.budget_shots - shots,
        )

    def exhausted(self, now_s: float) -> bool:
        """Nothing is left: no work starts."""
        left_s, left_shots = self.left(now_s)
        return (left_s is not None and left_s <= 0) or (left_shots is not None and left_shots <= 0)

    def fits(self, now_s: float, bound_us: int, shots: int) -> bool:
        """Whether a slice may start that is charged at most so much."""
        left_s, left_shots = self.left(now_s)
        if self.exhausted(now_s):
            return False
        if not self.flights:
            return True
        return (left_s is None or (self.flight_us + bound_us) / US <= left_s) and (
            left_shots is None or self.flight_shots + shots <= left_shots
        )

    def charge(self, at_s: float, month: int, qpu_s: float, used_s: float, shots: int, half_life_s: float) -> None:
        """Enter `used_s` device seconds, of which `qpu_s` are charged; `month` is the one of `at_s`."""
        if month != self.month:
            self.month, self.month_qpu_s, self.month_shots = month, 0.0, 0
        self.spent_qpu_s += qpu_s
        self.spent_shots += shots
        self.month_qpu_s += qpu_s
        self.month_shots += shots
        self.total_qpu_s += used_s
        self.total_shots += shots
        if at_s > self.usage_at_s:
            self.usage_s *= math.exp2((self.usage_at_s - at_s) / half_life_s)
        self.usage_s += used_s
        self.usage_at_s = at_s

    def loose(self, now_s: float, half_life_s: float) -> tuple[float, float]:
        """What sessions that closed of late had had, and waited, in seconds."""
        if not self.loose_s:
            return 0.0, 0.0
        part = 2.0 ** (-max(0.0, now_s - self.loose_at_s) / half_life_s)
        return part * self.loose_s, part * self.loose_waited_s

    def usage(self, now_s: float, half_life_s: float) -> float:
        """Device seconds, those of long ago counting less."""
        age_s = now_s - self.usage_at_s
        return self.usage_s * math.exp2(-age_s / half_life_s) if age_s > 0.0 else self.usage_s


class Usage(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """What one user used of one device in one month, in one project and class. Time counts when a slice ends.

    Attributes:
        month: Such as `2026-11` (UTC).
        setup_s: Part of `qpu_s` that went into set-ups.
        failed_s: Part of `qpu_s` that went into slices that gave nothing.
        slices: Slices that ended; `failed` of them gave nothing.
        tasks: Tasks whose first slice ended.
        open: The month is not over as far as is known.
    """

    month: str
    project: str
    user: str
    class_: str = msgspec.field(name="class")
    device: str
    qpu_s: float = 0.0
    setup_s: float = 0.0
    failed_s: float = 0.0
    shots: int = 0
    slices: int = 0
    failed: int = 0
    tasks: int = 0
    open: bool = True

    @property
    def id(self) -> str:
        return f"{self.month}\t{self.project}\t{self.user}\t{self.class_}\t{self.device}"
