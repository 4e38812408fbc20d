"""Projects, budgets, usage, limits."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from quarterdeck.wire.base import Answer, Class, Request, UserName


class ProjectSet(Request, frozen=True):
    """PUT /v1/projects/NAME: set up a project, or change it as a whole (administrators).

    Attributes:
        share: Its weight in fair shares.
        members: Users who may use it; everybody if there are none.
        classes: What its work may be labelled as; anything if there are none.
    """

    share: Annotated[float, Meta(ge=1e-6, le=1e9)] = 1.0
    members: Annotated[list[UserName], Meta(max_length=10_000)] = msgspec.field(default_factory=list)
    classes: Annotated[list[Class], Meta(max_length=3)] = msgspec.field(default_factory=list)


class BudgetSet(Request, frozen=True):
    """PUT /v1/projects/NAME/budget: what the project, or a user in it, may spend (administrators).

    Attributes:
        user: That user's budget in the project; empty for the whole project's.
        qpu_s: Device seconds; null for no limit.
        shots: Shots; null for no limit.
        period: `month` for each calendar month (UTC); empty for all that is spent since the last reset.
        reset: What was spent so far counts no more.
    """

    user: Annotated[str, Meta(max_length=128, pattern=r"^[^/\x00-\x1f\x7f]*\Z")] = ""
    qpu_s: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    shots: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    period: Literal["", "month"] = ""
    reset: bool = False


class Budget(Answer, frozen=True):
    """What a project, or a user in it, may spend and has spent. None in a limit or in what is left means no limit.

    Attributes:
        spent_qpu_s: Device seconds charged in the period.
        held_qpu_s: Estimates of admitted tasks that have not ended; 0 without a limit.
        left_qpu_s: The limit less what is spent; below 0 after one slice too many.
        anew_s: When the period starts anew; 0 for never.
        total_qpu_s: Device seconds used ever.
        note: What there is to say, such as that nothing is left.
    """

    user: str
    qpu_s: float | None
    shots: int | None
    period: Literal["", "month"]
    spent_qpu_s: float
    spent_shots: int
    held_qpu_s: float
    held_shots: int
    left_qpu_s: float | None
    left_shots: int | None
    anew_s: float
    total_qpu_s: float
    total_shots: int
    note: str = ""


class Project(Answer, frozen=True):
    """A project. The one named `default` is that of all who name none.

    Attributes:
        declared: An administrator set it up; otherwise it is a label that tasks were given.
        recent_qpu_s: Device seconds for fair shares: those of long ago count less.
        users: Each user's part; others than administrators see their own.
    """

    name: str
    declared: bool
    share: float
    members: list[str]
    recent_qpu_s: float
    budget: Budget
    users: list[Budget]
    classes: list[Class] = msgspec.field(default_factory=list)


class ProjectPage(Answer, frozen=True):
    """GET /v1/projects: those that one may use."""

    items: list[Project]


class UsageRow(Answer, frozen=True):
    """What was used. Of the first five, those that the report is not by are empty.

    Attributes:
        qpu_s: Device seconds, set-ups and failed slices included.
        failed_s: Part of `qpu_s` of slices that gave nothing.
        slices: Slices that ended, `failed` of them without giving anything.
        tasks: Tasks whose first slice ended.
    """

    project: str = ""
    user: str = ""
    class_: str = msgspec.field(default="", name="class")
    device: str = ""
    month: str = ""
    qpu_s: float = 0.0
    setup_s: float = 0.0
    failed_s: float = 0.0
    shots: int = 0
    slices: int = 0
    failed: int = 0
    tasks: int = 0


class UsagePage(Answer, frozen=True):
    """GET /v1/usage: sorted by what it is by."""

    items: list[UsageRow]
    by: list[str]


class Limit(Answer, frozen=True):
    """A limit and how much of it the asking user has in use; `allowed` 0 means that there is no limit."""

    name: str
    allowed: float
    used: float
    about: str


class LimitPage(Answer, frozen=True):
    """GET /v1/limits."""

    items: list[Limit]
