"""A Pasqal QPU over its own HTTP interface: one program on it for each slice, whatever times out or dies.

The QPU takes one job at a time from one submitter: by default a new job cancels the one before. So this driver must be
its only client. What a slice became of is found out, never guessed: a job is posted once under an id made from the
slice's key, and looked for before anything is posted again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from quarterdeck.devices.driver import Outcome, Slice, Status, Target, Trace
from quarterdeck.devices.pasqal_api import Api, Job, Unanswered
from quarterdeck.devices.workers import Workers
from quarterdeck.errors import BadProgram, DeviceUnavailable, Invalid, NotFound
from quarterdeck.programs import pulser as program
from quarterdeck.programs.program import Parameters, Program

log = logging.getLogger(__name__)
NAMESPACE = uuid5(NAMESPACE_URL, "quarterdeck:slice")
MISSES = 5
"""How often a QPU may not know a job before it is taken for lost: it may be starting up."""
LOOK_BACK = 32
"""How many of the youngest jobs are looked through for one whose uid is not known."""
GAP = 4
"""So many uids may be missing in between: numbers given to jobs that were refused, say."""
KEPT = 10_000
ANSWERED_S = 2.0
"""After an answer that was none (a gateway's page, 500), a job that is not there by then was not accepted."""


class Lost(Exception):
    """The QPU does not know the job any more, or somebody else cancelled it. The slice runs again."""


class PasqalQpu:
    """Settings of kind `pasqal-qpu`.

    Attributes:
        uri: Where the QPU answers, such as http://10.0.0.2:8000. It asks nobody who they are: guard its network.
        shot_rate_hz, setup_s: How quick it is: shots per second, and seconds before the first. A slice that takes
            three times as long, and `daemon.grace_s`, counts as hung.
        poll_s, longest_poll_s: Pauses between looks at a job: the first, and what they grow to.
        settle_s: How long a job that may have been posted is looked for before it counts as not accepted.
        spec: A file with the Pulser device, for a start while the QPU is away and was never seen before.
        emulated: It is no hardware; said wherever the device is shown.
    """

    def __init__(
        self, name: str, uri: str, state: Path, shot_rate_hz: float = 5.0, setup_s: float = 5.0, poll_s: float = 0.1,
        longest_poll_s: float = 2.0, settle_s: float = 15.0, spec: str = "", emulated: bool = False,
    ) -> None:  # fmt: skip
        if not uri.startswith(("http://", "https://")):
            raise Invalid(f"devices.{name}.uri", f"{uri!r} is not http://HOST:PORT")
        for key, value in (("poll_s", poll_s), ("longest_poll_s", longest_poll_s), ("settle_s", settle_s),
                           ("shot_rate_hz", shot_rate_hz)):  # fmt: skip
            if not 0 < value < 1e6:
                raise Invalid(f"devices.{name}.{key}", "must be a positive number")
        self._name, self._api = name, Api(name, uri)
        self._rate_hz, self._setup_s = shot_rate_hz, setup_s
        self._poll_s, self._longest_poll_s, self._settle_s = poll_s, max(poll_s, longest_poll_s), settle_s
        self._cache, self._given, self._emulated = state / "spec.json", spec, emulated
        self._intent = state / "posted.json"
        self._spec = ""
        self._checkers = Workers(1, ("quarterdeck.programs.pulser", "pulser"))
        self._handles: OrderedDict[str, str] = OrderedDict()
        self._looks: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._posted: OrderedDict[str, float] = OrderedDict()
        self._cancelled: set[str] = set()
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()

    async def target(self) -> Target:
        self._checkers.warm_up()
        self._spec = await self._find_spec()
        with suppress(OSError, msgspec.MsgspecError):
            key, batch, shots = msgspec.json.decode(self._intent.read_bytes(), type=tuple[str, str, int])
            self._looks[key] = batch, shots
        device = json.loads(self._spec)
        return Target(
            name=self._name, modality="neutral-atom", qubits=device.get("max_atom_num") or 1000, formats=("pulser",),
            emulated=self._emulated, max_shots=device.get("max_runs") or 1_000_000, shot_rate_hz=self._rate_hz,
            setup_s=self._setup_s, can_cancel=True, can_lookup=True, keeps_handles=True, spec=self._spec,
        )  # fmt: skip

    async def _find_spec(self) -> str:
        try:
            told = await self._api.specs()
        except DeviceUnavailable as error:
            path = Path(self._given) if self._given else self._cache
            try:
                told = path.read_text(encoding="utf-8")
            except OSError:
                why = (
                    f"{error.why}, and what device it is was never seen: start it, or give its Pulser device as `spec`"
                )
                raise Invalid(f"devices.{self._name}", why) from None
            log.warning("%s: %s; it is taken to be what %s says", self._name, error.why, path)
        try:
            if not isinstance(json.loads(told), dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise Invalid(f"devices.{self._name}", f"its specification is not JSON: {error}") from None
        _write(self._cache, told.encode())
        return told

    async def status(self) -> Status:
        try:
            word = await self._api.operational()
        except DeviceUnavailable as error:
            return Status(False, error.why)
        return Status(word == "UP", "" if word == "UP" else f"the QPU says {word or 'nothing'}")

    async def admit(self, program: Program, parameters: Parameters, shots: int) -> None:
        if program.format != "pulser":
            raise BadProgram("$.format", f"{self._name} takes pulser, not {program.format}")
        await self._bind(program, parameters, shots)

    async def _bind(self, given: Program, parameters: Parameters, shots: int) -> str:
        """The program as the QPU takes it: on its device, with its parameters set."""
        return await self._checkers.run(program.bound, given.payload, parameters, shots, self._spec, timeout_s=60.0)

    # -- slices ---------------------------------------------------------------------------------------------------

    async def start(self, slice: Slice) -> str:
        if (known := self._handles.get(slice.key)) is not None:
            return known
        _remember(self._posted, slice.key, 0.0)  # not yet: whoever looks for it need not wait for it to turn up
        sequence = await self._bind(slice.program, slice.parameters, slice.shots)
        settle_s, batch = self._settle_s, slice.batch or slice.key
        _remember(self._looks, slice.key, (batch, slice.shots))
        _write(self._intent, msgspec.json.encode((slice.key, batch, slice.shots)))
        try:
            job = await self._api.post(slice.shots, sequence, _id(slice.key), batch)
        except Unanswered as error:
            settle_s = min(ANSWERED_S, settle_s) if error.answered else settle_s
            raise
        finally:  # also when the loop's own patience ended, in the middle of the request
            _remember(self._posted, slice.key, monotonic() + settle_s)
        return self._note(slice.key, job)

    async def lookup(self, key: str, trace: Trace = Trace()) -> str | None:  # noqa: B008  # frozen
        if (known := self._handles.get(key)) is not None:
            return known
        if trace.handle:
            uid, created = _apart(trace.handle)
            job = await self._known(uid)
            return trace.handle if job is not None and self._same(job, created, _id(key)) else None
        # Kept: a look-up that is broken off goes on from there, else it would never end.
        until_s = self._posted.setdefault(key, monotonic() + self._settle_s)
        while True:
            job = await self._search(key, trace.after)
            if job is not None:
                return self._note(key, job)
            if monotonic() >= until_s:
                return None
            await asyncio.sleep(min(self._longest_poll_s, max(0.0, until_s - monotonic())))

    async def _search(self, key: str, after: str) -> Job | None:
        """Look through the youngest jobs, back to the one that was the last before; from 0 if uids began anew."""
        floors = [0]
        if after:
            uid, created = _apart(after)
            job = await self._api.job(uid)
            # Without the job before nobody can tell whether uids began anew or old jobs are no longer shown.
            floors = [uid + 1] if job is not None and self._same(job, created, "") else [0, uid + 1]
        for floor in floors:
            end = await self._end(floor)
            for uid in range(end - 1, max(floor, end - LOOK_BACK) - 1, -1):
                job = await self._api.job(uid)
                if job is not None and self._mine(job, key):
                    return job
        return None

    async def _end(self, floor: int) -> int:
        """After the last uid from `floor` on that the QPU knows: uids count up, nearly without gaps."""
        step, known, unknown = 1, floor - 1, None
        while unknown is None:
            if (found := await self._next(known + step)) is None:
                unknown = known + step
            else:
                known, step = found, step * 2
        while unknown - known > 1:
            middle = (known + unknown) // 2
            if (found := await self._next(middle)) is None:
                unknown = middle
            else:
                known = found
        return unknown

    async def _next(self, uid: int) -> int | None:
        """The first uid from here on that the QPU knows; None if there is only a gap."""
        for one in range(uid, uid + GAP):
            if await self._api.job(one) is not None:
                return one
        return None

    def _mine(self, job: Job, key: str) -> bool:
        """Whether it is this slice's job. A QPU that does not show the context leaves batch and shots to tell by."""
        if job.id:
            return job.id == _id(key)
        return self._looks.get(key) == (job.batch_id, job.nb_run)

    def _same(self, job: Job, created: str, id: str) -> bool:
        """Whether it is the job of a handle: uids begin anew when the QPU lost its state."""
        return (job.created_datetime or "") == created and (not id or not job.id or job.id == id)

    def _note(self, key: str, job: Job) -> str:
        handle = f"{job.uid} {job.created_datetime or ''}"
        _remember(self._handles, key, handle)
        return handle

    async def _known(self, uid: int) -> Job | None:
        """A job, asked for several times if the QPU does not know it."""
        for _ in range(MISSES - 1):
            if (job := await self._api.job(uid)) is not None:
                return job
            await asyncio.sleep(self._poll_s)
        return await self._api.job(uid)

    async def wait(self, handle: str) -> Outcome:
        if handle in self._outcomes:
            return self._outcomes[handle]
        uid, created = _apart(handle)
        began_s, pause_s = monotonic(), self._poll_s
        while True:
            job = await self._known(uid)
            if job is None:
                raise Lost(f"the QPU does not know job {uid} any more")
            if not self._same(job, created, ""):
                raise Lost(f"job {uid} of the QPU is another one now: it lost its state")
            if job.status not in ("PENDING", "RUNNING"):
                break
            await asyncio.sleep(pause_s)
            pause_s = min(self._longest_poll_s, pause_s * 1.5)
        outcome = self._outcome(job, handle, monotonic() - began_s)
        _remember(self._outcomes, handle, outcome)
        return outcome

    def _outcome(self, job: Job, handle: str, waited_s: float) -> Outcome:
        qpu_s = waited_s if job.qpu_s is None else job.qpu_s
        match job.status:
            case "DONE":
                return Outcome(_counter(job), qpu_s)
            case "CANCELED" if handle in self._cancelled:
                return Outcome(_counter(job) if job.result else {}, qpu_s)
            case "CANCELED":
                log.warning("%s: job %d was cancelled, but not by us: is there another submitter?", self._name, job.uid)
                raise Lost(f"somebody else cancelled job {job.uid}: this daemon must be the QPU's only submitter")
            case "ERROR":
                raise RuntimeError(f"the QPU ended job {job.uid} with ERROR: {str(job.result or 'no reason')[:500]}")
            case word:
                raise DeviceUnavailable(self._name, f"the QPU says that job {job.uid} is {word[:40]!r}", 1.0)

    async def cancel(self, handle: str) -> None:
        uid, created = _apart(handle)
        self._cancelled.add(handle)
        if handle in self._outcomes:
            return
        for attempt in range(5):
            try:
                job = await self._api.job(uid)
                if job is not None and self._same(job, created, ""):
                    await self._api.cancel(uid)  # too late is no failure: `wait` has what became of it
                return
            except DeviceUnavailable:
                if attempt == 4:
                    raise
                await asyncio.sleep(self._poll_s * 2**attempt)

    async def close(self) -> None:
        await self._api.close()
        await self._checkers.close()


def _id(key: str) -> str:
    """What the slice's job is called, the same after any restart."""
    return str(uuid5(NAMESPACE, key))


def _apart(handle: str) -> tuple[int, str]:
    uid, _, created = handle.partition(" ")
    if not uid.isdigit():
        raise NotFound("slice", handle)
    return int(uid), created


def _counter(job: Job) -> Any:
    """What a result counts, unchecked. Raises `ValueError` for one that is not JSON."""
    try:
        told = msgspec.json.decode(job.result or "")
        return told["counter"]
    except (msgspec.DecodeError, KeyError, TypeError):
        said = str(job.result or "nothing")[:80]
        raise ValueError(f"the result of job {job.uid} has no counter: {said!r}") from None


def _write(path: Path, told: bytes) -> None:
    """Replace a file, if that is possible: what is in it helps, and nothing depends on it."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(told)
        fresh.replace(path)


def _remember(known: OrderedDict[str, Any], key: str, value: Any) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > KEPT:
        known.popitem(last=False)
