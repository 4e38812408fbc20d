"""The other end of a host's socket: what is seated, its rings, new weights."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import stim

from quarterdeck_realtime import _hot
from quarterdeck_realtime.service import Answer, Ask, Seated
from quarterdeck_realtime.settings import Kind

__all__ = ["Control"]


class Control:
    """`with Control(path) as host: host.swap("left", dem)`.

    Raises OSError where nobody listens, ValueError for what the host refuses.
    """

    def __init__(self, path: Path, timeout_s: float = 120.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f"{error.strerror}: is `qdeck realtime run` there?", str(path)) from None
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def qubits(self) -> list[Seated]:
        """The qubits that it decodes."""
        return self._ask(Ask(op="qubits"))[0].qubits

    def rings(self, qubit: str) -> Any:
        """The rings of a qubit: a controller takes `producer(Way.up)` and `consumer(Way.down)`."""
        _, descriptors = self._ask(Ask(op="rings", qubit=qubit))
        try:
            return _hot.Rings.attach(descriptors[0])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def swap(self, qubit: str, dem: stim.DetectorErrorModel, kind: Kind | None = None) -> int:
        """Another model for a qubit, without a pause; returns the epoch from which its decoder answers."""
        return self._ask(Ask(op="swap", qubit=qubit, dem=str(dem), kind=kind))[0].epoch

    def stop(self) -> None:
        """End the host."""
        self._ask(Ask(op="stop"))

    def _ask(self, ask: Ask) -> tuple[Answer, list[int]]:
        self._socket.sendall(msgspec.json.encode(ask) + b"\n")
        descriptors: list[int] = []
        while b"\n" not in self._rest:
            chunk, passed, _, _ = socket.recv_fds(self._socket, 1 << 16, 1)
            if not chunk:
                raise OSError("the host went away before it answered")
            descriptors += passed
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        answer = msgspec.json.decode(line, type=Answer)
        if answer.error:
            raise ValueError(answer.error)
        return answer, descriptors
