"""The bench's volumes over UDP on the loopback: kernel sockets at both ends, which are most of what is measured."""

from __future__ import annotations

import msgspec

from quarterdeck_realtime import _hot
from quarterdeck_realtime.closed_loop import Block, ClosedLoop, side_of
from quarterdeck_realtime.codes import experiment
from quarterdeck_realtime.model import model_of
from quarterdeck_realtime.profiles import PROFILES
from quarterdeck_realtime.report import OverUdp
from quarterdeck_realtime.scenarios import head

__all__ = ["run_udp"]

CYCLE_US = 20.0
"""One datagram each round: to send one takes some 3 us, so that a cycle of 1 us is out of reach."""
LOST_NS = 100_000_000
"""A volume without an answer for that long is lost."""


def run_udp(distance: int, p: float, shots: int, blocks: int, seed: int, fifo: int = 40) -> tuple[OverUdp, list[str]]:
    """Alternate blocks of the null control and the decoder over the loopback; the row, and what was refused."""
    profile = msgspec.structs.replace(PROFILES["superconducting"], cycle_us=CYCLE_US)
    exp = experiment("surface", distance, p)
    sampled = exp.sample(shots, seed)
    expected, _ = exp.expected(sampled)
    with ClosedLoop(profile, fifo=fifo) as loop:
        own = loop.seat(exp.name, exp, _hot.Matching(model_of(exp.dem)), head(sampled, 200), udp=True)
        null = loop.seat("null control", exp, _hot.Null(), head(sampled, 1), udp=True)
        loop.start()
        sides: dict[int, list[Block]] = {own: [], null: []}
        for _ in range(blocks):
            for seat in (null, own):
                sides[seat].append(loop.run(seat, sampled, expected, forget_ns=LOST_NS))
        patches = loop.status().patches
        warnings = loop.warnings
    every = [block for side in sides.values() for block in side]
    return OverUdp(
        name=exp.name,
        cycle_us=profile.cycle_us,
        own=side_of(sides[own]),
        null=side_of(sides[null]),
        lost_rounds=sum(patch.lost_rounds for patch in patches),
        lost_answers=sum(block.tally["lost"] for block in every),
        differ=sum(block.tally["differ"] for block in sides[own]),
    ), warnings
