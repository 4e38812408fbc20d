"""Filters and pages of lists, as the SDK's BatchFilters, JobFilters and PaginationParams put them into queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from starlette.datastructures import QueryParams

from quarterdeck.errors import Invalid

Item = TypeVar("Item", bound=dict[str, Any])
Test = Callable[[dict[str, Any]], bool]
LONGEST_PAGE = 100
_NOT_FILTERS = frozenset({"offset", "limit", "order_by", "order_by_direction"})


def _one_of(field: str) -> Callable[[list[str]], Test]:
    return lambda values: lambda item: str(item[field]) in values


def _truth(field: str) -> Callable[[list[str]], Test]:
    def make(values: list[str]) -> Test:
        wanted = {"true": True, "1": True, "false": False, "0": False}.get(values[-1].lower())
        if wanted is None:
            raise ValueError(f"{values[-1][:40]!r} is neither true nor false")
        return lambda item: bool(item[field]) is wanted

    return make


def _runs(least: bool) -> Callable[[list[str]], Test]:
    def make(values: list[str]) -> Test:
        bound = int(values[-1])
        return lambda item: item["runs"] >= bound if least else item["runs"] <= bound

    return make


def _created(after: bool) -> Callable[[list[str]], Test]:
    def make(values: list[str]) -> Test:
        bound = _time(values[-1])
        return lambda item: _time(item["created_at"]) >= bound if after else _time(item["created_at"]) <= bound

    return make


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text.replace(" ", "+"))  # a plus sign that nobody quoted
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _tag(values: list[str]) -> Test:
    return lambda item: values[-1] in (item["tags"] or [])


_COMMON = {
    "id": _one_of("id"), "project_id": _one_of("project_id"), "user_id": _one_of("user_id"),
    "status": _one_of("status"), "start_date": _created(True), "end_date": _created(False),
}  # fmt: skip
JOBS = {
    **_COMMON, "batch_id": _one_of("batch_id"), "min_runs": _runs(True), "max_runs": _runs(False),
    "errors": _truth("errors"),
}  # fmt: skip
BATCHES = {**_COMMON, "device_type": _one_of("device_type"), "open": _truth("open"), "tag": _tag}


def chosen(items: Sequence[Item], query: QueryParams, known: dict[str, Callable[[list[str]], Test]]) -> list[Item]:
    """The items that pass every filter of the query. Raises `Invalid` for an unknown or wrong one."""
    tests = []
    for name in dict.fromkeys(query.keys()):
        if name in _NOT_FILTERS:
            continue
        if name not in known:
            raise Invalid(f"?{name[:80]}", f"unknown; known here: {', '.join(sorted(known))}")
        try:
            tests.append(known[name](query.getlist(name)))
        except ValueError as error:
            raise Invalid(f"?{name}", str(error)) from None
    return [item for item in items if all(test(item) for test in tests)]


def page(items: Sequence[Item], query: QueryParams) -> tuple[list[Item], dict[str, int]]:
    """One page, and what the envelope says of it. Newest first unless `order_by_direction` is ASC."""
    if query.get("order_by_direction", "").upper() == "ASC":
        items = items[::-1]
    offset, limit = _number(query, "offset", 0), min(_number(query, "limit", LONGEST_PAGE), LONGEST_PAGE)
    some = list(items[offset : offset + limit])
    told = {"total": len(items), "start": offset, "end": min(offset + max(limit, 1), len(items)), "offset": offset}
    return some, told


def _number(query: QueryParams, name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Invalid(f"?{name}", f"{text[:40]!r} is not a number")
    return int(text)
