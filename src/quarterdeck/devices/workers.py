"""Processes for work that would block the event loop: emulation, and parsing with libraries that take seconds.

Not `multiprocessing`: its resource tracker outlives a parent that is killed and complains about semaphores. A worker
here is a plain child with a socket; nothing else is shared.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from quarterdeck.devices.worker import HEAD

T = TypeVar("T")
_ONE_THREAD = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
_CODE = (
    "import json, sys; path, descriptor, parent, warm = map(json.loads, sys.argv[1:]); sys.path[:] = path; "
    "from quarterdeck.devices.worker import main; main(descriptor, parent, warm)"
)


class WorkerDied(Exception):
    """The process that did the work is gone (killed, out of memory, or over its time). The next call gets a new one."""


class Workers:
    """A fixed number of worker processes, each with one call at a time, so that one can be killed without the others.

    Workers die with the thread that started them, be it by kill -9: use one event loop, in a thread that stays.

    Args:
        processes: How many calls run at once; more wait in line.
        warm: Modules that each worker imports before its first call; what is not installed is left out.
        kill_cancelled: What becomes of a call whose caller is cancelled: True kills its process, False lets it finish
            in the background, up to its time, so that the process stays warm.
    """

    def __init__(self, processes: int = 1, warm: tuple[str, ...] = (), kill_cancelled: bool = False) -> None:
        self._free = asyncio.Semaphore(processes)
        self._lanes = [_Lane(warm) for _ in range(processes)]
        self._idle = list(self._lanes)
        self._kill_cancelled = kill_cancelled
        self._calls: set[asyncio.Task[Any]] = set()
        self._closed = False

    def warm_up(self) -> None:
        """Start the processes and their imports now, in the background."""
        for lane in self._lanes:
            lane.begin()

    async def run(self, function: Callable[..., T], *args: Any, timeout_s: float | None = None) -> T:
        """Call a module-level function in a worker. The time counts from the moment that a worker is free.

        Raises what the function raises; `WorkerDied` if its process died or was killed for taking longer.
        """
        call = pickle.dumps((function, args))
        await self._free.acquire()
        if self._closed:
            self._free.release()
            raise WorkerDied("the workers are closed")
        lane = self._idle.pop()
        task: asyncio.Task[T] = asyncio.create_task(self._call(lane, lane.run(call, timeout_s)))
        self._calls.add(task)
        task.add_done_callback(self._ended)
        return await (task if self._kill_cancelled else asyncio.shield(task))

    async def close(self) -> None:
        """Kill the processes and wait until they are gone. Calls that still run raise `WorkerDied`."""
        self._closed = True
        for lane in self._lanes:
            lane.kill()  # whoever waits for its answer sees the channel end
        await asyncio.gather(*self._calls, return_exceptions=True)
        await asyncio.gather(*(lane.end() for lane in self._lanes))

    async def _call(self, lane: _Lane, running: Coroutine[Any, Any, T]) -> T:
        try:
            return await running
        finally:
            self._idle.append(lane)
            self._free.release()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # perhaps nobody waits for it any more


class _Lane:
    """One process at a time, started when needed."""

    def __init__(self, warm: tuple[str, ...]) -> None:
        self._warm = warm
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._dying: set[asyncio.Task[int]] = set()

    def begin(self) -> socket.socket:
        """The channel to a live process. A child of this very thread: it is to die with it."""
        if self._process is not None and self._process.poll() is not None:  # it died while idle
            self.drop()
        if self._channel is None:
            self._channel, theirs = socket.socketpair()
            with theirs:
                told = ([str(path) for path in sys.path], theirs.fileno(), os.getpid(), self._warm)
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _CODE, *map(json.dumps, told)],
                    stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env={**os.environ, **_ONE_THREAD},
                    process_group=0,  # Ctrl-C is the parent's business
                )  # fmt: skip
            self._channel.setblocking(False)
        return self._channel

    async def run(self, call: bytes, timeout_s: float | None) -> Any:
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                well, value, text = pickle.loads(await self._exchange(call))
        except TimeoutError:
            self.drop()
            raise WorkerDied(f"not done after {timeout_s or 0.0:.0f} s") from None
        except (OSError, EOFError) as error:
            self.drop()
            raise WorkerDied("the worker process died") from error
        except BaseException:  # cancelled, or an answer that cannot be read
            self.drop()
            raise
        if well:
            return value
        value.add_note(text)
        raise value

    async def _exchange(self, call: bytes) -> bytes:
        loop, channel = asyncio.get_running_loop(), self.begin()
        await loop.sock_sendall(channel, HEAD.pack(len(call)) + call)
        return await _read(channel, *HEAD.unpack(await _read(channel, HEAD.size)))

    def kill(self) -> None:
        """Kill the process, if there is one."""
        if self._process is not None:
            self._process.kill()

    def drop(self) -> None:
        """Kill the process and forget it: the next call gets a new one. Not while somebody reads its channel."""
        self.kill()
        process, channel, self._process, self._channel = self._process, self._channel, None, None
        if channel is not None:
            channel.close()
        if process is not None:
            reaping = asyncio.create_task(asyncio.to_thread(process.wait))
            self._dying.add(reaping)
            reaping.add_done_callback(self._dying.discard)

    async def end(self) -> None:
        """Kill the process and wait until it is gone."""
        self.drop()
        await asyncio.gather(*self._dying)


async def _read(channel: socket.socket, size: int) -> bytes:
    """So many bytes. Raises `EOFError` when the other end is gone."""
    loop, parts = asyncio.get_running_loop(), bytearray()
    while len(parts) < size:
        part = await loop.sock_recv(channel, min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
