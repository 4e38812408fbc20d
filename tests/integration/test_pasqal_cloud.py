"""Pasqal Cloud's interface, asked by its unmodified clients and by hand."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from quarterdeck import wire
from quarterdeck.daemon.dialects.pasqal_cloud import readout, words
from quarterdeck.daemon.dialects.pasqal_cloud.app import PasqalCloud
from quarterdeck.daemon.dialects.pasqal_cloud.body import unpack
from quarterdeck.daemon.dialects.pasqal_cloud.links import Links
from quarterdeck.daemon.dialects.pasqal_cloud.settings import PasqalCloudSettings
from quarterdeck.daemon.dialects.pasqal_cloud.table import ROUTES
from quarterdeck.daemon.dialects.pasqal_cloud.types import Types
from quarterdeck.daemon.http.identity import Identity
from quarterdeck.devices.driver import Target
from quarterdeck.errors import BadRequest, Forbidden, Invalid, StoreUnavailable, TooLarge

from .running import Daemon, as_nobody

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / ".tools" / "clients"
DEVICE = "fresnel-emulator"
DEVICES = {DEVICE: {"driver": "neutral-atom-emulator", "time_scale": 1000}}
ONES = ["0.00000000", "0.00000100"]
AHS = {
    "setup": {"ahs_register": {"sites": [["0.00000000"] * 2, ["0.00000550", "0.00000000"]], "filling": [1, 1]}},
    "hamiltonian": {
        "drivingFields": [{
            "amplitude": {"pattern": "uniform", "time_series": {"times": ONES, "values": ["6280000.00000000"] * 2}},
            "detuning": {"pattern": "uniform", "time_series": {"times": ONES, "values": ["0.00000000"] * 2}},
            "phase": {"pattern": "uniform", "time_series": {"times": ONES, "values": ["0.00000000"] * 2}},
        }],
        "localDetuning": [],
    },
}  # fmt: skip
"""As CUDA-Q writes it: numbers as text with eight decimals, in m, s and rad/s."""
SLOW = {"driver": "neutral-atom-emulator", "setup_s": 0.1, "shot_rate_hz": 300.0}
AFM = (ROOT / "examples" / "programs" / "afm_chain.json").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("pasqal"), "", DEVICES) as daemon:
        yield daemon


def token(daemon: Daemon, **session: Any) -> str:
    """A new session's bearer token."""
    answer = daemon.http.post("/v1/sessions", json={"device": DEVICE, **session})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def base(daemon: Daemon) -> str:
    return daemon.url() + "/pasqal-cloud"


def run(
    daemon: Daemon, script: str, stdin: str = "", name: str = "pasqal", install: str = "./run clients", **environ: str
) -> Any:
    """Run a client's script. Returns the JSON on its last line."""
    python = CLIENTS / name / "bin" / "python"
    if not python.exists():
        pytest.skip(f"the client {name} is not installed: {install}")
    command = [python, ROOT / "tests" / "clients" / script, base(daemon), token(daemon)]
    environ = {"OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "NO_PROXY": "*", **environ}
    done = subprocess.run(command, input=stdin, env=environ, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_pulsers_backends(site: Daemon) -> None:
    seen = run(site, "pasqal_pulser.py")
    assert seen["devices"] == {DEVICE: DEVICE, "FRESNEL": DEVICE}
    assert {"FRESNEL", "EMU_FREE", "EMU_MPS", "EMU_FRESNEL", "EMU_SV"} < set(seen["public"])
    still, moved = seen["two_jobs"]
    assert still == {"000": 100} and sum(moved.values()) == 50 and set(moved) - {"000"}
    assert seen["batch_status"] == "DONE" and len(seen["job_ids"]) == 2
    assert seen["atom_order"] == ["q0", "q1", "q2"]
    assert seen["open_batch"] == [20, 30]
    assert seen["while_open"] in ("RUNNING", "PENDING") and seen["after_close"] == "DONE"
    assert max(seen["short_job_s"]) < 2.0  # the client's own first sleep: no call of it was answered too early
    assert seen["duration_ns"] == 400
    assert seen["emulator"] == 1000 and seen["observable"] == 77
    assert "occupation" in seen["refused"] and "invalid" in seen["refused"]


def test_the_older_package_of_pulser(site: Daemon) -> None:
    assert run(site, "pasqal_older.py", name="pasqal-0.22") == [10, 20, 30]


def test_qiskits_provider(site: Daemon) -> None:
    """Atoms at (0,0), (0,6) and (6,0), swept from -6 to 6 rad/us in 1 us: the two far apart are excited."""
    counts = run(site, "pasqal_qiskit.py")["counts"]
    assert sum(counts.values()) == 200
    assert max(counts, key=counts.get) == "011" and counts["011"] > 100


def test_qrmi(tmp_path: Path) -> None:
    with Daemon(tmp_path / "site", "", {DEVICE: SLOW}) as daemon:
        seen = run(daemon, "pasqal_qrmi.py", json.dumps([AFM, json.dumps(AHS)]))
    assert seen["accessible"] is True and "Online" in seen["status"]
    (fresnel,), emulators = seen["targets"]
    assert fresnel == ["FRESNEL", DEVICE] and ["EMU_MPS", DEVICE] in emulators
    assert "Completed" in seen["ended"] and seen["looks"] == 1  # one held call instead of a second's sleep each
    assert sum(seen["counts"].values()) == 100 and set(map(len, seen["counts"])) == {7}
    assert seen["after"] is True
    ended, counts = seen["ahs"]
    assert "Completed" in ended and sum(counts.values()) == 50 and set(map(len, counts)) == {2}
    assert seen["ahs_elsewhere"] is True
    assert "409" in seen["early_result"] and "not there yet" in seen["early_result"]
    assert "Cancelled" in seen["stopped"]
    assert "404" in seen["bogus"] and "no batch" in seen["bogus"]
    assert "422" in seen["bad"] and "bad_program" in seen["bad"]
    assert "401" in seen["stranger"]


def test_cudaqs_evolve(site: Daemon) -> None:
    """Neighbours 5.5 um apart block each other: the outer two of three atoms end up excited."""
    settings = {"BASE_URL": base(site), "AUTH_TOKEN": token(site), "PROJECT_ID": "p"}
    environ = {f"EMU_MPS_QRMI_PASQAL_CLOUD_{key}": value for key, value in settings.items()}
    # With its dependencies it takes gigabytes, none of which this target uses; so it is not among `./run clients`.
    install = "pip install --no-deps cuda-quantum-cu13==0.16.0.post1 astpretty; pip install numpy scipy requests"
    job = {"SLURM_JOB_QPU_RESOURCES": "EMU_MPS", "SLURM_JOB_QPU_TYPES": "pasqal-cloud", "HOME": str(site.state)}
    seen = run(site, "cudaq_evolve.py", "", "cudaq", f"in .tools/clients/cudaq, {install}", **environ, **job)
    assert sum(seen["counts"].values()) == 100 and seen["counts"]["101"] > 70


def test_the_rest_of_the_sdk(tmp_path: Path) -> None:
    tables = {"pasqal_cloud": {"hold_s": 1.0}}  # it asks for the status of a long job
    with Daemon(tmp_path / "site", "", {DEVICE: SLOW}, tables) as daemon:
        seen = run(daemon, "pasqal_sdk.py")
    status, open, number, tags, counts = seen["done"]
    assert (status, open, number, tags) == ("DONE", False, 2, ["first"])
    assert [sum(one.values()) for one in counts] == [10, 20]
    assert seen["sequence"] is True and seen["retagged"] == ["second", "third"]
    assert seen["job"] == ["DONE", True, 10, None, None, None, "p1"]
    assert seen["own"] == ["DONE", True]
    assert seen["batches"] == [2, [True]] and seen["tagged"] == [True] and seen["none"] == 0
    assert seen["jobs"] == 2 and seen["of_batch"] == [20, 10]  # newest first, but for what asks for ASC
    assert seen["opened"] == ["PENDING", True, 0]
    assert seen["added"][0] == 2 and set(seen["added"][1]) <= {"PENDING", "RUNNING"}
    assert seen["cancelled"][0] == "CANCELED" and seen["cancelled"][1] in ("PENDING", "RUNNING")
    assert seen["cancelled_jobs"] == [[True], {}, {"omega": 2.0}] and seen["not_closed"] is True
    assert seen["closed"] == ["CANCELED", False] and "is closed" in seen["late"]
    states, errors = seen["cancelled_batches"]
    assert states == ["CANCELED", "CANCELED"] and len(errors) == 1 and "no batch" in errors[0]
    assert seen["again"] == [True, 1] and seen["no_link"] is None and seen["project"] == "default"
    for key, why in (
        ("unknown_type", "no device 'FRESNEL_CAN1'"), ("bad_program", "bad_program"), ("no_variable", "omega"),
        ("too_many", "10000 shots"), ("webhook", "webhooks"), ("password", "session"),
    ):  # fmt: skip
        assert why in seen[key], key


# -- by hand ----------------------------------------------------------------------------------------------------------


def client(daemon: Daemon, bearer: str | None = None) -> httpx.Client:
    """As QRMI asks: with a session's token, and no User-Agent of the SDK."""
    headers = {"Authorization": f"Bearer {bearer if bearer is not None else token(daemon)}"}
    return httpx.Client(base_url=base(daemon), headers=headers, timeout=60.0, trust_env=False)


@pytest.fixture(scope="module")
def http(site: Daemon) -> Iterator[httpx.Client]:
    with client(site) as http:
        yield http


def batch(http: httpx.Client, *jobs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A new batch of these jobs."""
    body = {"sequence_builder": AFM, "jobs": jobs, "project_id": "p", **more}
    answer = http.post("/core-fast/api/v1/batches", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert (told["status"], told["code"], told["message"]) == ("success", 200, "OK")
    data: dict[str, Any] = told["data"]
    return data


def data(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def ended(http: httpx.Client, id: str) -> dict[str, Any]:
    """A batch's status, once it has no live jobs."""
    for _ in range(10):
        told: dict[str, Any] = data(http.get(f"/core-fast/api/v1/batches/{id}/status"))
        if not {"PENDING", "RUNNING"} & set(told["jobs_count_per_status"]):
            return told
    raise AssertionError(told)


@pytest.mark.parametrize("text", [False, True])
def test_cudaqs_requests(http: httpx.Client, text: bool) -> None:
    body = {"machine": "EMU_MPS", "project_id": "p", "shots": 10, "sequence": json.dumps(AHS) if text else AHS}
    job = data(http.post("/core-fast/api/v1/cudaq/job", json=body))
    assert job["status"] in ("PENDING", "RUNNING")
    (id,) = data(http.get(f"/core-fast/api/v2/batches/{job['id']}"))["job_ids"]
    assert data(http.get(f"/core-fast/api/v2/jobs/{id}"))["status"] == "DONE"  # held
    told = data(http.get(f"/core-fast/api/v1/cudaq/job/{job['id']}"))
    assert told["status"] == "DONE" and sum(told["result"]["counter"].values()) == 10
    full = data(http.get(f"/core-fast/api/v1/batches/{job['id']}/full_results"))
    assert full == {id: {"counter": told["result"]["counter"]}}
    assert json.loads(data(http.get(f"/core-fast/api/v2/batches/{job['id']}"))["sequence_builder"])["operations"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"machine": "FRESNEL_CAN1"}, "no device"), ({"shots": 0}, "shots"), ({"sequence": {"setup": {}}}, "missing"),
        ({"sequence": "no JSON"}, ""), ({"color": "red"}, "color"), ({"shots": 2**31}, "shots"),
    ],
)  # fmt: skip
def test_bad_requests_of_cudaq(http: httpx.Client, change: dict[str, Any], why: str) -> None:
    body = {"machine": "EMU_MPS", "project_id": "p", "shots": 10, "sequence": AHS, **change}
    answer = http.post("/core-fast/api/v1/cudaq/job", json=body)
    assert answer.status_code == 422 and why in answer.json()["data"]["description"], answer.text


def test_a_result_is_what_pulser_reads(http: httpx.Client) -> None:
    from pulser.backend import Results

    made = batch(http, {"runs": 25, "variables": {"unused": 1.0}})
    (id,) = made["job_ids"]
    assert ended(http, made["id"]) == {"id": made["id"], "status": "DONE", "jobs_count_per_status": {"DONE": 1}}
    link = data(http.get(f"/core-fast/api/v1/jobs/{id}/results_link"))["results_link"]
    told = httpx.get(link, trust_env=False).json()
    results = Results.from_abstract_repr(told["serialised_results"])
    assert results.final_bitstrings == told["counter"] and sum(told["counter"].values()) == 25
    names = [atom["name"] for atom in json.loads(AFM)["register"]]
    assert list(results.atom_order) == names and {len(bits) for bits in told["counter"]} == {len(names)}
    assert results.total_duration > 0


def test_links_open_one_result_for_a_while(http: httpx.Client, site: Daemon) -> None:
    one, two = batch(http, {"runs": 1}, {"runs": 2})["job_ids"]
    for id in (one, two):
        assert data(http.get(f"/core-fast/api/v1/jobs/{id}/status"))["status"] == "DONE"
    link = data(http.get(f"/core-fast/api/v1/jobs/{one}/results_link"))["results_link"]
    assert link.startswith(base(site))
    assert httpx.get(link, trust_env=False).status_code == 200
    expires = re.sub(r"expires=(\d+)", lambda found: f"expires={int(found[1]) + 1}", link)
    for bad in (link.replace(one, two), link[:-1] + "g", link.partition("?")[0], expires):
        answer = httpx.get(bad, trust_env=False)
        assert answer.status_code == 403 and "results_link" in answer.json()["data"]["description"]


def test_a_link_expires() -> None:
    now = [1000.0]
    links = Links(60.0, lambda: now[0])
    told = dict(part.split("=") for part in links.query("t1").split("&"))
    links.check("t1", told["expires"], told["signature"])
    now[0] += 62.0
    with pytest.raises(Forbidden, match="expired"):
        links.check("t1", told["expires"], told["signature"])
    with pytest.raises(Forbidden, match="another daemon or era"):
        Links(60.0, lambda: 0.0).check("t1", told["expires"], told["signature"])


def test_a_bomb_is_not_unpacked(http: httpx.Client) -> None:
    bomb = gzip.compress(b" " * 400_000_000, 9)
    assert len(bomb) < 1_000_000
    began = time.monotonic()
    for path in ("v1/batches", "v2/batches/5557ef21-0000-4000-8000-000000000000/jobs", "v1/cudaq/job"):
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        answer = http.post(f"/core-fast/api/{path}", content=bomb, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert time.monotonic() - began < 5.0


def test_what_is_unpacked() -> None:
    assert unpack(gzip.compress(b"[]"), "GZIP", 2) == b"[]"
    assert unpack(b"[]", "", 2) == b"[]"
    with pytest.raises(TooLarge):
        unpack(gzip.compress(b"[1]"), "gzip", 2)
    for raw, encoding in ((b"[]", "gzip"), (gzip.compress(b"[]")[:-1], "gzip"), (b"", "gzip"), (b"[]", "br")):
        with pytest.raises(BadRequest):
            unpack(raw, encoding, 100)
    with pytest.raises(BadRequest):
        unpack(gzip.compress(b"[]") * 2, "gzip", 100)


BATCH = "/core-fast/api/v1/batches"


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ("{", 400, "JSON"), ("[]", 422, "object"), ('{"jobs": [{}]}', 422, "sequence"),
        ('{"jobs": [{"runs": 1}], "sequence_builder": ""}', 422, "empty"),
        ('{"jobs": [{"runs": 1}], "device_type": "QPU9", "sequence_builder": "x"}', 422, "QPU9"),
        ('{"jobs": [], "sequence_builder": SEQUENCE}', 422, "nothing to run"),
        ('{"jobs": [{}], "sequence_builder": SEQUENCE}', 422, "runs"),
        ('{"jobs": [{"runs": 0}], "sequence_builder": SEQUENCE}', 422, "runs"),
        ('{"jobs": [{"runs": 1, "sequence": ""}, {"priority": 1}], "sequence_builder": SEQUENCE}', 422, "priority"),
        ('{"jobs": [{"runs": 1}], "open": true, "complete": true, "sequence_builder": SEQUENCE}', 422, "contradicts"),
        ('{"jobs": [{"runs": 1}], "project_id": "a\\u0000", "sequence_builder": SEQUENCE}', 422, "project_id"),
        ('{"jobs": [{"runs": 1}], "configuration": {"with_noise": true}, "sequence_builder": SEQUENCE}', 422, "noise"),
    ],
)  # fmt: skip
def test_bad_batches(http: httpx.Client, body: str, status: int, why: str) -> None:
    answer = http.post(BATCH, content=body.replace("SEQUENCE", json.dumps(AFM)))
    told = answer.json()
    assert answer.status_code == status and told["status"] == "fail", answer.text
    assert why in told["data"]["description"] and told["message"] and told["code"]


CONFIG: dict[str, Any] = {
    "observables": [{"observable": "bitstrings", "evaluation_times": None, "num_shots": None, "one_state": None}],
    "default_evaluation_times": [1.0], "initial_state": None, "with_modulation": False, "interaction_matrix": None,
    "prefer_device_noise_model": False, "noise_model": {"noise_types": []}, "default_num_shots": 40, "callbacks": [],
}  # fmt: skip
BITSTRINGS = CONFIG["observables"][0]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"observables": []}, "observables"), ({"observables": 3}, "observables"),
        ({"observables": [BITSTRINGS, {"observable": "energy"}]}, "observables"),
        ({"observables": [{**BITSTRINGS, "evaluation_times": [0.5, 1.0]}]}, "evaluation_times"),
        ({"observables": [{**BITSTRINGS, "one_state": "g"}]}, "one_state"),
        ({"observables": [{**BITSTRINGS, "num_shots": "many"}]}, "num_shots"),
        ({"observables": [{**BITSTRINGS, "tag_suffix": "\ud800"}]}, "tag_suffix"),
        ({"observables": [{**BITSTRINGS, "uuid": "mine"}]}, "uuid"),
        ({"default_evaluation_times": "Full"}, "evaluation_times"), ({"with_modulation": True}, "with_modulation"),
        ({"initial_state": {"eigenstates": ["r", "g"]}}, "initial_state"), ({"new_option": 1}, "new_option"),
        ({"interaction_matrix": [[0.0]]}, "interaction_matrix"), ({"callbacks": [{}]}, "callbacks"),
        ({"noise_model": {"noise_types": ["SPAM"]}}, "noise_model"), ({"noise_model": "SPAM"}, "noise_model"),
        ({"prefer_device_noise_model": True}, "prefer_device_noise_model"),
    ],
)  # fmt: skip
def test_what_devices_cannot_give_is_refused(change: dict[str, Any], where: str) -> None:
    with pytest.raises(Invalid) as refused:
        readout.read(json.dumps({**CONFIG, **change}))
    assert refused.value.where == f"$.backend_configuration.{where}" and refused.value.why


def test_shots_of_a_backend_configuration(http: httpx.Client) -> None:
    told = readout.read(json.dumps(CONFIG))
    assert (told.shots, told.tag) == (40, "bitstrings")
    more = {"autosave_dt": float("inf"), "observables": [{**BITSTRINGS, "num_shots": 7, "tag_suffix": "x"}]}
    told = readout.read(json.dumps({**CONFIG, **more}))
    assert (told.shots, told.tag) == (7, "bitstrings_x")
    config = json.dumps(CONFIG)
    made = batch(http, {}, {"runs": 3}, device_type="EMU_FREE", backend_configuration=config)
    assert [job["runs"] for job in made["jobs"]] == [40, 3] and made["backend_configuration"] == config
    for bad in ("{", "[]", "3"):
        answer = http.post(BATCH, json={"sequence_builder": AFM, "jobs": [{}], "backend_configuration": bad})
        assert answer.status_code == 422


def test_types_stand_for_devices() -> None:
    atoms = Target(name="a-1", modality="neutral-atom", qubits=9, formats=("pulser",), spec='{"name": "Orion"}')
    other = Target(name="b", qubits=9, formats=("opaque",))
    one = Types({"a-1": atoms, "b": other}, {})
    assert one.device("FRESNEL") == one.device("emu_mps") == one.device("A_1") == one.device("orion") == "a-1"
    assert set(one.specs()) == {"FRESNEL", "a-1"} and one.of_program("AnalogDevice") == "a-1"
    qpu = Target(name="q", modality="neutral-atom", qubits=9, formats=("pulser",), emulated=False)
    both, hardware = Types({"a-1": atoms, "q": qpu}, {}), Types({"q": qpu}, {})
    assert (both.device("FRESNEL"), both.device("EMU_FREE")) == ("q", "a-1")
    assert hardware.devices == {"FRESNEL": "q", "q": "q"}  # who asks for an emulator gets no QPU
    two = Types({"a-1": atoms, "c": Target(name="c", modality="neutral-atom", qubits=9, formats=("pulser",))}, {})
    assert two.of_program("Orion") == "a-1"
    for type in ("FRESNEL", "", "b"):
        with pytest.raises(Invalid, match="a-1, c"):
            two.device(type)
    assert Types({"a-1": atoms, "b": other}, {"EMU_SV": "a-1"}).devices == {"EMU_SV": "a-1", "a-1": "a-1"}


def test_paths_and_tokens(http: httpx.Client, site: Daemon) -> None:
    slash = base(site) + "//core-fast/api/v1/devices/specs"  # an endpoint given with a slash at its end
    assert http.get(slash).status_code == 200
    assert http.get("/core-fast/api/v3/batches").status_code == 404
    answer = http.put("/core-fast/api/v1/batches")
    assert answer.status_code == 405 and answer.headers["Allow"] == "GET, POST"
    assert http.get("/core-fast/api/v2/batches/%2e%2e").status_code == 404
    assert data(http.get("/account/api/v1/projects?project_status=ACTIVE"))[0]["id"]
    for bearer in ("-", "qds_x.y", "nonsense"):
        with client(site, bearer) as stranger:
            assert data(stranger.get("/core-fast/api/v1/devices?device_type=FRESNEL"))[0]["status"] == "UP"
            answer = stranger.get("/core-fast/api/v1/devices/specs")
            assert answer.status_code == 401 and answer.json()["data"]["description"]
            answer = stranger.post(BATCH, json={})
            assert answer.status_code == 401
    answer = http.post("/account/oauth/token", data={"username": "u", "password": "p"})
    assert answer.status_code == 401 and "session" in answer.json()["error_description"]
    for query in ("limit=x", "color=red", "open=perhaps", "start_date=now"):
        assert http.get(f"{BATCH}?{query}").status_code == 422, query


def test_a_device_out_of_service(http: httpx.Client, site: Daemon) -> None:
    def set(status: str) -> None:
        answer = site.http.post(f"/v1/devices/{DEVICE}/status", json={"status": status})
        assert answer.status_code == 200, answer.text

    set("maintenance")
    try:
        assert data(http.get("/core-fast/api/v1/devices?device_type=EMU_SV"))[0]["status"] == "DOWN"
        made = batch(http, {"runs": 1})
        cancelled = data(http.patch(f"/core-fast/api/v2/batches/{made['id']}/cancel"))
        assert cancelled["status"] == "CANCELED" and cancelled["open"] is False
    finally:
        set("online")


def test_holds_end_in_time(tmp_path: Path) -> None:
    tables = {"pasqal_cloud": {"hold_s": 0.3, "devices": {"FRESNEL": DEVICE}}}
    with Daemon(tmp_path / "d", "", {DEVICE: SLOW}, tables) as daemon, client(daemon) as http:
        made = batch(http, {"runs": 10_000})
        (id,) = made["job_ids"]
        sdk = {"User-Agent": "PasqalCloudSDK/0.24.0"}
        for path, headers, held in (
            (f"v1/batches/{made['id']}/status", sdk, True), (f"v1/jobs/{id}/status", sdk, True),
            (f"v2/jobs/{id}", {}, True), (f"v2/jobs/{id}", sdk, False), (f"v2/batches/{made['id']}", {}, False),
        ):  # fmt: skip
            began = time.monotonic()
            told = data(http.get(f"/core-fast/api/{path}", headers=headers))
            assert told["status"] in ("PENDING", "RUNNING")
            assert (time.monotonic() - began >= 0.3) is held, path
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(http.get, f"/core-fast/api/v1/jobs/{id}/results_link")
            assert data(waiting.result())["results_link"] is None
        assert http.get("/core-fast/api/v1/devices/specs/EMU_SV").status_code == 422  # the table names all there are


def test_jobs_added_at_once_are_all_there(http: httpx.Client) -> None:
    made = batch(http, open=True)
    path = f"/core-fast/api/v2/batches/{made['id']}"
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda runs: http.post(f"{path}/jobs", json=[{"runs": runs}]), range(1, 17)))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert sorted(job["runs"] for job in data(http.get(path))["jobs"]) == list(range(1, 17))
    asked = {"batch_id": made["id"], "order_by": "creation_order", "order_by_direction": "ASC", "limit": 10}
    first = http.get("/core-fast/api/v2/jobs", params=asked).json()
    assert first["pagination"] == {"total": 16, "start": 0, "end": 10, "offset": 0}
    last = http.get("/core-fast/api/v2/jobs", params={**asked, "offset": 10}).json()
    assert last["pagination"]["end"] == 16
    assert [job["id"] for job in first["data"] + last["data"]] == data(http.get(path))["job_ids"]


def test_open_batches_survive_kill_9(tmp_path: Path, database: str) -> None:
    with Daemon(tmp_path / "d", database, DEVICES) as daemon:
        bearer = token(daemon)
        with client(daemon, bearer) as http:
            odd = {"batch_ids": ["\0", "b'"]}  # PostgreSQL takes no NUL
            assert len(data(http.patch(f"{BATCH}/cancel", json=odd))["errors"]) == 2
            made = batch(http, {"runs": 5}, open=True, tags=["mine"])
            empty = batch(http, open=True)
            link = f"/core-fast/api/v1/jobs/{made['job_ids'][0]}/results_link"
            assert ended(http, made["id"])["status"] == "RUNNING"  # open: more may come
            old = data(http.get(link))["results_link"]
        daemon.kill()
        daemon.start()
        with client(daemon, bearer) as http:
            assert httpx.get(re.sub(r"http://[^/]+", daemon.url(), old), trust_env=False).status_code == 403
            assert data(http.get(link))["results_link"]
            for one in (made, empty):
                path = f"/core-fast/api/v2/batches/{one['id']}"
                before = data(http.get(path))
                assert before["open"] and before["tags"] == one["tags"] and before["job_ids"] == one["job_ids"]
                assert before["sequence_builder"] == AFM
                data(http.post(f"{path}/jobs", json=[{"runs": 6}]))
                data(http.patch(f"{path}/complete"))
                assert ended(http, one["id"])["status"] == "DONE"
                assert [job["runs"] for job in data(http.get(path))["jobs"]][-1] == 6
                assert http.post(f"{path}/jobs", json=[{"runs": 6}]).status_code == 409


def test_through_a_standby(tmp_path: Path) -> None:
    first = Daemon(tmp_path / "a", "", DEVICES).start()
    second = Daemon(tmp_path / "b", f"sqlite:///{first.state / 'quarterdeck.db'}", DEVICES)
    try:
        second.start()
        with client(second, token(first)) as http:
            assert data(http.get("/core-fast/api/v1/devices?device_type=FRESNEL"))[0]["status"] == "UP"
            body = gzip.compress(json.dumps({"sequence_builder": AFM, "jobs": [{"runs": 8}]}).encode())
            made = data(http.post(BATCH, content=body, headers={"Content-Encoding": "gzip"}))
            assert ended(http, made["id"])["status"] == "DONE"
            link = data(http.get(f"/core-fast/api/v1/jobs/{made['job_ids'][0]}/results_link"))["results_link"]
            assert link.startswith(base(second))  # where the client asked, not where the leader is
            assert sum(httpx.get(link, trust_env=False).json()["counter"].values()) == 8
    finally:
        second.__exit__()
        first.__exit__()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to ask as another user")
def test_another_users_batches_do_not_exist(http: httpx.Client, site: Daemon) -> None:
    made = batch(http, {"runs": 1}, open=True)
    (id,) = made["job_ids"]
    socket_file = site.state / "run" / "qdeck.sock"
    for directory in socket_file.parents:
        directory.chmod(directory.stat().st_mode | 0o055)
    transport = httpx.HTTPTransport(uds=str(socket_file))
    with httpx.Client(transport=transport, base_url="http://q", timeout=60.0) as local, as_nobody():
        bearer = local.post("/v1/sessions", json={"device": DEVICE}).json()["token"]
    with client(site, bearer) as other:
        for method, path in (
            ("GET", f"v1/batches/{made['id']}/status"), ("GET", f"v2/batches/{made['id']}"),
            ("GET", f"v1/batches/{made['id']}/full_results"), ("GET", f"v1/cudaq/job/{made['id']}"),
            ("PATCH", f"v2/batches/{made['id']}/complete"), ("PATCH", f"v2/batches/{made['id']}/cancel"),
            ("PATCH", f"v2/batches/{made['id']}/cancel/jobs"), ("POST", f"v1/batches/{made['id']}/rebatch"),
            ("GET", f"v2/jobs/{id}"), ("GET", f"v1/jobs/{id}/status"), ("GET", f"v1/jobs/{id}/results_link"),
            ("PATCH", f"v2/jobs/{id}/cancel"), ("GET", f"v2/jobs?batch_id={made['id']}"),
        ):  # fmt: skip
            answer = other.request(method, f"/core-fast/api/{path}")
            assert answer.status_code == 404 and answer.json()["code"] == "not_found", path
        assert other.post(f"/core-fast/api/v2/batches/{made['id']}/jobs", json=[{"runs": 1}]).status_code == 404
        assert other.patch(f"/core-fast/api/v1/batches/{made['id']}/tags", json=["x"]).status_code == 404
        assert data(other.get(BATCH)) == [] and data(other.get("/core-fast/api/v2/jobs")) == []
        bulk = data(other.patch("/core-fast/api/v1/batches/cancel", json={"batch_ids": [made["id"]]}))
        assert bulk["batches"] == [] and list(bulk["errors"]) == [made["id"]]
        mine = site.http.post(
            "/v1/tasks", json={"device": DEVICE, "program": {"format": "pulser", "payload": AFM}, "shots": 1}
        ).json()
        assert http.get(f"/core-fast/api/v2/jobs/{mine['id']}").status_code == 404  # a task, but no job of a batch
    assert data(http.get(f"/core-fast/api/v2/batches/{made['id']}"))["open"] is True


def test_every_route_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "pasqal-cloud.md").read_text()
    rows = re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/\S*)`", text, re.MULTILINE)
    assert sorted(rows) == sorted((route.method, route.path) for route in ROUTES)


def test_a_job_that_fails_says_why() -> None:
    task = wire.Task(
        id="t1", version=3, device=DEVICE, program="p", shots=9, shots_done=0, state="failed", user="u", project="",
        session="", name="", class_="test", parameters={"omega": 1.0}, submitted_s=1.0, started_s=2.0, ended_s=3.5,
        slices=1, qpu_s=0.0, partial=True, error=wire.Error(code="bad_program", message="no pulse"),
    )  # fmt: skip
    job = words.job(task, "b1", "p1")
    assert (job["status"], job["errors"], job["runs"]) == ("ERROR", ["bad_program: no pulse"], 9)
    assert (job["batch_id"], job["project_id"], job["variables"]) == ("b1", "p1", {"omega": 1.0})
    assert job["end_timestamp"] == job["updated_at"] == "1970-01-01T00:00:03.500+00:00"


@pytest.mark.parametrize(
    ("states", "open", "cancelled", "status"),
    [
        ("", True, False, "PENDING"), ("queued", True, False, "PENDING"), ("queued done", False, False, "RUNNING"),
        ("running queued", False, False, "RUNNING"), ("cancelling", False, True, "RUNNING"),
        ("done", True, False, "RUNNING"), ("done done", False, False, "DONE"), ("done failed", False, False, "ERROR"),
        ("done cancelled", False, True, "DONE"), ("cancelled", False, False, "CANCELED"), ("", False, True, "CANCELED"),
        ("", False, False, "DONE"),
    ],
)  # fmt: skip
def test_status_of_a_batch(states: str, open: bool, cancelled: bool, status: str) -> None:
    jobs = [cast(Any, SimpleNamespace(state=state)) for state in states.split()]
    assert words.batch_status(jobs, open, cancelled) == status


# -- what goes wrong within ---------------------------------------------------------------------------------------


UUID = "5557ef21-0000-4000-8000-000000000000"


class Trouble:
    """A house whose store fails. Without a desk it is still starting."""

    identity = Identity(owner="o", owner_uid=-1, token="")
    max_body_bytes = 1000
    trouble = "no space left"

    def __init__(self, desk: Any) -> None:
        self.desk = desk

    async def pass_on(self, request: Any, raw: bytes, actor: Any = None, path: str = "", more: Any = None) -> None:
        if self.desk is None and path.endswith("cudaq/job"):
            raise StoreUnavailable("the leading daemon", "no space left in the pipe", 1.0)


class Failing:
    """A desk that accepted something, perhaps."""

    class engine:
        targets: dict[str, Target] = {}  # noqa: RUF012

    async def note(self, *_: Any) -> bytes:
        raise StoreUnavailable("the store", "no space left", 2.0)

    async def submit_all(self, *_: Any) -> None:
        raise StoreUnavailable("the store", "no space left", 2.0)


@pytest.mark.parametrize(
    ("desk", "method", "path", "status"),
    [
        (None, "GET", "v2/jobs?batch_id=b", 429), (None, "POST", "v1/batches", 429),
        (Failing(), "GET", f"v1/batches/{UUID}/status", 429), (Failing(), "PATCH", f"v2/batches/{UUID}/cancel", 429),
        (Failing(), "POST", f"v2/batches/{UUID}/jobs", 503), (None, "POST", "v1/cudaq/job", 503),
    ],
)  # fmt: skip
def test_only_what_was_not_accepted_is_asked_for_again(desk: Any, method: str, path: str, status: int) -> None:
    """The SDK repeats a POST answered 429, 500, 502 or 504; it gives up at 503."""

    async def ask() -> httpx.Response:
        app = PasqalCloud(cast(Any, Trouble(desk)), PasqalCloudSettings())

        async def known(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": {"peer_uid": os.geteuid()}}, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="http://q") as http:
            return await http.request(method, f"/core-fast/api/{path}", content=b"[]")

    answer = asyncio.run(ask())
    assert answer.status_code == status and "no space left" in answer.json()["data"]["description"]
    assert ("Retry-After" in answer.headers) is (status == 429)


def test_the_settings_name_devices_that_there_are() -> None:
    PasqalCloudSettings(devices={"FRESNEL": "a"}).check({"a"})
    with pytest.raises(Invalid) as refused:
        PasqalCloudSettings(devices={"FRESNEL": "b"}).check({"a"})
    assert refused.value.where == "pasqal_cloud.devices.FRESNEL"


def test_the_qpu_of_a_session_is_its_device(tmp_path: Path) -> None:
    """Whoever runs on an emulated device must not reach another one by the name that clients insist on."""
    both = {name: {"driver": "neutral-atom-emulator", "time_scale": 1000} for name in ("left", "right")}
    with Daemon(tmp_path, "", both) as daemon:
        for device in both:
            opened = daemon.http.post("/v1/sessions", json={"device": device}).json()
            headers = {"Authorization": f"Bearer {opened['token']}"}
            with httpx.Client(base_url=base(daemon), headers=headers, timeout=30, trust_env=False) as http:
                (told,) = data(http.get("/core-fast/api/v1/devices", params={"device_type": "FRESNEL"}))
                assert told["status"] == "UP"
                spec = data(http.get("/core-fast/api/v1/devices/specs/FRESNEL"))["specs"]
                assert json.loads(spec)["name"] == device
                made = batch(http, {"runs": 10}, device_type="FRESNEL")
                assert ended(http, made["id"])["status"] == "DONE"
            (task,) = daemon.http.get("/v1/tasks", params={"device": device}).json()["items"]
            assert (task["device"], task["session"]) == (device, opened["id"])
        with httpx.Client(base_url=base(daemon), headers={"Authorization": f"Bearer {daemon.token()}"}) as http:
            body = {"sequence_builder": AFM, "jobs": [{"runs": 1}], "project_id": "p", "device_type": "FRESNEL"}
            assert http.post("/core-fast/api/v1/batches", json=body).status_code == 422, "which one is not clear"
