"""What dialects need of the house: see `daemon.house.House`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.desk import Desk
from quarterdeck.daemon.http.identity import Identity


class House(Protocol):
    """A daemon that leads (then it has a desk) or passes requests on to the one that does."""

    identity: Identity
    max_body_bytes: int
    store_name: str
    trouble: str

    @property
    def desk(self) -> Desk | None: ...

    async def pass_on(
        self, request: Request, raw: bytes, actor: Actor | None = ..., path: str = ..., more: Mapping[str, str] = ...
    ) -> Response | None: ...
