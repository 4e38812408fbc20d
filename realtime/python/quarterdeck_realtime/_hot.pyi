"""The hot path of quarterdeck-realtime."""

from collections.abc import Sequence
import enum
from typing import Annotated, overload

import numpy
from numpy.typing import NDArray


class Model:
    """The matching graph of a detector error model."""

    def __init__(self) -> None: ...

    @property
    def detectors(self) -> int: ...

    @detectors.setter
    def detectors(self, arg: int, /) -> None: ...

    @property
    def observables(self) -> int: ...

    @observables.setter
    def observables(self, arg: int, /) -> None: ...

    @property
    def layer(self) -> list[int]: ...

    @layer.setter
    def layer(self, arg: Sequence[int], /) -> None: ...

    def add(self, u: int, v: int, weight: float, observables: int) -> None:
        """Add a mechanism; v is -1 for the boundary."""

    def check(self) -> None:
        """Raise ValueError, with the first thing that is wrong."""

    @property
    def edges(self) -> list:
        """Rows of (u, v, weight, observables)."""

class Compiled:
    """A decoder for one model, compiled; shared by threads."""

    @property
    def bytes(self) -> int:
        """Bytes of memory that all users of this decoder share."""

class Matching(Compiled):
    """Exact minimum-weight perfect matching."""

    def __init__(self, model: Model, *, direct: int = 8, small: int = 300, vectors: bool = True, prove: bool = False) -> None:
        """
        Compile a model. `direct`: most defects that subset programs solve. `small`: bases of more detectors are solved so only up to 4 defects. `vectors`: AVX2 where present. `prove`, for tests: fail unless the duals prove a solution. Raises ValueError for a model that cannot be.
        """

    def decode(self, defects: Sequence[int]) -> tuple[int, float]:
        """(mask of observables, weight) for the detectors that fired."""

    def pairs(self, defects: Sequence[int]) -> list[tuple[int, int, int]]:
        """
        The matched pairs: (detector, detector or -1 for the boundary, mask that the path between flips).
        """

    @overload
    def decode_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> tuple:
        """
        Decode shots: rows of detection events, bool, or uint8 with bits packed lowest first. Returns (masks, weights, qualities), one of each a shot: uint64 with bit k for observable k, float64, and uint8 (0 exact, 2 failed: no perfect matching, the mask says nothing).
        """

    @overload
    def decode_batch(self, events: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> tuple: ...

    @overload
    def predict_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> Annotated[NDArray[numpy.uint8], dict(shape=(None, None))]:
        """
        As decode_batch, but the flips only: uint8 of shape (shots, bytes), observable 0 in the lowest bit of the first byte. Raises ValueError if a shot has no perfect matching.
        """

    @overload
    def predict_batch(self, events: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> Annotated[NDArray[numpy.uint8], dict(shape=(None, None))]: ...

    @overload
    def time_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)], flush: int = 0) -> object:
        """
        Nanoseconds of each shot, with `flush` bytes written before each to cool the caches.
        """

    @overload
    def time_batch(self, events: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu', writable=False)], flush: int = 0) -> object: ...

    @property
    def units(self) -> list[float]:
        """The quantum of weight of each basis."""

    @property
    def decoder_bytes(self) -> int:
        """Bytes of address space of each thread's decoder."""

class Erasure(Compiled):
    """
    Exact matching with losses. sites: for each place that can be lost the numbers of the model's edges that its loss erases.
    """

    def __init__(self, model: Model, sites: Sequence[Sequence[int]], *, tables: bool = True) -> None:
        """
        `tables`: take distances from all-pairs tables, otherwise from searches, for graphs of any size. Raises ValueError.
        """

    def decode_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)], losses: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None = None) -> tuple:
        """As for other decoders; losses is a bool array (shots, sites), or None."""

class Lookup(Compiled):
    """A table of the answers to all syndromes of small volumes."""

    def __init__(self, model: Model, *, classes: bool = False, largest: int = 16) -> None:
        """
        `classes`: answer with the likeliest set of observables instead of that of the likeliest error. `largest`: most detectors of a basis with a table, at most 24. Raises ValueError if no basis is small enough.
        """

    def decode_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> tuple:
        """
        Decode shots: events is a bool array (shots, detectors). Returns (masks, weights, qualities), one of each a shot: uint64 with bit k for observable k, float64, and uint8 (0 exact, 1 heuristic, 2 failed: the mask says nothing).
        """

    def covers(self, detector: int) -> bool:
        """Whether shots in which this detector fires can be answered."""

    @property
    def uncovered(self) -> int:
        """Detectors whose shots fail."""

class Parallel:
    """
    Windows decoded side by side by worker threads, over a model with layers.
    """

    def __init__(self, model: Model, core: int, gap: int, buffer: int, inner: str = 'matching') -> None:
        """
        Cores of `core` layers with `buffer` layers on both sides are decoded first, then the gaps of `gap` layers between them. Raises ValueError for a model whose rounds do not repeat, that is too short, or that has no boundary.
        """

    def decode_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)], workers: int = 1) -> tuple:
        """
        As for other decoders (weights are 0); without workers the caller's thread decodes.
        """

    @property
    def bytes(self) -> int: ...

class Mechanisms:
    """
    Error mechanisms of a detector error model, of any number of detectors each.
    """

    def __init__(self) -> None: ...

    @property
    def detectors(self) -> int: ...

    @detectors.setter
    def detectors(self, arg: int, /) -> None: ...

    @property
    def observables(self) -> int: ...

    @observables.setter
    def observables(self, arg: int, /) -> None: ...

    def add(self, probability: float, detectors: Sequence[int], observables: int) -> None:
        """Add a mechanism; `observables` is a mask."""

    def check(self) -> None:
        """Raise ValueError, with the first thing that is wrong."""

    def __len__(self) -> int: ...

class Relay(Compiled):
    """Relay belief propagation, for hyperedges, too."""

    def __init__(self, model: Mechanisms, *, iterations: int = 80, legs: int = 60, leg_iterations: int = 60, solutions: int = 3, more: int = 2, memory: float = 0.125, memories: tuple[float, float] = (-0.24, 0.66), scaling: float = 1.0, seed: int = 0, vectors: bool = True) -> None:
        """
        Compile a model. `iterations` of the first leg, whose `memory` all errors share; then at most `legs` legs of `leg_iterations`, with random `memories` from an interval, by `seed`. The answer is the lightest of the first `solutions` that legs converge to, in at most `more` legs after the first that does. `scaling` of check messages; 0: 1 - 2^-t in iteration t of a leg. `vectors`: AVX2 where present. Raises ValueError for a model or settings that cannot be.
        """

    def decode_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> tuple:
        """
        Decode shots: events is a bool array (shots, detectors). Returns (masks, weights, qualities), one of each a shot: uint64 with bit k for observable k, float64, and uint8 (0 exact, 1 heuristic, 2 failed: the mask says nothing).
        """

    def decode(self, defects: Sequence[int]) -> tuple[int, float, list[int], int, int]:
        """
        (mask of observables, weight, mechanisms in order, iterations, legs) for the detectors that fired. Raises RuntimeError if no leg converged.
        """

    def memory(self, leg: int, mechanism: int) -> float:
        """The memory of a mechanism in a leg; 0 is the first."""

    @property
    def mechanisms(self) -> int: ...

    @property
    def decoder_bytes(self) -> int:
        """Bytes of each thread's decoder."""

class UnionFind(Compiled):
    """Weighted union-find decoder of a model."""

    def __init__(self, model: Model) -> None:
        """Raises ValueError for a model that is wrong."""

    def decode_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> tuple:
        """
        Decode shots: events is a bool array (shots, detectors). Returns (masks, weights, qualities), one of each a shot: uint64 with bit k for observable k, float64, and uint8 (0 exact, 1 heuristic, 2 failed: the mask says nothing).
        """

class Windowed(Compiled):
    """Sliding windows over a model with layers."""

    def __init__(self, model: Model, window: int, commit: int, inner: str = 'matching') -> None:
        """
        Windows of `window` layers that advance by `commit`; `inner` decodes each: 'matching', 'union-find' or 'erasure'. Raises ValueError for a model whose rounds do not repeat, or that is too short.
        """

    def decode_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> tuple:
        """
        Decode shots: events is a bool array (shots, detectors). Returns (masks, weights, qualities), one of each a shot: uint64 with bit k for observable k, float64, and uint8 (0 exact, 1 heuristic, 2 failed: the mask says nothing).
        """

class Frames:
    """The frames of cudaq-realtime."""

    @staticmethod
    def fnv1a(name: str) -> int:
        """The function id of a name."""

    @staticmethod
    def request(function: int, payload: bytes, request_id: int = 0, ptp_ns: int = 0, flags: int = 0) -> bytes:
        """The frame of a request."""

    @staticmethod
    def enqueue(decoder: int, counter: int, bits: bytes, count: int, request_id: int = 0, ptp_ns: int = 0, flags: int = 0, mapping: int = 0, outcomes: bool = False) -> bytes:
        """
        The frame of an enqueue: `count` bits, lowest first in each byte; with `outcomes` a byte each. Raises ValueError.
        """

    @staticmethod
    def get(decoder: int, observables: int, reset: bool = False, request_id: int = 0, ptp_ns: int = 0, flags: int = 0) -> bytes: ...

    @staticmethod
    def reset(decoder: int, request_id: int = 0, ptp_ns: int = 0, flags: int = 0) -> bytes: ...

    @staticmethod
    def response(status: int, result: bytes, request_id: int = 0, ptp_ns: int = 0) -> bytes: ...

    @staticmethod
    def parse_request(frame: bytes) -> tuple[int, int, int, bytes, int, int] | None:
        """
        (function, request id, ptp ns, payload, flags, bytes), or None if this is not a request.
        """

    @staticmethod
    def parse_response(frame: bytes) -> tuple[int, int, int, bytes, tuple[int, int, int] | None, int] | None:
        """
        (status, request id, ptp ns, result, (epoch, flags, late us) or None, bytes), or None.
        """

    @staticmethod
    def parse_enqueue(payload: bytes, outcomes: bool = False) -> tuple[int, int, int, int, bytes] | None:
        """(decoder, counter, mapping, count, bits), or None."""

    @staticmethod
    def frames_of(payload: bytes) -> tuple[list[bytes], bool]:
        """The frames of a batch, and whether its end was one."""

    FUNCTIONS: dict = ...

    ASK_TELL: int = 1

    ASK_PUSH: int = 2

    ASK_QUIET: int = 4

    ASK_ORDERED: int = 8

    ASK_CLOSE: int = 16

    TELL_LATE: int = 1

    TELL_HEURISTIC: int = 2

    TELL_LOST: int = 4

class Way(enum.Enum):
    """The direction of a ring."""

    up = 0

    down = 1

class Rings:
    """Shared memory with one ring to the host (up) and one back (down)."""

    def __init__(self, slots: int = 1024, stride: int = 128, wakes: bool = False, wakes_down: bool = False) -> None:
        """
        In sealed memory. `slots`: a power of two; `stride`: bytes, a multiple of 64; `wakes`: the host may sleep, `wakes_down`: the controller may. Raises ValueError, OSError.
        """

    @staticmethod
    def create_at(path: str, slots: int = 1024, stride: int = 128, wakes: bool = False) -> Rings:
        """In a new file, for tests."""

    @staticmethod
    def attach(fd: int) -> Rings:
        """To a descriptor that stays the caller's."""

    @staticmethod
    def attach_at(path: str) -> Rings: ...

    def producer(self, way: Way) -> Producer:
        """Raises OSError (EBUSY) while a live process holds this end."""

    def consumer(self, way: Way) -> Consumer:
        """Raises OSError (EBUSY) while a live process holds this end."""

    def fileno(self) -> int:
        """The descriptor to pass to a peer."""

    def shape(self, way: Way) -> tuple[int, int, bool]:
        """(slots, stride, wakes)"""

class Producer:
    """The writing end of a ring."""

    @property
    def capacity(self) -> int:
        """Bytes of the largest frame."""

    @property
    def slots(self) -> int: ...

    def beat(self) -> None:
        """Give a sign of life."""

    @property
    def peer_silent_s(self) -> float:
        """
        Seconds since the peer's last sign of life; infinite if there never was one.
        """

    @property
    def peer_alive(self) -> bool:
        """Whether a live process holds the other end."""

    @property
    def peer_epoch(self) -> int:
        """How often the other end was taken."""

    @property
    def peer_pid(self) -> int: ...

    def push(self, frame: bytes) -> bool:
        """False if the ring is full or the frame too long."""

    @property
    def published(self) -> int: ...

    @property
    def popped(self) -> int: ...

class Consumer:
    """The reading end of a ring."""

    @property
    def capacity(self) -> int:
        """Bytes of the largest frame."""

    @property
    def slots(self) -> int: ...

    def beat(self) -> None:
        """Give a sign of life."""

    @property
    def peer_silent_s(self) -> float:
        """
        Seconds since the peer's last sign of life; infinite if there never was one.
        """

    @property
    def peer_alive(self) -> bool:
        """Whether a live process holds the other end."""

    @property
    def peer_epoch(self) -> int:
        """How often the other end was taken."""

    @property
    def peer_pid(self) -> int: ...

    def take(self, timeout_s: float = 0.0, spin_s: float = 0.0) -> bytes | None:
        """The next frame, or None."""

    @property
    def backlog(self) -> int: ...

def send_fd(socket: int, fd: int) -> None:
    """Pass a descriptor over a connected Unix socket (given as its fileno)."""

def receive_fd(socket: int) -> int: ...

class Detectors:
    """The D matrix, compiled: which measurements make each detector."""

    def __init__(self, measurements: int, rows: Sequence[Sequence[int]], reach: int = 0, odd: Sequence[int] = []) -> None:
        """
        `odd`: detectors that are odd without noise. Raises ValueError for rows that name other measurements.
        """

    @property
    def measurements(self) -> int: ...

    @property
    def groups(self) -> int:
        """How many groups of detectors are computed together."""

    def __len__(self) -> int: ...

    def defects(self, bits: bytes) -> list[int]:
        """The detectors that fire for a volume's measurements."""

class VolumePatch:
    """One logical qubit that is decoded volume by volume."""

    def __init__(self, detectors: Detectors, observables: int, compiled: Compiled, ordered: bool = False, lost: Sequence[Sequence[int]] = [], heralds: Sequence[Sequence[int]] = []) -> None:
        """
        `ordered`: find gaps in the counters of all clients, also of those that do not ask for it. `lost`, `heralds`: for each measurement the edges of the model that are erased by its outcome 2 (a lost atom), or by a 1 where it only tells of losses; empty for none. Raises ValueError.
        """

    @property
    def stats(self) -> dict: ...

class Dispatcher:
    """Answers frames."""

    def __init__(self) -> None: ...

    def add(self, decoder: int, patch: VolumePatch) -> None:
        """Raises ValueError for an id that is taken or out of range."""

    def handle(self, frame: bytes, room: int = 1024) -> bytes | None:
        """The response, or None."""

    @property
    def handled(self) -> int: ...

    @property
    def dropped(self) -> int: ...

class Server:
    """A dispatcher's links, and the loop that serves them."""

    def __init__(self, dispatcher: Dispatcher) -> None: ...

    def add_udp(self, host: str = '127.0.0.1', port: int = 0, stride: int = 256, padding: str = 'mirror') -> tuple[int, int]:
        """
        An endpoint for one client; (number of the link, port). Raises OSError, ValueError.
        """

    def add_rings(self, rings: Rings) -> int:
        """The host's ends of a pair of rings; the number of the link."""

    def run(self, for_s: float, spin_s: float = 0.0) -> int:
        """
        Answer frames for a time; look for them for `spin_s` after each before sleeping. How many there were.
        """

    def stop(self) -> None:
        """From any thread, for good."""

    @property
    def stopped(self) -> bool: ...

    def dispatched(self, link: int) -> int:
        """Frames that came over a link."""

class UdpClient:
    """A controller's UDP socket."""

    def __init__(self, host: str, port: int, stride: int = 256, pad: bool = False) -> None: ...

    def send(self, frame: bytes) -> bool: ...

    def receive(self, timeout_s: float, spin_s: float = 0.0) -> bytes | None:
        """The next datagram, or None."""

def ring_floor(trips: int = 100000, bytes: int = 64, here: int = -1, there: int = -1, spin: bool = True) -> Annotated[NDArray[numpy.int64], dict(shape=(None,))]:
    """
    Nanoseconds of each round trip of a frame over shared memory between two threads.
    """

def udp_floor(trips: int = 100000, bytes: int = 64, here: int = -1, there: int = -1, spin: bool = True) -> Annotated[NDArray[numpy.int64], dict(shape=(None,))]:
    """
    The same over UDP on loopback. `here`, `there`: cores to pin to; `spin` false: both sides sleep.
    """

class Null(Compiled):
    """No decoder: the answer is always 0. The null control."""

    def __init__(self) -> None: ...

class Busy(Compiled):
    """No decoder: spins for as long as it is told. The busy control."""

    def __init__(self, times_ns: Sequence[int]) -> None:
        """For one volume after the other, and then from the start."""

class Wishes:
    """What a thread asks of the operating system."""

    def __init__(self, core: int = -1, fifo: int = 0, lock: bool = False, shallow: bool = False) -> None: ...

class Terms:
    """
    What a qubit's controller keeps and expects; `decoder` is its id in frames.
    """

    def __init__(self, *, name: str, decoder: int, cycle_ns: int, budget_ns: int, policy: int) -> None: ...

class Seating:
    """A logical qubit with its decoder, ready to be given a place at a host."""

def seat_volumes(detectors: Detectors, observables: int, compiled: Compiled, shots: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)], *, warm_ns: int = 2000000, lost: Sequence[Sequence[int]] = [], heralds: Sequence[Sequence[int]] = []) -> Seating:
    """
    A qubit of volumes; its decoder is warmed with `shots` (rows of detection events). `lost`, `heralds`: as for VolumePatch.
    """

class StreamPlan:
    """How a stream is to be decoded."""

    def __init__(self, model: Model, window: int, commit: int, *, workers: int = 0, inner: str = 'matching', lost: Sequence[Sequence[int]] = [], heralds: Sequence[Sequence[int]] = [], round_bits: Sequence[int] = []) -> None:
        """
        `model`: of a short stream. Sliding windows on the loop's thread, or parallel ones on `workers` threads (cores of `commit` rounds, buffers of `window` - `commit`), decoded by `inner`. `lost`, `heralds`: as for VolumePatch, for the whole of the short stream, whose rounds have `round_bits` measurements. Raises ValueError.
        """

def seat_stream(first: Detectors, steady: Detectors, last: Detectors, observables: int, plan: StreamPlan) -> Seating:
    """
    A qubit that streams rounds. Raises ValueError where the plan cannot be followed.
    """

class Host:
    """The real-time loop."""

    def __init__(self, *, wishes: Wishes = ..., ledger: str = '', patches: int = 16, records: int = 4096, gap_ns: int = 2000, spin_ns: int = -1, nap_ns: int = 50000, wake_early_ns: int = 60000) -> None: ...

    def add(self, rings: Rings, terms: Terms, seating: Seating) -> int:
        """Give a qubit its place, which is returned. The seating is used up."""

    def add_udp(self, host: str, port: int, stride: int, terms: Terms, seating: Seating) -> tuple[int, int]:
        """
        The same behind a UDP endpoint of its own. Returns its place, and the port.
        """

    def remove(self, place: int) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def swap(self, place: int, compiled: Compiled, shots: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)], warm_ns: int = 2000000) -> int:
        """
        Build and warm a decoder here, on this thread, and offer it; the epoch from which it answers.
        """

    def stage(self, place: int, compiled: Compiled, shots: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)], warm_ns: int = 2000000) -> bool:
        """
        Like `swap`, but it takes over when the controller asks for it; False if too many wait already.
        """

    def swap_stream(self, place: int, plan: StreamPlan) -> int:
        """
        Offer other weights for a stream with the same windows, workers and losses; the epoch from which they count.
        """

    def epoch(self, place: int) -> int: ...

    def collect(self, place: int) -> int:
        """Delete the decoders that the loop has let go of; how many."""

    @property
    def granted(self) -> dict: ...

def ledger_layout() -> list:
    """
    Rows of (structure, field, offset, how many, kind) of the ledger; see ledger.h.
    """

LEDGER_MAGIC: int = 3550890717339796561

LEDGER_VERSION: int = 1

def jitter(for_ns: int, wishes: Wishes) -> dict:
    """Spin on a thread of its own and tell what the machine took from it."""

def measure(seating: Seating, round_bits: Sequence[int], frames: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu', writable=False)], others: int = 0) -> tuple[float, float, float, int]:
    """
    (mean ns of a round, mean and p99 ns of the last one with its decoding, rounds) that a host's loop works for a qubit of volumes, tried on this thread beside tenants that work with `others` bytes. The seating is used up.
    """

def refusal(tenants: Sequence[tuple], candidate: tuple, share: float = 0.7, together: float = 0.9, measured: float = -1.0) -> str:
    """
    Why a patch does not fit beside the others, or ''. Rows of (what `measure` gives, cycle_ns, budget_ns).
    """

class UdpEnd:
    """A host's UDP endpoint, for a controller."""

    def __init__(self, host: str, port: int, stride: int) -> None: ...

class Controller:
    """
    An emulated controller: publishes sampled rounds at a cadence, takes the answers.
    """

    def __init__(self, *, cycle_ns: int, budget_ns: int, policy: int = 0, plain: bool = False, warm_shots: int = 200, pause_every_shots: int = 0, pause_ns: int = 0, swap_every_shots: int = 0, timeout_ns: int = 20000000000, gap_ns: int = 2000, nap_ns: int = 0, forget_ns: int = 0) -> None: ...

    def add(self, link: Rings | UdpEnd, *, decoder: int, round_bits: Sequence[int], bits: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu', writable=False)], observables: int, laps: int = 1, phase_ns: int = 0, expected: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], actual: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], stream: bool = False, closing: Sequence[int] = [], closing_bits: int = 0, outcomes: bool = False) -> None:
        """
        A logical qubit: `bits` (shots x bytes) as Experiment.frames gives them; `expected` and `actual` masks or empty. `outcomes`: a byte for each measurement instead, 2 for a lost atom. `stream`: volumes are streams; with `closing` bytes, the rows of `bits` are the rounds of a single one.
        """

    def run(self, wishes: Wishes) -> list[str]:
        """
        Until all shots are answered, on a thread of its own; what the system refused. Raises RuntimeError when no answers come any more.
        """

    def tally(self, feed: int = 0) -> dict:
        """What was counted, and arrays by shot."""

    def quantiles(self, feed: int, qs: Sequence[float]) -> list[int]:
        """Of the reactions after the warm-up, in ns."""

    def rounds_of(self, feed: int) -> int:
        """Rounds of its volumes."""

    @property
    def ran_ns(self) -> int: ...

    @property
    def gaps(self) -> int: ...

    @property
    def lost_ns(self) -> int: ...
