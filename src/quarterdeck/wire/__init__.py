"""The words of `/v1`: what requests and answers look like in JSON. Shared by the daemon and its client.

Times are seconds since 1970 (UTC); durations are seconds; 0 in a time means "not yet".
"""

from __future__ import annotations

from quarterdeck.wire.base import (
    SHA,
    Answer,
    Class,
    DeviceStatus,
    Label,
    Mode,
    Name,
    Reason,
    Request,
    Shots,
    TaskState,
    UserName,
    WindowKind,
)
from quarterdeck.wire.device import Device, DevicePage, DeviceSet, NextWindow, RealtimeHost
from quarterdeck.wire.health import Failure, Health
from quarterdeck.wire.history import Imported, ImportedTask, TaskImport
from quarterdeck.wire.job import Job, JobAcquire, JobCheck, JobDevice, JobPage, JobRenew, JobUsage
from quarterdeck.wire.policy import Knob, Policy, PolicyDevice
from quarterdeck.wire.program import ProgramInfo, ProgramUpload
from quarterdeck.wire.project import (
    Budget,
    BudgetSet,
    Limit,
    LimitPage,
    Project,
    ProjectPage,
    ProjectSet,
    UsagePage,
    UsageRow,
)
from quarterdeck.wire.session import Session, SessionOpen, SessionPage
from quarterdeck.wire.task import Error, Log, LogLine, Needs, Result, SliceInfo, Task, TaskPage, TaskSubmit, Why
from quarterdeck.wire.window import Calendar, CalendarPage, CalendarSet, Window, WindowPage, WindowSet

__all__ = [
    "SHA", "Answer", "Budget", "BudgetSet", "Calendar", "CalendarPage", "CalendarSet", "Class", "Device",
    "DevicePage", "DeviceSet", "DeviceStatus", "Error", "Failure", "Health", "Imported", "ImportedTask", "Job",
    "JobAcquire", "JobCheck", "JobDevice", "JobPage", "JobRenew", "JobUsage", "Knob", "Label", "Limit", "LimitPage",
    "Log", "LogLine", "Mode", "Name", "Needs", "NextWindow", "Policy", "PolicyDevice", "ProgramInfo",
    "ProgramUpload", "Project", "ProjectPage", "ProjectSet", "RealtimeHost", "Reason", "Request", "Result", "Session",
    "SessionOpen", "SessionPage", "Shots", "SliceInfo", "Task", "TaskImport", "TaskPage", "TaskState", "TaskSubmit",
    "UsagePage", "UsageRow", "UserName", "Why", "Window", "WindowKind", "WindowPage", "WindowSet",
]  # fmt: skip
