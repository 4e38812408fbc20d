"""A controller and a host in one process, on two cores, with a null control beside: what the bench measures with."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from quarterdeck_realtime import _hot
from quarterdeck_realtime.codes import Bytes, Experiment, Shots, stream_plan, stream_shape
from quarterdeck_realtime.model import Model, model_of
from quarterdeck_realtime.profiles import PROFILES, Cores, Profile, choose_cores
from quarterdeck_realtime.status import CAUSES, HostStatus, Ledger, Miss

__all__ = ["Block", "ClosedLoop", "Side", "causes_of"]

NO_REACTION = np.iinfo(np.uint32).max
STRETCH_NS = 10_000_000  # without a pause: long before the kernel takes the core from a real-time thread
PAUSE_NS = 2_000_000

Reactions = npt.NDArray[np.uint32]


class Side(msgspec.Struct, frozen=True):
    """Reactions of one side (a decoder, or the null control): answer seen minus last round published, in us."""

    shots: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    misses: int  # over the budget
    causes: dict[str, int]  # of each miss, exactly one

    @property
    def earned(self) -> int:
        """Misses whose largest part was not time that the machine took."""
        return self.misses - self.causes["preempted"]


class Block(msgspec.Struct, frozen=True):
    """What one run of the controller gave."""

    reaction_ns: Reactions  # of the shots after the warm-up
    misses: int
    causes: dict[str, int]
    tally: dict[str, Any]
    ran_ns: int
    warm_shots: int = 0

    def late_among(self, shots: npt.NDArray[np.bool_], budget_ns: int) -> int:
        """How many answers to these shots (of all, with the warm-up) were over the budget after the warm-up."""
        reactions = self.tally["reaction_ns"]
        late = (reactions > budget_ns) & (reactions != NO_REACTION) & shots
        return int(late[self.warm_shots :].sum())


def causes_of(
    reactions: Reactions, gaps: Reactions, host: dict[int, Miss], budget_ns: int, first: int
) -> dict[str, int]:
    """The one cause of each reaction over the budget, as the controller saw it: its largest part.

    `host`: what the host put on record, by shot; `gaps`: what the machine took from the controller itself during each
    reaction. What the host's stamps do not explain happened on the way, or in the controller.
    """
    causes = dict.fromkeys(CAUSES, 0)
    for shot in np.flatnonzero(reactions > budget_ns):
        reaction = float(reactions[shot]) / 1e3
        seen = host.get(int(shot) + first)
        parts = dict.fromkeys(CAUSES, 0.0)
        if seen is not None:
            parts |= {"backlog": seen.backlog_us, "decode": seen.decode_us, "preempted": seen.preempted_us}
        way = max(0.0, reaction - sum(parts.values()))
        own = min(way, float(gaps[shot]) / 1e3)
        parts["preempted"] += own
        parts["transport"] = way - own
        order = ("preempted", "backlog", "decode", "transport")
        causes[max(order, key=lambda cause: parts[cause])] += 1
    return causes


def side_of(blocks: list[Block]) -> Side:
    """All blocks of one side together."""
    reactions = np.concatenate([block.reaction_ns for block in blocks]) / 1e3
    if not len(reactions):
        return Side(0, 0.0, 0.0, 0.0, 0.0, 0, dict.fromkeys(CAUSES, 0))
    p50, p99, p999, most = (float(value) for value in np.quantile(reactions, (0.5, 0.99, 0.999, 1.0)))
    causes = {cause: sum(block.causes[cause] for block in blocks) for cause in CAUSES}
    return Side(len(reactions), p50, p99, p999, most, sum(block.misses for block in blocks), causes)


class ClosedLoop:
    """A host on one core; controllers of one patch at a time on another. A context manager.

    Patches are seated before the loop starts; all of them are polled in each sweep, so that a decoder and the null
    control live under the same conditions.
    """

    def __init__(
        self,
        profile: Profile | None = None,
        *,
        patches: int = 4,
        fifo: int = 40,
        cores: Cores | None = None,
        **host: Any,
    ) -> None:
        self.profile = profile or PROFILES["superconducting"]
        self.cores = cores or choose_cores()
        self.fifo = fifo if self.cores.host >= 0 else 0
        self.warnings = list(self.cores.warnings)
        self.name = f"quarterdeck-bench-{os.getpid()}-{time.monotonic_ns()}"
        settings: dict[str, Any] = {
            "wishes": _hot.Wishes(core=self.cores.host, fifo=self.fifo, shallow=True),
            "ledger": self.name,
            "patches": patches,
            "records": 1 << 15,
            "spin_ns": round(self.profile.spin_us * 1e3),
            "nap_ns": round(self.profile.nap_us * 1e3),
            "wake_early_ns": round(self.profile.wake_early_us * 1e3),
        }
        self.host = _hot.Host(**settings | host)
        self.seats: list[tuple[Any, Experiment, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.host.stop()
        self.seats.clear()
        del self.host  # and its ledger

    def seat(
        self, name: str, experiment: Experiment, compiled: Any, warm: Shots, slots: int = 1024, udp: bool = False
    ) -> int:
        """Seat a patch; returns its number. `warm`: shots to warm its decoder with. `udp`: behind an endpoint on the
        loopback, in place of rings."""
        widest = max(experiment.round_bits)
        stride = -(-(80 + (widest if experiment.lost else widest // 8)) // 64) * 64
        seating = _hot.seat_volumes(
            _hot.Detectors(experiment.measurements, experiment.detectors, odd=experiment.odd),
            max(1, len(experiment.readouts)), compiled, warm.detections,
            heralds=experiment.heralds, lost=experiment.lost,
        )  # fmt: skip
        if udp:
            place, port = self.host.add_udp("127.0.0.1", 0, stride, self._terms(name), seating)
            return self._keep(_hot.UdpEnd("127.0.0.1", port, stride), experiment, place)
        return self._place(name, experiment, _hot.Rings(slots, stride), seating)

    def seat_stream(
        self,
        name: str,
        exp: Experiment,
        window: int,
        commit: int,
        slots: int = 1024,
        workers: int = 0,
        inner: str = "matching",
        model: Model | None = None,
    ) -> int:
        """Seat a patch that streams the rounds of `exp`, decoded in windows by `inner`; returns its number.

        With `workers` the windows are parallel ones, on so many threads beside the loop. `model`: other weights than
        those of the experiment, whose edges its losses erase.
        """
        shape = stream_shape(exp)
        plan = stream_plan(exp, model or model_of(exp.dem), window, commit, workers=workers, inner=inner)
        seating = _hot.seat_stream(*shape.compiled(), max(1, len(exp.readouts)), plan)
        widest = max(shape.round_bits, shape.closing_bits)
        stride = -(-(80 + (widest if exp.lost else widest // 8)) // 64) * 64
        return self._place(name, exp, _hot.Rings(slots, stride), seating)

    def _terms(self, name: str) -> Any:
        return _hot.Terms(name=name, decoder=len(self.seats), **self.profile.terms)

    def _place(self, name: str, experiment: Experiment, rings: Any, seating: Any) -> int:
        return self._keep(rings, experiment, self.host.add(rings, self._terms(name), seating))

    def _keep(self, link: Any, experiment: Experiment, place: int) -> int:
        self.seats.append((link, experiment, place))
        return place

    def start(self) -> None:
        """Start the loop; what the system refused is in `warnings`."""
        self.host.start()
        self.warn(self.host.granted["refusals"])

    def warn(self, refusals: list[str]) -> None:
        self.warnings += [refusal for refusal in refusals if refusal not in self.warnings]

    def status(self) -> HostStatus:
        """Of the ledger, now."""
        with Ledger(self.name) as ledger:
            return ledger.status()

    def controller(self, rounds: int, warm_shots: int = 200, **pace: Any) -> Any:
        """A controller of this profile for volumes of `rounds` rounds; it pauses often enough for the kernel."""
        cycle_ns = self.profile.terms["cycle_ns"]
        settings: dict[str, Any] = {
            **self.profile.terms,
            "warm_shots": warm_shots,
            "pause_every_shots": max(1, STRETCH_NS // (rounds * cycle_ns)) if cycle_ns < 100_000 else 0,
            "pause_ns": PAUSE_NS,
            "nap_ns": 0 if cycle_ns < 100_000 else 60_000,
        }
        return _hot.Controller(**settings | pace)

    def run(
        self,
        seat: int,
        shots: Shots,
        expected: npt.NDArray[np.uint64],
        warm_shots: int | None = None,
        stream: bool = False,
        **pace: Any,
    ) -> Block:
        """Publish these shots to one patch, and account for each answer.

        `warm_shots` of them are not counted: a tenth, but not more than 200, if none are given. `stream`: each shot is
        a stream.
        """
        warm_shots = min(200, len(shots) // 10) if warm_shots is None else warm_shots
        rings, experiment, place = self.seats[seat]
        controller = self.controller(len(experiment.round_bits), warm_shots, **pace)
        controller.add(
            rings,
            decoder=seat,
            round_bits=experiment.round_bits,
            bits=experiment.outcomes(shots) if experiment.lost else experiment.frames(shots),
            outcomes=bool(experiment.lost),
            observables=max(1, len(experiment.readouts)),
            expected=expected,
            actual=shots.observables,
            stream=stream,
        )
        return self._account(controller, place, warm_shots, stream)

    def run_rounds(self, seat: int, rounds: Bytes, closing: list[int], warm_rounds: int = 1000, **pace: Any) -> Block:
        """Publish the rounds (rows of bytes) of a stream that `closing` ends; each is a shot of the block.

        Bytes are bits, least significant first, or outcomes where the experiment can lose measurements.
        """
        rings, experiment, place = self.seats[seat]
        shape = stream_shape(experiment)
        controller = self.controller(1, warm_rounds, **pace)
        nobody = np.empty(0, np.uint64)
        controller.add(
            rings,
            decoder=seat,
            round_bits=[shape.round_bits],
            bits=rounds,
            observables=max(1, len(experiment.readouts)),
            expected=nobody,
            actual=nobody,
            stream=True,
            closing=closing,
            closing_bits=shape.closing_bits,
            outcomes=bool(experiment.lost),
        )
        return self._account(controller, place, warm_rounds, True)

    def causes(self, tallies: list[dict[str, Any]], warm_shots: int = 1) -> dict[str, int]:
        """Why answers to patches that one controller fed were over the budget; a tally for each patch, in order."""
        with Ledger(self.name) as ledger:
            seen: dict[int, dict[int, Miss]] = {}
            for miss in ledger.misses():
                seen.setdefault(miss.place, {})[miss.shot] = miss
        found = dict.fromkeys(CAUSES, 0)
        for (_, _, place), tally in zip(self.seats, tallies, strict=True):
            reactions, gaps = tally["reaction_ns"][warm_shots:], tally["gap_ns"][warm_shots:]
            late = np.where(reactions == NO_REACTION, 0, reactions)
            for cause, many in causes_of(
                late, gaps, seen.get(place, {}), self.profile.terms["budget_ns"], warm_shots
            ).items():
                found[cause] += many
        return found

    def _account(self, controller: Any, place: int, warm_shots: int, stream: bool) -> Block:
        with Ledger(self.name) as ledger:
            before = int(ledger.head["missed"])
            self.warn(controller.run(_hot.Wishes(core=self.cores.controller, fifo=self.fifo)))
            # The host knows a stream's rounds by their counters; of a stream of many, the last one counts here.
            shift = 16 if stream and controller.rounds_of(0) > 1 else 0
            host = {miss.shot >> shift: miss for miss in ledger.misses(before) if miss.place == place}
        tally = controller.tally(0)
        reactions, gaps = tally["reaction_ns"][warm_shots:], tally["gap_ns"][warm_shots:]
        kept = reactions != NO_REACTION
        budget_ns = round(self.profile.budget_us * 1e3)
        causes = causes_of(np.where(kept, reactions, 0), gaps, host, budget_ns, warm_shots)
        return Block(
            reactions[kept], int((reactions[kept] > budget_ns).sum()), causes, tally, controller.ran_ns, warm_shots
        )
