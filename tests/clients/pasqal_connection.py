"""What users of Pasqal Cloud's SDK have in their scripts: a connection, here to another endpoint."""

import sys
import time

from pasqal_cloud import PasqalCloudConnection
from pasqal_cloud.authentication import TokenProvider
from pasqal_cloud.endpoints import Endpoints
from pasqal_cloud.pasqal_cloud_client import PasqalCloudClient
from pulser import Pulse, Register, Sequence
from pulser.devices import AnalogDevice

URL, TOKEN = sys.argv[1:3]
ENDPOINTS = Endpoints(core=f"{URL}/core-fast", account=f"{URL}/account")


class Token(TokenProvider):
    def get_token(self):
        return TOKEN


def connection():
    return PasqalCloudConnection(project_id="p1", token_provider=Token(), endpoints=ENDPOINTS)


def client(**more):
    return PasqalCloudClient(project_id="p1", token_provider=Token(), endpoints=ENDPOINTS, **more)


def triangle(device=AnalogDevice, parametrized=False):
    """A pi pulse on three atoms that block each other: one of them is excited, or none."""
    sequence = Sequence(Register.from_coordinates([(0, 0), (6, 0), (3, 5.2)], prefix="q"), device)
    sequence.declare_channel("g", "rydberg_global")
    omega = sequence.declare_variable("omega") if parametrized else 4.0
    sequence.add(Pulse.ConstantPulse(400, omega, 0.0, 0.0), "g")
    sequence.measure("ground-rydberg")
    return sequence


def timed(call):
    began = time.perf_counter()
    return call(), time.perf_counter() - began
