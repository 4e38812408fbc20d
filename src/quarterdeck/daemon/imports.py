"""Tasks that ended in another system, taken over with their results."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from quarterdeck import wire
from quarterdeck.core import events as ev
from quarterdeck.daemon.engine import Engine
from quarterdeck.daemon.store import Blob
from quarterdeck.errors import Invalid
from quarterdeck.programs.program import Program
from quarterdeck.programs.result import GarbageOutcome, check_counts

_encode = msgspec.json.encode


async def import_tasks(engine: Engine, tasks: list[wire.ImportedTask]) -> wire.Imported:
    """Take over tasks, durable on return; those known already are left alone. After `Invalid` nothing was done."""
    entries = [_entry(engine, f"$.tasks[{number}]", task) for number, task in enumerate(tasks)]
    if len({task.id for task in tasks}) < len(tasks):
        raise Invalid("$.tasks", "an id is given twice")
    fresh = [entry for task, entry in zip(tasks, entries, strict=True) if await engine.store.task(task.id) is None]
    imported = 0
    for event, blobs in fresh:
        if event.task not in engine.deck.tasks:
            engine.handle(event, blobs)
            imported += 1
    await engine.settled()
    return wire.Imported(imported=imported, known=len(tasks) - imported)


def _entry(engine: Engine, where: str, task: wire.ImportedTask) -> tuple[ev.TaskImported, list[Blob]]:
    if task.device not in engine.targets:
        raise Invalid(f"{where}.device", f"no device {task.device!r} in the daemon's configuration")
    counts = task.counts or {}
    try:
        check_counts(counts, task.shots)
    except GarbageOutcome as error:
        raise Invalid(f"{where}.counts", str(error)) from None
    done = sum(counts.values())
    if task.state == "done" and done != task.shots:
        raise Invalid(f"{where}.counts", f"hold {done} of {task.shots} shots, though the task is done")
    program = Program.of(task.format, task.payload)
    content = task.payload.encode()
    info = wire.ProgramInfo(id=program.id, format=task.format, bytes=len(content))
    blobs = [Blob("program", program.id, _encode(info), content)]
    address = None
    if counts:
        body = _encode(dict(sorted(counts.items())))
        address = sha256(body).hexdigest()
        blobs.append(Blob("result", address, b"{}", body))
    event = ev.TaskImported(
        at_s=engine.now(), task=task.id, number=task.number, user=task.user, device=task.device, program=program.id,
        shots=task.shots, shots_done=done, state=task.state, submitted_s=task.submitted_s, started_s=task.started_s,
        ended_s=task.ended_s or task.submitted_s, result=address, job=task.job, name=task.name,
        error_code="imported" if task.error else "", error_message=task.error,
    )  # fmt: skip
    return event, blobs
