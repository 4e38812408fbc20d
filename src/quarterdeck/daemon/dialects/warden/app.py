"""Warden's routes. Paths may have a prefix (the device, `/warden`), doubled slashes and one at the end."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from quarterdeck import wire
from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.desk import Desk
from quarterdeck.daemon.dialects.house import House
from quarterdeck.daemon.dialects.warden import words
from quarterdeck.daemon.dialects.warden.door import LONGEST, Caller, Door
from quarterdeck.daemon.dialects.warden.settings import WardenSettings
from quarterdeck.daemon.http.app import read_body
from quarterdeck.daemon.http.identity import user_name
from quarterdeck.daemon.http.operation import decode
from quarterdeck.daemon.store import TaskQuery
from quarterdeck.errors import (
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    QuarterdeckError,
    StoreUnavailable,
    TooLarge,
    TooManyRequests,
    Unavailable,
)

log = logging.getLogger(__name__)
_job_body = msgspec.json.Decoder(words.JobRequest)
_session_body = msgspec.json.Decoder(words.SessionRequest)
_accessible_body = msgspec.json.Decoder(words.AccessibleRequest)
LISTED = 1000
"""Most jobs in one list; `?before=ID` has the ones before."""


class Asked(msgspec.Struct, frozen=True):
    """A request, taken apart. `caller` is nobody (uid -1) where no credential is asked for."""

    desk: Desk
    device: str
    caller: Caller
    id: str
    raw: bytes
    request: Request

    @property
    def actor(self) -> Actor:
        """Users see their own jobs, whoever they are: root's credential is too easily had for more."""
        return Actor(self.caller.user)


Serve = Callable[[Asked], Awaitable[dict[str, Any] | list[Any]]]
NOBODY = Caller(-1, "", False, False)
ID = "{id}"


class Warden:
    """The ASGI application."""

    def __init__(self, house: House, settings: WardenSettings) -> None:
        self._house = house
        self._settings = settings
        self._door = Door(settings, shared=house.store_name == "postgresql")
        self._numbers: OrderedDict[int, str] = OrderedDict()
        self._routes: dict[tuple[str, ...], dict[str, tuple[Serve, bool]]] = {
            (): {"GET": (self._root, False)},
            ("accessible",): {"GET": (self._accessible, False), "POST": (self._set_accessible, True)},
            ("qpu", "specs"): {"GET": (self._specs, False)},
            ("sessions",): {"POST": (self._open, True)},
            ("sessions", ID): {"DELETE": (self._close, True)},
            ("jobs",): {"GET": (self._jobs, True), "POST": (self._submit, True)},
            ("jobs", ID): {"GET": (self._job, True)},
            ("jobs", ID, "cancel"): {"POST": (self._cancel, True), "PUT": (self._cancel, True)},
            ("jobs", ID, "logs"): {"GET": (self._logs, True)},
        }

    def routes(self) -> list[tuple[str, str]]:
        """Method and path of each route, for the documentation's test."""
        return [(method, "/" + "/".join(path)) for path, methods in self._routes.items() for method in methods]

    def close(self) -> None:
        """Let go of what the door holds."""
        self._door.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._serve(request)
        except TooLarge as error:
            return _response({"detail": str(error)}, error.status, {"Connection": "close"})
        except Invalid as error:
            return _response({"detail": words.invalid(error)}, error.status)
        except (Unavailable, TooManyRequests) as error:
            retry = {"Retry-After": str(max(1, round(error.retry_after_s)))} if error.retry_after_s else {}
            return _response({"detail": str(error)}, error.status, retry)
        except _Gone as error:
            return _response({"detail": str(error)}, 404)
        except QuarterdeckError as error:
            return _response({"detail": str(error)}, error.status)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
            return _response({"detail": str(QuarterdeckError())}, 500)

    async def _serve(self, request: Request) -> Response:
        path, device, id = self._find(request.scope["path"])
        methods = self._routes[path]
        if request.method not in methods:
            raise MethodNotAllowed(request.method, ", ".join(sorted(methods)))
        serve, known = methods[request.method]
        if len(request.headers.get("x-munge-cred", "")) > LONGEST:
            return _response({"detail": "MUNGE credential too long"}, 431, {"Connection": "close"})
        caller = await self._door.caller(request, self._house.identity) if known else NOBODY
        raw = await read_body(request, self._house.max_body_bytes) if request.method == "POST" else b""
        desk = self._house.desk
        if desk is None:
            place = "/".join(["/warden", *([device] if device else []), *path]).replace(ID, id)
            more = {
                "x-qdeck-uid": str(caller.uid), "x-qdeck-near": "yes" if caller.near else "no",
                "x-qdeck-credential": caller.digest,
            }  # fmt: skip
            passed = await self._house.pass_on(request, raw, Actor(caller.user or "nobody"), place, more)
            if passed is None:
                raise StoreUnavailable("the daemon", self._house.trouble or "it is starting", 1.0)
            return passed
        return _response(await serve(Asked(desk, self._device(desk, device), caller, id, raw, request)))

    def _find(self, path: str) -> tuple[tuple[str, ...], str, str]:
        """The route, the device if the path names one, and the id in it. Raises `NotFound`."""
        parts = [part for part in path.split("/") if part]
        if parts[:1] == ["warden"]:
            del parts[0]
        for device in ([], parts[:1]):
            rest = tuple(parts[len(device) :])
            for route in (rest, (*rest[:1], ID, *rest[2:])):
                if route in self._routes and len(route) == len(rest):
                    return route, device[0] if device else "", rest[1] if ID in route else ""
        raise NotFound("route", path)

    def _device(self, desk: Desk, named: str) -> str:
        name = named or self._settings.device
        devices = sorted(desk.engine.targets)
        if not name and len(devices) == 1:
            name = devices[0]
        if not name:
            raise NotFound("device", f"in the path: say which of {', '.join(devices)}, or set warden.device")
        return desk.device(name).name

    # -- the device -----------------------------------------------------------------------------------------------

    async def _root(self, asked: Asked) -> dict[str, Any]:
        return {"message": f"The warden is operational: Quarterdeck, for {asked.device}."}

    def _state(self, desk: Desk, device: str) -> tuple[wire.Device, bool, str]:
        """The device, whether it is accessible, and a sentence."""
        seen = desk.device(device)
        if seen.status == "online":
            return seen, True, f"{device} is online; {seen.queued} tasks wait, {seen.running} run."
        said = f"{device} is {seen.status}: {seen.reason or 'no reason given'}"
        on = [window for window in desk.windows.list(device).items if window.state == "on"]
        if on:
            end = datetime.fromtimestamp(on[0].end_s, UTC)
            said += f"; back at {end:%Y-%m-%d %H:%M:%S} UTC at the latest"
        return seen, False, said

    async def _accessible(self, asked: Asked) -> dict[str, Any]:
        _, accessible, said = self._state(asked.desk, asked.device)
        return {"is_accessible": accessible, "message": said}

    async def _set_accessible(self, asked: Asked) -> dict[str, Any]:
        caller = asked.caller
        if not caller.trusted:
            raise Forbidden("Endpoint restricted to root user.")
        if not caller.near:
            log.warning("refused: uid %d wanted to set `accessible` over TCP", caller.uid)
            raise Forbidden(
                "Over TCP only from a network in warden.admin_networks; use the Unix socket, or `qdeck devices NAME`."
            )
        told = decode(_accessible_body, asked.raw)
        change = wire.DeviceSet(
            status="online" if told.is_accessible else "maintenance", reason="" if told.is_accessible else told.message
        )
        if len(change.reason) > 200:
            raise Invalid("$.message", "is longer than 200 characters")
        await asked.desk.set_device(Actor(caller.user, True), asked.device, change)
        if told.is_accessible:
            return {"is_accessible": True, "message": told.message}
        return await self._accessible(asked)

    async def _specs(self, asked: Asked) -> dict[str, Any]:
        spec = asked.desk.device(asked.device).spec
        return {"specs": json.dumps(json.loads(spec) if spec else {"name": asked.device})}

    # -- sessions -------------------------------------------------------------------------------------------------

    async def _open(self, asked: Asked) -> dict[str, Any]:
        if not asked.caller.trusted:
            raise Forbidden("Endpoint restricted to root user.")
        told = decode(_session_body, asked.raw)
        user = self._user(told.user_id)
        if self._settings.enforce:
            _, accessible, said = self._state(asked.desk, asked.device)
            if not accessible:
                raise Unavailable("the device", said, 0.0)
        await self._door.job(told.slurm_job_id, int(told.user_id))
        for session in asked.desk.sessions.list(Actor(user)).items:
            if told.slurm_job_id and session.job == told.slurm_job_id and session.device == asked.device:
                return words.session(session)
        lease = wire.SessionOpen(device=asked.device, job=told.slurm_job_id[:200], ttl_s=self._settings.session_ttl_s)
        opened = await asked.desk.sessions.open(Actor(user), lease, str(uuid4()))
        log.info("session %s for %s, job %s on %s", opened.id, user, told.slurm_job_id, asked.device)
        return words.session(opened)

    def _user(self, uid: str) -> str:
        """The user with this uid in digits. Raises `Invalid` or `Forbidden`."""
        if not (uid.isascii() and uid.isdigit() and int(uid) < 2**32 - 1):
            raise Invalid("$.user_id", f"{uid[:40]!r} is not a uid in digits")
        if int(uid) < self._settings.first_uid:
            raise Forbidden(f"User ID not authorized: no sessions below uid {self._settings.first_uid}.")
        user, allowed = user_name(int(uid)), self._settings.authorized_users
        if allowed and not {uid, user} & {str(one) for one in allowed}:
            raise Forbidden("User ID not authorized.")
        return user

    async def _close(self, asked: Asked) -> dict[str, Any]:
        if not asked.caller.trusted:
            raise Forbidden("Endpoint restricted to root user.")
        try:
            closed = await asked.desk.sessions.close(Actor(asked.caller.user, True), asked.id)
        except NotFound:
            raise _Gone("Session not found.") from None
        return words.session(closed)

    async def _session(self, asked: Asked) -> wire.Session:
        """The session that a job belongs to. Raises `Forbidden` with the reason."""
        id = asked.request.headers.get("x-warden-session", "")
        if not id:
            raise Forbidden("Missing 'X-Warden-Session' header.")
        try:
            session = await asked.desk.sessions.get(Actor("", True), id[:128])
        except NotFound:
            raise Forbidden("Invalid session.") from None
        if session.user != asked.caller.user:
            raise Forbidden("Session belongs to another user.")
        if session.state == "closed":
            raise Forbidden(f"Session has been revoked: {session.reason}.")
        return session

    # -- jobs -----------------------------------------------------------------------------------------------------

    async def _submit(self, asked: Asked) -> dict[str, Any]:
        told = decode(_job_body, asked.raw)
        payload, shots = told.program(), told.runs()
        session = await self._session(asked)
        if self._settings.enforce:
            seen, _, said = self._state(asked.desk, session.device)
            if seen.status in ("maintenance", "draining"):
                raise Unavailable("the device", said, 0.0)
        taken = asked.desk.device(session.device).formats
        format = "pulser" if "pulser" in taken else taken[0]
        if "hamiltonian" in payload:
            from quarterdeck.programs.ahs import is_ahs

            format = "ahs" if is_ahs(payload) else format
        submit = wire.TaskSubmit(
            device=session.device, program=wire.ProgramUpload(format=format, payload=payload), shots=shots,
            session=session.id,
        )  # fmt: skip
        task, _ = await asked.desk.submit(asked.actor, submit, "", asked.raw)
        if session.expires_s - task.submitted_s < session.ttl_s / 2:
            await asked.desk.sessions.renew(asked.actor, session.id)
        self._learn(task)
        return words.job(task, None)

    async def _job(self, asked: Asked) -> dict[str, Any]:
        id = await self._task(asked)
        settings = self._settings
        task = await asked.desk.tasks.get(asked.actor, id)
        if task.ended_s == 0 and settings.hold_s:
            after = task.version if settings.hold_until == "change" else None
            task = await asked.desk.tasks.get(asked.actor, id, settings.hold_s, after)
        return await self._view(asked, task)

    async def _jobs(self, asked: Asked) -> list[Any]:
        before = asked.request.query_params.get("before", "")
        seq = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
        page = await asked.desk.tasks.page(asked.actor, TaskQuery(before_seq=seq, limit=LISTED))
        return [await self._view(asked, task) for task in page.items]

    async def _cancel(self, asked: Asked) -> dict[str, Any]:
        return await self._view(asked, await asked.desk.tasks.cancel(asked.actor, await self._task(asked)))

    async def _logs(self, asked: Asked) -> dict[str, Any]:
        id = await self._task(asked)
        told = await asked.desk.tasks.log(asked.actor, id)
        lines = [f"{words.moment(line.at_s)} {line.text}" for line in told.lines]
        why = await asked.desk.tasks.why(asked.actor, id)
        if why.reason != "settled":
            lines.append(f"{words.moment(asked.desk.engine.now())} {why.state}: {why.detail}")
        return {"logs": "\n".join([*lines, ""])}

    async def _view(self, asked: Asked, task: wire.Task) -> dict[str, Any]:
        counts = (await asked.desk.tasks.result(asked.actor, task.id, False)).counts if task.state == "done" else None
        return words.job(task, counts)

    async def _task(self, asked: Asked) -> str:
        """The task that a job's number stands for. Raises `_Gone`, also for another user's."""
        number = int(asked.id) if asked.id.isascii() and asked.id.isdigit() and len(asked.id) < 11 else 0
        id = self._numbers.get(number)
        try:
            if id is None:
                last = asked.desk.engine.deck.seq
                rounds = (last - number) // words.NUMBERS if last >= number else 0
                task = await asked.desk.tasks.numbered(asked.actor, number + rounds * words.NUMBERS)
                self._learn(task)
                return task.id
            return (await asked.desk.tasks.get(asked.actor, id)).id
        except NotFound:
            raise _Gone("Job not found") from None

    def _learn(self, task: wire.Task) -> None:
        self._numbers[words.number(task.number)] = task.id
        if len(self._numbers) > 100_000:
            self._numbers.popitem(last=False)


class _Gone(Exception):
    """A 404 with Warden's own sentence."""


def _response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers, "application/json")
