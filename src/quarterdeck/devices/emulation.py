"""The physics of the emulated neutral-atom QPU, by pulser-simulation. Everything here runs in worker processes."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from quarterdeck.devices import cost
from quarterdeck.errors import Invalid
from quarterdeck.programs import pulser as program
from quarterdeck.programs.program import Parameters

MAX_RUNS = 10_000
SPEC = Path(__file__).with_name("fresnel_emulator.json")
"""What `make_spec` makes, so that a daemon need not wait for Pulser. `python -m quarterdeck.devices.emulation` writes
it anew; a test compares it with what the installed Pulser says."""

DETECTION = frozenset({"p_false_pos", "p_false_neg"})
"""Errors of the camera: left to the sampling, they cost nothing."""


def make_spec() -> str:
    """Pulser's AnalogDevice under another name, taking free registers and more runs (abstract representation)."""
    from pulser.devices import AnalogDevice

    device = replace(AnalogDevice, name="fresnel-emulator", max_runs=MAX_RUNS, requires_layout=False)
    return str(device.to_abstract_repr())


def spec(name: str, max_atoms: int | None = None) -> str:
    """The shipped spec under a name, perhaps for fewer atoms (JSON text)."""
    device = json.loads(SPEC.read_text())
    most = device["max_atom_num"]
    return json.dumps({**device, "name": name, "max_atom_num": min(most, max_atoms or most)})


def check_noise(noise: dict[str, Any]) -> None:
    """Raise `Invalid` for arguments that Pulser's NoiseModel does not take, and for leakage (a third level)."""
    if noise.get("with_leakage"):
        raise Invalid("noise.with_leakage", "is not supported")
    try:
        _noise_model(noise)
    except (TypeError, ValueError) as error:
        raise Invalid("noise", str(error)) from None


def trajectories(noise: dict[str, Any]) -> int:
    """How many runs are averaged: 0 without noise, Pulser's own 40 unless told otherwise."""
    return int(noise.get("trajectories", 40)) if set(noise) - DETECTION - {"trajectories"} else 0


def admit(payload: str, parameters: Parameters, shots: int, spec: str, limits: tuple[float, float, int]) -> str:
    """Check a program against the device and the cost limits: seconds, MiB, trajectories (0: no noise).

    Returns the register's key. Raises `BadProgram` or `TooCostly`.
    """
    sequence = program.check(payload, parameters, shots, spec)
    cost.check(len(sequence.register.qubit_ids), sequence.get_duration(), *limits)
    return json.dumps([[float(x) for x in place.as_array()] for place in sequence.register.qubits.values()])


def distribution(
    payload: str, parameters: Parameters, spec: str, modulated: bool, noise: dict[str, Any]
) -> dict[str, float]:
    """Probability of each bitstring at the end; the leftmost bit is the first atom. Raises `BadProgram`.

    Errors of detection (`p_false_pos`, `p_false_neg`) are left to the sampling.
    """
    from pulser.backend import StateResult
    from pulser_simulation import QutipBackendV2, QutipConfig

    sequence = program.build(payload, parameters, spec)
    runs = trajectories(noise)
    options: dict[str, Any] = {"noise_model": _noise_model(noise), "n_trajectories": runs} if runs else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = QutipConfig(observables=[StateResult(evaluation_times=[1.0])], with_modulation=modulated, **options)
        state: Any = QutipBackendV2(sequence, config=config).run().final_state
        found = state.bitstring_probabilities(cutoff=1e-12)
    return {bits: float(chance) for bits, chance in found.items()}


def _noise_model(noise: dict[str, Any]) -> Any:
    from pulser import NoiseModel

    return NoiseModel(**{key: value for key, value in noise.items() if key not in DETECTION | {"trajectories"}})


if __name__ == "__main__":
    SPEC.write_text(make_spec() + "\n")
