"""A Qiskit circuit with one analog gate through the unmodified qiskit-pasqal-provider. Arguments: URL, TOKEN."""

import json

from pasqal_connection import ENDPOINTS, Token, timed
from qiskit import QuantumCircuit
from qiskit_pasqal_provider.providers import PasqalProvider
from qiskit_pasqal_provider.providers.gate import HamiltonianGate, InterpolatePoints
from qiskit_pasqal_provider.providers.sampler import SamplerV2
from qiskit_pasqal_provider.utils import RemoteConfig

config = RemoteConfig(project_id="p1", token_provider=Token(), endpoints=ENDPOINTS)
backend = PasqalProvider(remote_config=config).get_backend("fresnel")
sweep = HamiltonianGate(
    InterpolatePoints(values=[0.0, 6.0, 6.0, 0.0], duration=1000),
    InterpolatePoints(values=[-6.0, -6.0, 6.0, 6.0], duration=1000), 0.0,
    [(0, 0), (0, 6), (6, 0)], grid_transform="square", transform=False,
)  # fmt: skip
circuit = QuantumCircuit(3)
circuit.append(sweep, circuit.qubits)
result, took_s = timed(lambda: SamplerV2(backend).run([circuit], shots=200).result())
print(json.dumps({"counts": dict(result[0].data.counts), "took_s": took_s}))
