"""Jobs of workload managers: what gets a session for whom, and what a job used.

A job is a session with its label, and a note that remembers which sessions it had; so acquiring is idempotent, outlasts
a restart of the daemon, and a job that is queued again gets a new session.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import msgspec

from quarterdeck import wire
from quarterdeck.core import events as ev
from quarterdeck.core.nouns import Device, Session, Task, holds
from quarterdeck.daemon import tokens
from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.engine import Engine
from quarterdeck.daemon.projects import core_name
from quarterdeck.daemon.store import TaskQuery
from quarterdeck.errors import Conflict, DeviceUnavailable, Forbidden, Invalid, NotFound

KIND = "job"
PAGE = 1000
_BAD = re.compile(r"[\x00-\x1f\x7f]")


class Record(msgspec.Struct, frozen=True):
    """What is remembered of a job: the request, and its sessions, oldest first."""

    manager: str
    devices: tuple[str, ...]
    class_: wire.Class
    project: str
    mode: wire.Mode
    sessions: tuple[str, ...]


class Jobs:
    """Serves requests about jobs. Administrators (workload managers) acquire and release; users see their own."""

    def __init__(self, engine: Engine, new_id: Callable[[str], str], key: bytes, url: str) -> None:
        self._engine = engine
        self._new_id = new_id
        self._key = key
        self._acquiring = asyncio.Lock()
        self._url = url

    def check(self, actor: Actor, request: wire.JobAcquire) -> wire.JobCheck:
        """Whether the job could have its QPUs now. Raises what would refuse it for good."""
        user = self._user(actor, request)
        self._admit(request, user)
        waits = [f"{name} is {told}" for name in request.devices if (told := self._waits(name, user, request.project))]
        return wire.JobCheck(ready=not waits, message="; ".join(waits))

    async def acquire(self, actor: Actor, id: str, request: wire.JobAcquire) -> wire.Job:
        """Give a job its QPUs: the session that it has, or a new one; durable on return.

        Raises `Conflict` if the job has others already or somebody holds a device, `DeviceUnavailable` while a device
        takes no work, and whatever `check` raises.
        """
        if not actor.administrator:
            raise Forbidden("only administrators, such as the workload manager, give QPUs to jobs")
        user = self._user(actor, request)
        self._admit(request, user)
        async with self._acquiring:
            return await self._acquire(actor, id, user, request)

    async def _acquire(self, actor: Actor, id: str, user: str, request: wire.JobAcquire) -> wire.Job:
        known, owner = await self._record(id)
        devices = tuple(dict.fromkeys(request.devices))
        if known is not None and (session := self._open(known)) is not None:
            if (session.user, known.devices, known.mode) != (user, devices, request.mode):
                raise Conflict(f"job {id} has {', '.join(known.devices)} for {session.user} already; release it first")
            if tokens.matches(tokens.derive(self._key, session.id), session.token):
                return await self.renew(actor, id, request.ttl_s, access=True)
        for name in devices:
            if told := self._waits(name, user, request.project):
                raise DeviceUnavailable(name, told, 30.0)
        project = core_name(request.project)
        opened = ev.SessionOpened(
            at_s=self._engine.now(), session=self._new_id("s"), user=user, device=devices[0], ttl_s=request.ttl_s,
            mode=request.mode, class_=request.class_, project=project, job=id,
            devices=devices if len(devices) > 1 else (),
        )  # fmt: skip
        opened = msgspec.structs.replace(opened, token=tokens.digest(tokens.derive(self._key, opened.session)))
        before = known.sessions if known is not None and owner == user else ()
        record = Record(request.manager, devices, request.class_, project, request.mode, (*before, opened.session))
        # The note comes first: a session that no note tells of could not be found again.
        body = msgspec.json.encode(record).decode()
        self._engine.handle(ev.NoteKept(at_s=self._engine.now(), kind=KIND, id=id, user=user, body=body))
        await self._engine.commit(opened)
        return await self._view(id, user, record, access=True)

    async def job(self, actor: Actor, id: str, access: bool = False) -> wire.Job:
        """A job; with `access` also the token of its session. Raises `NotFound`, with `access` also once released."""
        record, user = await self._own(actor, id)
        if access and self._open(record) is None:
            raise NotFound("job with QPUs", id)
        return await self._view(id, user, record, access)

    async def renew(self, actor: Actor, id: str, ttl_s: float, access: bool = False) -> wire.Job:
        """A heartbeat: the lease is `ttl_s` from now on. Raises `NotFound` once it is released."""
        record, user = await self._own(actor, id)
        session = self._open(record)
        if session is None:
            raise NotFound("job with QPUs", id)
        now_s = self._engine.now()
        await self._engine.commit(ev.SessionRenewed(at_s=now_s, session=session.id, expires_s=now_s + ttl_s))
        return await self._view(id, user, record, access)

    async def release(self, actor: Actor, id: str, only: str = "") -> wire.Job:
        """Take a job's QPUs back, `only` those of that session; what waits is cancelled. Once is as good as twice."""
        record, user = await self._own(actor, id)
        for session in record.sessions:
            if session in self._engine.deck.sessions and only in ("", session):
                await self._engine.commit(ev.SessionClosed(at_s=self._engine.now(), session=session))
        return await self._view(id, user, record)

    async def list(self, actor: Actor, manager: str | None) -> wire.JobPage:
        """The jobs that have QPUs now; one's own unless administrator."""
        found = []
        for session in list(self._engine.deck.sessions.values()):
            if session.job and (actor.administrator or session.user == actor.user):
                record, user = await self._record(session.job)
                if record is not None and session.id in record.sessions and manager in (None, record.manager):
                    found.append(await self._view(session.job, user, record, usage=False))
        return wire.JobPage(items=found)

    # -- what is behind it ----------------------------------------------------------------------------------------

    def _user(self, actor: Actor, request: wire.JobAcquire) -> str:
        if not actor.administrator and request.user not in ("", actor.user):
            raise Forbidden("only administrators may ask for another user")
        for where, text in (("$.user", request.user), ("$.manager", request.manager)):
            if _BAD.search(text):
                raise Invalid(where, "must not hold control characters")
        return request.user or actor.user

    def _admit(self, request: wire.JobAcquire, user: str) -> None:
        """Raise what refuses the job whenever it comes: devices, project, class, budget."""
        for name in request.devices:
            if name not in self._engine.targets:
                known = ", ".join(sorted(self._engine.targets))
                raise Invalid("$.devices", f"there is no QPU {name}; there are {known}")
        if request.mode == "exclusive" and len(set(request.devices)) > 1:
            raise Invalid("$.devices", "a job that wants a QPU for itself alone may have one QPU")
        project = core_name(request.project)
        ledger = self._engine.deck.ledger
        ledger.welcome(project, user, request.class_)
        ledger.admit(project, user, 0, 0, self._engine.now())

    def _waits(self, name: str, user: str, project: str) -> str:
        """What the device is instead of free for a job; empty if a job may start on it."""
        deck = self._engine.deck
        device: Device = deck.devices[name]
        if device.status != "online":
            state = "in maintenance" if device.status == "maintenance" else device.status
            return f"{state}: {device.reason or 'no reason given'}"
        now_s = self._engine.now()
        if (window := deck.window_on(name)) is not None:
            return f"in {window.kind} for another {max(0.0, window.end_s - now_s):.0f} s"
        reservation = deck.timetable.reservation(name)
        if reservation is not None and not holds(reservation.holder, user, core_name(project)):
            return f"reserved for somebody else for another {max(0.0, reservation.end_s - now_s):.0f} s"
        if (holder := deck.exclusive(name)) is not None:
            return f"held by an exclusive session of {holder.user}"
        return ""

    async def _record(self, id: str) -> tuple[Record | None, str]:
        stored = await self._engine.store.noun(f"note:{KIND}", id)
        if stored is None:
            return None, ""
        note = msgspec.json.decode(stored, type=ev.NoteKept)
        return msgspec.json.decode(note.body, type=Record), note.user

    async def _own(self, actor: Actor, id: str) -> tuple[Record, str]:
        record, user = await self._record(id)
        if record is None or (user != actor.user and not actor.administrator):
            raise NotFound("job", id)
        return record, user

    def _open(self, record: Record) -> Session | None:
        return self._engine.deck.sessions.get(record.sessions[-1])

    async def _view(self, id: str, user: str, record: Record, access: bool = False, usage: bool = True) -> wire.Job:
        session = self._open(record)
        last = session or await self._closed(record.sessions[-1])
        targets = self._engine.targets
        devices = [
            wire.JobDevice(name=name, formats=list(targets[name].formats), emulated=targets[name].emulated)
            for name in record.devices if name in targets
        ]  # fmt: skip
        return wire.Job(
            id=id, user=user, manager=record.manager, project=record.project, class_=record.class_, mode=record.mode,
            devices=devices, state="open" if session is not None else "released", session=record.sessions[-1],
            acquired_s=last.opened_s, expires_s=last.expires_s, released_s=last.closed_s,
            usage=await self._usage(record) if usage else None, url=self._url,
            token=tokens.derive(self._key, session.id) if access and session is not None else "",
        )  # fmt: skip

    async def _closed(self, id: str) -> Session:
        stored = await self._engine.store.noun("session", id)
        if stored is None:
            raise NotFound("session", id)
        return msgspec.json.decode(stored, type=Session)

    async def _usage(self, record: Record) -> wire.JobUsage:
        qpu_s, shots, tasks, waited_s = 0.0, 0, 0, 0.0
        for session in record.sessions:
            before: int | None = None
            while True:
                rows = await self._engine.store.tasks(TaskQuery(session=session, before_seq=before, limit=PAGE))
                for _, row in rows:
                    task = msgspec.json.decode(row, type=Task)
                    qpu_s, shots, tasks = qpu_s + task.qpu_s, shots + task.shots_done, tasks + 1
                    waited_s += (task.started_s or task.ended_s or self._engine.now()) - task.submitted_s
                    before = task.seq
                if len(rows) < PAGE:
                    break
        return wire.JobUsage(qpu_s=qpu_s, shots=shots, tasks=tasks, waited_s=waited_s)
