"""Windows and calendars of devices: what the front desk does about them."""

from __future__ import annotations

import re
from collections.abc import Callable

from quarterdeck import wire
from quarterdeck.core import events as ev
from quarterdeck.daemon import view
from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.engine import Engine
from quarterdeck.daemon.projects import core_name
from quarterdeck.errors import Forbidden, Invalid, NotFound

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Windows:
    """Serves requests about windows and calendars. Everybody sees them; administrators set and clear them."""

    def __init__(self, engine: Engine, new_id: Callable[[str], str]) -> None:
        self._engine = engine
        self._new_id = new_id

    def list(self, device: str) -> wire.WindowPage:
        """The time blocks of a device that are planned or on. Raises `NotFound`."""
        mine = sorted(self._engine.deck.timetable.of(self._device(device)), key=lambda window: window.start_s)
        return wire.WindowPage(items=[view.window(window) for window in mine])

    async def set(self, actor: Actor, device: str, request: wire.WindowSet) -> wire.Window:
        """Set a time block on a device; durable on return. Raises `Conflict` or `Invalid` if it cannot be."""
        _administrator(actor)
        _check_labels(request)
        event = ev.WindowSet(
            at_s=self._engine.now(), window=self._new_id("w"), device=self._device(device), kind=request.kind,
            start_s=request.start_s, end_s=request.end_s, hard=request.hard, reason=request.reason,
            slack_s=request.slack_s, user=request.user, project=request.project,
        )  # fmt: skip
        step = await self._engine.commit(event)
        return view.window(step.windows[event.window])

    async def clear(self, actor: Actor, id: str) -> wire.Window:
        """Take a time block off, or end it. Raises `NotFound` if it is over."""
        _administrator(actor)
        step = await self._engine.commit(ev.WindowCleared(at_s=self._engine.now(), window=id))
        return view.window(step.windows[id])

    def calendars(self, device: str) -> wire.CalendarPage:
        """The calendars of a device. Raises `NotFound`."""
        device = self._device(device)
        mine = [calendar for calendar in self._engine.deck.calendars.values() if calendar.device == device]
        return wire.CalendarPage(items=[view.calendar(calendar) for calendar in mine])

    async def set_calendar(self, actor: Actor, device: str, request: wire.CalendarSet) -> wire.Calendar:
        """Let a window recur on a device; durable on return. Raises `Conflict` or `Invalid` if it cannot."""
        _administrator(actor)
        _check_labels(request)
        event = ev.CalendarSet(
            at_s=self._engine.now(), calendar=self._new_id("c"), device=self._device(device), kind=request.kind,
            rule=request.rule, start_s=request.start_s, duration_s=request.duration_s, zone=request.zone,
            hard=request.hard, slack_s=request.slack_s, user=request.user, project=request.project,
            reason=request.reason,
        )  # fmt: skip
        step = await self._engine.commit(event)
        return view.calendar(step.calendars[event.calendar])

    async def clear_calendar(self, actor: Actor, id: str) -> wire.Calendar:
        """Let a window recur no more; one that is on goes on to its end. Raises `NotFound`."""
        _administrator(actor)
        step = await self._engine.commit(ev.CalendarCleared(at_s=self._engine.now(), calendar=id))
        return view.calendar(step.calendars[id])

    def _device(self, name: str) -> str:
        if name not in self._engine.targets:
            raise NotFound("device", name)
        return name


def _administrator(actor: Actor) -> None:
    if not actor.administrator:
        raise Forbidden("only administrators may set and clear windows")


def _check_labels(request: wire.WindowSet | wire.CalendarSet) -> None:
    if request.project and not core_name(request.project):
        raise Invalid(
            "$.project", "a reservation is for a project of its own, or a user; most tasks are in the default"
        )
    for where, text in (("$.reason", request.reason), ("$.user", request.user), ("$.project", request.project)):
        if _CONTROL.search(text):
            raise Invalid(where, "must not hold control characters")
