"""The Python client: everything that `/v1` can do, as methods."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from secrets import token_hex
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from quarterdeck import wire
from quarterdeck.client import address
from quarterdeck.client.link import FIRST_PAUSE_S, Link
from quarterdeck.client.session import SessionHandle
from quarterdeck.client.task import TaskHandle
from quarterdeck.errors import Conflict, DaemonUnreachable, Invalid, Remote

SILENCE_S = 60.0
"""The event stream says something every 15 s; after this long without a word it is taken up anew."""
TTL_S = 300.0
"""Lease of a session that renews itself: short, so that a job that dies does not hold a device for long."""
PAGE = 1000
"""Tasks in one answer: the most that the daemon gives."""
_ID = re.compile(r"[0-9a-f]{64}\Z")


class Entry(msgspec.Struct, frozen=True):
    """An entry of the event log: its number, and the event as JSON values."""

    seq: int
    event: dict[str, Any]


def connect(url: str | None = None, token: str | None = None, *, patience_s: float = 60.0) -> Client:
    """A client of the daemon at `url`, or of the one that `QDECK_URL` or the usual places lead to.

    Nothing is sent yet. Inside a job, `QDECK_DEVICE` and `QDECK_SESSION` are the defaults of what is submitted. Once
    the daemon has answered, a break of up to `patience_s` seconds (a restart) is waited out.
    """
    return Client(address.find(url, token), patience_s=patience_s)


class Client:
    """A client. May be shared by threads; use it with `with`, or `close` it. See `connect`."""

    def __init__(
        self,
        address: address.Address,
        *,
        patience_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.link = Link(address, patience_s, transport)
        self.default_device = environ.get("QDECK_DEVICE", "")
        self.job_session = environ.get("QDECK_SESSION", "")
        self.job_devices = [d for d in environ.get("QDECK_DEVICES", self.default_device).split(",") if d]
        self.default_project = environ.get("QDECK_PROJECT", "")

    def __repr__(self) -> str:
        return f"<quarterdeck client of {self.link.address.url}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections. Sessions stay open unless closed."""
        self.link.close()

    # -- devices --------------------------------------------------------------------------------------------------

    def devices(self) -> list[wire.Device]:
        """Every device, without specifications."""
        return self.link.ask("GET", "/v1/devices", wire.DevicePage).items

    def device(self, name: str | None = None) -> wire.Device:
        """A device with its specification; the job's own without a name. Raises `NotFound`."""
        return self.link.ask("GET", f"/v1/devices/{quote(self._device(name), safe='')}", wire.Device)

    def set_device(self, name: str, status: str, reason: str = "") -> wire.Device:
        """Take a device out of service (`maintenance`) or give it back (`online`). For administrators."""
        body = msgspec.convert({"status": status, "reason": reason}, wire.DeviceSet)
        return self.link.ask("POST", f"/v1/devices/{quote(name, safe='')}/status", wire.Device, body=body)

    # -- windows --------------------------------------------------------------------------------------------------

    def windows(self, device: str) -> list[wire.Window]:
        """The time blocks of a device that are planned or on, in order of time."""
        return self.link.ask("GET", f"/v1/devices/{quote(device, safe='')}/windows", wire.WindowPage).items

    def set_window(self, device: str, window: wire.WindowSet) -> wire.Window:
        """Set a time block. For administrators, as what follows. Raises `Conflict` or `Invalid` if it cannot be."""
        where = f"/v1/devices/{quote(device, safe='')}/windows"
        return self.link.ask("POST", where, wire.Window, body=window, repeat=False)

    def clear_window(self, id: str) -> wire.Window:
        """Take a time block off, or end it. Raises `NotFound` if it is over."""
        return self.link.ask("DELETE", f"/v1/windows/{quote(id, safe='')}", wire.Window)

    def calendars(self, device: str) -> list[wire.Calendar]:
        """The time blocks of a device that recur."""
        return self.link.ask("GET", f"/v1/devices/{quote(device, safe='')}/calendars", wire.CalendarPage).items

    def set_calendar(self, device: str, calendar: wire.CalendarSet) -> wire.Calendar:
        """Let a time block recur."""
        where = f"/v1/devices/{quote(device, safe='')}/calendars"
        return self.link.ask("POST", where, wire.Calendar, body=calendar, repeat=False)

    def clear_calendar(self, id: str) -> wire.Calendar:
        """Let a time block recur no more; one that is on goes on to its end. Raises `NotFound`."""
        return self.link.ask("DELETE", f"/v1/calendars/{quote(id, safe='')}", wire.Calendar)

    # -- programs -------------------------------------------------------------------------------------------------

    def upload(self, payload: str, format: str = "pulser", device: str | None = None) -> wire.ProgramInfo:
        """Have a program kept and checked, also against `device` if given. The same text twice is kept once.

        Submit the returned program as often as wanted: only its id travels. Raises `BadProgram`.
        """
        body = wire.ProgramUpload(format=format, payload=payload, device=device)
        return self.link.ask("POST", "/v1/programs", wire.ProgramInfo, body=body)

    def program(self, id: str) -> wire.ProgramInfo:
        """What is known of a program. Raises `NotFound`."""
        return self.link.ask("GET", f"/v1/programs/{quote(id, safe='')}", wire.ProgramInfo)

    def payload(self, id: str) -> str:
        """A program's own text. Raises `NotFound`."""
        return self.link.ask("GET", f"/v1/programs/{quote(id, safe='')}/payload", str)

    # -- tasks ----------------------------------------------------------------------------------------------------

    def policy(self) -> wire.Policy:
        """What decides the order on the devices, and its knobs."""
        return self.link.ask("GET", "/v1/policy", wire.Policy)

    def submit(
        self,
        program: str | wire.ProgramInfo,
        *,
        device: str | None = None,
        shots: int,
        parameters: Mapping[str, Any] | None = None,
        format: str = "pulser",
        session: str | SessionHandle | None = None,
        name: str = "",
        class_: wire.Class = "development",
        key: str | None = None,
        project: str | None = None,
        devices: Sequence[str] = (),
        needs: wire.Needs | None = None,
        deadline_s: float = 0.0,
    ) -> TaskHandle:
        """Submit a task; durable once this returns.

        Args:
            program: The id of an uploaded program, what `upload` returned, or the program's text in `format`.
            device: Its name; by default those of the `session` that is given, or the job's (`QDECK_DEVICE`).
            shots: How often to run and measure.
            parameters: Values for the program's variables: numbers or lists of numbers.
            session: By default the job's session (`QDECK_SESSION`) if that is on the same device; "" for none.
            name: A label for people.
            key: Idempotency-Key: the same key with the same content is the same task, for a day. Made up if not
                given, so that this call may be repeated when a connection breaks.
            project: Who pays, by default `QDECK_PROJECT`; a session's tasks are its project's.
            devices: Several in place of `device`; the best one that is free runs it.
            needs: What a device must have, in place of a name.
            deadline_s: Seconds since 1970 after which the result is of no use; 0 for none.

        Raises `OverBudget` if the project's budget does not bear the task.
        """
        if devices or needs is not None:
            session = session or ""
        elif device is None and session:
            pass  # the session knows
        else:
            device = self._device(device)
        if session is None:
            session = self.job_session if device in self.job_devices or not self.job_devices else ""
        body = wire.TaskSubmit(
            device=device,
            program=program.id if isinstance(program, wire.ProgramInfo) else
            program if _ID.match(program) else wire.ProgramUpload(format=format, payload=program),
            shots=shots, parameters={name: _plain(value) for name, value in (parameters or {}).items()},
            session=session.id if isinstance(session, SessionHandle) else session, name=name, class_=class_,
            project=project if project is not None else "" if session else self.default_project,
            devices=list(devices), needs=needs, deadline_s=deadline_s,
        )  # fmt: skip
        headers = {"Idempotency-Key": key or token_hex(16)}
        return TaskHandle(self.link, self.link.ask("POST", "/v1/tasks", wire.Task, body=body, headers=headers))

    def task(self, id: str) -> TaskHandle:
        """A task by its id. Raises `NotFound`."""
        return TaskHandle(self.link, self.link.ask("GET", f"/v1/tasks/{quote(id, safe='')}", wire.Task))

    def tasks(self, *, limit: int | None = None, **filters: str | None) -> Iterator[TaskHandle]:
        """Tasks, newest first, fetched page by page; at most `limit`.

        Filters: `state`, `session`, `device`, `user` (for administrators).
        """
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            query = {**filters, "limit": PAGE if left is None else min(left, PAGE), "cursor": cursor}
            page = self.link.ask("GET", "/v1/tasks", wire.TaskPage, query=query)
            yield from (TaskHandle(self.link, task) for task in page.items)
            left = None if left is None else left - len(page.items)
            cursor = page.next
            if not cursor:
                return

    # -- sessions -------------------------------------------------------------------------------------------------

    def session(
        self,
        device: str | None = None,
        mode: wire.Mode | None = None,
        *,
        class_: wire.Class = "development",
        project: str = "",
        job: str = "",
        ttl_s: float = TTL_S,
        idle_s: float | None = None,
        lend: bool = False,
        renew: bool = True,
        devices: Sequence[str] = (),
        needs: wire.Needs | None = None,
        decoders: int = 0,
    ) -> SessionHandle:
        """Open a session, renewed from a thread until it is closed: `with client.session("fresnel") as session:`.

        Inside a job that has a session on this device already, that one is joined, and stays open at the end; name a
        `mode` to get one of your own in any case. Without `renew` it ends after `ttl_s` seconds unless renewed. It is
        closed after `idle_s` seconds without work (None: the daemon's setting for its mode; 0: never). An exclusive one
        with `lend` lets others run short slices while it has nothing to do. With several `devices`, or what a device
        `needs`, in place of a name, each of its tasks goes to the best one that is free. `decoders` reserves so many
        logical qubits of the device's real-time host.
        """
        if not devices and needs is None:
            device = self._device(device)
        if device is not None and mode is None and self.job_session and device in (self.job_devices or [device]):
            joined = self.link.ask("GET", f"/v1/sessions/{quote(self.job_session, safe='')}", wire.Session)
            if joined.state != "open":
                raise Conflict(f"the job's session {joined.id} is closed ({joined.reason or 'no reason given'})")
            if device in (joined.devices or [joined.device]):
                return SessionHandle(self, joined, own=False)
        body = wire.SessionOpen(
            device=device, mode=mode or "shared", class_=class_, project=project or self.default_project, job=job,
            ttl_s=ttl_s, idle_s=idle_s, lend=lend, devices=list(devices), needs=needs, decoders=decoders,
        )  # fmt: skip
        # Not repeated after it was sent: nobody would close the session of the lost answer.
        session = SessionHandle(self, self.link.ask("POST", "/v1/sessions", wire.Session, body=body, repeat=False))
        if renew:
            session.keep()
        return session

    def sessions(self) -> list[wire.Session]:
        """The open sessions."""
        return self.link.ask("GET", "/v1/sessions", wire.SessionPage).items

    def open_session(self, id: str) -> SessionHandle:
        """A handle on a session that is there already; it is not renewed by itself. Raises `NotFound`."""
        return SessionHandle(self, self.link.ask("GET", f"/v1/sessions/{quote(id, safe='')}", wire.Session))

    # -- jobs of workload managers --------------------------------------------------------------------------------

    def jobs(self, manager: str | None = None) -> list[wire.Job]:
        """The jobs that have their QPUs; your own unless you are an administrator."""
        return self.link.ask("GET", "/v1/jobs", wire.JobPage, query={"manager": manager}).items

    def job(self, id: str) -> wire.Job:
        """A workload manager's job, such as `slurm:cluster:1234`, and what it used. Raises `NotFound`."""
        return self.link.ask("GET", f"/v1/jobs/{quote(id, safe='')}", wire.Job)

    # -- projects -------------------------------------------------------------------------------------------------

    def projects(self) -> list[wire.Project]:
        """The projects that you may use; all of them for administrators."""
        return self.link.ask("GET", "/v1/projects", wire.ProjectPage).items

    def project(self, name: str = "default") -> wire.Project:
        """A project, its budget and what was used; `default` is that of all who name none. Raises `NotFound`."""
        return self.link.ask("GET", f"/v1/projects/{quote(name, safe='')}", wire.Project)

    def set_project(
        self, name: str, share: float = 1.0, members: Sequence[str] = (), classes: Sequence[str] = ()
    ) -> wire.Project:
        """Set up a project, or change it as a whole. For administrators.

        Without members everybody may use it, without classes its work may be of any.
        """
        told = {"share": share, "members": list(members), "classes": list(classes)}
        body = msgspec.convert(told, wire.ProjectSet)
        return self.link.ask("PUT", f"/v1/projects/{quote(name, safe='')}", wire.Project, body=body)

    def remove_project(self, name: str) -> wire.Project:
        """Remove a project; returns how it was. Raises `Conflict` while it has live tasks. For administrators."""
        return self.link.ask("DELETE", f"/v1/projects/{quote(name, safe='')}", wire.Project)

    def set_budget(
        self,
        name: str,
        *,
        user: str = "",
        qpu_s: float | None = None,
        shots: int | None = None,
        period: str = "",
        reset: bool = False,
    ) -> wire.Project:
        """Set what a project, or a user in it, may spend: device seconds and shots; None for no limit.

        `period` is `month` for each calendar month (UTC), or empty for all that is spent since the last `reset`. For
        administrators.
        """
        given = {"user": user, "qpu_s": qpu_s, "shots": shots, "period": period, "reset": reset}
        body = msgspec.convert(given, wire.BudgetSet)
        return self.link.ask("PUT", f"/v1/projects/{quote(name, safe='')}/budget", wire.Project, body=body)

    def usage(
        self,
        by: Sequence[str] = ("project",),
        *,
        since: str | None = None,
        until: str | None = None,
        project: str | None = None,
    ) -> list[wire.UsageRow]:
        """What was used, summed up by some of project, user, class, device, month; months are such as `2026-11`."""
        query = {"by": ",".join(by), "from": since, "to": until, "project": project}
        return self.link.ask("GET", "/v1/usage", wire.UsagePage, query=query).items

    def limits(self) -> list[wire.Limit]:
        """How many tasks and sessions you may have, how fast you may submit, and what is in use."""
        return self.link.ask("GET", "/v1/limits", wire.LimitPage).items

    # -- the daemon -----------------------------------------------------------------------------------------------

    def events(self, after: int = 0, follow: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The event log behind entry `after`, oldest first. With `follow`, goes on with what happens from now on and
        picks up where it was when the connection breaks, for as long as the client's patience lasts.
        """
        left = limit
        pause, waited = FIRST_PAUSE_S, 0.0
        while left is None or left > 0:
            query = {"after": after, **({"follow": "true"} if follow else {}), **({"limit": left} if left else {})}
            try:
                for line in self.link.lines("/v1/events", query, SILENCE_S):
                    if not line:
                        continue
                    try:
                        entry = msgspec.json.decode(line, type=Entry)
                    except msgspec.DecodeError as error:
                        raise Remote(f"the event stream is not ours: {error}") from None
                    after, pause, waited = entry.seq, FIRST_PAUSE_S, 0.0
                    left = None if left is None else left - 1
                    yield entry
                if not follow:
                    return
            except DaemonUnreachable:
                if not follow or not self.link.met or waited + pause > self.link.patience_s:
                    raise
            self.link.pause(pause)
            waited, pause = waited + pause, min(2 * pause, 5.0)

    def import_tasks(self, tasks: Sequence[wire.ImportedTask]) -> wire.Imported:
        """Take over tasks that ended in another system (administrators); those known already are left alone."""
        return self.link.ask("POST", "/v1/tasks/import", wire.Imported, body=wire.TaskImport(tasks=list(tasks)))

    def health(self) -> wire.Health:
        """Whether the daemon is ready, and if not, why."""
        _, body = self.link.look("/v1/health/ready")
        try:
            return msgspec.json.decode(body, type=wire.Health)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Remote(f"{self.link.address.url} does not answer as a Quarterdeck daemon does: {error}") from None

    # -- front-ends -----------------------------------------------------------------------------------------------

    def pulser(self, device: str | None = None) -> Any:
        """A connection for Pulser's `QPUBackend`, to all devices or to one. Needs `quarterdeck[pulser]`."""
        # Found by name: front-ends stand on the client, not the other way round.
        try:
            frontend = import_module("quarterdeck.frontends.pulser")
        except ModuleNotFoundError as error:
            told = f"{error.name} is not installed: pip install 'quarterdeck[pulser]'"
            raise ModuleNotFoundError(told, name=error.name) from None
        return frontend.QuarterdeckConnection(self, device)

    def _device(self, name: str | None) -> str:
        if not (name := name or self.default_device):
            raise Invalid("device", "name one; `qdeck devices` lists them (QDECK_DEVICE sets a default)")
        return name


def _plain(value: Any) -> Any:
    """Numbers and arrays of NumPy as numbers and lists; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value
