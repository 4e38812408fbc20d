"""Bodies of requests: gzip or plain, never more than the limit, not even once they are unpacked."""

from __future__ import annotations

import zlib

from quarterdeck.errors import BadRequest, TooLarge


def unpack(raw: bytes, encoding: str, limit_bytes: int) -> bytes:
    """The body behind a Content-Encoding. Raises `TooLarge` before more than the limit was unpacked."""
    if encoding.strip().lower() in ("", "identity"):
        return raw
    if encoding.strip().lower() not in ("gzip", "x-gzip"):
        raise BadRequest(f"Content-Encoding {encoding[:40]!r} is not known here; send gzip or nothing")
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)  # 16: gzip's header and checksum
    try:
        body = unpacker.decompress(raw, limit_bytes + 1)
    except zlib.error as error:
        raise BadRequest(f"the body is not gzip: {error}") from None
    if len(body) > limit_bytes:
        raise TooLarge("request body", limit_bytes)
    if not unpacker.eof or unpacker.unused_data:
        raise BadRequest("the body is not one whole gzip stream")
    return body
