"""The words of `/v1`: what requests and answers look like in JSON. Shared by the daemon and its client.

Times are seconds since 1970 (UTC); durations are seconds; 0 in a time means "not yet".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Shots = Annotated[int, Meta(ge=1, le=2**31 - 1, description="How often to run the program and measure.")]
Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@/+-]*\Z")]
Label = Annotated[str, Meta(max_length=200, description="Free text for people.")]
UserName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^/\x00-\x1f\x7f]+\Z")]
Class = Literal["production", "test", "development"]
Mode = Literal["shared", "exclusive", "batch"]
TaskState = Literal["queued", "running", "cancelling", "done", "failed", "cancelled"]
DeviceStatus = Literal["online", "draining", "calibrating", "maintenance", "offline"]
WindowKind = Literal["calibration", "maintenance", "reservation"]
Reason = Literal[
    "queue", "device_offline", "device_calibrating", "device_maintenance", "window_ahead", "exclusive_session",
    "retrying", "running", "settled", "budget", "reserved", "quality",
]  # fmt: skip
SHA = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="SHA-256 of the content, 64 hexadecimal digits.")]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what clients send: an unknown field is an error, since a silently ignored one is a surprise."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what the daemon sends: clients ignore fields they do not know."""


class ProgramUpload(Request, frozen=True):
    """POST /v1/programs: a program to keep. Its id is the SHA-256 of format and payload: twice is once."""

    format: Name
    payload: Annotated[
        str, Meta(min_length=1, description="The program's own text, such as a Pulser sequence in JSON.")
    ]
    device: Name | None = None
    """Check against this device at once, too."""


class ProgramInfo(Answer, frozen=True):
    """A program that the daemon keeps, and what can be told of it without running it."""

    id: SHA
    format: str
    bytes: int
    qubits: int = 0
    duration_ns: int | None = None
    variables: dict[str, int] = {}
    device: str | None = None
    register: str = ""
    """Key of the set-up that it needs: tasks with the same key follow each other without one."""


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
    parameters: dict[str, Any] = {}
    """Values for the program's variables: numbers or lists of numbers."""
    session: str = ""
    name: Label = ""
    class_: Class = msgspec.field(default="development", name="class")
    project: Label = ""
    """Who pays; a session's tasks are its project's."""
    devices: Annotated[list[Name], Meta(max_length=100)] = []
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
    devices: list[str] = []
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
    score: dict[str, float] = {}
    first: dict[str, float] = {}
    decisions: list[str] = []


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


class SessionOpen(Request, frozen=True):
    """POST /v1/sessions: a lease on access to a device. It ends unless renewed within `ttl_s` seconds.

    Say where: `device`; or several `devices`, or what a device `needs`, unless it is exclusive: each task of it then
    goes to the best of them that is free.

    Attributes:
        idle_s: It is closed after so many seconds without a task waiting or running; 0 for never. By default the
            daemon's setting for exclusive sessions and for batches, and never for shared ones. A batch's counts from
            its first task on. Time in which the device is offline, in maintenance or in a window does not count.
        lend: An exclusive session lets others run short slices while nothing of it is ready.
    """

    device: Name | None = None
    mode: Mode = "shared"
    class_: Class = msgspec.field(default="development", name="class")
    project: Label = ""
    job: Label = ""
    ttl_s: Annotated[float, Meta(gt=0, le=7 * 86400)] = 3600.0
    idle_s: Annotated[float, Meta(ge=0, le=7 * 86400)] | None = None
    lend: bool = False
    devices: Annotated[list[Name], Meta(max_length=100)] = []
    needs: Needs | None = None


class Session(Answer, frozen=True):
    """A session. `state` is `open` or `closed`; a closed one never opens again.

    `token` is in the answer to its opening only: a bearer token that speaks for the user while the session is open.
    `expires_s` of an exclusive one is earlier than its `ttl_s` says where somebody else's reservation starts.
    `lend_s` is the longest slice of others in its idle gaps; 0 if it lends none. `devices` is not empty if its tasks
    have several to choose from; `device` is the first of them then.
    """

    id: str
    user: str
    project: str
    device: str
    mode: Mode
    class_: Class = msgspec.field(name="class")
    job: str
    state: Literal["open", "closed"]
    opened_s: float
    expires_s: float
    ttl_s: float
    closed_s: float = 0.0
    reason: str = ""
    token: str = ""
    idle_s: float = 0.0
    lend_s: float = 0.0
    devices: list[str] = []


class SessionPage(Answer, frozen=True):
    """GET /v1/sessions: the open ones."""

    items: list[Session]


class JobAcquire(Request, frozen=True):
    """PUT /v1/jobs/ID: a workload manager's job gets its QPUs; POST /v1/jobs/check: whether it would.

    All its devices are in one session, so any task of the job may go to any of them; an exclusive one has one device.

    Attributes:
        user: Whose job it is; empty: whoever asks.
        manager: The workload manager, such as `slurm`.
        ttl_s: The lease: the job's wall time and a little more. The same request again starts it anew.
    """

    devices: Annotated[list[Name], Meta(min_length=1, max_length=100)]
    user: Label = ""
    manager: Label = ""
    class_: Class = msgspec.field(default="development", name="class")
    project: Label = ""
    mode: Mode = "shared"
    ttl_s: Annotated[float, Meta(gt=0, le=366 * 86400)] = 86400.0


class JobCheck(Answer, frozen=True):
    """What a job that asks for these devices would meet. `message` says what it would wait for, if not `ready`."""

    ready: bool
    message: str = ""


class JobRenew(Request, frozen=True):
    """POST /v1/jobs/ID/renew: the lease is `ttl_s` from now on."""

    ttl_s: Annotated[float, Meta(gt=0, le=366 * 86400)] = 86400.0


class JobUsage(Answer, frozen=True):
    """What a job used: device seconds, shots, tasks, and seconds that its tasks waited for their first slice."""

    qpu_s: float = 0.0
    shots: int = 0
    tasks: int = 0
    waited_s: float = 0.0


class JobDevice(Answer, frozen=True):
    """A device of a job."""

    name: str
    formats: list[str]
    emulated: bool


class Job(Answer, frozen=True):
    """A workload manager's job. `state` is `open` while it has its QPUs.

    Attributes:
        session: The session that it has, or had last.
        token: That session's bearer token, for the job's environment; in answers to `PUT` and `/access` only.
        url: Where the daemon answers over HTTP; empty if it does not.
        usage: Of all its sessions: a job that was queued again had several. Not in lists.
    """

    id: str
    user: str
    manager: str
    project: str
    class_: Class = msgspec.field(name="class")
    mode: Mode
    devices: list[JobDevice]
    state: Literal["open", "released"]
    session: str
    acquired_s: float
    expires_s: float
    released_s: float
    usage: JobUsage | None = None
    token: str = ""
    url: str = ""


class JobPage(Answer, frozen=True):
    """GET /v1/jobs: those that have their QPUs."""

    items: list[Job]


class NextWindow(Answer, frozen=True):
    """The time block that comes next on a device."""

    kind: WindowKind
    start_s: float
    end_s: float
    reason: str = ""


class Device(Answer, frozen=True):
    """A device and how it is doing. `spec` is the device in its framework's own words.

    `draining`: it was taken out of service, or its maintenance began, and slices still run. `next_window` is planned;
    nothing starts that cannot end before it.
    """

    name: str
    modality: str
    qubits: int
    formats: list[str]
    emulated: bool
    max_shots: int
    lanes: int
    shot_rate_hz: float
    setup_s: float
    slice_shots: int
    status: DeviceStatus
    reason: str
    queued: int
    running: int
    spec: str = ""
    next_window: NextWindow | None = None


class DeviceSet(Request, frozen=True):
    """POST /v1/devices/NAME/status: `maintenance` takes it out of service, `online` gives it back."""

    status: Literal["online", "maintenance"]
    reason: Label = ""


class WindowSet(Request, frozen=True):
    """POST /v1/devices/NAME/windows: a time block on a device, in which no task runs, or somebody's tasks only.

    Attributes:
        hard: Nothing starts that cannot end before it.
        slack_s: It may begin so much later: as soon as the device has nothing to do, and keeps its length.
        user, project: Whose a reservation is: tasks of that user, of that project, or of that user for that project.
    """

    kind: WindowKind
    start_s: float
    end_s: float
    hard: bool = True
    reason: Label = ""
    slack_s: Annotated[float, Meta(ge=0)] = 0.0
    user: Label = ""
    project: Label = ""


class Window(Answer, frozen=True):
    """A time block on a device. `calendar`: it is an occurrence of that one; `began_s` is 0 before it began."""

    id: str
    device: str
    kind: WindowKind
    start_s: float
    end_s: float
    hard: bool
    state: Literal["planned", "on", "over"]
    reason: str = ""
    slack_s: float = 0.0
    user: str = ""
    project: str = ""
    calendar: str = ""
    began_s: float = 0.0


class WindowPage(Answer, frozen=True):
    """GET /v1/devices/NAME/windows: what is planned or on, in order of time."""

    items: list[Window]


class CalendarSet(Request, frozen=True):
    """POST /v1/devices/NAME/calendars: windows that recur.

    Attributes:
        rule: When: an RRULE of RFC 5545, such as FREQ=WEEKLY;BYDAY=MO;BYHOUR=3.
        start_s: From when the rule counts; what it leaves open (the minute, the weekday) is taken from there.
        duration_s: How long each window lasts.
        zone: Name of the time zone on whose clocks the rule is read, such as Europe/Paris.
    """

    kind: WindowKind
    rule: Annotated[str, Meta(min_length=1, max_length=500)]
    start_s: float
    duration_s: Annotated[float, Meta(gt=0)]
    zone: Annotated[str, Meta(max_length=100)] = "UTC"
    hard: bool = True
    slack_s: Annotated[float, Meta(ge=0)] = 0.0
    user: Label = ""
    project: Label = ""
    reason: Label = ""


class Calendar(Answer, frozen=True):
    """Windows that recur; the next of them are among the device's windows."""

    id: str
    device: str
    kind: WindowKind
    rule: str
    start_s: float
    duration_s: float
    zone: str
    hard: bool
    state: Literal["set", "cleared"]
    slack_s: float = 0.0
    user: str = ""
    project: str = ""
    reason: str = ""


class CalendarPage(Answer, frozen=True):
    """GET /v1/devices/NAME/calendars."""

    items: list[Calendar]


class ImportedTask(Request, frozen=True):
    """A task that ended in another system.

    Attributes:
        id: Unique for ever: importing it again does nothing.
        number: The number it had there; it keeps it if no later one is in use here.
        payload: Its program's text; kept, not checked.
        counts: What it measured; all shots if it is done.
        error: Why it failed.
    """

    id: Name
    number: Annotated[int, Meta(ge=1, le=2**53)]
    user: Annotated[str, Meta(min_length=1, max_length=128)]
    device: Name
    shots: Shots
    state: Literal["done", "failed", "cancelled"]
    submitted_s: Annotated[float, Meta(ge=0)]
    started_s: Annotated[float, Meta(ge=0)] = 0.0
    ended_s: Annotated[float, Meta(ge=0)] = 0.0
    format: Name = "opaque"
    payload: str = ""
    counts: dict[str, int] | None = None
    error: Annotated[str, Meta(max_length=2000)] = ""
    job: Label = ""
    name: Label = ""


class TaskImport(Request, frozen=True):
    """POST /v1/tasks/import: take over the history of another system (administrators)."""

    tasks: Annotated[list[ImportedTask], Meta(max_length=1000)]


class Imported(Answer, frozen=True):
    """How many tasks were taken over, and how many were here already."""

    imported: int
    known: int


class DevicePage(Answer, frozen=True):
    """GET /v1/devices."""

    items: list[Device]


class Knob(Answer, frozen=True):
    """A setting of the policy. `used`: the policy in effect looks at it."""

    name: str
    value: Any
    default: Any
    about: str
    used: bool


class PolicyDevice(Answer, frozen=True):
    """What the policy makes of a device.

    Attributes:
        waiting: Tasks that wait, by class.
        owed: Device seconds by class (and `aged`, the oldest) that are due to it by its guaranteed share; negative if
            it had more. Empty for policies without guarantees.
        slice_s: Length of a slice.
        overhead_s: What a slice costs besides its shots and set-up, as measured.
        typical_s: Device seconds of a typical task, as measured; 0 before the first.
        setup_s: The longest set-up.
    """

    device: str
    waiting: dict[str, int]
    owed: dict[str, float]
    slice_s: float
    overhead_s: float
    typical_s: float
    setup_s: float


class Policy(Answer, frozen=True):
    """GET /v1/policy. `failed` is why `name` is not the one that was `configured`."""

    name: str
    configured: str
    failed: str
    knobs: list[Knob]
    devices: list[PolicyDevice]


class Health(Answer, frozen=True):
    """GET /v1/health/live and /v1/health/ready.

    Attributes:
        role: `leader` runs the devices; `standby` passes requests on to the leader.
        url: Where this daemon answers over TCP; empty for nowhere.
    """

    ok: bool
    role: Literal["leader", "standby", "starting"]
    version: str
    store: str
    why: str = ""
    url: str = ""


class ProjectSet(Request, frozen=True):
    """PUT /v1/projects/NAME: set up a project, or change it as a whole (administrators).

    Attributes:
        share: Its weight in fair shares.
        members: Users who may use it; everybody if there are none.
        classes: What its work may be labelled as; anything if there are none.
    """

    share: Annotated[float, Meta(ge=1e-6, le=1e9)] = 1.0
    members: Annotated[list[UserName], Meta(max_length=10_000)] = []
    classes: Annotated[list[Class], Meta(max_length=3)] = []


class BudgetSet(Request, frozen=True):
    """PUT /v1/projects/NAME/budget: what the project, or a user in it, may spend (administrators).

    Attributes:
        user: That user's budget in the project; empty for the whole project's.
        qpu_s: Device seconds; null for no limit.
        shots: Shots; null for no limit.
        period: `month` for each calendar month (UTC); empty for all that is spent since the last reset.
        reset: What was spent so far counts no more.
    """

    user: Annotated[str, Meta(max_length=128, pattern=r"^[^/\x00-\x1f\x7f]*\Z")] = ""
    qpu_s: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    shots: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    period: Literal["", "month"] = ""
    reset: bool = False


class Budget(Answer, frozen=True):
    """What a project, or a user in it, may spend and has spent. None in a limit or in what is left means no limit.

    Attributes:
        spent_qpu_s: Device seconds charged in the period.
        held_qpu_s: Estimates of admitted tasks that have not ended; 0 without a limit.
        left_qpu_s: The limit less what is spent; below 0 after one slice too many.
        anew_s: When the period starts anew; 0 for never.
        total_qpu_s: Device seconds used ever.
        note: What there is to say, such as that nothing is left.
    """

    user: str
    qpu_s: float | None
    shots: int | None
    period: Literal["", "month"]
    spent_qpu_s: float
    spent_shots: int
    held_qpu_s: float
    held_shots: int
    left_qpu_s: float | None
    left_shots: int | None
    anew_s: float
    total_qpu_s: float
    total_shots: int
    note: str = ""


class Project(Answer, frozen=True):
    """A project. The one named `default` is that of all who name none.

    Attributes:
        declared: An administrator set it up; otherwise it is a label that tasks were given.
        recent_qpu_s: Device seconds for fair shares: those of long ago count less.
        users: Each user's part; others than administrators see their own.
    """

    name: str
    declared: bool
    share: float
    members: list[str]
    recent_qpu_s: float
    budget: Budget
    users: list[Budget]
    classes: list[Class] = []


class ProjectPage(Answer, frozen=True):
    """GET /v1/projects: those that one may use."""

    items: list[Project]


class UsageRow(Answer, frozen=True):
    """What was used. Of the first five, those that the report is not by are empty.

    Attributes:
        qpu_s: Device seconds, set-ups and failed slices included.
        failed_s: Part of `qpu_s` of slices that gave nothing.
        slices: Slices that ended, `failed` of them without giving anything.
        tasks: Tasks whose first slice ended.
    """

    project: str = ""
    user: str = ""
    class_: str = msgspec.field(default="", name="class")
    device: str = ""
    month: str = ""
    qpu_s: float = 0.0
    setup_s: float = 0.0
    failed_s: float = 0.0
    shots: int = 0
    slices: int = 0
    failed: int = 0
    tasks: int = 0


class UsagePage(Answer, frozen=True):
    """GET /v1/usage: sorted by what it is by."""

    items: list[UsageRow]
    by: list[str]


class Limit(Answer, frozen=True):
    """A limit and how much of it the asking user has in use; `allowed` 0 means that there is no limit."""

    name: str
    allowed: float
    used: float
    about: str


class LimitPage(Answer, frozen=True):
    """GET /v1/limits."""

    items: list[Limit]


class Failure(Answer, frozen=True):
    """The body of every answer with a status of 400 or above; see docs/errors.md for the codes."""

    error: dict[str, Any]
