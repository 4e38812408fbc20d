"""Formats: whatever the text, the answer is a summary or BadProgram."""

from __future__ import annotations

from pathlib import Path

import pytest

from quarterdeck.errors import BadProgram, Invalid
from quarterdeck.programs.format import summarise
from quarterdeck.programs.result import GarbageOutcome, check_counts, merge

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "programs"


def test_a_sequence_is_summarised() -> None:
    told = summarise("pulser", (EXAMPLES / "mis.json").read_text())
    assert (told.qubits, told.variables, told.device) == (6, {"amplitude": 4, "detuning": 4}, "AnalogDevice")
    assert summarise("pulser", (EXAMPLES / "afm_chain.json").read_text()).duration_ns == 3000


@pytest.mark.parametrize(
    "text", ["", "hello", "{}", "[]", "[" * 20_000, '{"a":' * 5_000, "\0", '"\\ud800"', "\ud800", '{"a": NaN}', "1e999"]
)
def test_bad_text_is_a_bad_program(text: str) -> None:
    with pytest.raises(BadProgram):
        summarise("pulser", text)


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(Invalid, match="unknown format 'qasm9'"):
        summarise("qasm9", "x")


@pytest.mark.parametrize("counts", [None, [], {"0": -1}, {"2": 1}, {"0": 1, "01": 1}, {"0": 11}, {"0": True}, {0: 1}])
def test_garbage_is_told(counts: object) -> None:
    with pytest.raises(GarbageOutcome):
        check_counts(counts, 10)


def test_counts_merge() -> None:
    assert merge([{"0": 1, "1": 2}, {"1": 3}]) == {"1": 5, "0": 1}
