"""The client against a stub that answers as the daemon would; what goes over the line, and what comes back of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

import quarterdeck
from quarterdeck import errors, wire
from quarterdeck.client import Client
from quarterdeck.client.address import Address, find

TASK: dict[str, Any] = dict(
    id="t1", version=1, device="qpu", program="0" * 64, shots=10, shots_done=0, state="queued", user="u", project="",
    session="", name="", **{"class": "development"}, parameters={}, submitted_s=1.0, started_s=0.0, ended_s=0.0,
    slices=0, qpu_s=0.0, partial=False,
)  # fmt: skip
SESSION: dict[str, Any] = dict(
    id="s1", user="u", project="", device="qpu", mode="shared", **{"class": "development"}, job="", state="open",
    opened_s=1.0, expires_s=61.0, ttl_s=60.0,
)  # fmt: skip
Answer = httpx.Response | Exception


class Stub:
    """Gives the answers it was told, in order, and remembers the requests."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.answers: list[Answer | Callable[[httpx.Request], httpx.Response]] = []
        self.pauses: list[float] = []
        self.lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            self.requests.append(request)
            answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def say(self, *answers: Any) -> None:
        for answer in answers:
            self.answers.append(httpx.Response(200, json=answer) if isinstance(answer, dict | list) else answer)

    def client(self, **environ: str) -> Client:
        address = Address(url="unix:///x", base="http://qdeck")
        client = Client(address, transport=httpx.MockTransport(self), environ=environ)
        client.link.pause = self.pauses.append
        return client


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    assert not stub.answers, "the client asked less than expected"


def error(kind: errors.QuarterdeckError, **headers: str) -> httpx.Response:
    return httpx.Response(kind.status, json=kind.to_json(), headers=headers)


def met(stub: Stub, client: Client) -> Client:
    """The client, after a first answer."""
    stub.say({"items": []})
    assert client.devices() == []
    stub.requests.clear()
    return client


def test_submit_sends_what_the_wire_says_and_its_own_key(stub: Stub) -> None:
    stub.say(TASK, TASK)
    client = stub.client()
    task = client.submit("0" * 64, device="qpu", shots=10, parameters={"b": [1.5, 2], "a": 1}, name="n")
    client.submit("a text", format="opaque", device="qpu", shots=1, key="mine")
    first, second = stub.requests
    assert (first.method, first.url.path, task.id) == ("POST", "/v1/tasks", "t1")
    assert msgspec.json.decode(first.content, type=wire.TaskSubmit) == wire.TaskSubmit(
        device="qpu", program="0" * 64, shots=10, parameters={"a": 1, "b": [1.5, 2]}, name="n"
    )
    assert json.loads(second.content)["program"] == {"format": "opaque", "payload": "a text", "device": None}
    assert len(first.headers["idempotency-key"]) == 32 and second.headers["idempotency-key"] == "mine"


def test_a_submission_is_repeated_with_the_same_key_and_bytes(stub: Stub) -> None:
    client = met(stub, stub.client())
    busy = errors.StoreUnavailable("the daemon", "it is starting", 1.0)
    stub.say(httpx.ReadError("gone"), httpx.ConnectError("refused"), error(busy, **{"Retry-After": "2"}), TASK)
    assert client.submit("0" * 64, device="qpu", shots=10, parameters={"z": 1, "a": 2}).id == "t1"
    assert len({(r.headers["idempotency-key"], r.content) for r in stub.requests}) == 1
    assert len(stub.requests) == 4 and stub.pauses == [0.1, 0.2, 2.0]


def test_nobody_there_is_told_at_once_with_address_and_remedy(stub: Stub) -> None:
    stub.say(httpx.ConnectError("[Errno 111] Connection refused"))
    with pytest.raises(errors.DaemonUnreachable, match=r"unix:///x.*refused.*qdeck serve") as caught:
        stub.client().devices()
    assert caught.value.__cause__ is None and stub.pauses == []


def test_patience_ends(stub: Stub) -> None:
    client = met(stub, stub.client())
    client.link.patience_s = 0.25  # no time passes in these pauses: the first longer one is too long
    stub.say(*[httpx.ReadError("gone")] * 3)
    with pytest.raises(errors.DaemonUnreachable):
        client.devices()
    assert stub.pauses == [0.1, 0.2]


def test_a_503_without_retry_after_is_an_error_now(stub: Stub) -> None:
    stub.say(error(errors.DeviceUnavailable("device qpu", "cable pulled", 0.0)))
    with pytest.raises(errors.DeviceUnavailable, match="cable pulled"):
        stub.client().submit("x", device="qpu", shots=1)


@pytest.mark.parametrize(
    "raised",
    [errors.BadProgram("$.shots", "too many"), errors.NotFound("task", "t9"), errors.Forbidden("no")],
    ids=lambda e: type(e).__name__,
)
def test_errors_come_back_as_themselves(stub: Stub, raised: errors.QuarterdeckError) -> None:
    stub.say(error(raised))
    with pytest.raises(type(raised)) as caught:
        stub.client().task("t9")
    assert caught.value.to_json() == raised.to_json()


def test_not_our_daemon(stub: Stub) -> None:
    stub.say(httpx.Response(200, text="<html>"), httpx.Response(502, text="bad gateway"), [1])
    client = stub.client()
    for _ in range(3):
        with pytest.raises(errors.Remote):
            client.devices()


def test_wait_follows_versions(stub: Stub) -> None:
    running = TASK | {"version": 3, "state": "running", "shots_done": 5}
    stub.say(TASK, running, running, TASK | {"version": 4, "state": "done", "shots_done": 10})
    seen: list[tuple[str, int]] = []
    task = stub.client().task("t1")
    assert task.wait(progress=lambda info: seen.append((info.state, info.shots_done))).state == "done"
    assert seen == [("queued", 0), ("running", 5), ("done", 10)]
    assert [r.url.params.get("after") for r in stub.requests] == [None, "1", "3", "3"]
    assert all(float(r.url.params["wait"]) == 30 for r in stub.requests[1:])
    assert stub.requests[1].extensions["timeout"]["read"] > 30, "the call must outlast the time it is held"


def test_wait_runs_out(stub: Stub) -> None:
    stub.say(TASK)
    task = stub.client().task("t1")
    with pytest.raises(errors.NotReady, match="still queued"):
        task.wait(timeout_s=0)


def test_result_of_a_failed_task_says_why(stub: Stub) -> None:
    stub.say(TASK | {"state": "failed", "error": {"code": "fault", "message": "laser off"}})
    with pytest.raises(errors.Conflict, match="laser off"):
        stub.client().task("t1").result()


def test_tasks_go_through_the_pages(stub: Stub) -> None:
    stub.say({"items": [TASK | {"id": "t3"}, TASK | {"id": "t2"}], "next": "7"}, {"items": [TASK], "next": ""})
    assert [task.id for task in stub.client().tasks(state="queued")] == ["t3", "t2", "t1"]
    assert stub.requests[1].url.params["cursor"] == "7" and stub.requests[1].url.params["state"] == "queued"


def test_a_job_knows_its_device_and_session(stub: Stub) -> None:
    client = stub.client(QDECK_DEVICE="qpu", QDECK_SESSION="s1")
    stub.say(TASK, TASK, SESSION)
    client.submit("0" * 64, shots=1)
    client.submit("0" * 64, shots=1, device="other")
    with client.session() as session:
        assert session.id == "s1" and not session.own
    assert [json.loads(r.content)["session"] for r in stub.requests[:2]] == ["s1", ""]
    assert len(stub.requests) == 3, "a joined session is neither opened nor closed"


def test_without_a_device_nothing_is_sent(stub: Stub) -> None:
    with pytest.raises(errors.Invalid, match="qdeck devices"):
        stub.client().submit("x", shots=1)


def test_a_session_renews_itself_and_is_closed(stub: Stub) -> None:
    renewed = threading.Event()

    def renew(request: httpx.Request) -> httpx.Response:
        if len(stub.requests) >= 4:
            renewed.set()
        return httpx.Response(200, json=SESSION)

    closed = SESSION | {"state": "closed"}

    def any_order(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            return httpx.Response(200, json=closed)
        return renew(request)

    stub.say(SESSION | {"ttl_s": 0.01}, *[any_order] * 1000)
    with stub.client().session("qpu", ttl_s=0.01) as session:
        assert renewed.wait(10)
    assert session.info.state == "closed"
    assert {(r.method, r.url.path) for r in stub.requests[1:]} == {
        ("POST", "/v1/sessions/s1/renew"), ("DELETE", "/v1/sessions/s1")
    }  # fmt: skip
    stub.answers.clear()


def test_opening_a_session_is_not_repeated_once_sent(stub: Stub) -> None:
    client = met(stub, stub.client())
    stub.say(httpx.ReadError("gone"))
    with pytest.raises(errors.DaemonUnreachable):
        client.session("qpu")


def test_events_take_up_where_they_broke_off(stub: Stub) -> None:
    def stream(*seqs: int, end: Exception | None = None) -> httpx.Response:
        class Body(httpx.SyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                for seq in seqs:
                    yield b'{"seq":%d,"event":{"event":"Tick","at_s":1.0}}\n\n' % seq
                if end is not None:
                    raise end

        return httpx.Response(200, stream=Body())

    client = stub.client()
    stub.say(stream(1, 2, end=httpx.ReadError("gone")), httpx.ConnectError("refused"), stream(3, 4))
    entries = client.events(follow=True, limit=4)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4]
    assert [r.url.params["after"] for r in stub.requests] == ["0", "2", "2"]


def test_health_tells_when_not_ready(stub: Stub) -> None:
    told = {"ok": False, "role": "starting", "version": "0", "store": "sqlite", "why": "disk full"}
    stub.say(httpx.Response(503, json=told))
    assert stub.client().health().why == "disk full"


def test_where_the_daemon_is(tmp_path: Path) -> None:
    state = {"QDECK_STATE": str(tmp_path)}
    assert find(environ=state).socket == f"{tmp_path}/run/qdeck.sock"
    assert find(environ=state | {"QDECK_URL": "unix:///run/q.sock"}).socket == "/run/q.sock"
    assert find("http://10.0.0.1:1/", environ=state | {"QDECK_URL": "unix:///x"}).url == "http://10.0.0.1:1"
    (tmp_path / "token").write_text("secret-secret\n")
    assert find("http://127.0.0.1:1", environ=state).token == "secret-secret"
    assert find("http://10.0.0.1:1", environ=state).token == "", "a local token goes to no other machine"
    assert find("http://10.0.0.1:1", environ=state | {"QDECK_TOKEN": "t"}).token == "t"
    assert find("http://10.0.0.1:1", environ=state | {"QDECK_TOKEN_FILE": str(tmp_path / "token")}).token
    assert "secret" not in repr(find("http://127.0.0.1:1", environ=state))
    for wrong in ("ftp://x", "unix:relative", "127.0.0.1:8765", "http://"):
        with pytest.raises(errors.Invalid, match="QDECK_URL"):
            find(wrong, environ=state)
    with pytest.raises(errors.Invalid, match="cannot be read"):
        find("http://10.0.0.1:1", environ={**state, "QDECK_TOKEN_FILE": str(tmp_path / "none")})


def test_the_package_is_cheap_until_it_is_used() -> None:
    import subprocess
    import sys

    code = "import quarterdeck, sys; assert not {'httpx', 'msgspec'} & set(sys.modules); quarterdeck.connect"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert quarterdeck.connect("unix:///nowhere").link.address.socket == "/nowhere"


def test_parameters_may_come_from_numpy(stub: Stub) -> None:
    np = pytest.importorskip("numpy")
    client = stub.client()
    stub.say(TASK)
    client.submit("0" * 64, device="qpu", shots=10, parameters={"a": np.float64(0.5), "b": np.array([1.0, 2.0])})
    assert json.loads(stub.requests[-1].content)["parameters"] == {"a": 0.5, "b": [1.0, 2.0]}


def test_who_pays_is_said_by_the_call_else_the_session_else_the_environment(stub: Stub) -> None:
    client = stub.client(QDECK_PROJECT="atoms", QDECK_DEVICE="qpu")
    stub.say(TASK, TASK, TASK, SESSION)
    client.submit("text", shots=1)
    client.submit("text", shots=1, project="ions")
    client.submit("text", shots=1, session="s1")
    client.session(renew=False)
    assert [json.loads(request.content)["project"] for request in stub.requests] == ["atoms", "ions", "", "atoms"]


def test_what_the_budget_does_not_bear_is_an_error_with_figures(stub: Stub) -> None:
    stub.say(error(errors.OverBudget("atoms", "ada", "shots", 5, 10)))
    with pytest.raises(errors.OverBudget, match="ada in project atoms has 5 shots left") as refused:
        stub.client().submit("text", device="qpu", shots=10)
    assert (refused.value.left, refused.value.needed) == (5, 10)
