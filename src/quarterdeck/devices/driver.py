"""The seam to quantum hardware: what a device is and the seven things its driver can do.

A driver is a plain object with the methods of `Driver`; it inherits nothing. Everything above the seam (the loop, the
policies, the simulator) works with any of them. `fake.py` is the smallest one and a template for the next;
`tests/conformance` holds the suite that each must pass.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from quarterdeck.programs.program import Parameters, Program

Modality = Literal["neutral-atom", "superconducting", "trapped-ion", "none"]
Counts = dict[str, int]
"""Bitstring to the number of shots that gave it; the leftmost character is the first qubit."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What a compiler and a scheduler need to know of a device. Fixed while the driver lives.

    Attributes:
        name: The device's name, as users write it.
        modality: The kind of hardware.
        qubits: The most qubits that a program may use.
        formats: Program formats that it takes.
        emulated: True when no quantum hardware is behind it.
        max_shots: The most shots of one task.
        lanes: Slices that it can run at once.
        shot_rate_hz: Shots per second of wall-clock time once set up; 0 means too fast to matter.
        setup_s: The longest set-up before the first shot of a slice, in seconds.
        can_cancel: `cancel` stops a running slice.
        can_lookup: `lookup` finds a slice by its key after this process died.
        keeps_handles: A handle still means something after this process died; the loop then writes it down.
        spec: The device in its framework's own words (for Pulser: the abstract representation, JSON text).
    """

    name: str
    modality: Modality = "none"
    qubits: int
    formats: tuple[str, ...]
    emulated: bool = True
    max_shots: int = 1_000_000
    lanes: int = 1
    shot_rate_hz: float = 0.0
    setup_s: float = 0.0
    can_cancel: bool = False
    can_lookup: bool = False
    keeps_handles: bool = False
    spec: str = ""


class Status(msgspec.Struct, frozen=True):
    """Whether the device takes work now, and if not, why (one sentence for its users).

    `quality` is its calibration's figure of merit, 0 to 1, by which the best of several devices is chosen.
    """

    online: bool
    reason: str = ""
    quality: float | None = None


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A batch of one task's shots. `key` is unique for ever: the same key twice is the same slice.

    `batch` is the HPC job, else the session, else the task that it belongs to, for devices that group what they run.
    """

    key: str
    program: Program
    parameters: Parameters = {}
    shots: int
    batch: str = ""


class Trace(msgspec.Struct, frozen=True):
    """What is on record of a slice that may have been started, for devices that keep handles.

    Attributes:
        handle: What `start` returned; empty if nothing was recorded (a crash or a time-out while it started).
        after: The handle that the device gave last before this slice was started; empty for none.
    """

    handle: str = ""
    after: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What a slice gave. Fewer shots than asked are allowed only after `cancel`.

    Attributes:
        counts: The measured bitstrings.
        qpu_s: Seconds for which the device was occupied, set-up included.
        setup_s: Seconds of these that went into the set-up, if that is known.
    """

    counts: Counts
    qpu_s: float = 0.0
    setup_s: float = 0.0


class Driver(Protocol):
    """One device. All methods are called from one event loop and must not block it.

    Errors that mean something to the loop above:
        BadProgram: The device refuses the program for good; the task fails with this reason.
        DeviceUnavailable: The device cannot be reached or does not take work; the queue holds and nothing is burnt.
        anything else: A fault of this run; the slice is looked up by its key, else run again within a budget.
    """

    async def target(self) -> Target:
        """What the device is. Called once, before anything else."""

    async def status(self) -> Status:
        """Whether it takes work now. Must answer within a few seconds."""

    async def admit(self, program: Program, parameters: Parameters, shots: int) -> None:
        """Return if the device can run this; raise `BadProgram` (or `TooCostly`) naming the limit if it cannot."""

    async def start(self, slice: Slice) -> str:
        """Begin a slice and return a handle. Starting the same key again returns the slice already begun."""

    async def wait(self, handle: str) -> Outcome:
        """The outcome, once it is there. May be called again for the same handle."""

    async def cancel(self, handle: str) -> None:
        """Ask a slice to stop; `wait` then returns what was measured so far. Without effect on one that ended."""

    async def lookup(self, key: str, trace: Trace = Trace()) -> str | None:  # noqa: B008  # frozen
        """The handle of the slice with this key, even if an earlier process started it; None if there is none.

        Not to know is `DeviceUnavailable`: the loop asks again later, and starts nothing meanwhile.
        """

    async def close(self) -> None:
        """Let go of everything. Slices that still run on real hardware go on there."""
