"""The ASGI application: finds the route, the caller and the body, and makes the envelope."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.dialects.house import House
from quarterdeck.daemon.dialects.pasqal_cloud import words
from quarterdeck.daemon.dialects.pasqal_cloud.body import unpack
from quarterdeck.daemon.dialects.pasqal_cloud.links import Links
from quarterdeck.daemon.dialects.pasqal_cloud.routes import Asked, Plain, Routes
from quarterdeck.daemon.dialects.pasqal_cloud.settings import PasqalCloudSettings
from quarterdeck.daemon.dialects.pasqal_cloud.table import ROUTES, Route
from quarterdeck.daemon.dialects.pasqal_cloud.types import Types
from quarterdeck.daemon.http.app import read_body
from quarterdeck.errors import (
    MethodNotAllowed,
    NotFound,
    QuarterdeckError,
    StoreUnavailable,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)

log = logging.getLogger(__name__)
_encode = msgspec.json.encode
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}\Z")
NOBODY = Actor("nobody")
PLACE = "/pasqal-cloud"
"""Where every daemon has it mounted, whatever else."""
NO_PASSWORDS = (
    "Quarterdeck keeps no passwords: open a session (qdeck session open --json) and give its token with a "
    "token_provider, or as QRMI_PASQAL_CLOUD_AUTH_TOKEN"
)


class PasqalCloud:
    """Paths are relative to the mount, which is where links to results lead back to."""

    def __init__(self, house: House, settings: PasqalCloudSettings, mount: str = PLACE) -> None:
        self._house = house
        self._settings = settings
        self._mount = mount
        self._routes = Routes(settings.hold_s, Links(settings.link_s))
        self._types: Types | None = None
        self._by_path: dict[tuple[str, ...], dict[str, Route]] = {}
        for route in ROUTES:
            self._by_path.setdefault(tuple(route.path.strip("/").split("/")), {})[route.method] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        reached = False  # a POST that somebody may have acted upon: clients must not send it again by themselves
        try:
            route, id = self._find(request)
            actor = self._house.identity.of(request) if route.known else NOBODY
            raw = await read_body(request, self._house.max_body_bytes) if request.method != "GET" else b""
            desk = self._house.desk
            reached = request.method == "POST"
            if desk is None:
                who = actor if actor.user or not route.known else None
                passed = await self._house.pass_on(
                    request, raw, who, PLACE + request.scope["path"], {"x-qdeck-base": self._base(request)}
                )
                if passed is None:
                    reached = False
                    raise StoreUnavailable("the daemon", self._house.trouble or "it is starting", 1.0)
                return passed
            if route.known and not actor.user:  # this daemon took the lead meanwhile
                actor = self._house.identity.of(request)
            raw = unpack(raw, request.headers.get("content-encoding", ""), self._house.max_body_bytes)
            if self._types is None:
                self._types = Types(desk.engine.targets, self._settings.devices)
            session = desk.engine.deck.sessions.get(actor.session) if actor.session else None
            types = self._types.within(session.eligible) if session is not None else self._types
            told = await route.serve(self._routes, Asked(desk, actor, types, id, raw, request, self._base(request)))
            return _response(told)
        except Unavailable as error:
            return _unavailable(error, again=not reached)
        except QuarterdeckError as error:
            return _failed(error)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            log.exception("%s %s failed", request.method, request.scope["path"], exc_info=error)
            return _failed(QuarterdeckError(), status=503 if reached else 500)

    def _find(self, request: Request) -> tuple[Route, str]:
        """The route and the id in the path. Raises `NotFound`, `MethodNotAllowed`, or why there are no passwords."""
        parts = tuple(part for part in request.scope["path"].split("/") if part)
        for pattern, methods in self._by_path.items():
            if len(pattern) != len(parts):
                continue
            ids = [part for part, known in zip(parts, pattern, strict=True) if part != known]
            if len(ids) > pattern.count("{id}") or (ids and parts[pattern.index("{id}")] != ids[0]):
                continue
            if ids and not _ID.match(ids[0]):
                raise NotFound("route", request.scope["path"][:200])
            if request.method not in methods:
                raise MethodNotAllowed(request.method, ", ".join(sorted(methods)))
            return methods[request.method], ids[0] if ids else ""
        if parts[:1] == ("account",) and parts[-1] == "token":
            raise Unauthenticated(NO_PASSWORDS)
        raise NotFound("route", request.scope["path"][:200])

    def _base(self, request: Request) -> str:
        """What links begin with: as the client sees this daemon, or the one that passed its request on."""
        standby = self._house.identity.standby
        passed = request.headers.get("x-qdeck-standby", "")
        if standby and hmac.compare_digest(passed.encode(), standby.encode()) and "x-qdeck-base" in request.headers:
            return request.headers["x-qdeck-base"]
        if self._settings.public_url:
            return self._settings.public_url.rstrip("/")
        return f"{request.url.scheme}://{request.url.netloc}{self._mount}"


def _response(told: Any) -> Response:
    if isinstance(told, Plain):
        told = told.body
    elif not (isinstance(told, dict) and "pagination" in told):
        told = words.success(told)
    return Response(_encode(told), 200, media_type="application/json")


def _unavailable(error: Unavailable, again: bool) -> Response:
    """The SDK repeats 408, 425, 429, 500, 502 and 504, a POST, too, but gives up at 503."""
    if not again:
        return _failed(error)
    wait_s = max(1, round(error.retry_after_s))
    return _failed(TooManyRequests(str(error), wait_s), {"Retry-After": str(wait_s)})


def _failed(error: QuarterdeckError, headers: Mapping[str, str] | None = None, status: int = 0) -> Response:
    told, more = words.failure(error), dict(headers or {})
    if isinstance(error, Unauthenticated) and error.why == NO_PASSWORDS:
        told = {**told, "error": "invalid_grant", "error_description": str(error)}  # as OAuth 2 says it (RFC 6749)
    elif error.status == 401:
        more["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        more["Allow"] = error.allowed
    if isinstance(error, TooLarge):
        more["Connection"] = "close"  # the rest of the body is not read
    if isinstance(error, TooManyRequests):
        more["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return Response(_encode(told), status or error.status, more, "application/json")
