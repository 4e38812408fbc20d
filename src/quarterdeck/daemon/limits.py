"""What one user may ask for at once: how many tasks, how many sessions, how fast."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

import msgspec
from msgspec import Meta

from quarterdeck import wire
from quarterdeck.daemon.engine import Engine
from quarterdeck.errors import TooManyRequests

REMEMBERED = 10_000
"""Users whose rate is remembered: those who have asked for nothing for longest are forgotten first."""


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[limits]`: for each user, administrators too; 0 for no limit. `qdeck limits` shows them with what is in use."""

    tasks: Annotated[int, Meta(ge=0, description="Tasks of one user that may wait or run; 0 for no limit.")] = 250_000
    sessions: Annotated[int, Meta(ge=0, description="Open sessions of one user; 0 for no limit.")] = 1000
    submissions_per_minute: Annotated[
        float, Meta(ge=0, description="Tasks that one user may submit in a minute, on average; 0 for no limit.")
    ] = 0.0
    burst: Annotated[
        int, Meta(ge=0, description="Tasks that one user may submit at once, rate or not; 0 for one minute's worth.")
    ] = 0


class Gate:
    """Refuses what goes beyond the limits, with `TooManyRequests`."""

    def __init__(self, settings: LimitSettings, engine: Engine) -> None:
        self.settings = settings
        self._engine = engine
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # user: tokens, as of when
        self._capacity = float(settings.burst or max(1.0, settings.submissions_per_minute))

    def submit(self, user: str, count: int = 1) -> None:
        """Let so many submissions pass, or none of them. More than a burst pass together once the burst is whole."""
        per_minute = self.settings.submissions_per_minute
        if not per_minute:
            return
        now_s = self._engine.now()
        tokens = self._tokens(user, now_s)
        short = min(float(count), self._capacity) - tokens
        if short > 0:
            raise TooManyRequests(
                f"{user} submits more than {per_minute:g} tasks a minute (submissions_per_minute)",
                short * 60.0 / per_minute, "submissions_per_minute", int(per_minute), int(self._capacity - tokens),
            )  # fmt: skip
        self._buckets[user] = (tokens - count, now_s)
        self._buckets.move_to_end(user)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)

    def enter(self, user: str, count: int = 1) -> None:
        """Refuse more tasks than may wait or run."""
        used, most = self._engine.deck.live.get(user, 0), self.settings.tasks
        if most and used + count > most:
            why = f"{user} has {used} tasks that have not ended; {most} are allowed (tasks)"
            raise TooManyRequests(why, 10.0, "tasks", most, used)

    def open_session(self, user: str) -> None:
        """Refuse more sessions than may be open."""
        if not (most := self.settings.sessions):
            return
        used = self._sessions(user)
        if used >= most:
            why = f"{user} has {used} open sessions; {most} are allowed (sessions); close one that is not needed"
            raise TooManyRequests(why, 10.0, "sessions", most, used)

    def limits(self, user: str) -> wire.LimitPage:
        """The limits, and what the user has in use."""
        tokens = self._tokens(user, self._engine.now()) if self.settings.submissions_per_minute else self._capacity
        return wire.LimitPage(
            items=[
                wire.Limit(name="tasks", allowed=self.settings.tasks, used=self._engine.deck.live.get(user, 0),
                           about="tasks that wait or run"),
                wire.Limit(name="sessions", allowed=self.settings.sessions, used=self._sessions(user),
                           about="open sessions"),
                wire.Limit(name="submissions_per_minute", allowed=self.settings.submissions_per_minute,
                           used=round(self._capacity - tokens, 3), about="tasks submitted a minute"),
            ]
        )  # fmt: skip

    def _tokens(self, user: str, now_s: float) -> float:
        tokens, at_s = self._buckets.get(user, (self._capacity, now_s))
        return min(self._capacity, tokens + (now_s - at_s) * self.settings.submissions_per_minute / 60.0)

    def _sessions(self, user: str) -> int:
        return sum(session.user == user for session in self._engine.deck.sessions.values())


class Limits(msgspec.Struct, frozen=True):
    """What requests may hold: see `config.DaemonSettings`."""

    parameters_bytes: int = 64 * 1024
    wait_s: float = 60.0
    admissions: int = 100_000
    users: LimitSettings = LimitSettings()
    lend_s: float = 10.0
    exclusive_idle_s: float = 300.0
    batch_idle_s: float = 60.0

    def idle_s(self, request: wire.SessionOpen) -> float:
        """After how many idle seconds the session is closed; 0 for never."""
        if request.idle_s is not None:
            return request.idle_s
        return {"exclusive": self.exclusive_idle_s, "batch": self.batch_idle_s}.get(request.mode, 0.0)
