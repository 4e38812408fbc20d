"""What the core refuses, and why: requests that cannot be granted, reports that cannot be true."""

from __future__ import annotations

from math import inf

from quarterdeck.core import events as ev
from quarterdeck.core.ledger import estimate_us
from quarterdeck.core.nouns import Device
from quarterdeck.core.transition import TASK, InvalidTransition, check
from quarterdeck.core.turns import Turns
from quarterdeck.core.windows import check_window
from quarterdeck.errors import Conflict, NotFound


class Admission(Turns):
    """The part of the deck that looks at an event before anything changes."""

    def _check(self, event: ev.Event) -> None:
        """Refuse what must not happen, before anything changes."""
        match event:
            case ev.Submitted():
                self._known(event.device)
                for device in event.devices:
                    self._known(device)
                if event.task in self.tasks:
                    raise Conflict(f"task {event.task} exists already")
                self._afford(event)
                if event.devices and event.devices[0] != event.device:
                    raise Conflict("the task's device is not the first of its choice")
                if event.deadline_s and event.deadline_s <= max(event.at_s, self.now_s):
                    raise Conflict("the deadline is over already")
                if event.session:
                    session = self.sessions.get(event.session)
                    if session is None or session.user != event.user:
                        raise NotFound("open session", event.session)
                    for device in (event.device, *event.devices):
                        if device not in session.eligible:
                            has = " or ".join(session.eligible)
                            raise Conflict(f"session {session.id} is on device {has}, not {device}")
            case ev.SliceFinished() | ev.SliceFailed() | ev.SliceAccepted():
                slice = self._running(event.task, event.index)
                if type(event) is ev.SliceFinished and not 0 <= event.shots <= slice.shots:
                    raise InvalidTransition("slice", slice.key, f"of {slice.shots} shots", f"one of {event.shots}")
            case ev.SessionOpened():
                for device in (event.device, *event.devices):
                    self._known(device)
                if event.devices and (event.mode == "exclusive" or event.devices[0] != event.device):
                    raise Conflict("an exclusive session has one device; others have theirs first among their choice")
                if event.session in self.sessions:
                    raise Conflict(f"session {event.session} exists already")
                self.ledger.welcome(event.project, event.user, event.class_)
                if event.mode == "exclusive":  # it would keep the device from others and run nothing
                    self.ledger.admit(event.project, event.user, 0, 0, max(event.at_s, self.now_s))
                self._check_opening(event)
            case ev.SessionRenewed() | ev.SessionClosed():
                if event.session not in self.sessions:
                    raise NotFound("open session", event.session)
            case ev.WindowSet():
                self._known(event.device)
                check_window(event, self.timetable, self.exclusive(event.device))
            case ev.CalendarSet():
                self._known(event.device)
                self._check_calendar(event)
            case ev.CalendarCleared():
                if event.calendar not in self.calendars:
                    raise NotFound("calendar", event.calendar)
            case ev.WindowCleared():
                if event.window not in self.windows:
                    raise NotFound("window", event.window)
            case ev.DeviceChanged() | ev.DeviceRetired() | ev.DevicePaused():
                if event.device not in self.devices:
                    raise NotFound("device", event.device)
            case ev.TaskImported():
                self._known(event.device)
                if event.task in self.tasks:
                    raise Conflict(f"task {event.task} exists already")
            case ev.Cancelled():
                task = self.tasks.get(event.task)
                if task is None:
                    raise NotFound("task", event.task)
                check(TASK, "task", task.id, task.state, "cancelled" if task.state == "queued" else "cancelling")
            case ev.ProjectSet():
                if "/" in event.project or not 1e-6 <= event.share <= 1e9:
                    raise Conflict("a project's name has no slash, and its share is from 1e-6 to 1e9")
            case ev.BudgetSet():
                account = self.ledger.accounts.get(event.project)
                if event.project and (account is None or not account.declared):
                    raise NotFound("project", event.project)
                if account is not None and event.user and account.members and event.user not in account.members:
                    raise Conflict(f"{event.user} is no member of project {event.project}")
                if not 0 <= (event.qpu_s or 0.0) < inf or (event.shots or 0) < 0:
                    raise Conflict("a budget is 0 or more device seconds or shots")
            case ev.ProjectRemoved():
                if event.project not in self.ledger.accounts or not self.ledger.accounts[event.project].declared:
                    raise NotFound("project", event.project)
                live = sum(task.project == event.project and not task.ended for task in self.tasks.values())
                open_ = sum(session.project == event.project for session in self.sessions.values())
                if live or open_:
                    raise Conflict(f"project {event.project} has {live} tasks and {open_} sessions that have not ended")
            case _:
                pass

    def _afford(self, event: ev.Submitted) -> None:
        """Raise unless the user may work in the project and the budgets bear the task."""
        self.ledger.welcome(event.project, event.user, event.class_)
        if self.ledger.limited:
            estimate = estimate_us(self.devices[event.device], event.estimate_s, event.shots, event.shots)
            self.ledger.admit(event.project, event.user, estimate, event.shots, max(event.at_s, self.now_s))

    def _known(self, device: str) -> Device:
        known = self.devices.get(device)
        if known is None or not known.declared:
            raise NotFound("device", device)
        return known
