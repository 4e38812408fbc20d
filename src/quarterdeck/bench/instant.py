"""A device that takes no time, for measuring what is around it. It writes down when each slice was started."""

from __future__ import annotations

import os
from time import monotonic

from quarterdeck.devices.driver import Outcome, Slice, Status, Target, Trace
from quarterdeck.programs.program import Parameters, Program

FORMATS = ("opaque", "pulser")


class Instant:
    """Takes any program, and is done with it at once: every shot gives `0`.

    Setting `trace`: a file that gets a line `KEY SECONDS` (monotonic clock) the moment `start` is called.
    """

    def __init__(self, name: str, trace: str = "") -> None:
        self._target = Target(name=name, qubits=1000, formats=FORMATS, max_shots=1_000_000_000)
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if trace else -1

    async def target(self) -> Target:
        return self._target

    async def status(self) -> Status:
        return Status(True)

    async def admit(self, program: Program, parameters: Parameters, shots: int) -> None:
        return

    async def start(self, slice: Slice) -> str:
        if self._trace >= 0:
            os.write(self._trace, f"{slice.key} {monotonic():.6f}\n".encode())
        return f"{slice.shots} {slice.key}"  # all that there is to remember, so that memory measures the daemon

    async def wait(self, handle: str) -> Outcome:
        return Outcome({"0": int(handle.partition(" ")[0])})

    async def cancel(self, handle: str) -> None:
        return

    async def lookup(self, key: str, trace: Trace = Trace()) -> str | None:  # noqa: B008  # frozen
        return None

    async def close(self) -> None:
        if self._trace >= 0:
            os.close(self._trace)
