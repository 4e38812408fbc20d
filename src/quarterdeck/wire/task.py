"""Tasks, their slices and results, and why they wait."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from quarterdeck.wire.base import SHA, Answer, Class, Label, Name, Reason, Request, Shots, TaskState
from quarterdeck.wire.program import ProgramUpload


class Needs(Request, frozen=True):
    """What a device must have, in place of its name."""

    modality: str = ""
    qubits: Annotated[int, Meta(ge=0)] = 0
    quality: Annotated[float, Meta(ge=0, le=1, description="Least figure of merit of its calibration.")] = 0.0
    emulated: bool | None = None
    """True or false to have only emulated ones, or none of them."""


class TaskSubmit(Request, frozen=True):
    """POST /v1/tasks: run a program. Give `program` as the id of an uploaded one (quick), or as the program itself.

    Say where: `device`, or several `devices`, or what the device `needs`; in a session nothing of it means the devices
    that this is on. The best one that is free runs it.
    """

    program: SHA | ProgramUpload
    shots: Shots
    device: Name | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    """Values for the program's variables: numbers or lists of numbers."""
    session: str = ""
    name: Label = ""
    class_: Class = msgspec.field(default="development", name="class")
    project: Label = ""
    """Who pays; a session's tasks are its project's."""
    devices: Annotated[list[Name], Meta(max_length=100)] = msgspec.field(default_factory=list)
    needs: Needs | None = None
    deadline_s: Annotated[float, Meta(ge=0)] = 0.0
    """After this time (seconds since 1970) the result is of no use: what is not done by then is given up."""


class Error(Answer, frozen=True):
    """Why something failed: a stable code and a sentence."""

    code: str
    message: str


class Task(Answer, frozen=True):
    """A task. `version` grows with each change: `GET /v1/tasks/ID?wait=30&after=VERSION` answers at the next one.

    Attributes:
        number: Order of submission, from 1.
        job: The HPC job of its session, if it has one.
        partial: It ended early and its result holds fewer shots than asked for.
        devices: Where it may start, if that is not decided yet; `device` is one of them then.
        deadline_s: When it is given up; 0 for never.
    """

    id: str
    version: int
    device: str
    program: str
    shots: int
    shots_done: int
    state: TaskState
    user: str
    project: str
    session: str
    name: str
    class_: Class = msgspec.field(name="class")
    parameters: dict[str, Any]
    submitted_s: float
    started_s: float
    ended_s: float
    slices: int
    qpu_s: float
    partial: bool
    error: Error | None = None
    number: int = 0
    job: str = ""
    devices: list[str] = msgspec.field(default_factory=list)
    deadline_s: float = 0.0


class TaskPage(Answer, frozen=True):
    """GET /v1/tasks: newest first. Pass `next` back as `?cursor=` for the following page; empty at the end."""

    items: list[Task]
    next: str = ""


class Why(Answer, frozen=True):
    """GET /v1/tasks/ID/why: why it is not running.

    Attributes:
        reason: From a closed list.
        detail: The same in a sentence.
        position: Tasks ahead of it; -1 if it does not wait.
        estimate_s: Seconds until it starts, as far as can be told; None when nobody can (the device is offline).
        basis: What the estimate comes from: `forecast` (the scheduler run forward on all that is known now), `queue`
            (the work ahead of it), or `none`.
        policy: What decides the order now.
        score: What its rank is made of in that policy, term by term; the sum counts.
        first: The same for the task that comes first now, with nothing else told of it.
        decisions: Why each of its slices started when it did.
    """

    task: str
    state: TaskState
    reason: Reason
    detail: str
    position: int
    estimate_s: float | None
    basis: Literal["forecast", "queue", "none"] = "queue"
    policy: str = ""
    score: dict[str, float] = msgspec.field(default_factory=dict)
    first: dict[str, float] = msgspec.field(default_factory=dict)
    decisions: list[str] = msgspec.field(default_factory=list)


class SliceInfo(Answer, frozen=True):
    """One slice of a task: which shots ran, when."""

    index: int
    shots: int
    shots_done: int
    state: Literal["running", "finished", "failed"]
    started_s: float
    ended_s: float
    error: str = ""


class Result(Answer, frozen=True):
    """GET /v1/tasks/ID/result: the merged counts of the finished slices. `sum(counts.values()) == shots_done`."""

    task: str
    state: TaskState
    shots: int
    shots_done: int
    partial: bool
    emulated: bool
    counts: dict[str, int]
    slices: list[SliceInfo]


class LogLine(Answer, frozen=True):
    """One thing that happened to a task."""

    at_s: float
    event: str
    text: str


class Log(Answer, frozen=True):
    """GET /v1/tasks/ID/log."""

    task: str
    lines: list[LogLine]
