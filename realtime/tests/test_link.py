"""Clients and servers of several processes: volumes over UDP and rings, losses, and a peer that is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import stim

from quarterdeck_realtime import _hot
from quarterdeck_realtime._hot import (
    Detectors,
    Dispatcher,
    Frames,
    Matching,
    Rings,
    Server,
    UdpClient,
    VolumePatch,
    Way,
)
from quarterdeck_realtime.client import Client, Refused, RingLink, UdpLink
from quarterdeck_realtime.model import model_of

BITS = 8  # ancillas of the distance 3 code


@pytest.fixture(scope="module")
def circuit() -> stim.Circuit:
    noise = dict.fromkeys(("after_clifford_depolarization", "before_measure_flip_probability"), 0.02)
    return stim.Circuit.generated("surface_code:rotated_memory_z", distance=3, rounds=3, **noise)


def matching_of(circuit: stim.Circuit) -> Matching:
    return Matching(model_of(circuit.detector_error_model(decompose_errors=True)))


class Host:
    """A server in a thread, with the decoders 0 and 5."""

    def __init__(self, circuit: stim.Circuit) -> None:
        rows: list[list[int]] = []
        come = 0
        for instruction in circuit.flattened():
            come += instruction.num_measurements
            if instruction.name == "DETECTOR":
                rows.append([come + target.value for target in instruction.targets_copy()])
        dispatcher, compiled = Dispatcher(), matching_of(circuit)
        for decoder in (0, 5):
            dispatcher.add(decoder, VolumePatch(Detectors(come, rows), 1, compiled))
        self.server = Server(dispatcher)
        self._thread = threading.Thread(target=self._run)

    def udp(self, stride: int = 256, links: int = 1) -> list[int]:
        """Starts it with so many UDP endpoints; their ports."""
        ports = [self.server.add_udp(stride=stride)[1] for _ in range(links)]
        self._thread.start()
        return ports

    def rings(self, stride: int = 512) -> Rings:
        """Starts it with a pair of rings."""
        rings = Rings(64, stride, True, True)
        self.server.add_rings(rings)
        self._thread.start()
        return rings

    def stop(self) -> None:
        self.server.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self.server.stopped:
            self.server.run(1.0, 20e-6)


@pytest.fixture
def host(circuit: stim.Circuit) -> Iterator[Host]:
    made = Host(circuit)
    yield made
    made.stop()


def decode_all(client: Client, decoder: int, circuit: stim.Circuit, batches: bool, shots: int = 60) -> None:
    """Every answer is that of the same decoder offline."""
    measurements = circuit.compile_sampler(seed=4).sample(shots)
    detections, _ = circuit.compile_m2d_converter().convert(measurements=measurements, separate_observables=True)
    expected = matching_of(circuit).decode_batch(np.ascontiguousarray(detections))[0]
    for shot, row in enumerate(measurements):
        rounds = [row[start : start + BITS] for start in range(0, 3 * BITS, BITS)] + [row[3 * BITS :]]
        counter = shot << 16
        if batches:
            pushed = client.enqueue_rounds(decoder, counter, rounds, push=True)[-1]
        else:
            for number, bits in enumerate(rounds[:-1]):
                assert client.enqueue(decoder, counter + number, bits).result == b""
            with pytest.raises(Refused, match="no volume is complete") as refused:
                client.get_corrections(decoder, 1)
            assert refused.value.status == 4
            pushed = client.enqueue(decoder, counter + 3, rounds[-1], push=True)
        assert pushed.bits(1)[0] == expected[shot] == client.get_corrections(decoder, 1)[0]
        assert pushed.told is not None and pushed.told.epoch == 0 and not pushed.told.late


def test_volumes_over_udp(host: Host, circuit: stim.Circuit) -> None:
    first, second = host.udp(512, 2)
    plain = Client(UdpLink(first, stride=512, pad=True))
    decode_all(plain, 0, circuit, batches=False)
    quick = Client(UdpLink(second, stride=512), ordered=True)
    decode_all(quick, 5, circuit, batches=True)
    assert quick.heartbeat(5) > 0
    stats = quick.stats(5)
    assert (stats["volumes"], stats["rounds"], stats["lost"]) == (60, 240, 0)
    with pytest.raises(Refused, match="no such decoder"):
        quick.get_corrections(1, 1)
    with pytest.raises(Refused) as refused:
        quick.swap(5, 1)
    assert refused.value.status == 2
    with pytest.raises(ValueError, match="larger slots"):
        quick.enqueue(5, 0, np.zeros(5000))


def test_full_slots_are_answered_with_full_slots(host: Host) -> None:
    """As CUDA-Q's own sender ships them."""
    [port] = host.udp()
    reset = Frames.reset(0, 77)
    for pad, length in ((True, 256), (False, 24)):
        client = UdpClient("127.0.0.1", port, 256, pad)
        assert client.send(reset)
        answer = client.receive(5.0)
        assert len(answer) == length
        assert answer[:24] == Frames.response(0, b"", 77)
        assert not any(answer[24:])


def test_lost_datagrams_are_noticed_and_repeated(host: Host, circuit: stim.Circuit) -> None:
    """A link that loses and repeats frames in both directions: all volumes come out right."""
    [port] = host.udp()
    chance = np.random.default_rng(3)

    class Bad(UdpLink):
        def send(self, frame: bytes) -> bool:
            if chance.random() < 0.2:
                return True  # lost on the way there
            for _ in range(1 + (chance.random() < 0.1)):
                super().send(frame)
            return True

        def receive(self, timeout_s: float) -> bytes | None:
            frame = super().receive(timeout_s)
            return frame if chance.random() < 0.9 else None  # or on the way back

    client = Client(Bad(port), ordered=True, timeout_s=0.02, attempts=60)
    decode_all(client, 0, circuit, batches=False, shots=30)
    stats = client.stats(0)
    assert stats["volumes"] == 30 and stats["repeated"] > 0 and stats["failures"] == 0
    client.reset(0)
    with pytest.raises(Refused) as refused:
        client.enqueue(0, 2, [0] * BITS)
    assert refused.value.status == 6
    with pytest.raises(Refused) as refused:
        client.get_corrections(0, 1)
    assert refused.value.status == 6 and "missing" in str(refused.value)


def test_failures_latch_until_reset(host: Host) -> None:
    client = Client(UdpLink(*host.udp()))
    assert client.enqueue(0, 0, [1] * 33).status == 0
    with pytest.raises(Refused) as refused:
        client.enqueue(0, 0, [1])
        client.enqueue(0, 0, [1] * 33)
    assert refused.value.status == 2
    assert client.enqueue(0, 0, [1] * 33).status == 0  # taken, and ignored
    with pytest.raises(Refused, match="reset the decoder"):
        client.get_corrections(0, 1)
    client.reset(0)
    assert client.enqueue(0, 0, [0] * 33).status == 0
    assert not client.get_corrections(0, 1, reset=True).any()


def test_volumes_over_rings(host: Host, circuit: stim.Circuit) -> None:
    rings = host.rings()
    link = RingLink(Rings.attach(rings.fileno()))
    decode_all(Client(link), 5, circuit, batches=True)
    assert link.up.peer_alive and link.up.peer_pid == os.getpid()
    with pytest.raises(OSError, match="producer already"):
        RingLink(rings)
    del link
    decode_all(Client(RingLink(rings)), 5, circuit, batches=False)  # the next controller goes on


def client_process(rings: Rings, endless: bool) -> None:
    client = Client(RingLink(rings))
    client.reset(0)
    shot = 0
    while endless or shot < 50:
        assert client.enqueue(0, shot << 16, [0] * 33, push=True).bits(1)[0] == 0
        shot += 1
        if shot == 20:
            print("going", flush=True)


def test_a_killed_client_leaves_the_host_to_the_next(host: Host) -> None:
    """SIGKILL in the middle of a conversation."""
    rings = host.rings()
    here, fd = str(Path(__file__).parent), rings.fileno()
    code = (
        f"import sys; sys.path.insert(0, {here!r}); import test_link as t; t.client_process(t.Rings.attach({fd}), True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, pass_fds=[fd]) as child:
        assert child.stdout is not None and child.stdout.readline() == b"going\n"
        with pytest.raises(OSError, match="producer already"):
            RingLink(rings)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    client_process(rings, False)


def serve_rings(rings_fd: int, seconds: float) -> None:
    dispatcher = Dispatcher()
    model = _hot.Model()
    model.detectors, model.observables = 1, 1
    model.add(0, -1, 1.0, 1)
    dispatcher.add(0, VolumePatch(Detectors(1, [[0]]), 1, Matching(model)))
    server = Server(dispatcher)
    server.add_rings(Rings.attach(rings_fd))
    server.run(seconds)


def test_a_killed_server_is_noticed_and_replaced() -> None:
    rings = Rings(16, 128, True, True)
    link = RingLink(rings)
    client, up = Client(link, timeout_s=20), link.up
    assert not up.peer_alive
    context = multiprocessing.get_context("fork")
    for life in range(1, 3):
        server = context.Process(target=serve_rings, args=(rings.fileno(), 60.0))
        server.start()
        for shot in range(20):
            assert client.enqueue(0, shot, [shot % 2], push=True).bits(1)[0] == shot % 2
        assert up.peer_alive and up.peer_epoch == life and up.peer_pid == server.pid
        server.kill()
        server.join()
        assert not up.peer_alive
        quiet = Client(link, timeout_s=0.05)
        with pytest.raises(TimeoutError, match="is the host running"):
            quiet.enqueue(0, 99, [1])


def test_descriptors_over_a_socket() -> None:
    """Python's own way of passing descriptors and ours understand each other."""
    rings = Rings(4, 64)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        _hot.send_fd(ours.fileno(), rings.fileno())
        _, [first], _, _ = socket.recv_fds(theirs, 1, 1)
        socket.send_fds(theirs, [b"R"], [first])
        second = _hot.receive_fd(ours.fileno())
    up = rings.producer(Way.up)
    other = Rings.attach(second)
    os.close(first)
    os.close(second)
    assert other.shape(Way.up) == (4, 64, False) and up.capacity == 56
    down = other.consumer(Way.up)
    assert [up.push(bytes([number])) for number in range(5)] == [True] * 4 + [False]
    assert [down.take() for _ in range(5)] == [b"\0", b"\1", b"\2", b"\3", None]
    down.beat()
    assert 0 <= up.peer_silent_s < 60
    with pytest.raises(ValueError, match="not a ring"):
        Rings.attach(0 if os.path.isfile("/proc/self/fd/0") else os.open(os.devnull, os.O_RDWR))


def test_floors_are_measured() -> None:
    """They are numbers of round trips that were made; what they are is for benchmarks."""
    for floor in (_hot.ring_floor, _hot.udp_floor):
        for spin in (True, False):
            took = floor(200, 64, -1, -1, spin)
            assert took.shape == (200,) and (took > 0).all()
