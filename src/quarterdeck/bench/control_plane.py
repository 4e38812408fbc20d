"""The control plane under load: submissions, status calls, latency to the device, draining, memory, long queues.

Everything runs in one go on one machine, systems turn about, so that a slow minute of the machine hits all alike. The
load comes from a process of its own. What is durable when it is acknowledged stays so: no setting is relaxed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from quarterdeck import __version__
from quarterdeck.bench import proc
from quarterdeck.bench.goals import BUSY_DRAIN, BUSY_SUBMIT, CLIENTS, DRAIN, LATENCY, STATUS, SUBMIT, goals
from quarterdeck.bench.load import Generator, Load, Sent
from quarterdeck.bench.own import Own
from quarterdeck.bench.peer import Peer, until
from quarterdeck.bench.report import Machine, Report, compare
from quarterdeck.bench.stats import Latency
from quarterdeck.bench.trial import Options, Trial
from quarterdeck.bench.warden import Warden
from quarterdeck.errors import Unavailable

BACKLOG = 400


def _ahead(load: Load, seconds: float) -> Load:
    """Bound a load by time, its requests built ahead of the clock as far as that is cheap."""
    return msgspec.structs.replace(
        load, seconds=seconds, ahead=int(1000 * seconds) if load.munge else int(8000 * seconds)
    )


def accept(trial: Trial, peers: list[Peer]) -> None:
    """Submissions taken while the device is held, then status calls."""
    seconds = trial.options.seconds
    for peer in peers:
        peer.hold()
    ids: dict[str, list[str]] = {}
    for clients in CLIENTS:
        for kind in ("referenced", "cold"):
            for peer in peers:
                for transport in peer.transports if kind in peer.kinds else ():
                    trial.rest(f"{SUBMIT[kind]}, {clients} clients, {peer.name} {transport}")
                    load = _ahead(peer.submissions(transport, kind, clients), seconds)
                    key = (SUBMIT[kind], peer.name, transport, clients)
                    sample = trial.load(key, peer, msgspec.structs.replace(load, keep=True))
                    ids[peer.name] = [sent.id for sent in sample.sent][:2000]
    for clients in CLIENTS:
        for peer in peers:
            for transport in peer.transports if ids.get(peer.name) else ():
                trial.rest(f"{STATUS}, {clients} clients, {peer.name} {transport}")
                load = _ahead(peer.statuses(transport, ids[peer.name], clients), seconds)
                trial.load((STATUS, peer.name, transport, clients), peer, load)


def latency(trial: Trial, peers: list[Peer]) -> None:
    """From sending a submission to the device being given it, with nothing else to do."""
    for peer in peers:
        peer.release()
        # Warden looks for work once a second: arrivals must not fall into step with it.
        gap_s, count = ((1.1, 2.1), 40) if peer.name == "warden" else ((0.02, 0.06), 400)
        count = count // 3 if trial.options.quick else count
        for transport in peer.transports:
            trial.rest(f"{LATENCY}, {peer.name} {transport}")
            load = peer.submissions(transport, peer.kinds[0], 1)
            load = msgspec.structs.replace(load, seconds=600.0, limit=count, gap_s=gap_s, ahead=count, keep=True)
            before = peer.started()
            sample = trial.generator.run(load)
            key = (LATENCY, peer.name, transport, 1)
            if not _arrived(peer, before + sample.ok, 10.0):
                trial.note(key, {}, why="submissions did not reach the device: does its scheduler run?")
                continue
            starts = peer.starts()
            found = Latency.of(starts[peer.label(sent)] - sent.sent_s for sent in sample.sent)
            trial.note(key, msgspec.structs.asdict(found), sample.failed, sample.failure)


def drain(trial: Trial, peers: list[Peer]) -> None:
    """How quickly an instant device is fed: a backlog alone, then with eight clients submitting all the time."""
    for peer in peers:
        transport = next(iter(peer.transports))
        key = (DRAIN, peer.name, transport, 0)
        peer.hold()
        trial.rest(f"{DRAIN}, {peer.name}")
        load = peer.submissions(transport, peer.kinds[0], 8)
        before = peer.started()
        sample = trial.generator.run(msgspec.structs.replace(load, limit=BACKLOG, keep=True))
        cpu_s = proc.cpu_s(peer.pids())
        peer.release()
        if not _arrived(peer, before + sample.ok, 60.0):
            trial.note(key, {}, why="the backlog did not reach the device: does its scheduler run?")
            continue
        starts = peer.starts()
        end_s = _end_s(peer, sample.sent, starts)
        cpu_s = proc.cpu_s(peer.pids()) - cpu_s
        begin_s = min(starts[peer.label(sent)] for sent in sample.sent)
        trial.note(key, {"rate_hz": sample.ok / (end_s - begin_s), "server_cpu_ms": 1000 * cpu_s / sample.ok})
        trial.rest(f"{BUSY_DRAIN}, {peer.name}")
        before = peer.started()
        load = _ahead(load, trial.options.seconds)
        trial.generator.begin(load)
        until(lambda p=peer, n=before: p.started() > n, "the first submission to reach the device", 30.0)  # type: ignore[misc]
        began, began_s = peer.started(), time.monotonic()
        sample = trial.generator.end()
        rate_hz = (peer.started() - began) / (time.monotonic() - began_s)
        trial.note((BUSY_DRAIN, peer.name, transport, 8), {"rate_hz": rate_hz}, sample.failed, sample.failure)
        trial.note(
            (BUSY_SUBMIT, peer.name, transport, 8),
            {"rate_hz": sample.rate_hz} | (msgspec.structs.asdict(sample.latency) if sample.latency else {}),
        )
        _arrived(peer, before + sample.ok, 300.0)


def depth(trial: Trial) -> None:
    """What a task costs with 1000 queued, and with very many, in one daemon. Ours only: filling others takes hours."""
    with trial.own() as own:
        own.hold()
        transport = "tcp"
        for queued in (1000, trial.options.depth):
            trial.rest(f"filling the queue to {queued}")
            _fill(trial, own, queued)
            name = f"{queued:,} queued"
            for _ in range(max(3, trial.options.rounds)):
                trial.rest(f"{name}: submit 1000, then drain as many")
                load = msgspec.structs.replace(
                    own.submissions(transport, "referenced", 8), limit=1000, ahead=1000, keep=True
                )
                sample = trial.load((f"submit, {name}", own.name, transport, 8), own, load)
                ids = [sent.id for sent in sample.sent]
                statuses = msgspec.structs.replace(own.statuses(transport, ids, 8), limit=1000, ahead=1000)
                trial.load((f"status, {name}", own.name, transport, 8), own, statuses)
                cpu_s, before = proc.cpu_s(own.pids()), own.started()
                own.release()
                began_s = time.monotonic()
                until(lambda: own.started() >= before + 800, "the queue to move", 60.0, 0.002)  # noqa: B023
                own.hold()
                took_s = time.monotonic() - began_s
                ran = own.started() - before
                figures = {"rate_hz": ran / took_s, "server_cpu_ms": 1000 * (proc.cpu_s(own.pids()) - cpu_s) / ran}
                trial.note((f"drain, {name}", own.name, transport, 0), figures)
            trial.note((f"memory, {name}", own.name, "", 0), {"rss_mib": proc.rss_kib(own.pids()) / 1024})


def _fill(trial: Trial, own: Own, queued: int) -> None:
    """Bring the queue to this length."""
    while (missing := queued - own.queued()) > 0:
        load = own.submissions("unix", "referenced", 64)
        sample = trial.generator.run(msgspec.structs.replace(load, limit=min(missing, 100_000), seconds=600.0))
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
        trial = Trial(options, generator, directory, tell)
        if "latency" in parts:
            with trial.own() as own:
                latency(trial, [own, *others])
        for part, measure in (("drain", drain), ("accept", accept)):
            for _ in range(options.rounds if part in parts else 0):
                with trial.own() as own:
                    trial.note(("memory, started", own.name, "", 0), {"rss_mib": proc.rss_kib(own.pids()) / 1024})
                    measure(trial, [own, *others])
        for peer in others:
            trial.note(("memory, at the end", peer.name, "", 0), {"rss_mib": proc.rss_kib(peer.pids()) / 1024})
        if "depth" in parts:
            depth(trial)
        rows = trial.rows()
    ratios = compare(rows, "quarterdeck", "warden", {SUBMIT["referenced"]: SUBMIT["cold"]})
    return Report(
        title="control plane", started=started.isoformat(timespec="seconds"), took_s=time.monotonic() - began_s,
        version=__version__, machine=Machine.here(), rounds=options.rounds, quick=options.quick,
        rows=rows, ratios=ratios, goals=goals(rows, options.depth), idle=trial.idle,
    )  # fmt: skip
