"""AHS documents become Pulser sequences that mean the same, or a BadProgram that says where and why."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulser import Sequence
from pulser.devices import AnalogDevice, Device

from quarterdeck.devices import emulation
from quarterdeck.errors import BadProgram
from quarterdeck.programs.ahs import is_ahs, summarise, to_pulser
from quarterdeck.programs.format import summarise as told_by_format

Points = list[tuple[float, float]]
SPEC = emulation.spec("emulator")


def field(points: Points) -> dict[str, Any]:
    times, values = [str(time) for time, _ in points], [str(value) for _, value in points]
    return {"pattern": "uniform", "time_series": {"times": times, "values": values}}


def document(sites: Points, filling: list[int], amplitude: Points, detuning: Points, phase: float) -> dict[str, Any]:
    phases = [(0.0, phase), (amplitude[-1][0], phase)]
    drive = {"amplitude": field(amplitude), "detuning": field(detuning), "phase": field(phases)}
    return {
        "setup": {"ahs_register": {"sites": [[str(x), str(y)] for x, y in sites], "filling": filling}},
        "hamiltonian": {"drivingFields": [drive], "localDetuning": []},
    }


THREE = document(
    [(0, 0), (7e-6, 0), (14e-6, 0)], [1, 1, 1], [(0, 5e6), (0.3e-6, 9e6), (0.71e-6, 2e6)],
    [(0, 3e6), (0.5e-6, -7e6), (0.71e-6, 1e6)], 1.0,
)  # fmt: skip
HOLE = document(
    [(0, 0), (6e-6, 0), (6e-6, 5.5e-6), (13e-6, 2e-6)], [1, 1, 0, 1], [(0, 0), (0.5e-6, 8e6), (1.003e-6, 3e6)],
    [(0, -9e6), (1.003e-6, 1.5e7)], 0.0,
)  # fmt: skip
# What amazon-braket-default-simulator 1.41.2 measured: a million shots, 4000 steps, C6 of Rydberg level 60 (Pulser's).
BRAKET_THREE = {
    "000": 0.3453,
    "001": 0.0416,
    "010": 0.1987,
    "011": 0.1104,
    "100": 0.0417,
    "101": 0.1407,
    "110": 0.1106,
    "111": 0.0109,
}
BRAKET_HOLE = {
    "000": 0.0381,
    "001": 0.1469,
    "010": 0.0112,
    "011": 0.0259,
    "100": 0.0688,
    "101": 0.6765,
    "110": 0.0016,
    "111": 0.031,
}


@pytest.mark.parametrize(("told", "braket"), [(THREE, BRAKET_THREE), (HOLE, BRAKET_HOLE)])
def test_the_sequence_gives_what_braket_gives(told: dict[str, Any], braket: dict[str, float]) -> None:
    ours = emulation.distribution(to_pulser(json.dumps(told), SPEC), {}, SPEC, False, {})
    assert sum(abs(ours.get(bits, 0.0) - braket.get(bits, 0.0)) for bits in {*ours, *braket}) / 2 < 0.005


def test_units_places_and_names() -> None:
    sequence: Sequence[Any] = Sequence.from_abstract_repr(to_pulser(json.dumps(HOLE), SPEC))
    places = {name: tuple(map(float, at.as_array())) for name, at in sequence.register.qubits.items()}
    assert places == {"q0": (-6.5, -1.0), "q1": (-0.5, -1.0), "q3": (6.5, 1.0)}  # um, from the middle; site 2 is empty
    assert sequence.get_duration() == 1004  # the clock ticks every 4 ns
    pulse = sequence._schedule["rydberg"][-1].type
    amplitude, detuning = pulse.amplitude.samples.as_array(), pulse.detuning.samples.as_array()
    assert amplitude[0] == 0 and amplitude.max() == pytest.approx(8.0) and amplitude[-1] == pytest.approx(3.0)
    assert (detuning[0], detuning[-1]) == (pytest.approx(-9.0), pytest.approx(15.0))  # rad/us


def test_a_device_that_needs_a_layout_gets_one() -> None:
    device = replace(AnalogDevice, name="strict")
    sequence: Sequence[Any] = Sequence.from_abstract_repr(to_pulser(json.dumps(THREE), device.to_abstract_repr()))
    assert sequence.register.layout is not None


def test_documents_are_known_and_summarised() -> None:
    text = json.dumps(HOLE)
    assert is_ahs(text) and not is_ahs("{}") and not is_ahs('"setup" "hamiltonian"') and not is_ahs("[" * 50_000)
    told = told_by_format("ahs", text)
    assert (told.qubits, told.duration_ns) == (3, 1003)


def test_numbers_may_be_numbers_and_braket_sends_a_header() -> None:
    def numbers(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: numbers(item) for key, item in value.items()}
        if isinstance(value, list):
            return [numbers(item) for item in value]
        try:
            return float(value)
        except ValueError:
            return value

    header = {"braketSchemaHeader": {"name": "braket.ir.ahs.program", "version": "1"}}
    assert to_pulser(json.dumps(header | numbers(THREE)), SPEC) == to_pulser(json.dumps(THREE), SPEC)


DRIVE = "hamiltonian.drivingFields.0"


def change(path: str, value: Any) -> str:
    told = json.loads(json.dumps(THREE))
    *above, last = path.split(".")
    at = told
    for key in above:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[int(last) if isinstance(at, list) else last] = value
    return json.dumps(told)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("setup", None, "$.setup"),
        ("setup.ahs_register", [], "$.setup.ahs_register"),
        ("setup.ahs_register.filling", [1], "$.setup.ahs_register.filling"),
        ("setup.ahs_register.filling", [0, 0, 0], "$.setup.ahs_register.filling"),
        ("setup.ahs_register.filling.1", 2, "$.setup.ahs_register.filling[1]"),
        ("setup.ahs_register.sites.1", ["0"], "$.setup.ahs_register.sites[1]"),
        ("setup.ahs_register.sites.1", ["0", "0"], "$.setup.ahs_register.sites"),
        ("setup.ahs_register.sites.1", ["7", "0"], "$.setup.ahs_register.sites[1]"),
        ("setup.ahs_register.sites.1.0", "nan", "$.setup.ahs_register.sites[1][0]"),
        ("setup.colour", 1, "$.setup"),
        ("hamiltonian.drivingFields", [], "$.hamiltonian.drivingFields"),
        ("hamiltonian.localDetuning", [{}], "$.hamiltonian.localDetuning"),
        ("hamiltonian.shiftingFields", [{}], "$.hamiltonian.shiftingFields"),
        (f"{DRIVE}.amplitude.pattern", ["1", "0", "1"], "$.hamiltonian.drivingFields[0].amplitude.pattern"),
        (f"{DRIVE}.amplitude.time_series.values.1", "-1", "amplitude.time_series.values[1]"),
        (f"{DRIVE}.amplitude.time_series.values.1", "9e9", "amplitude.time_series.values[1]"),
        (f"{DRIVE}.amplitude.time_series.values.1", True, "amplitude.time_series.values[1]"),
        (f"{DRIVE}.amplitude.time_series.values.1", 10**400, "amplitude.time_series.values[1]"),
        (f"{DRIVE}.detuning.time_series.values.0", "-9e9", "detuning.time_series.values[0]"),
        (f"{DRIVE}.phase.time_series.values.1", "2", "phase.time_series.values[1]"),
        (f"{DRIVE}.phase.time_series.times.1", "0.0000008", "phase.time_series.times"),
        (f"{DRIVE}.amplitude.time_series.times.0", "0.0000001", "amplitude.time_series.times[0]"),
        (f"{DRIVE}.amplitude.time_series.times.1", "0.0000009", "amplitude.time_series.times[2]"),
        (f"{DRIVE}.amplitude.time_series.times.1", "710", "amplitude.time_series.times[1]"),
        (f"{DRIVE}.amplitude.time_series", {"times": [], "values": []}, "amplitude.time_series.times"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, where: str) -> None:
    with pytest.raises(BadProgram) as error:
        to_pulser(change(path, value), SPEC)
    assert error.value.where.endswith(where), error.value


def test_too_short_too_close_and_no_channel() -> None:
    with pytest.raises(BadProgram, match="shortest pulse"):
        to_pulser(json.dumps(document([(0, 0)], [1], [(0, 0), (5e-9, 1)], [(0, 0), (5e-9, 1)], 0)), SPEC)
    with pytest.raises(BadProgram, match="distance"):
        to_pulser(change("setup.ahs_register.sites.1", ["1e-6", "0"]), SPEC)
    bare = replace(AnalogDevice, channel_objects=(), channel_ids=None, name="bare")
    assert isinstance(bare, Device)
    with pytest.raises(BadProgram, match="no global Rydberg channel"):
        to_pulser(json.dumps(THREE), bare.to_abstract_repr())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["0", "nan"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def paths(value: Any, at: str = "") -> list[str]:
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return [at]
    return ([at] if at else []) + [path for key, item in items for path in paths(item, f"{at}.{key}".lstrip("."))]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(paths(THREE)), JSON)
def test_whatever_comes_only_bad_program_leaves(path: str, value: Any) -> None:
    text = change(path, value)
    for look in (summarise, lambda payload: to_pulser(payload, SPEC)):
        try:
            look(text)
        except BadProgram as error:
            assert error.where.startswith(("$", "max", "min")) and error.why


@settings(max_examples=200, deadline=None)
@given(st.text() | JSON.map(json.dumps) | st.sampled_from(["[" * 100_000, '{"a":' * 50_000, "\ud800", "1" * 5000]))
def test_any_text_at_all(text: str) -> None:
    is_ahs(text)
    with pytest.raises(BadProgram):
        to_pulser(text, SPEC)
