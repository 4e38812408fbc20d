"""Watching a device: is it there, and who must be told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from quarterdeck.core.nouns import Device
from quarterdeck.devices.driver import Driver, Status
from quarterdeck.errors import DeviceUnavailable, StoreUnavailable

SOON_S = 0.05

Tell = Callable[[Literal["online", "offline"], str, float | None], None]
"""(`online` or `offline`, reason, quality if that is known): the device's status changed."""


class Watch:
    """Keeps one device's status true: looks every `probe_s` seconds, sooner and at doubling intervals when it is away.

    `known` gives the device as the core knows it.
    """

    def __init__(
        self, driver: Driver, known: Callable[[], Device], tell: Tell, probe_s: float, answer_s: float
    ) -> None:
        self._driver = driver
        self._known = known
        self._tell = tell
        self._probe_s = probe_s
        self._answer_s = answer_s
        self._asked = asyncio.Event()
        self._there = asyncio.Event()

    def away(self, reason: str) -> None:
        """The device was found to be gone: hold its queue, and look for it."""
        self._there.clear()
        if self._known().status == "online":
            self._tell("offline", reason, None)
        self._asked.set()

    async def back(self, error: DeviceUnavailable) -> None:
        """The device went away under a slice: return once it is back."""
        with suppress(StoreUnavailable):
            self.away(error.why)
        await self._there.wait()

    def look(self) -> None:
        """Look soon, not only when it is time."""
        self._asked.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        flaps = 0
        while True:
            status = await self._status()
            online, reason = status.online, "" if status.online else status.reason
            if online:
                self._there.set()
            else:
                self._there.clear()
            known = self._known()
            better = status.quality is not None and status.quality != known.quality
            if known.status != "maintenance" and (
                better or (online, reason) != (known.status == "online", known.reason)
            ):
                self._tell("online" if online else "offline", reason, status.quality)
            pause_s = self._probe_s if online else min(self._probe_s, SOON_S * 2.0**flaps)
            flaps = 0 if online and not self._asked.is_set() else min(flaps + 1, 30)
            if not self._asked.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._asked.wait()
                        await asyncio.sleep(min(self._probe_s, SOON_S * 2.0**flaps))
            self._asked.clear()

    async def _status(self) -> Status:
        try:
            async with asyncio.timeout(self._answer_s):
                return await self._driver.status()
        except Exception as error:
            return Status(False, getattr(error, "why", None) or f"{type(error).__name__}: {error}")
