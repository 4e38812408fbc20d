"""The QRMI driver with the real `qrmi` package, against small scripted servers that stand in for the vendors."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quarterdeck.devices import qrmi_payloads
from quarterdeck.devices.driver import Driver, Slice, Trace
from quarterdeck.devices.registry import make
from quarterdeck.errors import BadProgram, DeviceUnavailable, Invalid, NotFound
from quarterdeck.programs.program import Program
from quarterdeck.programs.result import GarbageOutcome

pytest.importorskip("qrmi", reason="the package qrmi is not installed")

SECRET = "very-secret-key"
JOB = "238ec1f0-1af9-499b-8232-20f068cd1227"
Answer = tuple[int, Any]


class Vendor:
    """Answers requests from a table {"GET /path": answer or list of answers, the last one staying}. Not a vendor.

    Paths may be patterns (`*`); the first that fits is taken.
    """

    def __init__(self, table: dict[str, Any]) -> None:
        self.table, self.asked, self.bodies = table, [], []  # type: tuple[dict[str, Any], list[str], list[str]]
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
                key = f"{self.command} {self.path.partition('?')[0]}"
                vendor.asked.append(key)
                vendor.bodies.append(body)
                known = next((one for one in vendor.table if fnmatchcase(key, one)), "")
                told = vendor.table.get(known, (404, {"message": f"nothing at {key}"}))
                if isinstance(told, list):
                    told = told.pop(0) if len(told) > 1 else told[0]
                if callable(told):
                    told = told()
                if told is None:  # the connection ends without an answer
                    self.close_connection = True
                    return
                status, value = told if isinstance(told, tuple) else (200, told)
                data = (value if isinstance(value, str) else json.dumps(value)).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(value, str) else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def body(self, key: str) -> Any:
        return json.loads(self.bodies[self.asked.index(key)])


@contextmanager
def serving(table: dict[str, Any]) -> Iterator[Vendor]:
    vendor = Vendor(table)
    thread = threading.Thread(target=vendor.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield vendor
    finally:
        vendor.server.shutdown()
        thread.join()
        vendor.server.server_close()


def drive(settings: dict[str, Any], state: Path, use: Callable[[Driver], Awaitable[None]]) -> None:
    async def main() -> None:
        driver = make("far", "qrmi", {"poll_s": 0.01, **settings}, state)
        try:
            await driver.target()
            await use(driver)
        finally:
            await driver.close()

    asyncio.run(main())


# -- the vendors' sides -------------------------------------------------------------------------------------------


def qcs(vendor_url: str) -> dict[str, Any]:
    keys = {"ENDPOINT": vendor_url, "IAM_ENDPOINT": vendor_url, "IAM_APIKEY": SECRET, "SERVICE_CRN": "crn:secret"}
    environment = {f"QRMI_IBM_QCS_{key}": value for key, value in keys.items()}
    return {"type": "ibm-quantum-compute-service", "resource": "dev", "environment": environment}


def qrs(vendor_url: str) -> dict[str, Any]:
    told = qcs(vendor_url)
    environment = {key.replace("QCS", "QRS"): value for key, value in told["environment"].items()}
    return {**told, "type": "qiskit-runtime-service", "environment": environment}


def quantum_system(vendor_url: str) -> dict[str, Any]:
    """One server is the machine, the identity service and the object store."""
    keys = {"ENDPOINT": vendor_url, "IAM_ENDPOINT": vendor_url, "IAM_APIKEY": SECRET, "SERVICE_CRN": "crn:secret",
            "S3_BUCKET": "bucket", "S3_ENDPOINT": vendor_url, "S3_REGION": "here", "AWS_ACCESS_KEY_ID": "who",
            "AWS_SECRET_ACCESS_KEY": SECRET}  # fmt: skip
    environment = {f"QRMI_IBM_QS_{key}": value for key, value in keys.items()} | {"QRMI_JOB_TIMEOUT_SECONDS": "3600"}
    return {"type": "ibm-quantum-system", "resource": "dev", "environment": environment}


def encoded(*registers: np.ndarray) -> str:
    """As Qiskit's RuntimeEncoder writes it; each register is an array of shots by bits, bit 0 first."""

    def typed(name: str, value: Any) -> dict[str, Any]:
        return {"__type__": name, "__value__": value}

    fields = {}
    for index, bits in enumerate(registers):
        wide = -(-bits.shape[1] // 8) * 8
        padded = np.zeros((bits.shape[0], wide), dtype=np.uint8)
        padded[:, wide - bits.shape[1] :] = bits[:, ::-1]
        buffer = io.BytesIO()
        np.save(buffer, np.packbits(padded, axis=1))
        array = typed("ndarray", base64.b64encode(zlib.compress(buffer.getvalue())).decode())
        fields[f"c{index}"] = typed("BitArray", {"array": array, "num_bits": bits.shape[1]})
    data = typed("DataBin", {"field_names": list(fields), "shape": [], "fields": fields})
    pubs = [typed("SamplerPubResult", {"data": data, "metadata": {}})]
    return json.dumps(typed("PrimitiveResult", {"pub_results": pubs, "metadata": {"version": 2}}))


def qcs_table() -> dict[str, Any]:
    def job(status: str) -> dict[str, Any]:
        return {"id": JOB, "backend": "dev", "state": {"status": status}, "status": status, "cost": 60,
                "program": {"id": "sampler"}, "created": "2026-11-21T00:00:00Z"}  # fmt: skip

    bits = np.array([[1, 0, 0]] * 7 + [[1, 1, 0]] * 3, dtype=np.uint8)
    return {
        "POST /identity/token": {"access_token": "tok", "expiration": 4_000_000_000, "expires_in": 3600},
        "GET /backends": {"devices": [{"name": "dev", "status": {"name": "online"}, "queue_length": 0}]},
        "GET /backends/dev/status": {"state": True, "status": "active", "message": "", "length_queue": 0},
        "GET /backends/dev/configuration": {"backend_name": "dev", "n_qubits": 127, "max_shots": 5000},
        "GET /backends/dev/properties": {},
        "GET /jobs": {"offset": 0, "limit": 200, "jobs": []},
        "POST /sessions": {"id": "se55-10n", "backend_name": "dev", "mode": "dedicated"},
        "PATCH /sessions/se55-10n": {},
        "POST /jobs": {"id": JOB, "backend": "dev"},
        f"GET /jobs/{JOB}": [job("Queued"), job("Running"), job("Completed")],
        f"GET /jobs/{JOB}/results": encoded(bits),
        f"GET /jobs/{JOB}/logs": f"the qubit fell out; key {SECRET}",
        f"POST /jobs/{JOB}/cancel": {},
    }


def quantum_system_table() -> dict[str, Any]:
    def job(status: str) -> dict[str, Any]:
        return {"id": JOB, "backend": "dev", "program_id": "sampler", "status": status, "storage": {},
                "created_time": "2026-11-21T00:00:00Z"}  # fmt: skip

    table = qcs_table()
    return {
        "POST /identity/token": {"access_token": "tok", "token_type": "Bearer", "expires_in": 3600},
        "GET /v1/backends/dev": {"name": "dev", "status": "online"},
        "GET /v1/backends/dev/lanes": {"hpc_workload_manager": {"lanes": 5}, "ibm_quantum_compute": {"lanes": 5}},
        "GET /v1/backends/dev/configuration": table["GET /backends/dev/configuration"],
        "GET /v1/backends/dev/properties": {},
        "GET /v1/jobs": {"jobs": []},
        "PUT /bucket/input_*.json": "",
        "POST /v1/jobs": (204, ""),
        "GET /v1/jobs/*": [job("Running"), job("Completed")],
        "GET /bucket/results_*.json": table[f"GET /jobs/{JOB}/results"],
    }


QASM = Program.of("openqasm3", 'OPENQASM 3.0; include "stdgates.inc"; bit[3] c; x $0; c[0] = measure $0;')


def iqm(url: str) -> dict[str, Any]:
    environment = {"QRMI_IQM_ISA_ENDPOINT": url, "QRMI_IQM_ISA_TOKEN": SECRET}
    return {"type": "iqm-server", "resource": "garnet", "qubits": 20, "environment": environment}


def iqm_table() -> dict[str, Any]:
    def job(status: str) -> dict[str, Any]:
        timeline = [{"source": "server", "status": "created", "timestamp": "2026-11-21T00:00:00Z"}]
        return {"id": JOB, "type": "circuit", "status": status, "qc": {"id": "579652de-441f-4e58-a288-4bc02e680ac2"},
                "artifacts": [], "messages": [], "timeline": timeline}  # fmt: skip

    measured = [{"m_2_0_10": [[1], [1], [0]], "m_2_0_9": [[0], [0], [1]]}]
    return {
        "GET /api/v1/quantum-computers/garnet": {
            "status": {"health": {"healthy": True, "updated_at": "2026-11-21T00:00:00Z"}}, "queue_length": 0,
        },
        "POST /api/v1/jobs/garnet/circuit": job("waiting"),
        f"GET /api/v1/jobs/{JOB}": [job("processing"), job("completed")],
        f"GET /api/v1/jobs/{JOB}/artifacts/measurements": (200, measured),
    }  # fmt: skip


CIRCUIT = Program.of("iqm", '{"circuits": [{"name": "c", "instructions": []}], "shots": 1}')


def felis(url: str) -> dict[str, Any]:
    environment = {"QRMI_AB_FELIS_BASE_ENDPOINT": url, "QRMI_AB_FELIS_API_KEY": "dmVyeTpzZWNyZXQ="}
    return {"type": "alice-bob-felis", "resource": "ab_emu_1q_lescanne_2020", "environment": environment}


def felis_table() -> dict[str, Any]:
    def job(event: str) -> dict[str, Any]:
        return {"id": "j1", "inputDataFormat": "HUMAN_QIR", "outputDataFormat": "HISTOGRAM", "inputParams": {},
                "target": "EMU:1Q:LESCANNE_2020", "userName": "u", "userId": "u", "organizationName": "o",
                "events": [{"type": event, "createdAt": "2026-11-21T00:00:00Z"}], "errors": []}  # fmt: skip

    return {
        "GET /v1/targets/": (
            200,
            [{"name": "EMU:1Q:LESCANNE_2020", "numQubits": 1, "instructions": [], "inputParams": {}}],
        ),
        "POST /v1/jobs/": job("CREATED"),
        "POST /v1/jobs/j1/input": {},
        "GET /v1/jobs/j1": [job("COMPILING"), job("SUCCEEDED")],
        "GET /v1/jobs/j1/output": "memory,times\n0,90\n1,10\n",
    }


VENDORS: dict[str, tuple[Any, Any, Program, int, dict[str, int]]] = {
    "qcs": (qcs, qcs_table, QASM, 10, {"100": 7, "110": 3}),
    "qrs": (qrs, qcs_table, QASM, 10, {"100": 7, "110": 3}),
    "quantum-system": (quantum_system, quantum_system_table, QASM, 10, {"100": 7, "110": 3}),
    "iqm": (iqm, iqm_table, CIRCUIT, 3, {"01": 2, "10": 1}),
    "felis": (felis, felis_table, Program.of("qir", "; QIR"), 100, {"0": 90, "1": 10}),
}


@pytest.mark.parametrize("name", VENDORS)
def test_a_slice_through_each_vendor(name: str, tmp_path: Path) -> None:
    settings, table, program, shots, counts = VENDORS[name]
    with serving(table()) as vendor:

        async def use(driver: Driver) -> None:
            assert (await driver.status()).online
            await driver.admit(program, {}, shots)
            slice = Slice(key="a/0", program=program, shots=shots)
            handle, again = await asyncio.gather(driver.start(slice), driver.start(slice))
            assert handle == again
            assert (await driver.wait(handle)).counts == counts
            assert await driver.lookup("a/0") == handle
            assert await driver.lookup("other", Trace(handle=handle)) == handle
            assert await driver.lookup("other") is None
            with pytest.raises(BadProgram, match="format"):
                await driver.admit(Program.of("opaque", "x"), {}, 1)

        drive(settings(vendor.url), tmp_path, use)
        starts = [
            key for key in vendor.asked if key.startswith("POST") and key.rstrip("/").endswith(("jobs", "circuit"))
        ]
        assert len(starts) == 1
        if name == "quantum-system":
            starts = [key for key in vendor.asked if key.startswith("PUT")]
        sent = vendor.body(starts[0])
        if name == "felis":
            assert sent["inputParams"] == {"nbShots": 100}
        elif name == "iqm":
            assert sent == {"circuits": [{"name": "c", "instructions": []}], "shots": 3}
        else:
            assert sent.get("params", sent)["pubs"] == [[QASM.payload, None, 10]]


def test_a_session_is_opened_once_and_closed_at_the_end(tmp_path: Path) -> None:
    with serving(qcs_table()) as vendor:

        async def use(driver: Driver) -> None:
            await driver.status()
            assert "POST /sessions" not in vendor.asked
            handles = [await driver.start(Slice(key=f"a/{n}", program=QASM, shots=10)) for n in range(2)]
            await driver.wait(handles[0])

        drive(qcs(vendor.url), tmp_path, use)
        assert vendor.asked.count("POST /sessions") == 1 and vendor.body("POST /jobs")["session_id"] == "se55-10n"
        assert vendor.asked[-1] == "PATCH /sessions/se55-10n"


def test_a_refused_session_is_opened_again(tmp_path: Path) -> None:
    table = qcs_table() | {"POST /jobs": [(401, {"errors": []}), {"id": JOB, "backend": "dev"}]}
    with serving(table) as vendor:

        async def use(driver: Driver) -> None:
            assert await driver.start(Slice(key="a/0", program=QASM, shots=10)) == JOB
            await driver.wait(JOB)

        drive(qcs(vendor.url), tmp_path, use)
        assert vendor.asked.count("POST /sessions") == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [((400, "no such gate"), BadProgram), ((401, "who?"), DeviceUnavailable), ((503, "later"), DeviceUnavailable)],
)
def test_a_refused_start_was_surely_not_taken(answer: Answer, error: type[Exception], tmp_path: Path) -> None:
    with serving(qcs_table() | {"POST /jobs": answer}) as vendor:

        async def use(driver: Driver) -> None:
            with pytest.raises(error):
                await driver.start(Slice(key="a/0", program=QASM, shots=10))

        drive(qcs(vendor.url), tmp_path, use)


def test_a_start_without_an_answer_is_neither_taken_nor_refused(tmp_path: Path) -> None:
    """The loop then asks `lookup`, which does not know either: QRMI cannot tell."""
    with serving(qcs_table() | {"POST /jobs": None}) as vendor:

        async def use(driver: Driver) -> None:
            with pytest.raises(Exception, match="error sending request") as error:
                await driver.start(Slice(key="a/0", program=QASM, shots=10))
            assert not isinstance(error.value, DeviceUnavailable | BadProgram)
            assert await driver.lookup("a/0") is None

        drive(qcs(vendor.url), tmp_path, use)


def test_a_slow_start_is_found_by_its_key(tmp_path: Path) -> None:
    table, asked, release = qcs_table(), threading.Event(), threading.Event()

    def slow() -> Any:
        asked.set()
        assert release.wait(20)
        return {"id": JOB, "backend": "dev"}

    with serving(table | {"POST /jobs": slow}) as vendor:

        async def use(driver: Driver) -> None:
            start = asyncio.create_task(driver.start(Slice(key="a/0", program=QASM, shots=10)))
            assert await asyncio.to_thread(asked.wait, 20)
            start.cancel()  # as the loop does after its patience
            looking = asyncio.create_task(driver.lookup("a/0"))
            release.set()
            assert await looking == JOB
            await driver.wait(JOB)

        drive(qcs(vendor.url), tmp_path, use)
        assert vendor.asked.count("POST /jobs") == 1


def test_a_vendor_that_is_away_takes_nothing(tmp_path: Path) -> None:
    table = qcs_table()
    with serving(table) as vendor:

        async def use(driver: Driver) -> None:
            table["GET /backends"] = {
                "devices": [{"name": "dev", "status": {"name": "paused", "reason": "calibration"}, "queue_length": 1}]
            }
            assert (await driver.status()).reason == "calibration"
            with pytest.raises(DeviceUnavailable, match="calibration"):
                await driver.start(Slice(key="a/0", program=QASM, shots=10))
            table["GET /backends"] = None
            assert not (await driver.status()).online

        drive(qcs(vendor.url), tmp_path, use)
        assert "POST /jobs" not in vendor.asked


def test_a_failed_task_tells_its_log_and_no_secret(tmp_path: Path) -> None:
    table = qcs_table()
    table[f"GET /jobs/{JOB}"] = {**table[f"GET /jobs/{JOB}"][0], "state": {"status": "Failed"}, "status": "Failed"}
    with serving(table) as vendor:

        async def use(driver: Driver) -> None:
            handle = await driver.start(Slice(key="a/0", program=QASM, shots=10))
            with pytest.raises(Exception, match="the qubit fell out") as error:
                await driver.wait(handle)
            assert SECRET not in str(error.value) and "***" in str(error.value)
            with pytest.raises(NotFound):
                await driver.wait("7c1f9d9e-0000-4000-8000-000000000000")

        drive(qcs(vendor.url), tmp_path, use)


def test_cancel_does_not_wait_for_a_held_look(tmp_path: Path) -> None:
    """The held look occupies one of QRMI's objects, which serves one call at a time; cancel has another."""
    table, held, release = qcs_table(), threading.Event(), threading.Event()
    running = table[f"GET /jobs/{JOB}"][1]

    def hold() -> Any:
        held.set()
        assert release.wait(20)
        return running

    cancelled = {**running, "state": {"status": "Cancelled"}, "status": "Cancelled"}
    table[f"GET /jobs/{JOB}"] = [hold, running, cancelled]
    with serving(table) as vendor:

        async def use(driver: Driver) -> None:
            handle = await driver.start(Slice(key="a/0", program=QASM, shots=10))
            waiting = asyncio.create_task(driver.wait(handle))
            assert await asyncio.to_thread(held.wait, 20)
            await driver.cancel(handle)
            assert f"POST /jobs/{JOB}/cancel" in vendor.asked and not release.is_set()
            release.set()
            assert (await waiting).counts == {}

        drive(qcs(vendor.url), tmp_path, use)


def test_one_cancelled_by_somebody_else_is_a_fault(tmp_path: Path) -> None:
    table = qcs_table()
    looks = table[f"GET /jobs/{JOB}"]
    table[f"GET /jobs/{JOB}"] = {**looks[1], "state": {"status": "Cancelled"}, "status": "Cancelled"}
    with serving(table) as vendor:

        async def use(driver: Driver) -> None:
            handle = await driver.start(Slice(key="a/0", program=QASM, shots=10))
            with pytest.raises(Exception, match="cancelled on the vendor's side"):
                await driver.wait(handle)

        drive(qcs(vendor.url), tmp_path, use)


def test_what_a_device_is_stays_known_while_the_vendor_is_away(tmp_path: Path) -> None:
    with serving(felis_table()) as vendor:

        async def use(driver: Driver) -> None:
            pass

        drive(felis(vendor.url), tmp_path, use)
        del vendor.table["GET /v1/targets/"]
        drive(felis(vendor.url), tmp_path, use)


# -- results ------------------------------------------------------------------------------------------------------


def test_ibm_bits_are_read_from_bit_0_register_after_register() -> None:
    first = np.array([[1, 0], [0, 1]], dtype=np.uint8)
    second = np.array([[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], [0] * 11], dtype=np.uint8)
    counts = qrmi_payloads.KINDS["ibm-quantum-system"].counts(encoded(first, second))
    assert counts == {"1010000000011": 1, "0100000000000": 1}


def test_arrays_that_are_none_are_refused() -> None:
    for raw in (b"", b"\x93NUMPY", zlib.compress(b"x"), zlib.compress(b"\0" * ((256 << 20) + 1))):
        with pytest.raises((GarbageOutcome, zlib.error)):
            qrmi_payloads._npy(raw)
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 2), dtype=np.float64))
    with pytest.raises(GarbageOutcome, match="not a row of bytes"):
        qrmi_payloads._npy(zlib.compress(buffer.getvalue()))


def test_iqm_counts_without_measurements() -> None:
    told = {"measurements": None, "measurement_counts": [{"measurement_keys": ["a"], "counts": {"01": 4}}]}
    assert qrmi_payloads.KINDS["iqm-server"].counts(json.dumps(told)) == {"01": 4}


# -- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "unknown ''"),
        ({"type": "oqtopus"}, "not supported"),
        ({"type": "maestro"}, "unknown 'maestro'"),
        ({"type": "pasqal-local"}, "QRMI_WARDEN_URL"),
        ({"type": "iqm-server", "environment": {"QRMI_IQM_ISA_ENDPOINT": 3}}, "all values are text"),
        ({"type": "iqm-server", "environment": {"QRMI_IQM_ISA_ENDPOINT": "http://x"}}, "QRMI_IQM_ISA_TOKEN"),
        ({"type": "pasqal-cloud", "poll_s": 0.0}, "positive"),
        ({"config": "/nowhere.json"}, "No such file"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, Any], why: str, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(Invalid, match=why):
            make("far", "qrmi", settings, tmp_path)

    asyncio.run(main())


def test_a_qrmi_config_is_read(tmp_path: Path) -> None:
    config = tmp_path / "qrmi_config.json"
    with serving(felis_table()) as vendor:
        entry = felis(vendor.url)
        resource = {"name": entry["resource"], "type": entry["type"], "environment": entry["environment"]}
        config.write_text(json.dumps({"resources": [resource]}))

        async def use(driver: Driver) -> None:
            assert (await driver.target()).qubits == 1

        drive({"config": str(config), "resource": entry["resource"]}, tmp_path / "state", use)


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with pytest.raises(Invalid, match=r"pip install quarterdeck\[qrmi\]"):
            make("far", "qrmi", iqm("http://127.0.0.1:9"), tmp_path)

    monkeypatch.setitem(sys.modules, "qrmi", None)
    asyncio.run(main())
