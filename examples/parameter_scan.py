"""A parameter scan: one program, uploaded once, and a task for each value.

Two atoms within the blockade radius share one excitation, so they oscillate sqrt(2) times faster than one atom would.
The scan varies the amplitude of a pulse of fixed length. The tasks queue together, and each result is
printed when it is there.

    python examples/parameter_scan.py
"""

from concurrent.futures import ThreadPoolExecutor, as_completed
from math import pi, sqrt

import numpy as np
from pulser import Pulse, Register, Sequence
from pulser.json.abstract_repr.deserializer import deserialize_device
from scipy.optimize import curve_fit

import quarterdeck

DURATION_NS = 600
SHOTS = 200
AMPLITUDES = np.linspace(0.5, 10.0, 20).round(3)  # rad/us

with quarterdeck.connect() as client:
    told = client.device(client.default_device or "fresnel-emulator")
    device = deserialize_device(told.spec)

    atoms = Register.from_coordinates([(0, 0), (5.2, 0)], prefix="q").with_automatic_layout(device)
    sequence = Sequence(atoms, device)
    sequence.declare_channel("rydberg", "rydberg_global")
    amplitude = sequence.declare_variable("amplitude")
    sequence.add(Pulse.ConstantPulse(DURATION_NS, amplitude, 0, 0), "rydberg")
    sequence.measure("ground-rydberg")

    program = client.upload(sequence.to_abstract_repr(), device=told.name)
    with client.session(told.name) as session:
        tasks = {
            session.submit(program, shots=SHOTS, parameters={"amplitude": float(value)}, name="Rabi scan"): value
            for value in AMPLITUDES
        }
        print(f"{len(tasks)} tasks of program {program.id[:12]} in session {session.id} on {told.name}")
        excited: dict[float, float] = {}
        with ThreadPoolExecutor(len(tasks)) as pool:
            waiting = {pool.submit(task.result): value for task, value in tasks.items()}
            for future in as_completed(waiting):
                value, result = waiting[future], future.result()
                excited[value] = 1 - result.counts.get("00", 0) / result.shots_done
                print(f"   {value:6.2f} rad/us  {excited[value]:6.1%}  {'#' * round(40 * excited[value])}", flush=True)


def rabi(value: np.ndarray, factor: float, contrast: float) -> np.ndarray:
    return contrast * np.sin(factor * value * DURATION_NS / 2000) ** 2


values = np.array(sorted(excited))
(factor, contrast), _ = curve_fit(rabi, values, [excited[value] for value in values], p0=[1.2, 1.0])
kind = "emulated" if told.emulated else "measured"
print(f"\nCollective enhancement of the Rabi frequency ({kind}): {factor:.3f}; sqrt(2) = {sqrt(2):.3f}")
print(f"Amplitude of a pi pulse on the pair: {pi / (factor * DURATION_NS / 1000):.2f} rad/us, contrast {contrast:.2f}")
