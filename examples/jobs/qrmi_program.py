"""A program that knows QRMI and Pulser, and nothing of Quarterdeck."""

from pulser import Pulse, QPUBackend, Register, Sequence
from qrmi.pulser import PulserQRMIConnection

connection = PulserQRMIConnection()
(device,) = connection.fetch_available_devices().values()
atoms = Register.from_coordinates([(0, 0), (5.2, 0)], prefix="q").with_automatic_layout(device)
sequence = Sequence(atoms, device)
sequence.declare_channel("rydberg", "rydberg_global")
sequence.add(Pulse.ConstantPulse(600, 3.7, 0, 0), "rydberg")
sequence.measure("ground-rydberg")

(result,) = QPUBackend(sequence, connection=connection).run(job_params=[{"runs": 200}], wait=True)
counts = result.final_bitstrings
print(f"{sum(counts.values())} shots, {1 - counts.get('00', 0) / sum(counts.values()):.1%} with one atom excited")
