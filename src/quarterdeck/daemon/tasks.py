"""Tasks that were accepted: looking at them, waiting for them, calling them off, their results and their history."""

from __future__ import annotations

import msgspec

from quarterdeck import wire
from quarterdeck.core import events as ev
from quarterdeck.core.nouns import Slice, Task
from quarterdeck.core.waiting import why
from quarterdeck.daemon import view
from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.engine import Engine
from quarterdeck.daemon.imports import import_tasks
from quarterdeck.daemon.store import TaskQuery
from quarterdeck.errors import Conflict, Forbidden, NotFound, NotReady
from quarterdeck.programs.result import merge


class Tasks:
    """Serves requests about tasks. Everybody sees their own; administrators, all."""

    def __init__(self, engine: Engine, wait_s: float) -> None:
        self._engine = engine
        self._wait_s = wait_s

    async def get(self, actor: Actor, id: str, wait_s: float = 0.0, after: int | None = None) -> wire.Task:
        """A task, at once or when it has changed. Raises `NotFound`, also for another user's."""
        task = await self.own(actor, id)
        if wait_s > 0:
            task = await self._engine.change(id, min(wait_s, self._wait_s), after)
        return view.task(task)

    async def page(self, actor: Actor, query: TaskQuery) -> wire.TaskPage:
        """A page of tasks; of one's own unless administrator."""
        if not actor.administrator:
            query = msgspec.structs.replace(query, user=actor.user)
        rows = await self._engine.store.tasks(query)
        tasks = [msgspec.json.decode(body, type=Task) for _, body in rows]
        return wire.TaskPage(
            items=[view.task(task) for task in tasks], next=str(rows[-1][0]) if len(rows) == query.limit else ""
        )

    async def numbered(self, actor: Actor, number: int) -> wire.Task:
        """The task with this order of submission. Raises `NotFound`, also for another user's."""
        rows = await self._engine.store.tasks(TaskQuery(before_seq=number + 1, limit=1)) if 0 < number < 2**62 else []
        if not rows or rows[0][0] != number:
            raise NotFound("task", str(number))
        return await self.get(actor, msgspec.json.decode(rows[0][1], type=Task).id)

    async def take_over(self, actor: Actor, request: wire.TaskImport) -> wire.Imported:
        """Take over tasks that ended in another system; durable on return."""
        if not actor.administrator:
            raise Forbidden("only administrators may import tasks")
        return await import_tasks(self._engine, request.tasks)

    async def cancel(self, actor: Actor, id: str) -> wire.Task:
        """Call a task off; without effect on one that ended."""
        task = await self.own(actor, id)
        if not task.ended and task.state != "cancelling":
            await self._engine.commit(ev.Cancelled(at_s=self._engine.now(), task=id, by=actor.user))
        return view.task(await self._engine.task(id))

    async def result(self, actor: Actor, id: str, partial: bool) -> wire.Result:
        """The merged counts. Raises `NotReady` before the end, unless `partial`."""
        task = await self.own(actor, id)
        if not task.ended and not partial:
            raise NotReady(f"task {id} is {task.state}; wait with GET /v1/tasks/{id}?wait=30", id, task.state)
        rows = await self._engine.store.slices(id)
        slices = [msgspec.json.decode(body, type=Slice) for body, _ in rows]
        counts = []
        for address in [address for _, address in rows if address is not None]:
            stored = await self._engine.store.blob("result", address)
            if stored is None:
                raise Conflict(f"the counts of task {id} are not in the store any more")
            counts.append(msgspec.json.decode(stored[1], type=dict[str, int]))
        return wire.Result(
            task=id, state=task.state, shots=task.shots, shots_done=sum(slice.shots_done for slice in slices),
            partial=sum(slice.shots_done for slice in slices) < task.shots,
            emulated=self._engine.deck.devices[task.device].emulated, counts=merge(counts),
            slices=[view.slice(slice) for slice in slices],
        )  # fmt: skip

    async def log(self, actor: Actor, id: str) -> wire.Log:
        """What happened to a task, oldest first."""
        await self.own(actor, id)
        return wire.Log(task=id, lines=[view.line(event) for event in await self._events(id)])

    async def why(self, actor: Actor, id: str) -> wire.Why:
        """Why a task is where it is."""
        await self.own(actor, id)
        starts = [
            f"slice {event.index}: {view.chosen(event)}"
            for event in await self._events(id)
            if isinstance(event, ev.SliceStarted) and event.cause
        ]
        task = await self._engine.task(id)
        self._engine.handle(ev.Tick(at_s=self._engine.now()))  # so that estimates count from now
        told = why(self._engine.deck, task, ahead=True)
        return wire.Why(
            task=id, state=task.state, reason=told.reason, detail=told.detail, position=told.position,
            estimate_s=told.estimate_s, basis=told.basis, policy=self._engine.deck.policy.name, score=told.score,
            first=told.first, decisions=starts,
        )  # fmt: skip

    async def _events(self, id: str) -> list[ev.Event]:
        """All that the log has of a task."""
        found: list[ev.Event] = []
        after = 0
        while page := await self._engine.store.events(after, 1000, task=id):
            found += [ev.decode(body) for _, body in page]
            after = page[-1][0]
        return found

    async def own(self, actor: Actor, id: str) -> Task:
        task = await self._engine.task(id)
        if task.user != actor.user and not actor.administrator:
            raise NotFound("task", id)
        return task
