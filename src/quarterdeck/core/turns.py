"""What time brings about by itself: windows that begin and end, calendars that plan, leases and idle times that end."""

from __future__ import annotations

from heapq import heappop
from itertools import islice

from quarterdeck.core import events as ev
from quarterdeck.core.books import Books
from quarterdeck.core.calendar import LOOKED_AT, check_rule, occurrences
from quarterdeck.core.commands import BeginWindow, EndWindow
from quarterdeck.core.nouns import Calendar, Device, Session, Task, Window
from quarterdeck.core.windows import check_kind, check_reservation
from quarterdeck.errors import Conflict, Invalid

AHEAD = 2
"""Occurrences of a calendar that are planned at any time, and all that start within `AHEAD_S`, up to `AHEAD_MOST`."""
AHEAD_S = 86400.0
AHEAD_MOST = 32


class Turns(Books):
    """The part of the deck that decides when."""

    def _follow(self, event: ev.Event) -> None:
        """Decide what an event brings about beyond its own bookkeeping."""
        raise NotImplementedError

    def _unpark_all(self, id: str) -> None:
        """An account can pay again."""
        raise NotImplementedError

    def _keep_deadline(self, task: Task) -> None:
        """What is not done by its deadline is of no use to anybody: it makes way."""
        if task.deadline_s and task.deadline_s <= self.now_s and task.state == "queued":
            said = f"its deadline passed with {task.remaining} of {task.shots} shots left"
            self._record(ev.TaskFailed(at_s=self.now_s, task=task.id, code="deadline_missed", message=said))

    def _decide(self, event: ev.Event) -> None:
        self._record(event)
        self._follow(event)

    def _pass_time(self) -> None:
        """Let everything happen whose time has come, in order."""
        while self._alarms and self._alarms[0][0] <= self.now_s:
            _, kind, id = heappop(self._alarms)
            if kind == "device":
                self._due[id] = None
            elif kind == "task" and (task := self.tasks.get(id)):
                self._keep_deadline(task)
            elif kind == "account":
                self._unpark_all(id)
            elif kind == "session" and (session := self.sessions.get(id)):
                self._turn_session(session)
            elif kind == "idle" and (session := self.sessions.get(id)):
                self._turn_idle(session)
            elif kind == "window" and (window := self.windows.get(id)):
                self._turn_window(window)

    # -- sessions -------------------------------------------------------------------------------------------------

    def _turn_session(self, session: Session) -> None:
        if session.expires_s > self.now_s:
            self._alarm(session.expires_s, "session", session.id)
        elif session.mode == "batch" and (
            session.id in self._session_tasks or (session.used and session.active_s is not None)
        ):
            self._record(ev.SessionRenewed(at_s=self.now_s, session=session.id))
            self._alarm(session.expires_s, "session", session.id)
        else:
            self._decide(ev.SessionClosed(at_s=self.now_s, session=session.id, reason="expired"))

    def _turn_idle(self, session: Session) -> None:
        self._idle_alarms.discard(session.id)
        if session.active_s is None:
            return  # it is at work, or its device is away: the alarm is set again when the clock runs again
        if session.active_s + session.idle_s <= self.now_s:
            self._decide(ev.SessionClosed(at_s=self.now_s, session=session.id, reason="idle"))
        else:
            self._idle_alarm(session)

    def _renewal(self, event: ev.SessionRenewed) -> ev.SessionRenewed:
        """The renewal as it can be granted: an exclusive lease ends where somebody else's reservation starts."""
        session = self.sessions[event.session]
        expires_s = event.expires_s or event.at_s + session.ttl_s
        if session.mode == "exclusive":
            other = self.timetable.foreign(session.device, session.user, session.project, event.at_s, expires_s)
            if other is not None:
                return ev.SessionRenewed(at_s=event.at_s, session=session.id, expires_s=other.start_s)
        return ev.SessionRenewed(at_s=event.at_s, session=session.id, expires_s=event.expires_s)

    def _check_opening(self, event: ev.SessionOpened) -> None:
        """Raise `Conflict` if a session would get what somebody else has, or was promised."""
        if event.decoders:
            device = self.devices[event.device]
            if event.devices:
                raise Conflict("a session that reserves decoders is on one device, whose real-time host has them")
            if event.decoders > (free := self.free_decoders(device)):
                has = f"has {free} of {device.decoders} decoders free" if device.decoders else "has no real-time host"
                raise Conflict(f"device {device.id} {has}, not {event.decoders}")
        if event.mode != "exclusive":
            return
        if self._exclusive.get(event.device):
            raise Conflict(f"device {event.device} is held by another exclusive session")
        until_s = event.at_s + event.ttl_s
        other = self.timetable.foreign(event.device, event.user, event.project, event.at_s, until_s)
        if other is not None:
            left_s = other.start_s - event.at_s
            told = f"in {left_s:.0f} s; ask for a lease that ends before" if left_s > 0 else "now"
            raise Conflict(f"device {event.device} is reserved for somebody else {told}")

    # -- windows --------------------------------------------------------------------------------------------------

    def _turn_window(self, window: Window) -> None:
        if window.state == "on":
            if window.end_s <= self.now_s:
                self._decide(ev.WindowCleared(at_s=self.now_s, window=window.id))
        elif window.end_s + window.slack_s <= self.now_s:  # time jumped over it: it never was on
            self._decide(ev.WindowCleared(at_s=self.now_s, window=window.id))
        elif window.latest_s <= self.now_s:
            self._begin(window, window.latest_s)
        elif window.start_s <= self.now_s:  # movable: it begins when the device has nothing to do
            self._due[window.device] = None

    def _begin(self, window: Window, from_s: float) -> None:
        end_s = from_s + (window.end_s - window.start_s) if window.slack_s else window.end_s
        moved_s = 0.0 if end_s == window.end_s else end_s
        self._record(ev.WindowBegan(at_s=self.now_s, window=window.id, end_s=moved_s))
        if window.kind != "reservation":
            begin = BeginWindow(device=window.device, window=window.id, kind=window.kind, end_s=window.end_s)
            self._step.commands.append(begin)
        self._plan(window.calendar)

    def _begin_idle(self, device: Device) -> None:
        """Begin a movable window whose time has come: nothing runs, and nothing was found to start."""
        if (window := self.timetable.may_begin(device.id, self.now_s)) is not None:
            self._begin(window, max(self.now_s, window.start_s))

    def _end_window(self, window: Window) -> None:
        """What follows when a window is over."""
        if window.began_s and window.kind != "reservation":
            self._step.commands.append(EndWindow(device=window.device, window=window.id))
        if not window.began_s or not self._planned(window.device, window.calendar):  # else planned when it began
            self._plan(window.calendar)

    # -- calendars ------------------------------------------------------------------------------------------------

    def _check_calendar(self, event: ev.CalendarSet) -> None:
        """Raise `Conflict` or `Invalid` unless the calendar can be set."""
        if event.calendar in self.calendars:
            raise Conflict(f"calendar {event.calendar} exists already")
        if not event.duration_s > 0:
            raise Conflict("a window must end after it starts")
        check_kind(event, event.duration_s)
        length_s = event.duration_s + event.slack_s
        check_rule(event.rule, event.start_s, event.zone, event.at_s - event.duration_s, length_s)
        if event.kind == "reservation":
            starts = self._next(_calendar(event), event.at_s, contested=True)
            times = [(start_s, start_s + event.duration_s) for start_s in starts]
            check_reservation(event, times, self.timetable, self.exclusive(event.device))

    def _next(self, calendar: Calendar, now_s: float, contested: bool = False) -> list[float]:
        """Starts to plan: the next two, and what starts within a day.

        A reservation for a time that somebody else was promised before is left out, unless `contested`.
        """
        holder = (calendar.user, calendar.project)
        planned = sum(window.state == "planned" for window in self._planned(calendar.device, calendar.id))
        starts: list[float] = []
        # What ended already is not planned any more: time may have jumped over any number of them.
        after_s = max(calendar.planned_s, now_s - calendar.duration_s)
        found = occurrences(calendar.rule, calendar.start_s, calendar.zone, after_s)
        for start_s in islice(found, LOOKED_AT):
            ahead = planned + len(starts)
            if ahead >= AHEAD_MOST or (ahead >= AHEAD and start_s > now_s + AHEAD_S):
                break
            end_s = start_s + calendar.duration_s
            taken = calendar.kind == "reservation" and self.timetable.contested(calendar.device, holder, start_s, end_s)
            if contested or not taken:
                starts.append(start_s)
        return starts

    def _plan(self, id: str) -> None:
        """Plan a calendar's next windows; clear it when nothing is left of it."""
        calendar = self.calendars.get(id)
        if calendar is None:
            return
        try:
            starts = self._next(calendar, self.now_s)
        except Invalid:  # it was checked when it was set; the time zone database may have changed since
            starts = []
        for start_s in starts:
            window = ev.WindowSet(
                at_s=self.now_s, window=f"{id}-{start_s:.0f}", device=calendar.device, kind=calendar.kind,
                start_s=start_s, end_s=start_s + calendar.duration_s, hard=calendar.hard, reason=calendar.reason,
                slack_s=calendar.slack_s, user=calendar.user, project=calendar.project, calendar=id,
            )  # fmt: skip
            self._record(window)
        if not self._planned(calendar.device, id):
            self._record(ev.CalendarCleared(at_s=self.now_s, calendar=id))

    def _planned(self, device: str, calendar: str) -> list[Window]:
        """The calendar's windows that are planned or on."""
        return [window for window in self.timetable.of(device) if window.calendar == calendar]

    def _unplan(self, calendar: Calendar) -> None:
        """Clear the windows that a cleared calendar planned, but for one that is on."""
        for window in self._planned(calendar.device, calendar.id):
            if window.state == "planned":
                self._record(ev.WindowCleared(at_s=self.now_s, window=window.id))


def _calendar(event: ev.CalendarSet) -> Calendar:
    """The record of a calendar that was just set."""
    return Calendar(
        id=event.calendar, device=event.device, kind=event.kind, rule=event.rule, start_s=event.start_s,
        duration_s=event.duration_s, zone=event.zone, hard=event.hard, slack_s=event.slack_s, user=event.user,
        project=event.project, reason=event.reason,
    )  # fmt: skip
