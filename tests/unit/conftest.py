"""Fixtures of the unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quarterdeck.core import events as ev
from quarterdeck.core.deck import Deck
from quarterdeck.core.invariants import Audit, validate
from quarterdeck.core.state import Step


class Bench:
    """A deck with one online device, its log, and the checks that run after every event."""

    def __init__(self) -> None:
        self.deck = Deck()
        self.log: list[ev.Event] = []
        self.now_s = 1000.0

    def send(self, event: ev.Event) -> Step:
        """Handle an event, check the invariants, and keep the log."""
        step = self.deck.handle(event)
        self.now_s = self.deck.now_s
        self.log += step.events
        validate(self.deck)
        return step

    def device(self, name: str = "qpu", *, online: bool = True, **fields: object) -> None:
        """Declare a device and bring it up."""
        self.send(ev.DeviceDeclared(at_s=self.now_s, device=name, **fields))  # type: ignore[arg-type]
        if online:
            self.send(ev.DeviceChanged(at_s=self.now_s, device=name, status="online"))

    def submit(self, task: str, shots: int = 100, device: str = "qpu", user: str = "ada", session: str = "") -> Step:
        """Submit a task."""
        event = ev.Submitted(
            at_s=self.now_s, task=task, user=user, device=device, program="p", shots=shots, session=session
        )
        return self.send(event)

    def finish(self, task: str, index: int, shots: int, after_s: float = 1.0) -> Step:
        """Report a slice."""
        return self.send(ev.SliceFinished(at_s=self.now_s + after_s, task=task, index=index, shots=shots))

    def fail(self, task: str, index: int, kind: str, after_s: float = 0.0, **told: str) -> Step:
        """Report a slice that gave nothing."""
        event = ev.SliceFailed(at_s=self.now_s + after_s, task=task, index=index, kind=kind, **told)  # type: ignore[arg-type]
        return self.send(event)

    def tick(self, to_s: float) -> Step:
        """Let time go by."""
        return self.send(ev.Tick(at_s=to_s))


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A deck under watch; at the end its log is audited and replayed to the same state."""
    bench = Bench()
    yield bench
    validate(bench.deck)
    Audit().read(bench.log)
    twin = Deck()
    for event in bench.log:
        twin.apply(ev.decode(ev.encode(event)))  # type: ignore[arg-type]
    twin.now_s = bench.deck.now_s  # a tick that brought nothing about is not in the log
    assert twin.state() == bench.deck.state()
