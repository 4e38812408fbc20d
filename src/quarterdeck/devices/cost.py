"""What an emulation will take, predicted before it starts.

Measured by `benchmarks/emulation_cost.py` with pulser-simulation 1.9.1 (one thread, x86-64): 4 to 14 atoms on a square
lattice, 1 to 4 us, 5 to 8 um, gentle and strongest pulses; the table is in docs/emulated-device.md. The worst point
took 1.9e-5 s per us, amplitude and atom, and 0.42 KiB per amplitude and atom over a floor of 151 MiB; the constants are
about twice that. More than 14 atoms, and other noise than dephasing, are extrapolated.
"""

from __future__ import annotations

import msgspec

from quarterdeck.errors import TooCostly

BASE_S = 0.1
PER_US_AMPLITUDE_ATOM_S = 4e-5
BASE_MIB = 160.0
PER_AMPLITUDE_ATOM_KIB = 0.8
SHORTEST_NS = 100
"""A shorter sequence is no advice."""


class Cost(msgspec.Struct, frozen=True):
    """Predicted seconds of one processor core, and MiB of memory."""

    seconds: float
    mib: float


def predict(atoms: int, duration_ns: int, trajectories: int = 0) -> Cost:
    """The cost of emulating a sequence; the solver's number of time steps grows with the duration.

    With noise (trajectories >= 1) the solver runs that often, and the average is a density matrix: the amplitudes
    squared.
    """
    amplitudes = 2.0 ** min(atoms, 500)
    elements, qubits = (amplitudes**2, 2 * atoms) if trajectories else (amplitudes, atoms)
    work = elements + amplitudes * trajectories
    seconds = BASE_S * max(1, trajectories) + PER_US_AMPLITUDE_ATOM_S * duration_ns / 1000 * work * atoms
    return Cost(seconds, BASE_MIB + PER_AMPLITUDE_ATOM_KIB / 1024 * elements * qubits)


def check(atoms: int, duration_ns: int, max_emulation_s: float, max_mib: float, trajectories: int = 0) -> None:
    """Raise `TooCostly` when over a limit, saying what it would take and what would fit."""

    def fits(atoms: int, duration_ns: int) -> bool:
        cost = predict(atoms, duration_ns, trajectories)
        return cost.seconds <= max_emulation_s and cost.mib <= max_mib

    if fits(atoms, duration_ns):
        return
    cost = predict(atoms, duration_ns, trajectories)
    most = next((fewer for fewer in range(atoms - 1, 0, -1) if fits(fewer, duration_ns)), 0)
    ways = [f"{most} atoms for {duration_ns} ns"] if most else []
    rate_s = predict(atoms, 1000, trajectories).seconds - predict(atoms, 0, trajectories).seconds
    longest_ns = int((max_emulation_s - predict(atoms, 0, trajectories).seconds) / rate_s * 1000) // 4 * 4
    if longest_ns >= SHORTEST_NS and fits(atoms, longest_ns):
        ways.append(f"{atoms} atoms for {longest_ns} ns")
    would_fit = f"what would fit: {', or '.join(ways)}" if ways else "nothing of this kind would fit"
    raise TooCostly(
        "max_emulation_s" if cost.seconds > max_emulation_s else "max_emulation_mib",
        f"emulating {atoms} atoms for {duration_ns} ns would take about {cost.seconds:.3g} s and {cost.mib:.3g} MiB, "
        f"but the limits are {max_emulation_s:g} s and {max_mib:g} MiB; {would_fit}",
    )
