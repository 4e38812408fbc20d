"""Bad input, as a table: a clear error, early, with nothing half-done."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .running import Daemon, as_nobody


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d"), max_body_bytes=100_000, max_parameters_bytes=1000) as daemon:
        yield daemon


def task(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"device": "fake", "program": {"format": "opaque", "payload": "x"}, "shots": 1}
    body.update(changes)
    return {name: value for name, value in body.items() if value is not ...}


UNKNOWN = "0" * 64
# name, body (bytes as they are, anything else as JSON), status, code, where it says the trouble is
BAD_TASKS: list[tuple[str, Any, int, str, str | None]] = [
    ("empty body", b"", 400, "bad_request", None),
    ("not JSON", b"{", 400, "bad_request", None),
    ("trailing text", json.dumps(task()).encode() + b" x", 400, "bad_request", None),
    ("not UTF-8", b'{"device":"\xff"}', 400, "bad_request", None),
    ("lone surrogate", b'{"device":"\\ud800"}', 400, "bad_request", None),
    ("over-deep", b"[" * 50_000, 422, "invalid", "$"),
    ("over-deep parameters", b'{"parameters":{"a":' + b"[" * 50_000, 400, "bad_request", None),
    ("over-deep objects", b'{"parameters":' + b'{"a":' * 15_000, 400, "bad_request", None),
    ("NaN", b'{"device":"fake","shots":NaN}', 400, "bad_request", None),
    ("an array", [], 422, "invalid", "$"),
    ("null", None, 422, "invalid", "$"),
    ("no device", task(device=...), 422, "invalid", "$.device"),
    ("no program", task(program=...), 422, "invalid", "$"),
    ("no shots", task(shots=...), 422, "invalid", "$"),
    ("unknown field", task(colour="red"), 422, "invalid", "$"),
    ("shots negative", task(shots=-5), 422, "invalid", "$.shots"),
    ("shots zero", task(shots=0), 422, "invalid", "$.shots"),
    ("shots 2^31", task(shots=2**31), 422, "invalid", "$.shots"),
    ("shots 2^63", task(shots=2**63), 422, "invalid", "$.shots"),
    ("shots 10^400", b'{"device":"fake","shots":1%s}' % (b"0" * 400), 422, "invalid", "$.shots"),
    ("shots fraction", task(shots=1.5), 422, "invalid", "$.shots"),
    ("shots text", task(shots="10"), 422, "invalid", "$.shots"),
    ("shots true", task(shots=True), 422, "invalid", "$.shots"),
    ("shots over the device's limit", task(shots=2**31 - 1), 422, "bad_program", "$.shots"),
    ("device a number", task(device=3), 422, "invalid", "$.device"),
    ("device empty", task(device=""), 422, "invalid", "$.device"),
    ("device with NUL", task(device="fa\0ke"), 422, "invalid", "$.device"),
    ("device unknown", task(device="nowhere"), 404, "not_found", None),
    ("program unknown", task(program=UNKNOWN), 422, "invalid", "$.program"),
    ("program id too short", task(program="abc"), 422, "invalid", "$.program"),
    ("program id upper case", task(program="A" * 64), 422, "invalid", "$.program"),
    ("program a number", task(program=1), 422, "invalid", "$.program"),
    ("program without payload", task(program={"format": "opaque"}), 422, "invalid", "$.program"),
    ("program empty", task(program={"format": "opaque", "payload": ""}), 422, "invalid", "$.program.payload"),
    ("format unknown", task(program={"format": "punchcard", "payload": "x"}), 422, "invalid", "$.format"),
    ("Pulser not JSON", task(program={"format": "pulser", "payload": "hello"}), 422, "bad_program", None),
    ("Pulser not a sequence", task(program={"format": "pulser", "payload": "{}"}), 422, "bad_program", None),
    ("Pulser over-deep", task(program={"format": "pulser", "payload": "[" * 20_000}), 422, "bad_program", None),
    ("Pulser with NUL", task(program={"format": "pulser", "payload": "\0"}), 422, "bad_program", None),
    ("parameters a list", task(parameters=[]), 422, "invalid", "$.parameters"),
    ("parameter text", task(parameters={"a": "1"}), 422, "invalid", "$.parameters.a"),
    ("parameter true", task(parameters={"a": True}), 422, "invalid", "$.parameters.a"),
    ("parameter nested", task(parameters={"a": [[1]]}), 422, "invalid", "$.parameters.a"),
    ("parameter null", task(parameters={"a": None}), 422, "invalid", "$.parameters.a"),
    ("parameter 2^64", task(parameters={"a": 2**64}), 422, "invalid", "$.parameters.a"),
    ("parameter infinite", b'{"device":"fake","program":"%s","shots":1,"parameters":{"a":1e999}}' % UNKNOWN.encode(),
     422, "invalid", None),
    ("parameters too long", task(parameters={"a": [1.5] * 1000}), 422, "invalid", "$.parameters"),
    ("session unknown", task(session="none"), 404, "not_found", None),
    ("session with NUL", task(session="\0"), 404, "not_found", None),
    ("class unknown", task(**{"class": "royal"}), 422, "invalid", "$.class"),
    ("name too long", task(name="x" * 201), 422, "invalid", "$.name"),
    ("name with NUL", task(name="a\0b"), 422, "invalid", "$.name"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "code", "where"), [row[1:] for row in BAD_TASKS], ids=[row[0] for row in BAD_TASKS]
)
def test_a_bad_submission_is_refused_with_its_reason(
    daemon: Daemon, body: Any, status: int, code: str, where: str | None
) -> None:
    before = daemon.http.get("/v1/tasks", params={"limit": 1}).json()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = daemon.http.post("/v1/tasks", content=content)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), error
    assert len(error["message"]) > 8
    if where is not None:
        assert error["where"] == where
    assert daemon.http.get("/v1/tasks", params={"limit": 1}).json() == before


TEXT = {"format": "opaque", "payload": "x"}
BAD_REQUESTS: list[tuple[str, str, str, dict[str, Any], int, str]] = [
    ("unknown route", "GET", "/v1/nothing", {}, 404, "not_found"),
    ("a route of nobody's", "GET", "/", {}, 404, "not_found"),
    ("trailing slash", "GET", "/v1/tasks/", {}, 404, "not_found"),
    ("wrong method", "PUT", "/v1/tasks", {}, 405, "method_not_allowed"),
    ("task unknown", "GET", "/v1/tasks/none", {}, 404, "not_found"),
    ("task with NUL", "GET", "/v1/tasks/%00", {}, 404, "not_found"),
    ("task with a surrogate", "GET", "/v1/tasks/%ED%A0%80", {}, 404, "not_found"),
    ("result of nothing", "GET", "/v1/tasks/none/result", {}, 404, "not_found"),
    ("cancel nothing", "POST", "/v1/tasks/none/cancel", {}, 404, "not_found"),
    ("wait negative", "GET", "/v1/tasks/none?wait=-1", {}, 422, "invalid"),
    ("wait NaN", "GET", "/v1/tasks/none?wait=nan", {}, 422, "invalid"),
    ("wait for ever", "GET", "/v1/tasks/none?wait=1e300", {}, 422, "invalid"),
    ("after not a number", "GET", "/v1/tasks/none?after=x", {}, 422, "invalid"),
    ("limit zero", "GET", "/v1/tasks?limit=0", {}, 422, "invalid"),
    ("limit huge", "GET", "/v1/tasks?limit=100000", {}, 422, "invalid"),
    ("state unknown", "GET", "/v1/tasks?state=happy", {}, 422, "invalid"),
    ("cursor garbage", "GET", "/v1/tasks?cursor=!", {}, 422, "invalid"),
    ("query unknown", "GET", "/v1/tasks?colour=red", {}, 422, "invalid"),
    ("query twice", "GET", "/v1/tasks?limit=1&limit=2", {}, 422, "invalid"),
    ("events from 2^70", "GET", f"/v1/events?after={2**70}", {}, 422, "invalid"),
    ("device unknown", "GET", "/v1/devices/nowhere", {}, 404, "not_found"),
    ("status unknown", "POST", "/v1/devices/fake/status", {"json": {"status": "tired"}}, 422, "invalid"),
    ("program unknown", "GET", f"/v1/programs/{UNKNOWN}", {}, 404, "not_found"),
    ("program for an unknown device", "POST", "/v1/programs", {"json": {**TEXT, "device": "no"}}, 404, "not_found"),
    ("session for an unknown device", "POST", "/v1/sessions", {"json": {"device": "no"}}, 404, "not_found"),
    ("session without end", "POST", "/v1/sessions", {"json": {"device": "fake", "ttl_s": 1e9}}, 422, "invalid"),
    ("session of no time", "POST", "/v1/sessions", {"json": {"device": "fake", "ttl_s": 0}}, 422, "invalid"),
    ("session mode unknown", "POST", "/v1/sessions", {"json": {"device": "fake", "mode": "royal"}}, 422, "invalid"),
    ("session job with NUL", "POST", "/v1/sessions", {"json": {"device": "fake", "job": "\0"}}, 422, "invalid"),
    ("renew nothing", "POST", "/v1/sessions/none/renew", {}, 404, "not_found"),
    ("close nothing", "DELETE", "/v1/sessions/none", {}, 404, "not_found"),
    ("key too long", "POST", "/v1/tasks", {"json": task(), "headers": {"Idempotency-Key": "k" * 201}}, 422, "invalid"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "code"),
    [row[1:] for row in BAD_REQUESTS],
    ids=[row[0] for row in BAD_REQUESTS],
)
def test_a_bad_request_is_refused(
    daemon: Daemon, method: str, path: str, more: dict[str, Any], status: int, code: str
) -> None:
    answer = daemon.http.request(method, path, **more)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


def test_a_replayed_key_gives_the_same_task_and_another_body_a_conflict(daemon: Daemon) -> None:
    program = daemon.upload()
    first = daemon.submit(program, 3, key="k1")
    again = daemon.submit(program, 3, key="k1")
    other = daemon.submit(program, 4, key="k1")
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json()["id"] == again.json()["id"]
    assert other.json()["error"]["code"] == "idempotency_mismatch"


def test_a_body_over_the_limit_is_refused_while_it_arrives(daemon: Daemon) -> None:
    """200 MiB are announced or streamed; the daemon answers 413 long before their end, and its memory stays flat."""
    assert daemon.process is not None
    before_kib = rss_kib(daemon.process.pid)
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(200):
            sent += 1
            yield b"x" * 2**20

    try:
        answer = daemon.http.post("/v1/tasks", content=body())
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    except httpx.WriteError:
        pass  # the connection was closed while we were still sending
    assert sent < 100
    announced = daemon.http.post("/v1/programs", content=b"y" * 100_001)
    assert (announced.status_code, announced.json()["error"]["limit_bytes"]) == (413, 100_000)
    assert rss_kib(daemon.process.pid) - before_kib < 20_000


def rss_kib(pid: int) -> int:
    return next(
        int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line
    )


def test_no_header_makes_anybody_root(daemon: Daemon) -> None:
    """The peer's uid comes from the socket alone; see reference on X-Forwarded-For and uvicorn."""
    for headers in (
        {"X-Forwarded-For": "unix:0"},
        {"X-Qdeck-User": "root"},
        {"X-Qdeck-Standby": "x", "X-Qdeck-User": "root"},
    ):
        answer = httpx.get(daemon.url() + "/v1/tasks", headers=headers, trust_env=False)
        assert answer.status_code == 401
    wrong = httpx.get(daemon.url() + "/v1/tasks", headers={"Authorization": "Bearer x"}, trust_env=False)
    assert wrong.status_code == 401
    assert daemon.token() not in wrong.text
    right = httpx.get(
        daemon.url() + "/v1/tasks", headers={"Authorization": f"Bearer {daemon.token()}"}, trust_env=False
    )
    assert right.status_code == 200


def test_the_token_is_the_owners_alone(daemon: Daemon) -> None:
    assert (daemon.state / "token").stat().st_mode & 0o777 == 0o600


def test_the_store_is_the_owners_alone(daemon: Daemon) -> None:
    """It holds everybody's tasks, and the secret between daemons."""
    for name in ("quarterdeck.db", "quarterdeck.db-wal", "quarterdeck.db-shm"):
        assert (daemon.state / name).stat().st_mode & 0o077 == 0, name


def test_half_a_request_holds_nothing_up(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(daemon.state / "run" / "qdeck.sock"))
        slow.sendall(b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        assert daemon.http.get("/v1/health/live").status_code == 200


def test_what_is_not_http_is_answered_with_400(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(daemon.state / "run" / "qdeck.sock"))
        rude.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert rude.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to ask as another user")
def test_nobody_sees_anothers_task(daemon: Daemon) -> None:
    mine = daemon.submit(daemon.upload(), 3).json()["id"]
    where = daemon.state / "run" / "qdeck.sock"
    for directory in where.parents:
        directory.chmod(directory.stat().st_mode | 0o055)
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(where)), base_url="http://q") as http, as_nobody():
        for more in ("", "/result", "/log", "/why"):
            assert http.get(f"/v1/tasks/{mine}{more}").status_code == 404
        assert http.post(f"/v1/tasks/{mine}/cancel").status_code == 404
        assert http.get("/v1/tasks").json()["items"] == []
        assert http.get("/v1/tasks", params={"user": "root"}).json()["items"] == []
        assert http.post("/v1/devices/fake/status", json={"status": "maintenance"}).status_code == 403
        log = http.get("/v1/events", headers={"Accept": "application/x-ndjson"}).text
        assert "DeviceDeclared" in log and mine not in log
        theirs = http.post("/v1/tasks", json=task()).json()
        assert theirs["user"] == "nobody"
    assert daemon.http.get(f"/v1/tasks/{theirs['id']}").status_code == 200, "an administrator sees everything"
