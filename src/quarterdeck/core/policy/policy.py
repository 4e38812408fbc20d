"""The interface of a policy."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol

import msgspec

from quarterdeck.core.nouns import Device, Session, Task
from quarterdeck.core.policy.settings import PolicySettings

Cause = Literal["order", "setup", "share", "aged", "exclusive", "reservation", "fallback"]
"""Why a task was chosen: it came first in the policy's order; it needs no set-up and was close enough to the first; its
class was owed time; it had waited for too long; it belongs to whom the device is held for; the policy failed."""


class Place(msgspec.Struct, frozen=True):
    """Where a waiting task stands: tasks ahead of it, and the device time that these need, in seconds."""

    position: int
    ahead_s: float


class Choice(msgspec.Struct, frozen=True):
    """The task to serve next, and how many of its shots.

    `rival` would have come next; `score` is by how much, in the policy's own measure (see `Policy.explain`).
    """

    task: Task
    shots: int
    cause: Cause = "order"
    rival: str = ""
    score: float = 0.0


class Moment(msgspec.Struct):
    """When and where a choice is made.

    Attributes:
        lane: The exclusive session whose tasks alone count; empty for everybody else's.
        gap_s: Seconds until nothing may run any more.
        holder: User and project that the device is reserved for (either may be empty); None for everybody.
    """

    device: Device
    now_s: float
    gap_s: float
    lane: str = ""
    holder: tuple[str, str] | None = None

    def admits(self, task: Task) -> bool:
        """Whether a reservation lets this task in."""
        return self.holder is None or (self.holder[0] or task.user, self.holder[1] or task.project) == (
            task.user, task.project,
        )  # fmt: skip


class Facts(Protocol):
    """What a policy may ask of the books."""

    now_s: float
    sessions: dict[str, Session]
    devices: dict[str, Device]

    def work_s(self, task: Task, device: Device) -> float:
        """Device seconds that the task's remaining shots need, as far as can be told; without set-up."""

    def had(self, task: Task, device: Device) -> tuple[float, float]:
        """Seconds that its session (or, without one, its user of late) has had, and since when it has only waited."""

    def fit(self, device: Device, task: Task, gap_s: float) -> int:
        """How many shots its next slice may have if it must end within `gap_s`; 0 if none."""

    def usage(self, project: str, user: str) -> float:
        """Device seconds that the user had for the project, older ones counting less."""

    def share(self, project: str) -> float:
        """What the project is entitled to, relative to others."""


class Policy(Protocol):
    """An order of service over the waiting tasks of every device.

    The deck tells it of each task that starts or stops waiting, on all devices that it may run on; it keeps whatever
    index it likes. It must be deterministic, and must raise nothing: one that does is replaced by `fifo`.
    """

    name: ClassVar[str]
    settings: PolicySettings

    def bind(self, facts: Facts) -> None:
        """Called once, before anything else."""

    def add(self, task: Task, lane: str) -> None:
        """The task waits (again). `lane`: the exclusive session that it belongs to, or empty."""

    def remove(self, task: Task) -> None:
        """The task waits no more."""

    def pick(self, moment: Moment) -> Choice | None:
        """The task to serve next, left in the queue; only one of which something fits."""

    def wake_s(self, device: Device, lane: str) -> float | None:
        """When `pick` could give something that it does not give now, if time alone decides."""

    def served(self, device: Device, task: Task, seconds: float) -> None:
        """A slice of the task is over and took so long, set-up and overhead included."""

    def place(self, task: Task, device: Device) -> Place:
        """Where a waiting task stands on that device."""

    def queued(self, device: str) -> int:
        """How many tasks wait for the device."""

    def explain(self, task: Task, device: Device) -> dict[str, float]:
        """What its rank is made of: name of the term to its value. Empty if it is the order of arrival alone."""

    def leader(self, task: Task, device: Device) -> dict[str, float]:
        """The same for the task that comes first now, where this one waits; empty if it is this one."""

    def owed(self, device: str) -> dict[str, float]:
        """Device seconds due to each class by a guaranteed share; empty if there is none."""

    def knobs(self) -> dict[str, Any]:
        """The settings in effect."""
