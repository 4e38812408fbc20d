"""Processes for work that would block the event loop: emulation, and parsing with libraries that take seconds."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class WorkerDied(Exception):
    """The process that did the work is gone (killed, out of memory, or over its time). The next call gets a new one."""


class Workers:
    """A fixed number of worker processes, each with a queue of one, so that one can be killed without the others.

    Workers die with the thread that started them, be it by kill -9: use one event loop, in a thread that stays.

    Args:
        processes: How many calls run at once; more wait in line.
        warm: Modules that each worker imports before its first call; what is not installed is left out.
    """

    def __init__(self, processes: int = 1, warm: tuple[str, ...] = ()) -> None:
        self._free = asyncio.Semaphore(processes)
        self._lanes = [_Lane(warm) for _ in range(processes)]
        self._idle = list(self._lanes)
        self._closed = False

    def warm_up(self) -> None:
        """Start the processes and their imports now, in the background."""
        for lane in self._lanes:
            lane.begin()

    async def run(self, function: Callable[..., T], *args: Any, timeout_s: float | None = None) -> T:
        """Call a module-level function in a worker. The time counts from the moment that a worker is free.

        Raises what the function raises; `WorkerDied` if its process died or was killed for taking longer.
        """
        async with self._free:
            if self._closed:
                raise WorkerDied("the workers are closed")
            lane = self._idle.pop()
            try:
                return await lane.run(function, args, timeout_s)
            finally:
                self._idle.append(lane)

    async def close(self) -> None:
        """Kill the processes and wait until they are gone. Calls that still run raise `WorkerDied`."""
        self._closed = True
        await asyncio.gather(*(asyncio.to_thread(lane.end) for lane in self._lanes))


class _Lane:
    def __init__(self, warm: tuple[str, ...]) -> None:
        self._warm = warm
        self._executor: ProcessPoolExecutor | None = None

    def begin(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), initializer=_settle, initargs=(os.getpid(), self._warm)
            )
            self._executor.submit(_nothing)
        return self._executor

    async def run(self, function: Callable[..., T], args: tuple[Any, ...], timeout_s: float | None) -> T:
        future = self._submit(function, args)
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                return await asyncio.wrap_future(future)
        except BrokenProcessPool as error:
            self._drop()
            raise WorkerDied("the worker process died") from error
        except TimeoutError as error:
            if not limit.expired():
                raise
            self._drop()
            raise WorkerDied(f"not done after {timeout_s:.0f} s") from error
        except asyncio.CancelledError:
            self._drop()  # nobody waits for it any more
            raise

    def _submit(self, function: Callable[..., T], args: tuple[Any, ...]) -> Future[T]:
        try:
            return self.begin().submit(function, *args)
        except BrokenProcessPool:  # died while idle
            self._drop()
            return self.begin().submit(function, *args)

    def _drop(self) -> ProcessPoolExecutor | None:
        executor, self._executor = self._executor, None
        if executor is not None:
            for process in list((executor._processes or {}).values()):
                process.kill()
            executor.shutdown(wait=False)
        return executor

    def end(self) -> None:
        executor = self._drop()
        if executor is not None:
            executor.shutdown(wait=True)


def _nothing() -> None:
    """What a worker does to get started."""


def _settle(parent: int, warm: tuple[str, ...]) -> None:
    """First thing in a worker: die with the parent, leave Ctrl-C to it, one thread each, import what will be needed."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before the line above
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    for module in warm:
        try:
            import_module(module)
        except ImportError:
            pass
