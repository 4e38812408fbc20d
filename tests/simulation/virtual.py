"""An asyncio loop whose time is a number: the daemon's own code, days in milliseconds, the same every time."""

from __future__ import annotations

import asyncio
import heapq


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while there is work and jumps to the next timer when there is none.

    Only for code without sockets, threads or processes. Uses private attributes of asyncio's base loop, `_ready` and
    `_scheduled`; `test_histories.py` fails on a Python where they are gone.
    """

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__()

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        timers = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self._timer_cancelled_count = max(0, self._timer_cancelled_count - 1)
        if not self._ready and timers:  # type: ignore[attr-defined]
            self._now_s = max(self._now_s, timers[0]._when)
        super()._run_once()  # type: ignore[misc]
