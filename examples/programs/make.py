"""Writes the programs beside it: `python examples/programs/make.py`. Needs Pulser."""

from __future__ import annotations

from pathlib import Path

from pulser import Pulse, Register, Sequence
from pulser.devices import AnalogDevice
from pulser.register.special_layouts import TriangularLatticeLayout
from pulser.waveforms import InterpolatedWaveform, RampWaveform

HERE = Path(__file__).parent


def register(sites: int) -> Register:
    """A chain of neighbouring traps, 6 um apart, on a triangular layout."""
    layout = TriangularLatticeLayout(61, 6.0)
    row = sorted((round(float(x), 3), i) for i, (x, y) in enumerate(layout.coords) if abs(y) < 1e-6)
    return layout.define_register(*(i for _, i in row[:sites]), qubit_ids=[f"q{i}" for i in range(sites)])


def afm_chain() -> Sequence:
    """Seven atoms swept into the antiferromagnetic state 1010101."""
    sequence = Sequence(register(7), AnalogDevice)
    sequence.declare_channel("rydberg", "rydberg_global")
    amplitude = InterpolatedWaveform(3000, [1e-9, 6.0, 6.0, 1e-9])
    sequence.add(Pulse(amplitude, RampWaveform(3000, -12.0, 10.0), 0), "rydberg")
    sequence.measure("ground-rydberg")
    return sequence


def mis() -> Sequence:
    """Six atoms; the amplitude and the detuning at four times each (rad/us) are variables."""
    sequence = Sequence(register(6), AnalogDevice)
    sequence.declare_channel("rydberg", "rydberg_global")
    amplitude = sequence.declare_variable("amplitude", size=4)
    detuning = sequence.declare_variable("detuning", size=4)
    pulse = Pulse(InterpolatedWaveform(3000, amplitude), InterpolatedWaveform(3000, detuning), 0)
    sequence.add(pulse, "rydberg")
    sequence.measure("ground-rydberg")
    return sequence


if __name__ == "__main__":
    for name, sequence in (("afm_chain", afm_chain()), ("mis", mis())):
        (HERE / f"{name}.json").write_text(sequence.to_abstract_repr() + "\n")
