"""One attempt to run one slice: from the command to the event that says how it went, whatever the driver does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from quarterdeck.core.ledger import LONGEST
from quarterdeck.devices.driver import Driver, Outcome, Slice, Target, Trace
from quarterdeck.errors import BadProgram, DeviceUnavailable
from quarterdeck.programs.result import GarbageOutcome, check_outcome

log = logging.getLogger(__name__)


class Failed(msgspec.Struct, frozen=True):
    """The slice gave nothing; `kind` as in `core.events.SliceFailed`."""

    kind: str
    code: str
    message: str


class Patience(msgspec.Struct, frozen=True):
    """Time limits in seconds: for a driver's short answers, and beyond the planned length of a slice."""

    answer_s: float
    grace_s: float


Hold = Callable[[DeviceUnavailable], Awaitable[None]]
"""Called when the device went away under a slice that it may have accepted; returns when the device is back."""


class Attempt:
    """One slice on one driver. With `resume`, one that an earlier process may have started.

    A run that the driver may have accepted is never started anew while the device can say what became of it: it is
    looked up by its key, and waited for while the device is away. `accepted` hears of the handle at once.
    """

    def __init__(
        self, driver: Driver, target: Target, slice: Slice, patience: Patience, hold: Hold, resume: bool,
        trace: Trace = Trace(), accepted: Callable[[str], None] = lambda handle: None,  # noqa: B008  # frozen
    ) -> None:  # fmt: skip
        self._driver = driver
        self._target = target
        self._slice = slice
        self._patience = patience
        self._hold = hold
        self._resume = resume
        self._trace = trace
        self._accepted = accepted
        self._handle: str | None = None
        self._cancelled = False

    async def run(self) -> Outcome | Failed:
        """See the slice through. Raises nothing but cancellation."""
        while True:
            try:
                return await self._try()
            except BadProgram as error:
                return Failed("rejected", error.code, str(error))
            except _NotAccepted as error:
                return Failed("unavailable", error.why.code, error.why.why)
            except DeviceUnavailable as error:
                await self._hold(error)
            except GarbageOutcome as error:
                return Failed("fault", "garbage", f"the device answered nonsense: {error}")
            except Exception as error:
                log.warning("slice %s went wrong", self._slice.key, exc_info=error)
                return Failed("fault", "fault", f"{type(error).__name__}: {error}")

    async def cancel(self) -> None:
        """Ask the slice to stop, now or as soon as the driver has accepted it."""
        self._cancelled = True
        if self._handle is None or not self._target.can_cancel:
            return
        try:
            async with asyncio.timeout(self._patience.answer_s):
                await self._driver.cancel(self._handle)
        except Exception as error:
            log.warning("cancelling %s went wrong", self._slice.key, exc_info=error)

    async def _try(self) -> Outcome | Failed:
        if self._handle is None and self._resume:
            self._handle = await self._lookup()
            if self._handle is None:
                return Failed("lost", "lost", "the device does not know the slice any more; it runs again")
            if self._handle != self._trace.handle:
                self._accepted(self._handle)
        if self._handle is None:
            if self._cancelled:
                return Failed("cancelled", "cancelled", "cancelled before its first shot")
            failed = await self._start()
            if failed is not None:
                return failed
        if self._cancelled:
            await self.cancel()
        return await self._outcome()

    async def _start(self) -> Failed | None:
        try:
            async with asyncio.timeout(self._patience.answer_s):
                self._handle = await self._driver.start(self._slice)
            self._accepted(self._handle)
            return None
        except DeviceUnavailable as error:
            raise _NotAccepted(error) from error
        except BadProgram:
            raise
        except TimeoutError:
            said = f"no answer within {self._patience.answer_s:.0f} s"
        except Exception as error:
            log.warning("starting slice %s went wrong", self._slice.key, exc_info=error)
            said = f"{type(error).__name__}: {error}"
        self._resume = True  # it may have been accepted all the same
        self._handle = await self._lookup()
        if self._handle is None:
            return Failed("fault", "start_failed", said)
        self._accepted(self._handle)
        return None

    async def _lookup(self) -> str | None:
        if not self._target.can_lookup:
            return None
        try:
            async with asyncio.timeout(self._patience.answer_s):
                return await self._driver.lookup(self._slice.key, self._trace)
        except DeviceUnavailable:
            raise
        except Exception as error:
            # Not to know what became of it is no reason to run it twice.
            why = f"cannot look slice {self._slice.key} up: {error}"
            raise DeviceUnavailable(self._target.name, why, 0.0) from error

    async def _outcome(self) -> Outcome | Failed:
        assert self._handle is not None
        rate_hz = self._target.shot_rate_hz
        planned_s = self._target.setup_s + (self._slice.shots / rate_hz if rate_hz else 0.0)
        longest_s = LONGEST * planned_s + self._patience.grace_s
        try:
            async with asyncio.timeout(longest_s):
                outcome = await self._driver.wait(self._handle)
        except TimeoutError:
            await self.cancel()
            return Failed("fault", "hung", f"no outcome after {longest_s:.0f} s")
        check_outcome(outcome, self._slice.shots)
        return outcome


class _NotAccepted(Exception):
    def __init__(self, why: DeviceUnavailable) -> None:
        self.why = why
