"""What is done to a simulated daemon in the middle of a run."""

from __future__ import annotations

from typing import Literal

import msgspec


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happens once, at `at_s`.

    `restart`: the daemon is killed, and comes back from what its store kept. `clock`: its clock jumps by `seconds`.
    `cancel`: every waiting task is called off (of `user`, if given), and their jobs give up. `outage`: `device` is gone
    for `seconds`.
    """

    at_s: float
    kind: Literal["restart", "clock", "cancel", "outage"]
    device: str = ""
    user: str = ""
    seconds: float = 0.0
