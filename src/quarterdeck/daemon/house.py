"""The house: takes the lead, runs an engine, and starts a new one when the store fails it.

One way in for start-up, crash, fail-over and a full disk alike: lead, load, run.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from urllib.parse import urldefrag

import httpx
import msgspec
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from quarterdeck.core.policy import PolicySettings
from quarterdeck.daemon import tokens
from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.clock import Clock, steady
from quarterdeck.daemon.desk import Convert, Desk, Summarise, random_id
from quarterdeck.daemon.engine import DeviceSettings, Engine, Pace
from quarterdeck.daemon.http.identity import Identity
from quarterdeck.daemon.limits import Limits
from quarterdeck.daemon.store import Store
from quarterdeck.devices.driver import Driver, Target
from quarterdeck.errors import StoreUnavailable

log = logging.getLogger(__name__)
_NONE: Mapping[str, str] = {}
_KEPT = frozenset({"content-type", "content-length", "location", "retry-after", "cache-control"})
_HOP = frozenset({"host", "connection", "content-length", "transfer-encoding", "authorization", "keep-alive"})


class House:
    """Owns the store, the drivers and, while it leads, the engine."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, Driver],
        targets: Mapping[str, Target],
        devices: Mapping[str, DeviceSettings],
        summarise: Summarise,
        convert: Convert,
        identity: Identity,
        max_body_bytes: int,
        pace: Pace = Pace(),  # noqa: B008  # frozen
        limits: Limits = Limits(),  # noqa: B008  # frozen
        url: str = "",
        clock: Callable[[float], Clock] = steady,
        new_id: Callable[[str], str] = random_id,
        new_token: Callable[[str], str] = tokens.new,
        policy: PolicySettings = PolicySettings(),  # noqa: B008  # frozen
        key: bytes = b"",
    ) -> None:
        self.store = store
        self.drivers = drivers
        self.targets = targets
        self.devices = devices
        self.identity = identity
        self.max_body_bytes = max_body_bytes
        self.store_name = store.name
        self.trouble = "starting"
        self._summarise = summarise
        self._convert = convert
        self._pace = pace
        self._policy = policy
        self._limits = limits
        self.url = url
        self._clock = clock
        self._new_id = new_id
        self._new_token = new_token
        self._key = key
        self._engine: Engine | None = None
        self._desk: Desk | None = None
        self._proxy: httpx.AsyncClient | None = None
        self._leader: tuple[str, str] | None = None
        self._standby: asyncio.Task[None] | None = None

    @property
    def desk(self) -> Desk | None:
        return self._desk if self._engine is not None and self._engine.alive else None

    @property
    def role(self) -> str:
        if self.desk is not None:
            return "leader"
        return "standby" if self._leader is not None else "starting"

    async def run(self) -> None:
        """Serve until cancelled. Raises whatever is not the store's fault: a defect ends the process."""
        pause_s = 0.1
        try:
            while True:
                began_s = asyncio.get_running_loop().time()
                try:
                    await self._lead()
                except StoreUnavailable as error:
                    self.trouble = error.why
                    log.error("the store failed: %s; starting over", error.why)
                await self._leave()
                if asyncio.get_running_loop().time() - began_s > 30.0:  # it went well for a while
                    pause_s = 0.1
                await asyncio.sleep(pause_s)
                pause_s = min(5.0, pause_s * 2)
        finally:
            await self._leave()
            if self._proxy is not None:
                await self._proxy.aclose()

    async def _lead(self) -> None:
        watch = asyncio.ensure_future(self._watch_leader())
        try:
            epoch = await self.store.lead()
        finally:
            watch.cancel()
            self._leader = None
        engine = Engine(self.store, self.drivers, self.targets, self.devices, self._pace, self._clock, self._policy)
        self._engine = engine
        await engine.recover()
        secret = secrets.token_urlsafe(32)
        self._desk = Desk(
            engine, self._summarise, self._convert, self._limits, self._new_id, self._new_token, self._key, self.url
        )  # fmt: skip
        self.identity = msgspec.structs.replace(self.identity, standby=secret, bearer=self._desk.sessions.bearer)
        if self.url:
            await self.store.advertise(f"{self.url}#{secret}")
        self.trouble = ""
        log.info("leading with epoch %d; %d tasks are live", epoch, len(engine.deck.tasks))
        await engine.run()

    async def _leave(self) -> None:
        engine, self._engine, self._desk = self._engine, None, None
        self.identity = msgspec.structs.replace(self.identity, standby="", bearer=None)
        if engine is not None:
            await engine.close()
        await self.store.stop()

    async def _watch_leader(self) -> None:
        """While another daemon leads, know where it answers. What is written there may be left from one that died."""
        while True:
            await asyncio.sleep(0.2)  # whoever can take the lead has done so by then
            try:
                url, secret = urldefrag(await self.store.leader_url())
                self._leader = (url, secret) if url and url != self.url else None
                self.trouble = "" if self._leader else "another daemon leads, and has not said where it answers"
            except StoreUnavailable as error:
                self._leader, self.trouble = None, error.why

    async def pass_on(
        self, request: Request, raw: bytes, actor: Actor | None = None, path: str = "", more: Mapping[str, str] = _NONE
    ) -> Response | None:
        """Ask the leader on behalf of whoever asks us: `actor`, if somebody else found out who it is.

        `path` stands in for the request's own; `more` are headers that only daemons may send (`x-qdeck-...`).
        """
        if self._leader is None:
            return None
        url, secret = self._leader
        actor = actor or self.identity.of(request)
        # What only daemons may say is taken off first: who asks is the kernel's or the token's word, not the client's.
        told = [(name, value) for name, value in request.headers.items() if not name.startswith("x-qdeck-")]
        headers = [(name, value) for name, value in told if name not in _HOP]
        headers += [("x-qdeck-standby", secret), *more.items()]
        if actor.user:
            headers += [("x-qdeck-user", actor.user), ("x-qdeck-administrator", "yes" if actor.administrator else "no")]
        else:  # a session's token, which only the leader knows
            headers += [("authorization", request.headers["authorization"])]
        if self._proxy is None:
            self._proxy = httpx.AsyncClient(timeout=httpx.Timeout(10.0, read=700.0), trust_env=False)
        target = url + (path or request.url.path) + (f"?{request.url.query}" if request.url.query else "")
        asked = self._proxy.build_request(request.method, target, headers=headers, content=raw)
        try:
            answer = await self._proxy.send(asked, stream=True)
        except httpx.HTTPError as error:
            raise StoreUnavailable("the leading daemon", str(error) or type(error).__name__, 1.0) from None
        kept = {name: value for name, value in answer.headers.items() if name in _KEPT}
        return StreamingResponse(_relay(answer), answer.status_code, kept, background=BackgroundTask(answer.aclose))


async def _relay(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for part in answer.aiter_raw():
            yield part
    except httpx.HTTPError as error:
        log.info("the leader broke off an answer: %s", error)  # so does ours; the client asks again
