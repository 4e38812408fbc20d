"""How a neutral-atom machine spends its time: set-up when the register changes, then shots at a rate."""

from __future__ import annotations

import msgspec


class Machine(msgspec.Struct, kw_only=True):
    """The timing model. `time_scale` 10 makes it ten times faster than real; results are in wall-clock seconds."""

    shot_rate_hz: float = 100.0
    setup_s: float = 2.0
    time_scale: float = 1.0
    register: str = ""

    def load(self, register: str) -> float:
        """Put a register in; returns the seconds that it takes, 0 if it is there already."""
        changed, self.register = register != self.register, register
        return self.setup_s / self.time_scale if changed else 0.0

    def shots_s(self, shots: int) -> float:
        """Seconds for that many shots."""
        return shots / (self.shot_rate_hz * self.time_scale)

    def shots_in(self, seconds: float) -> int:
        """Shots measured within so many seconds after set-up."""
        return max(0, int(seconds * self.shot_rate_hz * self.time_scale))
