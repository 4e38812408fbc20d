"""An adiabatic sweep of three atoms with unmodified CUDA-Q, through the QRMI that it brings. Prints counts and times.

The QPU comes from the job's environment (SLURM_JOB_QPU_RESOURCES and its variables), as in a batch job.
"""

import json
import time

import cudaq
import numpy as np
from cudaq.dynamics import Schedule
from cudaq.operators import RydbergHamiltonian, ScalarOperator

TOTAL_S, RAMP_S, SPACING_M = 3e-6, 0.5e-6, 5.5e-6


def amplitude(t):
    return 6.28e6 * max(0.0, min(1.0, t.real / RAMP_S, (TOTAL_S - t.real) / RAMP_S))


def detuning(t):
    return -2e7 + 4e7 * t.real / TOTAL_S


cudaq.set_target("pasqal", machine="qrmi")
hamiltonian = RydbergHamiltonian(
    atom_sites=[(SPACING_M * index, 0.0) for index in range(3)], amplitude=ScalarOperator(amplitude),
    phase=ScalarOperator.const(0.0), delta_global=ScalarOperator(detuning),
)  # fmt: skip
times = []
for _ in range(2):
    began = time.perf_counter()
    schedule = Schedule(np.linspace(0.0, TOTAL_S, 31), ["t"])
    counts = dict(cudaq.evolve(hamiltonian, schedule=schedule, shots_count=100).items())
    times.append(time.perf_counter() - began)
print(json.dumps({"counts": counts, "times_s": times}))
