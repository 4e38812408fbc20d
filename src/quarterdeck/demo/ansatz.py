"""The quantum part: one parametrised Pulser sequence, and what its parameters mean.

The sequence is uploaded once. It drives all atoms with a global Rydberg pulse whose amplitude and detuning pass through
four control points each (monotone interpolation, so a pulse never leaves the range of its points); the control points
are the sequence's variables. Atoms within the blockade radius cannot both be excited, so a slow sweep of the detuning
from negative to positive ends in a maximum independent set of the unit-disk graph (Pichler et al., arXiv:1808.10816).
Which sweep does it within a few microseconds is what the classical part has to find.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quarterdeck.demo.graph import UnitDiskGraph, draw
from quarterdeck.errors import Invalid

if TYPE_CHECKING:
    from pulser.devices._device_datacls import BaseDevice
    from pulser.register.base_register import BaseRegister

SITES = 61
"""Traps of the triangular lattice from which the atoms' places are taken: four rings around the centre."""
SPACING_UM = 5.3
DURATION_NS = 3000


@dataclass(frozen=True)
class Knob:
    """One number that the classical optimizer turns. Every value between `lower` and `upper` is legal on the device."""

    name: str
    unit: str
    lower: float
    upper: float
    start: float


@dataclass(frozen=True)
class Ansatz:
    """The problem on its atoms, with the pulse to be tuned.

    Attributes:
        graph: The unit-disk graph; vertex i is the register's atom i.
        payload: The parametrised sequence in Pulser's abstract representation (JSON text).
        duration_ns: Length of the pulse.
        knobs: Peak amplitude, detuning at the start and at the end (rad/us), and the shapes of both.
    """

    graph: UnitDiskGraph
    payload: str
    duration_ns: int
    knobs: tuple[Knob, ...]

    def parameters(self, values: Sequence[float]) -> dict[str, list[float]]:
        """The sequence's variables for these knobs: amplitude and detuning at four times each, rad/us."""
        low, high = (np.array([getattr(knob, end) for knob in self.knobs]) for end in ("lower", "upper"))
        peak, start, end, bend, skew = np.clip(np.asarray(values, dtype=float), low, high)
        amplitude = [0.0, peak * min(1.0, 2 * skew), peak * min(1.0, 2 * (1 - skew)), 0.0]
        detuning = [start + (end - start) * part for part in (0.0, 0.8 * bend, 0.8 * bend + 0.2, 1.0)]
        return {
            "amplitude": [round(float(x), 4) for x in amplitude],
            "detuning": [round(float(x), 4) for x in detuning],
        }

    def curves(self, values: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Time (us), amplitude and detuning (rad/us) of the pulse, for pictures."""
        from pulser.waveforms import InterpolatedWaveform

        points = self.parameters(values)
        amplitude, detuning = (
            np.asarray(InterpolatedWaveform(self.duration_ns, points[name]).samples.as_array())
            for name in ("amplitude", "detuning")
        )
        return np.arange(self.duration_ns) / 1000, amplitude, detuning


def build(spec: str, atoms: int, seed: int) -> Ansatz:
    """The ansatz on a device given in Pulser's abstract representation (the `spec` that the daemon tells).

    Raises `Invalid` when the device cannot do this: no global Rydberg channel, or too few sites.
    """
    from pulser.exceptions.serialization import DeserializeDeviceError
    from pulser.json.abstract_repr.deserializer import deserialize_device

    try:
        device = deserialize_device(spec)
    except DeserializeDeviceError:
        raise Invalid("device", "it does not describe itself as a Pulser device") from None
    channel_id = next((name for name, kind in device.channels.items() if _global_rydberg(kind)), None)
    if channel_id is None:
        raise Invalid("device", f"{device.name} has no global Rydberg channel")
    channel = device.channels[channel_id]
    register, graph = _register(device, atoms, seed)

    # An edge must cost more than a vertex brings, a vertex more than the tails of its far neighbours take.
    longest_um = max(math.dist(graph.points_um[a], graph.points_um[b]) for a, b in graph.edges)
    edge_energy = device.interaction_coeff / longest_um**6
    most_detuning = min(30.0, 0.8 * edge_energy, 0.99 * (channel.max_abs_detuning or np.inf))
    most_amplitude = min(12.5, 0.99 * (channel.max_amp or np.inf))
    knobs = (
        Knob("peak amplitude", "rad/us", 0.16 * most_amplitude, most_amplitude, 0.4 * most_amplitude),
        Knob("detuning at the start", "rad/us", -most_detuning, -2.0, -0.2 * most_detuning),
        Knob("detuning at the end", "rad/us", 2.0, most_detuning, 0.2 * most_detuning),
        Knob("bend of the sweep", "", 0.1, 0.9, 0.5),
        Knob("skew of the amplitude", "", 0.1, 0.9, 0.5),
    )
    limit = min(device.max_sequence_duration or DURATION_NS, DURATION_NS)
    duration_ns = limit - limit % (4 * channel.clock_period)
    return Ansatz(graph, _sequence(device, register, channel_id, duration_ns), duration_ns, knobs)


def _global_rydberg(channel: object) -> bool:
    return getattr(channel, "basis", "") == "ground-rydberg" and getattr(channel, "addressing", "") == "Global"


def _register(device: BaseDevice, atoms: int, seed: int) -> tuple[BaseRegister, UnitDiskGraph]:
    from pulser.register.special_layouts import TriangularLatticeLayout

    calibrated = getattr(device, "calibrated_register_layouts", {})
    if calibrated and not getattr(device, "accepts_new_layouts", True):
        layout = next(iter(calibrated.values()))
    else:
        layout = TriangularLatticeLayout(SITES, max(SPACING_UM, 1.06 * device.min_atom_distance))
    sites = [(float(x), float(y)) for x, y in layout.coords]
    points = np.asarray(sites)
    nearest = min(float(np.linalg.norm(points[i] - points[:i], axis=1).min()) for i in range(1, len(points)))
    chosen = draw(sites, 1.1 * nearest, atoms, seed)
    graph = UnitDiskGraph(tuple(sites[i] for i in chosen), round(1.1 * nearest, 3))
    return layout.define_register(*chosen, qubit_ids=[f"q{i}" for i in range(atoms)]), graph


def _sequence(device: BaseDevice, register: BaseRegister, channel_id: str, duration_ns: int) -> str:
    from pulser import Pulse
    from pulser import Sequence as PulserSequence
    from pulser.waveforms import InterpolatedWaveform

    sequence = PulserSequence(register, device)
    sequence.declare_channel("rydberg", channel_id)
    amplitude = sequence.declare_variable("amplitude", size=4)
    detuning = sequence.declare_variable("detuning", size=4)
    pulse = Pulse(InterpolatedWaveform(duration_ns, amplitude), InterpolatedWaveform(duration_ns, detuning), 0)
    sequence.add(pulse, "rydberg")
    sequence.measure("ground-rydberg")
    return sequence.to_abstract_repr()
