"""What each of QRMI's resource types takes and gives: its payload from a slice, and counts from its result.

Bits of a result, leftmost first: for Pasqal the atoms in the register's order; for IBM the classical bits from bit 0
on, register after register (Qiskit prints them the other way round); for IQM the measurement keys sorted by name (their
numbers by value), each with its qubits in order; for Alice & Bob as the service writes `memory`.
"""

from __future__ import annotations

import ast
import base64
import csv
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from quarterdeck.devices.driver import Counts, Modality, Slice
from quarterdeck.errors import BadProgram
from quarterdeck.programs.program import Parameters, Program
from quarterdeck.programs.result import GarbageOutcome

MOST_BYTES = 256 << 20
"""A result that unpacks to more than this is not read."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A resource type: QRMI's name for it, the format it takes, and what goes in and comes out.

    Attributes:
        type: Name of the member of `qrmi.ResourceType`.
        format: The program format.
        modality: The kind of hardware.
        acquires: Work needs a session, opened with `acquire`.
        setup_s: How long a slice may wait at the vendor before its first shot, unless the settings say.
        check: Raises `BadProgram` for what this type cannot run, as far as that can be told here.
        payload: The `qrmi.Payload` of a slice whose program text is given.
        counts: Counts from the text of a result. Raises for one that cannot be read.
        facts: (qubits, most shots) from the text of a target; 0 for unknown.
    """

    type: str
    format: str
    modality: Modality = "superconducting"
    acquires: bool = False
    setup_s: float = 3600.0
    check: Callable[[Program, Parameters], None] = lambda program, parameters: None
    payload: Callable[[str, Slice], Any]
    counts: Callable[[str], Counts]
    facts: Callable[[str], tuple[int, int]]


def _no_parameters(program: Program, parameters: Parameters) -> None:
    if parameters:
        raise BadProgram("$.parameters", f"{program.format} programs take none here: bind them before sending")


# -- Pasqal: a sequence of Pulser ---------------------------------------------------------------------------------


def sequence(payload: str, parameters: Parameters, shots: int, spec: str) -> str:
    """A sequence built for the device (abstract representation). Raises `BadProgram`. For a worker process."""
    from quarterdeck.programs import pulser

    return str(pulser.check(payload, parameters, shots, spec).to_abstract_repr())


def pulser_spec(target: str, resource: str) -> str:
    """The Pulser device in a Pasqal target: the resource's own entry, else the first."""
    told = json.loads(target)
    entries = told if isinstance(told, list) else [told]
    own = [entry for entry in entries if str(entry.get("device_type", "")).upper() == resource.upper()]
    spec = (own or entries)[0]["specs"]
    return spec if isinstance(spec, str) else json.dumps(spec)


def _pasqal_payload(text: str, slice: Slice) -> Any:
    from qrmi import Payload

    return Payload.PasqalCloud(sequence=text, job_runs=slice.shots)


def _pasqal_counts(text: str) -> Counts:
    try:
        told = json.loads(text)
    except ValueError:
        told = ast.literal_eval(text)  # a Warden that passes on the repr of its mock QPU
    return dict(told["counter"])


def _pasqal_facts(spec: str) -> tuple[int, int]:
    device = json.loads(spec)
    return int(device.get("max_atom_num") or 0), int(device.get("max_runs") or 0)


# -- IBM: OpenQASM 3 for the sampler ------------------------------------------------------------------------------


def _ibm_payload(text: str, slice: Slice) -> Any:
    from qrmi import Payload

    job = {"pubs": [[text, None, slice.shots]], "options": {}, "support_qiskit": True, "version": 2}
    return Payload.QiskitPrimitive(input=json.dumps(job), program_id="sampler")


def _ibm_counts(text: str) -> Counts:
    """From Qiskit's RuntimeEncoder: arrays of bytes, one row a shot, the last bit of a row being classical bit 0."""
    (pub,) = _plain(json.loads(text))["pub_results"]
    data = pub["data"]
    columns: list[list[str]] = []
    for name in data["field_names"]:
        field = data["fields"][name]
        bits = int(field["num_bits"])
        rows = _npy(base64.b64decode(field["array"]))
        columns.append([format(int.from_bytes(row, "big"), f"0{bits}b")[::-1] for row in rows])
    return dict(Counter(map("".join, zip(*columns, strict=True))))


def _plain(told: Any) -> Any:
    """Without the encoder's `{"__type__", "__value__"}` around everything."""
    if isinstance(told, dict):
        return _plain(told["__value__"]) if "__type__" in told else {key: _plain(item) for key, item in told.items()}
    return [_plain(item) for item in told] if isinstance(told, list) else told


def _npy(packed: bytes) -> list[bytes]:
    """The rows of a NumPy array of bytes (.npy format 1 to 3, zlib around it)."""
    unpacking = zlib.decompressobj()
    raw = unpacking.decompress(packed, MOST_BYTES)
    if not unpacking.eof or raw[:6] != b"\x93NUMPY":
        raise GarbageOutcome("the array of the result is too large or not NumPy's")
    width = 2 if raw[6] == 1 else 4
    begin = 8 + width
    end = begin + int.from_bytes(raw[8:begin], "little")
    head = ast.literal_eval(raw[begin:end].decode("latin-1").strip())
    *shape, size = head["shape"]
    if (
        head["descr"] not in ("|u1", "u1")
        or head["fortran_order"]
        or len(shape) != 1
        or len(raw) - end != shape[0] * size
    ):
        raise GarbageOutcome(f"the array of the result is {head}, not a row of bytes for each shot")
    return [raw[at : at + size] for at in range(end, len(raw), size)]


def _ibm_facts(target: str) -> tuple[int, int]:
    told = (json.loads(target) or {}).get("configuration") or {}
    return int(told.get("n_qubits") or 0), int(told.get("max_shots") or 0)


# -- IQM: circuits as JSON ----------------------------------------------------------------------------------------


def _iqm_check(program: Program, parameters: Parameters) -> None:
    _no_parameters(program, parameters)
    try:
        told = json.loads(program.payload)
        circuits = told["circuits"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadProgram("$", 'an iqm program is a JSON object with "circuits"') from None
    if not isinstance(circuits, list) or len(circuits) != 1:
        raise BadProgram("$.circuits", "must hold exactly one circuit: a task has one result")


def _iqm_payload(text: str, slice: Slice) -> Any:
    from qrmi import Payload

    job = json.dumps({**json.loads(text), "shots": slice.shots})
    return Payload.IQMServer(iqmjson=job, job_type="circuit", use_timeslot=False, tag="quarterdeck")


def _iqm_counts(text: str) -> Counts:
    told = json.loads(text)
    if not told.get("measurements"):
        return dict(_only(told["measurement_counts"])["counts"])
    circuit = _only(told["measurements"])
    keys = sorted(circuit, key=lambda key: [(not word.isdigit(), word.zfill(12)) for word in re.split(r"(\d+)", key)])
    shots = zip(*(circuit[key] for key in keys), strict=True)
    return dict(Counter("".join(str(int(bit)) for part in shot for bit in part) for shot in shots))


def _only(told: Any) -> Any:
    """QRMI takes the one circuit's entry out of its list; other versions might not."""
    return told[0] if isinstance(told, list) and len(told) == 1 else told


def _iqm_facts(target: str) -> tuple[int, int]:
    told = json.loads(target)
    return len((told.get("dynamic_quantum_architecture") or {}).get("qubits") or ()), 0


# -- Alice & Bob: QIR in human-readable form ----------------------------------------------------------------------


def _felis_payload(text: str, slice: Slice) -> Any:
    from qrmi import Payload

    return Payload.AliceBobFelis(human_qir=text, input_params=json.dumps({**slice.parameters, "nbShots": slice.shots}))


def _felis_counts(text: str) -> Counts:
    return {row["memory"].strip(): int(row["times"]) for row in csv.DictReader(io.StringIO(text))}


def _felis_facts(target: str) -> tuple[int, int]:
    return int(json.loads(target).get("numQubits") or 0), 0


_PASQAL: dict[str, Any] = {
    "format": "pulser", "modality": "neutral-atom", "payload": _pasqal_payload, "counts": _pasqal_counts,
    "facts": _pasqal_facts,
}  # fmt: skip
_IBM: dict[str, Any] = {
    "format": "openqasm3", "check": _no_parameters, "payload": _ibm_payload, "counts": _ibm_counts,
    "facts": _ibm_facts,
}  # fmt: skip
KINDS = {
    "pasqal-local": Kind(type="PasqalLocal", acquires=True, **_PASQAL),
    "pasqal-cloud": Kind(type="PasqalCloud", **_PASQAL),
    "ibm-quantum-compute-service": Kind(type="IBMQuantumComputeService", acquires=True, **_IBM),
    "qiskit-runtime-service": Kind(type="IBMQiskitRuntimeService", acquires=True, **_IBM),
    "ibm-quantum-system": Kind(type="IBMQuantumSystem", **_IBM),
    "iqm-server": Kind(
        type="IQMServer", format="iqm", check=_iqm_check, payload=_iqm_payload, counts=_iqm_counts, facts=_iqm_facts
    ),
    "alice-bob-felis": Kind(
        type="AliceBobFelis", format="qir", payload=_felis_payload, counts=_felis_counts, facts=_felis_facts
    ),
}  # fmt: skip
"""By the `type` of a qrmi_config.json. Missing is oqtopus: it loads a library of the site's into this process."""
