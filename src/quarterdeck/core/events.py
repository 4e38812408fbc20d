"""What can happen. Names are past tense and never change; a new field has a default, so that old logs replay.

Every event goes through JSON unchanged: `decode(encode(event)) == event`. `at_s` is in seconds since 1970 (UTC).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="event", omit_defaults=True):
    """Base of all events."""

    at_s: float


class DeviceDeclared(Event, frozen=True, tag=True):
    """The daemon started with this device in its configuration. It counts as offline until its driver answers.

    `slice_shots` is the most shots of one slice; `shot_rate_hz` of 0 means too fast to matter; `overhead_s` is what
    every slice costs besides its shots and set-up. `decoders` is how many logical qubits its real-time host decodes.
    """

    device: str
    lanes: int = 1
    slice_shots: int = 1000
    shot_rate_hz: float = 0.0
    setup_s: float = 0.0
    emulated: bool = True
    overhead_s: float = 0.0
    modality: str = "none"
    qubits: int = 0
    decoders: int = 0


class DeviceRetired(Event, frozen=True, tag=True):
    """The device is no longer in the configuration. Its queue stays and waits for its return."""

    device: str


class DeviceChanged(Event, frozen=True, tag=True):
    """The device came up, went away, or was taken out of service, with the reason that its users see.

    `quality` is its calibration's figure of merit, 0 to 1; None if it did not change, or nobody knows.
    """

    device: str
    status: Literal["online", "maintenance", "offline"]
    reason: str = ""
    quality: float | None = None


class WindowSet(Event, frozen=True, tag=True):
    """A time block on a device, from `start_s` to `end_s`. No slice starts that cannot end before a hard one.

    In a calibration or maintenance nothing runs. In a reservation the tasks of `user`, of `project`, or of that user
    for that project run, also across its start, and nobody else's. With `slack_s` it is movable: it begins as soon as
    the device has nothing to do, `slack_s` after `start_s` at the latest, and keeps its length. `calendar`: it is an
    occurrence of that one, planned by the deck.
    """

    window: str
    device: str
    kind: Literal["calibration", "maintenance", "reservation"]
    start_s: float
    end_s: float
    hard: bool = True
    reason: str = ""
    slack_s: float = 0.0
    user: str = ""
    project: str = ""
    calendar: str = ""


class WindowCleared(Event, frozen=True, tag=True):
    """The time block is off, or over."""

    window: str


class WindowBegan(Event, frozen=True, tag=True):
    """Decided: the time block is on. `end_s` is when it ends; 0 for as planned."""

    window: str
    end_s: float = 0.0


class CalendarSet(Event, frozen=True, tag=True):
    """Windows of `duration_s` on a device that recur. The deck plans the next of them as `WindowSet` events.

    `rule` is an RRULE of RFC 5545 that counts from `start_s`, evaluated on the clocks of the time zone `zone` (a name
    of the IANA's). The other fields are those of its windows.
    """

    calendar: str
    device: str
    kind: Literal["calibration", "maintenance", "reservation"]
    rule: str
    start_s: float
    duration_s: float
    zone: str = "UTC"
    hard: bool = True
    slack_s: float = 0.0
    user: str = ""
    project: str = ""
    reason: str = ""


class CalendarCleared(Event, frozen=True, tag=True):
    """No more windows of this calendar; those that it planned are cleared by events of their own, but for one on."""

    calendar: str


class SessionOpened(Event, frozen=True, tag=True):
    """A lease on access began. It ends `ttl_s` seconds after its opening or last renewal.

    `token` is the SHA-256 of the bearer token that was given out with it. It is closed once it was idle for `idle_s`
    seconds; 0 for never. An exclusive session with `lend_s` lends its idle gaps: while nothing of it is ready, others'
    slices of at most that length may run. A shared session or a batch may be on a choice of `devices`, `device` being
    the first of them: each of its tasks is on one, or has some to choose from. One on a single device may reserve
    `decoders` of its real-time host.
    """

    session: str
    user: str
    device: str
    ttl_s: float
    mode: Literal["shared", "exclusive", "batch"] = "shared"
    class_: Literal["production", "test", "development"] = msgspec.field(default="development", name="class")
    project: str = ""
    job: str = ""
    token: str = ""
    idle_s: float = 0.0
    lend_s: float = 0.0
    devices: tuple[str, ...] = ()
    decoders: int = 0


class SessionRenewed(Event, frozen=True, tag=True):
    """The lease starts anew, until `expires_s`; 0 for its whole length. The deck renews a batch that is at work."""

    session: str
    expires_s: float = 0.0


class SessionClosed(Event, frozen=True, tag=True):
    """The lease is over: closed by someone, `expired`, or `idle`. Its waiting tasks are cancelled by own events."""

    session: str
    reason: str = "closed"


class Submitted(Event, frozen=True, tag=True):
    """A task was accepted. `parameters` is JSON text; `name` is a label for people; `job` its session's HPC job.

    `devices`: it may run on any of them, `device` being the first; the best is chosen when it starts. `register`: key
    of the set-up that it needs, the same for tasks that can follow each other without one. `estimate_s`: device seconds
    for all its shots without set-up; 0 to take the device's shot rate. `deadline_s`: of no use after that time; 0 for
    none. `min_quality`: see `DeviceChanged.quality`.
    """

    task: str
    user: str
    device: str
    program: str
    shots: int
    parameters: str = "{}"
    session: str = ""
    project: str = ""
    job: str = ""
    name: str = ""
    class_: Literal["production", "test", "development"] = msgspec.field(default="development", name="class")
    devices: tuple[str, ...] = ()
    register: str = ""
    estimate_s: float = 0.0
    deadline_s: float = 0.0
    min_quality: float = 0.0


class TaskImported(Event, frozen=True, tag=True):
    """A task that ended in another system was taken over, with the times it had there.

    It gets the same `number` here if that is still free. `result` is the address of the blob with its counts.
    """

    task: str
    number: int
    user: str
    device: str
    program: str
    shots: int
    shots_done: int
    state: Literal["done", "failed", "cancelled"]
    submitted_s: float
    started_s: float
    ended_s: float
    result: str | None = None
    job: str = ""
    name: str = ""
    error_code: str = ""
    error_message: str = ""


class NoteKept(Event, frozen=True, tag=True):
    """A dialect wrote down something of its own about `user`'s affairs, such as a batch; `body` is JSON text."""

    kind: str
    id: str
    user: str
    body: str


class Cancelled(Event, frozen=True, tag=True):
    """Somebody, or the end of its session, called a task off. What it measured is kept."""

    task: str
    by: str = ""


class SliceStarted(Event, frozen=True, tag=True):
    """Decided: this batch of shots goes to the device. Written down before the driver hears of it.

    `device` is there if it is not the task's own. `cause`: why this task and no other, see `policy.Cause`; `rival`: the
    task that would have come next; `score`: by how much it was ahead of it. `bound_s`: the most that it is charged if a
    budget pays.
    """

    task: str
    index: int
    shots: int
    device: str = ""
    cause: str = ""
    rival: str = ""
    score: float = 0.0
    bound_s: float = 0.0


class SliceAccepted(Event, frozen=True, tag=True):
    """The device took the slice and calls it `handle`. Only for devices whose handles outlive the daemon."""

    task: str
    index: int
    handle: str


class SliceFinished(Event, frozen=True, tag=True):
    """The device gave `shots` of the slice's shots (all of them, unless it was being cancelled).

    `result` is the address of the blob with the counts; `qpu_s` the seconds for which the device was occupied, of which
    `setup_s` went into the set-up.
    """

    task: str
    index: int
    shots: int
    result: str | None = None
    qpu_s: float = 0.0
    setup_s: float = 0.0


class SliceFailed(Event, frozen=True, tag=True):
    """The slice gave nothing. `kind` decides what follows.

    `rejected`: the device refuses the program; the task fails. `unavailable`: the device is gone; nothing is held
    against the task. `lost`: the device or its process forgot the slice; it runs again. `fault`: the run went wrong; it
    runs again, within a budget. `cancelled`: it stopped on request before its first shot.
    """

    task: str
    index: int
    kind: Literal["rejected", "unavailable", "lost", "fault", "cancelled"]
    code: str = ""
    message: str = ""
    qpu_s: float = 0.0


class TaskPaused(Event, frozen=True, tag=True):
    """Decided: after a fault the task is left alone until `until_s`, so that others show whether the device is well."""

    task: str
    until_s: float


class TaskFailed(Event, frozen=True, tag=True):
    """Decided: the task cannot be run. What it measured is kept."""

    task: str
    code: str
    message: str


class DevicePaused(Event, frozen=True, tag=True):
    """Decided: after several faults in a row nothing starts on the device until `until_s`."""

    device: str
    until_s: float


class PolicyFailed(Event, frozen=True, tag=True):
    """The policy raised an error; from here on tasks are served first come, first served. An alarm: see `message`."""

    policy: str
    message: str


class ProjectSet(Event, frozen=True, tag=True):
    """A project was set up, or changed; "" is the project of all who name none.

    `share` is its weight in fair shares; `members` are the users who may use it, and `classes` what their work may be
    labelled as, all if there are none. From the first project with a name on, only projects that were set up may be
    named.
    """

    project: str
    share: float = 1.0
    members: tuple[str, ...] = ()
    classes: tuple[Literal["production", "test", "development"], ...] = ()


class ProjectRemoved(Event, frozen=True, tag=True):
    """A project is no more; its budgets and what was spent of them are forgotten, its usage reports are kept."""

    project: str


class BudgetSet(Event, frozen=True, tag=True):
    """What a project, or with `user` that user in it, may spend: device seconds and shots; None for no limit.

    `period` "month": in each calendar month (UTC); "": in all since the last `reset`, which counts anew from 0.
    """

    project: str
    user: str = ""
    qpu_s: float | None = None
    shots: int | None = None
    period: Literal["", "month"] = ""
    reset: bool = False


class Tick(Event, frozen=True, tag=True):
    """Time went by. Not written down itself: what it brings about is."""


EVENTS: tuple[type[Event], ...] = (
    DeviceDeclared, DeviceRetired, DeviceChanged, WindowSet, WindowCleared, WindowBegan,
    SessionOpened, SessionRenewed, SessionClosed, Submitted, TaskImported, NoteKept, Cancelled,
    SliceStarted, SliceAccepted, SliceFinished, SliceFailed, TaskPaused, TaskFailed, DevicePaused, PolicyFailed,
    Tick,
    ProjectSet, ProjectRemoved, BudgetSet,
    Tick, CalendarSet, CalendarCleared,
)  # fmt: skip

_AnyEvent = (
    DeviceDeclared | DeviceRetired | DeviceChanged | WindowSet | WindowCleared | WindowBegan
    | SessionOpened | SessionRenewed | SessionClosed | Submitted | TaskImported | NoteKept | Cancelled
    | SliceStarted | SliceAccepted | SliceFinished | SliceFailed | TaskPaused | TaskFailed | DevicePaused | PolicyFailed
    | Tick
    | ProjectSet | ProjectRemoved | BudgetSet
    | Tick | CalendarSet | CalendarCleared
)  # fmt: skip

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(_AnyEvent).decode


def to_json(event: Event) -> dict[str, Any]:
    """The event as plain JSON values."""
    builtins: dict[str, Any] = msgspec.to_builtins(event)
    return builtins
