"""Batches as their JSON: what a batch's note and its tasks make together."""

from __future__ import annotations

from typing import Any

from quarterdeck import wire
from quarterdeck.daemon.dialects.pasqal_cloud import words
from quarterdeck.daemon.dialects.pasqal_cloud.batches import Batch


def status(batch: Batch, tasks: list[wire.Task]) -> str:
    """A batch's status."""
    return words.batch_status(tasks, batch.open, batch.cancelled)


def jobs(batch: Batch, tasks: list[wire.Task]) -> list[dict[str, Any]]:
    """A batch's jobs."""
    return [words.job(task, batch.id, batch.project) for task in tasks]


def whole(batch: Batch, tasks: list[wire.Task], sequence: str | None = None) -> dict[str, Any]:
    """A batch with its jobs, which saves clients from asking for them."""
    started = [task.started_s for task in tasks if task.started_s]
    ended = max((task.ended_s for task in tasks), default=0.0) if all(task.ended_s for task in tasks) else 0.0
    changed = max((task.ended_s or task.started_s for task in tasks), default=0.0)
    told = {
        "id": batch.id, "open": batch.open, "complete": not batch.open, "status": status(batch, tasks),
        "created_at": words.stamp(batch.created_s), "updated_at": words.stamp(max(changed, batch.created_s)),
        "device_type": batch.device_type, "project_id": batch.project, "user_id": batch.user,
        "jobs_count": len(tasks), "jobs_count_per_status": words.counted(tasks), "job_ids": [t.id for t in tasks],
        "jobs": jobs(batch, tasks), "start_datetime": words.stamp(min(started, default=0.0)),
        "end_datetime": words.stamp(0.0 if batch.open else ended), "configuration": batch.configuration,
        "backend_configuration": batch.backend_configuration, "tags": batch.tags, "parent_id": batch.parent,
        "webhook": None, "device_status": None,
    }  # fmt: skip
    return {**told, "sequence_builder": sequence} if sequence is not None else told


def why(task: wire.Task) -> str:
    """Why a job has no result."""
    if task.error:
        return f"job {task.id} failed: {task.error.message}"
    return f"job {task.id} is {words.STATUS[task.state]}" + ("" if task.ended_s else ", its result is not there yet")
