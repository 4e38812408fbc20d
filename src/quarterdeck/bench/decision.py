"""What a decision costs: the core alone, with a queue of a thousand to a million tasks, and a million-task trace."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

import quarterdeck
from quarterdeck.bench.report import Goal, Machine, Report, Row
from quarterdeck.bench.stats import Spread, percentile
from quarterdeck.core import events as ev
from quarterdeck.core.commands import StartSlice
from quarterdeck.core.deck import Deck
from quarterdeck.core.policy import make_policy
from quarterdeck.simulator.run import simulate
from quarterdeck.simulator.study import Study

DEPTHS = (1_000, 10_000, 100_000, 1_000_000)
CLASSES = ("production", "test", "development")
DECISION = "a slice ends, the next one is chosen"
SUBMIT = "a task is submitted"

TRACE = "a simulated trace"
Took = tuple[float, float]
"""Seconds on the clock, and of processor time: the machine's other work is in the first only."""


class Queue:
    """A core with one device, many users and many registers, kept at a length."""

    def __init__(self, policy: str, depth: int, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.deck = Deck(make_policy(policy))
        self.now_s = 1e9
        self.count = 0
        self.running: StartSlice | None = None
        self.send(ev.DeviceDeclared(
            at_s=self.now_s, device="qpu", slice_shots=100_000, shot_rate_hz=1000.0, setup_s=10.0, overhead_s=0.005
        ))  # fmt: skip
        self.send(ev.DeviceChanged(at_s=self.now_s, device="qpu", status="online"))
        for _ in range(depth + 1):
            self.submit()

    def send(self, event: ev.Event) -> Took:
        """Give the core an event; the seconds that it took."""
        began_s, cpu_s = time.perf_counter(), time.thread_time()
        step = self.deck.handle(event)
        took_s = time.perf_counter() - began_s, time.thread_time() - cpu_s
        for command in step.commands:
            if isinstance(command, StartSlice):
                self.running = command
        return took_s

    def submit(self) -> Took:
        self.count += 1
        self.now_s += 0.001
        user = min(int(self.random.expovariate(0.05)), 199)
        shots = max(1, round(1000 * self.random.lognormvariate(0, 1)))
        return self.send(ev.Submitted(
            at_s=self.now_s, task=f"t{self.count}", user=f"u{user}", project=f"p{user % 20}", device="qpu", program="p",
            shots=shots, register=f"r{self.random.randrange(40)}",
            class_=self.random.choices(CLASSES, (0.2, 0.3, 0.5))[0],  # type: ignore[arg-type]
        ))  # fmt: skip

    def finish(self) -> Took:
        """End the slice that runs; the seconds until the core has chosen the next."""
        running = self.running
        assert running is not None, "the device idles beside a queue"
        self.running = None
        seconds = running.shots / 1000
        self.now_s += seconds
        return self.send(ev.SliceFinished(
            at_s=self.now_s, task=running.task, index=running.index, shots=running.shots, qpu_s=seconds
        ))  # fmt: skip


def measure(policy: str, depth: int, decisions: int) -> list[Row]:
    """Time so many decisions and submissions at a depth."""
    queue = Queue(policy, depth)
    gc.collect()
    gc.freeze()  # the queue stays; what the collector does with the rest is part of the figures
    took: dict[str, list[Took]] = {DECISION: [], SUBMIT: []}
    for number in range(decisions + 20):
        finish, submit = queue.finish(), queue.submit()
        if number >= 20:
            took[DECISION].append(finish)
            took[SUBMIT].append(submit)
    gc.unfreeze()
    rows = []
    for what, seconds in took.items():
        for system, which in ((policy, 0), (f"{policy}, CPU time", 1)):
            found = sorted(1000 * one[which] for one in seconds)
            shares = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
            figures = {name: Spread.of([percentile(found, share)]) for name, share in shares.items()}
            rows.append(Row(what=f"{what}, {depth:,} queued", system=system, figures=figures))
    return rows


def trace(policy: str, tasks: int) -> tuple[Row, float]:
    """Simulate so many tasks on one superconducting-like QPU at load 0.85. The row, and the seconds that it took."""
    began_s, cpu_s = time.perf_counter(), time.process_time()
    workload = Study(modality="sc", load=0.85, jobs=round(tasks / 13.25), seed=1).workload()
    record = simulate(workload, policy, seed=1)
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    done = int(record.counters["tasks"])
    note = f"{done:,} tasks, {record.end_s / 86400:.1f} days simulated in {took_s:.1f} s, {cpu_s:.1f} s of CPU time"
    rate = Spread.of([done / took_s])
    return Row(what=TRACE, system=policy, figures={"rate_hz": rate}, note=note), took_s * tasks / done


def run(policies: tuple[str, ...], quick: bool, tell: Callable[[str], None] = lambda line: None) -> Report:
    """Measure each policy at each depth, then the trace. `tell` is given a line before each step."""
    started, began_s = datetime.now(UTC), time.monotonic()
    rows: list[Row] = []
    deep = 100_000 if quick else 1_000_000
    goals: list[Goal] = []
    for policy in policies:
        for depth in DEPTHS:
            if depth <= deep:
                tell(f"{policy}, {depth:,} queued")
                rows += measure(policy, depth, 500 if quick else 2000)
        goals += [
            Goal(
                name=f"{row.system}: {row.what}, p99 ms", sense="at most", wanted=1.0, got=row.figures["p99_ms"].median
            )
            for row in rows
            if row.what == f"{DECISION}, {deep:,} queued" and row.system.split(",")[0] == policy
        ]
        tell(f"{policy}, a trace of {deep:,} tasks")
        row, took_s = trace(policy, deep)
        rows.append(row)
        goals.append(
            Goal(name=f"{policy}: {TRACE} of a million tasks, s", sense="at most", wanted=60.0, got=took_s * 1e6 / deep)
        )
    return Report(
        title="decisions", started=started.isoformat(timespec="seconds"), took_s=time.monotonic() - began_s,
        version=quarterdeck.__version__, machine=Machine.here(), rounds=1, quick=quick, rows=rows, ratios=[],
        goals=goals, idle=[],
    )  # fmt: skip
