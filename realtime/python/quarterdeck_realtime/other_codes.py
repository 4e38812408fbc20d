"""The bench's codes that no matching decodes: colour and bivariate bicycle codes, by relay belief propagation."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from quarterdeck_realtime import _hot
from quarterdeck_realtime.closed_loop import ClosedLoop, Side, side_of
from quarterdeck_realtime.codes import Shots, experiment, masks
from quarterdeck_realtime.decoders import MissingPackage, decoder
from quarterdeck_realtime.decoders.own import relay
from quarterdeck_realtime.profiles import PROFILES
from quarterdeck_realtime.tables import table

__all__ = ["FULL", "QUICK", "OtherCase", "OtherCode", "other_codes_lines", "run_other_code"]


class OtherCase(msgspec.Struct, frozen=True):
    """A memory experiment at 1 ms cycles. `beside` decodes the first `checked` of its `shots` again, offline."""

    code: str
    distance: int
    p: float
    shots: int
    checked: int = 0
    beside: str = "bp-osd"
    rounds: int | None = None


FULL = [
    OtherCase("colour", 5, 1e-3, 1000, 1000),
    OtherCase("colour", 5, 3e-3, 1000, 1000),
    OtherCase("colour", 7, 1e-3, 1000, 300),
    OtherCase("bicycle", 6, 1e-2, 1000, 1000),
    OtherCase("bicycle", 6, 2e-2, 1000, 1000),
    OtherCase("bicycle", 12, 1e-2, 500, 500, "relay-bp"),
]
QUICK = [
    OtherCase("colour", 5, 3e-3, 40, 40),
    OtherCase("colour", 7, 1e-3, 25, 10),
    OtherCase("bicycle", 6, 2e-2, 40, 40),
]


class OtherCode(msgspec.Struct, frozen=True):
    """One case: the decoder, the null control of the same run, and another package offline on the same shots."""

    name: str
    case: OtherCase
    detectors: int
    mechanisms: int
    observables: int
    defects_per_shot: float
    cycle_us: float
    budget_us: float
    own: Side
    null: Side
    over_ion_budget: int  # of the same reactions
    differ: int  # answers other than the same decoder's in a batch
    proven: int  # volumes whose answer is proven to be the lightest, of all
    failed: int  # volumes without an answer, since nothing converged
    failed_offline: int  # by the same decoder in a batch
    lost: int  # neither answered nor failed
    logical_errors: int  # of the volumes that were answered
    answered: int
    checked: int  # volumes that `case.beside` decoded
    unsolved_there: int  # of them, logical errors and failures here
    errors_beside: int | None  # logical errors of `case.beside`; None: it is not installed
    decoder_bytes: int
    compiled_bytes: int


def run_other_code(case: OtherCase, seed: int, fifo: int = 40) -> tuple[OtherCode, list[str]]:
    """Volumes at neutral atoms' cadence and budget, the host napping in between; every answer beside the same decoder's
    in a batch."""
    profile = PROFILES["neutral-atom"]
    exp = experiment(case.code, case.distance, case.p, case.rounds)
    shots = exp.sample(case.shots, seed)
    own = relay(exp.dem)
    compiled: Any = own.compiled
    expected, _, qualities = compiled.decode_batch(shots.detections)
    warm = Shots(shots.measurements[:50], shots.detections[:50], shots.observables[:50])
    nulls = max(20, case.shots // 5)
    few = Shots(shots.measurements[:nulls], shots.detections[:nulls], shots.observables[:nulls])
    with ClosedLoop(profile, fifo=fifo) as loop:
        seat = loop.seat(exp.name, exp, compiled, warm)
        null = loop.seat("null control", exp, _hot.Null(), warm)
        loop.start()
        before = loop.run(null, few, np.zeros(len(few), np.uint64))
        block = loop.run(seat, shots, expected, warm_shots=10)
        patch = loop.status().patches[seat]
        warnings = loop.warnings
    side = side_of([block])
    tally = block.tally
    solved = (qualities != 2) & (expected == shots.observables)
    beside = _beside(case, exp.dem, shots)
    return OtherCode(
        name=exp.name,
        case=case,
        detectors=own.detectors,
        mechanisms=compiled.mechanisms,
        observables=own.observables,
        defects_per_shot=float(shots.detections.sum(axis=1).mean()),
        cycle_us=profile.cycle_us,
        budget_us=profile.budget_us,
        own=side,
        null=side_of([before]),
        over_ion_budget=int((block.reaction_ns > PROFILES["ion"].budget_us * 1e3).sum()),
        differ=tally["differ"],
        proven=int((qualities == 0).sum()),
        failed=patch.failures,
        failed_offline=int((qualities == 2).sum()),
        lost=tally["lost"] - patch.failures,
        logical_errors=tally["logical_errors"],
        answered=tally["shots"],
        checked=case.checked if beside is not None else 0,
        unsolved_there=int((~solved[: case.checked]).sum()),
        errors_beside=beside,
        decoder_bytes=compiled.decoder_bytes,
        compiled_bytes=compiled.bytes,
    ), warnings


def _beside(case: OtherCase, dem: Any, shots: Shots) -> int | None:
    """Logical errors of another package; None if it is not installed."""
    try:
        other = decoder(case.beside, dem)
    except MissingPackage:
        return None
    flips = other.decode_batch(shots.detections[: case.checked])
    return int((masks(flips) != shots.observables[: case.checked]).sum())


def other_codes_lines(codes: list[OtherCode]) -> list[str]:
    """The part of the bench's page."""
    names = [
        "code", "p", "detectors, mechanisms, observables", "defects", "p50 us", "p99 us", "max us", "null p50, p99 us",
        "misses of 1 ms (causes)", "over 67 us", "failed", "logical errors", "offline beside", "unlike its batch",
    ]  # fmt: skip
    rows = []
    for one in codes:
        causes = ", ".join(f"{many} {cause}" for cause, many in one.own.causes.items() if many)
        beside = (
            f"{one.case.beside} {one.errors_beside}, here {one.unsolved_there}, of {one.checked}"
            if one.errors_beside is not None
            else f"{one.case.beside} is not installed"
        )
        rows.append([
            f"{one.case.code} d={one.case.distance}", f"{one.case.p:g}",
            f"{one.detectors}, {one.mechanisms}, {one.observables}", f"{one.defects_per_shot:.1f}",
            f"{one.own.p50_us:.0f}", f"{one.own.p99_us:.0f}", f"{one.own.max_us:.0f}",
            f"{one.null.p50_us:.1f}, {one.null.p99_us:.1f}",
            f"{one.own.misses} of {one.own.shots}" + (f" ({causes})" if causes else ""), f"{one.over_ion_budget}",
            f"{one.failed}", f"{one.logical_errors} of {one.answered}", beside, f"{one.differ}",
        ])  # fmt: skip
    return [
        "Other codes, by relay belief propagation at 1 ms cycles with neutral atoms' budget (colour: circuit noise; "
        "bicycle: phenomenological):",
        "",
        *table(names, rows),
    ]
