"""Sessions reserve logical qubits of a device's real-time host."""

from __future__ import annotations

import pytest

from quarterdeck.core import events as ev
from quarterdeck.core.deck import Deck
from quarterdeck.errors import Conflict


def deck() -> Deck:
    found = Deck()
    found.handle(ev.DeviceDeclared(at_s=0, device="a", decoders=4))
    found.handle(ev.DeviceDeclared(at_s=0, device="b"))
    return found


def opened(session: str, device: str = "a", decoders: int = 0, devices: tuple[str, ...] = ()) -> ev.SessionOpened:
    return ev.SessionOpened(
        at_s=1, session=session, user="ada", device=device, ttl_s=10, decoders=decoders, devices=devices
    )


def test_decoders_are_reserved_until_a_session_ends() -> None:
    bench = deck()
    bench.handle(opened("s1", decoders=3))
    with pytest.raises(Conflict, match="device a has 1 of 4 decoders free, not 2"):
        bench.handle(opened("s2", decoders=2))
    bench.handle(opened("s3", decoders=1))
    bench.handle(opened("s4"))  # one without any
    assert bench.free_decoders(bench.devices["a"]) == 0
    bench.handle(ev.SessionClosed(at_s=2, session="s1"))
    bench.handle(opened("s2", decoders=2))
    assert bench.free_decoders(bench.devices["a"]) == 1
    bench.handle(ev.Tick(at_s=100))  # all leases are over
    assert bench.free_decoders(bench.devices["a"]) == 4


def test_what_has_no_real_time_host_has_no_decoders() -> None:
    bench = deck()
    with pytest.raises(Conflict, match="b has no real-time host"):
        bench.handle(opened("s1", device="b", decoders=1))
    with pytest.raises(Conflict, match="on one device"):
        bench.handle(opened("s1", decoders=1, devices=("a", "b")))
    assert not bench.sessions


def test_reservations_outlast_a_restart_with_fewer_decoders() -> None:
    bench = deck()
    bench.handle(opened("s1", decoders=3))
    bench.handle(ev.DeviceDeclared(at_s=2, device="a", decoders=2))
    assert bench.free_decoders(bench.devices["a"]) == 0
    with pytest.raises(Conflict, match="not 1"):
        bench.handle(opened("s2", decoders=1))
