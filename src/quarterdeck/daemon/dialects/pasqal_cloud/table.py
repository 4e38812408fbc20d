"""The table of routes. docs/pasqal-cloud.md has the same rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from quarterdeck.daemon.dialects.pasqal_cloud.routes import Asked, Routes

Serve = Callable[[Routes, Asked], Awaitable[Any]]


class Route(msgspec.Struct, frozen=True):
    """A route. `known`: whether a token is asked for; `{id}` in the path stands for an id or a type."""

    method: str
    path: str
    about: str
    serve: Serve
    known: bool = True


CORE, ACCOUNT = "/core-fast/api", "/account"
ROUTES = (
    Route("GET", CORE + "/v1/devices", "Status of a device type (QRMI)", Routes.devices, known=False),
    Route("GET", CORE + "/v1/devices/specs", "Specifications of the devices", Routes.specs),
    Route("GET", CORE + "/v1/devices/specs/{id}", "Specification of a device type (QRMI)", Routes.spec),
    Route("GET", CORE + "/v1/devices/public-specs", "The same for everybody", Routes.public_specs, known=False),
    Route("POST", CORE + "/v1/batches", "Submit a batch of jobs", Routes.create),
    Route("GET", CORE + "/v1/batches", "List one's batches", Routes.batches),
    Route("PATCH", CORE + "/v1/batches/cancel", "Cancel several batches", Routes.cancel_batches),
    Route("GET", CORE + "/v1/batches/{id}/status", "Status of a batch; held until its jobs ended", Routes.batch_status),
    Route("GET", CORE + "/v1/batches/{id}/full_results", "Counts of its jobs (QRMI)", Routes.full_results),
    Route("POST", CORE + "/v1/batches/{id}/rebatch", "Run jobs of a batch again, in a new one", Routes.rebatch),
    Route("PATCH", CORE + "/v1/batches/{id}/tags", "Set its tags", Routes.tags),
    Route("GET", CORE + "/v2/batches/{id}", "A batch with its jobs and sequence", Routes.batch),
    Route("POST", CORE + "/v2/batches/{id}/jobs", "Add jobs to an open batch", Routes.add_jobs),
    Route("PATCH", CORE + "/v2/batches/{id}/complete", "Close an open batch", Routes.complete),
    Route("PATCH", CORE + "/v2/batches/{id}/cancel", "Cancel a batch", Routes.cancel),
    Route("PATCH", CORE + "/v2/batches/{id}/cancel/jobs", "Cancel some of its jobs", Routes.cancel_jobs),
    Route("GET", CORE + "/v2/jobs", "List one's jobs", Routes.jobs),
    Route("GET", CORE + "/v2/jobs/{id}", "A job; held until it ended, but for the SDK", Routes.job),
    Route("PATCH", CORE + "/v2/jobs/{id}/cancel", "Cancel a job", Routes.cancel_job),
    Route("GET", CORE + "/v1/jobs/{id}/status", "Status of a job; held until it ended", Routes.job_status),
    Route("GET", CORE + "/v1/jobs/{id}/results_link", "Where its result is; null before", Routes.results_link),
    Route("GET", "/results/{id}", "The result behind such a link", Routes.results, known=False),
    Route("POST", CORE + "/v1/cudaq/job", "Submit an AHS program (CUDA-Q)", Routes.cudaq_create),
    Route("GET", CORE + "/v1/cudaq/job/{id}", "Its status and counts", Routes.cudaq_job),
    Route("GET", ACCOUNT + "/api/v1/projects", "One's projects: those of one's open sessions", Routes.projects),
)
