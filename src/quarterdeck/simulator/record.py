"""What a simulated run leaves behind: jobs, slices, and where every second of every device went.

Times are virtual seconds from the beginning of the run (0), unless said otherwise.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Class = Literal["production", "test", "development"]
CLASSES: tuple[Class, ...] = ("production", "test", "development")

Cause = Literal[
    "working", "setup", "overhead", "lost",
    "calibration", "maintenance", "reservation", "fault",
    "blocked", "thinking", "empty",
]  # fmt: skip
"""Why a second of a device went as it did. Each has exactly one.

`working`, `setup`, `overhead`: spent by slices that finished. `lost`: spent by slices that gave nothing.
`calibration`, `maintenance`, `reservation`: in such a window. `fault`: offline, or paused after faults. `blocked`:
tasks are ready, but nothing may start (a window too near, an exclusive session, a budget). `thinking`: sessions are
open, all in classical work. `empty`: no work at all.
"""
CAUSES: tuple[Cause, ...] = (
    "working", "setup", "overhead", "lost", "calibration", "maintenance", "reservation", "fault", "blocked", "thinking",
    "empty",
)  # fmt: skip


class JobRecord(msgspec.Struct, gc=False, omit_defaults=True):
    """A job that ended.

    Attributes:
        end_s: When its last round was over.
        work_s: Its think and quantum seconds: how long it takes alone on a device without set-up, overhead or windows.
        quantum_s: The part of it that is shots.
        rounds: Tasks that it submitted.
        deadline_s: When its last task had to be done; 0 for none.
        missed: It was not.
    """

    job: int
    user: str
    project: str
    class_: Class = msgspec.field(name="class")
    arrival_s: float
    end_s: float
    work_s: float
    quantum_s: float
    rounds: int
    deadline_s: float = 0.0
    missed: bool = False


class SliceRecord(msgspec.Struct, gc=False):
    """A slice that was on a device from `start_s` to `end_s`, set-up first, then overhead, then shots."""

    device: str
    job: int
    task: str
    class_: Class = msgspec.field(name="class")
    user: str
    start_s: float
    end_s: float
    setup_s: float
    overhead_s: float
    state: Literal["finished", "lost"]
    shots: int


class Span(msgspec.Struct, gc=False):
    """Seconds of a device that follow each other and have the same cause."""

    device: str
    start_s: float
    end_s: float
    cause: Cause


class EtaRecord(msgspec.Struct, gc=False):
    """Seconds from a task's submission to its start: as estimated at the submission, and as they were."""

    estimate_s: float
    actual_s: float
    class_: Class = msgspec.field(name="class")


class Record(msgspec.Struct, kw_only=True):
    """One run.

    Attributes:
        devices: Their ids, in the order of the site's description.
        begin_s, end_s: What is covered. The run ends when the last job did, or where it was told to stop.
        jobs: Those that ended, in the order of their ends.
        slices: In the order of their ends; None unless asked for.
        busy: Seconds by device and cause. Each device's sum is `end_s - begin_s` times its lanes.
        spans: The same as time lines (of devices with one lane); None unless asked for.
        etas: A sample of the tasks, if asked for.
        counters: What it took: `events`, `decisions` (slices started), `tasks`, `jobs` (begun), `unfinished` and
            `cancelled` (jobs that gave up), `missed` (deadlines), `killed` (slices, by windows), `lost` (slices, by
            faults), `faults` (of devices), `restarts`, `policy_failed` (it raised, and `fifo` took over), `wall_s`.
    """

    policy: str
    workload: str = ""
    seed: int = 0
    devices: list[str]
    lanes: dict[str, int] = {}
    begin_s: float = 0.0
    end_s: float
    jobs: list[JobRecord]
    slices: list[SliceRecord] | None = None
    busy: dict[str, dict[Cause, float]]
    spans: list[Span] | None = None
    etas: list[EtaRecord] = []
    counters: dict[str, float] = {}
