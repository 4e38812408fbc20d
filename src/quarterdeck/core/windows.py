"""The windows of every device: what is planned and what is on, found without looking at any other device's."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from itertools import pairwise
from math import inf

from quarterdeck.core import events as ev
from quarterdeck.core.nouns import Session, Window, holds
from quarterdeck.errors import Conflict, Invalid

LONGEST_S = 30 * 86400.0
"""Length of the longest window, and the longest slack."""
FARTHEST_S = 10 * 366 * 86400.0
"""How far ahead a window may be planned."""
NOBODY = ("", "")

_Order = dict[str, list[tuple[float, str]]]


class Timetable:
    """Windows by id, and per device in order of time. Questions about a device cost O(1) while few are ahead of it."""

    def __init__(self) -> None:
        self.windows: dict[str, Window] = {}
        self._planned: _Order = {}  # by start
        self._hard: _Order = {}  # those that others keep away from, by latest start
        self._on: dict[str, list[Window]] = {}
        self._longest_gaps: dict[str, float] = {}  # as far as they were asked for since the last change

    # -- changes --------------------------------------------------------------------------------------------------

    def add(self, window: Window) -> None:
        """Take in a window as it is: planned, or on."""
        self.windows[window.id] = window
        self._longest_gaps.pop(window.device, None)
        if window.state == "on":
            self._on.setdefault(window.device, []).append(window)
            return
        insort(self._planned.setdefault(window.device, []), (window.start_s, window.id))
        if window.keeps_away:
            insort(self._hard.setdefault(window.device, []), (window.latest_s, window.id))

    def begin(self, window: Window) -> None:
        """A planned window is on now."""
        self._unplan(window)
        self._longest_gaps.pop(window.device, None)
        self._on.setdefault(window.device, []).append(window)

    def remove(self, window: Window) -> None:
        """A window is over, or off."""
        del self.windows[window.id]
        self._longest_gaps.pop(window.device, None)
        if window.state == "planned":
            self._unplan(window)
            return
        on = self._on[window.device]
        on.remove(window)
        if not on:
            del self._on[window.device]

    def _unplan(self, window: Window) -> None:
        _take(self._planned, window.device, (window.start_s, window.id))
        if window.keeps_away:
            _take(self._hard, window.device, (window.latest_s, window.id))

    # -- questions ------------------------------------------------------------------------------------------------

    def closed_by(self, device: str) -> Window | None:
        """The calibration or maintenance that the device is in; of several the one that ends last."""
        on = self._on.get(device)
        if not on:
            return None
        closing = [window for window in on if window.kind != "reservation"]
        return max(closing, key=lambda window: window.end_s) if closing else None

    def reservation(self, device: str) -> Window | None:
        """The reservation that is on; of several, all of one holder, the one that ends last."""
        on = self._on.get(device)
        if not on:
            return None
        kept = [window for window in on if window.kind == "reservation"]
        return max(kept, key=lambda window: window.end_s) if kept else None

    def next_closing(self, device: str, user: str = "", project: str = "") -> Window | None:
        """The first planned window by whose latest start this user's work for this project must have ended."""
        for _, id in self._hard.get(device, ()):
            window = self.windows[id]
            if window.kind != "reservation" or not holds(window.holder, user, project):
                return window
        return None

    def gap_s(self, device: str, now_s: float) -> float:
        """Seconds until nothing of no reservation's holder may run any more; 0 in a window, inf if none is planned."""
        if self._on.get(device):
            return 0.0
        hard = self._hard.get(device)
        return max(0.0, hard[0][0] - now_s) if hard else inf

    def longest_gap_s(self, device: str) -> float:
        """The longest time between two hard windows that are known; inf with fewer than two."""
        longest_s = self._longest_gaps.get(device)
        if longest_s is None:
            hard = sorted((window.start_s, window.end_s) for window in self.of(device) if window.keeps_away)
            longest_s = max((after[0] - before[1] for before, after in pairwise(hard)), default=inf)
            self._longest_gaps[device] = longest_s
        return longest_s

    def may_begin(self, device: str, now_s: float) -> Window | None:
        """A movable window whose time has come, and that waits for the device to have nothing to do."""
        planned = self._planned.get(device)
        return self.windows[planned[0][1]] if planned and planned[0][0] <= now_s else None

    def upcoming(self, device: str) -> Window | None:
        """The planned window that may begin first."""
        planned = self._planned.get(device)
        return self.windows[planned[0][1]] if planned else None

    def of(self, device: str) -> list[Window]:
        """What is on, and then what is planned, in order of time."""
        return [*self._on.get(device, ()), *(self.windows[id] for _, id in self._planned.get(device, ()))]

    def foreign(self, device: str, user: str, project: str, from_s: float, to_s: float) -> Window | None:
        """The first reservation between these times that is not of this user's work for this project."""
        found = (
            window
            for window in self.of(device)
            if window.kind == "reservation" and window.start_s < to_s and window.end_s > from_s
            and not holds(window.holder, user, project)
        )  # fmt: skip
        return min(found, key=lambda window: window.start_s, default=None)

    def contested(self, device: str, holder: tuple[str, str], start_s: float, end_s: float) -> Window | None:
        """A reservation of another holder that overlaps these times."""
        for window in self.of(device):
            overlaps = window.start_s < end_s and window.end_s > start_s
            if window.kind == "reservation" and overlaps and window.holder != holder:
                return window
        return None


def _take(order: _Order, device: str, entry: tuple[float, str]) -> None:
    entries = order[device]
    del entries[bisect_left(entries, entry)]
    if not entries:
        del order[device]


def check_kind(event: ev.WindowSet | ev.CalendarSet, length_s: float) -> None:
    """Raise `Invalid` for a window of this length that cannot be, whatever else there is."""
    if length_s > LONGEST_S:
        where = "$.end_s" if isinstance(event, ev.WindowSet) else "$.duration_s"
        raise Invalid(where, f"a window may last for {LONGEST_S / 86400:.0f} days, not for {length_s / 86400:.0f}")
    if not event.start_s <= event.at_s + FARTHEST_S:
        raise Invalid("$.start_s", "is more than ten years ahead")
    if isinstance(event, ev.CalendarSet) and event.start_s < 0:
        raise Invalid("$.start_s", "is before 1970")
    if not 0 <= event.slack_s <= LONGEST_S:
        raise Invalid("$.slack_s", f"must be from 0 to {LONGEST_S:.0f}")
    if event.kind == "reservation":
        if not event.user and not event.project:
            raise Invalid("$.user", "a reservation is for somebody: name a user, a project, or both")
        if event.slack_s:
            raise Invalid("$.slack_s", "a reservation begins when it says; only other windows are movable")
    elif event.user or event.project:
        raise Invalid("$.user", f"nobody may use the device in a {event.kind}; a reservation is for somebody")


def check_window(event: ev.WindowSet, timetable: Timetable, exclusive: Session | None) -> None:
    """Raise `Conflict` or `Invalid` unless the window can be set. `exclusive`: the session that holds the device."""
    if event.window in timetable.windows:
        raise Conflict(f"window {event.window} exists already")
    if not event.start_s < event.end_s:
        raise Conflict("a window must end after it starts")
    if not event.at_s < event.end_s:
        raise Conflict("the window lies in the past")
    check_kind(event, event.end_s - event.start_s)
    if event.kind == "reservation":
        check_reservation(event, [(event.start_s, event.end_s)], timetable, exclusive)


def check_reservation(
    event: ev.WindowSet | ev.CalendarSet, times: Iterable[tuple[float, float]], timetable: Timetable,
    exclusive: Session | None,
) -> None:  # fmt: skip
    """Raise `Conflict` if a reservation at these times would take the device from somebody who was promised it."""
    for start_s, end_s in times:
        other = timetable.contested(event.device, (event.user, event.project), start_s, end_s)
        if other is not None:
            raise Conflict(f"reservation {other.id} is for {whom(other.holder)} at that time; clear it first")
        if exclusive is None or holds((event.user, event.project), exclusive.user, exclusive.project):
            continue
        if start_s < exclusive.expires_s and end_s > event.at_s:
            raise Conflict(
                f"exclusive session {exclusive.id} of {exclusive.user} has {event.device} then; let the reservation "
                "start later, or close the session"
            )


def whom(holder: tuple[str, str]) -> str:
    """A holder for people."""
    user, project = holder
    return f"{user} in project {project}" if user and project else user or f"project {project}"
