"""Shots drawn from a distribution, and what the camera makes of them. The same seed and key give the same shots."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from quarterdeck.devices.driver import Counts


def chance(*what: object) -> bytes:
    """A seed from what is to be drawn: 32 bytes."""
    return sha256("/".join(map(str, what)).encode()).digest()


def sample(
    distribution: Mapping[str, float], shots: int, seed: bytes, p_false_pos: float = 0.0, p_false_neg: float = 0.0
) -> Counts:
    """Counts of so many shots. A 0 is read as 1 with probability `p_false_pos`, a 1 as 0 with `p_false_neg`."""
    import numpy as np

    random = np.random.default_rng(list(seed))
    weights = np.fromiter(distribution.values(), float)
    drawn = random.multinomial(shots, weights / weights.sum())
    counts = {bits: int(n) for bits, n in zip(distribution, drawn, strict=True) if n}
    if not p_false_pos and not p_false_neg:
        return counts
    seen: Counts = {}
    for bits, n in counts.items():
        state = np.array(list(bits)) == "1"
        for row in state ^ (random.random((n, len(bits))) < np.where(state, p_false_neg, p_false_pos)):
            told = "".join("1" if bit else "0" for bit in row)
            seen[told] = seen.get(told, 0) + 1
    return seen
