"""The interface of a policy."""

from __future__ import annotations

from typing import ClassVar, Protocol

import msgspec

from quarterdeck.core.nouns import Device, Task


class Place(msgspec.Struct, frozen=True):
    """Where a waiting task stands: tasks ahead of it, and the device time that these need, in seconds."""

    position: int
    ahead_s: float


class Policy(Protocol):
    """An order of service over the queued tasks of every device.

    The deck tells it of each task that starts or stops waiting; it keeps whatever index it likes. It must be
    deterministic, and `pick` must take no more than O(log n) for n queued tasks.
    """

    name: ClassVar[str]

    def add(self, task: Task, exclusive: bool, work_s: float) -> None:
        """The task waits (again). `exclusive`: it belongs to an exclusive session; `work_s`: device time it needs."""

    def remove(self, task: Task) -> None:
        """The task waits no more."""

    def pick(self, device: Device, session: str, now_s: float) -> Task | None:
        """The task to serve next, left in the queue. With a `session`, only that exclusive session's tasks count."""

    def wake_s(self, device: Device, session: str) -> float | None:
        """When `pick` could give something that it does not give now, if time alone decides."""

    def place(self, task: Task) -> Place:
        """Where a waiting task stands."""

    def queued(self, device: str) -> int:
        """How many tasks wait for the device."""
