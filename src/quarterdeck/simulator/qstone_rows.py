"""A run as rows of QStone's benchmark (riverlane/QStone), so that its tools read ours.

A row is `user`, `prog_id`, `job_id` (text; `prog_id` is the user's index), `job_type`, `job_step` (PRE, RUN, POST,
QUERY), `label`, `start` and `end` (whole nanoseconds, here from the start of the simulated time), `success`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from quarterdeck.simulator.record import JobRecord, Record, SliceRecord


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one job. `label` names the device of a QUERY."""

    user: str
    prog_id: str
    job_id: str
    job_type: str
    job_step: Literal["PRE", "RUN", "POST", "QUERY"]
    label: str | None = None
    start: int
    end: int
    success: bool = True


def rows(record: Record) -> Iterator[Row]:
    """The rows of every job that ended, in order of user and job.

    PRE is from the arrival to the first slice, RUN from the first slice to the end of the last, POST the rest, and each
    slice is a QUERY within RUN: its set-up, overhead and shots. A run without slices gives one RUN row for each job.
    """
    users = {user: str(index) for index, user in enumerate(sorted({job.user for job in record.jobs}))}
    slices = defaultdict[int, list[SliceRecord]](list)
    for one in record.slices or ():
        slices[one.job].append(one)
    for job in sorted(record.jobs, key=lambda job: (job.user, job.job)):
        yield from _job(job, users[job.user], slices.get(job.job, []), record.begin_s)


def _job(job: JobRecord, prog_id: str, slices: list[SliceRecord], begin_s: float) -> Iterator[Row]:
    def row(step: Literal["PRE", "RUN", "POST", "QUERY"], start_s: float, end_s: float, **more: str | bool) -> Row:
        told = {"user": job.user, "prog_id": prog_id, "job_id": str(job.job), "job_type": job.class_, "job_step": step,
                "start": round((start_s - begin_s) * 1e9), "end": round((end_s - begin_s) * 1e9)}  # fmt: skip
        return msgspec.convert(told | more, Row)

    first_s = min((one.start_s for one in slices), default=job.arrival_s)
    last_s = max((one.end_s for one in slices), default=job.end_s)
    if slices:
        yield row("PRE", job.arrival_s, first_s)
    yield row("RUN", first_s, last_s, success=not job.missed)
    for one in slices:
        yield row("QUERY", one.start_s, one.end_s, label=one.device, success=one.state == "finished")
    if slices:
        yield row("POST", last_s, job.end_s)


def write(directory: Path, record: Record) -> list[Path]:
    """Write a JSON list of rows for each user into a directory of the policy's name; QStone reads lists, too."""
    directory = directory / record.policy.replace("/", "-").replace(" ", "-")
    directory.mkdir(parents=True, exist_ok=True)
    users = defaultdict[str, list[Row]](list)
    for row in rows(record):
        users[row.prog_id].append(row)
    written = []
    for prog_id, its in users.items():
        path = directory / f"rows_{prog_id}.json"
        path.write_bytes(msgspec.json.encode(its))
        written.append(path)
    return written
