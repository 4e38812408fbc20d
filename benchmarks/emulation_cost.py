"""Measures what an emulation takes, for quarterdeck/devices/cost.py: `python benchmarks/emulation_cost.py [ATOMS]`.

Prints the table of docs/emulated-device.md and the constants fitted to it. One process and one thread, CPU seconds,
median of three below 12 atoms; memory is the process's peak so far, so it runs from small registers to large ones.
"""

from __future__ import annotations

import os
import sys
import warnings
from math import ceil, pi, sqrt
from resource import RUSAGE_SELF, getrusage
from statistics import median
from time import process_time

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy is imported, hence the E402 below

from pulser import Pulse, Register, Sequence  # noqa: E402
from pulser.devices import AnalogDevice  # noqa: E402
from pulser.waveforms import ConstantWaveform, InterpolatedWaveform, RampWaveform, Waveform  # noqa: E402

from quarterdeck.devices import cost  # noqa: E402
from quarterdeck.devices.emulation import distribution, make_spec  # noqa: E402

DURATIONS_NS, SPACINGS_UM = (1000, 2000, 4000), (5.0, 6.5, 8.0)
REPEATED_BELOW = 12


def sequence(atoms: int, spacing_um: float, duration_ns: int, drive: str) -> str:
    """Atoms on a square lattice under an adiabatic sweep, or under the strongest pulse that the device takes."""
    side = ceil(sqrt(atoms))
    grid = Register.rectangle(ceil(atoms / side), side, spacing_um, prefix="q")
    kept = dict(list(grid.qubits.items())[:atoms])
    made = Sequence(Register(kept), AnalogDevice)
    made.declare_channel("rydberg", "rydberg_global")
    if drive == "sweep":
        amplitude: Waveform = InterpolatedWaveform(duration_ns, [1e-9, 6.0, 6.0, 1e-9])
        detuning: Waveform = RampWaveform(duration_ns, -12.0, 10.0)
    else:
        amplitude, detuning = ConstantWaveform(duration_ns, 4 * pi), RampWaveform(duration_ns, -40 * pi, 40 * pi)
    made.add(Pulse(amplitude, detuning, 0), "rydberg")
    return str(made.to_abstract_repr())


def measure(payload: str, spec: str, repeats: int, noise: dict[str, float]) -> float:
    """Median CPU seconds of emulating a sequence."""
    took = []
    for _ in range(repeats):
        began = process_time()
        distribution(payload, {}, spec, False, noise)
        took.append(process_time() - began)
    return median(took)


def main(most: int) -> None:
    """Measure, print, fit."""
    warnings.simplefilter("ignore")
    spec = make_spec()
    measure(sequence(4, 6.5, 1000, "sweep"), spec, 1, {})  # the first call imports
    idle_mib = getrusage(RUSAGE_SELF).ru_maxrss / 1024
    print(f"process before the first point: {idle_mib:.0f} MiB\n")
    print("| Atoms | Drive | us | 5 um | 6.5 um | 8 um | Predicted | MiB, peak |\n|" + " --- |" * 8)
    worst_s = worst_kib = worst_share = 0.0
    for atoms in range(4, most + 1):
        for drive in ("sweep", "strongest"):
            for duration_ns in DURATIONS_NS:
                repeats = 3 if atoms < REPEATED_BELOW else 1
                took = [measure(sequence(atoms, um, duration_ns, drive), spec, repeats, {}) for um in SPACINGS_UM]
                mib = getrusage(RUSAGE_SELF).ru_maxrss / 1024
                told = cost.predict(atoms, duration_ns)
                times = " | ".join(f"{one:.3g} s" for one in took)
                row = f"| {atoms} | {drive} | {duration_ns // 1000} | {times} | {told.seconds:.3g} s | {mib:.0f} |"
                print(row, flush=True)
                work = duration_ns / 1000 * 2**atoms * atoms
                worst_s = max(worst_s, (max(took) - cost.BASE_S) / work)
                worst_share = max(worst_share, max(took) / told.seconds)
                if atoms >= REPEATED_BELOW:
                    worst_kib = max(worst_kib, (mib - idle_mib) * 1024 / 2**atoms / atoms)
    print(f"\nworst: {worst_s:.3g} s per us, amplitude and atom over {cost.BASE_S} s; ", end="")
    print(f"{worst_kib:.3g} KiB per amplitude and atom over {idle_mib:.0f} MiB; {worst_share:.0%} of a prediction")
    print("\nWith dephasing (a density matrix), 1 us, 6.5 um:")
    for atoms in range(2, 7):
        took_s = measure(sequence(atoms, 6.5, 1000, "sweep"), spec, 1, {"dephasing_rate": 0.1})
        print(f"{atoms} atoms: {took_s:.3g} s, {took_s / 4**atoms / atoms:.3g} s per us, element and atom", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 14)
