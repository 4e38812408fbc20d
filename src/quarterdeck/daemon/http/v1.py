"""The operations of `/v1`, as a table."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import PlainTextResponse, Response

from quarterdeck import wire
from quarterdeck.daemon import policies
from quarterdeck.daemon.http.operation import Asked, Operation, Query
from quarterdeck.daemon.http.stream import events
from quarterdeck.daemon.store import TaskQuery
from quarterdeck.errors import (
    BadProgram,
    BadRequest,
    Conflict,
    DeviceUnavailable,
    Forbidden,
    IdempotencyMismatch,
    Invalid,
    NotFound,
    NotReady,
    OverBudget,
    TooCostly,
    TooLarge,
    TooManyRequests,
)

_encode = msgspec.json.encode
Seconds = Annotated[float, Meta(ge=0, le=600)]
Count = Annotated[int, Meta(ge=1, le=1000)]
Text = Annotated[str, Meta(max_length=128, pattern=r"^[^\x00-\x1f]*\Z")]
Month = Annotated[str, Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])\Z")]
Number = Annotated[int, Meta(ge=0, le=2**62)]
_BODY = (BadRequest, TooLarge, Invalid)
_KEY = Query(
    "Idempotency-Key", Annotated[str, Meta(min_length=1, max_length=200)] | None, None,
    "Any text of your own. The same key again, with the same body, gives the same task; remembered for a day.",
)  # fmt: skip


async def _upload(asked: Asked) -> Any:
    return await asked.desk.upload(asked.actor, asked.body)


async def _program(asked: Asked) -> Any:
    return await asked.desk.program(asked.path["id"])


async def _payload(asked: Asked) -> Any:
    return PlainTextResponse(await asked.desk.payload(asked.path["id"]))


async def _submit(asked: Asked) -> Any:
    key = asked.request.headers.get("idempotency-key", "")
    if len(key) > 200:
        raise Invalid("Idempotency-Key", "longer than 200 characters")
    task, new = await asked.desk.submit(asked.actor, asked.body, key, asked.raw)
    return Response(_encode(task), 201 if new else 200, {"Location": f"/v1/tasks/{task.id}"}, "application/json")


async def _tasks(asked: Asked) -> Any:
    query = asked.query
    before = query["cursor"]
    page = TaskQuery(
        user=query["user"], state=query["state"], session=query["session"], device=query["device"],
        before_seq=before, limit=query["limit"],
    )  # fmt: skip
    return await asked.desk.tasks.page(asked.actor, page)


async def _task(asked: Asked) -> Any:
    return await asked.desk.tasks.get(asked.actor, asked.path["id"], asked.query["wait"], asked.query["after"])


async def _cancel(asked: Asked) -> Any:
    return await asked.desk.tasks.cancel(asked.actor, asked.path["id"])


async def _result(asked: Asked) -> Any:
    return await asked.desk.tasks.result(asked.actor, asked.path["id"], asked.query["partial"])


async def _log(asked: Asked) -> Any:
    return await asked.desk.tasks.log(asked.actor, asked.path["id"])


async def _why(asked: Asked) -> Any:
    return await asked.desk.tasks.why(asked.actor, asked.path["id"])


async def _import_tasks(asked: Asked) -> Any:
    return await asked.desk.tasks.take_over(asked.actor, asked.body)


async def _open_session(asked: Asked) -> Any:
    return await asked.desk.sessions.open(asked.actor, asked.body)


async def _sessions(asked: Asked) -> Any:
    return asked.desk.sessions.list(asked.actor)


async def _session(asked: Asked) -> Any:
    return await asked.desk.sessions.get(asked.actor, asked.path["id"])


async def _renew_session(asked: Asked) -> Any:
    return await asked.desk.sessions.renew(asked.actor, asked.path["id"])


async def _close_session(asked: Asked) -> Any:
    return await asked.desk.sessions.close(asked.actor, asked.path["id"])


async def _check_job(asked: Asked) -> Any:
    return asked.desk.jobs.check(asked.actor, asked.body)


async def _acquire_job(asked: Asked) -> Any:
    return await asked.desk.jobs.acquire(asked.actor, asked.path["id"], asked.body)


async def _jobs(asked: Asked) -> Any:
    return await asked.desk.jobs.list(asked.actor, asked.query["manager"])


async def _job(asked: Asked) -> Any:
    return await asked.desk.jobs.job(asked.actor, asked.path["id"])


async def _access_job(asked: Asked) -> Any:
    return await asked.desk.jobs.job(asked.actor, asked.path["id"], access=True)


async def _renew_job(asked: Asked) -> Any:
    return await asked.desk.jobs.renew(asked.actor, asked.path["id"], asked.body.ttl_s)


async def _release_job(asked: Asked) -> Any:
    return await asked.desk.jobs.release(asked.actor, asked.path["id"], asked.query["session"] or "")


async def _devices(asked: Asked) -> Any:
    return asked.desk.devices()


async def _device(asked: Asked) -> Any:
    return asked.desk.device(asked.path["name"])


async def _set_device(asked: Asked) -> Any:
    return await asked.desk.set_device(asked.actor, asked.path["name"], asked.body)


async def _windows(asked: Asked) -> Any:
    return asked.desk.windows.list(asked.path["name"])


async def _set_window(asked: Asked) -> Any:
    return await asked.desk.windows.set(asked.actor, asked.path["name"], asked.body)


async def _clear_window(asked: Asked) -> Any:
    return await asked.desk.windows.clear(asked.actor, asked.path["id"])


async def _calendars(asked: Asked) -> Any:
    return asked.desk.windows.calendars(asked.path["name"])


async def _set_calendar(asked: Asked) -> Any:
    return await asked.desk.windows.set_calendar(asked.actor, asked.path["name"], asked.body)


async def _clear_calendar(asked: Asked) -> Any:
    return await asked.desk.windows.clear_calendar(asked.actor, asked.path["id"])


async def _projects(asked: Asked) -> Any:
    return asked.desk.projects.list(asked.actor)


async def _project(asked: Asked) -> Any:
    return asked.desk.projects.get(asked.actor, asked.path["name"])


async def _set_project(asked: Asked) -> Any:
    return await asked.desk.projects.set(asked.actor, asked.path["name"], asked.body)


async def _remove_project(asked: Asked) -> Any:
    return await asked.desk.projects.remove(asked.actor, asked.path["name"])


async def _set_budget(asked: Asked) -> Any:
    return await asked.desk.projects.set_budget(asked.actor, asked.path["name"], asked.body)


async def _usage(asked: Asked) -> Any:
    query = asked.query
    by = [key for key in query["by"].split(",") if key]
    return await asked.desk.projects.usage(
        asked.actor, query["from"] or "", query["to"] or "", by, query["project"]
    )  # fmt: skip


async def _limits(asked: Asked) -> Any:
    return asked.desk.gate.limits(asked.actor.user)


async def _policy(asked: Asked) -> Any:
    return policies.show(asked.desk.engine)


OPERATIONS: tuple[Operation, ...] = (
    Operation(id="listDevices", method="GET", path="/v1/devices", about="The devices, and how they are doing.",
              serve=_devices, answer=wire.DevicePage),
    Operation(id="getDevice", method="GET", path="/v1/devices/{name}", about="A device with its specification.",
              serve=_device, answer=wire.Device, errors=(NotFound,)),
    Operation(id="setDeviceStatus", method="POST", path="/v1/devices/{name}/status",
              about="Take a device out of service, or give it back (administrators).", serve=_set_device,
              body=wire.DeviceSet, answer=wire.Device, errors=(*_BODY, Forbidden, NotFound)),
    Operation(id="listWindows", method="GET", path="/v1/devices/{name}/windows",
              about="The time blocks of a device that are planned or on.", serve=_windows, answer=wire.WindowPage,
              errors=(NotFound,)),
    Operation(id="setWindow", method="POST", path="/v1/devices/{name}/windows",
              about="Set a time block on a device (administrators).", serve=_set_window, status=201,
              body=wire.WindowSet, answer=wire.Window, errors=(*_BODY, Forbidden, NotFound, Conflict)),
    Operation(id="clearWindow", method="DELETE", path="/v1/windows/{id}",
              about="Take a time block off a device, or end it (administrators).", serve=_clear_window,
              answer=wire.Window, errors=(Forbidden, NotFound)),
    Operation(id="listCalendars", method="GET", path="/v1/devices/{name}/calendars",
              about="The time blocks of a device that recur.", serve=_calendars, answer=wire.CalendarPage,
              errors=(NotFound,)),
    Operation(id="setCalendar", method="POST", path="/v1/devices/{name}/calendars",
              about="Let a time block recur on a device (administrators).", serve=_set_calendar, status=201,
              body=wire.CalendarSet, answer=wire.Calendar, errors=(*_BODY, Forbidden, NotFound, Conflict)),
    Operation(id="clearCalendar", method="DELETE", path="/v1/calendars/{id}",
              about="Let a time block recur no more; one that is on goes on to its end (administrators).",
              serve=_clear_calendar, answer=wire.Calendar, errors=(Forbidden, NotFound)),
    Operation(id="getPolicy", method="GET", path="/v1/policy", about="What decides the order on the devices, and how.",
              serve=_policy, answer=wire.Policy),
    Operation(id="uploadProgram", method="POST", path="/v1/programs",
              about="Keep a program, checked once; tasks then refer to it by its id.", serve=_upload, status=201,
              body=wire.ProgramUpload, answer=wire.ProgramInfo,
              errors=(*_BODY, NotFound, BadProgram, TooCostly, DeviceUnavailable)),
    Operation(id="getProgram", method="GET", path="/v1/programs/{id}", about="What is known of a program.",
              serve=_program, answer=wire.ProgramInfo, errors=(NotFound,)),
    Operation(id="getProgramPayload", method="GET", path="/v1/programs/{id}/payload", about="The program's own text.",
              serve=_payload, answer=str, media="text/plain", errors=(NotFound,)),
    Operation(id="submitTask", method="POST", path="/v1/tasks",
              about="Submit a task: durable once this answers; 200 means that its Idempotency-Key was used before.",
              serve=_submit, status=201, body=wire.TaskSubmit, answer=wire.Task, headers=(_KEY,),
              errors=(*_BODY, NotFound, Conflict, IdempotencyMismatch, BadProgram, TooCostly, DeviceUnavailable,
                      OverBudget, Forbidden, TooManyRequests)),
    Operation(id="importTasks", method="POST", path="/v1/tasks/import",
              about="Take over tasks that ended in another system (administrators).", serve=_import_tasks,
              body=wire.TaskImport, answer=wire.Imported, errors=(*_BODY, Forbidden)),
    Operation(id="listTasks", method="GET", path="/v1/tasks", about="Your tasks, newest first.", serve=_tasks,
              answer=wire.TaskPage, errors=(Invalid,), query=(
                  Query("state", wire.TaskState | None, None, "Only those in this state."),
                  Query("session", Text | None, None, "Only those of this session."),
                  Query("device", Text | None, None, "Only those for this device."),
                  Query("user", Text | None, None, "Only this user's (administrators; others see their own)."),
                  Query("limit", Count, 100, "Tasks per page."),
                  Query("cursor", Number | None, None, "`next` of the page before."))),
    Operation(id="getTask", method="GET", path="/v1/tasks/{id}", about="A task, at once or when it has changed.",
              serve=_task, answer=wire.Task, errors=(NotFound, Invalid), query=(
                  Query("wait", Seconds, 0.0, "Answer when the task has ended, or after this many seconds."),
                  Query("after", Number | None, None, "With `wait`: answer as soon as its version is greater."))),
    Operation(id="cancelTask", method="POST", path="/v1/tasks/{id}/cancel",
              about="Call a task off; it keeps what it measured. Without effect on one that ended.", serve=_cancel,
              answer=wire.Task, errors=(NotFound,)),
    Operation(id="getResult", method="GET", path="/v1/tasks/{id}/result", about="The merged counts of a task.",
              serve=_result, answer=wire.Result, errors=(NotFound, NotReady, Invalid),
              query=(Query("partial", bool, False, "Also before the end: what has been measured so far."),)),
    Operation(id="getLog", method="GET", path="/v1/tasks/{id}/log", about="What happened to a task, oldest first.",
              serve=_log, answer=wire.Log, errors=(NotFound,)),
    Operation(id="whyTask", method="GET", path="/v1/tasks/{id}/why",
              about="Why a task waits: a reason from a closed list, its place and an estimate.", serve=_why,
              answer=wire.Why, errors=(NotFound,)),
    Operation(id="openSession", method="POST", path="/v1/sessions", about="Open a lease on a device.",
              serve=_open_session, status=201, body=wire.SessionOpen, answer=wire.Session,
              errors=(*_BODY, NotFound, Conflict, OverBudget, Forbidden, TooManyRequests)),
    Operation(id="listSessions", method="GET", path="/v1/sessions", about="Your open sessions.", serve=_sessions,
              answer=wire.SessionPage),
    Operation(id="getSession", method="GET", path="/v1/sessions/{id}", about="A session, open or closed.",
              serve=_session, answer=wire.Session, errors=(NotFound,)),
    Operation(id="renewSession", method="POST", path="/v1/sessions/{id}/renew", about="Start a lease anew.",
              serve=_renew_session, answer=wire.Session, errors=(NotFound,)),
    Operation(id="closeSession", method="DELETE", path="/v1/sessions/{id}",
              about="End a lease and cancel what waits in it. Closing twice is closing once.", serve=_close_session,
              answer=wire.Session, errors=(NotFound,)),
    Operation(id="checkJob", method="POST", path="/v1/jobs/check",
              about="Whether a workload manager's job could have its QPUs now, or ever.", serve=_check_job,
              body=wire.JobAcquire, answer=wire.JobCheck, errors=(*_BODY, NotFound, Forbidden, OverBudget)),
    Operation(id="listJobs", method="GET", path="/v1/jobs", about="The jobs that have their QPUs.", serve=_jobs,
              answer=wire.JobPage, query=(Query("manager", Text | None, None, "Of this workload manager."),)),
    Operation(id="acquireJob", method="PUT", path="/v1/jobs/{id}",
              about="Give a job its QPUs: a session, the same one however often it asks (administrators).",
              serve=_acquire_job, body=wire.JobAcquire, answer=wire.Job,
              errors=(*_BODY, NotFound, Forbidden, Conflict, OverBudget, DeviceUnavailable)),
    Operation(id="getJob", method="GET", path="/v1/jobs/{id}", about="A job and what it used.", serve=_job,
              answer=wire.Job, errors=(NotFound,)),
    Operation(id="accessJob", method="GET", path="/v1/jobs/{id}/access",
              about="A job that has its QPUs, with the token of its session.", serve=_access_job, answer=wire.Job,
              errors=(NotFound,)),
    Operation(id="renewJob", method="POST", path="/v1/jobs/{id}/renew", about="A job's heartbeat.", serve=_renew_job,
              body=wire.JobRenew, answer=wire.Job, errors=(*_BODY, NotFound)),
    Operation(id="releaseJob", method="DELETE", path="/v1/jobs/{id}",
              about="Take a job's QPUs back. Releasing twice is releasing once.", serve=_release_job, answer=wire.Job,
              query=(Query("session", Text | None, None, "Only if it still has them through this session."),),
              errors=(NotFound,)),
    Operation(id="streamEvents", method="GET", path="/v1/events",
              about="The event log as server-sent events, or as lines of JSON with `Accept: application/x-ndjson`. "
              "Administrators see all of it, others what concerns them.",
              serve=events, answer=str, media="text/event-stream", errors=(Invalid,), query=(
                  Query("after", Number, 0, "Start behind this entry."),
                  Query("follow", bool, False, "Go on with what happens from now on."),
                  Query("limit", Annotated[int, Meta(ge=1)] | None, None, "At most this many entries."))),
    Operation(id="listProjects", method="GET", path="/v1/projects", about="The projects that you may use.",
              serve=_projects, answer=wire.ProjectPage),
    Operation(id="getProject", method="GET", path="/v1/projects/{name}", about="A project, its budget and its use.",
              serve=_project, answer=wire.Project, errors=(NotFound, Invalid)),
    Operation(id="setProject", method="PUT", path="/v1/projects/{name}",
              about="Set up a project, or change it as a whole (administrators).", serve=_set_project,
              body=wire.ProjectSet, answer=wire.Project, errors=(*_BODY, Forbidden, NotFound, Conflict)),
    Operation(id="removeProject", method="DELETE", path="/v1/projects/{name}",
              about="Remove a project that has no live tasks and no open sessions (administrators).",
              serve=_remove_project, answer=wire.Project, errors=(Forbidden, NotFound, Conflict, Invalid)),
    Operation(id="setBudget", method="PUT", path="/v1/projects/{name}/budget",
              about="Set what a project, or a user in it, may spend (administrators).", serve=_set_budget,
              body=wire.BudgetSet, answer=wire.Project, errors=(*_BODY, Forbidden, NotFound, Conflict)),
    Operation(id="getUsage", method="GET", path="/v1/usage",
              about="What was used, by month and more. You see your own use, with `project` all of one that lists you "
              "as a member; administrators see everybody's.",
              serve=_usage, answer=wire.UsagePage, errors=(Invalid,), query=(
                  Query("from", Month | None, None, "First month, such as 2026-01."),
                  Query("to", Month | None, None, "Last month."),
                  Query("by", Text, "project", "What to sum up by: some of project, user, class, device, month, with "
                        "commas between them; empty for one sum."),
                  Query("project", Text | None, None, "Only this project's."))),
    Operation(id="getLimits", method="GET", path="/v1/limits",
              about="How many tasks and sessions you may have, how fast you may submit, and what is in use.",
              serve=_limits, answer=wire.LimitPage),
)  # fmt: skip
