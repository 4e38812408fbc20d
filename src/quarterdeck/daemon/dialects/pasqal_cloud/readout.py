"""What a batch wants to read out: a `backend_configuration` of Pulser's emulators, as far as the daemon can serve it.

Counts at the end of the sequence are all that devices give. Whatever asks for something else is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn
from uuid import UUID

import msgspec

from quarterdeck.errors import Invalid

WHERE = "$.backend_configuration"
HOW = frozenset({
    "autosave_dt", "autosave_prefix", "dt", "extra_krylov_tolerance", "gpu", "krylov_tolerance", "log_file",
    "log_level", "max_bond_dim", "max_krylov_dim", "n_trajectories", "num_gpus_to_use", "num_devices_to_use",
    "optimize_qubit_ordering", "precision", "progress_bar", "sampling_rate", "solver",
})  # fmt: skip
"""How emulators of Pasqal compute (pulser-simulation, emu-mps, emu-sv), not what: without effect here."""
NONE: dict[str, Any] = {"callbacks": [], "initial_state": None, "interaction_matrix": None, "interaction_cutoff": 0.0,
        "with_modulation": False, "prefer_device_noise_model": False}  # fmt: skip
"""What must be as it is by default."""


class Readout(msgspec.Struct, frozen=True):
    """How to answer: shots of jobs that do not say (0: none given), and how Pulser's BitStrings is called there."""

    shots: int = 0
    tag: str = "bitstrings"
    uuid: str = "00000000-0000-0000-0000-000000000000"


def read(text: str | None) -> Readout:
    """The readout that a serialised `EmulationConfig` asks for. Raises `Invalid` for one that cannot be had."""
    if not text:
        return Readout()
    try:
        config = json.loads(text)  # not msgspec: Pulser writes Infinity
    except (ValueError, RecursionError) as error:
        raise Invalid(WHERE, f"is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise Invalid(WHERE, "is not a JSON object")
    observables = config.get("observables") or []
    for key, value in config.items():
        if key in NONE and value != NONE[key] and value is not None:
            _refuse(key, "cannot be set")
        if key == "noise_model" and value and (not isinstance(value, Mapping) or value.get("noise_types")):
            _refuse(key, f"{str(value)[:120]}: the device's noise is its own")
        if key not in NONE and key not in HOW and key not in _READ:
            _refuse(key, "is not known here")
    if not isinstance(observables, list) or not all(isinstance(one, dict) for one in observables):
        _refuse("observables", "is not a list of objects")
    if (names := [str(one.get("observable")) for one in observables]) != ["bitstrings"]:
        _refuse("observables", f"asks for {', '.join(names)[:200] or 'nothing'}; a device gives one BitStrings()")
    return _bitstrings(observables[0], config)


_READ = frozenset({"observables", "default_evaluation_times", "noise_model", "default_num_shots"})


def _bitstrings(asked: Mapping[str, Any], config: Mapping[str, Any]) -> Readout:
    times = asked.get("evaluation_times") or config.get("default_evaluation_times") or [1.0]
    if times != [1.0]:
        _refuse("evaluation_times", f"{str(times)[:80]}: a device measures at the end, at 1.0")
    if asked.get("one_state") not in (None, "r"):
        _refuse("one_state", f"{str(asked['one_state'])[:20]!r}: the Rydberg state counts as 1")
    shots = asked.get("num_shots") or config.get("default_num_shots") or 0
    if isinstance(shots, bool) or not isinstance(shots, int) or not 0 <= shots < 2**31:
        _refuse("num_shots", f"{str(shots)[:40]} is not a number of shots")
    suffix = str(asked.get("tag_suffix") or "")
    if len(suffix) > 100 or not suffix.isprintable():
        _refuse("tag_suffix", "is not a short text")
    try:
        id = str(UUID(str(asked.get("uuid") or Readout().uuid)))
    except ValueError:
        _refuse("uuid", f"{str(asked['uuid'])[:40]!r} is not a UUID")
    return Readout(shots=shots, tag=f"bitstrings_{suffix}" if suffix else "bitstrings", uuid=id)


def legacy(configuration: Mapping[str, Any] | None) -> None:
    """Check a `configuration` of the SDK's own (EmuFreeConfig and others). Raises `Invalid`."""
    for key, value in (configuration or {}).items():
        fine = key == "strict_validation" or key in HOW  # programs are always checked as for a QPU
        fine = fine or (key == "with_noise" and not value)
        fine = fine or (key == "result_types" and value in (None, [], ["counter"]))
        if not fine:
            raise Invalid(f"$.configuration.{key[:80]}", f"{str(value)[:80]} cannot be had here")


def results(
    atoms: list[str], duration_ns: int, counts: Mapping[str, int], tag: str = "bitstrings", uuid: str = Readout().uuid
) -> str:
    """Counts as Pulser's `Results` in its abstract representation (pulser 1.9, results-schema.json).

    `duration_ns` is 0 where it depends on parameters, as in Pulser's own SampledResult. 3 is its way to merge results
    that fits bitstrings (AggregationMethod.BAG_UNION).
    """
    told = {
        "atom_order": atoms, "total_duration": duration_ns, "tagmap": {tag: uuid}, "results": {uuid: [counts]},
        "times": {uuid: [1.0]}, "aggregation_methods": {uuid: 3},
    }  # fmt: skip
    return msgspec.json.encode(told).decode()


def atoms(payload: str) -> list[str]:
    """Names of the atoms of a sequence, in the order of the bits."""
    told = msgspec.json.decode(payload, type=_Sequence)
    return [str(atom["name"]) for atom in told.register]


class _Sequence(msgspec.Struct, frozen=True):
    register: list[dict[str, Any]] = []


def _refuse(key: str, why: str) -> NoReturn:
    raise Invalid(f"{WHERE}.{key[:80]}", why)
