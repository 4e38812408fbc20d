"""One row per operation of `/v1`: routes and the OpenAPI document are both made from these rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.desk import Desk
from quarterdeck.errors import BadRequest, Invalid, QuarterdeckError


class Asked(msgspec.Struct, frozen=True):
    """A request, taken apart: who asks, the path's and the query's values, the decoded body and its bytes."""

    desk: Desk
    actor: Actor
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any
    raw: bytes
    request: Request


Serve = Callable[[Asked], Awaitable[Any]]
"""Returns the answer's Struct, or a Response made already."""


class Query(msgspec.Struct, frozen=True):
    """A query parameter: its type (a Python type that msgspec can convert text to), default and meaning."""

    name: str
    type: Any
    default: Any
    about: str


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation.

    Attributes:
        body: Type of the request's JSON body, or None.
        answer: Type of the JSON answer.
        errors: What it may raise, besides what every operation may.
        media: Media type of the answer.
    """

    id: str
    method: str
    path: str
    about: str
    serve: Serve
    answer: Any
    status: int = 200
    body: Any = None
    query: tuple[Query, ...] = ()
    headers: tuple[Query, ...] = ()
    errors: tuple[type[QuarterdeckError], ...] = ()
    media: str = "application/json"

    def read_query(self, request: Request) -> dict[str, Any]:
        """The query's values, converted. Raises `Invalid` for unknown, repeated or wrong ones."""
        known = {query.name: query for query in self.query}
        values = {query.name: query.default for query in self.query}
        seen = set()
        for name, text in request.query_params.multi_items():
            if name not in known:
                raise Invalid(f"?{name}", f"unknown; known here: {', '.join(known) or 'none'}")
            if name in seen:
                raise Invalid(f"?{name}", "given twice")
            seen.add(name)
            try:
                values[name] = msgspec.convert(text, known[name].type, strict=False)
            except msgspec.ValidationError as error:
                raise Invalid(f"?{name}", str(error)) from None
        return values


def decode(decoder: msgspec.json.Decoder[Any], raw: bytes) -> Any:
    """A JSON body. Raises `BadRequest` for what is not JSON, `Invalid` with the place for what is not asked for."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `")
        raise Invalid(where.rstrip("`") or "$", what) from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None


def response(value: Any, status: int, encoder: msgspec.json.Encoder) -> Response:
    """The answer as JSON, unless it is a response already."""
    if isinstance(value, Response):
        return value
    return Response(encoder.encode(value), status, media_type="application/json")
