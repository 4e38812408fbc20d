"""A task, from the side of whoever submitted it."""

from __future__ import annotations

import time
from collections.abc import Callable

from quarterdeck import wire
from quarterdeck.client.link import Link
from quarterdeck.errors import Conflict, NotReady

HOLD_S = 30.0
"""How long one status call is held by the daemon."""
ENDED = ("done", "failed", "cancelled")

Progress = Callable[[wire.Task], None]


class TaskHandle:
    """A task. `info` is what was last heard of it."""

    def __init__(self, link: Link, info: wire.Task) -> None:
        self._link = link
        self.info = info

    def __repr__(self) -> str:
        return (
            f"<task {self.id} {self.info.state} {self.info.shots_done}/{self.info.shots} shots on {self.info.device}>"
        )

    @property
    def id(self) -> str:
        return self.info.id

    @property
    def ended(self) -> bool:
        """Whether it was over when last heard of."""
        return self.info.state in ENDED

    def refresh(self) -> wire.Task:
        """Ask how it is doing."""
        self.info = self._link.ask("GET", f"/v1/tasks/{self.id}", wire.Task)
        return self.info

    def wait(self, timeout_s: float | None = None, progress: Progress | None = None) -> wire.Task:
        """Return once it has ended: done, failed or cancelled.

        `progress` is called with what is known now and at each change: slices, shots, state. The daemon holds the call,
        so nothing is polled. Raises `NotReady` after `timeout_s` seconds.
        """
        over_s = None if timeout_s is None else time.monotonic() + timeout_s
        if progress is not None:
            progress(self.info)
        while not self.ended:
            left_s = HOLD_S if over_s is None else min(HOLD_S, over_s - time.monotonic())
            if left_s <= 0:
                raise NotReady(
                    f"task {self.id} is still {self.info.state} after {timeout_s:g} s", self.id, self.info.state
                )
            before = self.info.version
            query = {"wait": f"{left_s:.3f}", "after": before if progress is not None else None}
            self.info = self._link.ask("GET", f"/v1/tasks/{self.id}", wire.Task, query=query, hold_s=left_s)
            if progress is not None and self.info.version != before:
                progress(self.info)
        return self.info

    def result(self, timeout_s: float | None = None, partial: bool = False) -> wire.Result:
        """The merged counts, once it has ended; with `partial`, what has been measured so far.

        A cancelled task gives what it measured (`partial` of the result is then true). Raises `Conflict` for a failed
        one (ask with `partial` for what it measured), `NotReady` after `timeout_s` seconds.
        """
        if not partial and self.wait(timeout_s).state == "failed":
            told = self.info.error
            why = f"{told.message} ({told.code})" if told is not None else "no reason was given"
            raise Conflict(f"task {self.id} failed: {why}")
        query = {"partial": "true"} if partial else None
        return self._link.ask("GET", f"/v1/tasks/{self.id}/result", wire.Result, query=query)

    def cancel(self) -> wire.Task:
        """Call it off; what it measured is kept. Without effect on one that ended."""
        self.info = self._link.ask("POST", f"/v1/tasks/{self.id}/cancel", wire.Task)
        return self.info

    def why(self) -> wire.Why:
        """Why it is not running: a reason, its place in the queue, an estimate."""
        return self._link.ask("GET", f"/v1/tasks/{self.id}/why", wire.Why)

    def log(self) -> wire.Log:
        """What happened to it, oldest first."""
        return self._link.ask("GET", f"/v1/tasks/{self.id}/log", wire.Log)
