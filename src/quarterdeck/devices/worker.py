"""The other end of `workers.py`: a process that answers one call at a time, over a socket that it inherits."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import socket
import struct
import traceback
from importlib import import_module
from typing import Any

HEAD = struct.Struct("!Q")
"""Before each message, its length in bytes."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(descriptor: int, parent: int, warm: list[str]) -> None:
    """Import, then answer until the other end is gone. Dies with the thread that started it, be it by kill -9."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return  # it died before the line above
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rwb") as stream:
        for module in warm:
            try:
                import_module(module)
            except ImportError:
                pass  # an extra that is not installed
        while head := stream.read(HEAD.size):
            answer = _answer(stream.read(*HEAD.unpack(head)))
            stream.write(HEAD.pack(len(answer)))
            stream.write(answer)
            stream.flush()


def _answer(call: bytes) -> bytes:
    """(True, what the call returned) or (False, what it raised, the traceback's text), pickled."""
    try:
        function, args = pickle.loads(call)
        return pickle.dumps((True, function(*args), ""))
    except Exception as error:
        return _failure(error, traceback.format_exc())


def _failure(error: Exception, text: str) -> bytes:
    try:
        answer = pickle.dumps((False, error, text))
        told: Any = pickle.loads(answer)[1]
    except Exception:
        told = None
    return answer if type(told) is type(error) else pickle.dumps((False, RuntimeError(repr(error)), text))
