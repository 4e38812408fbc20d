"""What is measured: systems that take submissions, tell of them and pass them on to a device, each in its own words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from quarterdeck.bench.load import TOKEN, Load, Sent
from quarterdeck.errors import Unavailable

PROGRAM_BYTES = 2400
"""Size of a program: that of a small analog sequence, and what Warden was measured with before."""


class Peer(Protocol):
    """A system under measurement.

    Attributes:
        name: As it stands in the report.
        transports: Ways to reach it, the first being the one to compare by; name to address.
        kinds: Ways to submit: `cold` sends a new program along each time, `referenced` names one sent before.
    """

    name: str
    transports: dict[str, str]
    kinds: tuple[str, ...]

    def submissions(self, transport: str, kind: str, clients: int) -> Load:
        """A load of submissions, without an end of its own."""

    def statuses(self, transport: str, ids: list[str], clients: int) -> Load:
        """A load of status calls about these, without an end of its own."""

    def hold(self) -> None:
        """The device takes nothing until `release`."""

    def release(self) -> None:
        """The device takes work again."""

    def starts(self) -> dict[str, float]:
        """When the device was given each one (monotonic clock, s), by `label`."""

    def started(self) -> int:
        """How many the device was given: cheaper than `starts`."""

    def label(self, sent: Sent) -> str:
        """What `starts` calls this submission."""

    def ended(self, id: str) -> bool:
        """Whether the system tells users that this one is done."""

    def pids(self) -> list[int]:
        """Its processes."""


def program(token: str = TOKEN) -> str:
    """A program's text; different for each token."""
    start = '{"bench": "' + token + '", "padding": "'
    return start + "x" * (PROGRAM_BYTES - len(start) - 2) + '"}'


def until(true: Callable[[], bool], what: str, timeout_s: float, pause_s: float = 0.005) -> None:
    """Wait for something to become true. Raises `Unavailable` when it does not."""
    end_s = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end_s:
            raise Unavailable("the benchmark", f"waited {timeout_s:.0f} s for {what}", 0.0)
        time.sleep(pause_s)


class Trace:
    """A file in which a device writes `LABEL SECONDS` for each start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self._count = 0

    def count(self) -> int:
        """Lines so far; reads only what is new."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            self._read += len(new)
            self._count += new.count(b"\n")
        return self._count

    def times(self) -> Iterable[tuple[str, float]]:
        """Label and time of each start so far."""
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            label, _, at_s = line.rpartition(" ")
            yield label, float(at_s)
