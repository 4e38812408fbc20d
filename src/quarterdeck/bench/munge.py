"""MUNGE credentials, for systems that want one with each request. Uses the system's libmunge when it is there."""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache

from quarterdeck.errors import Unavailable


@cache
def _libraries() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    found = ctypes.util.find_library("munge") or "libmunge.so.2"
    try:
        munge = ctypes.CDLL(found)
    except OSError as error:
        raise Unavailable(
            "libmunge", f"cannot be loaded ({error}); install the packages munge and libmunge2", 0.0
        ) from None
    munge.munge_encode.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    munge.munge_strerror.restype = ctypes.c_char_p
    libc = ctypes.CDLL(None)
    libc.free.argtypes = [ctypes.c_void_p]
    return munge, libc


def credential() -> str:
    """A fresh credential of the caller's own uid, without payload. Raises `Unavailable` without a running munged."""
    munge, libc = _libraries()
    pointer = ctypes.c_void_p()
    code = munge.munge_encode(ctypes.byref(pointer), None, None, 0)
    if code or not pointer.value:
        raise Unavailable("munged", munge.munge_strerror(code).decode(), 0.0)
    try:
        return ctypes.string_at(pointer.value).decode("ascii")
    finally:
        libc.free(pointer)
