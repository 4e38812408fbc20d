"""Prepare an antiferromagnetic state of nine atoms, and show that it is one.

Atoms on a square grid, close enough that two neighbours cannot both be excited, are swept slowly from a negative to a
positive detuning: the ground state turns from "none excited" into a checkerboard. Run it against any daemon:

    python examples/antiferromagnetic_state.py
"""

from itertools import combinations
from math import pi

import numpy as np
from pulser import Pulse, Register, Sequence
from pulser.json.abstract_repr.deserializer import deserialize_device
from pulser.waveforms import ConstantWaveform, RampWaveform

import quarterdeck

SIDE = 3
SHOTS = 500
AMPLITUDE = 2 * pi * 1.6  # rad/us, all angular frequencies
DETUNING = (-2 * pi * 6.0, 2 * pi * 2.0)
RISE_NS, SWEEP_NS, FALL_NS = 300, 2600, 600
SPACING_UM = 6.4  # neighbours: U = C6 / r^6 = 2 pi x 2.0 MHz, a bit above the amplitude; diagonal ones: an eighth of it

with quarterdeck.connect() as client:
    told = client.device(client.default_device or "fresnel-emulator")
    device = deserialize_device(told.spec)

    atoms = Register.square(SIDE, spacing=SPACING_UM, prefix="q").with_automatic_layout(device)
    sequence = Sequence(atoms, device)
    sequence.declare_channel("rydberg", "rydberg_global")
    start, end = DETUNING
    sequence.add(Pulse.ConstantDetuning(RampWaveform(RISE_NS, 0, AMPLITUDE), start, 0), "rydberg")
    sequence.add(Pulse(ConstantWaveform(SWEEP_NS, AMPLITUDE), RampWaveform(SWEEP_NS, start, end), 0), "rydberg")
    sequence.add(Pulse.ConstantDetuning(RampWaveform(FALL_NS, AMPLITUDE, 0), end, 0), "rydberg")
    sequence.measure("ground-rydberg")

    task = client.submit(sequence.to_abstract_repr(), device=told.name, shots=SHOTS, name="antiferromagnet")
    result = task.result()

shots = np.array([[int(bit) for bit in bits] for bits, n in result.counts.items() for _ in range(n)])
occupation = shots.mean(axis=0)
kind = "emulated" if result.emulated else "measured"
print(f"{SIDE} x {SIDE} atoms on {told.name} ({kind}), {result.shots_done} shots, task {task.id}\n")
print("Excited fraction of each atom:")
for row in occupation.reshape(SIDE, SIDE):
    print("   " + "  ".join(f"{value:.2f}" for value in row))

# With spin +1 for an excited atom and -1 for one in the ground state, neighbours in an antiferromagnet are opposite.
spins = 2 * shots - 1
sites = np.array([divmod(atom, SIDE) for atom in range(SIDE**2)])
print("\nSpin correlation <s_i s_j> by the number of steps between the atoms (antiferromagnet: - + - +):")
for steps in range(1, 2 * SIDE - 1):
    pairs = [(i, j) for i, j in combinations(range(SIDE**2), 2) if np.abs(sites[i] - sites[j]).sum() == steps]
    value = float(np.mean([(spins[:, i] * spins[:, j]).mean() for i, j in pairs]))
    print(f"   {steps}  {value:+.3f}  {('-' if value < 0 else '+') * round(abs(value) * 40)}")
staggered = float(np.abs((spins * (-1) ** sites.sum(axis=1)).mean(axis=1)).mean())
print(f"Staggered magnetisation: {staggered:.3f} (1 for a perfect antiferromagnet)")

checkerboard = "".join(str(1 - (i // SIDE + i % SIDE) % 2) for i in range(SIDE**2))
print("\nMost frequent states:")
for bits, n in sorted(result.counts.items(), key=lambda item: -item[1])[:5]:
    print(f"   {bits}  {n / result.shots_done:6.1%}{'   the checkerboard' if bits == checkerboard else ''}")
