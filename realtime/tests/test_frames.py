"""Frames from Python: what goes in comes out, and nothing that is not a frame does."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck_realtime._hot import Detectors, Dispatcher, Frames, Matching, Model, VolumePatch

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)


def test_golden_vectors() -> None:
    """The bytes of the protocol's description."""
    enqueue = (
        "5251554382bed87e220000000500000000000000000000000000000000000000050000000000000000000000000000000900000000"
    )
    assert Frames.enqueue(0, 5, b"\x0d\x01", 9, 5).hex() == enqueue + "0000000d01"
    assert Frames.response(0, b"", 5).hex() == "535155430000000000000000050000000000000000000000"
    get = "52515543a15b2d881100000006000000000000000000000000000000000000000100000000000000" + "00"
    assert Frames.get(0, 1, False, 6).hex() == get
    assert Frames.response(0, b"\x01", 6).hex() == "53515543000000000100000006000000000000000000000001"
    assert Frames.reset(0, 7).hex() == "52515543cf597a97080000000700000000000000000000000000000000000000"
    assert Frames.fnv1a("qdeck_swap_decoder") == 0x40E6F132
    assert Frames.FUNCTIONS["heartbeat"] == 0xFDCE9692
    assert Frames.FUNCTIONS["stats"] == 0xE51F2A65


ROWS = st.lists(st.booleans(), max_size=300)


def test_the_page_for_writers_of_controllers_tells_these_bytes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "realtime-link.md").read_text(encoding="utf-8")
    asked, answered = (line.replace("|", "").replace(" ", "") for line in page.splitlines() if line.startswith("5"))
    flags = Frames.ASK_TELL | Frames.ASK_PUSH
    assert asked == Frames.enqueue(0, 5, b"\x0d\x01", 9, 5, 0, flags).hex()
    assert Frames.parse_response(bytes.fromhex(answered)) == (0, 5, 0, b"\x01", (0, 0, 0), 33)
    for name, function in Frames.FUNCTIONS.items():
        listed = name if name in ("enqueue_syndromes", "get_corrections", "reset_decoder") else f"qdeck_{name}"
        assert f"| `{listed}` | `0x{function:08X}` |" in page
        assert Frames.fnv1a(listed) == function


@given(INT64, INT64, INT64, ROWS, UINT32, UINT64, st.integers(0, 255), st.binary(max_size=40))
def test_enqueue_comes_out_as_it_went_in(
    decoder: int, counter: int, mapping: int, row: list[bool], request_id: int, ptp_ns: int, flags: int, padding: bytes
) -> None:
    """Every field, whatever lies behind the frame (unless it is an extension)."""
    bits = np.packbits(np.array(row, dtype=bool), bitorder="little").tobytes()
    frame = Frames.enqueue(decoder, counter, bits, len(row), request_id, ptp_ns, flags, mapping)
    padded = frame + (padding if flags else b"\0" + padding)
    function, *header, payload, asked, used = Frames.parse_request(padded)
    assert (function, *header) == (Frames.FUNCTIONS["enqueue_syndromes"], request_id, ptp_ns)
    assert (asked, used) == (flags, len(frame))
    assert Frames.parse_enqueue(payload) == (decoder, counter, mapping, len(row), bits)
    for cut in range(24 + len(payload)):
        assert Frames.parse_request(frame[:cut]) is None


@given(st.integers(-(2**31), 2**31 - 1), st.binary(max_size=200), UINT32, UINT64)
def test_response_comes_out_as_it_went_in(status: int, result: bytes, request_id: int, ptp_ns: int) -> None:
    frame = Frames.response(status, result, request_id, ptp_ns)
    assert Frames.parse_response(frame) == (status, request_id, ptp_ns, result, None, len(frame))
    assert Frames.parse_request(frame) is None


@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(0, 30))
def test_batch_is_its_frames(payloads: list[bytes], cut: int) -> None:
    made = [Frames.request(7, payload, number, 0, 0 if cut else number % 3) for number, payload in enumerate(payloads)]
    whole = b"".join(made)
    assert Frames.frames_of(whole) == (made, True)
    if cut and whole:
        found, complete = Frames.frames_of(whole[:-cut])
        assert found == made[: len(found)] and (complete == (sum(map(len, found)) == len(whole[:-cut])))


def test_lengths_that_contradict_are_refused() -> None:
    for arguments in ((b"\1", 9), (b"", -1), (b"\0" * 8, 2**20 + 1)):
        with pytest.raises(ValueError, match="no frame"):
            Frames.enqueue(0, 0, *arguments)


def dispatcher() -> Dispatcher:
    model = Model()
    model.detectors, model.observables = 3, 2
    for u, v, mask in ((0, -1, 1), (0, 1, 0), (1, 2, 0), (2, -1, 2)):
        model.add(u, v, 1.0, mask)
    made = Dispatcher()
    made.add(3, VolumePatch(Detectors(6, [[0, 3], [1, 4], [2, 5]]), 2, Matching(model)))
    return made


requests = st.one_of(
    st.binary(max_size=100),
    st.builds(
        lambda count, data, counter, flags, to: Frames.enqueue(to, counter, data + bytes(8), count, 9, 0, flags),
        st.integers(0, 64), st.binary(max_size=8), INT64, st.integers(0, 31), st.sampled_from([3, 3, 3, 4, -1]),
    ),
    st.builds(lambda size, reset: Frames.get(3, size, reset, 9), st.one_of(st.just(2), INT64), st.booleans()),
    st.builds(lambda payload, function: Frames.request(function, payload, 9), st.binary(max_size=80),
              st.sampled_from(sorted(Frames.FUNCTIONS.values()))),
    st.just(Frames.reset(3, 9)),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(requests, max_size=30), st.randoms(use_true_random=False), st.integers(0, 200))
def test_dispatcher_survives_anything(sent: list[bytes], chance: random.Random, room: int) -> None:
    """Whatever comes, in whatever order and mutilation: an answer is a response that fits, or there is none."""
    host = dispatcher()
    for frame in sent:
        damaged = bytearray(frame)
        if damaged and chance.random() < 0.5:
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        answer = host.handle(bytes(damaged), room)
        if answer is not None:
            assert len(answer) <= room
            status, request_id, _, _, _, used = Frames.parse_response(answer)
            assert used == len(answer) and 0 <= status <= 6
            assert request_id == Frames.parse_request(bytes(damaged))[1]
    assert host.handled == len(sent)
    # And after a reset it works as ever.
    host.handle(Frames.reset(3, 1))
    host.handle(Frames.enqueue(3, 0, b"\x05", 6, 2))
    status, _, _, result, _, _ = Frames.parse_response(host.handle(Frames.get(3, 2, False, 3)))
    assert (status, result) == (0, b"\x03")
