"""Analog Hamiltonian simulation (AHS) documents, as Amazon Braket and CUDA-Q send them, and their Pulser sequences.

A document is JSON in SI units (m, s, rad/s; phases in rad), its numbers as numbers or as text:
`setup.ahs_register.{sites, filling}` and `hamiltonian.drivingFields[0].{amplitude, phase, detuning}`, each
`{"pattern": "uniform", "time_series": {"times", "values"}}` (schema `braket.ir.ahs.program`; CUDA-Q writes the same
with eight decimals, so its times come in steps of 10 ns and its places in steps of 10 nm).

Both worlds mean the same Hamiltonian: drive amplitude/2, detuning with a minus sign, C6/r^6 between Rydberg atoms. What
no document says is C6: the sequence interacts as the device's own Rydberg level does, so distances matter per device.

Bits: only filled sites are atoms. The n-th bit of a result is the n-th filled site, and 1 is the Rydberg state; an atom
is named `q` and the number of its site.

Whatever the text holds, the only exception that leaves this module is `BadProgram`.
"""

from __future__ import annotations

import json
import math
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from quarterdeck.errors import BadProgram
from quarterdeck.programs.program import Summary

if TYPE_CHECKING:
    from pulser.devices import Device

LONGEST_NS, MOST_POINTS, MOST_SITES = 100_000_000, 20_000, 10_000
"""Beyond these no device follows. One shot of 100 ms is a thousand times what is usual."""

_DRIVE = "$.hamiltonian.drivingFields[0]"


class _Series(msgspec.Struct, frozen=True):
    """Piecewise linear: times in ns, ascending from 0, and a value at each."""

    times_ns: tuple[int, ...]
    values: tuple[float, ...]


class _Document(msgspec.Struct, frozen=True):
    """What a document asks for. Places in um by site number, amplitude and detuning in rad/us, phase in rad."""

    places_um: dict[int, tuple[float, float]]
    amplitude: _Series
    detuning: _Series
    phase: float


def is_ahs(payload: str) -> bool:
    """Whether the text is a JSON object with `setup` and `hamiltonian` (by which QRMI knows one, too)."""
    if '"setup"' not in payload or '"hamiltonian"' not in payload:
        return False
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and {"setup", "hamiltonian"} <= set(told)


def summarise(payload: str) -> Summary:
    """Atoms and duration. Raises `BadProgram`."""
    document = _read(payload)
    return Summary(qubits=len(document.places_um), duration_ns=document.amplitude.times_ns[-1])


def to_pulser(payload: str, device_spec: str) -> str:
    """The same program as a Pulser sequence for a device (abstract representations, JSON text). Raises `BadProgram`.

    It drives the device's global Rydberg channel. The duration is rounded up to the channel's clock period, by keeping
    the last values; a device that asks for a layout gets one made for the register.
    """
    document = _read(payload)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _sequence(document, device_spec)
    except BadProgram:
        raise
    except Exception as error:
        why = str(error).strip().partition("\n")[0][:300] or type(error).__name__
        raise BadProgram("$", f"Pulser refuses it: {why}") from None


def _sequence(document: _Document, device_spec: str) -> str:
    from pulser import Pulse, Register, Sequence

    from quarterdeck.programs.pulser import device_of

    device = device_of(device_spec)
    name, channel = _channel(device)
    amplitude, detuning, clock_ns = document.amplitude, document.detuning, channel.clock_period
    for series, what, most in (
        (amplitude, "amplitude", channel.max_amp), (detuning, "detuning", channel.max_abs_detuning),
    ):  # fmt: skip
        for index, value in enumerate(series.values):
            if most is not None and abs(value) > most * (1 + 1e-9):
                said = f"{value:g} rad/us, but {device.name} allows {most:g}"
                raise BadProgram(f"{_DRIVE}.{what}.time_series.values[{index}]", said)
    duration_ns = -(-amplitude.times_ns[-1] // clock_ns) * clock_ns
    if duration_ns < channel.min_duration:
        said = f"{duration_ns} ns, but {device.name}'s shortest pulse has {channel.min_duration} ns"
        raise BadProgram(f"{_DRIVE}.amplitude.time_series.times", said)
    register = Register({f"q{site}": place for site, place in document.places_um.items()})
    if device.requires_layout:
        try:
            register = register.with_automatic_layout(device)
        except Exception as error:
            said = f"{device.name} needs a layout, and none can be made for it: {error}"
            raise BadProgram("$.setup.ahs_register.sites", said[:400]) from None
    sequence = Sequence(register, device)
    sequence.declare_channel("rydberg", name)
    pulse = Pulse(_waveform(amplitude, duration_ns), _waveform(detuning, duration_ns), document.phase % math.tau)
    sequence.add(pulse, "rydberg")
    return str(sequence.to_abstract_repr())


def _channel(device: Device) -> tuple[str, Any]:
    for name, channel in device.channels.items():
        if channel.basis == "ground-rydberg" and channel.addressing == "Global":
            return name, channel
    raise BadProgram("channels", f"{device.name} has no global Rydberg channel, which an AHS program drives")


def _waveform(series: _Series, duration_ns: int) -> Any:
    """Ramps from point to point; Pulser's samples, one per ns, then have the integral that the document says."""
    from pulser.waveforms import CompositeWaveform, ConstantWaveform, RampWaveform

    points = [*zip(series.times_ns, series.values, strict=True), (duration_ns, series.values[-1])]
    parts: list[Any] = []
    for (begin_ns, begin), (end_ns, end) in pairwise(points):
        long_ns = end_ns - begin_ns
        if long_ns:
            parts.append(ConstantWaveform(long_ns, end) if begin == end else RampWaveform(long_ns, begin, end))
    return CompositeWaveform(*parts) if len(parts) > 1 else parts[0]


def _read(payload: str) -> _Document:
    def constant(name: str) -> NoReturn:
        raise BadProgram("$", f"{name} is not a number in JSON")

    try:
        payload.encode()
        told = json.loads(payload, parse_constant=constant, parse_int=float)
    except UnicodeEncodeError as error:
        raise BadProgram("$", f"not valid Unicode at character {error.start}") from None
    except RecursionError:
        raise BadProgram("$", "nested too deeply") from None
    except ValueError as error:
        raise BadProgram("$", f"not JSON: {error}") from None
    setup = _object(_object(told, "$").get("setup"), "$.setup", {"ahs_register"})
    hamiltonian = _object(
        told.get("hamiltonian"), "$.hamiltonian", {"drivingFields", "localDetuning", "shiftingFields"}
    )
    for key in ("localDetuning", "shiftingFields"):
        if hamiltonian.get(key):
            raise BadProgram(f"$.hamiltonian.{key}", "local detuning is not supported: every atom sees the same drive")
    fields = _list(hamiltonian.get("drivingFields"), "$.hamiltonian.drivingFields")
    if len(fields) != 1:
        raise BadProgram("$.hamiltonian.drivingFields", f"{len(fields)} driving fields, but exactly one is supported")
    field = _object(fields[0], _DRIVE, {"amplitude", "phase", "detuning"})
    series = {name: _series(field.get(name), f"{_DRIVE}.{name}") for name in ("amplitude", "phase", "detuning")}
    ends = {name: one.times_ns[-1] for name, one in series.items()}
    for name, end_ns in ends.items():
        if end_ns != ends["amplitude"]:
            said = f"ends at {end_ns} ns, the amplitude at {ends['amplitude']} ns: all must end together"
            raise BadProgram(f"{_DRIVE}.{name}.time_series.times", said)
    for index, value in enumerate(series["amplitude"].values):
        if value < 0:
            raise BadProgram(f"{_DRIVE}.amplitude.time_series.values[{index}]", "must not be negative")
    phases = series["phase"].values
    for index, value in enumerate(phases):
        if value != phases[0]:
            why = "a phase that changes is not supported: between two phases the channel would need a pause"
            raise BadProgram(f"{_DRIVE}.phase.time_series.values[{index}]", why)
    return _Document(
        _places(setup.get("ahs_register")),
        _scaled(series["amplitude"]), _scaled(series["detuning"]), phases[0],
    )  # fmt: skip


def _scaled(series: _Series) -> _Series:
    return _Series(series.times_ns, tuple(value * 1e-6 for value in series.values))


def _places(told: Any) -> dict[int, tuple[float, float]]:
    """Where the filled sites are, in um from the middle of what they span; rounded to 1 pm as Pulser does."""
    where = "$.setup.ahs_register"
    register = _object(told, where, {"sites", "filling"})
    sites, filling = _list(register.get("sites"), f"{where}.sites"), _list(register.get("filling"), f"{where}.filling")
    if len(sites) != len(filling):
        raise BadProgram(f"{where}.filling", f"{len(filling)} entries for {len(sites)} sites")
    if len(sites) > MOST_SITES:
        raise BadProgram(f"{where}.sites", f"{len(sites)} sites; at most {MOST_SITES} are read")
    places: dict[int, tuple[float, float]] = {}
    for index, (site, fill) in enumerate(zip(sites, filling, strict=True)):
        at = _list(site, f"{where}.sites[{index}]")
        if len(at) != 2:
            raise BadProgram(f"{where}.sites[{index}]", f"{len(at)} coordinates, but a place has two")
        x, y = (_number(value, f"{where}.sites[{index}][{axis}]") * 1e6 for axis, value in enumerate(at))
        if max(abs(x), abs(y)) > 1e6:
            raise BadProgram(f"{where}.sites[{index}]", "is more than a metre away: places are in metres")
        filled = _number(fill, f"{where}.filling[{index}]")
        if filled not in (0, 1):
            raise BadProgram(f"{where}.filling[{index}]", "must be 0 (empty) or 1 (an atom)")
        if filled:
            places[index] = (x, y)
    if not places:
        raise BadProgram(f"{where}.filling", "no site holds an atom")
    if len({(round(x, 6), round(y, 6)) for x, y in places.values()}) != len(places):
        raise BadProgram(f"{where}.sites", "two atoms are at the same place")
    xs, ys = zip(*places.values(), strict=True)
    mid_x, mid_y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    return {site: (round(x - mid_x, 6), round(y - mid_y, 6)) for site, (x, y) in places.items()}


def _series(told: Any, where: str) -> _Series:
    field = _object(told, where, {"pattern", "time_series"})
    if field.get("pattern") != "uniform":
        raise BadProgram(f"{where}.pattern", "only 'uniform' is supported: every atom sees the same drive")
    where = f"{where}.time_series"
    series = _object(field.get("time_series"), where, {"times", "values"})
    times, values = _list(series.get("times"), f"{where}.times"), _list(series.get("values"), f"{where}.values")
    if len(times) != len(values):
        raise BadProgram(f"{where}.values", f"{len(values)} values for {len(times)} times")
    if not 2 <= len(times) <= MOST_POINTS:
        raise BadProgram(f"{where}.times", f"{len(times)} points; 2 to {MOST_POINTS} are possible")
    found: list[int] = []
    for index, value in enumerate(times):
        time_ns = _number(value, f"{where}.times[{index}]") * 1e9
        if not -LONGEST_NS <= time_ns <= LONGEST_NS:
            raise BadProgram(f"{where}.times[{index}]", f"beyond {LONGEST_NS * 1e-9:g} s: times are in seconds")
        found.append(round(time_ns))
        if index and found[index] < found[index - 1]:
            raise BadProgram(f"{where}.times[{index}]", "times must ascend")
    if found[0] != 0:
        raise BadProgram(f"{where}.times[0]", "must be 0")
    if not found[-1]:
        raise BadProgram(f"{where}.times", "the program takes less than 1 ns")
    return _Series(tuple(found), tuple(_number(value, f"{where}.values[{i}]") for i, value in enumerate(values)))


def _number(told: Any, where: str) -> float:
    try:
        if isinstance(told, str | float) and len(str(told)) <= 64 and math.isfinite(number := float(told)):
            return number
    except ValueError:
        pass
    raise BadProgram(where, "must be a finite number, or one as text")


def _object(told: Any, where: str, keys: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise BadProgram(where, "must be an object" if told is not None else "is missing")
    if keys is not None and (unknown := set(told) - keys):
        said = min(unknown)[:40].encode("ascii", "replace").decode()
        raise BadProgram(where, f"has {said!r}, which is not supported")
    return told


def _list(told: Any, where: str) -> list[Any]:
    if not isinstance(told, list):
        raise BadProgram(where, "must be a list" if told is not None else "is missing")
    return told
