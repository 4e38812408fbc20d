"""Pulser: `QPUBackend(sequence, connection=quarterdeck.connect().pulser())` runs on a Quarterdeck device.

A Pulser job is one of our tasks. A batch is a set of tasks with a common label: task number n of batch B is named
`pulser B n`, so another process finds a batch by its id alone. The daemon knows nothing of batches: closing one only
ends this process's adding to it, and what it holds runs on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from secrets import token_hex
from typing import Any

import numpy as np
import pulser
from pulser.backend.remote import (
    BatchStatus,
    JobParams,
    JobStatus,
    RemoteBackend,
    RemoteConnection,
    RemoteResults,
    RemoteResultsError,
)
from pulser.backend.results import Results
from pulser.devices import Device

from quarterdeck.client import Client, SessionHandle, TaskHandle
from quarterdeck.errors import Invalid, NotFound
from quarterdeck.programs.pulser import device_of, parse

FORMAT = "pulser"
STATUS = {
    "queued": JobStatus.PENDING,
    "running": JobStatus.RUNNING,
    "cancelling": JobStatus.RUNNING,
    "done": JobStatus.DONE,
    "failed": JobStatus.ERROR,
    "cancelled": JobStatus.CANCELED,
}


class QuarterdeckConnection(RemoteConnection):
    """Runs Pulser sequences on the devices of a daemon.

    Args:
        client: From `quarterdeck.connect()`.
        device: Run everything on this device. Otherwise a sequence runs on the device that has the name of its Pulser
            device, or on the daemon's only one that takes Pulser sequences.
        session: Submit in this session; by default in the job's, if there is one.
    """

    def __init__(self, client: Client, device: str | None = None, session: str | SessionHandle | None = None) -> None:
        self._client = client
        self._device = device or client.default_device
        self._session = session
        self._jobs: dict[str, list[str]] = {}
        self._closed: set[str] = set()
        self._sequence = lru_cache(maxsize=32)(lambda program: parse(client.payload(program)))

    # -- what Pulser asks for -------------------------------------------------------------------------------------

    def fetch_available_devices(self) -> dict[str, Device]:
        """The devices that take Pulser sequences, with their present specifications; only the chosen one, if any."""
        names = [self._device] if self._device else [d.name for d in self._client.devices() if FORMAT in d.formats]
        specs = {name: self._client.device(name).spec for name in names}
        return {name: device_of(spec) for name, spec in specs.items() if spec}

    def update_sequence_device(self, sequence: pulser.Sequence[Any]) -> pulser.Sequence[Any]:
        """The sequence on the device that it will run on. Raises `ValueError` if it does not fit there as it is."""
        return self._retarget(sequence)[1]

    def submit(
        self,
        sequence: pulser.Sequence[Any],
        wait: bool = False,
        open: bool = False,
        batch_id: str | None = None,
        **kwargs: Any,
    ) -> RemoteResults:
        """Submit one task per entry of `job_params`; with `open`, begin a batch that later calls add to.

        The sequence is sent once. Raises `ValueError` if it does not fit the device, and what the daemon raises:
        `BadProgram` for one job leaves the jobs before it in the queue.
        """
        job_params: list[JobParams] = kwargs.pop("job_params", None) or []
        if unknown := sorted(name for name, value in kwargs.items() if value is not None):
            raise Invalid("submit", f"{', '.join(unknown)}: the device, not the client, decides how it runs")
        if batch_id in self._closed:
            raise RuntimeError(f"batch {batch_id!r} is closed")
        if batch_id is None:
            batch_id = token_hex(8)
            self._jobs[batch_id] = []
        known = self._get_job_ids(batch_id)
        new: list[TaskHandle] = []
        if job_params:
            name, sequence = self._retarget(self._add_measurement_to_sequence(sequence))
            program = self._client.upload(sequence.to_abstract_repr(skip_validation=True), FORMAT, device=name)
            for index, job in enumerate(job_params, len(known)):
                variables = {key: np.asarray(value).tolist() for key, value in job.get("variables", {}).items()}
                task = self._client.submit(
                    program, device=name, shots=job["runs"], parameters=variables, session=self._session,
                    name=f"pulser {batch_id} {index}",
                )  # fmt: skip
                new.append(task)
                self._jobs[batch_id] = [*known, *(task.id for task in new)]
        if wait:
            for task in new:
                task.wait()
        return RemoteResults(batch_id, self, job_ids=[task.id for task in new] or None)

    def supports_open_batch(self) -> bool:
        """Yes."""
        return True

    def _close_batch(self, batch_id: str) -> None:
        self._closed.add(batch_id)

    def _get_job_ids(self, batch_id: str) -> list[str]:
        own = self._jobs.get(batch_id)  # another process's batch may still grow: it is looked up anew each time
        return list(own) if own is not None else self._find(batch_id)

    def _get_batch_status(self, batch_id: str) -> BatchStatus:
        states = {task.info.state for task in self._tasks(batch_id)}
        if states & {"running", "cancelling"} or ("queued" in states and len(states) > 1):
            return BatchStatus.RUNNING
        if "queued" in states or not states:  # an open batch without jobs yet
            return BatchStatus.PENDING
        if "failed" in states:
            return BatchStatus.ERROR
        return BatchStatus.CANCELED if "cancelled" in states else BatchStatus.DONE

    def _query_job_progress(self, batch_id: str) -> Mapping[str, tuple[JobStatus, Results | None]]:
        tasks = self._tasks(batch_id)
        return {
            task.id: (STATUS[task.info.state], self._results(task) if task.ended and task.info.shots_done else None)
            for task in tasks
        }

    def _fetch_result(self, batch_id: str, job_ids: list[str] | None) -> Sequence[Results]:
        tasks = [self._client.task(id) for id in (self._get_job_ids(batch_id) if job_ids is None else job_ids)]
        for task in tasks:
            if task.info.state != "done":
                told = f": {task.info.error.message}" if task.info.error else ""
                raise RemoteResultsError(f"job {task.id} is {task.info.state}{told}")
        return [self._results(task) for task in tasks]

    # -- what Pulser has no words for -----------------------------------------------------------------------------

    def wait(self, batch_id: str, timeout_s: float | None = None) -> BatchStatus:
        """Return once every job of the batch has ended. The daemon holds the call: nothing is polled.

        Raises `NotReady` after `timeout_s` seconds without an end of the job that is waited for.
        """
        for task in self._tasks(batch_id):
            task.wait(timeout_s)
        return self._get_batch_status(batch_id)

    def cancel(self, batch_id: str, job_ids: Sequence[str] | None = None) -> None:
        """Call jobs off, all of the batch by default. What they measured stays in `get_available_results`."""
        for id in self._get_job_ids(batch_id) if job_ids is None else job_ids:
            self._client.task(id).cancel()

    def queue_position(self, batch_id: str) -> dict[str, int]:
        """How many tasks are ahead of each job: 0 for the next one, -1 for one that does not wait any more."""
        return {task.id: task.why().position for task in self._tasks(batch_id)}

    # -- inside ---------------------------------------------------------------------------------------------------

    def _tasks(self, batch_id: str) -> list[TaskHandle]:
        return [self._client.task(id) for id in self._get_job_ids(batch_id)]

    def _find(self, batch_id: str) -> list[str]:
        """The batch's tasks by their labels, newest first back to number 0. Raises `NotFound`.

        Reads every task submitted since: quick for a batch of today. Keep the task ids for one of last year.
        """
        found: dict[int, str] = {}
        for task in self._client.tasks():
            label = task.info.name.split(" ")
            if len(label) == 3 and label[:2] == ["pulser", batch_id] and label[2].isdigit():
                found[int(label[2])] = task.id
                if label[2] == "0":
                    return [found[index] for index in sorted(found)]
        raise NotFound("batch", batch_id)

    def _retarget(self, sequence: pulser.Sequence[Any]) -> tuple[str, pulser.Sequence[Any]]:
        available = self.fetch_available_devices()
        own = sequence.device.name
        named = [name for name, device in available.items() if own in (name, device.name)]
        names = named or list(available)
        if len(names) != 1 and not named:
            told = ", ".join(available) or "none"
            raise ValueError(f"no device is called {own!r}; name one in connect().pulser(DEVICE): {told}")
        name, device = names[0], available[names[0]]
        if sequence.device != device:
            try:
                sequence = sequence.with_new_device(device, strict=True)
            except Exception as error:
                raise ValueError(
                    f"the sequence, written for {own}, does not fit on {name} as it is: {error}"
                ) from error
            RemoteBackend.validate_sequence(sequence, mimic_qpu=True)
        return name, sequence

    def _results(self, task: TaskHandle) -> Results:
        counts = task.result(partial=True).counts
        atoms, duration_ns = self._shape(task)
        return Results.from_final_bitstrings(atoms, duration_ns, counts)

    def _shape(self, task: TaskHandle) -> tuple[tuple[str, ...], int]:
        """Order of the atoms and length in ns of what the task ran."""
        sequence = self._sequence(task.info.program)
        atoms = tuple(str(id) for id in sequence.register.qubit_ids)
        if sequence.is_parametrized():
            sequence = sequence.build(**task.info.parameters)
        return atoms, sequence.get_duration()
