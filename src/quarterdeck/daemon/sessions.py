"""Sessions: leases on access to devices, and the tokens that speak for them."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from quarterdeck import wire
from quarterdeck.core import events as ev
from quarterdeck.core.nouns import Session
from quarterdeck.daemon import tokens, view
from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.choice import Choice
from quarterdeck.daemon.engine import Engine
from quarterdeck.daemon.limits import Gate, Limits
from quarterdeck.daemon.projects import core_name
from quarterdeck.errors import Invalid, NotFound, Unauthenticated

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Sessions:
    """Serves requests about sessions. Everybody sees their own; administrators, all."""

    def __init__(
        self, engine: Engine, choice: Choice, gate: Gate, limits: Limits, new_id: Callable[[str], str],
        new_token: Callable[[str], str],
    ) -> None:  # fmt: skip
        self._engine = engine
        self._choice = choice
        self._gate = gate
        self._limits = limits
        self._new_id = new_id
        self._new_token = new_token

    async def open(self, actor: Actor, request: wire.SessionOpen, id: str = "") -> wire.Session:
        """Open a lease; durable on return. The answer holds its bearer token, which is told only this once."""
        for where, text in (("$.project", request.project), ("$.job", request.job)):
            if _CONTROL.search(text):
                raise Invalid(where, "must not hold control characters")
        choice = self._choice.of(request)
        if not choice:
            raise Invalid("$.device", "give one of device, devices and needs")
        if len(choice) > 1 and request.mode == "exclusive":
            raise Invalid("$.devices", f"an exclusive session has one device; name one of {', '.join(choice)}")
        if request.lend and request.mode != "exclusive":
            raise Invalid("$.lend", f"a {request.mode} session has nothing to lend: others run beside it anyway")
        project = core_name(request.project)
        self._gate.open_session(actor.user)
        id = id or self._new_id("s")
        token = self._new_token(id)
        event = ev.SessionOpened(
            at_s=self._engine.now(), session=id, user=actor.user, device=choice[0],
            devices=tuple(choice) if len(choice) > 1 else (), ttl_s=request.ttl_s, mode=request.mode,
            class_=request.class_, project=project, job=request.job, token=tokens.digest(token),
            idle_s=self._limits.idle_s(request), lend_s=self._limits.lend_s if request.lend else 0.0,
            decoders=request.decoders,
        )  # fmt: skip
        step = await self._engine.commit(event)
        return msgspec.structs.replace(view.session(step.sessions[id]), token=token)

    def bearer(self, token: str) -> Actor:
        """Whoever a session's token speaks for. Raises `Unauthenticated` once the session is over."""
        session = self._engine.deck.sessions.get(tokens.session_of(token))
        if session is None or not tokens.matches(token, session.token):
            raise Unauthenticated("this token is of no open session")
        return Actor(session.user, session=session.id)

    async def renew(self, actor: Actor, id: str) -> wire.Session:
        """Start the lease anew. Raises `NotFound` for a closed one."""
        self.own(actor, id)
        step = await self._engine.commit(ev.SessionRenewed(at_s=self._engine.now(), session=id))
        return view.session(step.sessions[id])

    async def close(self, actor: Actor, id: str) -> wire.Session:
        """End the lease and cancel what waits in it. A closed one stays as it is."""
        session = await self._find(actor, id)
        if session.state == "open":
            step = await self._engine.commit(ev.SessionClosed(at_s=self._engine.now(), session=id))
            session = step.sessions[id]
        return view.session(session)

    async def get(self, actor: Actor, id: str) -> wire.Session:
        """A session, open or closed."""
        return view.session(await self._find(actor, id))

    def list(self, actor: Actor) -> wire.SessionPage:
        """The open sessions; one's own unless administrator."""
        mine = [s for s in self._engine.deck.sessions.values() if actor.administrator or s.user == actor.user]
        return wire.SessionPage(items=[view.session(session) for session in mine])

    async def _find(self, actor: Actor, id: str) -> Session:
        session = self._engine.deck.sessions.get(id)
        if session is None:
            stored = await self._engine.store.noun("session", id)
            if stored is None:
                raise NotFound("session", id)
            session = msgspec.json.decode(stored, type=Session)
        if session.user != actor.user and not actor.administrator:
            raise NotFound("session", id)
        return session

    def own(self, actor: Actor, id: str) -> Session:
        session = self._engine.deck.sessions.get(id)
        if session is None or session.user != actor.user:
            raise NotFound("open session", id)
        return session
