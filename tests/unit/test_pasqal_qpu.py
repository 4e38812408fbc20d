"""What the Pasqal QPU driver makes of each answer, without a socket: the double answers in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from quarterdeck.bench.qpu_double import Double
from quarterdeck.devices.driver import Slice, Trace
from quarterdeck.devices.pasqal_api import Unanswered
from quarterdeck.devices.pasqal_qpu import Lost, PasqalQpu, _id
from quarterdeck.devices.registry import make
from quarterdeck.errors import BadProgram, DeviceUnavailable, Invalid
from quarterdeck.programs.program import Program

PROGRAM = Program.of("pulser", '{"register": [{}, {}, {}]}')


class Wire(httpx.AsyncBaseTransport):
    """From the driver's client to the double. `instead` answers in the double's place, once."""

    def __init__(self, double: Double) -> None:
        self.double, self.instead, self.seen = double, dict[str, httpx.Response](), list[str]()
        self.looked = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request.method)
        if "/jobs/" in request.url.path:
            self.looked.set()
        if (answer := self.instead.pop(request.method, None)) is not None:
            return answer
        try:
            status, told = await self.double.answer(request.method, request.url.path, await request.aread())
        except ConnectionAbortedError:
            raise httpx.ReadError("closed") from None
        return httpx.Response(status, content=told) if isinstance(told, bytes) else httpx.Response(status, json=told)


def driven(
    state: Path, use: Callable[[PasqalQpu, Wire], Awaitable[None]], double: Double | None = None, **settings: Any
) -> None:
    async def sent_as_it_is(given: Program, parameters: dict[str, Any], shots: int) -> str:
        return given.payload

    async def main() -> None:
        driver = PasqalQpu("qpu", "http://qpu", state, **{"poll_s": 0.001, "settle_s": 0.05} | settings)
        wire = Wire(double or Double())
        await driver._api._http.aclose()
        driver._api._http = httpx.AsyncClient(transport=wire)
        driver._checkers.warm_up = lambda: None  # type: ignore[method-assign]
        driver._bind = sent_as_it_is  # type: ignore[method-assign]
        try:
            await driver.target()
            await use(driver, wire)
        finally:
            await driver.close()

    asyncio.run(main())


def slice(key: str, shots: int = 20, batch: str = "job-7") -> Slice:
    return Slice(key=key, program=PROGRAM, shots=shots, batch=batch)


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (httpx.Response(400, json={"status": "fail", "code": "ABCD1", "data": {"description": "no"}}), BadProgram),
        (httpx.Response(422, json={"detail": [{"msg": "no"}]}), BadProgram),
        (httpx.Response(429, text="slow down"), DeviceUnavailable),
        (httpx.Response(503, json={"code": 503}), DeviceUnavailable),
        (httpx.Response(404, text="<html>a gateway's</html>"), Unanswered),
        (httpx.Response(408, json={"code": 408}), Unanswered),
        (httpx.Response(500, json={"code": 500}), Unanswered),
        (httpx.Response(504, text="<html>a gateway's</html>"), Unanswered),
        (httpx.Response(302, headers={"location": "http://elsewhere"}), Unanswered),
        (httpx.Response(200, content=b"\xff\xfe"), Unanswered),
        (httpx.Response(200, json=[]), Unanswered),
        (httpx.Response(200, json={"data": {"uid": "x"}}), Unanswered),
    ],
)
def test_what_an_answer_to_a_post_means(tmp_path: Path, answer: httpx.Response, raised: type[Exception]) -> None:
    """And nothing is ever posted twice by itself."""

    async def use(driver: PasqalQpu, wire: Wire) -> None:
        wire.instead["POST"] = answer
        with pytest.raises(raised):
            await driver.start(slice("t/0"))
        assert wire.seen.count("POST") == 1

    driven(tmp_path, use)


@pytest.mark.parametrize(("status", "late"), [(500, False), (408, True), (502, True), (504, True)])
def test_a_gateway_that_gave_up_waiting_is_waited_for_longer(
    tmp_path: Path, status: int, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.devices.pasqal_qpu.ANSWERED_S", 0.0)

    async def use(driver: PasqalQpu, wire: Wire) -> None:
        wire.instead["POST"] = httpx.Response(status, text="<html>")
        with pytest.raises(Unanswered):
            await driver.start(slice("t/0"))
        found = asyncio.create_task(driver.lookup("t/0"))
        await wire.looked.wait()
        await driver._api.post(20, PROGRAM.payload, _id("t/0"), "job-7")  # it is carried out now
        assert (await found is not None) == late

    driven(tmp_path, use, settle_s=0.5, longest_poll_s=0.02)


def test_patience_that_ends_in_mid_post_leaves_the_whole_time_to_settle(tmp_path: Path) -> None:
    double = Double()
    double.script.post_late_next, double.script.post_late_s = 1, 30.0

    async def use(driver: PasqalQpu, wire: Wire) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):  # longer than settle_s
                await driver.start(slice("t/0"))
        found = asyncio.create_task(driver.lookup("t/0"))
        await wire.looked.wait()
        await driver._api.post(20, PROGRAM.payload, _id("t/0"), "job-7")
        assert await found is not None

    driven(tmp_path, use, double, settle_s=0.2, longest_poll_s=0.02)


def test_a_gateways_404_is_not_the_qpus(tmp_path: Path) -> None:
    async def use(driver: PasqalQpu, wire: Wire) -> None:
        handle = await driver.start(slice("t/0"))
        wire.double.script.get_missing_next = 1
        with pytest.raises(DeviceUnavailable, match="404"):
            await driver.wait(handle)
        wire.double.script.get_missing_next = 1
        with pytest.raises(DeviceUnavailable, match="404"):
            await driver.lookup("never")
        wire.instead["PUT"] = httpx.Response(400, text="<html>")
        await driver.cancel(handle)
        assert wire.seen.count("PUT") == 2, "asked again"

    driven(tmp_path, use)


def test_a_job_that_is_missing_for_a_moment_is_not_lost(tmp_path: Path) -> None:
    async def use(driver: PasqalQpu, wire: Wire) -> None:
        handle = await driver.start(slice("t/0"))
        wire.instead["GET"] = httpx.Response(404, json={"code": 404})
        assert sum((await driver.wait(handle)).counts.values()) == 20
        wire.double.forget()
        driver._outcomes.clear()
        with pytest.raises(Lost, match="does not know"):
            await driver.wait(handle)

    driven(tmp_path, use)


@pytest.mark.parametrize("skip", [0, 1, 3])
@pytest.mark.parametrize("keep", [1, 1000])
@pytest.mark.parametrize("no_context", [False, True])
def test_a_job_is_found_after_a_crash(tmp_path: Path, skip: int, keep: int, no_context: bool) -> None:
    """With uids that are left out, with old jobs no longer shown, and by its looks where no name is shown."""
    double, last = Double(), [""]

    async def first(driver: PasqalQpu, wire: Wire) -> None:
        wire.double.script.skip_uids, wire.double.script.no_context = skip, no_context
        for number in range(20):
            last[0] = await driver.start(slice(f"before/{number}"))
        await driver.start(slice("t/0"))
        wire.double.script.keep = keep

    async def second(driver: PasqalQpu, wire: Wire) -> None:
        found = await driver.lookup("t/0", Trace(after=last[0]))
        assert found is not None and found.startswith(f"{20 + 21 * skip} ")
        assert await driver.lookup("t/1", Trace(after=last[0])) is None

    driven(tmp_path, first, double)
    driven(tmp_path, second, double)


def test_cancelling_never_meets_another_job(tmp_path: Path) -> None:
    async def use(driver: PasqalQpu, wire: Wire) -> None:
        wire.double.script.run_s = 30.0
        handle = await driver.start(slice("t/0"))
        wire.double.forget()
        await driver.start(slice("t/1"))
        await driver.cancel(handle)
        assert "PUT" not in wire.seen

    driven(tmp_path, use)


@pytest.mark.parametrize("result", [None, "", "{'counter': {}}", '{"counts": {}}', "[]", {"counter": {}}, 7])
def test_a_result_that_is_none_is_a_fault(tmp_path: Path, result: Any) -> None:
    async def use(driver: PasqalQpu, wire: Wire) -> None:
        handle = await driver.start(slice("t/0"))
        uid, _, created = handle.partition(" ")
        told = {"uid": int(uid), "status": "DONE", "result": result, "created_datetime": created}
        wire.instead["GET"] = httpx.Response(200, json={"data": told})
        with pytest.raises(ValueError, match="no counter"):
            await driver.wait(handle)

    driven(tmp_path, use)


@pytest.mark.parametrize("settings", [{"uri": "qpu:80"}, {"poll_s": 0.0}, {"settle_s": -1.0}, {"shot_rate_hz": 0.0}])
def test_bad_settings(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=next(iter(settings))):
        make("qpu", "pasqal-qpu", {"uri": "http://qpu"} | settings, tmp_path)
