"""The event log as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from quarterdeck.daemon.http.operation import Asked
from quarterdeck.errors import QuarterdeckError

PAGE = 1000
HEARTBEAT_S = 15.0


async def events(asked: Asked) -> Response:
    """The log from an entry on, and with `follow` what comes; a comment line every 15 s keeps proxies awake."""
    lines = "application/x-ndjson" in asked.request.headers.get("accept", "")
    media = "application/x-ndjson" if lines else "text/event-stream"
    stream = _stream(asked, lines)
    return StreamingResponse(stream, media_type=media, headers={"Cache-Control": "no-store"})


async def _stream(asked: Asked, lines: bool) -> AsyncIterator[bytes]:
    engine, actor, after = asked.desk.engine, asked.actor, asked.query["after"]
    left = asked.query["limit"]
    user = None if actor.administrator else actor.user
    while left is None or left > 0:
        durable = engine.last_event  # read before the page, so that nothing is skipped between the two
        page = await engine.store.events(after, PAGE if left is None else min(PAGE, left), user=user)
        for seq, body in page:
            yield b'{"seq":%d,"event":%s}\n' % (seq, body) if lines else _sse(seq, body)
            after = seq
        if left is not None:
            left -= len(page)
        if page:
            continue
        if not asked.query["follow"]:
            return
        after = max(after, durable)
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await engine.grown(after)
        except TimeoutError:
            yield b"\n" if lines else b": still here\n\n"
        except QuarterdeckError:
            return  # the daemon starts over; the reader comes back with the last id it saw


def _sse(seq: int, body: bytes) -> bytes:
    name = body.split(b'"', 4)[3]  # every event begins with {"event":"NAME"
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (seq, name, body)
