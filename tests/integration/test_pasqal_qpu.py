"""The Pasqal QPU driver against the scripted double: every fault of the real ones' table."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from quarterdeck.bench.qpu_process import QpuProcess
from quarterdeck.devices.driver import Outcome, Slice, Trace
from quarterdeck.devices.pasqal_qpu import Lost, PasqalQpu
from quarterdeck.errors import BadProgram, DeviceUnavailable, Invalid
from quarterdeck.programs.program import Program

from .running import Daemon
from .test_warden import AFM

PROGRAM = Program.of("pulser", AFM)


@pytest.fixture
def qpu() -> Iterator[QpuProcess]:
    with QpuProcess() as double:
        yield double


def driven(
    qpu: QpuProcess, state: Path, use: Callable[[PasqalQpu], Awaitable[None]], checked: bool = False, **settings: Any
) -> None:
    """Use a driver of the double's. Programs are sent as they are: loading Pulser takes longer than all else here."""

    async def sent_as_it_is(given: Program, parameters: dict[str, Any], shots: int) -> str:
        return given.payload

    async def main() -> None:
        driver = PasqalQpu("qpu", qpu.uri, state, poll_s=0.02, longest_poll_s=0.1, settle_s=1.5, **settings)
        driver._checkers.warm_up = lambda: None  # type: ignore[method-assign]
        if not checked:
            driver._bind = sent_as_it_is  # type: ignore[method-assign]
        try:
            await driver.target()
            await use(driver)
        finally:
            await driver.close()

    asyncio.run(main())


def batch(number: int, key: str = "") -> Slice:
    return Slice(key=key or f"t1/{number}", program=PROGRAM, shots=20, batch="job-7")


async def start_or_find(driver: PasqalQpu, slice: Slice, trace: Trace = Trace()) -> str | None:  # noqa: B008  # frozen
    """As the loop does it: what may have been accepted is looked up."""
    try:
        return await driver.start(slice)
    except (BadProgram, DeviceUnavailable):
        raise
    except Exception:
        return await driver.lookup(slice.key, trace)


def test_a_slice_is_a_job_with_its_batch_and_its_own_id(qpu: QpuProcess, tmp_path: Path) -> None:
    async def use(driver: PasqalQpu) -> None:
        handle = await driver.start(batch(0))
        assert await driver.start(batch(0)) == handle
        outcome = await driver.wait(handle)
        assert sum(outcome.counts.values()) == 20 and outcome.qpu_s == pytest.approx(0.05)
        assert await driver.lookup("t1/0") == handle
        await driver.wait(await driver.start(batch(1)))
        first, second = qpu.log("create")
        assert first["batch_id"] == second["batch_id"] == "job-7"
        assert first["pasqman_job_id"] != second["pasqman_job_id"]
        assert first["uid"] == 0, "0 is a uid like others"

    driven(qpu, tmp_path, use)


@pytest.mark.parametrize(
    "fault",
    [{"post_slow_next": 1, "post_slow_s": 1.0}, {"post_drop_next": 1}, {"post_no_data_next": 1}, {"cut_next": 1}],
    ids=lambda fault: next(iter(fault)),
)
def test_an_accepted_job_whose_answer_is_lost_is_found(
    qpu: QpuProcess, tmp_path: Path, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.devices.pasqal_api.POST_S", 0.4)

    async def use(driver: PasqalQpu) -> None:
        for number in range(3):
            qpu.script(**fault)
            handle = await start_or_find(driver, batch(number))
            assert handle is not None
            assert sum((await driver.wait(handle)).counts.values()) == 20
        assert len(qpu.log("create")) == 3, "one program for each slice"

    driven(qpu, tmp_path, use)


def test_a_job_that_is_executed_late_is_waited_for(
    qpu: QpuProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.devices.pasqal_api.POST_S", 0.3)

    async def use(driver: PasqalQpu) -> None:
        qpu.script(post_late_next=1, post_late_s=1.0)
        handle = await start_or_find(driver, batch(0))
        assert handle is not None
        assert len(qpu.log("create")) == 1

    driven(qpu, tmp_path, use)


@pytest.mark.parametrize(
    "fault", [{"post_html_next": 1}, {"post_status_next": 1, "post_status": 500}], ids=["html", "500"]
)
def test_a_job_that_was_not_accepted_is_known_not_to_be_there(
    qpu: QpuProcess, tmp_path: Path, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.devices.pasqal_qpu.ANSWERED_S", 0.2)

    async def use(driver: PasqalQpu) -> None:
        await driver.wait(await driver.start(batch(0)))
        qpu.script(**fault)
        assert await start_or_find(driver, batch(1)) is None
        assert len(qpu.log("create")) == 1

    driven(qpu, tmp_path, use)


@pytest.mark.parametrize("status", [429, 503])
def test_not_now_is_no_fault(qpu: QpuProcess, tmp_path: Path, status: int) -> None:
    async def use(driver: PasqalQpu) -> None:
        qpu.script(post_status=status, post_status_next=1)
        with pytest.raises(DeviceUnavailable, match=str(status)):
            await driver.start(batch(0))
        await driver.wait(await driver.start(batch(0)))
        assert len(qpu.log("create")) == 1

    driven(qpu, tmp_path, use)


def test_an_unreachable_qpu_is_no_fault(qpu: QpuProcess, tmp_path: Path) -> None:
    async def use(driver: PasqalQpu) -> None:
        handle = await driver.start(batch(0))
        qpu.stop()
        for call in (driver.start(batch(1)), driver.wait(handle), driver.lookup("never/0")):
            with pytest.raises(DeviceUnavailable, match="cannot be reached"):
                await call
        status = await driver.status()
        assert not status.online and "cannot be reached" in status.reason
        qpu.start()
        assert (await driver.status()).online
        with pytest.raises(Lost, match="does not know"):
            await driver.wait(handle)

    driven(qpu, tmp_path, use)


@pytest.mark.parametrize("fault", ["get_status_next", "get_html_next", "get_no_data_next", "word_next", "cut_next"])
def test_an_answer_that_is_none_holds_the_slice(qpu: QpuProcess, tmp_path: Path, fault: str) -> None:
    async def use(driver: PasqalQpu) -> None:
        handle = await driver.start(batch(0))
        qpu.script(**{fault: 1})
        with pytest.raises(DeviceUnavailable):
            await driver.wait(handle)
        assert sum((await driver.wait(handle)).counts.values()) == 20

    driven(qpu, tmp_path, use)


@pytest.mark.parametrize("unknown", [404, 400])
def test_after_a_restart_a_job_is_found_by_its_handle_unless_uids_began_anew(
    qpu: QpuProcess, tmp_path: Path, unknown: int
) -> None:
    handles: list[str] = []
    qpu.script(unknown=unknown)

    async def first(driver: PasqalQpu) -> None:
        handles.append(await driver.start(batch(0)))

    async def second(driver: PasqalQpu) -> None:
        assert await driver.lookup("t1/0", Trace(handles[0])) == handles[0]
        assert sum((await driver.wait(handles[0])).counts.values()) == 20
        qpu.script(forget=True)
        assert await driver.lookup("t1/1", Trace(f"{5} x")) is None
        other = await driver.start(batch(0, key="other/0"))
        assert other.startswith("0 ")
        driver._outcomes.clear()
        with pytest.raises(Lost, match="another one"):
            await driver.wait(handles[0])

    driven(qpu, tmp_path, first)
    driven(qpu, tmp_path, second)
    assert len(qpu.log("create")) == 2


@pytest.mark.parametrize("before", [0, 1, 5, 40])
@pytest.mark.parametrize("traced", [True, False])
def test_after_a_crash_during_its_start_a_job_is_found_without_a_handle(
    qpu: QpuProcess, tmp_path: Path, before: int, traced: bool
) -> None:
    last = [""]

    async def first(driver: PasqalQpu) -> None:
        for number in range(before):
            last[0] = await driver.start(batch(0, key=f"before/{number}"))
        await driver.start(batch(0))

    async def second(driver: PasqalQpu) -> None:
        handle = await driver.lookup("t1/0", Trace(after=last[0] if traced else ""))
        assert handle is not None and handle.startswith(f"{before} ")
        assert await driver.lookup("t1/1", Trace(after=last[0] if traced else "")) is None

    driven(qpu, tmp_path, first)
    driven(qpu, tmp_path, second)


def test_cancelling(qpu: QpuProcess, tmp_path: Path) -> None:
    qpu.script(run_s=30.0)

    async def use(driver: PasqalQpu) -> None:
        handle = await driver.start(batch(0))
        await driver.cancel(handle)
        assert await driver.wait(handle) == Outcome({}, pytest.approx(30.0))
        qpu.script(run_s=0.3, cancel="3003")
        late = await driver.start(batch(1))
        await driver.cancel(late)
        assert sum((await driver.wait(late)).counts.values()) == 20, "too late: what became of it counts"
        qpu.script(cancel="500", run_s=0.3)
        broken = await driver.start(batch(2))
        with pytest.raises(DeviceUnavailable):
            await driver.cancel(broken)
        assert sum((await driver.wait(broken)).counts.values()) == 20, "not confirmed: it goes on"

    driven(qpu, tmp_path, use)


def test_a_foreign_submitter_is_noticed(qpu: QpuProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    qpu.script(run_s=0.5)

    async def use(driver: PasqalQpu) -> None:
        handle = await driver.start(batch(0))
        await driver._api.post(1, AFM, "somebody-else", "x")
        with pytest.raises(Lost, match="only submitter"):
            await driver.wait(handle)
        assert "another submitter" in caplog.text

    driven(qpu, tmp_path, use)


def test_what_the_qpu_says_of_a_bad_run(qpu: QpuProcess, tmp_path: Path) -> None:
    async def use(driver: PasqalQpu) -> None:
        qpu.script(error_next=1)
        with pytest.raises(RuntimeError, match="ERROR"):
            await driver.wait(await driver.start(batch(0)))
        qpu.script(python=True)
        with pytest.raises(ValueError, match="no counter"):
            await driver.wait(await driver.start(batch(1)))
        with pytest.raises(BadProgram, match="at most"):
            await driver.start(Slice(key="t/2", program=PROGRAM, shots=1_000_000))
        with pytest.raises(BadProgram, match="refuses the job"):
            driver._spec = driver._spec.replace('"max_runs":10000', '"max_runs":99999').replace(
                '"max_runs": 10000', '"max_runs": 99999'
            )
            await driver.start(Slice(key="t/3", program=PROGRAM, shots=20_000))

    driven(qpu, tmp_path, use, checked=True)


def test_it_starts_while_the_qpu_is_away_if_it_was_seen_before(qpu: QpuProcess, tmp_path: Path) -> None:
    async def use(driver: PasqalQpu) -> None:
        assert json.loads((await driver.target()).spec)["name"] == "DOUBLE-QPU"

    driven(qpu, tmp_path / "seen", use)
    qpu.stop()
    driven(qpu, tmp_path / "seen", use)
    given = tmp_path / "device.json"
    given.write_text((tmp_path / "seen" / "spec.json").read_text())
    driven(qpu, tmp_path / "given", use, spec=str(given))
    with pytest.raises(Invalid, match="never seen"):
        driven(qpu, tmp_path / "new", use)
    qpu.start()


# -- the whole daemon -------------------------------------------------------------------------------------------------


def served(qpu: QpuProcess, directory: Path, answer_s: float = 60.0, **settings: Any) -> Daemon:
    device = {"driver": "pasqal-qpu", "uri": qpu.uri, "emulated": True, "poll_s": 0.02, "longest_poll_s": 0.1,
              "settle_s": 2.0, "shot_rate_hz": 1000.0, "setup_s": 0.1, "slice_shots": 50, **settings}  # fmt: skip
    return Daemon(directory, "", {"qpu": device}, grace_s=5.0, answer_s=answer_s)


def finished(daemon: Daemon, tasks: list[str], shots: int = 100) -> None:
    for task in tasks:
        told = daemon.ended(task, 60.0)
        assert (told["state"], told["shots_done"]) == ("done", shots), told
        result = daemon.http.get(f"/v1/tasks/{task}/result").json()
        assert sum(result["counts"].values()) == shots and result["emulated"] is True


def submitted(daemon: Daemon, number: int = 1, shots: int = 100) -> list[str]:
    program = daemon.upload(AFM, "pulser")
    return [daemon.submit(program, shots, "qpu").json()["id"] for _ in range(number)]


def programs(qpu: QpuProcess) -> Counter[str]:
    """How many programs the QPU got for each slice."""
    return Counter(entry["pasqman_job_id"] for entry in qpu.log("create"))


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_a_restart_of_the_daemon_runs_nothing_twice(qpu: QpuProcess, tmp_path: Path, way: str) -> None:
    qpu.script(run_s=0.7)
    with served(qpu, tmp_path) as daemon:
        tasks = submitted(daemon, 2)
        for _ in range(3):
            running = len(qpu.log("create"))
            while len(qpu.log("create")) == running:
                pass
            if way == "kill":
                daemon.kill()
            else:
                assert daemon.stop() == 0
            daemon.start()
        finished(daemon, tasks)
    assert sorted(programs(qpu).values()) == [1, 1, 1, 1], "two slices each, one program each"
    assert not qpu.log("cancel")


def test_a_crash_before_the_handle_was_written_down(qpu: QpuProcess, tmp_path: Path) -> None:
    """The QPU has the job, and answers late: the daemon is killed while it waits for the answer."""
    qpu.script(run_s=0.3, post_slow_next=1, post_slow_s=20.0)
    with served(qpu, tmp_path) as daemon:
        tasks = submitted(daemon, 1, 50)
        while not qpu.log("create"):
            pass
        daemon.kill()
        daemon.start()
        finished(daemon, tasks, 50)
        assert not any(event["event"] == "SliceFailed" for event in daemon.events())
    assert list(programs(qpu).values()) == [1]


def test_a_qpu_that_forgets_a_job_gets_it_again(qpu: QpuProcess, tmp_path: Path) -> None:
    qpu.script(run_s=0.5)
    with served(qpu, tmp_path) as daemon:
        tasks = submitted(daemon, 2, 50)
        while not qpu.log("create"):
            pass
        qpu.script(forget=True)
        finished(daemon, tasks, 50)
    assert len(programs(qpu)) == 3 and set(programs(qpu).values()) == {1}, "another slice, not the same one twice"


@pytest.mark.parametrize("way", ["refuse", "down", "restart"])
def test_an_outage_loses_and_burns_nothing(qpu: QpuProcess, tmp_path: Path, way: str) -> None:
    qpu.script(run_s=0.2)
    with served(qpu, tmp_path) as daemon:
        finished(daemon, submitted(daemon))
        if way == "refuse":
            qpu.script(refuse_s=2.0)
        elif way == "down":
            qpu.script(operational="DOWN")
        else:
            qpu.stop()
        tasks = submitted(daemon, 4)
        deadline = 200
        while daemon.http.get("/v1/devices/qpu").json()["status"] != "offline" and deadline:
            deadline -= 1
        why = daemon.http.get(f"/v1/tasks/{tasks[-1]}/why").json()
        assert why["reason"] in ("device_offline", "queue"), why
        if way == "down":
            assert "down" in daemon.http.get("/v1/devices/qpu").json()["reason"].lower()
            qpu.script(operational="UP")
        elif way == "restart":
            qpu.start()
            qpu.script(run_s=0.2)
        finished(daemon, tasks)
        assert not any(event["event"] in ("TaskFailed", "TaskPaused") for event in daemon.events())
    assert set(programs(qpu).values()) == {1}


def test_a_slow_qpu_gets_each_job_once(qpu: QpuProcess, tmp_path: Path) -> None:
    qpu.script(post_slow_next=3, post_slow_s=1.5)
    with served(qpu, tmp_path) as daemon:
        finished(daemon, submitted(daemon, 1, 150), 150)
    assert list(programs(qpu).values()) == [1, 1, 1]


@pytest.mark.parametrize("late", ["post_slow", "post_late"])
def test_a_qpu_slower_than_the_loops_patience_gets_each_job_once(qpu: QpuProcess, tmp_path: Path, late: str) -> None:
    """Accepted and answered too late, or even accepted too late; each look-up may take longer than patience, too."""
    with served(qpu, tmp_path, answer_s=1.0) as daemon:
        finished(daemon, submitted(daemon, 1, 50), 50)  # its worker has loaded Pulser
        qpu.script(**{f"{late}_next": 2, f"{late}_s": 2.5})
        finished(daemon, submitted(daemon, 1, 100))
        assert not any(event["event"] == "SliceFailed" for event in daemon.events())
    assert list(programs(qpu).values()) == [1, 1, 1] and not qpu.log("cancel")


@pytest.mark.parametrize("way", ["away", "silent"])
def test_it_stops_at_once_while_the_qpu_does_not_answer(qpu: QpuProcess, tmp_path: Path, way: str) -> None:
    qpu.script(run_s=30.0)
    with served(qpu, tmp_path) as daemon:
        if way == "silent":
            qpu.script(post_slow_next=1, post_slow_s=30.0)
        submitted(daemon, 2)
        while not qpu.log("create"):
            pass
        if way == "away":
            qpu.stop()
            while daemon.http.get("/v1/devices/qpu").json()["status"] != "offline":
                pass
        began_s = monotonic()
        assert daemon.stop() == 0
        assert monotonic() - began_s < 1.0
    if way == "away":
        qpu.start()


@pytest.mark.parametrize("fault", [{"post_html_next": 2}, {"post_status_next": 2, "post_status": 502}, {"cut_next": 3}],
                         ids=["html", "502", "cut"])  # fmt: skip
def test_garbage_is_survived(qpu: QpuProcess, tmp_path: Path, fault: dict[str, Any]) -> None:
    with served(qpu, tmp_path) as daemon:
        finished(daemon, submitted(daemon, 1, 50), 50)
        qpu.script(**fault)
        finished(daemon, submitted(daemon, 2, 50), 50)
    assert set(programs(qpu).values()) == {1}


def test_a_task_is_cancelled_on_the_qpu(qpu: QpuProcess, tmp_path: Path) -> None:
    qpu.script(run_s=30.0)
    with served(qpu, tmp_path) as daemon:
        (task,) = submitted(daemon)
        while not qpu.log("create"):
            pass
        daemon.http.post(f"/v1/tasks/{task}/cancel")
        assert daemon.ended(task)["state"] == "cancelled"
    assert [entry["why"] for entry in qpu.log("cancel")] == ["on request"]
