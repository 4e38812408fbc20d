"""Any resource of the PyPI package `qrmi` as a device: Pasqal, IBM, IQM and Alice & Bob through the vendors' clients.

QRMI has no idempotency key, nor a list of tasks. A start whose answer is lost may therefore run twice on the vendor's
side, and be billed twice; it is counted once. A start that is only slow is waited for, and a task whose id came back is
found again, also after a restart, since the daemon writes ids down.

Secrets stay here: no message that leaves this driver holds a value of the environment, URLs included.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn

from quarterdeck.devices import qrmi_payloads
from quarterdeck.devices.driver import Modality, Outcome, Slice, Status, Target, Trace
from quarterdeck.devices.qrmi_handles import Handles, QrmiFailed, configured, defaults
from quarterdeck.devices.workers import Workers
from quarterdeck.errors import BadProgram, DeviceUnavailable, Invalid, NotFound
from quarterdeck.programs.program import Parameters, Program

log = logging.getLogger(__name__)

STATUS_S, CLOSE_S, BUILD_S, TARGET_S = 5.0, 5.0, 60.0, 60.0
KNOWN = 4096


class Gone(Exception):
    """The vendor's side does not know the task any more, ended it, or somebody cancelled it there."""


class Qrmi:
    """A QRMI resource.

    Args:
        type: As in a qrmi_config.json: pasqal-local, pasqal-cloud, iqm-server and so on; read from `config` if empty.
        resource: The resource's name at QRMI; the device's own if empty.
        environment: Its QRMI settings, without the resource's name before them.
        config: A qrmi_config.json that has the resource; `environment` wins over it.
        acquire: Whether work needs a session, opened with the first task and closed at the end; by the type if absent.
        modality, qubits, max_shots, emulated: What the device is, where the vendor does not tell or tells wrongly.
        shot_rate_hz: As in `Target`.
        setup_s: The longest that a slice may wait at the vendor, its queue included; an hour unless told.
        lanes: Tasks that it is given at once.
        poll_s: Seconds between two looks at a task; a service that holds the call until the end makes it matter less.
        state: Where the specification is kept, for a start while the vendor is away.
    """

    def __init__(
        self, name: str, state: Path, type: str = "", resource: str = "", environment: dict[str, str] | None = None,
        config: str = "", acquire: bool | None = None, modality: Modality | None = None, qubits: int = 0,
        max_shots: int = 0, emulated: bool | None = None, shot_rate_hz: float = 0.0, setup_s: float | None = None,
        lanes: int = 1, poll_s: float = 1.0,
    ) -> None:  # fmt: skip
        def refuse(key: str, why: str) -> NoReturn:
            raise Invalid(f"devices.{name}.{key}", why)

        self._name, self._resource = name, resource or name
        told = dict(environment or {})
        if not all(isinstance(value, str) for value in told.values()):
            refuse("environment", "all values are text")
        if config:
            found, kept = configured(f"devices.{name}.config", Path(config), self._resource)
            type, told = type or found, kept | told
        if type == "oqtopus":
            refuse("type", "oqtopus is not supported: QRMI would load a library of the site's into this process")
        if type not in qrmi_payloads.KINDS:
            refuse("type", f"unknown {type!r}; known are {', '.join(sorted(qrmi_payloads.KINDS))}")
        if not poll_s > 0 or lanes < 1:
            refuse("poll_s" if lanes >= 1 else "lanes", "must be positive")
        self._kind = kind = qrmi_payloads.KINDS[type]
        self._pulser = kind.format == "pulser"
        self._acquire = kind.acquires if acquire is None else acquire
        self._poll_s, self._state = poll_s, state
        self._handles = Handles(f"devices.{name}", self._resource, kind.type, defaults(kind.type, told))
        self._handles.make()  # so that wrong settings are told now
        self._told: dict[str, Any] = {
            "modality": modality or kind.modality, "shot_rate_hz": shot_rate_hz, "lanes": lanes,
            "setup_s": kind.setup_s if setup_s is None else setup_s,
            "emulated": self._resource.upper().startswith("EMU") if emulated is None else emulated,
        }  # fmt: skip
        self._qubits, self._max_shots = qubits, max_shots
        self._token = ""
        self._acquiring = asyncio.Lock()
        self._target: Target
        self._workers: Workers | None = None
        self._built: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._starts: OrderedDict[str, asyncio.Task[str]] = OrderedDict()
        self._open: set[str] = set()
        self._cancelled: set[str] = set()
        self._looking: asyncio.Task[Any] | None = None

    async def target(self) -> Target:
        spec = await self._spec()
        try:
            qubits, max_shots = self._kind.facts(spec) if spec else (0, 0)
        except (ValueError, TypeError, KeyError, AttributeError):
            qubits, max_shots = 0, 0
        if not (self._qubits or qubits):
            raise Invalid(f"devices.{self._name}.qubits", "the vendor does not tell how many: set it")
        if self._pulser:
            self._workers = Workers(1, ("pulser",))
            self._workers.warm_up()
        self._target = Target(
            name=self._name, formats=(self._kind.format,), qubits=self._qubits or qubits, can_cancel=True,
            max_shots=self._max_shots or max_shots or 1_000_000, can_lookup=True, keeps_handles=True, spec=spec,
            **self._told,
        )  # fmt: skip
        return self._target

    async def status(self) -> Status:
        if (
            self._looking is None or self._looking.done()
        ):  # one look at a time: a service that hangs gets no pile of them
            self._looking = asyncio.create_task(self._handles.call(lambda resource: resource.status().to_dict()))
            self._looking.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            told = await asyncio.wait_for(asyncio.shield(self._looking), STATUS_S)
        except TimeoutError:
            return Status(False, f"no answer within {STATUS_S:.0f} s")
        except QrmiFailed as error:
            return Status(False, error.text or error.kind)
        if told.get("status") == "online":
            return Status(True)
        return Status(False, self._handles.scrub(str(told.get("status_reason") or told.get("status") or "offline")))

    async def admit(self, program: Program, parameters: Parameters, shots: int) -> None:
        if program.format != self._kind.format:
            raise BadProgram("$.format", f"{self._name} takes {self._kind.format}, not {program.format}")
        if shots > self._target.max_shots:
            raise BadProgram("max_shots", f"{shots} shots, but {self._name} takes at most {self._target.max_shots}")
        self._kind.check(program, parameters)
        await self._text(program, parameters)

    async def start(self, slice: Slice) -> str:
        task = self._starts.get(slice.key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._starts[slice.key] = asyncio.create_task(self._start(slice))
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
            while len(self._starts) > KNOWN and next(iter(self._starts.values())).done():
                self._starts.popitem(last=False)
        return await asyncio.shield(task)

    async def wait(self, handle: str) -> Outcome:
        began = monotonic()
        self._open.add(handle)
        while True:
            state = await self._ask(handle, lambda resource: _word(resource.task_status(handle)))
            if state == "Queued":
                began = monotonic()
            elif state != "Running":
                break
            await asyncio.sleep(self._poll_s)
        self._open.discard(handle)
        qpu_s = monotonic() - began  # as seen from here: since it last was in the vendor's queue
        if state == "Cancelled":
            if handle not in self._cancelled:
                raise Gone("it was cancelled on the vendor's side")
            return Outcome({}, qpu_s)
        if state == "Failed":
            raise Gone(f"it failed on the vendor's side: {await self._logs(handle)}")
        result = await self._ask(handle, lambda resource: resource.task_result(handle).value)
        try:
            return Outcome(await asyncio.to_thread(self._kind.counts, result), qpu_s)  # it may be large
        except Exception as error:
            said = f"the result cannot be read ({type(error).__name__}: {str(error)[:200]}): {result[:120]}"
            raise Gone(self._handles.scrub(said)) from None

    async def cancel(self, handle: str) -> None:
        self._cancelled.add(handle)
        try:
            await self._handles.call(lambda resource: resource.task_stop(handle))  # never waits for a held look
        except QrmiFailed as error:
            log.warning("%s: cannot cancel %s: %s", self._name, handle, error)

    async def lookup(self, key: str, trace: Trace = Trace()) -> str | None:  # noqa: B008  # frozen
        started = self._starts.get(key)
        if started is not None:
            try:
                return await asyncio.shield(started)
            except Exception:
                log.info("%s: the start of %s failed", self._name, key)
        if not trace.handle:
            return None  # nobody knows; see the head of this module
        try:
            await self._ask(trace.handle, lambda resource: resource.task_status(trace.handle))
        except NotFound:
            return None
        return trace.handle

    async def close(self) -> None:
        if self._workers is not None:
            await self._workers.close()
        if self._token and self._open:
            log.warning("%s: tasks still run; the session is left open for them", self._name)
        elif self._token:
            token = self._token
            try:
                await asyncio.wait_for(self._handles.call(lambda resource: resource.release(token)), CLOSE_S)
            except (QrmiFailed, TimeoutError) as error:
                log.warning("%s: the session was not closed: %s", self._name, error or "no answer")

    async def _spec(self) -> str:
        kept = self._state / "target"
        try:
            spec = await asyncio.wait_for(self._handles.call(lambda resource: resource.target().value), TARGET_S)
            spec = qrmi_payloads.pulser_spec(spec, self._resource) if self._pulser else spec
        except (QrmiFailed, TimeoutError, ValueError, TypeError, LookupError, AttributeError) as error:
            if kept.exists():
                log.warning("%s does not tell what it is (%s); going on with what it told last", self._name, error)
                return kept.read_text()
            if self._pulser:
                why = self._handles.scrub(f"it does not tell what it is: {error or 'no answer'}")
                raise DeviceUnavailable(self._name, why, 0.0) from None
            return ""
        self._state.mkdir(parents=True, exist_ok=True)
        kept.write_text(spec)
        return spec

    async def _text(self, program: Program, parameters: Parameters) -> str:
        """The program as the vendor gets it."""
        if not self._pulser:
            return program.payload
        assert self._workers is not None
        key = (program.id, json.dumps(parameters, sort_keys=True))
        if key not in self._built:
            self._built[key] = await self._workers.run(
                qrmi_payloads.sequence, program.payload, parameters, 1, self._target.spec, timeout_s=BUILD_S
            )
            while len(self._built) > 64:
                self._built.popitem(last=False)
        return self._built[key]

    async def _start(self, slice: Slice) -> str:
        text = await self._text(slice.program, slice.parameters)
        payload = self._kind.payload(text, slice)
        # Asked first: a service that is away now has surely not taken the task, which no later error would tell.
        online = await self.status()
        if not online.online:
            raise DeviceUnavailable(self._name, online.reason, 0.0)
        await self._session()
        token = self._token
        try:
            return self._started(await self._handles.call(lambda resource: resource.task_start(payload)))
        except QrmiFailed as error:
            if not (error.unauthorised and self._acquire):
                self._refused(error)
        await self._session(instead_of=token)
        try:
            return self._started(await self._handles.call(lambda resource: resource.task_start(payload)))
        except QrmiFailed as error:
            self._refused(error)

    def _started(self, handle: Any) -> str:
        self._open.add(str(handle))
        return str(handle)

    def _refused(self, error: QrmiFailed) -> NoReturn:
        """What a failed start means. Only an answer with a status says for sure that the task was not taken."""
        if error.kind in ("InvalidInputError", "UnsupportedPayloadError") or error.http in (400, 413, 415, 422):
            raise BadProgram("$", f"the vendor's service refuses it: {error.text}") from None
        if error.unauthorised or 400 <= error.http < 500 or error.http == 503 or error.kind == "ResourceNotFoundError":
            raise DeviceUnavailable(self._name, error.text, 0.0) from None
        raise error from None

    async def _session(self, instead_of: str = "") -> None:
        """Open a session, if work needs one and there is none but the refused one."""
        async with self._acquiring:
            if not self._acquire or (self._token and self._token != instead_of):
                return
            if instead_of:
                self._handles.renew("")
            try:
                token = str(await self._handles.call(lambda resource: resource.acquire()))
            except QrmiFailed as error:
                raise DeviceUnavailable(self._name, f"no session: {error.text}", 0.0) from None
            self._token = token
            self._handles.renew(token)

    async def _ask(self, handle: str, use: Any) -> Any:
        """Ask about a task. `NotFound` if it is unknown, `DeviceUnavailable` if the vendor cannot be asked now."""
        try:
            return await self._handles.call(use)
        except QrmiFailed as error:
            if error.not_found:
                self._open.discard(handle)
                raise NotFound("task", handle) from None
            if error.unreachable or error.unauthorised:
                raise DeviceUnavailable(self._name, error.text, 0.0) from None
            raise

    async def _logs(self, handle: str) -> str:
        try:
            told = str(await self._handles.call(lambda resource: resource.task_logs(handle)))
        except QrmiFailed as error:
            return f"and its log cannot be had ({error.text})"
        return self._handles.scrub(told)[-300:] or "its log is empty"


def _word(state: Any) -> str:
    """The name of a member of one of QRMI's enumerations, which are not Python's."""
    return str(state).rpartition(".")[2]
