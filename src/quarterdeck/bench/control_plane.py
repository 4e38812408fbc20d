"""The control plane under load: submissions, status calls, latency to the device, draining, memory, long queues.

Everything runs in one go on one machine, systems turn about, so that a slow minute of the machine hits all alike. The
load comes from a process of its own. What is durable when it is acknowledged stays so: no setting is relaxed.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from quarterdeck import __version__
from quarterdeck.bench import proc
from quarterdeck.bench.load import Generator, Load, Sample, Sent
from quarterdeck.bench.own import Own
from quarterdeck.bench.peer import Peer, until
from quarterdeck.bench.report import Busy, Goal, Machine, Report, Row, compare
from quarterdeck.bench.stats import Latency, Spread
from quarterdeck.bench.warden import Warden
from quarterdeck.errors import Unavailable

CLIENTS = (1, 8, 32)
SUBMIT = {"cold": "submit, a new program each time", "referenced": "submit, program uploaded before"}
STATUS = "status of a task"
LATENCY = "submit to device, idle system"
DRAIN = "drain a backlog of 400"
BUSY_DRAIN = "drain while 8 clients submit"
BUSY_SUBMIT = "submit while the device drains"
BACKLOG = 400


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
    def depth(self) -> int:
        return 100_000 if self.quick else 1_000_000


Key = tuple[str, str, str, int]


class Bench:
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
        """Wait for the machine to fall quiet (30 s at most), and write down how quiet it is."""
        cores = os.cpu_count() or 1
        for _ in range(60):
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
        cpu_s, rss_kib = proc.cpu_s(pids), proc.rss_kib(pids)
        sample = self.generator.run(load)
        cpu_s, rss_kib = proc.cpu_s(pids) - cpu_s, proc.rss_kib(pids) - rss_kib
        figures = {"rate_hz": sample.rate_hz}
        if sample.latency:
            figures |= msgspec.structs.asdict(sample.latency)
        if pids and sample.ok:
            figures |= {"server_cpu_ms": 1000 * cpu_s / sample.ok, "growth_kib": rss_kib / sample.ok}
        self.note(key, figures, sample.failed, sample.failure)
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


def _ahead(load: Load, seconds: float) -> Load:
    """Bound a load by time, its requests built ahead of the clock as far as that is cheap."""
    return msgspec.structs.replace(
        load, seconds=seconds, ahead=int(1000 * seconds) if load.munge else int(8000 * seconds)
    )


def accept(bench: Bench, peers: list[Peer]) -> None:
    """Submissions taken while the device is held, then status calls."""
    seconds = bench.options.seconds
    for peer in peers:
        peer.hold()
    ids: dict[str, list[str]] = {}
    for clients in CLIENTS:
        for kind in ("referenced", "cold"):
            for peer in peers:
                for transport in peer.transports if kind in peer.kinds else ():
                    bench.rest(f"{SUBMIT[kind]}, {clients} clients, {peer.name} {transport}")
                    load = _ahead(peer.submissions(transport, kind, clients), seconds)
                    key = (SUBMIT[kind], peer.name, transport, clients)
                    sample = bench.load(key, peer, msgspec.structs.replace(load, keep=True))
                    ids[peer.name] = [sent.id for sent in sample.sent][:2000]
    for clients in CLIENTS:
        for peer in peers:
            for transport in peer.transports if ids.get(peer.name) else ():
                bench.rest(f"{STATUS}, {clients} clients, {peer.name} {transport}")
                load = _ahead(peer.statuses(transport, ids[peer.name], clients), seconds)
                bench.load((STATUS, peer.name, transport, clients), peer, load)


def latency(bench: Bench, peers: list[Peer]) -> None:
    """From sending a submission to the device being given it, with nothing else to do."""
    for peer in peers:
        peer.release()
        # Warden looks for work once a second: arrivals must not fall into step with it.
        gap_s, count = ((1.1, 2.1), 40) if peer.name == "warden" else ((0.02, 0.06), 400)
        count = count // 3 if bench.options.quick else count
        for transport in peer.transports:
            bench.rest(f"{LATENCY}, {peer.name} {transport}")
            load = peer.submissions(transport, peer.kinds[0], 1)
            load = msgspec.structs.replace(load, seconds=600.0, limit=count, gap_s=gap_s, ahead=count, keep=True)
            before = peer.started()
            sample = bench.generator.run(load)
            key = (LATENCY, peer.name, transport, 1)
            if not _arrived(peer, before + sample.ok, 10.0):
                bench.note(key, {}, why="submissions did not reach the device: does its scheduler run?")
                continue
            starts = peer.starts()
            found = Latency.of(starts[peer.label(sent)] - sent.sent_s for sent in sample.sent)
            bench.note(key, msgspec.structs.asdict(found), sample.failed, sample.failure)


def drain(bench: Bench, peers: list[Peer]) -> None:
    """How quickly an instant device is fed: a backlog alone, then with eight clients submitting all the time."""
    for peer in peers:
        transport = next(iter(peer.transports))
        key = (DRAIN, peer.name, transport, 0)
        peer.hold()
        bench.rest(f"{DRAIN}, {peer.name}")
        load = peer.submissions(transport, peer.kinds[0], 8)
        before = peer.started()
        sample = bench.generator.run(msgspec.structs.replace(load, limit=BACKLOG, keep=True))
        cpu_s = proc.cpu_s(peer.pids())
        peer.release()
        if not _arrived(peer, before + sample.ok, 60.0):
            bench.note(key, {}, why="the backlog did not reach the device: does its scheduler run?")
            continue
        starts = peer.starts()
        end_s = _end_s(peer, sample.sent, starts)
        cpu_s = proc.cpu_s(peer.pids()) - cpu_s
        begin_s = min(starts[peer.label(sent)] for sent in sample.sent)
        bench.note(key, {"rate_hz": sample.ok / (end_s - begin_s), "server_cpu_ms": 1000 * cpu_s / sample.ok})
        bench.rest(f"{BUSY_DRAIN}, {peer.name}")
        before = peer.started()
        load = _ahead(load, bench.options.seconds)
        bench.generator.begin(load)
        until(lambda p=peer, n=before: p.started() > n, "the first submission to reach the device", 30.0)  # type: ignore[misc]
        began, began_s = peer.started(), time.monotonic()
        sample = bench.generator.end()
        rate_hz = (peer.started() - began) / (time.monotonic() - began_s)
        bench.note((BUSY_DRAIN, peer.name, transport, 8), {"rate_hz": rate_hz}, sample.failed, sample.failure)
        bench.note(
            (BUSY_SUBMIT, peer.name, transport, 8),
            {"rate_hz": sample.rate_hz} | (msgspec.structs.asdict(sample.latency) if sample.latency else {}),
        )
        _arrived(peer, before + sample.ok, 300.0)


def depth(bench: Bench) -> None:
    """What a task costs with 1000 queued, and with very many, in one daemon. Ours only: filling others takes hours."""
    with bench.own() as own:
        own.hold()
        transport = "tcp"
        for queued in (1000, bench.options.depth):
            bench.rest(f"filling the queue to {queued}")
            _fill(bench, own, queued)
            name = f"{queued:,} queued"
            for _ in range(max(3, bench.options.rounds)):
                bench.rest(f"{name}: submit 1000, then drain as many")
                load = msgspec.structs.replace(
                    own.submissions(transport, "referenced", 8), limit=1000, ahead=1000, keep=True
                )
                sample = bench.load((f"submit, {name}", own.name, transport, 8), own, load)
                ids = [sent.id for sent in sample.sent]
                statuses = msgspec.structs.replace(own.statuses(transport, ids, 8), limit=1000, ahead=1000)
                bench.load((f"status, {name}", own.name, transport, 8), own, statuses)
                cpu_s, before = proc.cpu_s(own.pids()), own.started()
                own.release()
                began_s = time.monotonic()
                until(lambda: own.started() >= before + 800, "the queue to move", 60.0, 0.002)  # noqa: B023
                own.hold()
                took_s = time.monotonic() - began_s
                ran = own.started() - before
                figures = {"rate_hz": ran / took_s, "server_cpu_ms": 1000 * (proc.cpu_s(own.pids()) - cpu_s) / ran}
                bench.note((f"drain, {name}", own.name, transport, 0), figures)
            bench.note((f"memory, {name}", own.name, "", 0), {"rss_mib": proc.rss_kib(own.pids()) / 1024})


def _fill(bench: Bench, own: Own, queued: int) -> None:
    """Bring the queue to this length."""
    while (missing := queued - own.queued()) > 0:
        load = own.submissions("unix", "referenced", 64)
        sample = bench.generator.run(msgspec.structs.replace(load, limit=min(missing, 100_000), seconds=600.0))
        if sample.failed:
            raise Unavailable("the private daemon", f"it refused a submission: {sample.failure}", 0.0)


def _arrived(peer: Peer, count: int, timeout_s: float) -> bool:
    """Whether the device has been given this many; waits as long as there is progress, and `timeout_s` without."""
    while (seen := peer.started()) < count:
        try:
            until(lambda n=seen: peer.started() > n, "progress", timeout_s)  # type: ignore[misc]
        except Unavailable:
            return False
    return True


def _end_s(peer: Peer, sent: list[Sent], starts: dict[str, float]) -> float:
    """When users are told that the one which started last is done; the device runs one at a time."""
    last = max(sent, key=lambda one: starts[peer.label(one)])
    until(lambda: peer.ended(last.id), "the last of the backlog to end", 30.0, 0.001)
    return time.monotonic()


PARTS = ("latency", "drain", "accept", "depth")


def run(options: Options, tell: Callable[[str], None] = lambda line: None) -> Report:
    """Measure. `tell` is given a line before each step. Raises `Unavailable` when a system does not play along."""
    started, began_s = datetime.now(UTC), time.monotonic()
    parts = options.only or PARTS
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qdeck-bench-", dir=options.directory)))
        generator = stack.enter_context(Generator())
        others: list[Peer] = []
        if options.warden:
            others.append(stack.enter_context(Warden(options.warden, options.qpu_port, directory)))
        bench = Bench(options, generator, directory, tell)
        if "latency" in parts:
            with bench.own() as own:
                latency(bench, [own, *others])
        for part, measure in (("drain", drain), ("accept", accept)):
            for _ in range(options.rounds if part in parts else 0):
                with bench.own() as own:
                    bench.note(("memory, started", own.name, "", 0), {"rss_mib": proc.rss_kib(own.pids()) / 1024})
                    measure(bench, [own, *others])
        for peer in others:
            bench.note(("memory, at the end", peer.name, "", 0), {"rss_mib": proc.rss_kib(peer.pids()) / 1024})
        if "depth" in parts:
            depth(bench)
        rows = bench.rows()
    ratios = compare(rows, "quarterdeck", "warden", {SUBMIT["referenced"]: SUBMIT["cold"]})
    return Report(
        title="control plane", started=started.isoformat(timespec="seconds"), took_s=time.monotonic() - began_s,
        version=__version__, machine=Machine.here(), rounds=options.rounds, quick=options.quick,
        rows=rows, ratios=ratios, goals=goals(rows, options.depth), idle=bench.idle,
    )  # fmt: skip


def goals(rows: list[Row], deep: int) -> list[Goal]:
    """How the figures stand to the goals that were set, over TCP; a goal whose figures are missing is left out."""

    def figure(what: str, system: str, clients: int, name: str) -> float | None:
        for row in rows:
            if (row.what, row.system, row.clients) == (what, system, clients) and row.transport in ("tcp", ""):
                return row.figures[name].median if name in row.figures else None
        return None

    found: list[Goal] = []

    def ratio(name: str, wanted: float, above: float | None, below: float | None, sense: str = "at least") -> None:
        if above is not None and below:
            found.append(msgspec.convert({"name": name, "sense": sense, "wanted": wanted, "got": above / below}, Goal))

    for clients, wanted in ((1, 4), (8, 10), (32, 10)):
        mine = figure(SUBMIT["referenced"], "quarterdeck", clients, "rate_hz")
        ratio(
            f"submissions/s, {clients} clients, times Warden's", wanted, mine,
            figure(SUBMIT["cold"], "warden", clients, "rate_hz"),
        )  # fmt: skip
    for what in (DRAIN, BUSY_DRAIN):
        clients = 8 if what == BUSY_DRAIN else 0
        ratio(
            f"{what}, times Warden's", 10, figure(what, "quarterdeck", clients, "rate_hz"),
            figure(what, "warden", clients, "rate_hz"),
        )  # fmt: skip
    ratio(
        f"{LATENCY}, p50, part of Warden's", 1 / 50, figure(LATENCY, "quarterdeck", 1, "p50_ms"),
        figure(LATENCY, "warden", 1, "p50_ms"), "at most",
    )  # fmt: skip
    for kind in SUBMIT:
        for clients in CLIENTS:
            p99 = figure(SUBMIT[kind], "quarterdeck", clients, "p99_ms")
            ratio(f"{SUBMIT[kind]}, {clients} clients, p99 ms", 50, p99, 1.0, "at most")
    for verb, clients in (("submit", 8), ("status", 8), ("drain", 0)):
        many, few = (figure(f"{verb}, {n:,} queued", "quarterdeck", clients, "server_cpu_ms") for n in (deep, 1000))
        ratio(f"{verb}: cost with {deep:,} queued, times that with 1,000", 1.3, many, few, "at most")
    return found
