"""What a run of the bench found: as JSON, and as a page."""

from __future__ import annotations

import msgspec

from quarterdeck_realtime.chance import Ratio, ratio
from quarterdeck_realtime.closed_loop import Side
from quarterdeck_realtime.other_codes import OtherCode, other_codes_lines
from quarterdeck_realtime.profiles import Cores
from quarterdeck_realtime.tables import table

__all__ = [
    "Case", "Drift", "Holding", "Jitter", "Losses", "OverUdp", "Pacing", "Report", "Row", "Streams", "Swaps",
    "markdown",
]  # fmt: skip


class Case(msgspec.Struct, frozen=True):
    """A memory experiment at 1 us cadence; `shots` in each of `blocks` blocks, the null control's between them."""

    code: str
    distance: int
    p: float
    shots: int
    blocks: int = 8
    plain: bool = False  # cudaq-realtime alone: an answer to each enqueue, and get_corrections


class Jitter(msgspec.Struct, frozen=True):
    """A thread that only looks at the clock: what the machine takes from it."""

    core: int
    seconds: float
    over_2us_per_s: float
    over_10us_per_s: float
    share_over_2us: float
    longest_us: float


class Row(msgspec.Struct, frozen=True):
    """One case: the decoder, the controls of the same minute, and the agreement with PyMatching."""

    name: str
    case: Case
    own: Side
    null: Side
    busy: Side  # a decoder that only spins for as long as the real one usually takes for the same shot
    slow_misses: int  # of shots for which the decoder usually takes longer than the budget
    differ: int  # answers other than PyMatching's, of the same shots
    near_ties: int  # of them, with equal weight within the rounding of the tables
    logical_errors: int
    logical_errors_pymatching: int
    answered: int  # all shots, with those that warmed up
    lost: int  # without an answer
    late_rounds: int  # published over half a cycle late
    told_late: int
    gaps_per_s: float  # of the host's loop, over 2 us
    compile_s: float
    table_bytes: int

    @property
    def p99_above_null_us(self) -> float:
        return self.own.p99_us - self.null.p99_us

    @property
    def ratio(self) -> Ratio:
        """Of the decoder's misses, but for slow shots, to the busy control's: 1 where the decoder adds none."""
        return ratio(self.own.misses - self.slow_misses, self.own.shots, self.busy.misses, self.busy.shots)


class Swaps(msgspec.Struct, frozen=True):
    """Hot swaps under load, against the same stream without any."""

    distance: int
    p: float
    swaps: int  # that the answers showed
    shots: int
    lost_rounds: int
    lost_answers: int
    differ: int
    wrong_epoch: int  # answers of another decoder than the one in force
    swapped: Side  # all shots of the run with swaps
    first: Side  # the first volume of each new decoder
    steady: Side  # the run without swaps


class Holding(msgspec.Struct, frozen=True):
    """Many patches of one distance on one core at 1 ms cycles."""

    patches: int
    admitted: bool
    refusal: str
    predicted_share: float
    busy_share: float
    shots: int
    misses: int
    causes: dict[str, int]  # of each miss, exactly one
    p50_us: float
    p99_us: float
    differ: int
    lost: int
    late_rounds_share: float  # of the controller: above some per cent it is the limit, not the host


class Streams(msgspec.Struct, frozen=True):
    """Sliding windows: streams of 100 rounds beside PyMatching, and one of very many rounds for its backlog."""

    distance: int
    p: float
    window: int
    commit: int
    short: Side  # the closing answers of streams of 100 rounds
    short_differ: int  # from PyMatching, which decodes each stream as a whole
    logical_errors: int
    logical_errors_pymatching: int
    rounds: int  # of the long stream
    long: Side  # every round of it, from its publishing to its acknowledgement, with all decoding that it set off
    most_outstanding: int  # rounds without an acknowledgement at any one time
    lost_rounds: int
    late_rounds: int
    failures: int


class OverUdp(msgspec.Struct, frozen=True):
    """Volumes over UDP on the loopback: a decoder and the null control, each behind an endpoint of its own."""

    name: str
    cycle_us: float
    own: Side
    null: Side
    lost_rounds: int  # that the host found missing, of both
    lost_answers: int  # volumes without an answer, of both
    differ: int  # answers of the decoder other than PyMatching's


class Pacing(msgspec.Struct, frozen=True):
    """A kind of hardware: its cadence, with the host napping in between."""

    profile: str
    policy: str
    cycle_us: float
    budget_us: float
    side: Side
    asleep_share: float  # of the run, by the host's own choice
    idle_rounds: int  # that the controller put in
    waited_us: float  # that the controller's clock stood
    differ: int
    lost: int


class Drift(msgspec.Struct, frozen=True):
    """Logical errors while measurements get worse: with the first weights, and with weights that are swapped in."""

    distance: int
    p: float
    measure: list[float]  # probability of a flipped measurement, by step
    shots: int  # of each step
    stale: list[int]
    fresh: list[int]
    differ: int  # from PyMatching with the same weights
    lost: int


class Losses(msgspec.Struct, frozen=True):
    """Lost atoms that are noticed: a decoder that is told, and one that is not."""

    distance: int
    p: float
    fraction: float  # of the depolarising errors
    shots: int
    lost_per_shot: float
    aware: Side
    blind: Side
    errors_aware: int
    errors_blind: int
    differ: int  # from the same decoders' answers to the whole batch
    lost_answers: int
    readouts_lost: float = 0.0  # in a second run: the share of measurements whose atom is gone
    readout_errors_aware: int = 0
    readout_errors_blind: int = 0


class Report(msgspec.Struct, frozen=True):
    """A whole run."""

    machine: str
    python: str
    versions: dict[str, str]
    cores: Cores
    quick: bool
    seconds: float
    warnings: list[str]
    jitter: Jitter
    rows: list[Row]
    streams: Streams | None = None
    swaps: Swaps | None = None
    holding: list[Holding] = []
    pacing: list[Pacing] = []
    drift: Drift | None = None
    losses: Losses | None = None
    udp: list[OverUdp] = []
    others: list[OtherCode] = []


def markdown(report: Report) -> str:
    """The report as a page."""
    parts = [_top(report), _times(report.rows), _misses(report.rows)]
    if report.streams:
        parts.append([_streams(report.streams)])
    if report.swaps:
        parts.append([_swaps(report.swaps)])
    if report.holding:
        parts.append(_holding(report.holding))
    if report.pacing:
        parts.append(_pacing(report.pacing))
    if report.drift:
        parts.append([_drift(report.drift)])
    if report.losses:
        parts.append([_losses(report.losses)])
    if report.others:
        parts.append(other_codes_lines(report.others))
    if report.udp:
        parts.append(_udp(report.udp))
    if report.warnings:
        parts.append([f"- {warning}" for warning in report.warnings])
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _top(report: Report) -> list[str]:
    jitter = report.jitter
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return [
        f"Machine: {report.machine}; controller on core {report.cores.controller}, host on core {report.cores.host}; "
        f"{versions}; {report.seconds:.0f} s in all.",
        "",
        f"Jitter control (a thread that only reads the clock, {jitter.seconds:.1f} s): {jitter.over_2us_per_s:.0f} "
        f"gaps/s over 2 us, {jitter.over_10us_per_s:.0f} over 10 us, the longest {jitter.longest_us:.0f} us.",
        "",
        "Reaction in us (answer seen minus last round published) at 1 us cadence over shared memory. The null "
        "control is the same loop without a decoder, the busy control one that only spins; in blocks between the "
        "decoder's.",
    ]


def _times(rows: list[Row]) -> list[str]:
    names = ["case", "shots", "p50", "p99", "p99.9", "null p50", "null p99", "null p99.9", "p99 above null", "busy p50"]
    names += ["busy p99", "busy p99.9", "unlike PyMatching", "logical errors (PyMatching's)"]
    found = []
    for row in rows:
        own, null, busy = row.own, row.null, row.busy
        ties = f" ({row.near_ties} near-ties)" if row.differ else ""
        times = [own.p50_us, own.p99_us, own.p999_us, null.p50_us, null.p99_us, null.p999_us, row.p99_above_null_us]
        times += [busy.p50_us, busy.p99_us, busy.p999_us]
        found.append([
            row.name, f"{own.shots}", *(f"{time:.2f}" for time in times), f"{row.differ}{ties}",
            f"{row.logical_errors} ({row.logical_errors_pymatching})",
        ])  # fmt: skip
    return table(names, found)


def _misses(rows: list[Row]) -> list[str]:
    names = ["case", "misses", "null's", "busy's", "of slow shots", "others to busy's", "not the machine's", "null's"]
    names += ["busy's", "causes"]
    found = [
        [
            row.name, f"{row.own.misses}", f"{row.null.misses}", f"{row.busy.misses}", f"{row.slow_misses}",
            f"{row.ratio}", f"{row.own.earned}", f"{row.null.earned}", f"{row.busy.earned}", _causes(row.own.causes),
        ]
        for row in rows
    ]  # fmt: skip
    late = sum(row.own.misses - row.slow_misses for row in rows)
    busy = sum(row.busy.misses for row in rows)
    together = ratio(late, sum(row.own.shots for row in rows), busy, sum(row.busy.shots for row in rows))
    return [
        "Misses of 10 us. The busy control spins for as long as the decoder usually took for the same shot; shots for "
        "which that alone is over 10 us are slow, and left out of its comparison. In brackets: the interval that holds "
        "the true ratio in 95 of 100 cases, as if misses were independent; where it holds 1, nothing says that the "
        "decoder adds misses of its own.",
        "",
        *table(names, found),
        "",
        f"All cases together: {late} misses of shots that are not slow, {busy} of the busy control; ratio {together}.",
    ]


def _causes(causes: dict[str, int]) -> str:
    return ", ".join(f"{cause} {many}" for cause, many in causes.items() if many) or "-"


def _streams(streams: Streams) -> str:
    long, short = streams.long, streams.short
    return (
        f"Streams, d={streams.distance}, p={streams.p:g}, windows of {streams.window} rounds that advance by "
        f"{streams.commit}, exact matching in each. {streams.rounds} rounds in one stream: each round answered in p50 "
        f"{long.p50_us:.2f}, p99 {long.p99_us:.2f}, p99.9 {long.p999_us:.1f} us, {long.misses} over 10 us; at most "
        f"{streams.most_outstanding} rounds waiting, {streams.lost_rounds} lost. Streams of 100 rounds: closing answer "
        f"in p50 {short.p50_us:.2f}, p99 {short.p99_us:.2f} us; {streams.short_differ} of {short.shots} unlike "
        f"PyMatching's of the whole; {streams.logical_errors} logical errors (PyMatching's "
        f"{streams.logical_errors_pymatching})."
    )


def _swaps(swaps: Swaps) -> str:
    return (
        f"Hot swaps, d={swaps.distance}, p={swaps.p:g}: {swaps.swaps} in {swaps.shots} volumes: {swaps.lost_rounds} "
        f"lost rounds, {swaps.lost_answers} lost answers, {swaps.wrong_epoch} answers of another epoch, {swaps.differ} "
        f"unlike PyMatching's. p99 {swaps.swapped.p99_us:.2f} us against {swaps.steady.p99_us:.2f} "
        f"without swaps; the first "
        f"volume of a new decoder: p50 {swaps.first.p50_us:.2f}, p99 {swaps.first.p99_us:.2f} us."
    )


def _holding(steps: list[Holding]) -> list[str]:
    names = ["patches", "admitted", "core busy (foretold)", "p50 us", "p99 us", "over budget", "causes"]
    rows = [
        [
            f"{step.patches}", "yes" if step.admitted else "no",
            f"{100 * step.busy_share:.0f} % ({100 * step.predicted_share:.0f} %)", f"{step.p50_us:.1f}",
            f"{step.p99_us:.1f}", f"{step.misses} of {step.shots}", _causes(step.causes), f"{step.differ}",
            f"{100 * step.late_rounds_share:.1f} %",
        ]
        for step in steps
    ]  # fmt: skip
    title = "Patches of d=7 at 1 ms cycles on one core, budget 1 ms:"
    return [title, "", *table([*names, "unlike PyMatching", "rounds late"], rows)]


def _udp(rows: list[OverUdp]) -> list[str]:
    names = ["case", "shots", "p50", "p99", "p99.9", "null p50", "null p99", "null p99.9", "misses", "null's", "causes"]
    names += ["rounds lost", "answers lost", "unlike PyMatching"]
    found = [
        [
            row.name, f"{row.own.shots}",
            *(f"{time:.1f}" for side in (row.own, row.null) for time in (side.p50_us, side.p99_us, side.p999_us)),
            f"{row.own.misses}", f"{row.null.misses}", _causes(row.own.causes), f"{row.lost_rounds}",
            f"{row.lost_answers}", f"{row.differ}",
        ]
        for row in rows
    ]  # fmt: skip
    return [
        f"UDP on the loopback, one datagram a round at {rows[0].cycle_us:g} us cycles: kernel sockets at both ends, no "
        "network card; misses are over 10 us.",
        "",
        *table(names, found),
    ]


def _pacing(steps: list[Pacing]) -> list[str]:
    names = ["profile", "policy", "cycle us", "budget us", "p50 us", "p99 us", "max us", "misses", "host asleep"]
    rows = [
        [
            step.profile, step.policy, f"{step.cycle_us:g}", f"{step.budget_us:g}", f"{step.side.p50_us:.1f}",
            f"{step.side.p99_us:.1f}", f"{step.side.max_us:.1f}", f"{step.side.misses} of {step.side.shots}",
            f"{100 * step.asleep_share:.0f} %", f"{step.differ}",
        ]
        for step in steps
    ]  # fmt: skip
    return [
        "Profiles, d=5, p=0.003, with a host that naps between rounds:",
        "",
        *table([*names, "unlike PyMatching"], rows),
    ]


def _drift(drift: Drift) -> str:
    steps = "; ".join(
        f"{measure:g}: {stale} stale, {fresh} fresh"
        for measure, stale, fresh in zip(drift.measure, drift.stale, drift.fresh, strict=True)
    )
    return (
        f"Drift, d={drift.distance}, p={drift.p:g}, while flipped measurements grow: logical errors of {drift.shots} "
        f"volumes with the first weights (stale) and with weights swapped in at each step (fresh): "
        f"{steps}. {drift.differ} "
        f"answers unlike PyMatching's with the same weights, {drift.lost} lost."
    )


def _losses(losses: Losses) -> str:
    return (
        f"Losses, d={losses.distance}, p={losses.p:g}, {100 * losses.fraction:.0f} % of depolarising errors are lost "
        f"atoms that are noticed ({losses.lost_per_shot:.1f} in a volume), 10 us cycles: {losses.errors_aware} logical "
        f"errors of {losses.shots} when the decoder is told (p99 {losses.aware.p99_us:.1f} us), "
        f"{losses.errors_blind} when it "
        f"is not (p99 {losses.blind.p99_us:.1f} us); {losses.differ} answers unlike the same decoder's in a batch. "
        f"With {100 * losses.readouts_lost:g} % of all measurements finding no atom: {losses.readout_errors_aware} "
        f"logical errors when told (outcome 2), {losses.readout_errors_blind} when a random bit is sent."
    )
