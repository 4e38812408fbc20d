"""The site of a simulation: its devices, their calendars, and what goes wrong with them.

<<<<<<< HEAD
A devices file is TOML, one `[[device]]` table each; `docs/simulator.md` shows one. All times are in seconds.
=======
A devices file is TOML, one `[[device]]` table each; `docs/workloads.md` shows one. All times are in seconds.
>>>>>>> sim
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator
from heapq import merge
from importlib.resources import files
from pathlib import Path
from typing import Literal

import msgspec

from quarterdeck.errors import Invalid


class Calendar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A window that comes back: the first at `offset_s`, then one `every_s`. With `every_s` 0 there is only the one.

    A movable one begins when the device has nothing to do, `slack_s` later at the latest. A reservation is for a
    `user`, a `project`, or both.
    """

    kind: Literal["calibration", "maintenance", "reservation"] = "calibration"
    duration_s: float = 0.0
    every_s: float = 0.0
    offset_s: float = 0.0
    hard: bool = True
    slack_s: float = 0.0
    user: str = ""
    project: str = ""

    @property
    def fixed(self) -> bool:
        """Whether nothing runs in it, and when it is is known."""
        return self.hard and not self.slack_s and self.kind != "reservation"

    def windows(self) -> Iterator[Block]:
        """Without end if it comes back."""
        start_s = self.offset_s
        while True:
            yield start_s, start_s + self.duration_s, self
            if not self.every_s:
                return
            start_s += self.every_s


Block = tuple[float, float, Calendar]
"""Start, end, and whose occurrence it is."""


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes wrong, drawn from the run's seed.

    The device goes away `between_s` after it last came up, for `duration_s` (both means of exponential distributions;
    0 for never). A slice is lost with probability `slice_loss`, at a time drawn evenly from its own.
    """

    between_s: float = 0.0
    duration_s: float = 600.0
    slice_loss: float = 0.0


class DeviceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device as it is, part of which the core is told.

    Attributes:
        shot_rate_hz: As declared; 0 for too fast to matter. How long shots really take is the workload's affair.
        setup_s: Seconds to set a register up, if it is not the one the device holds; two numbers for a range, of which
            each register has its own value. The core is told the mean.
        setups: Set-up seconds of registers that are known to differ.
        overhead_s: What every slice costs besides.
        slice_shots: The most shots of a slice; 0 for any number, so that tasks run whole.
    """

    id: str
    modality: str = "none"
    qubits: int = 0
    lanes: int = 1
    shot_rate_hz: float = 1000.0
    setup_s: float | tuple[float, float] = 0.0
    setups: dict[str, float] = {}
    overhead_s: float = 0.0
    slice_shots: int = 0
    quality: float | None = None
    window: list[Calendar] = []
    faults: Faults = Faults()

    @property
    def mean_setup_s(self) -> float:
        return sum(self.setup_s) / 2 if isinstance(self.setup_s, tuple) else self.setup_s

    def register_setup_s(self, register: str) -> float:
        """The set-up time of a register, the same in every run."""
        if register in self.setups:
            return self.setups[register]
        if not register or not isinstance(self.setup_s, tuple):
            return self.setup_s if register and not isinstance(self.setup_s, tuple) else 0.0
        return random.Random(f"set-up of {register}").uniform(*self.setup_s)

    def windows(self) -> Iterator[Block]:
        """All windows in order of start; hard calibrations that touch are one, and so are hard maintenances."""
        held: Block | None = None
        for block in merge(*(calendar.windows() for calendar in self.window), key=lambda block: block[0]):
            if held and block[0] <= held[1] and block[2].fixed and held[2].fixed and block[2].kind == held[2].kind:
                held = (held[0], max(held[1], block[1]), held[2])
            else:
                if held:
                    yield held
                held = block
        if held:
            yield held

    def usable_s(self, until_s: float) -> float:
        """Seconds from 0 to `until_s` outside all hard calibrations and maintenances."""
        taken_s = counted_s = 0.0
        for start_s, end_s, calendar in self.windows():
            if start_s >= until_s:
                break
            if calendar.fixed:
                taken_s += max(0.0, min(end_s, until_s) - max(start_s, counted_s))
                counted_s = max(counted_s, min(end_s, until_s))
        return until_s - taken_s

    def span_s(self, usable_s: float) -> float:
        """The time from 0 that has so many seconds outside all hard windows. By bisection."""
        low_s, high_s = usable_s, 2 * usable_s + 86400.0
        while self.usable_s(high_s) < usable_s:
            high_s *= 2
        for _ in range(60):
            middle_s = (low_s + high_s) / 2
            low_s, high_s = (middle_s, high_s) if self.usable_s(middle_s) < usable_s else (low_s, middle_s)
        return high_s


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Devices by name, in the order of the file."""

    device: list[DeviceSpec]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for device in self.device:
            _check(device, f"device {device.id}")
            if device.id in seen:
                raise Invalid("devices", f"two are called {device.id}; give each its own id")
            seen.add(device.id)
        if not seen:
            raise Invalid("devices", "there are none; add a [[device]] table")

    def with_slices(self, shots: int) -> Site:
        """The same site, its slices of at most so many shots; 0 for whole tasks."""
        return Site([msgspec.structs.replace(device, slice_shots=shots) for device in self.device])

    def matching(self, modality: str = "", qubits: int = 0) -> tuple[str, ...]:
        """Ids of the devices of a modality ("" for any) with at least so many qubits."""
        return tuple(
            d.id
            for d in self.device
            if (not modality or d.modality == modality) and (not d.qubits or d.qubits >= qubits)
        )


def _check(device: DeviceSpec, where: str) -> None:
    ranged = isinstance(device.setup_s, tuple)
    low, high = device.setup_s if isinstance(device.setup_s, tuple) else (device.setup_s, device.setup_s)
    if device.lanes < 1 or device.shot_rate_hz < 0 or device.overhead_s < 0 or device.slice_shots < 0:
        raise Invalid(where, "needs lanes of 1 or more, and no negative number")
    if not 0 <= low <= high:
        raise Invalid(where, f"setup_s must {'be a range from low to high, not' if ranged else 'not be'} negative")
    if not 0 <= device.faults.slice_loss < 1 or device.faults.between_s < 0 or device.faults.duration_s < 0:
        raise Invalid(where, "faults: slice_loss lies from 0 to below 1, times are not negative")
    for calendar in device.window:
        if (calendar.kind == "reservation") != bool(calendar.user or calendar.project):
            raise Invalid(where, "a reservation, and nothing else, is for a user or a project")
        if calendar.duration_s <= 0 or min(calendar.every_s, calendar.offset_s, calendar.slack_s) < 0:
            raise Invalid(where, "a window needs a duration_s above 0, and no negative time")
        if calendar.every_s and calendar.every_s <= calendar.duration_s:
            raise Invalid(where, f"its {calendar.kind} every {calendar.every_s:g} s lasts {calendar.duration_s:g} s")


SHIPPED = ("neutral-atom", "superconducting", "centre")
"""Names of the sites that come with Quarterdeck."""


def load_site(name: str) -> Site:
    """A shipped site by its name, or one from a file. Raises `Invalid`."""
    try:
        if name in SHIPPED:
            text = files("quarterdeck.simulator").joinpath("data", f"{name}.toml").read_text(encoding="utf-8")
        else:
            text = Path(name).read_text(encoding="utf-8")
        return msgspec.convert(tomllib.loads(text), Site)
    except OSError as error:
        shipped = ", ".join(SHIPPED)
        raise Invalid(name, f"cannot be read: {error.strerror}; give a file, or one of {shipped}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(name, f"is no TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise Invalid(name, str(error)) from None
