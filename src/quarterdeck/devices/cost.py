"""What an emulation will take, predicted before it starts.

Measured with pulser-simulation 1.9.1 (QutipBackendV2, one thread, x86-64, other work on the machine) on adiabatic
sweeps at 6.5 um, 1 to 4 us, 4 to 13 atoms: 5e-6 to 1.2e-5 s per us, amplitude and atom, and about 2 KiB per amplitude
over a floor of 148 MiB. The constants are about twice the worst of these, since atoms closer together are stiffer; that
dependence and more than 13 atoms were not measured.
"""

from __future__ import annotations

import msgspec

from quarterdeck.errors import TooCostly

BASE_S = 0.05
PER_US_AMPLITUDE_ATOM_S = 2.5e-5
BASE_MIB = 150.0
PER_AMPLITUDE_KIB = 4.0


class Cost(msgspec.Struct, frozen=True):
    """Predicted seconds of one processor core, and MiB of memory."""

    seconds: float
    mib: float


def predict(atoms: int, duration_ns: int, trajectories: int = 1) -> Cost:
    """The cost of emulating a sequence; the solver's number of time steps grows with the duration."""
    amplitudes = 2.0 ** min(atoms, 1000)
    seconds = BASE_S + PER_US_AMPLITUDE_ATOM_S * duration_ns / 1000 * amplitudes * atoms * trajectories
    return Cost(seconds, BASE_MIB + amplitudes * PER_AMPLITUDE_KIB / 1024)


def check(atoms: int, duration_ns: int, max_emulation_s: float, max_mib: float, trajectories: int = 1) -> None:
    """Raise `TooCostly` when over a limit, saying what it would take and what would fit."""
    cost = predict(atoms, duration_ns, trajectories)
    if cost.seconds <= max_emulation_s and cost.mib <= max_mib:
        return
    fits = atoms
    while fits > 1:
        fits -= 1
        less = predict(fits, duration_ns, trajectories)
        if less.seconds <= max_emulation_s and less.mib <= max_mib:
            break
    why = f"emulating {atoms} atoms for {duration_ns} ns would take about {cost.seconds:.3g} s and {cost.mib:.3g} MiB"
    raise TooCostly(
        "max_emulation_s" if cost.seconds > max_emulation_s else "max_emulation_mib",
        f"{why}; the limits are {max_emulation_s:g} s and {max_mib:g} MiB. Use a shorter sequence or {fits} atoms",
    )
