"""MUNGE through the system's libmunge: who sent a request, as munged attests.

Facts: munge.h of MUNGE 0.5 (options, error codes); a credential is remembered by munged once it was decoded, so it must
be decoded exactly once for each request.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import msgspec

from quarterdeck.errors import QuarterdeckError, Unauthenticated, Unavailable

LIBRARY = "libmunge.so.2"
THREADS = 4
_ADDR4, _ENCODE_TIME, _SOCKET = 5, 6, 8
_NO_MEMORY, _NO_DAEMON = 5, 6
_WHY = {15: "MUNGE credential expired", 16: "MUNGE credential is from the future: are the clocks in step?",
        17: "MUNGE credential replayed", 18: "MUNGE credential is not for this daemon"}  # fmt: skip
_BAD_INPUT = frozenset({2, 3, 4, *range(8, 15)})


class Credential(msgspec.Struct, frozen=True):
    """What munged says of a credential.

    Attributes:
        origin: IPv4 address that the encoding host's munged was given as its own.
    """

    uid: int
    gid: int
    payload: bytes
    origin: str
    encoded_s: int


@cache
def _libraries() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    try:
        munge = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise Unavailable("MUNGE", f"{LIBRARY} cannot be loaded ({error}); install munge and libmunge2", 0.0) from None
    pointer, number = ctypes.c_void_p, ctypes.c_int
    to = ctypes.POINTER
    munge.munge_ctx_create.restype = pointer
    munge.munge_ctx_create.argtypes = []
    munge.munge_ctx_destroy.argtypes = [pointer]
    munge.munge_ctx_destroy.restype = None
    munge.munge_ctx_strerror.argtypes = [pointer]
    munge.munge_ctx_strerror.restype = ctypes.c_char_p
    munge.munge_encode.argtypes = [to(pointer), pointer, ctypes.c_char_p, number]
    munge.munge_decode.argtypes = [
        ctypes.c_char_p, pointer, to(pointer), to(number), to(ctypes.c_uint32), to(ctypes.c_uint32),
    ]  # fmt: skip
    libc = ctypes.CDLL(None)
    libc.free.argtypes = [pointer]
    libc.free.restype = None
    return munge, libc


class Munge:
    """munged at a socket; empty for the one that libmunge was built for. Raises `Unavailable` without libmunge."""

    def __init__(self, socket: str = "") -> None:
        self._socket = socket.encode()
        self._munge, self._libc = _libraries()
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(THREADS, "munge")

    async def whose(self, credential: str, within_s: float = 5.0) -> Credential:
        """Decode a credential. Raises `Unauthenticated` unless it is good and new, `Unavailable` if munged is away."""
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.get_running_loop().run_in_executor(self._pool, self.decode, credential)
        except TimeoutError:
            raise Unavailable("MUNGE", f"munged did not answer within {within_s:.0f} s", 1.0) from None

    def decode(self, credential: str) -> Credential:
        """Like `whose`, in this thread."""
        try:
            text = credential.encode("ascii")
        except UnicodeEncodeError:
            raise Unauthenticated("MUNGE decode failed") from None
        context = self._context("decode")
        buffer, length, uid, gid = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_uint32(), ctypes.c_uint32()
        code = self._munge.munge_decode(
            text, context, ctypes.byref(buffer), ctypes.byref(length), ctypes.byref(uid), ctypes.byref(gid)
        )
        try:
            if code:
                raise self._error(code, context)
            payload = ctypes.string_at(buffer.value, length.value) if buffer.value else b""
        finally:
            if buffer.value:  # also filled in for expired and replayed credentials
                self._libc.free(buffer)
        return Credential(uid.value, gid.value, payload, self._origin(context), self._encoded_s(context))

    def encode(self, payload: bytes = b"") -> str:
        """A fresh credential of this process's own uid. Raises `Unavailable` without a running munged."""
        context, credential = self._context("encode"), ctypes.c_void_p()
        code = self._munge.munge_encode(ctypes.byref(credential), context, payload, len(payload))
        if code or not credential.value:
            raise self._error(code or 1, context)
        try:
            return ctypes.string_at(credential.value).decode("ascii")
        finally:
            self._libc.free(credential)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _context(self, use: str) -> Any:
        """This thread's context: libmunge allows no sharing, and `munge_decode` leaves in it what it found."""
        context = getattr(self._local, use, None)
        if context is None:
            context = ctypes.c_void_p(self._munge.munge_ctx_create())
            if self._socket:
                self._munge.munge_ctx_set(context, ctypes.c_int(_SOCKET), ctypes.c_char_p(self._socket))
            setattr(self._local, use, context)
        return context

    def _error(self, code: int, context: Any) -> QuarterdeckError:
        if code in _WHY:
            return Unauthenticated(_WHY[code])
        if code in _BAD_INPUT:
            return Unauthenticated("MUNGE decode failed")
        said = (self._munge.munge_ctx_strerror(context) or b"").decode(errors="replace")
        if code in (_NO_MEMORY, _NO_DAEMON):
            return Unavailable("MUNGE", f"{said or 'munged does not answer'}; is munged running?", 1.0)
        return Unavailable("MUNGE", said or f"libmunge reports error {code}", 1.0)

    def _origin(self, context: Any) -> str:
        packed = (ctypes.c_ubyte * 4)()
        self._munge.munge_ctx_get(context, ctypes.c_int(_ADDR4), ctypes.byref(packed))
        return socket.inet_ntop(socket.AF_INET, bytes(packed))

    def _encoded_s(self, context: Any) -> int:
        packed = (ctypes.c_ubyte * struct.calcsize("l"))()
        self._munge.munge_ctx_get(context, ctypes.c_int(_ENCODE_TIME), ctypes.byref(packed))
        seconds: int = struct.unpack("l", bytes(packed))[0]
        return seconds
