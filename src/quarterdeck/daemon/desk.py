"""The front desk: what somebody may ask of the engine, whatever language the request came in.

`/v1` and the dialects of other systems are thin adapters onto these methods, so all of them share one queue.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from hashlib import sha256

import msgspec

from quarterdeck import wire
from quarterdeck.core import events as ev
from quarterdeck.daemon import tokens, view
from quarterdeck.daemon.actor import Actor, Note
from quarterdeck.daemon.choice import Choice
from quarterdeck.daemon.engine import Engine
from quarterdeck.daemon.jobs import Jobs
from quarterdeck.daemon.keys import Key
from quarterdeck.daemon.limits import Gate, Limits
from quarterdeck.daemon.projects import Projects, core_name
from quarterdeck.daemon.sessions import Sessions
from quarterdeck.daemon.store import Blob
from quarterdeck.daemon.tasks import Tasks
from quarterdeck.daemon.windows import Windows
from quarterdeck.devices.driver import Target
from quarterdeck.errors import (
    BadProgram,
    Conflict,
    Forbidden,
    IdempotencyMismatch,
    Invalid,
    NotFound,
    QuarterdeckError,
)
from quarterdeck.programs.format import INSTANT
from quarterdeck.programs.program import Program, Summary

_encode = msgspec.json.encode
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Summarise = Callable[[str, str], Awaitable[Summary]]
"""(format, payload) to its summary; raises `BadProgram`. Must not block the loop."""

Convert = Callable[[str, str], Awaitable[str]]
"""(AHS document, device specification) to a Pulser sequence; raises `BadProgram`. Must not block the loop."""


class _Admitted(msgspec.Struct, frozen=True):
    """A request that passed every check, with the blob to store if its program is new."""

    request: wire.TaskSubmit
    device: str
    devices: tuple[str, ...]
    info: wire.ProgramInfo
    blob: Blob | None
    parameters: str
    session: str


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
        self.choice = Choice(engine)
        self.tasks = Tasks(engine, limits.wait_s)
        self.sessions = Sessions(engine, self.choice, self.gate, limits, new_id, new_token)
        self.windows = Windows(engine, new_id)
        self.jobs = Jobs(engine, new_id, key, url)
        self._new_id = new_id
        self._summarise = summarise
        self._convert = convert
        self._infos: OrderedDict[str, wire.ProgramInfo] = OrderedDict()
        self._admitted: OrderedDict[tuple[str, str, str, int], None] = OrderedDict()
        self._busy_keys: dict[bytes, asyncio.Future[None]] = {}

    # -- programs -------------------------------------------------------------------------------------------------

    async def upload(self, actor: Actor, request: wire.ProgramUpload) -> wire.ProgramInfo:
        """Keep a program; durable on return. The same text again costs nothing."""
        info, blob = await self._program(request)
        device = self.choice.known(request.device) if request.device is not None else ""
        if device and not self._foreign(info.format, self.engine.targets[device]):
            await self._admit(device, info, await self._payload(info, blob), {}, 1, early=True)
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
                self.sessions.own(actor, one.session)
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
        choice = self.choice.of(request) or self._of_session(actor, request.session)
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
        return self.choice.best_first(self.sessions.own(actor, id or actor.session).eligible)

    async def _check_on(self, actor: Actor, request: wire.TaskSubmit, device: str) -> _Admitted:
        target = self.engine.targets[device]
        parameters = _parameters(request.parameters, self.limits.parameters_bytes)
        if _CONTROL.search(request.name):
            raise Invalid("$.name", "must not hold control characters")
        if request.deadline_s and request.deadline_s <= self.engine.now():
            raise Invalid("$.deadline_s", "is over already; it is in seconds since 1970 (UTC)")
        if request.shots > target.max_shots:
            raise BadProgram("$.shots", f"{device} takes at most {target.max_shots} shots for one task")
        session = self.sessions.own(actor, request.session).id if request.session else self._default(actor, device)
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
        session = self.sessions.own(actor, admitted.session) if admitted.session else None
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
        return self._view_device(self.choice.known(name), spec=True)

    async def set_device(self, actor: Actor, name: str, request: wire.DeviceSet) -> wire.Device:
        """Take a device out of service, or give it back."""
        if not actor.administrator:
            raise Forbidden("only administrators may change a device's status")
        await self.engine.set_status(self.choice.known(name), request.status, request.reason)
        return self.device(name)

    def _view_device(self, name: str, spec: bool) -> wire.Device:
        deck = self.engine.deck
        device = deck.devices[name]
        now, ahead = deck.window_on(name) or deck.timetable.reservation(name), deck.timetable.upcoming(name)
        told = view.device(device, self.engine.targets[name], now, ahead, deck.queued(name), spec)
        if device.decoders:
            host = wire.RealtimeHost(
                host=self.engine.devices[name].realtime, decoders=device.decoders, free=deck.free_decoders(device)
            )
            told = msgspec.structs.replace(told, realtime=host)
        return told


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
