"""A controller's side of the link, for tests and for programs that can wait for Python: frames over UDP or over rings.

Real controllers speak the same frames from their own real-time code; see `docs/realtime.md`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from quarterdeck_realtime._hot import Consumer, Frames, Producer, Rings, UdpClient, Way

__all__ = ["Client", "Link", "Refused", "Reply", "RingLink", "Told", "UdpLink"]

Bits = Sequence[int] | Sequence[bool] | NDArray[Any]

OK, INVALID_DECODER, BAD_REQUEST, INTERNAL_ERROR, NOT_READY, BUSY, SYNDROMES_DROPPED = range(7)

MEANINGS = {
    INVALID_DECODER: "the host has no such decoder",
    BAD_REQUEST: "the request contradicts itself, or what the decoder was configured for",
    INTERNAL_ERROR: "a volume could not be decoded; reset the decoder",
    NOT_READY: "no volume is complete; enqueue its other measurements first",
    BUSY: "the host cannot take this now; ask again",
    SYNDROMES_DROPPED: "rounds are missing before this one; send them again",
}

STATS = (
    "volumes",
    "rounds",
    "bits",
    "defects",
    "answers",
    "failures",
    "heuristic",
    "malformed",
    "lost",
    "abandoned",
    "repeated",
    "committed",
    "epoch",
    "erased",
)


class Told(msgspec.Struct, frozen=True):
    """What our hosts tell beyond CUDA-Q's protocol: the decoder's epoch (modulo 256), how late an answer was."""

    epoch: int
    late: bool
    late_us: int
    heuristic: bool
    lost: bool


class Reply(msgspec.Struct, frozen=True):
    """One response. `result` holds bits, least significant first; `told` is None for plain requests."""

    status: int
    request_id: int
    ptp_ns: int
    result: bytes
    told: Told | None = None

    def bits(self, count: int) -> NDArray[np.bool_]:
        """The first `count` bits of the result, as bools."""
        return np.unpackbits(np.frombuffer(self.result, np.uint8), bitorder="little", count=count).astype(np.bool_)


class Refused(Exception):
    """The host answered with a status other than OK."""

    def __init__(self, what: str, reply: Reply) -> None:
        meaning = MEANINGS.get(reply.status, "not a known status")
        super().__init__(f"{what} was refused with status {reply.status}: {meaning}.")
        self.reply = reply
        self.status = reply.status


class Link(Protocol):
    """Carries frames to a host and back."""

    largest: int  # bytes of a frame

    def send(self, frame: bytes) -> bool:
        """False if the link does not take it now."""
        ...

    def receive(self, timeout_s: float) -> bytes | None:
        """The next frame from the host, or None."""
        ...


class UdpLink:
    """A UDP endpoint of a host. `pad`: send full strides of `stride` bytes, as CUDA-Q's own sender does."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, stride: int = 256, pad: bool = False) -> None:
        self._socket = UdpClient(host, port, stride, pad)
        self.largest = stride

    def send(self, frame: bytes) -> bool:
        return self._socket.send(frame)

    def receive(self, timeout_s: float) -> bytes | None:
        return self._socket.receive(timeout_s)


class RingLink:
    """The controller's ends of a pair of rings, which a host gives out (`Control.rings`).

    Raises OSError (EBUSY) while a live process holds them.
    """

    def __init__(self, rings: Rings, *, spin_s: float = 20e-6) -> None:
        self.up: Producer = rings.producer(Way.up)
        self.down: Consumer = rings.consumer(Way.down)
        self.largest = self.up.capacity
        self._spin_s = spin_s

    def send(self, frame: bytes) -> bool:
        self.up.beat()
        return self.up.push(frame)

    def receive(self, timeout_s: float) -> bytes | None:
        return self.down.take(timeout_s, self._spin_s)


def packed(bits: Bits) -> tuple[bytes, int]:
    """Bits as a frame has them (least significant first), and their number."""
    row = np.asarray(bits).astype(np.bool_).ravel()
    return np.packbits(row, bitorder="little").tobytes(), len(row)


class Client:
    """Requests of one controller, one at a time. Not for several threads.

    `timeout_s`: how long to wait for a response. `attempts`: how often a request is sent that may be repeated without
    harm, which over UDP makes up for lost datagrams. `ordered`: the host checks the counters of the rounds, and says so
    when some are missing; a round is then taken once however often it is sent.

    Methods raise Refused for a status other than OK, TimeoutError when no response comes (by protocol an unknown
    function has none), ValueError for a request that the link cannot carry.
    """

    def __init__(self, link: Link, *, timeout_s: float = 1.0, attempts: int = 3, ordered: bool = False) -> None:
        self._link = link
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._flags: int = Frames.ASK_TELL | (Frames.ASK_ORDERED if ordered else 0)
        self._ordered = ordered
        self._request_id = 0

    def enqueue(
        self, decoder: int, counter: int, bits: Bits, *, push: bool = False, close: bool = False, outcomes: bool = False
    ) -> Reply:
        """Send measurements. `counter`: by convention (shot << 16) | round.

        `push`: if they complete a volume, its corrections are the result. `close`: they are a stream's last readout.
        `outcomes`: values are 0, 1, or 2 for a measurement whose atom was lost, instead of bits.
        """
        if outcomes:
            row = np.asarray(bits, dtype=np.uint8).ravel()
            data, count = row.tobytes(), len(row)
        else:
            data, count = packed(bits)
        flags = self._flags | (Frames.ASK_PUSH if push else 0) | (Frames.ASK_CLOSE if close else 0)
        frame = Frames.enqueue(decoder, counter, data, count, self._next(), 0, flags, 0, outcomes)
        return self._ask("A round", frame, again=self._ordered)

    def enqueue_rounds(self, decoder: int, counter: int, rounds: Sequence[Bits], *, push: bool = False) -> list[Reply]:
        """Several successive rounds in one frame, the first with `counter`; their replies."""
        parts = []
        for number, bits in enumerate(rounds):
            data, count = packed(bits)
            flags = self._flags | (Frames.ASK_PUSH if push else 0)
            parts.append(Frames.enqueue(decoder, counter + number, data, count, self._next(), 0, flags))
        frame = Frames.request(Frames.FUNCTIONS["batch"], b"".join(parts), self._next())
        whole = self._ask("A batch of rounds", frame, again=self._ordered)
        replies, rest = [], whole.result
        while rest:
            parsed = _taken_apart(rest)
            if parsed is None:
                raise ValueError("The host's answer to a batch does not consist of responses.")
            replies.append(parsed[0])
            rest = rest[parsed[1] :]
        for reply in replies:
            if reply.status != OK:
                raise Refused("A round", reply)
        return replies

    def get_corrections(self, decoder: int, observables: int, *, reset: bool = False) -> NDArray[np.bool_]:
        """Which observables the last volume flipped. `reset`: read them once; not repeated when no response comes."""
        frame = Frames.get(decoder, observables, reset, self._next(), 0, self._flags)
        return self._ask("Corrections", frame, again=not reset).bits(observables)

    def reset(self, decoder: int) -> Reply:
        """Forget everything that was enqueued, and a latched failure."""
        return self._ask("A reset", Frames.reset(decoder, self._next(), 0, self._flags), again=True)

    def heartbeat(self, decoder: int) -> float:
        """Seconds of a round trip through the host."""
        payload = decoder.to_bytes(8, "little", signed=True)
        frame = Frames.request(Frames.FUNCTIONS["heartbeat"], payload, self._next(), 0, self._flags)
        start = time.perf_counter()
        self._ask("A heartbeat", frame, again=True)
        return time.perf_counter() - start

    def swap(self, decoder: int, version: int) -> Reply:
        """Ask the host for another version of a decoder; it takes effect between two volumes."""
        payload = decoder.to_bytes(8, "little", signed=True) + version.to_bytes(8, "little", signed=True)
        frame = Frames.request(Frames.FUNCTIONS["swap_decoder"], payload, self._next(), 0, self._flags)
        return self._ask("A swap", frame, again=False)

    def stats(self, decoder: int) -> dict[str, int]:
        """What the host counted for a decoder since it was made; see `PatchStats` in patch.h."""
        payload = decoder.to_bytes(8, "little", signed=True)
        frame = Frames.request(Frames.FUNCTIONS["stats"], payload, self._next(), 0, self._flags)
        values = np.frombuffer(self._ask("Statistics", frame, again=True).result, "<u8")
        return {name: int(value) for name, value in zip(STATS, values, strict=False)}

    def _next(self) -> int:
        self._request_id = (self._request_id + 1) & 0xFFFFFFFF
        return self._request_id

    def _ask(self, what: str, frame: bytes, *, again: bool) -> Reply:
        if len(frame) > self._link.largest:
            raise ValueError(f"{what} has {len(frame)} bytes, the link carries {self._link.largest}: use larger slots.")
        request_id = int.from_bytes(frame[12:16], "little")
        for _ in range(self._attempts if again else 1):
            until = time.monotonic() + self._timeout_s
            while not self._link.send(frame):
                if time.monotonic() > until:
                    raise TimeoutError(f"{what} could not be sent for {self._timeout_s:g} s: the host takes no frames.")
            while (left := until - time.monotonic()) > 0:
                got = self._link.receive(left)
                if got is None:
                    break
                parsed = _taken_apart(got)
                if parsed is None or parsed[0].request_id != request_id:
                    continue  # not a response, or a late one to an earlier request
                if parsed[0].status != OK:
                    raise Refused(what, parsed[0])
                return parsed[0]
        raise TimeoutError(
            f"{what} was not answered within {self._timeout_s:g} s: is the host running at this address?"
        )


def _taken_apart(frame: bytes) -> tuple[Reply, int] | None:
    """The reply at the start of some bytes, and how many of them it has; None for what is no response."""
    parsed = Frames.parse_response(frame)
    if parsed is None:
        return None
    status, request_id, ptp_ns, result, tell, used = parsed
    told = None
    if tell is not None:
        epoch, flags, late_us = tell
        told = Told(
            epoch,
            bool(flags & Frames.TELL_LATE),
            late_us,
            bool(flags & Frames.TELL_HEURISTIC),
            bool(flags & Frames.TELL_LOST),
        )
    return Reply(status, request_id, ptp_ns, result, told), used
