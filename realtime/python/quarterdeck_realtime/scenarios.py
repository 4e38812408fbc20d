"""What the bench measures besides volumes: streams, hot swaps, many patches, hardware's profiles, drift, losses."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import numpy as np

from quarterdeck_realtime import _hot
from quarterdeck_realtime.admission import WORKING_SET, refusal, tried
from quarterdeck_realtime.closed_loop import Block, ClosedLoop, side_of
from quarterdeck_realtime.codes import Shots, circuit_experiment, code_circuit, experiment, lossy_experiment, read_loss
from quarterdeck_realtime.model import model_of
from quarterdeck_realtime.profiles import PROFILES
from quarterdeck_realtime.report import Drift, Holding, Losses, Pacing, Streams, Swaps

READOUT_LOSS = 0.02

__all__ = ["head", "run_drift", "run_holding", "run_losses", "run_profile", "run_streams", "run_swaps"]


def head(shots: Shots, many: int) -> Shots:
    """The first of them, to warm a decoder with."""
    return Shots(shots.measurements[:many], shots.detections[:many], shots.observables[:many])


def run_swaps(
    distance: int, p: float, swaps: int, seed: int, fifo: int = 40, every: int = 100
) -> tuple[Swaps, list[str]]:
    """Ask for a new decoder in the middle of each `every`th volume; another thread builds and warms them."""
    batch = 50
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
        # Asked for in volume every - 1, 2 every - 1, ...: in force from the volume after it on.
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
        short = loop.run(seat, sampled, expected, warm_shots=shots // 20, stream=True)
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
    cycle_ns = round(profile.cycle_us * 1e3)

    found: list[Holding] = []
    warnings: list[str] = []
    for many in steps:
        seating = _hot.seat_volumes(detectors, 1, compiled, shots.detections[:20])
        others = (many - 1) * WORKING_SET + compiled.bytes
        cost = tried(seating, exp.round_bits, frames[:200], profile, others)
        # As an operator would ask, with the step before running.
        last = found[-1] if found else None
        measured = last.busy_share * (many - 1) / last.patches if last else -1.0
        refused = refusal([cost] * (many - 1), cost, measured=measured)
        with ClosedLoop(profile, patches=many, fifo=fifo) as loop:
            for index in range(many):
                loop.seat(f"patch {index}", exp, compiled, head(shots, 20), slots=16)
            controller = loop.controller(len(exp.round_bits), warm_shots=1)
            for index, (rings, _, _) in enumerate(loop.seats):
                first = (index * 7) % (len(shots) - volumes)
                part = slice(first, first + volumes)
                controller.add(
                    rings, decoder=index, round_bits=exp.round_bits, bits=frames[part], observables=1,
                    phase_ns=(index % cost.rounds) * cycle_ns + index * cycle_ns // many,
                    expected=expected[part], actual=shots.observables[part],
                )  # fmt: skip
            loop.start()
            before = loop.status()
            loop.warn(controller.run(_hot.Wishes(core=loop.cores.controller, fifo=loop.fifo)))
            after = loop.status()
            warnings += [warning for warning in loop.warnings if warning not in warnings]
            tallies = [controller.tally(index) for index in range(many)]
            causes = loop.causes(tallies)
        reactions = np.concatenate([tally["reaction_ns"][1:] for tally in tallies]) / 1e3
        ran_ns = controller.ran_ns
        busy = (after.busy_share * after.up_s - before.busy_share * before.up_s) * 1e9 / ran_ns
        found.append(
            Holding(
                patches=many,
                admitted=not refused,
                refusal=refused,
                predicted_share=cost.share * many,
                busy_share=busy,
                shots=len(reactions),
                misses=sum(causes.values()),
                causes=causes,
                p50_us=float(np.quantile(reactions, 0.5)),
                p99_us=float(np.quantile(reactions, 0.99)),
                differ=sum(tally["differ"] for tally in tallies),
                lost=sum(tally["lost"] for tally in tallies),
                late_rounds_share=sum(tally["slipped"] for tally in tallies)
                / sum(tally["rounds"] for tally in tallies),
            )
        )
    return found, warnings


def run_profile(name: str, policy: str, shots: int, seed: int, fifo: int = 40) -> tuple[Pacing, list[str]]:
    """A d=5 memory at a profile's cadence, the host napping between rounds where the profile says so."""
    profile = msgspec.structs.replace(PROFILES[name], policy=policy)
    exp = experiment("surface", 5, 3e-3)
    sampled = exp.sample(shots, seed)
    expected, _ = exp.expected(sampled)
    with ClosedLoop(profile, fifo=fifo) as loop:
        loop.seat(exp.name, exp, _hot.Matching(model_of(exp.dem)), head(sampled, 50))
        loop.start()
        before = loop.status()
        block = loop.run(0, sampled, expected, warm_shots=min(10, shots - 1))
        after = loop.status()
        warnings = loop.warnings
    asleep = (after.asleep_share * after.up_s - before.asleep_share * before.up_s) * 1e9 / block.ran_ns
    return Pacing(
        profile=name,
        policy=policy,
        cycle_us=profile.cycle_us,
        budget_us=profile.budget_us,
        side=side_of([block]),
        asleep_share=asleep,
        idle_rounds=block.tally["idle_rounds"],
        waited_us=block.tally["waited_ns"] / 1e3,
        differ=block.tally["differ"],
        lost=block.tally["lost"],
    ), warnings


def run_drift(distance: int, shots: int, seed: int, fifo: int = 40) -> tuple[Drift, list[str]]:
    """Measurement errors grow from 1e-3 to 5e-2 while all others stay: weights of the first day, and swapped ones."""
    p, steps = 1e-3, [1e-3, 5e-3, 1e-2, 2e-2, 3e-2, 5e-2]
    calm = experiment("surface", distance, p)
    errors: dict[str, list[int]] = {"stale": [], "fresh": []}
    differ = lost = 0
    with ClosedLoop(fifo=fifo) as loop:
        first = _hot.Matching(model_of(calm.dem))
        warm = head(calm.sample(200, seed), 200)
        seats = {name: loop.seat(f"{name} weights", calm, first, warm) for name in errors}
        loop.start()
        for step, measure in enumerate(steps):
            now = circuit_experiment("now", code_circuit("surface", distance, distance, p, measure))
            sampled = calm.sample(shots, seed + step, circuit=now.circuit)
            # Built and warmed here, beside the loop; taken by the loop before the next volume.
            loop.host.swap(loop.seats[seats["fresh"]][2], _hot.Matching(model_of(now.dem)), sampled.detections[:200])
            for name, seat in seats.items():
                expected, _ = (now if name == "fresh" else calm).expected(sampled)
                block = loop.run(seat, sampled, expected, warm_shots=0)
                errors[name].append(block.tally["logical_errors"])
                differ += block.tally["differ"]
                lost += block.tally["lost"]
            loop.host.collect(loop.seats[seats["fresh"]][2])
        warnings = loop.warnings
    return Drift(distance, p, steps, shots, errors["stale"], errors["fresh"], differ, lost), warnings


def run_losses(
    distance: int, p: float, fraction: float, shots: int, seed: int, fifo: int = 40
) -> tuple[Losses, list[str]]:
    """Atoms are lost, and noticed: a decoder that is told beside one that is not, on the same shots."""
    profile = msgspec.structs.replace(PROFILES["superconducting"], cycle_us=10.0, budget_us=1000.0)
    lossy = lossy_experiment("surface", distance, p, fraction)
    exp, model = lossy.experiment, lossy.erasures
    deaf = msgspec.structs.replace(exp, heralds=[])
    sampled = exp.sample(shots, seed)
    aware, blind = _hot.Erasure(model.aware, model.sites), _hot.Matching(model.blind)
    expected = {
        "aware": aware.decode_batch(sampled.detections, lossy.losses(sampled))[0],
        "blind": blind.decode_batch(sampled.detections)[0],
    }
    # The other kind of loss: an atom that is gone when it is measured.
    plain = experiment("surface", distance, p)
    graph = model_of(plain.dem)
    edges = read_loss(plain, graph)
    listening, matching = _hot.Erasure(graph, edges), _hot.Matching(graph)
    noisy = plain.sample(shots, seed, loss=READOUT_LOSS)
    silent = plain.silenced(noisy)
    hearing = msgspec.structs.replace(plain, lost=edges)
    with ClosedLoop(profile, fifo=fifo) as loop:
        loop.seat("told of losses", exp, aware, head(sampled, 50))
        loop.seat("not told", deaf, blind, head(sampled, 50))
        loop.seat("told of lost readouts", hearing, listening, head(silent, 50))
        loop.seat("random readouts", plain, matching, head(noisy, 50))
        loop.start()
        told = loop.run(0, sampled, expected["aware"])
        untold = loop.run(1, sampled, expected["blind"])
        heard = loop.run(2, silent, listening.decode_batch(silent.detections, noisy.lost)[0])
        unheard = loop.run(3, noisy, matching.decode_batch(noisy.detections)[0])
        warnings = loop.warnings
    blocks = [told, untold, heard, unheard]
    lost = lossy.losses(sampled)
    return Losses(
        distance=distance,
        p=p,
        fraction=fraction,
        shots=shots,
        lost_per_shot=float(lost.sum(axis=1).mean()),
        aware=side_of([told]),
        blind=side_of([untold]),
        errors_aware=told.tally["logical_errors"],
        errors_blind=untold.tally["logical_errors"],
        differ=sum(block.tally["differ"] for block in blocks),
        lost_answers=sum(block.tally["lost"] for block in blocks),
        readouts_lost=READOUT_LOSS,
        readout_errors_aware=heard.tally["logical_errors"],
        readout_errors_blind=unheard.tally["logical_errors"],
    ), warnings
