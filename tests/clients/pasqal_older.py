"""The older way to Pasqal Cloud, through the package pulser-pasqal: as scripts still have it. Arguments: URL, TOKEN."""

import json
import sys

from pasqal_cloud.authentication import TokenProvider
from pasqal_cloud.endpoints import Endpoints
from pulser import AnalogDevice, Pulse, Register, Sequence
from pulser.backend.qpu import QPUBackend
from pulser_pasqal import EmuFreeBackend, PasqalCloud

URL, TOKEN = sys.argv[1:3]


class Token(TokenProvider):
    def get_token(self):
        return TOKEN


def pair(device, omega=None):
    sequence = Sequence(Register.from_coordinates([(0, 0), (6, 0)], prefix="q"), device)
    sequence.declare_channel("g", "rydberg_global")
    omega = sequence.declare_variable("omega") if omega is None else omega
    sequence.add(Pulse.ConstantPulse(400, omega, 0.0, 0.0), "g")
    return sequence


endpoints = Endpoints(core=f"{URL}/core-fast", account=f"{URL}/account")
connection = PasqalCloud(project_id="p1", token_provider=Token(), endpoints=endpoints)
fresnel = connection.fetch_available_devices()["FRESNEL"]
backend = QPUBackend(pair(fresnel), connection)
jobs = [{"runs": 10, "variables": {"omega": 0.0}}, {"runs": 20, "variables": {"omega": 4.0}}]
counts = [dict(one.final_bitstrings) for one in backend.run(jobs, wait=True).results]
with backend.open_batch():  # in open batches, this version never waits
    backend.run(jobs[1:])
emulator = EmuFreeBackend(pair(AnalogDevice, 4.0), connection)
counts.append(dict(emulator.run([{"runs": 30}], wait=True).results[0].final_bitstrings))
print(json.dumps([sum(one.values()) for one in counts]))
