"""A host as a process: it seats the qubits of its settings, hands out rings, swaps decoders, tells how it is doing."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import stim

from quarterdeck_realtime import _hot
from quarterdeck_realtime.admission import WORKING_SET, Cost, refusal, tried
from quarterdeck_realtime.model import model_of
from quarterdeck_realtime.settings import HostSettings, Kind, Qubit, compiled_of
from quarterdeck_realtime.status import HostStatus, Ledger, prometheus

__all__ = ["Answer", "Ask", "Seated", "Service", "default_socket"]

UDP_STRIDE = 2048
LEAST_STRIDE = 256
"""Of a ring's slots in bytes: the answer about statistics has to fit, too."""
REQUEST_BYTES = 64 << 20
"""The longest request: a detector error model is text."""


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line on the socket. `rings` is answered with a descriptor; `swap` has the new `dem`, and perhaps a `kind`."""

    op: Literal["qubits", "rings", "swap", "stop"]
    qubit: str = ""
    dem: str = ""
    kind: Kind | None = None


class Seated(msgspec.Struct, frozen=True):
    """A qubit at the host. `share` is the part of the core that it took when it was tried."""

    name: str
    decoder: int
    kind: Kind
    link: str
    port: int
    place: int
    epoch: int
    share: float


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The line that answers; `error` is a sentence, empty if all went well."""

    error: str = ""
    qubits: list[Seated] = []
    epoch: int = 0


class _Seat(msgspec.Struct):
    qubit: Qubit
    kind: Kind
    place: int
    share: float
    rings: Any = None
    port: int = 0


def default_socket(name: str) -> Path:
    """Where the host of that name listens: in the user's run directory."""
    base = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/quarterdeck-{os.getuid()}"
    return Path(base) / f"{name}.sock"


class Service:
    """`with Service(settings, qubits) as service: service.wait()`.

    Raises ValueError where a qubit does not fit, OSError for what the system refuses. What it was not granted (a
    priority, a core) is in `warnings`.
    """

    def __init__(self, settings: HostSettings, qubits: list[Qubit]) -> None:
        self.settings = settings
        self.socket = Path(settings.socket) if settings.socket else default_socket(settings.name)
        pace = [qubit.settings.pace for qubit in qubits]
        self._host = _hot.Host(
            wishes=_hot.Wishes(core=settings.core, fifo=settings.fifo, lock=settings.lock, shallow=bool(settings.fifo)),
            ledger=settings.name,
            patches=max(settings.places, len(qubits)),
            spin_ns=round(max((-1.0 if p.spin_us < 0 else p.spin_us) for p in pace) * 1e3),
            nap_ns=round(min(p.nap_us for p in pace) * 1e3),
            wake_early_ns=round(max(p.wake_early_us for p in pace) * 1e3),
        )
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._seats: dict[str, _Seat] = {}
        self._tenants: list[Cost] = []
        for qubit in qubits:
            self._seat(qubit, len(qubits) - 1)
        self.warnings: list[str] = []
        self._door: socket.socket | None = None
        self._pages: ThreadingHTTPServer | None = None

    def _seat(self, qubit: Qubit, others: int, running: bool = False) -> None:
        given, pace = qubit.settings, qubit.settings.pace
        compiled, rows = compiled_of(given.kind, qubit.dem, given.relay), qubit.warm()
        before = self._worked() if running else (0.0, 0.0)
        cost = _cost(qubit, compiled, rows, others * (compiled.bytes + WORKING_SET))
        measured = -1.0
        if running:  # while the qubit was tried, the loop went on
            work_s, at_s = self._worked()
            measured = (work_s - before[0]) / (at_s - before[1])
        if why := refusal(self._tenants, cost, self.settings.share, measured):
            raise ValueError(f"qubit {given.name} does not fit: {why}")
        terms = _hot.Terms(name=given.name, decoder=given.decoder, **pace.terms)
        seating = _seating(qubit, compiled, rows)
        if given.link == "udp":
            place, port = self._host.add_udp(given.address, given.port, UDP_STRIDE, terms, seating)
            self._seats[given.name] = _Seat(qubit, given.kind, place, cost.share, port=port)
        else:
            # An outcome, for hardware that tells of losses, takes a byte.
            payload = qubit.measurements if given.kind == "erasure" else qubit.measurements // 8
            widest = -(-(104 + payload) // 64) * 64
            rings = _hot.Rings(given.slots, min(max(LEAST_STRIDE, widest), 4096), wakes=pace.spin_us >= 0)
            place = self._host.add(rings, terms, seating)
            self._seats[given.name] = _Seat(qubit, given.kind, place, cost.share, rings=rings)
        self._tenants.append(cost)

    def _worked(self) -> tuple[float, float]:
        """How long the loop worked, and when that was read, in s."""
        with Ledger(self.settings.name) as ledger:
            return int(ledger.head["work_ns"]) / 1e9, time.monotonic()

    def __enter__(self) -> Service:
        self._host.start()
        self.warnings = list(self._host.granted["refusals"])
        self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.settings.socket and self.socket.parent.stat().st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "belongs to somebody else; name a socket", str(self.socket.parent))
        with contextlib.suppress(FileNotFoundError):
            self.socket.unlink()
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._door.bind(str(self.socket))
        finally:
            os.umask(before)
        self._door.listen()
        threading.Thread(target=self._welcome, args=(self._door,), name="control", daemon=True).start()
        if self.settings.metrics:
            self._pages = _pages(self.settings)
            threading.Thread(target=self._pages.serve_forever, name="metrics", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._door is not None:
            self._door.close()
            with contextlib.suppress(FileNotFoundError):
                self.socket.unlink()
        if self._pages is not None:
            self._pages.shutdown()
            self._pages.server_close()
        self._host.stop()
        with self._lock:
            self._seats.clear()
            del self._host  # and its ledger

    @property
    def metrics_url(self) -> str:
        """Where Prometheus finds its figures, at /metrics; empty if nowhere."""
        if self._pages is None:
            return ""
        host, port = self._pages.server_address[:2]
        return f"http://{host!s}:{port}"

    def stop(self) -> None:
        """Let `wait` return. From any thread, or a signal's handler."""
        self._stop.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until it is told to stop; False if the time is over before."""
        return self._stop.wait(timeout_s)

    def status(self) -> HostStatus:
        """How it is doing."""
        with Ledger(self.settings.name) as ledger:
            return ledger.status()

    def qubits(self) -> list[Seated]:
        """All that are seated."""
        with self._lock:
            return [
                Seated(name, seat.qubit.settings.decoder, seat.kind, seat.qubit.settings.link, seat.port, seat.place,
                       self._host.epoch(seat.place), seat.share)
                for name, seat in self._seats.items()
            ]  # fmt: skip

    def add(self, qubit: Qubit) -> None:
        """Seat one more qubit while the loop runs, if it fits beside what the others take of the core now.

        Raises ValueError if it does not, or if there is no place for it (`places` of the settings).
        """
        name = qubit.settings.name
        with self._lock:
            if name in self._seats:
                raise ValueError(f"there is a qubit {name} already")
            if len(self._seats) >= max(self.settings.places, len(self.settings.qubit)):
                raise ValueError(f"there is no place for qubit {name}: start the host with more places")
            self._seat(qubit, len(self._seats), running=True)

    def swap(self, name: str, dem: stim.DetectorErrorModel, kind: Kind | None = None) -> int:
        """Build and warm a decoder of another model (new weights, say) and let it take over between two volumes, or two
        rounds of a stream.

        Returns its epoch. Raises ValueError for a qubit that is not there, or a model of other detectors.
        """
        with self._lock:
            seat = self._found(name)
            before = seat.qubit.dem
            for what in ("num_detectors", "num_observables"):
                if getattr(dem, what) != getattr(before, what):
                    told = what.removeprefix("num_")
                    raise ValueError(
                        f"the new model has {getattr(dem, what)} {told}, {name} has {getattr(before, what)}"
                    )
            qubit = msgspec.structs.replace(seat.qubit, dem=dem)
            kind = kind or seat.kind
            epoch: int
            if qubit.stream:
                if kind != seat.kind:
                    raise ValueError(f"{name} is a stream, decoded by {seat.kind}: only its weights change")
                epoch = self._host.swap_stream(seat.place, _plan(qubit))
            else:
                if qubit.lost() != seat.qubit.lost():
                    raise ValueError(f"the new model of {name} has other edges: losses would erase the wrong ones")
                epoch = self._host.swap(seat.place, compiled_of(kind, dem, qubit.settings.relay), qubit.warm())
            self._host.collect(seat.place)
            seat.qubit, seat.kind = qubit, kind
            return epoch

    def _found(self, name: str) -> _Seat:
        if name not in self._seats:
            raise ValueError(f"there is no qubit {name}; there are {', '.join(self._seats)}")
        return self._seats[name]

    # -- the socket -------------------------------------------------------------------------------------------------

    def _welcome(self, door: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = door.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), name="client", daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            for line in _lines(connection):
                descriptors: list[int] = []
                try:
                    answer = self._answer(msgspec.json.decode(line, type=Ask), descriptors)
                except (ValueError, OSError) as error:  # msgspec's errors are ValueErrors
                    answer = Answer(error=str(error))
                socket.send_fds(connection, [msgspec.json.encode(answer) + b"\n"], descriptors)

    def _answer(self, ask: Ask, descriptors: list[int]) -> Answer:
        match ask.op:
            case "qubits":
                return Answer(qubits=self.qubits())
            case "swap":
                return Answer(epoch=self.swap(ask.qubit, stim.DetectorErrorModel(ask.dem), ask.kind))
            case "rings":
                rings = self._found(ask.qubit).rings
                if rings is None:
                    raise ValueError(f"qubit {ask.qubit} is reached over UDP; it has no rings")
                descriptors.append(rings.fileno())
                return Answer()
            case "stop":
                self._stop.set()
                return Answer()


def _lines(connection: socket.socket) -> Iterator[bytes]:
    rest = b""
    while chunk := connection.recv(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > REQUEST_BYTES:
            return
        yield from lines


def _seating(qubit: Qubit, compiled: Any, rows: Any) -> Any:
    if qubit.stream is None:
        detectors = _hot.Detectors(qubit.measurements, qubit.detectors, odd=qubit.odd)
        return _hot.seat_volumes(detectors, qubit.observables, compiled, rows, lost=qubit.lost())
    return _hot.seat_stream(*qubit.stream.compiled(), qubit.observables, _plan(qubit))


def _plan(qubit: Qubit) -> Any:
    given = qubit.settings
    return _hot.StreamPlan(
        model_of(qubit.dem), given.window, given.commit, workers=given.workers, inner=given.kind, lost=qubit.lost(),
        round_bits=qubit.experiment.round_bits if qubit.experiment else [],
    )  # fmt: skip


def _cost(qubit: Qubit, compiled: Any, rows: Any, others: int) -> Cost:
    """The qubit's cost as it is tried beside qubits that work with `others` bytes."""
    many = qubit.dem.num_detectors
    coordinates = qubit.dem.get_detector_coordinates()
    layers = [coordinates[one][-1] for one in range(many) if coordinates.get(one)]
    widths = [many]
    if len(layers) == many and layers == sorted(layers):
        widths = [int(width) for width in np.unique(layers, return_counts=True)[1]]
    parts = np.split(rows, np.cumsum(widths)[:-1], axis=1)
    frames = np.concatenate([np.packbits(part, axis=1, bitorder="little") for part in parts], axis=1)
    identity = _hot.Detectors(many, [[one] for one in range(many)])
    return tried(
        _hot.seat_volumes(identity, qubit.observables, compiled, rows),
        widths, np.ascontiguousarray(frames), qubit.settings.pace, others,
    )  # fmt: skip


def _pages(settings: HostSettings) -> ThreadingHTTPServer:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/metrics":
                self.send_error(404, "there is only /metrics")
                return
            with Ledger(settings.name) as ledger:
                body = prometheus(ledger.status()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    host, _, port = settings.metrics.rpartition(":")
    if not port.isdigit():
        raise ValueError(f"metrics = {settings.metrics!r} is no ADDRESS:PORT, such as 127.0.0.1:9464")
    return ThreadingHTTPServer((host or "127.0.0.1", int(port)), Page)
