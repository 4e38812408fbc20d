"""The HTTP application: reads a request, calls the desk, writes the answer; every error is JSON of one shape."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from quarterdeck import __version__, wire
from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.desk import Desk
from quarterdeck.daemon.http.identity import Identity
from quarterdeck.daemon.http.openapi import document
from quarterdeck.daemon.http.operation import Asked, Operation, decode
from quarterdeck.daemon.http.v1 import OPERATIONS
from quarterdeck.errors import (
    MethodNotAllowed,
    NotFound,
    QuarterdeckError,
    StoreUnavailable,
    TooLarge,
    TooManyRequests,
    Unavailable,
)

log = logging.getLogger(__name__)
NOBODY = Actor("")
_encode = msgspec.json.encode
_LEGAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}\Z")


class House(Protocol):
    """What the application is in front of."""

    identity: Identity
    max_body_bytes: int
    store_name: str
    url: str

    @property
    def desk(self) -> Desk | None:
        """The desk, while this daemon leads."""

    @property
    def role(self) -> str:
        """`leader`, `standby` or `starting`."""

    @property
    def trouble(self) -> str:
        """Why requests cannot be served now; empty if they can."""

    async def pass_on(self, request: Request, raw: bytes, actor: Actor | None = None) -> Response | None:
        """The leader's answer, if another daemon leads."""


def failure(error: QuarterdeckError) -> Response:
    """An error as an answer."""
    headers = {}
    if isinstance(error, Unavailable | TooManyRequests) and error.retry_after_s:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allowed
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooLarge):
        headers["Connection"] = "close"  # the rest of the body is not read
    return Response(_encode(error.to_json()), error.status, headers, "application/json")


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The body, read up to the limit. Raises `TooLarge` as soon as it is known to be larger."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise TooLarge("request body", limit_bytes)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            raise TooLarge("request body", limit_bytes)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _endpoint(operation: Operation, house: House) -> Callable[[Request], Awaitable[Response]]:
    decoder = msgspec.json.Decoder(operation.body) if operation.body is not None else None

    async def serve(request: Request) -> Response:
        try:
            vouched = request.headers.get("authorization", "")[:6].upper() == "MUNGE "
            actor = NOBODY if vouched else house.identity.of(request)
            raw = await read_body(request, house.max_body_bytes) if request.method != "GET" else b""
            if vouched:
                actor = await house.identity.vouched(request, raw) or NOBODY
            desk = house.desk
            if desk is None:
                passed = await house.pass_on(request, raw, actor if vouched else None)
                if passed is None:
                    raise StoreUnavailable("the daemon", house.trouble or "it is starting", 1.0)
                return passed
            if not actor.user:  # this daemon took the lead meanwhile
                actor = house.identity.of(request)
            for name, value in request.path_params.items():
                if not _LEGAL.match(value):
                    raise NotFound(name, value[:128].encode(errors="replace").decode())
            query = operation.read_query(request) if operation.query or request.scope["query_string"] else {}
            body: Any = decode(decoder, raw) if decoder is not None else None
            answer = await operation.serve(Asked(desk, actor, request.path_params, query, body, raw, request))
            if isinstance(answer, Response):
                return answer
            return Response(_encode(answer), operation.status, media_type="application/json")
        except QuarterdeckError as error:
            return failure(error)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
            return failure(QuarterdeckError())

    return serve


def _health(house: House, need_ready: bool) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        ready = house.desk is not None or house.role == "standby"
        health = wire.Health(
            ok=ready or not need_ready, role=house.role, version=__version__, store=house.store_name,  # type: ignore[arg-type]
            why="" if ready else house.trouble or "starting", url=house.url,
        )  # fmt: skip
        status = 200 if health.ok else 503
        return Response(_encode(health), status, media_type="application/json")

    return serve


def application(house: House, mounts: Mapping[str, ASGIApp] | None = None) -> App:
    """The application in front of a house. `mounts`: first part of the path to the application behind it."""

    async def openapi(request: Request) -> Response:
        return Response(_encode(document()), media_type="application/json")

    by_path: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {
        "/v1/health/live": {"GET": _health(house, False)},
        "/v1/health/ready": {"GET": _health(house, True)},
        "/v1/openapi.json": {"GET": openapi},
    }
    for operation in OPERATIONS:
        by_path.setdefault(operation.path, {})[operation.method] = _endpoint(operation, house)
    return App(by_path, mounts or {})


class App:
    """The ASGI application: exact paths by a dictionary, the others by Starlette's router.

    Without Starlette's middleware, which costs as much as the rest: every operation answers its own errors.
    """

    def __init__(
        self, by_path: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]], mounts: Mapping[str, ASGIApp]
    ) -> None:
        self._mounts = mounts
        ends = {path: _End(methods) for path, methods in by_path.items()}
        self._exact = {path: end for path, end in ends.items() if "{" not in path}
        routes = [Route(path, end, methods=None) for path, end in ends.items() if "{" in path]
        self._router = Router(routes, redirect_slashes=False, default=_no_route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        end = self._exact.get(scope["path"])
        if end is not None:
            return await end(scope, receive, send)
        first, _, rest = scope["path"].lstrip("/").partition("/")
        if (mount := self._mounts.get(first)) is not None:
            return await mount({**scope, "path": "/" + rest}, receive, send)
        await self._router(scope, receive, send)


class _End:
    """One path; picks the operation by its method."""

    def __init__(self, methods: dict[str, Callable[[Request], Awaitable[Response]]]) -> None:
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        serve = self._methods.get(request.method)
        if serve is None:
            answer = failure(MethodNotAllowed(request.method, ", ".join(sorted(self._methods))))
        else:
            answer = await serve(request)
        await answer(scope, receive, send)


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    await failure(NotFound("route", scope["path"]))(scope, receive, send)
