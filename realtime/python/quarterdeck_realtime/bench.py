"""`qdeck realtime bench`: controller, host and jitter control in one run; every correction beside PyMatching's."""

from __future__ import annotations

import platform
import sys
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from quarterdeck_realtime import _hot
from quarterdeck_realtime.closed_loop import Block, ClosedLoop, side_of
from quarterdeck_realtime.codes import Shots, code_circuit, experiment
from quarterdeck_realtime.model import model_of
from quarterdeck_realtime.profiles import PROFILES, Cores, choose_cores
from quarterdeck_realtime.report import Case, Holding, Jitter, Report, Row, Streams, Swaps, markdown

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
QUICK = [Case("surface", 5, 1e-3, 8_000), Case("surface", 7, 1e-3, 8_000), Case("surface", 7, 3e-3, 8_000)]


def head(shots: Shots, many: int) -> Shots:
    """The first of them, to warm a decoder with."""
    return Shots(shots.measurements[:many], shots.detections[:many], shots.observables[:many])


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


def run_case(case: Case, seed: int, fifo: int = 40) -> tuple[Row, list[str]]:
    """Alternate blocks of the null control and the decoder, on the same shots; the row, and what was refused."""
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
        loop.start()
        sides: dict[int, list[Block]] = {own: [], null: []}
        for _ in range(case.blocks):
            for seat in (null, own):
                sides[seat].append(loop.run(seat, shots, expected, plain=case.plain))
        status = loop.status()
        warnings = loop.warnings
    tallies = [block.tally for block in sides[own]]
    differ, ties = near_ties(compiled, sides[own], shots, expected, weights)
    return Row(
        name=exp.name + (" plain" if case.plain else ""),
        case=case,
        own=side_of(sides[own]),
        null=side_of(sides[null]),
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


def run_swaps(distance: int, p: float, swaps: int, seed: int, fifo: int = 40) -> tuple[Swaps, list[str]]:
    """Ask for a new decoder in the middle of every hundredth volume; another thread builds and warms them."""
    every, batch = 100, 50
    exp = experiment("surface", distance, p)
    shots = exp.sample(every * batch, seed)
    expected, _ = exp.expected(shots)
    warm = head(shots, 200)
    model = model_of(exp.dem)
    swapped: list[Block] = []
    steady: list[Block] = []
    with ClosedLoop(fifo=fifo) as loop:
        seat = loop.seat(exp.name, exp, _hot.Matching(model), warm)
        loop.start()
        place = loop.seats[seat][2]
        run: dict[str, Any] = {"warm_shots": 0, "pause_every_shots": 0}
        for _ in range(-(-swaps // batch)):
            steady.append(loop.run(seat, shots, expected, **run))
            fresh = [_hot.Matching(model) for _ in range(2)]
            builder = threading.Thread(
                target=lambda made=fresh: [loop.host.stage(place, made[i % 2], warm.detections) for i in range(batch)]
            )
            builder.start()
            builder.join()
            swapped.append(loop.run(seat, shots, expected, swap_every_shots=every, **run))
            loop.host.collect(place)
        lost_rounds = loop.status().patches[place].lost_rounds
        warnings = loop.warnings
    firsts: list[Block] = []
    wrong = 0
    for block in swapped:
        epochs = block.tally["epoch"].astype(int)
        begun = np.flatnonzero(np.diff(epochs) != 0) + 1
        firsts.append(part_of(block, begun))
        # Asked for in volume 99, 199, ...: in force from the volume after it on.
        wanted = (epochs[0] + np.arange(len(epochs)) // every) % 256
        wrong += int((epochs != wanted).sum())
    return Swaps(
        distance=distance,
        p=p,
        swaps=sum(block.tally["swaps"] for block in swapped),
        shots=sum(block.tally["shots"] for block in swapped),
        lost_rounds=lost_rounds,
        lost_answers=sum(block.tally["lost"] for block in swapped),
        differ=sum(block.tally["differ"] for block in swapped),
        wrong_epoch=wrong,
        swapped=side_of(swapped),
        first=side_of(firsts),
        steady=side_of(steady),
    ), warnings


def run_streams(
    distance: int, p: float, rounds: int, shots: int, seed: int, fifo: int = 40
) -> tuple[Streams, list[str]]:
    """Many short streams, then a long one, through windows of 14 rounds that advance by 7 (for d=5)."""
    window, commit = 3 * distance - 1, (3 * distance - 1) // 2
    exp = experiment("surface", distance, p, rounds=100)
    sampled = exp.sample(shots, seed)
    expected, _ = exp.expected(sampled)
    long = code_circuit("surface", distance, rounds, p).compile_sampler(seed=seed).sample(1, bit_packed=True)[0]
    widths = exp.round_bits[0], exp.round_bits[-1]
    bits = np.unpackbits(long, count=rounds * widths[0] + widths[1], bitorder="little")
    rows = np.packbits(bits[: -widths[1]].reshape(rounds, widths[0]), axis=1, bitorder="little")
    closing = np.packbits(bits[-widths[1] :], bitorder="little").tolist()
    with ClosedLoop(fifo=fifo) as loop:
        seat = loop.seat_stream(exp.name, exp, window, commit)
        loop.start()
        short = loop.run(seat, sampled, expected, stream=True)
        streamed = loop.run_rounds(seat, rows, closing, policy=2)
        patch = loop.status().patches[0]
        warnings = loop.warnings
    return Streams(
        distance=distance,
        p=p,
        window=window,
        commit=commit,
        short=side_of([short]),
        short_differ=short.tally["differ"],
        logical_errors=short.tally["logical_errors"],
        logical_errors_pymatching=int((expected != sampled.observables).sum()),
        rounds=rounds,
        long=side_of([streamed]),
        most_outstanding=streamed.tally["most_outstanding"],
        lost_rounds=patch.lost_rounds,
        late_rounds=streamed.tally["slipped"],
        failures=patch.failures,
    ), warnings


def part_of(block: Block, shots: Any) -> Block:
    """Some of its reactions, whose misses are not explained again."""
    return Block(block.reaction_ns[shots], 0, dict.fromkeys(block.causes, 0), block.tally, block.ran_ns)


def run_holding(
    distance: int, p: float, steps: list[int], seed: int, volumes: int = 12, fifo: int = 40
) -> tuple[list[Holding], list[str]]:
    """More and more patches at 1 ms cycles on one core, spread over the phases of cycle and volume; admission's
    opinion beside what happened."""
    profile = msgspec.structs.replace(PROFILES["neutral-atom"], spin_us=-1.0, policy="defer")
    exp = experiment("surface", distance, p)
    shots = exp.sample(400, seed)
    expected, _ = exp.expected(shots)
    compiled = _hot.Matching(model_of(exp.dem))
    detectors = _hot.Detectors(exp.measurements, exp.detectors)
    frames = exp.frames(shots)
    # With a mebibyte touched between frames: on a full host a patch finds little of its own in the caches.
    cost = _hot.measure(detectors, 1, compiled, shots.detections, exp.round_bits, frames, flush=1 << 20)
    cycle_ns = round(profile.cycle_us * 1e3)
    tenant = (*cost, cycle_ns, round(profile.budget_us * 1e3))
    share = (cost[0] * (cost[3] - 1) + cost[1]) / (cost[3] * profile.cycle_us * 1e3)
    found: list[Holding] = []
    warnings: list[str] = []
    for many in steps:
        # As an operator would ask, with the step before running.
        last = found[-1] if found else None
        measured = last.busy_share * (many - 1) / last.patches if last else -1.0
        refusal = _hot.refusal([tenant] * (many - 1), tenant, measured=measured)
        with ClosedLoop(profile, patches=many, fifo=fifo) as loop:
            for index in range(many):
                loop.seat(f"patch {index}", exp, compiled, head(shots, 20), slots=16)
            controller = loop.controller(len(exp.round_bits), warm_shots=1)
            for index, (rings, _, _) in enumerate(loop.seats):
                first = (index * 7) % (len(shots) - volumes)
                part = slice(first, first + volumes)
                controller.add(
                    rings, decoder=index, round_bits=exp.round_bits, bits=frames[part], observables=1,
                    phase_ns=(index % cost[3]) * cycle_ns + index * cycle_ns // many,
                    expected=expected[part], actual=shots.observables[part],
                )  # fmt: skip
            loop.start()
            before = loop.status()
            loop.warn(controller.run(_hot.Wishes(core=loop.cores.controller, fifo=loop.fifo)))
            after = loop.status()
            warnings += [warning for warning in loop.warnings if warning not in warnings]
            tallies = [controller.tally(index) for index in range(many)]
        reactions = np.concatenate([tally["reaction_ns"][1:] for tally in tallies]) / 1e3
        ran_ns = controller.ran_ns
        busy = (after.busy_share * after.up_s - before.busy_share * before.up_s) * 1e9 / ran_ns
        found.append(
            Holding(
                patches=many,
                admitted=not refusal,
                refusal=refusal,
                predicted_share=share * many,
                busy_share=busy,
                shots=len(reactions),
                misses=int((reactions > profile.budget_us).sum()),
                p50_us=float(np.quantile(reactions, 0.5)),
                p99_us=float(np.quantile(reactions, 0.99)),
                differ=sum(tally["differ"] for tally in tallies),
                lost=sum(tally["lost"] for tally in tallies),
                late_rounds_share=sum(tally["slipped"] for tally in tallies)
                / sum(tally["rounds"] for tally in tallies),
            )
        )
    return found, warnings


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
    tell: Tell = lambda line: None, fifo: int = 40,
) -> Report:  # fmt: skip
    """Run everything; `tell` is called with a line after each step.

    `quick`: a few cases with few shots, well under a minute. `cases`, `swaps` (0: none), `rounds` of the long stream
    (0: none) and `holding` (numbers of patches) replace what the full or quick run has. `fifo`: priority of both ends
    where that is allowed, 0 for none.
    """
    start = time.perf_counter()
    cores = choose_cores()
    warnings: list[str] = []
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
            f"(null {row.null.misses}) of {row.own.shots}; {row.differ} answers unlike PyMatching's"
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
    steps = ([50] if quick else [250, 500, 1000, 1500]) if holding is None else holding
    if steps:
        held, refused = run_holding(7, 1e-3, steps, SEED, fifo=fifo)
        for step in held:
            tell(
                f"{step.patches} patches d=7 at 1 ms: p99 {step.p99_us:.1f} us, {step.misses} of {step.shots} over "
                f"1 ms, core busy {100 * step.busy_share:.0f} %"
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
