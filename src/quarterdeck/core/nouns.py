"""The state that the core keeps: tasks, slices in flight, sessions, devices, windows, calendars.

Each is a plain record that goes through JSON unchanged, so that a restart restores exactly what was.
"""

from __future__ import annotations

from typing import Literal

import msgspec

TaskState = Literal["queued", "running", "cancelling", "done", "failed", "cancelled"]
WindowKind = Literal["calibration", "maintenance", "reservation"]
ENDED = frozenset({"done", "failed", "cancelled"})


class Task(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """One program on one device.

    Attributes:
        seq: Order of submission, from 1 without gaps.
        version: Grows with each change.
        started_s: When its first slice started; 0 before.
        ended_s: When it ended; 0 before.
        slices: How many slices it was given so far; the next one has this index.
        shots_done: Shots of its finished slices.
        faults: Runs that went wrong and are held against it.
        successes_seen: The device's count of finished slices at the first of these faults.
        not_before_s: It is left alone until then, after a fault.
        losses: Slices that occupied the device and were lost, since the last one that finished.
        qpu_s: Seconds for which it occupied the device.
        setup_s: Seconds of these that went into set-ups.
        devices, register, estimate_s, deadline_s, min_quality: See `events.Submitted`. `devices` is empty once it has
            started: all its shots come from one device.
    """

    id: str
    seq: int
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
    state: TaskState = "queued"
    version: int = 1
    submitted_s: float
    started_s: float = 0.0
    ended_s: float = 0.0
    slices: int = 0
    shots_done: int = 0
    faults: int = 0
    successes_seen: int = 0
    not_before_s: float = 0.0
    losses: int = 0
    qpu_s: float = 0.0
    setup_s: float = 0.0
    devices: tuple[str, ...] = ()
    register: str = ""
    estimate_s: float = 0.0
    deadline_s: float = 0.0
    min_quality: float = 0.0
    error_code: str = ""
    error_message: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def eligible(self) -> tuple[str, ...]:
        """The devices that its next slice may run on."""
        return self.devices or (self.device,)

    @property
    def remaining(self) -> int:
        """Shots still to run."""
        return self.shots - self.shots_done


class Slice(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """A batch of a task's shots, the unit that a device runs.

    Attributes:
        handle: What the device calls it, if that is written down.
        after: The device's last handle before this slice.
        setup_s: The set-up that it needs, at the longest.
        bound_s: The most that it is charged; 0 for no bound.
    """

    task: str
    index: int
    device: str
    shots: int
    state: Literal["running", "finished", "failed"] = "running"
    shots_done: int = 0
    started_s: float
    ended_s: float = 0.0
    error: str = ""
    handle: str = ""
    after: str = ""
    setup_s: float = 0.0
    bound_s: float = 0.0

    @property
    def key(self) -> str:
        """Unique for ever: by it a driver knows a slice again."""
        return f"{self.task}/{self.index}"


class Session(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """A lease on access to a device. `token` is the SHA-256 of its bearer token.

    Attributes:
        attained_s: Seconds that it has had: on devices, and thinking between its tasks. The rest of its time it waited.
        began_s: When it would have been opened with what it took over from sessions before it.
        idle_from_s: Since when it has had nothing to run, if it has nothing.
        errors, error_sum: Tasks of it whose device time was estimated, and the sum of ln(actual / estimate).
        idle_s, lend_s, devices, decoders: See `events.SessionOpened`.
        active_s: Its idle clock reads `now - active_s`; None while that clock stands still: something of the session
            waits or runs, or its devices are all offline, in maintenance or in a window.
        idled_s: What the idle clock read when its devices went away.
        used: Something was submitted in it.
    """

    id: str
    user: str
    device: str
    ttl_s: float
    mode: Literal["shared", "exclusive", "batch"] = "shared"
    class_: Literal["production", "test", "development"] = msgspec.field(default="development", name="class")
    project: str = ""
    job: str = ""
    state: Literal["open", "closed"] = "open"
    opened_s: float
    expires_s: float
    closed_s: float = 0.0
    reason: str = ""
    token: str = ""
    attained_s: float = 0.0
    began_s: float = 0.0
    idle_from_s: float = 0.0
    errors: int = 0
    error_sum: float = 0.0
    idle_s: float = 0.0
    lend_s: float = 0.0
    active_s: float | None = None
    idled_s: float = 0.0
    used: bool = False
    devices: tuple[str, ...] = ()
    decoders: int = 0

    @property
    def eligible(self) -> tuple[str, ...]:
        """The devices that its tasks may run on."""
        return self.devices or (self.device,)


class Device(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A QPU or an emulator, as far as scheduling it goes.

    Attributes:
        declared: It is in the daemon's configuration now.
        finished: Slices that it finished, ever.
        faults: Runs that went wrong since the last one that finished.
        not_before_s: Nothing starts before, after a fault.
        running: Keys of the slices in flight.
        last_handle: What it called the last slice that it accepted, if that is written down.
        overhead_s: What every slice costs besides its shots and set-up.
        quality: Figure of merit of its calibration, 0 to 1; 0 if nobody knows.
        register: Key of the set-up that it holds; empty if unknown.
        register_s: When tasks with that key began to follow each other.
        typical_s: Device seconds of a typical task (geometric mean, recent ones counting more); 0 before the first.
        overheads: Slices whose overhead was measured.
        decoders: Logical qubits that its real-time host decodes; sessions reserve them.
    """

    id: str
    declared: bool = True
    lanes: int = 1
    slice_shots: int = 1000
    shot_rate_hz: float = 0.0
    setup_s: float = 0.0
    emulated: bool = True
    status: Literal["online", "maintenance", "offline"] = "offline"
    reason: str = ""
    finished: int = 0
    faults: int = 0
    not_before_s: float = 0.0
    running: list[str] = []
    last_handle: str = ""
    overhead_s: float = 0.0
    modality: str = "none"
    qubits: int = 0
    quality: float = 0.0
    register: str = ""
    register_s: float = 0.0
    typical_s: float = 0.0
    overheads: int = 0
    decoders: int = 0

    def duration_s(self, shots: int) -> float:
        """The longest that a slice of this many shots may take."""
        return self.setup_s + (shots / self.shot_rate_hz if self.shot_rate_hz else 0.0)


class Window(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """A time block on a device. See `events.WindowSet`.

    Attributes:
        began_s: When it began; `end_s` then says when it ends, also if it began later than at `start_s`.
    """

    id: str
    device: str
    kind: WindowKind
    start_s: float
    end_s: float
    hard: bool = True
    state: Literal["planned", "on", "over"] = "planned"
    began_s: float = 0.0
    reason: str = ""
    slack_s: float = 0.0
    user: str = ""
    project: str = ""
    calendar: str = ""

    @property
    def latest_s(self) -> float:
        """When it begins at the latest."""
        return self.start_s + self.slack_s

    @property
    def keeps_away(self) -> bool:
        """Whether nothing (of others) starts that cannot end before `latest_s`."""
        return self.hard or self.slack_s > 0

    @property
    def holder(self) -> tuple[str, str]:
        """A reservation's user and project: its tasks are those of both, as far as they are given."""
        return self.user, self.project


def holds(holder: tuple[str, str], user: str, project: str) -> bool:
    """Whether work of this user for this project is the holder's."""
    return holder[0] in ("", user) and holder[1] in ("", project)


class Calendar(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """Windows that recur. See `events.CalendarSet`. `planned_s` is the start of the last window planned; 0 if none."""

    id: str
    device: str
    kind: WindowKind
    rule: str
    start_s: float
    duration_s: float
    zone: str = "UTC"
    hard: bool = True
    slack_s: float = 0.0
    user: str = ""
    project: str = ""
    reason: str = ""
    planned_s: float = 0.0
    state: Literal["set", "cleared"] = "set"
