"""The OpenAPI document of `/v1`, from the table of operations; msgspec turns the Structs into schemas."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import msgspec

from quarterdeck import __version__, wire
from quarterdeck.daemon.http.operation import Operation, Query
from quarterdeck.daemon.http.v1 import OPERATIONS
from quarterdeck.errors import QuarterdeckError, StoreUnavailable, Unauthenticated

EVERYWHERE: tuple[type[QuarterdeckError], ...] = (Unauthenticated, QuarterdeckError, StoreUnavailable)
_REF = "#/components/schemas/{name}"


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1 for every operation, every error included."""
    types = {t for o in OPERATIONS for t in (o.body, o.answer) if t not in (None, str)}
    named = sorted({*types, wire.Failure, wire.Health}, key=lambda t: t.__name__)
    _, schemas = msgspec.json.schema_components(named, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    for path, about in (("live", "Whether the process answers."), ("ready", "Whether requests can be served.")):
        answers = {"200": _answer("It is.", wire.Health)}
        if path == "ready":
            answers["503"] = _answer("It is not; `why` tells.", wire.Health)
        paths[f"/v1/health/{path}"] = {
            "get": {"operationId": f"health{path.title()}", "summary": about, "security": [], "responses": answers}
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Quarterdeck", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    parameters = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in operation.path.split("/")
        if part.startswith("{")
    ]
    parameters += [_parameter(query, "query") for query in operation.query]
    parameters += [_parameter(header, "header") for header in operation.headers]
    told: dict[str, Any] = {"operationId": operation.id, "summary": operation.about, "parameters": parameters}
    if operation.body is not None:
        schema = {"$ref": _REF.format(name=operation.body.__name__)}
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    told["responses"] = {str(operation.status): _answer(operation.about, operation.answer, operation.media)}
    if operation.id == "submitTask":
        told["responses"]["200"] = _answer("The task that this Idempotency-Key stands for.", operation.answer)
    codes: dict[int, list[type[QuarterdeckError]]] = {}
    for error in (*EVERYWHERE, *operation.errors):
        codes.setdefault(error.status, []).append(error)
    for status, errors in sorted(codes.items()):
        text = " ".join(f"`{error.code}`: {(inspect.getdoc(error) or '').splitlines()[0]}" for error in errors)
        told["responses"][str(status)] = _answer(text, wire.Failure)
    return told


def _parameter(query: Query, place: str) -> dict[str, Any]:
    schema = msgspec.json.schema(query.type)
    if query.default is not None:
        schema["default"] = query.default
    return {"name": query.name, "in": place, "required": False, "description": query.about, "schema": schema}


def _answer(about: str, type_: Any, media: str = "application/json") -> dict[str, Any]:
    if media == "text/event-stream":
        text, lines = {"type": "string"}, {"type": "string", "description": 'One {"seq": N, "event": {...}} per line.'}
        entry = {"type": "object", "properties": {"id": text, "event": text, "data": text}}
        return {"description": about, "content": {media: {"schema": entry}, "application/x-ndjson": {"schema": lines}}}
    schema = {"type": "string"} if type_ is str else {"$ref": _REF.format(name=type_.__name__)}
    return {"description": about, "content": {media: {"schema": schema}}}
