"""The front desk: what somebody may ask of the engine, whatever language the request came in.

`/v1` and the dialects of other systems are thin adapters onto these methods, so all of them share one queue.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from hashlib import sha256

import msgspec

from quarterdeck import wire
from quarterdeck.core import events as ev
from quarterdeck.core.nouns import Session, Slice, Task
from quarterdeck.core.waiting import why
from quarterdeck.daemon import tokens, view
from quarterdeck.daemon.engine import Engine
from quarterdeck.daemon.imports import import_tasks
from quarterdeck.daemon.jobs import Jobs
from quarterdeck.daemon.keys import Key
from quarterdeck.daemon.limits import Gate, LimitSettings
from quarterdeck.daemon.projects import Projects, core_name
from quarterdeck.daemon.store import Blob, TaskQuery
from quarterdeck.daemon.windows import Windows
from quarterdeck.devices.driver import Target
from quarterdeck.errors import (
    BadProgram,
    Conflict,
    Forbidden,
    IdempotencyMismatch,
    Invalid,
    NotFound,
    NotReady,
    QuarterdeckError,
    Unauthenticated,
)
from quarterdeck.programs.format import INSTANT
from quarterdeck.programs.program import Program, Summary
from quarterdeck.programs.result import merge

_encode = msgspec.json.encode
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Summarise = Callable[[str, str], Awaitable[Summary]]
"""(format, payload) to its summary; raises `BadProgram`. Must not block the loop."""

Convert = Callable[[str, str], Awaitable[str]]
"""(AHS document, device specification) to a Pulser sequence; raises `BadProgram`. Must not block the loop."""


class Actor(msgspec.Struct, frozen=True):
    """Who asks. With a session's token also by which session; tasks belong to it unless they name another."""

    user: str
    administrator: bool = False
    session: str = ""


class Note(msgspec.Struct, frozen=True):
    """Something that a dialect keeps about a user's affairs. `kind` says whose it is; `body` is JSON."""

    kind: str
    id: str
    user: str
    body: bytes


class _Admitted(msgspec.Struct, frozen=True):
    """A request that passed every check, with the blob to store if its program is new."""

    request: wire.TaskSubmit
    device: str
    devices: tuple[str, ...]
    info: wire.ProgramInfo
    blob: Blob | None
    parameters: str
    session: str


class Limits(msgspec.Struct, frozen=True):
    """What requests may hold: see `config.DaemonSettings`."""

    parameters_bytes: int = 64 * 1024
    wait_s: float = 60.0
    admissions: int = 100_000
    users: LimitSettings = LimitSettings()
    lend_s: float = 10.0
    exclusive_idle_s: float = 300.0
    batch_idle_s: float = 60.0

    def idle_s(self, request: wire.SessionOpen) -> float:
        """After how many idle seconds the session is closed; 0 for never."""
        if request.idle_s is not None:
            return request.idle_s
        return {"exclusive": self.exclusive_idle_s, "batch": self.batch_idle_s}.get(request.mode, 0.0)


def random_id(kind: str) -> str:
    """A new id: the kind's letter, the time in ms and 40 random bits, in hexadecimal.

    In order of time, so that a database writes new rows beside each other however long its tables are.
    """
    return f"{kind}{time.time_ns() // 1_000_000:011x}{secrets.token_hex(5)}"


class Desk:
    """Serves requests of actors on one engine."""

    def __init__(
        self,
        engine: Engine,
        summarise: Summarise,
        convert: Convert,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        new_id: Callable[[str], str] = random_id,
        new_token: Callable[[str], str] = tokens.new,
        key: bytes = b"",
        url: str = "",
    ) -> None:
        self.engine = engine
        self.limits = limits
        self.gate = Gate(limits.users, engine)
        self.projects = Projects(engine)
        self.windows = Windows(engine, new_id)
        self.jobs = Jobs(engine, new_id, key, url)
        self._new_id = new_id
        self._new_token = new_token
        self._summarise = summarise
        self._convert = convert
        self._infos: OrderedDict[str, wire.ProgramInfo] = OrderedDict()
        self._admitted: OrderedDict[tuple[str, str, str, int], None] = OrderedDict()
        self._busy_keys: dict[bytes, asyncio.Future[None]] = {}

    # -- programs -------------------------------------------------------------------------------------------------

    async def upload(self, actor: Actor, request: wire.ProgramUpload) -> wire.ProgramInfo:
        """Keep a program; durable on return. The same text again costs nothing."""
        info, blob = await self._program(request)
        if request.device is not None and not self._foreign(
            info.format, self.engine.targets[self._device(request.device)]
        ):
            await self._admit(self._device(request.device), info, await self._payload(info, blob), {}, 1, early=True)
        if blob is not None:
            await self.engine.commit(ev.Tick(at_s=self.engine.now()), blobs=[blob])
            self._learn(info)
        return info

    async def program(self, id: str) -> wire.ProgramInfo:
        """What is known of a program. Raises `NotFound`."""
        info = self._infos.get(id)
        if info is None:
            stored = await self.engine.store.blob("program", id)
            if stored is None:
                raise NotFound("program", id)
            info = msgspec.json.decode(stored[0], type=wire.ProgramInfo)
            self._learn(info)
        return info

    async def payload(self, id: str) -> str:
        """A program's own text. Raises `NotFound`."""
        return (await self.engine.programs.get(id)).payload

    async def _program(self, given: wire.ProgramUpload) -> tuple[wire.ProgramInfo, Blob | None]:
        """What is known of this text, and the blob to store if it is new."""
        program = Program.of(given.format, given.payload)
        if program.id in self._infos:
            return self._infos[program.id], None
        if given.format not in INSTANT:  # else storing it again is quicker than looking for it
            with suppress(NotFound):
                return await self.program(program.id), None
        summary = await self._summarise(given.format, given.payload)
        content = given.payload.encode()
        info = wire.ProgramInfo(
            id=program.id, format=given.format, bytes=len(content), qubits=summary.qubits,
            duration_ns=summary.duration_ns, variables=summary.variables, device=summary.device,
            register=summary.register,
        )  # fmt: skip
        self.engine.programs.put(program)
        return info, Blob("program", program.id, _encode(info), content)

    async def _payload(self, info: wire.ProgramInfo, blob: Blob | None) -> Program:
        if blob is not None:
            return Program(id=info.id, format=info.format, payload=blob.content.decode())
        return await self.engine.programs.get(info.id)

    def _learn(self, info: wire.ProgramInfo) -> None:
        self._infos[info.id] = info
        if len(self._infos) > self.limits.admissions:
            self._infos.popitem(last=False)

    # -- tasks ----------------------------------------------------------------------------------------------------

    async def submit(self, actor: Actor, request: wire.TaskSubmit, key: str, body: bytes) -> tuple[wire.Task, bool]:
        """Accept a task; durable on return. The flag is False if `key` was used before for the same `body`."""
        if not key:
            return await self._submit(actor, request, None), True
        digest = sha256(f"{actor.user}\0{key}".encode()).digest()
        while (busy := self._busy_keys.get(digest)) is not None:
            await asyncio.shield(busy)
        if (known := await self.engine.keys.used(digest)) is not None:
            if known.body != sha256(body).digest():
                raise IdempotencyMismatch(f"Idempotency-Key {key!r} was used for a different request", key)
            return view.task(await self.engine.task(known.task)), False
        done = self._busy_keys[digest] = asyncio.get_running_loop().create_future()
        try:
            return await self._submit(actor, request, Key(digest, sha256(body).digest())), True
        finally:
            del self._busy_keys[digest]
            done.set_result(None)

    async def _submit(self, actor: Actor, request: wire.TaskSubmit, key: Key | None) -> wire.Task:
        self.gate.submit(actor.user)
        admitted = await self._check(actor, request)
        self.gate.enter(actor.user)
        answer = self._enter(actor, admitted, key)
        await self.engine.settled()
        if admitted.blob is not None:
            self._learn(admitted.info)
        return answer

    async def submit_all(
        self, actor: Actor, requests: Sequence[wire.TaskSubmit], note: Callable[[list[str]], Note] | None = None
    ) -> list[wire.Task]:
        """Accept several tasks; durable on return. All are checked before the first is entered.

        `note` is told their ids and kept before them: after a crash it may name tasks that never came to be, of which
        nobody was told.
        """
        self.gate.submit(actor.user, len(requests))
        admitted = [await self._check(actor, request) for request in requests]
        self.gate.enter(actor.user, len(requests))
        for one in admitted:  # a session may have closed while a later one was checked
            if one.session:
                self._own_session(actor, one.session)
        ids = [self._new_id("t") for _ in admitted]
        if note is not None:
            self._keep(note(ids))
        answers = [self._enter(actor, one, None, id) for one, id in zip(admitted, ids, strict=True)]
        await self.engine.settled()
        for one in admitted:
            if one.blob is not None:
                self._learn(one.info)
        return answers

    async def _check(self, actor: Actor, request: wire.TaskSubmit) -> _Admitted:
        """Whether a task can be accepted. With a choice of devices: on any of them; the others drop out."""
        choice = self._choice(request) or self._of_session(actor, request.session)
        if len(choice) == 1:
            return await self._check_on(actor, request, choice[0])
        fitting: list[_Admitted] = []
        refused: QuarterdeckError | None = None
        for device in choice:
            try:
                one = await self._check_on(actor, request, device)
            except BadProgram as error:
                refused = refused or error
            else:
                if not fitting or (one.info.id, one.session) == (fitting[0].info.id, fitting[0].session):
                    fitting.append(one)
        if not fitting:
            assert refused is not None
            raise refused
        if len(fitting) == 1:
            return fitting[0]
        return msgspec.structs.replace(fitting[0], devices=tuple(one.device for one in fitting))

    def _of_session(self, actor: Actor, id: str) -> list[str]:
        """The devices of the session that a task is in, the best first."""
        if not (id or actor.session):
            raise Invalid("$.device", "give one of device, devices and needs")
        return self._best_first(self._own_session(actor, id or actor.session).eligible)

    def _choice(self, request: wire.TaskSubmit | wire.SessionOpen) -> list[str]:
        """The devices that a request allows, the best first; none if it does not say."""
        if (request.device is not None) + bool(request.devices) + (request.needs is not None) > 1:
            raise Invalid("$.device", "give one of device, devices and needs")
        if request.device is not None:
            return [self._device(request.device)]
        if request.device is None and not request.devices and request.needs is None:
            return []
        if request.devices:
            found = [self._device(name) for name in dict.fromkeys(request.devices)]
        else:
            needs = request.needs
            assert needs is not None
            found = [
                target.name for target in self.engine.targets.values()
                if (not needs.modality or target.modality == needs.modality) and target.qubits >= needs.qubits
                and (needs.emulated is None or target.emulated == needs.emulated)
            ]  # fmt: skip
            if not found:
                raise Invalid("$.needs", "no device of this daemon has that; `qdeck devices` shows what there is")
        return self._best_first(found)

    def _best_first(self, names: Iterable[str]) -> list[str]:
        known = self.engine.deck.devices
        return sorted(names, key=lambda name: (-known[name].quality, -known[name].shot_rate_hz, name))

    async def _check_on(self, actor: Actor, request: wire.TaskSubmit, device: str) -> _Admitted:
        target = self.engine.targets[device]
        parameters = _parameters(request.parameters, self.limits.parameters_bytes)
        if _CONTROL.search(request.name):
            raise Invalid("$.name", "must not hold control characters")
        if request.deadline_s and request.deadline_s <= self.engine.now():
            raise Invalid("$.deadline_s", "is over already; it is in seconds since 1970 (UTC)")
        if request.shots > target.max_shots:
            raise BadProgram("$.shots", f"{device} takes at most {target.max_shots} shots for one task")
        session = self._own_session(actor, request.session).id if request.session else self._default(actor, device)
        self._project(request, session)
        blob: Blob | None = None
        if isinstance(request.program, str):
            try:
                info = await self.program(request.program)
            except NotFound:
                raise Invalid("$.program", "no such program; upload it with POST /v1/programs") from None
            if self._foreign(info.format, target):
                given = wire.ProgramUpload(format=info.format, payload=await self.payload(info.id))
                info, blob = await self._program(await self._native(given, target))
        else:
            info, blob = await self._program(await self._native(request.program, target))
        admission = (device, info.id, parameters, request.shots)
        if admission not in self._admitted:
            program = await self._payload(info, blob)
            await self._admit(device, info, program, request.parameters, request.shots)
            self._admitted[admission] = None
            if len(self._admitted) > self.limits.admissions:
                self._admitted.popitem(last=False)
        return _Admitted(request, device, (), info, blob, parameters, session)

    def _enter(self, actor: Actor, admitted: _Admitted, key: Key | None, id: str = "") -> wire.Task:
        """Hand a checked task to the core. It is durable once the engine has settled."""
        request, id = admitted.request, id or self._new_id("t")
        session = self._own_session(actor, admitted.session) if admitted.session else None
        project = self._project(request, admitted.session)
        event = ev.Submitted(
            at_s=self.engine.now(), task=id, user=actor.user, device=admitted.device, program=admitted.info.id,
            shots=request.shots, parameters=admitted.parameters, session=admitted.session,
            project=project, job=session.job if session else "", name=request.name,
            class_=session.class_ if session else request.class_, devices=admitted.devices,
            register=admitted.info.register, deadline_s=request.deadline_s,
            min_quality=request.needs.quality if request.needs else 0.0,
        )  # fmt: skip
        step = self.engine.handle(event, blobs=[admitted.blob] if admitted.blob else [], key=key)
        return view.task(step.tasks[id])  # as it is in this very record, which is what becomes durable

    def _project(self, request: wire.TaskSubmit, session: str) -> str:
        """Who pays: the session's project, or the one that the request names."""
        project = core_name(request.project)
        if not session:
            return project
        of_session = self.engine.deck.sessions[session].project
        if request.project and project != of_session:
            raise Conflict(f"session {session} is in project {of_session or 'default'}, not {request.project}")
        return of_session

    def _default(self, actor: Actor, device: str) -> str:
        """The session whose token came with the request, if it is on this device."""
        session = self.engine.deck.sessions.get(actor.session)
        return session.id if session is not None and device in session.eligible else ""

    def _foreign(self, format: str, target: Target) -> bool:
        return format == "ahs" and "ahs" not in target.formats and "pulser" in target.formats

    async def _native(self, given: wire.ProgramUpload, target: Target) -> wire.ProgramUpload:
        """The program in a format that the device takes."""
        if not self._foreign(given.format, target):
            return given
        return wire.ProgramUpload(format="pulser", payload=await self._convert(given.payload, target.spec))

    async def _admit(
        self, device: str, info: wire.ProgramInfo, program: Program, parameters: dict[str, object], shots: int,
        early: bool = False,
    ) -> None:  # fmt: skip
        target = self.engine.targets[device]
        if info.format not in target.formats:
            takes = ", ".join(target.formats)
            raise BadProgram("$.program.format", f"{device} takes {takes}, not {info.format}")
        if info.qubits > target.qubits:
            raise BadProgram("$.program", f"it needs {info.qubits} qubits, {device} has {target.qubits}")
        if early and info.variables:
            return  # the rest depends on parameters
        await self.engine.drivers[device].admit(program, parameters, shots)

    async def task(self, actor: Actor, id: str, wait_s: float = 0.0, after: int | None = None) -> wire.Task:
        """A task, at once or when it has changed. Raises `NotFound`, also for another user's."""
        task = await self._own_task(actor, id)
        if wait_s > 0:
            task = await self.engine.change(id, min(wait_s, self.limits.wait_s), after)
        return view.task(task)

    async def tasks(self, actor: Actor, query: TaskQuery) -> wire.TaskPage:
        """A page of tasks; of one's own unless administrator."""
        if not actor.administrator:
            query = msgspec.structs.replace(query, user=actor.user)
        rows = await self.engine.store.tasks(query)
        tasks = [msgspec.json.decode(body, type=Task) for _, body in rows]
        return wire.TaskPage(
            items=[view.task(task) for task in tasks], next=str(rows[-1][0]) if len(rows) == query.limit else ""
        )

    async def numbered(self, actor: Actor, number: int) -> wire.Task:
        """The task with this order of submission. Raises `NotFound`, also for another user's."""
        rows = await self.engine.store.tasks(TaskQuery(before_seq=number + 1, limit=1)) if 0 < number < 2**62 else []
        if not rows or rows[0][0] != number:
            raise NotFound("task", str(number))
        return await self.task(actor, msgspec.json.decode(rows[0][1], type=Task).id)

    async def import_tasks(self, actor: Actor, request: wire.TaskImport) -> wire.Imported:
        """Take over tasks that ended in another system; durable on return."""
        if not actor.administrator:
            raise Forbidden("only administrators may import tasks")
        return await import_tasks(self.engine, request.tasks)

    async def cancel(self, actor: Actor, id: str) -> wire.Task:
        """Call a task off; without effect on one that ended."""
        task = await self._own_task(actor, id)
        if not task.ended and task.state != "cancelling":
            await self.engine.commit(ev.Cancelled(at_s=self.engine.now(), task=id, by=actor.user))
        return view.task(await self.engine.task(id))

    async def result(self, actor: Actor, id: str, partial: bool) -> wire.Result:
        """The merged counts. Raises `NotReady` before the end, unless `partial`."""
        task = await self._own_task(actor, id)
        if not task.ended and not partial:
            raise NotReady(f"task {id} is {task.state}; wait with GET /v1/tasks/{id}?wait=30", id, task.state)
        rows = await self.engine.store.slices(id)
        slices = [msgspec.json.decode(body, type=Slice) for body, _ in rows]
        counts = []
        for address in [address for _, address in rows if address is not None]:
            stored = await self.engine.store.blob("result", address)
            if stored is None:
                raise Conflict(f"the counts of task {id} are not in the store any more")
            counts.append(msgspec.json.decode(stored[1], type=dict[str, int]))
        return wire.Result(
            task=id, state=task.state, shots=task.shots, shots_done=sum(slice.shots_done for slice in slices),
            partial=sum(slice.shots_done for slice in slices) < task.shots,
            emulated=self.engine.deck.devices[task.device].emulated, counts=merge(counts),
            slices=[view.slice(slice) for slice in slices],
        )  # fmt: skip

    async def log(self, actor: Actor, id: str) -> wire.Log:
        """What happened to a task, oldest first."""
        await self._own_task(actor, id)
        return wire.Log(task=id, lines=[view.line(event) for event in await self._events(id)])

    async def why(self, actor: Actor, id: str) -> wire.Why:
        """Why a task is where it is."""
        await self._own_task(actor, id)
        starts = [
            f"slice {event.index}: {view.chosen(event)}"
            for event in await self._events(id)
            if isinstance(event, ev.SliceStarted) and event.cause
        ]
        task = await self.engine.task(id)
        self.engine.handle(ev.Tick(at_s=self.engine.now()))  # so that estimates count from now
        told = why(self.engine.deck, task, ahead=True)
        return wire.Why(
            task=id, state=task.state, reason=told.reason, detail=told.detail, position=told.position,
            estimate_s=told.estimate_s, basis=told.basis, policy=self.engine.deck.policy.name, score=told.score,
            first=told.first, decisions=starts,
        )  # fmt: skip

    async def _events(self, id: str) -> list[ev.Event]:
        """All that the log has of a task."""
        found: list[ev.Event] = []
        after = 0
        while page := await self.engine.store.events(after, 1000, task=id):
            found += [ev.decode(body) for _, body in page]
            after = page[-1][0]
        return found

    async def _own_task(self, actor: Actor, id: str) -> Task:
        task = await self.engine.task(id)
        if task.user != actor.user and not actor.administrator:
            raise NotFound("task", id)
        return task

    # -- sessions -------------------------------------------------------------------------------------------------

    async def open_session(self, actor: Actor, request: wire.SessionOpen, id: str = "") -> wire.Session:
        """Open a lease; durable on return. The answer holds its bearer token, which is told only this once."""
        for where, text in (("$.project", request.project), ("$.job", request.job)):
            if _CONTROL.search(text):
                raise Invalid(where, "must not hold control characters")
        choice = self._choice(request)
        if not choice:
            raise Invalid("$.device", "give one of device, devices and needs")
        if len(choice) > 1 and request.mode == "exclusive":
            raise Invalid("$.devices", f"an exclusive session has one device; name one of {', '.join(choice)}")
        if request.lend and request.mode != "exclusive":
            raise Invalid("$.lend", f"a {request.mode} session has nothing to lend: others run beside it anyway")
        project = core_name(request.project)
        self.gate.open_session(actor.user)
        id = id or self._new_id("s")
        token = self._new_token(id)
        event = ev.SessionOpened(
            at_s=self.engine.now(), session=id, user=actor.user, device=choice[0],
            devices=tuple(choice) if len(choice) > 1 else (), ttl_s=request.ttl_s, mode=request.mode,
            class_=request.class_, project=project, job=request.job, token=tokens.digest(token),
            idle_s=self.limits.idle_s(request), lend_s=self.limits.lend_s if request.lend else 0.0,
        )  # fmt: skip
        step = await self.engine.commit(event)
        return msgspec.structs.replace(view.session(step.sessions[id]), token=token)

    def bearer(self, token: str) -> Actor:
        """Whoever a session's token speaks for. Raises `Unauthenticated` once the session is over."""
        session = self.engine.deck.sessions.get(tokens.session_of(token))
        if session is None or not tokens.matches(token, session.token):
            raise Unauthenticated("this token is of no open session")
        return Actor(session.user, session=session.id)

    async def renew_session(self, actor: Actor, id: str) -> wire.Session:
        """Start the lease anew. Raises `NotFound` for a closed one."""
        self._own_session(actor, id)
        step = await self.engine.commit(ev.SessionRenewed(at_s=self.engine.now(), session=id))
        return view.session(step.sessions[id])

    async def close_session(self, actor: Actor, id: str) -> wire.Session:
        """End the lease and cancel what waits in it. A closed one stays as it is."""
        session = await self._session(actor, id)
        if session.state == "open":
            step = await self.engine.commit(ev.SessionClosed(at_s=self.engine.now(), session=id))
            session = step.sessions[id]
        return view.session(session)

    async def session(self, actor: Actor, id: str) -> wire.Session:
        """A session, open or closed."""
        return view.session(await self._session(actor, id))

    def sessions(self, actor: Actor) -> wire.SessionPage:
        """The open sessions; one's own unless administrator."""
        mine = [s for s in self.engine.deck.sessions.values() if actor.administrator or s.user == actor.user]
        return wire.SessionPage(items=[view.session(session) for session in mine])

    async def _session(self, actor: Actor, id: str) -> Session:
        session = self.engine.deck.sessions.get(id)
        if session is None:
            stored = await self.engine.store.noun("session", id)
            if stored is None:
                raise NotFound("session", id)
            session = msgspec.json.decode(stored, type=Session)
        if session.user != actor.user and not actor.administrator:
            raise NotFound("session", id)
        return session

    def _own_session(self, actor: Actor, id: str) -> Session:
        session = self.engine.deck.sessions.get(id)
        if session is None or session.user != actor.user:
            raise NotFound("open session", id)
        return session

    # -- notes ----------------------------------------------------------------------------------------------------

    async def keep(self, note: Note) -> None:
        """Keep a note, in place of an earlier one of this kind and id; durable on return."""
        self._keep(note)
        await self.engine.settled()

    def _keep(self, note: Note) -> None:
        event = ev.NoteKept(at_s=self.engine.now(), kind=note.kind, id=note.id, user=note.user, body=note.body.decode())
        self.engine.handle(event)

    async def note(self, actor: Actor, kind: str, id: str) -> bytes:
        """The body of a note. Raises `NotFound`, also for another user's."""
        stored = await self.engine.store.noun(f"note:{kind}", id)
        note = msgspec.json.decode(stored, type=ev.NoteKept) if stored is not None else None
        if note is None or (note.user != actor.user and not actor.administrator):
            raise NotFound(kind, id)
        return note.body.encode()

    # -- devices --------------------------------------------------------------------------------------------------

    def devices(self) -> wire.DevicePage:
        """Every device of the configuration."""
        return wire.DevicePage(items=[self._view_device(name, spec=False) for name in sorted(self.engine.targets)])

    def device(self, name: str) -> wire.Device:
        """A device with its specification. Raises `NotFound`."""
        return self._view_device(self._device(name), spec=True)

    async def set_device(self, actor: Actor, name: str, request: wire.DeviceSet) -> wire.Device:
        """Take a device out of service, or give it back."""
        if not actor.administrator:
            raise Forbidden("only administrators may change a device's status")
        await self.engine.set_status(self._device(name), request.status, request.reason)
        return self.device(name)

    def _device(self, name: str) -> str:
        target = self.engine.targets.get(name)
        if target is None:
            raise NotFound("device", name)
        return target.name  # the one string that all its tasks share

    def _view_device(self, name: str, spec: bool) -> wire.Device:
        deck = self.engine.deck
        device = deck.devices[name]
        now, ahead = deck.window_on(name) or deck.timetable.reservation(name), deck.timetable.upcoming(name)
        return view.device(device, self.engine.targets[name], now, ahead, deck.queued(name), spec)


def _parameters(parameters: dict[str, object], limit_bytes: int) -> str:
    """Parameters as canonical JSON text. Raises `Invalid` for anything but numbers and lists of numbers."""
    if not parameters:
        return "{}"
    for name, value in parameters.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bool) or not isinstance(item, int | float):
                raise Invalid(f"$.parameters.{name}", "must be a number or a list of numbers")
            if isinstance(item, int) and abs(item) >= 2**63:
                raise Invalid(f"$.parameters.{name}", "is out of range")
    text = _encode(parameters, order="sorted").decode()
    if len(text) > limit_bytes:
        raise Invalid("$.parameters", f"take {len(text)} bytes, {limit_bytes} are allowed")
    return text
