"""A Pulser program as it stands in any tutorial, with one line changed: the backend.

python examples/pulser_one_line.py
"""

import numpy as np
import pulser
from pulser.backend import QPUBackend

import quarterdeck

device = pulser.AnalogDevice
register = pulser.Register.triangular_lattice(rows=2, atoms_per_row=3, spacing=6.0, prefix="q")
register = register.with_automatic_layout(device)

sequence = pulser.Sequence(register, device)
sequence.declare_channel("ising", "rydberg_global")
final_detuning = sequence.declare_variable("final_detuning")
sequence.add(
    pulser.Pulse(
        pulser.InterpolatedWaveform(3000, [0.0, 9.0, 0.0]),
        pulser.RampWaveform(3000, -20.0, final_detuning),
        0,
    ),
    "ising",
)

# The line that changed. It was: backend = QutipBackendV2(sequence, config=config)
backend = QPUBackend(sequence, connection=quarterdeck.connect().pulser())

jobs = [{"runs": 500, "variables": {"final_detuning": float(value)}} for value in np.linspace(-5, 15, 3)]
results = backend.run(job_params=jobs, wait=True)

print(f"batch {results.batch_id}: {results.get_batch_status().name}")
for job, result in zip(jobs, results.results, strict=True):
    counts = result.final_bitstrings
    top = ", ".join(f"{bits} {n}" for bits, n in sorted(counts.items(), key=lambda item: -item[1])[:4])
    print(f"   detuning to {job['variables']['final_detuning']:5.1f} rad/us, {sum(counts.values())} runs: {top}")
