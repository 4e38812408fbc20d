"""Solve a small QUBO by an adiabatic sweep: minimise x^T Q x over bits x.

Two excited atoms at distance r cost the energy C6 / r^6, an excited atom gains the detuning d. Up to a factor of two
that is a QUBO: off the diagonal Q_ij = C6 / r_ij^6, on it Q_ii = -2 d. So the atoms are placed such that their
interactions resemble Q as closely as possible, and a slow sweep ends in the state of least energy. The matrix is that
of Pulser's tutorial on the quantum adiabatic algorithm; its two optima are 01011 and 00111.

    python examples/qubo_adiabatic_sweep.py
"""

from itertools import product

import numpy as np
from pulser import Pulse, Register, Sequence
from pulser.json.abstract_repr.deserializer import deserialize_device
from pulser.waveforms import InterpolatedWaveform
from scipy.optimize import minimize
from scipy.spatial.distance import pdist

import quarterdeck

Q = np.array(
    [
        [-10.0, 19.7365809, 19.7365809, 5.42015853, 5.42015853],
        [19.7365809, -10.0, 20.67626392, 0.17675796, 0.85604541],
        [19.7365809, 20.67626392, -10.0, 0.85604541, 0.17675796],
        [5.42015853, 0.17675796, 0.85604541, -10.0, 0.32306662],
        [5.42015853, 0.85604541, 0.17675796, 0.32306662, -10.0],
    ]
)
SHOTS = 1000
DURATION_NS = 4000


def energy(bits: str) -> float:
    x = np.array([int(bit) for bit in bits])
    return float(x @ Q @ x)


def embed(c6: float, seed: int = 0) -> tuple[np.ndarray, float]:
    """Positions (um) whose interactions are nearest to Q, the best of some random starts; and the distance left."""
    wanted = Q[np.triu_indices(len(Q), 1)]

    def misfit(flat: np.ndarray) -> float:
        return float(np.linalg.norm(c6 / pdist(flat.reshape(-1, 2)) ** 6 - wanted))

    random = np.random.default_rng(seed)
    starts = [random.uniform(-8, 8, 2 * len(Q)) for _ in range(12)]
    options = {"maxiter": 20_000, "maxfev": 20_000, "adaptive": True}
    fits = [minimize(misfit, start, method="Nelder-Mead", tol=1e-6, options=options) for start in starts]
    best = min(fits, key=lambda fit: fit.fun)
    points = best.x.reshape(-1, 2)
    return points - points.mean(axis=0), float(best.fun)


with quarterdeck.connect() as client:
    told = client.device(client.default_device or "fresnel-emulator")
    device = deserialize_device(told.spec)
    points, misfit = embed(device.interaction_coeff)
    print(f"Atoms placed, the closest {pdist(points).min():.2f} um apart; |interactions - Q| = {misfit:.2f}")

    atoms = Register.from_coordinates(points.round(3), center=False, prefix="q").with_automatic_layout(device)
    sequence = Sequence(atoms, device)
    sequence.declare_channel("rydberg", "rydberg_global")
    amplitude = float(np.median(Q[Q > 0]))  # between the strong couplings, which stay forbidden, and the weak ones
    detuning = -Q[0, 0] / 2
    sweep = Pulse(
        InterpolatedWaveform(DURATION_NS, [0, amplitude, 0]),
        InterpolatedWaveform(DURATION_NS, [-detuning, 0, detuning]),
        0,
    )
    sequence.add(sweep, "rydberg")
    sequence.measure("ground-rydberg")
    task = client.submit(sequence.to_abstract_repr(), device=told.name, shots=SHOTS, name="QUBO")
    result = task.result()

exact = sorted(("".join(bits) for bits in product("01", repeat=len(Q))), key=energy)
optima = [bits for bits in exact if np.isclose(energy(bits), energy(exact[0]))]
print(f"Exact optima, all {len(exact)} tried: {', '.join(optima)} with x^T Q x = {energy(exact[0]):.3f}\n")
print(f"Measured on {told.name}{' (emulated)' if result.emulated else ''}, {result.shots_done} shots, task {task.id}:")
for bits, n in sorted(result.counts.items(), key=lambda item: -item[1])[:6]:
    mark = "  optimum" if bits in optima else ""
    print(f"   {bits}  {n / result.shots_done:6.1%}  x^T Q x = {energy(bits):8.3f}{mark}")
share = sum(result.counts.get(bits, 0) for bits in optima) / result.shots_done
print(f"\n{share:.1%} of the shots are optimal.")
