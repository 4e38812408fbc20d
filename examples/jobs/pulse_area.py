"""Find the pulse that excites one of two blockaded atoms for sure: a classical search with the QPU in its loop.

Two atoms within the blockade radius share one excitation and oscillate sqrt(2) times faster than one would, so the best
amplitude of a pulse of 600 ns is pi / (sqrt(2) 0.6 us) = 3.70 rad/us.
"""

from math import pi, sqrt

from pulser import Pulse, Register, Sequence
from pulser.json.abstract_repr.deserializer import deserialize_device
from scipy.optimize import minimize_scalar

import quarterdeck

DURATION_NS, SHOTS = 600, 500

with quarterdeck.connect() as client:
    told = client.device(client.default_device)
    device = deserialize_device(told.spec)
    atoms = Register.from_coordinates([(0, 0), (5.2, 0)], prefix="q").with_automatic_layout(device)
    sequence = Sequence(atoms, device)
    sequence.declare_channel("rydberg", "rydberg_global")
    amplitude = sequence.declare_variable("amplitude")
    sequence.add(Pulse.ConstantPulse(DURATION_NS, amplitude, 0, 0), "rydberg")
    sequence.measure("ground-rydberg")
    program = client.upload(sequence.to_abstract_repr())

    def missed(value: float) -> float:
        result = client.submit(program, shots=SHOTS, parameters={"amplitude": float(value)}).result()
        share = 1 - result.counts.get("00", 0) / result.shots_done
        print(f"   {value:6.3f} rad/us: {share:6.1%} excited", flush=True)
        return 1 - share

    best = minimize_scalar(missed, bounds=(1.0, 6.0), method="bounded", options={"xatol": 0.05, "maxiter": 12})
    emulated = " (emulated)" if told.emulated else ""
    print(f"best amplitude on {told.name}{emulated}: {best.x:.2f} rad/us; expected: {pi / sqrt(2) / 0.6:.2f}")
