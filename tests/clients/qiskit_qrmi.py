"""The shape of QRMI's own Qiskit example for Pasqal: an analog gate, SamplerV2 through qiskit-pasqal-provider."""

import json
import time

from qiskit import QuantumCircuit
from qiskit_pasqal_provider.providers.gate import HamiltonianGate, InterpolatePoints
from qrmi import QRMIService
from qrmi.primitives.pasqal import QPPSamplerV2

(resource,) = QRMIService().resources()
coords = [(0, 0), (0, 6), (6, 0)]
amplitude = InterpolatePoints(values=[0, 6, 6, 0], duration=1000)
detuning = InterpolatePoints(values=[-6, -6, 6, 6], duration=1000)
gate = HamiltonianGate(amplitude, detuning, 0.0, coords, grid_transform="triangular")
circuit = QuantumCircuit(3)
circuit.append(gate, circuit.qubits)
began_s = time.perf_counter()
job = QPPSamplerV2(resource).run([circuit], shots=200)
counts = dict(job.result()[0].data.counts)
print(json.dumps({"counts": counts, "seconds": time.perf_counter() - began_s}))
