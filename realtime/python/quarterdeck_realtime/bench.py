"""`qdeck realtime bench`: controller, host and jitter control in one run; every correction beside PyMatching's."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from quarterdeck_realtime import _hot
from quarterdeck_realtime.closed_loop import Block, ClosedLoop, Reactions, side_of
from quarterdeck_realtime.codes import Shots, experiment
from quarterdeck_realtime.model import model_of
from quarterdeck_realtime.other_codes import FULL as OTHER_CODES
from quarterdeck_realtime.other_codes import QUICK as OTHER_CODES_QUICK
from quarterdeck_realtime.other_codes import OtherCode, run_other_code
from quarterdeck_realtime.over_udp import run_udp
from quarterdeck_realtime.profiles import Cores, choose_cores
from quarterdeck_realtime.report import Case, Holding, Jitter, Pacing, Report, Row, markdown
from quarterdeck_realtime.scenarios import (
    head,
    run_drift,
    run_holding,
    run_losses,
    run_profile,
    run_streams,
    run_swaps,
)

__all__ = ["bench"]

Tell = Callable[[str], None]
SEED = 20_000


FULL = [
    Case("surface", 5, 1e-3, 25_000),
    Case("surface", 7, 1e-3, 25_000),
    Case("surface", 7, 1e-3, 12_000, plain=True),
    Case("surface", 7, 3e-3, 20_000),
    Case("surface", 9, 1e-3, 12_000),
    Case("surface", 9, 3e-3, 12_000),
    Case("surface", 11, 1e-3, 12_000),
    Case("surface", 11, 3e-3, 12_000),
    Case("surface", 13, 1e-3, 8_000),
    Case("surface", 13, 3e-3, 8_000),
    Case("repetition", 13, 3e-3, 12_000),
]
PACES = [
    ("ion", "idle"),
    ("ion", "defer"),
    ("neutral-atom", "defer"),
]
QUICK = [Case("surface", 5, 1e-3, 8_000), Case("surface", 7, 1e-3, 8_000), Case("surface", 7, 3e-3, 8_000)]


def near_ties(compiled: Any, blocks: list[Block], shots: Shots, expected: Any, weights: Any) -> tuple[int, int]:
    """(answers other than expected, those of them whose solution weighs the same within rounding)."""
    differ = ties = 0
    for block in blocks:
        found = block.tally["corrections"]
        answered = block.tally["reaction_ns"] != np.iinfo(np.uint32).max
        for shot in np.flatnonzero((found != expected) & answered):
            defects = np.flatnonzero(shots.detections[shot]).tolist()
            _, weight = compiled.decode(defects)
            differ += 1
            ties += abs(weight - weights[shot]) <= max(compiled.units) * len(defects)
    return differ, ties


def measure_jitter(cores: Cores, seconds: float, fifo: int) -> Jitter:
    """Spin on the host's core, which must be free."""
    told = _hot.jitter(round(seconds * 1e9), _hot.Wishes(core=cores.host, fifo=fifo))
    return Jitter(
        told["granted"]["core"], told["spun_ns"] / 1e9, told["over_2us_per_s"], told["over_10us_per_s"],
        told["share_over_2us"], told["longest_ns"] / 1e3,
    )  # fmt: skip


def typical(blocks: list[Block]) -> Reactions:
    """Of each shot, the lower median of its reactions, in ns: of two blocks or more without the machine's stalls."""
    reactions = np.sort([block.tally["reaction_ns"] for block in blocks], axis=0)
    return np.asarray(reactions[(len(blocks) - 1) // 2], np.uint32)


def busy_times(own: list[Block], null: list[Block], budget_ns: int) -> list[int]:
    """How long the busy control spins for each shot, in ns: as long as the decoder usually takes for it.

    Not at all where that alone is over the budget: such misses are the decoder's, and counted apart.
    """
    reactions = typical(own)
    transport = int(np.median(np.concatenate([block.reaction_ns for block in null])))
    times = np.where(reactions > budget_ns, 0, np.maximum(reactions, transport) - transport)
    found: list[int] = times.tolist()
    return found


def run_case(case: Case, seed: int, fifo: int = 40) -> tuple[Row, list[str]]:
    """Alternate blocks of the null control, the decoder and the busy control, on the same shots; the row, and what was
    refused."""
    exp = experiment(case.code, case.distance, case.p)
    shots = exp.sample(case.shots, seed)
    expected, weights = exp.expected(shots)
    model = model_of(exp.dem)
    start = time.perf_counter()
    compiled = _hot.Matching(model)
    compile_s = time.perf_counter() - start
    with ClosedLoop(fifo=fifo) as loop:
        own = loop.seat(exp.name, exp, compiled, head(shots, 500))
        null = loop.seat("null control", exp, _hot.Null(), head(shots, 1))
        busy = loop.seat("busy control", exp, _hot.Busy([0]), head(shots, 1))
        loop.start()
        budget_ns = loop.profile.terms["budget_ns"]
        rehearsal = loop.run(own, shots, expected, plain=case.plain)  # tells the busy control, and is not counted
        sides: dict[int, list[Block]] = {own: [], null: [], busy: []}
        for _ in range(case.blocks):
            for seat in (null, own):
                sides[seat].append(loop.run(seat, shots, expected, plain=case.plain))
            times = busy_times([rehearsal, *sides[own]], sides[null], budget_ns)
            loop.host.swap(loop.seats[busy][2], _hot.Busy(times), shots.detections[:1], warm_ns=0)
            sides[busy].append(loop.run(busy, shots, expected, plain=case.plain))
        status = loop.status()
        warnings = loop.warnings
    tallies = [block.tally for block in sides[own]]
    differ, ties = near_ties(compiled, sides[own], shots, expected, weights)
    slow = typical([rehearsal, *sides[own]]) > budget_ns
    return Row(
        name=exp.name + (" plain" if case.plain else ""),
        case=case,
        own=side_of(sides[own]),
        null=side_of(sides[null]),
        busy=side_of(sides[busy]),
        slow_misses=sum(block.late_among(slow, budget_ns) for block in sides[own]),
        differ=differ,
        near_ties=ties,
        logical_errors=sum(tally["logical_errors"] for tally in tallies),
        logical_errors_pymatching=case.blocks * int((expected != shots.observables).sum()),
        answered=sum(tally["shots"] for tally in tallies),
        lost=sum(tally["lost"] for tally in tallies),
        late_rounds=sum(tally["slipped"] for tally in tallies),
        told_late=sum(tally["told_late"] for tally in tallies),
        gaps_per_s=status.gaps_per_s,
        compile_s=compile_s,
        table_bytes=compiled.bytes,
    ), warnings


def machine() -> str:
    """The processor's name and how many of its cores this process may use."""
    name = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith(("model name", "Model")):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, Linux {platform.release()}"


def bench(
    quick: bool = False,
    cases: list[Case] | None = None,
    swaps: int | None = None,
    rounds: int | None = None,
    holding: list[int] | None = None,
    extras: bool = True,
    tell: Tell = lambda line: None, fifo: int = 40,
) -> Report:  # fmt: skip
    """Run everything; `tell` is called with a line after each step.

    `quick`: a few cases with few shots, well under a minute. `cases`, `swaps` (0: none), `rounds` of the long stream
    (0: none) and `holding` (numbers of patches) replace what the full or quick run has. `extras`: also hardware's
    profiles, drift, losses and other codes. `fifo`: priority of both ends where that is allowed, 0 for none.
    """
    start = time.perf_counter()
    cores = choose_cores()
    warnings: list[str] = []
    if cores.host < 0:  # each hand-over costs the scheduler's time slice: a look at the loop, and no more
        cases = [msgspec.structs.replace(case, shots=60, blocks=1) for case in cases or QUICK]
        swaps, rounds, holding, extras = 0, 0, [], False
        warnings.append("With one core only the loop itself was tried, with few shots.")
    jitter = measure_jitter(cores, 0.3 if quick else 0.9, fifo if cores.host >= 0 else 0)
    tell(
        f"jitter control: {jitter.over_10us_per_s:.0f} gaps/s over 10 us, the longest {jitter.longest_us:.0f} us, "
        f"{100 * jitter.share_over_2us:.1f} % of the time in gaps"
    )
    rows = []
    for index, case in enumerate((QUICK if quick else FULL) if cases is None else cases):
        row, refused = run_case(case, SEED + index, fifo)
        rows.append(row)
        warnings += [each for each in refused if each not in warnings]
        tell(
            f"{row.name}: p50 {row.own.p50_us:.2f}, p99 {row.own.p99_us:.2f}, p99.9 {row.own.p999_us:.1f} us "
            f"(null {row.null.p50_us:.2f}, {row.null.p99_us:.2f}, {row.null.p999_us:.1f}); misses {row.own.misses} "
            f"(null {row.null.misses}, busy {row.busy.misses}) of {row.own.shots}; {row.differ} answers "
            "unlike PyMatching's"
        )
    many = (100 if quick else 1000) if swaps is None else swaps
    swapped = None
    if many:
        swapped, refused = run_swaps(5, 1e-3, many, SEED, fifo)
        tell(
            f"{swapped.swaps} hot swaps: {swapped.lost_rounds} lost rounds, {swapped.lost_answers} lost answers, p99 "
            f"{swapped.swapped.p99_us:.2f} us (without {swapped.steady.p99_us:.2f})"
        )
    streams = None
    many = (100_000 if quick else 1_000_000) if rounds is None else rounds
    if many:
        streams, refused = run_streams(5, 1e-3, many, 300 if quick else 3000, SEED, fifo)
        tell(
            f"{many} rounds d=5 in one stream: p50 {streams.long.p50_us:.2f}, p99 {streams.long.p99_us:.2f} us, at "
            f"most {streams.most_outstanding} rounds waiting; of streams of 100 rounds "
            f"{streams.short_differ} are unlike "
            "PyMatching's"
        )
    held: list[Holding] = []
    steps = ([50] if quick else [250, 500, 1000, 1500, 2000]) if holding is None else holding
    if steps:
        held, refused = run_holding(7, 1e-3, steps, SEED, fifo=fifo)
        for step in held:
            tell(
                f"{step.patches} patches d=7 at 1 ms: p99 {step.p99_us:.1f} us, {step.misses} of {step.shots} over "
                f"1 ms, core busy {100 * step.busy_share:.0f} %"
            )
    paced: list[Pacing] = []
    for name, policy in [] if not extras else PACES[:2] if quick else PACES:
        pace, refused = run_profile(name, policy, 40 if quick else 250, SEED, fifo)
        paced.append(pace)
        tell(
            f"{name}, {policy}: p50 {pace.side.p50_us:.1f}, p99 {pace.side.p99_us:.1f} us at "
            f"{pace.cycle_us:g} us cycles"
        )
    drift = losses = None
    if extras:
        drift, refused = run_drift(5, 2_000 if quick else 20_000, SEED, fifo)
        tell(f"drift: {sum(drift.stale)} logical errors with stale weights, {sum(drift.fresh)} with swapped ones")
        losses, refused = run_losses(5, 4e-3, 0.5, 1_000 if quick else 20_000, SEED, fifo)
        tell(f"losses: {losses.errors_aware} logical errors when told of them, {losses.errors_blind} when not")
    others: list[OtherCode] = []
    for index, other in enumerate([] if not extras else OTHER_CODES_QUICK if quick else OTHER_CODES):
        one, refused = run_other_code(other, SEED + index, fifo)
        others.append(one)
        tell(
            f"{one.name}: p50 {one.own.p50_us:.0f}, p99 {one.own.p99_us:.0f} us at {one.cycle_us:g} us cycles; "
            f"{one.failed} volumes failed, {one.logical_errors} logical errors of {one.answered}"
        )
    udp = []
    for distance in (5, 7) if extras else ():
        over, refused = run_udp(distance, 1e-3, 200 if quick else 1500, 2 if quick else 4, SEED, fifo)
        udp.append(over)
        tell(
            f"{over.name} over UDP: p50 {over.own.p50_us:.1f}, p99 {over.own.p99_us:.1f} us (null "
            f"{over.null.p50_us:.1f}, {over.null.p99_us:.1f}); {over.lost_rounds} rounds lost"
        )
    return Report(
        machine=machine(),
        python=sys.version.split()[0],
        versions={name: metadata.version(name) for name in ("quarterdeck-realtime", "pymatching", "stim", "numpy")},
        cores=cores,
        quick=quick,
        seconds=time.perf_counter() - start,
        warnings=warnings,
        jitter=jitter,
        rows=rows,
        streams=streams,
        swaps=swapped,
        holding=held,
        pacing=paced,
        drift=drift,
        losses=losses,
        udp=udp,
        others=others,
    )


def main() -> None:
    """`python -m quarterdeck_realtime.bench [--quick] [--json FILE]`."""
    quick = "--quick" in sys.argv
    report = bench(quick=quick, tell=lambda line: print(line, file=sys.stderr, flush=True))
    if "--json" in sys.argv:
        Path(sys.argv[sys.argv.index("--json") + 1]).write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    print(markdown(report))


if __name__ == "__main__":
    main()
