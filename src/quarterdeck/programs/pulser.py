"""Pulser's abstract representation: parse it, build it on a device, and say which of the device's limits it breaks.

Whatever the text holds, the only exception that leaves this module is `BadProgram`.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NoReturn, cast

from quarterdeck.errors import BadProgram
from quarterdeck.programs.program import Parameters, Summary

if TYPE_CHECKING:
    from pulser import Sequence
    from pulser.devices import Device

DEEPEST = 64
"""Levels of nesting that are read. A sequence of Pulser 1.9 uses about ten; its expressions nest one per operation."""


def summarise(payload: str) -> Summary:
    """Atoms, duration, variables and device of a sequence. Raises `BadProgram` with where and why."""
    sequence = parse(payload)
    with _told("$"):
        register = sequence.get_register(include_mappable=True)
        return Summary(
            qubits=len(register.qubit_ids),
            duration_ns=None if sequence.is_parametrized() else int(sequence.get_duration()),
            variables={name: int(variable.size) for name, variable in sequence.declared_variables.items()},
            device=str(sequence.device.name),
            register="" if sequence.is_register_mappable() else _register_key(register),
        )


def _register_key(register: Any) -> str:
    """A short key of where the atoms are: the part of a sequence that takes time to set up."""
    places = [[round(float(x), 6) for x in place.as_array()] for place in register.qubits.values()]
    return sha256(json.dumps(places).encode()).hexdigest()[:16]


def parse(payload: str) -> Sequence[Any]:
    """The sequence that the text stands for, on the device it was written for. Raises `BadProgram`."""
    _check_json(payload)
    from pulser import Sequence

    with _told("$"):
        return Sequence.from_abstract_repr(payload)


@lru_cache(maxsize=8)
def device_of(spec: str) -> Device:
    """The Pulser device of a target's `spec`."""
    from pulser.json.abstract_repr.deserializer import deserialize_device

    return cast("Device", deserialize_device(spec))


def build(payload: str, parameters: Parameters, device_spec: str) -> Sequence[Any]:
    """The sequence on this device with its variables set. Raises `BadProgram` naming the parameter or the limit."""
    sequence = parse(payload)
    device = device_of(device_spec)
    if sequence.is_register_mappable():
        raise BadProgram("$.register", "a mappable register has no atoms yet; build it with `qubits` before sending it")
    values = _values({name: variable for name, variable in sequence.declared_variables.items()}, parameters)
    register = sequence.get_register(include_mappable=False)
    atoms = len(register.qubit_ids)
    if device.max_atom_num is not None and atoms > device.max_atom_num:
        raise BadProgram("max_atom_num", f"{atoms} atoms, but {device.name} holds at most {device.max_atom_num}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _same_interactions(sequence, device)
        with _told("limits", f"the program does not fit on {device.name}: "):
            device.validate_register(register)
        if sequence.device != device:
            was = sequence.device.name
            with _told("device", f"the program was written for {was} and does not fit on {device.name}: "):
                sequence = sequence.with_new_device(device, strict=False)
        if values or sequence.is_parametrized():
            with _told("parameters", f"with these parameters the program does not fit on {device.name}: "):
                sequence = sequence.build(**values)
    if sequence.is_empty():
        raise BadProgram("$.operations", "the program has no pulse")
    return sequence


def check(payload: str, parameters: Parameters, shots: int, device_spec: str) -> Sequence[Any]:
    """Like `build`, with the limits that concern a whole run. Raises `BadProgram` naming the limit."""
    device = device_of(device_spec)
    if device.max_runs is not None and shots > device.max_runs:
        raise BadProgram("max_runs", f"{shots} shots, but {device.name} takes at most {device.max_runs} at once")
    sequence = build(payload, parameters, device_spec)
    duration_ns = sequence.get_duration()
    longest_ns = device.max_sequence_duration
    if longest_ns is not None and duration_ns > longest_ns:
        raise BadProgram("max_sequence_duration", f"{duration_ns} ns, but {device.name} allows {longest_ns} ns")
    with _told("layout"):
        from pulser.backend.abc import Backend

        Backend.validate_sequence(sequence, mimic_qpu=True)
    return sequence


def bound(payload: str, parameters: Parameters, shots: int, device_spec: str) -> str:
    """The checked sequence on this device with its variables set, as text for whoever takes no parameters."""
    sequence = check(payload, parameters, shots, device_spec)
    with _told("$"):
        return str(sequence.to_abstract_repr())


def _same_interactions(sequence: Sequence[Any], device: Device) -> None:
    """Another Rydberg level means other interactions: the same pulses would be another experiment."""
    was = sequence.device
    if was.rydberg_level != device.rydberg_level and type(was).__name__ != "VirtualDevice":
        why = f"the program was written for {was.name} (level {was.rydberg_level}), and {device.name} works at level "
        raise BadProgram("rydberg_level", f"{why}{device.rydberg_level}: its atoms would interact differently")


def _values(variables: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:
    missing, unknown = sorted(set(variables) - set(parameters)), sorted(set(parameters) - set(variables))
    if missing:
        raise BadProgram(f"$.parameters.{missing[0]}", f"no value for {', '.join(missing)}")
    if unknown:
        raise BadProgram(f"$.parameters.{unknown[0]}", f"the program has no variable {', '.join(unknown)[:200]}")
    values: dict[str, Any] = {}
    for name, variable in variables.items():
        given = parameters[name]
        numbers = given if isinstance(given, list | tuple) else [given]
        where = f"$.parameters.{name}"
        if len(numbers) != variable.size:
            raise BadProgram(where, f"{len(numbers)} numbers, but the variable has length {variable.size}")
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise BadProgram(where, f"{type(number).__name__} is not a number")
            if not abs(number) < 1e300 or not math.isfinite(number):
                raise BadProgram(where, "not a finite number")
            if variable.dtype is int and number != int(number):
                raise BadProgram(where, f"{number} is not a whole number")
        values[name] = list(numbers) if variable.size > 1 else numbers[0]
    return values


def _check_json(payload: str) -> None:
    """Refuse what no JSON parser should be asked to read, before a recursive one does."""
    if "\0" in payload:
        raise BadProgram("$", f"NUL byte at character {payload.index(chr(0))}")
    try:
        payload.encode()
    except UnicodeEncodeError as error:
        raise BadProgram("$", f"not valid Unicode at character {error.start}") from None

    def constant(name: str) -> NoReturn:
        raise BadProgram("$", f"{name} is not a number in JSON")

    try:
        told = json.loads(payload, parse_constant=constant)
    except RecursionError:
        raise BadProgram("$", f"nested deeper than {DEEPEST} levels") from None
    except ValueError as error:
        raise BadProgram("$", f"not JSON: {error}") from None
    if not isinstance(told, dict):
        raise BadProgram("$", f"a sequence is a JSON object, not a {type(told).__name__}")
    pending: list[tuple[str, Any, int]] = [("$", told, 0)]
    while pending:
        where, value, depth = pending.pop()
        if depth > DEEPEST:
            raise BadProgram(where[:120], f"nested deeper than {DEEPEST} levels")
        if isinstance(value, float) and not math.isfinite(value):
            raise BadProgram(where, "not a finite number")
        if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
            raise BadProgram(where, "holds a NUL or a lone surrogate")
        if isinstance(value, dict):
            pending += [
                (f"{where}.{str(key)[:40].encode('ascii', 'replace').decode()}", value[key], depth + 1) for key in value
            ]
            pending += [(f"{where} (a key)", key, depth) for key in value]
        elif isinstance(value, list):
            pending += [(f"{where}[{index}]", item, depth + 1) for index, item in enumerate(value)]


_LIMITS = (
    ("amplitude", "max_amp"), ("detuning", "max_abs_detuning"), ("minimal distance", "min_atom_distance"),
    ("distance", "min_atom_distance"), ("from the center", "max_radial_distance"), ("radi", "max_radial_distance"),
    ("maximum number of atoms", "max_atom_num"), ("duration", "max_sequence_duration"), ("layout", "layout"),
    ("channel", "channels"),
)  # fmt: skip
"""Words in Pulser's messages, and the field of the device that they are about."""


@contextmanager
def _told(where: str, before: str = "") -> Iterator[None]:
    """Turn whatever Pulser raises into `BadProgram`: its checks are spread over a dozen exception types."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BadProgram:
        raise
    except RecursionError:
        raise BadProgram(where, "nested too deeply") from None
    except MemoryError:
        raise
    except Exception as error:
        raise BadProgram(_where(where, error), (before + _why(error)).encode("utf-8", "replace").decode()) from None


def _where(where: str, error: Exception) -> str:
    path = getattr(error, "json_path", None)  # jsonschema
    if isinstance(path, str):
        return path[:200]
    if where.startswith("$"):
        return where
    said = _why(error).lower()
    return next((limit for word, limit in _LIMITS if word in said), where)


def _why(error: BaseException) -> str:
    """The message and its causes, without the dump of a whole schema or program."""
    said: list[str] = []
    at: BaseException | None = error
    while at is not None and len(said) < 4:
        text = getattr(at, "message", None) or (f"missing {at}" if isinstance(at, KeyError) else str(at))
        said.append(str(text).strip().partition("\n")[0][:300] or type(at).__name__)
        at = at.__cause__
    return "; ".join(dict.fromkeys(said))
