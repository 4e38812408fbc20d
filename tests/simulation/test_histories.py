"""Thousands of histories, each from its seed; `python -m tests.simulation.test_histories SEED` plays one again."""

from __future__ import annotations

import pytest

from .history import History

BATCH = 100


@pytest.mark.parametrize("batch", range(30))
def test_histories(batch: int) -> None:
    trouble = 0
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        history = History(seed)
        try:
            history.play()
        except BaseException as error:
            error.add_note(f"seed {seed}: python -m tests.simulation.test_histories {seed}")
            raise
        trouble += history.crashes + history.failures
    assert trouble > BATCH, "hardly anything went wrong: the simulation tests nothing"


def test_a_seed_is_a_history() -> None:
    """The same seed, the same log, to the byte."""
    first, second = History(7), History(7)
    first.play()
    second.play()
    assert first.log == second.log
    assert len(first.log) > 10


if __name__ == "__main__":
    import sys

    History(int(sys.argv[1])).play()
