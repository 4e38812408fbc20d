"""A run in progress: its options, the figures so far, and the tools to get more."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from quarterdeck.bench import proc
from quarterdeck.bench.load import Generator, Load, Sample
from quarterdeck.bench.own import Own
from quarterdeck.bench.peer import Peer
from quarterdeck.bench.report import Busy, Row
from quarterdeck.bench.stats import Spread

OTHERS = 0.15
"""Share of the cores that processes which are not measured may take in a round before the report says so."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure.

    Attributes:
        warden: URL of a running Warden to measure beside; empty for none.
        qpu_port: Port on which that Warden expects its QPU.
        rounds: How often to repeat each measurement.
        quick: Shorter rounds, and 10^5 instead of 10^6 queued tasks.
        directory: Where the private daemon keeps its store; a temporary directory if None. Choose a real disk.
        only: Measure only these parts (keys of `PARTS`); empty for all.
    """

    warden: str = ""
    qpu_port: int = 8005
    rounds: int = 3
    quick: bool = False
    directory: Path | None = None
    only: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return 1.5 if self.quick else 4.0

    @property
    def patience_s(self) -> float:
        """Longest wait for a quiet machine before a round."""
        return 3.0 if self.quick else 30.0

    @property
    def depth(self) -> int:
        return 100_000 if self.quick else 1_000_000


Key = tuple[str, str, str, int]
"""A row: what, system, transport, clients."""


class Trial:
    """A run in progress: the figures so far, and the tools to get more."""

    def __init__(self, options: Options, generator: Generator, directory: Path, tell: Callable[[str], None]) -> None:
        self.options = options
        self.generator = generator
        self.directory = directory
        self.idle: list[Busy] = []
        self._tell = tell
        self._figures: dict[Key, dict[str, list[float]]] = {}
        self._failed: dict[Key, tuple[int, str]] = {}
        self._daemons = 0

    @contextmanager
    def own(self) -> Iterator[Own]:
        """A fresh daemon of our own."""
        self._daemons += 1
        with Own(self.directory / f"daemon{self._daemons}") as own:
            yield own

    def rest(self, what: str) -> None:
        """Wait for the machine to fall quiet, within patience, and write down how quiet it is."""
        cores = os.cpu_count() or 1
        for _ in range(int(2 * self.options.patience_s)):
            before, began_s = proc.busy_s(), time.monotonic()
            time.sleep(0.5)
            share = (proc.busy_s() - before) / ((time.monotonic() - began_s) * cores)
            if share < 0.1:
                break
        load_1min = os.getloadavg()[0]
        self.idle.append(Busy(what, load_1min, share))
        self._tell(f"{what} [load {load_1min:.2f}, {share:.0%} busy]")

    def note(self, key: Key, figures: dict[str, float], failed: int = 0, why: str = "") -> None:
        """Add one round's figures of a row."""
        for name, value in figures.items():
            self._figures.setdefault(key, {}).setdefault(name, []).append(value)
        if failed or why:
            before = self._failed.get(key, (0, ""))
            self._failed[key] = (before[0] + failed, before[1] or why)

    def load(self, key: Key, peer: Peer, load: Load) -> Sample:
        """Carry out a load and note its figures."""
        pids = peer.pids()
        cpu_s, rss_kib, busy_s = proc.cpu_s(pids), proc.rss_kib(pids), proc.busy_s()
        began_s = time.monotonic()
        sample = self.generator.run(load)
        took_s = time.monotonic() - began_s
        cpu_s, rss_kib, busy_s = proc.cpu_s(pids) - cpu_s, proc.rss_kib(pids) - rss_kib, proc.busy_s() - busy_s
        figures = {"rate_hz": sample.rate_hz}
        if sample.latency:
            figures |= msgspec.structs.asdict(sample.latency)
        if pids and sample.ok:
            figures |= {"server_cpu_ms": 1000 * cpu_s / sample.ok, "growth_kib": rss_kib / sample.ok}
        others = (busy_s - cpu_s - sample.cpu_s - sample.built_s) / (took_s * (os.cpu_count() or 1))
        why = sample.failure or (
            f"other processes took {others:.0%} of the cores in a round" if others > OTHERS else ""
        )
        self.note(key, figures, sample.failed, why)
        return sample

    def rows(self) -> list[Row]:
        """The figures so far, in the order in which each was first measured."""
        rows = []
        for key in dict.fromkeys((*self._figures, *self._failed)):
            what, system, transport, clients = key
            failed, why = self._failed.get(key, (0, ""))
            figures = {name: Spread.of(values) for name, values in self._figures.get(key, {}).items()}
            row = Row(
                what=what, system=system, transport=transport, clients=clients, figures=figures, failed=failed, note=why
            )  # fmt: skip
            rows.append(row)
        return rows
