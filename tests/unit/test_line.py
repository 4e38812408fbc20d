"""The line against a list that is simply counted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.core.policy.line import BLOCK, Line

SEQS = st.integers(1, 4 * BLOCK)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), SEQS, st.integers(0, 100)), max_size=60), SEQS)
def test_places_are_those_of_a_list(changes: list[tuple[bool, int, int]], asked: int) -> None:
    line, model = Line(), dict[int, int]()
    for add, seq, weight in changes:
        if add and seq not in model:
            line.add(seq, float(weight))
            model[seq] = weight
        elif not add:
            line.remove(seq)
            model.pop(seq, None)
    ahead = [weight for seq, weight in model.items() if seq < asked]
    assert line.ahead(asked) == (len(ahead), sum(ahead))
    assert line.total == len(model)


def test_memory_follows_the_queue() -> None:
    """A daemon that runs for years serves ever higher numbers; what has gone takes no room."""
    line = Line()
    for seq in range(1, 300 * BLOCK):
        line.add(seq, 1.0)
        if seq > 5 * BLOCK:
            line.remove(seq - 5 * BLOCK)
    assert len(line._there) < 140 * BLOCK
    assert line.ahead(300 * BLOCK) == (5 * BLOCK, 5.0 * BLOCK)
