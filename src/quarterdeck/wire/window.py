"""Time blocks on devices, and calendars of them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from quarterdeck.wire.base import Answer, Label, Request, WindowKind


class WindowSet(Request, frozen=True):
    """POST /v1/devices/NAME/windows: a time block on a device, in which no task runs, or somebody's tasks only.

    Attributes:
        hard: Nothing starts that cannot end before it.
        slack_s: It may begin so much later: as soon as the device has nothing to do, and keeps its length.
        user, project: Whose a reservation is: tasks of that user, of that project, or of that user for that project.
    """

    kind: WindowKind
    start_s: float
    end_s: float
    hard: bool = True
    reason: Label = ""
    slack_s: Annotated[float, Meta(ge=0)] = 0.0
    user: Label = ""
    project: Label = ""


class Window(Answer, frozen=True):
    """A time block on a device. `calendar`: it is an occurrence of that one; `began_s` is 0 before it began."""

    id: str
    device: str
    kind: WindowKind
    start_s: float
    end_s: float
    hard: bool
    state: Literal["planned", "on", "over"]
    reason: str = ""
    slack_s: float = 0.0
    user: str = ""
    project: str = ""
    calendar: str = ""
    began_s: float = 0.0


class WindowPage(Answer, frozen=True):
    """GET /v1/devices/NAME/windows: what is planned or on, in order of time."""

    items: list[Window]


class CalendarSet(Request, frozen=True):
    """POST /v1/devices/NAME/calendars: windows that recur.

    Attributes:
        rule: When: an RRULE of RFC 5545, such as FREQ=WEEKLY;BYDAY=MO;BYHOUR=3.
        start_s: From when the rule counts; what it leaves open (the minute, the weekday) is taken from there.
        duration_s: How long each window lasts.
        zone: Name of the time zone on whose clocks the rule is read, such as Europe/Paris.
    """

    kind: WindowKind
    rule: Annotated[str, Meta(min_length=1, max_length=500)]
    start_s: float
    duration_s: Annotated[float, Meta(gt=0)]
    zone: Annotated[str, Meta(max_length=100)] = "UTC"
    hard: bool = True
    slack_s: Annotated[float, Meta(ge=0)] = 0.0
    user: Label = ""
    project: Label = ""
    reason: Label = ""


class Calendar(Answer, frozen=True):
    """Windows that recur; the next of them are among the device's windows."""

    id: str
    device: str
    kind: WindowKind
    rule: str
    start_s: float
    duration_s: float
    zone: str
    hard: bool
    state: Literal["set", "cleared"]
    slack_s: float = 0.0
    user: str = ""
    project: str = ""
    reason: str = ""


class CalendarPage(Answer, frozen=True):
    """GET /v1/devices/NAME/calendars."""

    items: list[Calendar]
