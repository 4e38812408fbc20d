"""The knobs of all policies, in one table that is also the `[policy]` table of the configuration."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from quarterdeck.errors import Invalid

Weight = Annotated[float, Meta(gt=0, le=1e6)]
Share = Annotated[float, Meta(ge=0, le=1)]


class PolicySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[policy]`: what runs next on a device. All but `name` and the slices concern `deck` only."""

    name: Annotated[
        str,
        Meta(description="deck, fifo, priority, hrrn, sjf, fairshare, or one that a plug-in brings."),
    ] = "deck"
    weight_production: Annotated[Weight, Meta(description="Weight of production; 8:3:1 puts production first.")] = 1.5
    weight_test: Annotated[Weight, Meta(description="Weight of tests.")] = 1.25
    weight_development: Annotated[Weight, Meta(description="Weight of development.")] = 1.0
    slowdown: Annotated[
        float,
        Meta(gt=0, le=4, description="How much waiting relative to one's size counts: the guard against starvation."),
    ] = 0.5
    short_first: Annotated[float, Meta(ge=0, le=4, description="How much short remaining work comes first.")] = 1.0
    fresh_first: Annotated[
        float, Meta(ge=0, le=4, description="How much sessions that had little so far come first.")
    ] = 0.25
    fair: Annotated[
        float, Meta(ge=0, le=4, description="How much users and projects below their share come first.")
    ] = 0.15
    sticky: Annotated[
        float, Meta(ge=0, le=4, description="How much the loop that ran last is kept; the study found any harmful.")
    ] = 0.0
    deadline: Annotated[float, Meta(ge=0, le=10, description="How much a task whose deadline is near comes first.")] = (
        1.0
    )
    scale_s: Annotated[
        float, Meta(ge=0, description="Tasks below this size count as equally short; 0: from what the device runs.")
    ] = 0.0
    setup_run_s: Annotated[
        float, Meta(ge=0, description="Longest time for which tasks of one set-up follow each other out of order.")
    ] = 600.0
    setup_edge: Annotated[
        float, Meta(ge=0, le=10, description="How far behind the first (in score) a task without a set-up may be.")
    ] = 1.0
    share_production: Annotated[
        Share, Meta(description="Part of the time that production surely gets if it waits.")
    ] = 0.1
    share_test: Annotated[Share, Meta(description="Part of the time that tests surely get if they wait.")] = 0.05
    share_development: Annotated[
        Share, Meta(description="Part of the time that development surely gets if it waits.")
    ] = 0.05
    share_aged: Annotated[
        Share, Meta(description="Part of the time that goes to the oldest tasks, once they have waited aged_s.")
    ] = 0.05
    aged_s: Annotated[float, Meta(gt=0, description="Seconds of waiting after which a task counts as old.")] = 21600.0
    usage_half_life_s: Annotated[float, Meta(gt=0, description="After so long, used device time counts half.")] = (
        86400.0
    )
    slices: Annotated[bool, Meta(description="Cut long tasks into slices; false runs each task in one piece.")] = True
    backfill: Annotated[
        bool, Meta(description="Let others pass if the first does not fit before the next window; else it waits.")
    ] = True
    slice_overhead: Annotated[
        float,
        Meta(gt=0, le=1, description="Part of a slice that its overhead may take; longer overheads, longer slices."),
    ] = 0.01
    slice_min_s: Annotated[
        float, Meta(ge=0, description="Shortest length of a slice; 0: from what a typical task takes, 1 to 10 s.")
    ] = 0.0

    def check(self) -> None:
        """Raise `Invalid` for shares that add up to more than 0.9: somebody has to be served in order."""
        total = self.share_production + self.share_test + self.share_development + self.share_aged
        if total > 0.9:
            raise Invalid("policy.share_*", f"add up to {total:g}; at most 0.9, so that the order keeps a say")

    @property
    def weights(self) -> dict[str, float]:
        """Weight by class."""
        return {
            "production": self.weight_production, "test": self.weight_test, "development": self.weight_development,
        }  # fmt: skip

    @property
    def shares(self) -> dict[str, float]:
        """Guaranteed part of the time by class."""
        return {"production": self.share_production, "test": self.share_test, "development": self.share_development}
