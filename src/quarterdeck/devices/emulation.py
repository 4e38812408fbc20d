"""The physics of the emulated neutral-atom QPU, by pulser-simulation. Everything here runs in worker processes."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import Any

from quarterdeck.devices import cost
from quarterdeck.programs import pulser as program
from quarterdeck.programs.program import Parameters

MAX_RUNS = 10_000


def make_spec(name: str, max_atoms: int | None = None) -> str:
    """Pulser's AnalogDevice under another name, taking free registers and more runs (abstract representation)."""
    from pulser.devices import AnalogDevice

    device = replace(
        AnalogDevice, name=name, max_runs=MAX_RUNS, requires_layout=False,
        max_atom_num=min(AnalogDevice.max_atom_num, max_atoms or AnalogDevice.max_atom_num),
        short_description="Emulated by Quarterdeck with pulser-simulation; no hardware is behind it.",
    )  # fmt: skip
    return str(device.to_abstract_repr())


def admit(payload: str, parameters: Parameters, shots: int, spec: str, limits: tuple[float, float, int]) -> str:
    """Check a program against the device and the cost limits (seconds, MiB, trajectories). Returns the register's key.

    Raises `BadProgram` or `TooCostly`.
    """
    sequence = program.check(payload, parameters, shots, spec)
    cost.check(len(sequence.register.qubit_ids), sequence.get_duration(), limits[0], limits[1], limits[2])
    return json.dumps([[float(x) for x in place.as_array()] for place in sequence.register.qubits.values()])


def distribution(
    payload: str, parameters: Parameters, spec: str, modulated: bool, noise: dict[str, Any]
) -> dict[str, float]:
    """Probability of each bitstring at the end; the leftmost bit is the first atom. Raises `BadProgram`.

    Errors of detection (`p_false_pos`, `p_false_neg`) are left to the sampling.
    """
    from pulser import NoiseModel
    from pulser.backend import StateResult
    from pulser_simulation import QutipBackendV2, QutipConfig

    sequence = program.build(payload, parameters, spec)
    told = {key: value for key, value in noise.items() if key not in ("p_false_pos", "p_false_neg", "trajectories")}
    options: dict[str, Any] = {"noise_model": NoiseModel(**told)} if told else {}
    if "trajectories" in noise:
        options["n_trajectories"] = noise["trajectories"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = QutipConfig(observables=[StateResult(evaluation_times=[1.0])], with_modulation=modulated, **options)
        state: Any = QutipBackendV2(sequence, config=config).run().final_state
        found = state.bitstring_probabilities(cutoff=1e-12)
    return {bits: float(chance) for bits, chance in found.items()}
