"""Batches: notes on the desk that name their tasks. A job is a task, and has its id."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from quarterdeck import wire
from quarterdeck.daemon.actor import Actor, Note
from quarterdeck.daemon.desk import Desk
from quarterdeck.daemon.dialects.pasqal_cloud import readout, words
from quarterdeck.daemon.dialects.pasqal_cloud.readout import Readout
from quarterdeck.daemon.dialects.pasqal_cloud.types import Types
from quarterdeck.daemon.store import TaskQuery
from quarterdeck.errors import Conflict, Invalid, NotFound

KIND = "pasqal-batch"
NAME = "pasqal-cloud batch "
"""Tasks of batches have this name and the batch's id: so the way back from a job to its batch is durable, too."""
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"
_NAMED = re.compile(f"{NAME}({_UUID})")
SCANNED = 2000
"""Newest tasks of a user that lists of batches and jobs look at."""


class Batch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A batch as it is kept.

    Attributes:
        program: Id of the sequence that jobs without one of their own run; empty for none.
        device: The device behind `device_type`.
        jobs: Ids of its tasks, in order. The last ones may never have come to be, if the daemon died meanwhile.
    """

    id: str
    user: str
    created_s: float
    device_type: str
    device: str = ""
    program: str = ""
    project: str = ""
    open: bool = False
    cancelled: bool = False
    configuration: dict[str, Any] | None = None
    backend_configuration: str | None = None
    readout: Readout = Readout()
    tags: list[str] | None = None
    parent: str | None = None
    jobs: list[str] = []

    def note(self) -> Note:
        """The batch as a note."""
        return Note(KIND, self.id, self.user, msgspec.json.encode(self))


_decode = msgspec.json.Decoder(Batch).decode


class Batches:
    """What clients do with batches, on the desk of the moment."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def lock(self, id: str) -> asyncio.Lock:
        """Held while a batch is read, changed and kept."""
        return self._locks.setdefault(id, asyncio.Lock())

    async def get(self, desk: Desk, actor: Actor, id: str) -> Batch:
        """A batch. Raises `NotFound`, also for another user's."""
        try:
            if not re.match(_UUID, id):  # ids in bodies may be any text, which not every database takes
                raise NotFound(KIND, "")
            return _decode(await desk.note(actor, KIND, id))
        except NotFound:
            raise NotFound("batch", id[:128]) from None

    async def of_job(self, desk: Desk, actor: Actor, id: str) -> tuple[Batch, wire.Task]:
        """A job and its batch. Raises `NotFound`, also for another user's or a task that is no job."""
        try:
            task = await desk.tasks.get(actor, id)
            batch = await self.get(desk, actor, batch_of(task))
        except NotFound:
            raise NotFound("job", id) from None
        if id not in batch.jobs:
            raise NotFound("job", id)
        return batch, task

    async def tasks(self, desk: Desk, actor: Actor, batch: Batch) -> list[wire.Task]:
        """The batch's jobs, in order."""
        found = []
        for id in batch.jobs:
            try:
                found.append(await desk.tasks.get(actor, id))
            except NotFound:
                continue  # the daemon died before it came to be; nobody was told of it
        return found

    async def create(
        self, desk: Desk, actor: Actor, types: Types, asked: words.BatchRequest, now_s: float
    ) -> tuple[Batch, list[wire.Task]]:
        """Accept a batch and its jobs. Durable on return."""
        if asked.webhook:
            raise Invalid("$.webhook", "webhooks are not called from here; wait for the batch instead")
        if asked.open is not None and asked.complete is not None and asked.open == asked.complete:
            raise Invalid("$.complete", "contradicts $.open")
        open = asked.open if asked.open is not None else asked.complete is False
        readout.legacy(asked.configuration)
        if not asked.jobs and not open:
            raise Invalid("$.jobs", "a closed batch without jobs has nothing to run")
        device = types.device(asked.device_type) if asked.device_type else ""
        program = ""
        if asked.sequence_builder is not None:
            info = await self._keep(desk, actor, asked.sequence_builder)
            device, program = device or types.of_program(info.device or ""), info.id
            if not asked.jobs:  # nothing else would look at it before the first job comes
                await self._keep(desk, actor, asked.sequence_builder, device)
        elif not device and asked.jobs and asked.jobs[0].sequence:
            info = await self._keep(desk, actor, asked.jobs[0].sequence)
            device = types.of_program(info.device or "")
        batch = Batch(
            id=new_id(), user=actor.user, created_s=now_s, device_type=asked.device_type or device,
            device=device or types.of_program(""), program=program, project=asked.project_id or "", open=open,
            configuration=asked.configuration, backend_configuration=asked.backend_configuration,
            readout=readout.read(asked.backend_configuration), tags=asked.tags,
        )  # fmt: skip
        return await self.extend(desk, actor, batch, await self.requests(desk, actor, batch, asked.jobs))

    async def _keep(self, desk: Desk, actor: Actor, sequence: str, device: str | None = None) -> wire.ProgramInfo:
        if not sequence:
            raise Invalid("$.sequence_builder", "is empty")
        return await desk.upload(actor, wire.ProgramUpload(format="pulser", payload=sequence, device=device))

    async def requests(
        self, desk: Desk, actor: Actor, batch: Batch, jobs: Sequence[words.JobRequest]
    ) -> list[wire.TaskSubmit]:
        """The tasks that jobs ask for. Raises `Invalid`."""
        common = await desk.program(batch.program) if batch.program else None
        asked = []
        for index, job in enumerate(jobs):
            info = await self._keep(desk, actor, job.sequence) if job.sequence else common
            if info is None:
                raise Invalid(f"$.jobs[{index}].sequence", "is missing, and the batch has none")
            shots = job.runs or batch.readout.shots
            if not shots:
                why = "is missing, and no backend_configuration says how many shots to take"
                raise Invalid(f"$.jobs[{index}].runs", why)
            asked.append(wire.TaskSubmit(
                device=batch.device, program=info.id, shots=shots, name=NAME + batch.id,
                # qiskit-pasqal-provider sends the values together with a sequence built from them
                parameters=(job.variables or {}) if info.variables else {},
                project=desk.projects.payer(actor, batch.project),
            ))  # fmt: skip
        return asked

    async def extend(
        self, desk: Desk, actor: Actor, batch: Batch, asked: Sequence[wire.TaskSubmit]
    ) -> tuple[Batch, list[wire.Task]]:
        """Keep the batch with these tasks added; the new ones. Durable on return."""
        if len(batch.jobs) + len(asked) > words.MOST_JOBS:
            raise Invalid("$.jobs", f"a batch holds at most {words.MOST_JOBS} jobs")
        grown = batch

        def note(ids: list[str]) -> Note:
            nonlocal grown
            grown = msgspec.structs.replace(batch, jobs=[*batch.jobs, *ids])
            return grown.note()

        tasks = await desk.submit_all(actor, asked, note)
        return grown, tasks

    async def add(self, desk: Desk, actor: Actor, id: str, jobs: Sequence[words.JobRequest]) -> Batch:
        """Add jobs to an open batch. Raises `Conflict` for a closed one."""
        async with self.lock(id):
            batch = await self.get(desk, actor, id)
            if not batch.open:
                raise Conflict(f"batch {id} is closed: it takes no more jobs")
            return (await self.extend(desk, actor, batch, await self.requests(desk, actor, batch, jobs)))[0]

    async def change(self, desk: Desk, actor: Actor, id: str, **changes: Any) -> Batch:
        """Keep a batch with other fields. Durable on return."""
        async with self.lock(id):
            batch = await self.get(desk, actor, id)
            changed = msgspec.structs.replace(batch, **changes)
            if changed != batch:
                await desk.keep(changed.note())
            return changed

    async def recent(self, desk: Desk, actor: Actor) -> list[wire.Task]:
        """The user's jobs among the newest tasks, newest first."""
        found: list[wire.Task] = []
        before, seen = None, 0
        while seen < SCANNED:
            page = await desk.tasks.page(actor, TaskQuery(user=actor.user, before_seq=before, limit=500))
            found += [task for task in page.items if batch_of(task)]
            seen += len(page.items)
            if not page.next:
                break
            before = int(page.next)
        return found


def new_id() -> str:
    """A new batch's id. The SDK takes only UUIDs in filters."""
    return str(uuid.uuid4())


def batch_of(task: wire.Task) -> str:
    """The batch that a task says it belongs to; empty for none."""
    named = _NAMED.match(task.name)
    return named.group(1) if named else ""
