"""What each route does: see `table` for where it is."""

from __future__ import annotations

import asyncio
from time import time
from typing import Any

import msgspec
from starlette.requests import Request

from quarterdeck import wire
from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.desk import Desk
from quarterdeck.daemon.dialects.pasqal_cloud import filters, readout, views, words
from quarterdeck.daemon.dialects.pasqal_cloud.batches import NAME, Batch, Batches, batch_of, new_id
from quarterdeck.daemon.dialects.pasqal_cloud.links import Links
from quarterdeck.daemon.dialects.pasqal_cloud.types import Types
from quarterdeck.daemon.http.operation import decode
from quarterdeck.errors import Conflict, Invalid, NotFound

_batch_body = msgspec.json.Decoder(words.BatchRequest)
_jobs_body = msgspec.json.Decoder(words.Jobs)
_ids_body = msgspec.json.Decoder(words.CancelBatches)
_tags_body = msgspec.json.Decoder(words.Tags)
_cudaq_body = msgspec.json.Decoder(words.CudaqRequest)
CANCEL_S = 2.0
"""How long cancelling waits for the jobs to end, so that its answer says CANCELED."""


class Asked(msgspec.Struct, frozen=True):
    """A request, taken apart. `actor` is nobody where no token is asked for; `base` is what links begin with."""

    desk: Desk
    actor: Actor
    types: Types
    id: str
    raw: bytes
    request: Request
    base: str


class Plain(msgspec.Struct, frozen=True):
    """An answer without the envelope."""

    body: dict[str, Any]


class Routes:
    """The handlers. An answer is the envelope's `data`, or an envelope made already, or `Plain`."""

    def __init__(self, hold_s: float, links: Links) -> None:
        self._hold_s = hold_s
        self._links = links
        self._batches = Batches()

    # -- devices --------------------------------------------------------------------------------------------------

    async def specs(self, asked: Asked) -> dict[str, str]:
        return asked.types.specs()

    async def public_specs(self, asked: Asked) -> list[dict[str, str]]:
        types = asked.types
        return [{"device_type": type, "specs": types.spec(type)} for type in types.devices]

    async def spec(self, asked: Asked) -> dict[str, str]:
        return {"device_type": asked.id, "specs": asked.types.spec(asked.id)}

    async def devices(self, asked: Asked) -> list[dict[str, Any]]:
        wanted = asked.request.query_params.getlist("device_type") or list(asked.types.devices)
        told = []
        for type in wanted:
            # Clients ask without a token: which device a session of theirs is on is not known here.
            devices = [asked.desk.device(name) for name in asked.types.any_of(type)]
            up = any(device.status == "online" for device in devices)
            told.append({
                "device_type": type, "status": "UP" if up else "DOWN", "availability": "ACTIVE",
                "reason": "; ".join(device.reason for device in devices if device.reason),
            })  # fmt: skip
        return told

    # -- batches --------------------------------------------------------------------------------------------------

    async def create(self, asked: Asked) -> dict[str, Any]:
        told = decode(_batch_body, asked.raw)
        batch, tasks = await self._batches.create(asked.desk, asked.actor, asked.types, told, time())
        return views.whole(batch, tasks, told.sequence_builder)

    async def batch(self, asked: Asked) -> dict[str, Any]:
        return await self._whole(asked, await self._batches.get(asked.desk, asked.actor, asked.id), sequence=True)

    async def batch_status(self, asked: Asked) -> dict[str, Any]:
        batch = await self._batches.get(asked.desk, asked.actor, asked.id)
        tasks = await self._ended(asked, batch, self._hold_s)
        return {"id": batch.id, "status": views.status(batch, tasks), "jobs_count_per_status": words.counted(tasks)}

    async def add_jobs(self, asked: Asked) -> dict[str, Any]:
        jobs = decode(_jobs_body, asked.raw)
        return await self._whole(asked, await self._batches.add(asked.desk, asked.actor, asked.id, jobs))

    async def complete(self, asked: Asked) -> dict[str, Any]:
        batch = await self._batches.change(asked.desk, asked.actor, asked.id, open=False)
        return await self._whole(asked, batch)

    async def cancel(self, asked: Asked) -> dict[str, Any]:
        return await self._cancel(asked, asked.id)

    async def cancel_batches(self, asked: Asked) -> dict[str, Any]:
        done, errors = [], {}
        for id in decode(_ids_body, asked.raw).batch_ids:
            try:
                done.append(await self._cancel(asked, id))
            except NotFound as error:
                errors[id] = str(error)
        return {"batches": done, "errors": errors}

    async def cancel_jobs(self, asked: Asked) -> dict[str, Any]:
        batch, jobs = await self._chosen(asked)
        live = {job["id"] for job in jobs if job["status"] in ("PENDING", "RUNNING")}
        ended = await asyncio.gather(*(self._stop(asked, id) for id in batch.jobs if id in live))
        return {"jobs": [words.job(task, batch.id, batch.project) for task in ended], "errors": {}}

    async def rebatch(self, asked: Asked) -> dict[str, Any]:
        old, jobs = await self._chosen(asked)
        chosen = {job["id"] for job in jobs}
        if not chosen:
            raise Invalid("$", f"no job of batch {old.id} passes these filters")
        new = msgspec.structs.replace(
            old, id=new_id(), user=asked.actor.user, created_s=time(), parent=old.id, open=False,
            cancelled=False, jobs=[],
        )  # fmt: skip
        again = [
            wire.TaskSubmit(
                device=old.device, program=task.program, shots=task.shots, parameters=task.parameters,
                name=NAME + new.id,
            )
            for task in await self._batches.tasks(asked.desk, asked.actor, old) if task.id in chosen
        ]  # fmt: skip
        batch, _ = await self._batches.extend(asked.desk, asked.actor, new, again)
        return await self._whole(asked, batch)

    async def tags(self, asked: Asked) -> dict[str, Any]:
        told = decode(_tags_body, asked.raw)
        return await self._whole(asked, await self._batches.change(asked.desk, asked.actor, asked.id, tags=told))

    async def batches(self, asked: Asked) -> dict[str, Any]:
        found = []
        for id in dict.fromkeys(map(batch_of, await self._batches.recent(asked.desk, asked.actor))):
            try:
                found.append(await self._batches.get(asked.desk, asked.actor, id))
            except NotFound:
                continue  # a task that was named like one
        told = [views.whole(one, await self._batches.tasks(asked.desk, asked.actor, one)) for one in found]
        query = asked.request.query_params
        return words.success(*filters.page(filters.chosen(told, query, filters.BATCHES), query))

    async def full_results(self, asked: Asked) -> dict[str, Any]:
        batch = await self._batches.get(asked.desk, asked.actor, asked.id)
        told = {}
        for task in await self._ended(asked, batch, 0.0):
            if task.state != "done":
                raise Conflict(views.why(task))
            result = await asked.desk.tasks.result(asked.actor, task.id, False)
            told[task.id] = {"counter": result.counts}
        return told

    # -- jobs -----------------------------------------------------------------------------------------------------

    async def jobs(self, asked: Asked) -> dict[str, Any]:
        query = asked.request.query_params
        told = []
        if query.getlist("batch_id"):
            for id in query.getlist("batch_id"):
                batch = await self._batches.get(asked.desk, asked.actor, id)
                told += views.jobs(batch, await self._batches.tasks(asked.desk, asked.actor, batch))[::-1]
        else:
            known: dict[str, Batch | None] = {}
            for task in await self._batches.recent(asked.desk, asked.actor):
                id = batch_of(task)
                if id not in known:
                    try:
                        known[id] = await self._batches.get(asked.desk, asked.actor, id)
                    except NotFound:
                        known[id] = None
                if (of := known[id]) is not None and task.id in of.jobs:
                    told.append(words.job(task, id, of.project))
        return words.success(*filters.page(filters.chosen(told, query, filters.JOBS), query))

    async def job(self, asked: Asked) -> dict[str, Any]:
        batch, task = await self._batches.of_job(asked.desk, asked.actor, asked.id)
        if task.ended_s == 0 and "PasqalCloudSDK" not in asked.request.headers.get("user-agent", ""):
            task = await asked.desk.tasks.get(asked.actor, task.id, self._hold_s)  # QRMI sleeps 1 s between two looks
        own = task.program != batch.program
        return {
            **words.job(task, batch.id, batch.project),
            "sequence": await asked.desk.payload(task.program) if own else None,
        }

    async def job_status(self, asked: Asked) -> dict[str, Any]:
        _, task = await self._batches.of_job(asked.desk, asked.actor, asked.id)
        if task.ended_s == 0:
            task = await asked.desk.tasks.get(asked.actor, task.id, self._hold_s)
        return {"id": task.id, "status": words.STATUS[task.state]}

    async def cancel_job(self, asked: Asked) -> dict[str, Any]:
        batch, task = await self._batches.of_job(asked.desk, asked.actor, asked.id)
        return words.job(await self._stop(asked, task.id), batch.id, batch.project)

    async def results_link(self, asked: Asked) -> dict[str, str | None]:
        _, task = await self._batches.of_job(asked.desk, asked.actor, asked.id)
        if task.state != "done":
            return {"results_link": None}
        return {"results_link": f"{asked.base}/results/{task.id}?{self._links.query(task.id)}"}

    async def results(self, asked: Asked) -> Plain:
        query, reader = asked.request.query_params, Actor("", administrator=True)  # the link is the permission
        self._links.check(asked.id, query.get("expires", ""), query.get("signature", ""))
        batch, task = await self._batches.of_job(asked.desk, reader, asked.id)
        result = await asked.desk.tasks.result(reader, task.id, False)
        info = await asked.desk.program(task.program)
        atoms = readout.atoms(await asked.desk.payload(task.program))
        told = readout.results(atoms, info.duration_ns or 0, result.counts, batch.readout.tag, batch.readout.uuid)
        return Plain({"counter": result.counts, "serialised_results": told})

    # -- CUDA-Q ---------------------------------------------------------------------------------------------------

    async def cudaq_create(self, asked: Asked) -> dict[str, Any]:
        told = decode(_cudaq_body, asked.raw)
        batch = Batch(
            id=new_id(), user=asked.actor.user, created_s=time(), device_type=told.machine,
            device=asked.types.device(told.machine, "$.machine"), project=told.project_id or "",
        )  # fmt: skip
        program = wire.ProgramUpload(format="ahs", payload=told.document())
        payer = asked.desk.projects.payer(asked.actor, batch.project)
        task = wire.TaskSubmit(
            device=batch.device, program=program, shots=told.shots, name=NAME + batch.id, project=payer
        )  # fmt: skip
        batch, tasks = await self._batches.extend(asked.desk, asked.actor, batch, [task])
        return {"id": batch.id, "status": views.status(batch, tasks)}

    async def cudaq_job(self, asked: Asked) -> dict[str, Any]:
        batch = await self._batches.get(asked.desk, asked.actor, asked.id)
        tasks = await self._ended(asked, batch, 0.0)
        told: dict[str, Any] = {"id": batch.id, "status": views.status(batch, tasks), "result": None}
        if told["status"] == "DONE" and len(tasks) == 1:
            told["result"] = {"counter": (await asked.desk.tasks.result(asked.actor, tasks[0].id, False)).counts}
        return told

    # -- accounts -------------------------------------------------------------------------------------------------

    async def projects(self, asked: Asked) -> list[dict[str, str]]:
        names = {session.project for session in asked.desk.sessions.list(Actor(asked.actor.user)).items}
        return [{"id": name, "name": name, "status": "ACTIVE"} for name in sorted(names - {""}) or ["default"]]

    # -- parts ----------------------------------------------------------------------------------------------------

    async def _whole(self, asked: Asked, batch: Batch, sequence: bool = False) -> dict[str, Any]:
        tasks = await self._batches.tasks(asked.desk, asked.actor, batch)
        program = batch.program or (tasks[0].program if tasks else "")
        return views.whole(batch, tasks, await asked.desk.payload(program) if sequence and program else None)

    async def _ended(self, asked: Asked, batch: Batch, hold_s: float) -> list[wire.Task]:
        """The batch's jobs, once all have ended or after `hold_s`."""
        tasks = await self._batches.tasks(asked.desk, asked.actor, batch)
        until_s = asyncio.get_running_loop().time() + hold_s
        for index, task in enumerate(tasks):
            left_s = until_s - asyncio.get_running_loop().time()
            if task.ended_s == 0 and hold_s:
                tasks[index] = await asked.desk.tasks.get(asked.actor, task.id, max(0.0, left_s))
        return tasks

    async def _chosen(self, asked: Asked) -> tuple[Batch, list[dict[str, Any]]]:
        batch = await self._batches.get(asked.desk, asked.actor, asked.id)
        jobs = views.jobs(batch, await self._batches.tasks(asked.desk, asked.actor, batch))
        return batch, filters.chosen(jobs, asked.request.query_params, filters.JOBS)

    async def _cancel(self, asked: Asked, id: str) -> dict[str, Any]:
        batch = await self._batches.change(asked.desk, asked.actor, id, open=False, cancelled=True)
        tasks = await self._batches.tasks(asked.desk, asked.actor, batch)
        await asyncio.gather(*(asked.desk.tasks.cancel(asked.actor, task.id) for task in tasks if not task.ended_s))
        return views.whole(batch, await self._ended(asked, batch, CANCEL_S))

    async def _stop(self, asked: Asked, id: str) -> wire.Task:
        task = await asked.desk.tasks.cancel(asked.actor, id)
        return task if task.ended_s else await asked.desk.tasks.get(asked.actor, id, CANCEL_S)
