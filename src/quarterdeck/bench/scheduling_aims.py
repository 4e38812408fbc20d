"""The aims that were set for `deck`, and how the study's figures stand to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from quarterdeck.bench.scheduling_results import Results, Setting, inverse
from quarterdeck.simulator.metrics import Gain
from quarterdeck.simulator.record import CLASSES

PLAIN, STRICT, DECK, FIRST, EVEN = "plain fifo", "priority", "deck", "deck 8:3:1", "deck 1:1:1"
SC, NA, CENTRE = "superconducting", "neutral-atom", "centre"
RATIOS = (10.0, 1.0, 0.1)
"""Classical over quantum time (c/q) for which sharing is compared with exclusive access."""


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """An aim: `got` is to be at least, or at most, `wanted`.

    `sure` says whether the whole 95 % interval lies on the side of the verdict.
    """

    name: str
    sense: Literal["at least", "at most"]
    wanted: float
    got: Gain

    @property
    def met(self) -> bool:
        return self.got.mean >= self.wanted if self.sense == "at least" else self.got.mean <= self.wanted

    @property
    def sure(self) -> bool:
        edge = self.got.low if (self.sense == "at least") == self.met else self.got.high
        return (edge >= self.wanted if self.sense == "at least" else edge <= self.wanted) == self.met

    @property
    def verdict(self) -> str:
        """`met`, `missed`, and whether the interval reaches over the line."""
        return ("met" if self.met else "missed") + ("" if self.sure else ", within error")


def aims(results: Results) -> list[Aim]:
    """All aims whose figures are there, in the order in which they were set."""
    found: list[Aim] = []

    def at(sense: Literal["at least", "at most"]) -> Callable[[str, float, Gain | None], None]:
        def note(name: str, wanted: float, got: Gain | None) -> None:
            if got is not None:
                found.append(Aim(name=name, sense=sense, wanted=wanted, got=got))

        return note

    least, most = at("at least"), at("at most")
    for shape, load, wanted in ((SC, 0.85, 2.3), (NA, 0.7, 7.0)):
        deck = Setting("orders", shape, load, "", DECK)
        gains = results.gains(deck, deck.with_policy(PLAIN))
        least(f"{shape} {load}: p95 gain over plain fifo, all classes", wanted, gains.get("all"))
        for name in CLASSES:
            least(f"{shape} {load}: p95 gain over plain fifo, {name}", 1.0, gains.get(name))
    even = Setting("orders", SC, 0.85, "", EVEN)
    least(f"{SC} 0.85: p95 gain of {EVEN}, all classes", 2.7, results.gains(even, even.with_policy(PLAIN)).get("all"))
    for shape, load in ((SC, 0.85), (NA, 0.7)):
        first = Setting("orders", shape, load, "", FIRST)
        strict, plain = first.with_policy(STRICT), first.with_policy(PLAIN)
        ratio = results.gain(first, strict, ["p95 production"])
        most(f"{shape} {load}: {FIRST}, production p95 over strict priority's", 1.1, ratio and inverse(ratio))
        harm = results.harm(first, strict, plain, "p95 development")
        most(f"{shape} {load}: {FIRST}, part of strict priority's harm to development", 0.05, harm)
    full = Setting("capacity", NA, 0.0, "48 sessions", DECK)
    least(f"{NA}, saturated: useful part of usable time", 0.87, results.mean(full, "capacity"))
    for shape, load in ((SC, 0.85), (NA, 0.7)):
        deck = Setting("estimates", shape, load, "estimate error doubled", DECK)
        cost = results.gain(deck._replace(part="orders", variant=""), deck, [f"p95 {name}" for name in CLASSES])
        most(f"{shape} {load}: p95 with estimate error doubled, times", 1.12, cost)
    for shape in (SC, NA):
        deck = Setting("orders", shape, 1.1, "", DECK)
        for what, gain in results.gains(deck, deck.with_policy(PLAIN), "p99").items():
            if what != "all":
                most(f"{shape} 1.1: p99 of {what} over plain fifo's", 1.2, inverse(gain))
    for shape, load in ((SC, 0.85), (NA, 0.7)):
        for variant in ("sizes alike", "sizes nearly alike"):
            deck = Setting("tails", shape, load, variant, DECK)
            for what, gain in results.gains(deck, deck.with_policy(PLAIN)).items():
                if what != "all":
                    most(f"{shape} {load}, {variant}: p95 of {what} over plain fifo's", 1.15, inverse(gain))
    found += _sharing(results)
    found += _gaming(results)
    return found


def _sharing(results: Results) -> Iterator[Aim]:
    """Utilisation of shared over exclusive access, at least 0.9 (1 + c/q) superconducting-like."""
    for shape, wanted in ((SC, {ratio: 0.9 * (1 + ratio) for ratio in RATIOS}), (NA, {1.0: 1.5, 0.1: 0.95})):
        for ratio, least in wanted.items():
            shared = Setting("sharing", shape, 0.0, f"c/q {ratio:g}, shared", DECK)
            gain = results.gain(shared._replace(variant=f"c/q {ratio:g}, exclusive"), shared, ["capacity"])
            if gain is not None:
                name = f"{shape}, c/q {ratio:g}: useful time, shared over exclusive"
                yield Aim(name=name, sense="at least", wanted=least, got=gain)


GAMES = ("declares a tenth of the runtime", "opens a session for each round", "calls its work production")
"""What the cheater of the gaming part does."""


def _gaming(results: Results) -> Iterator[Aim]:
    """What a user gains by cheating: mean slowdown when honest over that when cheating, everything else alike."""
    for shape, load in ((SC, 0.85), (NA, 0.7)):
        for game in GAMES:
            cheat = Setting("gaming", shape, load, game, DECK)
            gain = results.gain(cheat, cheat._replace(variant="honest"), ["cheater"])
            if gain is not None:
                name = f"{shape} {load}: gain of a user who {game}"
                yield Aim(name=name, sense="at most", wanted=1.0, got=gain)
