"""A decoding server with the process contract of CUDA-Q QEC's: a readiness line, one endpoint for each decoder.

It answers, and keeps no account of deadlines; the real-time host (`quarterdeck_realtime.host`) does.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Callable, Sequence

import msgspec

from quarterdeck_realtime._hot import Compiled, Detectors, Dispatcher, Rings, Server, VolumePatch

__all__ = ["Served", "serve"]

SLICE_S = 0.1  # between two looks at signals, the clock and new clients


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One logical qubit: `rows` are the measurements that make each detector, `measurements` their number in a volume
    (0: up to the last that is in a detector)."""

    decoder: int
    rows: Sequence[Sequence[int]]
    observables: int
    compiled: Compiled
    measurements: int = 0

    def patch(self, ordered: bool) -> VolumePatch:
        """Raises ValueError for rows that contradict themselves."""
        measurements = self.measurements or 1 + max((max(row, default=-1) for row in self.rows), default=-1)
        detectors = Detectors(measurements, [list(row) for row in self.rows])
        return VolumePatch(detectors, self.observables, self.compiled, ordered)


class Door:
    """A Unix socket at which clients get the rings of a decoder: for the 8 bytes of its id they get a descriptor."""

    def __init__(self, path: str | os.PathLike[str], rings: dict[int, Rings]) -> None:
        self._rings = rings
        self._path = os.fspath(path)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(self._path)
        os.chmod(self._path, 0o600)
        self._listening.listen()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)

    def attend(self) -> None:
        """Serve who stands before the door now."""
        while self._selector.select(timeout=0):
            client, _ = self._listening.accept()
            with client:
                client.settimeout(0.2)
                try:
                    asked = client.recv(8, socket.MSG_WAITALL)
                    rings = self._rings.get(int.from_bytes(asked, "little", signed=True)) if len(asked) == 8 else None
                    if rings is not None:
                        socket.send_fds(client, [b"R"], [rings.fileno()])
                except OSError:
                    continue  # the client went away

    def close(self) -> None:
        self._selector.close()
        self._listening.close()
        os.unlink(self._path)


def serve(
    qubits: Sequence[Served],
    *,
    transport: str = "udp",
    host: str = "127.0.0.1",
    port: int = 0,
    slots: int = 1024,
    slot_size: int = 256,
    socket_path: str | os.PathLike[str] | None = None,
    spin_s: float = 50e-6,
    ordered: bool = False,
    timeout_s: float | None = None,
    say: Callable[[str], object] = lambda line: print(line, flush=True),
    going: Callable[[], bool] = lambda: True,
) -> None:
    """Answer the requests for some logical qubits, until `timeout_s` are over or `going` is false.

    `transport`: udp (a port for each decoder: `port`, the next, ..., or any if it is 0) or ring (shared memory that
    clients get at the Unix socket `socket_path`). `ordered`: find gaps in the counters of all clients. `spin_s`: look
    for frames that long after each before sleeping. Raises ValueError for settings that contradict themselves,
    OSError for what the system refuses.
    """
    if not qubits:
        raise ValueError("There is nothing to serve: name at least one decoder.")
    if transport not in ("udp", "ring"):
        raise ValueError(
            f"Transport {transport} is not one of this server: use udp or ring (RoCE has a seam, and no code)."
        )
    if transport == "ring" and socket_path is None:
        raise ValueError("Transport ring needs a socket_path at which clients get their rings.")
    dispatcher = Dispatcher()
    for qubit in qubits:
        dispatcher.add(qubit.decoder, qubit.patch(ordered))
    server = Server(dispatcher)
    links: dict[int, int] = {}
    door = None
    if transport == "udp":
        ports = {}
        for number, qubit in enumerate(qubits):
            wanted = port + number if port else 0
            links[qubit.decoder], ports[qubit.decoder] = server.add_udp(host, wanted, slot_size, "mirror")
        where = " ".join(f"ring{decoder}={bound}" for decoder, bound in ports.items())
        ready = f"QEC_DECODING_SERVER_READY port={ports[qubits[0].decoder]} transport=udp {where}"
    else:
        assert socket_path is not None
        stride = (slot_size + 8 + 63) // 64 * 64
        rings = {qubit.decoder: Rings(slots, stride, True, True) for qubit in qubits}
        links = {decoder: server.add_rings(each) for decoder, each in rings.items()}
        door = Door(socket_path, rings)
        ready = f"QEC_DECODING_SERVER_READY transport=ring socket={os.fspath(socket_path)}"
    try:
        say(ready)
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while going() and (end is None or time.monotonic() < end):
            server.run(SLICE_S if door is None else SLICE_S / 5, spin_s)
            if door is not None:
                door.attend()
    finally:
        if door is not None:
            door.close()
        for decoder_id, link in links.items():
            say(f"QEC_DECODING_SERVER_RING decoder={decoder_id} dispatched={server.dispatched(link)}")
