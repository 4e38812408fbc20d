"""The benchmark measures what it says: statistics on known data, and the client against our stand-in for a QPU."""

from __future__ import annotations

import asyncio
import io
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from rich.console import Console
from typer.testing import CliRunner

from quarterdeck.bench import cli, proc
from quarterdeck.bench.goals import DRAIN, LATENCY, SUBMIT, goals
from quarterdeck.bench.load import TOKEN, Load, builder, generate
from quarterdeck.bench.mock_qpu import MockQpu, Shared
from quarterdeck.bench.peer import PROGRAM_BYTES, Trace, program
from quarterdeck.bench.report import Busy, Machine, Report, Row, compare, markdown, show
from quarterdeck.bench.stats import Latency, Spread, percentile
from quarterdeck.bench.warden import Warden
from quarterdeck.bench.wire_client import BadAnswer, read_head, request
from quarterdeck.errors import Invalid

T = TypeVar("T")


# -- statistics ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "share, value", [(0, 1), (0.01, 1), (0.011, 2), (0.5, 50), (0.501, 51), (0.99, 99), (0.991, 100), (1, 100)]
)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(share: float, value: int) -> None:
    assert percentile(range(1, 101), share) == value


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert [percentile([7.0], share) for share in (0, 0.5, 1)] == [7.0, 7.0, 7.0]


@pytest.mark.parametrize("values, share", [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_there_is_no_percentile_of_nothing_nor_beyond_all(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def test_latencies_are_sorted_and_in_milliseconds() -> None:
    assert Latency.of([0.004, 0.001, 0.003, 0.002]) == Latency(2.0, 4.0, 4.0)


def test_spread_is_median_and_extremes() -> None:
    assert Spread.of([30.0, 10.0, 20.0, 25.0]) == Spread(22.5, 10.0, 30.0, 4)
    with pytest.raises(ValueError, match="no rounds"):
        Spread.of([])


# -- report -------------------------------------------------------------------------------------------------------


def row(what: str, system: str, clients: int, transport: str = "tcp", **figures: float) -> Row:
    told = {name: Spread.of([value]) for name, value in figures.items()}
    return Row(what=what, system=system, transport=transport, clients=clients, figures=told)


ROWS = [
    row(SUBMIT["referenced"], "quarterdeck", 8, rate_hz=3000.0, p99_ms=10.0),
    row(SUBMIT["referenced"], "quarterdeck", 8, "unix", rate_hz=4000.0, p99_ms=5.0),
    row(SUBMIT["cold"], "warden", 8, rate_hz=300.0, p99_ms=400.0),
    row(SUBMIT["cold"], "warden", 32, rate_hz=300.0),
    row(LATENCY, "quarterdeck", 1, p50_ms=5.0),
    row(LATENCY, "warden", 1, p50_ms=500.0),
    row(DRAIN, "quarterdeck", 0, rate_hz=900.0),
    row(DRAIN, "warden", 0, rate_hz=100.0),
    row("submit, 1,000 queued", "quarterdeck", 8, server_cpu_ms=0.2),
    row("submit, 100,000 queued", "quarterdeck", 8, server_cpu_ms=0.3),
]


def test_a_ratio_says_how_many_times_as_good_whichever_way_the_figure_goes() -> None:
    ratios = compare(ROWS, "quarterdeck", "warden", {SUBMIT["referenced"]: SUBMIT["cold"]})
    found = {(r.what, r.clients, r.transport, r.figure): r.factor for r in ratios}
    assert found == {
        (SUBMIT["referenced"], 8, "tcp", "rate_hz"): 10.0,
        (SUBMIT["referenced"], 8, "tcp", "p99_ms"): 40.0,
        (SUBMIT["referenced"], 8, "unix", "rate_hz"): pytest.approx(40 / 3),
        (SUBMIT["referenced"], 8, "unix", "p99_ms"): 80.0,
        (LATENCY, 1, "tcp", "p50_ms"): 100.0,
        (DRAIN, 0, "tcp", "rate_hz"): 9.0,
    }


def test_goals_compare_over_tcp_and_leave_out_what_was_not_measured() -> None:
    found = {goal.name: (goal.got, goal.met) for goal in goals(ROWS, 100_000)}
    assert found == {
        "submissions/s, 8 clients, times Warden's": (10.0, True),
        f"{DRAIN}, times Warden's": (9.0, False),
        f"{LATENCY}, p50, part of Warden's": (0.01, True),
        f"{SUBMIT['referenced']}, 8 clients, p99 ms": (10.0, True),
        "submit: cost with 100,000 queued, times that with 1,000": (pytest.approx(1.5), False),
    }


def report() -> Report:
    return Report(
        title="control plane", started="2026-01-01T00:00:00+00:00", took_s=1.0, version="0", machine=Machine.here(),
        rounds=1, quick=True, rows=ROWS, ratios=compare(ROWS, "quarterdeck", "warden", {}),
        goals=goals(ROWS, 100_000), idle=[Busy("x", 0.5, 0.04)],
    )  # fmt: skip


def test_a_report_in_json_says_which_goals_are_met() -> None:
    told = json.loads(report().to_json())
    assert [goal["met"] for goal in told["goals"]] == [True, False, True, True, False]
    assert told["rows"][0]["figures"]["rate_hz"] == {"median": 3000.0, "low": 3000.0, "high": 3000.0, "rounds": 1}


def test_a_report_prints_figures_ratios_and_goals() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    show(report(), console)
    text = console.export_text()
    assert "3000" in text and "quarterdeck unix" in text and "times as good" in text
    assert "cores in use by others just before a round: 4% at most" in text


def test_a_report_in_markdown_has_whole_tables() -> None:
    lines = markdown(report()).splitlines()
    widths = [line.count("|") for line in lines if line.startswith("|")]
    header = next(line for line in lines if line.startswith("| what | clients | system |"))
    assert header == "| what | clients | system | per s | p50 ms | p99 ms | server CPU-ms | failed |"
    assert sorted(set(widths)) == [5, 8, 9] and widths.count(9) == len(ROWS) + 2
    assert f"| {DRAIN}, times Warden's | at least 10.00 | 9.00 | no |" in lines


# -- load ---------------------------------------------------------------------------------------------------------


def test_programs_differ_by_their_token_only_and_have_one_size() -> None:
    build = builder(
        Load(
            address="", clients=1, method="POST", path="/v1/tasks", headers={"Idempotency-Key": TOKEN},
            body=json.dumps({"payload": program()}),
        ),
        "abcd1234",
    )  # fmt: skip
    bodies = []
    for index in (0, 1, 99_999_999):
        token, raw = build(index)
        head, _, body = raw.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
        assert f"Idempotency-Key: {token}".encode() in head.split(b"\r\n")
        payload = json.loads(json.loads(body)["payload"])
        assert payload["bench"] == token
        bodies.append(body)
    assert len(set(bodies)) == 3
    assert len(program("x" * 20)) == PROGRAM_BYTES


def test_status_calls_go_round_their_ids() -> None:
    build = builder(Load(address="", clients=1, method="GET", path="/v1/tasks/@id@", ids=["a", "b"]), "n")
    assert [build(index)[1].split(b" ")[1] for index in range(3)] == [b"/v1/tasks/a", b"/v1/tasks/b", b"/v1/tasks/a"]


@pytest.mark.parametrize(
    "head, told",
    [
        (b"HTTP/1.1 201 Created\r\ncontent-length: 17\r\nx: y", (201, 17)),
        (b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length:0", (200, 0)),
        (b"HTTP/1.1 204 No Content", (204, 0)),
    ],
)
def test_heads_of_answers(head: bytes, told: tuple[int, int]) -> None:
    assert read_head(head) == told


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked", b"SSH-2.0-x", b"HTTP/1.1 200 OK\r\ncontent-length: x"]
)
def test_an_answer_that_cannot_be_read_is_refused(head: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_head(head)


def against_qpu(tmp_path: Path, work: Callable[[str, Shared], Awaitable[T]]) -> tuple[T, Trace]:
    """Run `work(address, qpu)` beside a stand-in for a QPU; gives its result and the stand-in's trace."""

    async def both() -> T:
        trace = os.open(tmp_path / "starts", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        shared = Shared(trace)
        server = await asyncio.get_running_loop().create_server(lambda: MockQpu(shared), "127.0.0.1", 0)
        try:
            return await work(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", shared)
        finally:
            server.close()
            await server.wait_closed()
            os.close(trace)

    return asyncio.run(both()), Trace(tmp_path / "starts")


def job(clients: int, **more: object) -> dict[str, object]:
    body = json.dumps({"nb_run": 7, "pulser_sequence": program(), "context": {"batch_id": "b"}})
    return {"clients": clients, "method": "POST", "path": "/api/v1/jobs", "body": body, **more}


def test_a_load_is_carried_out_to_its_limit_and_each_request_is_traced(tmp_path: Path) -> None:
    began_s = time.monotonic()

    async def work(address: str, qpu: Shared) -> object:
        sample = await generate(Load(address=address, **job(4, limit=50, ahead=20, keep=True)))  # type: ignore[arg-type]
        assert (sample.ok, sample.failed, len(qpu.jobs)) == (50, 0, 50)
        assert (
            sample.latency is not None and 0 < sample.latency.p50_ms <= sample.latency.p99_ms <= sample.latency.max_ms
        )
        assert sample.rate_hz == pytest.approx(50 / sample.elapsed_s)
        return sample.sent

    sent, trace = against_qpu(tmp_path, work)
    assert trace.count() == trace.count() == 50
    starts = dict(trace.times())
    for one in sent:  # type: ignore[attr-defined]
        assert began_s < one.sent_s <= starts[one.token] <= one.answered_s


def test_a_load_ends_when_its_time_is_over(tmp_path: Path) -> None:
    async def work(address: str, qpu: Shared) -> float:
        sample = await generate(Load(address=address, **job(2, seconds=0.1)))  # type: ignore[arg-type]
        assert sample.ok == len(qpu.jobs) > 2
        return sample.elapsed_s

    assert against_qpu(tmp_path, work)[0] < 5


def test_refusals_are_counted_and_told(tmp_path: Path) -> None:
    async def work(address: str, qpu: Shared) -> None:
        sample = await generate(Load(address=address, clients=2, method="GET", path="/nowhere", limit=10))
        assert (sample.ok, sample.failed, sample.latency) == (0, 10, None)
        assert sample.failure.startswith("404 ")

    against_qpu(tmp_path, work)


def test_a_server_that_hangs_up_breaks_the_load() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with server:
            with pytest.raises(BadAnswer, match="hung up"):
                address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
                await generate(Load(address=address, clients=1, method="GET", path="/"))

    asyncio.run(work())


def test_the_stand_in_speaks_the_protocol_of_the_qpu(tmp_path: Path) -> None:
    qpu = Shared(os.open(tmp_path / "starts", os.O_WRONLY | os.O_CREAT))
    status, data = qpu.answer("POST", "/api/v1/jobs", b'{"nb_run": 5, "pulser_sequence": "{}"}', 1.0)
    os.close(qpu.trace)
    assert (status, data["uid"], data["status"], json.loads(data["result"])) == (200, 0, "DONE", {"counter": {"0": 5}})
    assert qpu.answer("GET", "/api/v1/jobs/0", b"", 1.0) == (200, data)
    assert qpu.answer("GET", "/api/v1/jobs/1", b"", 1.0)[0] == 404
    assert qpu.answer("GET", "/api/v1/system/operational", b"", 1.0)[1] == {"operational_status": "UP"}
    assert qpu.answer("PUT", "/bench/down", b"", 1.0)[0] == 200
    assert qpu.answer("GET", "/api/v1/system/operational", b"", 1.0)[1] == {"operational_status": "DOWN"}


# -- the machine --------------------------------------------------------------------------------------------------


def test_own_memory_time_family_and_port_are_seen() -> None:
    me = os.getpid()
    assert proc.rss_kib([me]) > 5_000
    before_s, busy_s = proc.cpu_s([me]), proc.busy_s()
    end_s = time.process_time() + 0.05
    while time.process_time() < end_s:
        pass
    assert proc.cpu_s([me]) - before_s >= 0.02
    assert proc.busy_s() >= busy_s
    assert me in proc.family(os.getppid())

    async def port() -> int | None:
        async with await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0) as server:
            return proc.listener(server.sockets[0].getsockname()[1])

    assert asyncio.run(port()) == me


def test_a_process_that_is_gone_uses_nothing() -> None:
    gone = 2**22 + 1  # beyond the largest process number of Linux
    assert (proc.rss_kib([gone]), proc.cpu_s([gone]), proc.family(gone)) == (0, 0.0, [gone])


# -- the command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://192.0.2.1:8006", "https://127.0.0.1:8006", "http://127.0.0.1", "nonsense"])
def test_only_a_neighbour_on_the_same_machine_is_measured(url: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="one machine"):
        Warden(url, 8005, tmp_path)


def test_an_unknown_part_is_refused() -> None:
    told = CliRunner().invoke(cli.app, ["control-plane", "--only", "everything"])
    assert told.exit_code == 2


def test_requests_are_whole() -> None:
    assert request("PUT", "/x", {"A": "b"}) == b"PUT /x HTTP/1.1\r\nHost: localhost\r\nA: b\r\n\r\n"
    assert request("POST", "/x", {}, b"{}").endswith(b"Content-Length: 2\r\n\r\n{}")
