"""Worker processes: replaced when they die, warm when nobody killed them, gone with whoever started them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quarterdeck.devices.workers import WorkerDied, Workers
from quarterdeck.errors import Invalid
from quarterdeck.programs.format import summarise


def test_a_worker_that_dies_or_hangs_is_replaced() -> None:
    async def main() -> None:
        workers = Workers(1)
        try:
            with pytest.raises(WorkerDied, match="died"):
                await workers.run(os._exit, 1)
            assert await workers.run(abs, -1) == 1
            with pytest.raises(WorkerDied, match="not done"):
                await workers.run(time.sleep, 60, timeout_s=0.5)
            idle = await workers.run(os.getpid)
            os.kill(idle, signal.SIGKILL)
            await asyncio.to_thread(_wait_until_gone, idle)
            assert await workers.run(abs, -2) == 2
        finally:
            await workers.close()

    asyncio.run(main())


def test_answers_and_errors_come_back_whole() -> None:
    async def main() -> None:
        workers = Workers(2, warm=("quarterdeck.programs.pulser", "no_such_module"))
        try:
            big = "x" * 5_000_000
            assert await workers.run(str.upper, big) == big.upper()
            with pytest.raises(Invalid, match="unknown format"):
                await workers.run(summarise, "qasm9", "x")
            with pytest.raises(ValueError) as told:
                await workers.run(int, "x")
            assert "Traceback" in told.value.__notes__[0]
            with pytest.raises(TimeoutError, match="its own"):
                await workers.run(_fail_by_timeout, timeout_s=60.0)
            a, b = await asyncio.gather(workers.run(_pid_later, 0.3), workers.run(_pid_later, 0.3))
            assert a != b, "two processes, two calls at once"
        finally:
            await workers.close()
        with pytest.raises(WorkerDied, match="closed"):
            await workers.run(abs, -1)

    asyncio.run(main())


@pytest.mark.parametrize("kill", [False, True])
def test_a_cancelled_call(kill: bool) -> None:
    """Without `kill_cancelled` the process stays, and the next call waits for it; with it, there is a new one."""

    async def main() -> None:
        workers = Workers(1, kill_cancelled=kill)
        try:
            before = await workers.run(os.getpid)
            call = asyncio.create_task(workers.run(time.sleep, 60.0 if kill else 0.3))
            await asyncio.sleep(0.1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (await workers.run(os.getpid, timeout_s=10.0) == before) is not kill
            assert _alive(before) is not kill
        finally:
            await workers.close()

    asyncio.run(main())


def test_a_cancelled_call_that_hangs_is_killed_at_its_time() -> None:
    async def main() -> None:
        workers = Workers(1)
        try:
            call = asyncio.create_task(workers.run(time.sleep, 60, timeout_s=0.4))
            await asyncio.sleep(0.1)
            call.cancel()
            assert await workers.run(abs, -1, timeout_s=10.0) == 1
        finally:
            await workers.close()

    asyncio.run(main())


OWNER = """
import asyncio, sys, time
from quarterdeck.devices.workers import Workers

async def main():
    workers = Workers(2, warm=("quarterdeck.devices.emulation",))
    calls = [asyncio.create_task(workers.run(time.sleep, 60)) for _ in range(2)]
    await asyncio.sleep(0.3)
    lanes = [lane._process.pid for lane in workers._lanes]
    print(*lanes, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await workers.close()
    print(*[type(call.exception()).__name__ for call in calls], flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["kill -9", "closed"])
def test_nothing_is_left_and_nothing_is_printed(how: str) -> None:
    """Busy workers of a process that is killed, or closes them: gone, and no word on stderr."""
    owner = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert owner.stdout is not None and owner.stdin is not None
    pids = [int(word) for word in owner.stdout.readline().split()]
    assert len(set(pids)) == 2 and set(pids) == set(_children(owner.pid)), "a process that nobody knows of"
    if how == "closed":
        out, err = owner.communicate("\n", timeout=30)
        assert (out, err, owner.returncode) == ("WorkerDied WorkerDied\n", "", 0)
    else:
        owner.kill()
        out, err = owner.communicate(timeout=30)  # returns once nobody holds its stderr any more
        assert (out, err, owner.returncode) == ("", "", -signal.SIGKILL)
    for pid in pids:
        _wait_until_gone(pid)


def _fail_by_timeout() -> None:
    raise TimeoutError("its own")


def _pid_later(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def _wait_until_gone(pid: int, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while _alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
