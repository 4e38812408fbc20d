"""What keeps Slurm and the daemon of one mind, every few seconds, whatever was lost meanwhile.

One look does, in this order: read the daemon's open jobs and devices; tell job_submit.lua which QPUs take work; read
Slurm's queue; hold pending jobs that could not start, and let those go that it held and that could; renew leases of
running jobs and write down what they used; take QPUs back from jobs that Slurm does not run any more. Everything can be
done twice. Without a controller nothing is touched, without a daemon nothing new starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from quarterdeck import wire
from quarterdeck.errors import NotFound, QuarterdeckError, Unavailable
from quarterdeck.schedulers.contract import DAY_S, Contract, closed, for_good
from quarterdeck.schedulers.slurm import remark
from quarterdeck.schedulers.slurm.queue import Queue, SlurmJob, write_atomically
from quarterdeck.schedulers.slurm.request import MANAGER, job_id, of_queue, told
from quarterdeck.schedulers.slurm.settings import SlurmSettings

AWAY = "the Quarterdeck daemon does not answer"
RENEW_S = 300.0
"""A lease that ends sooner than this, though the job runs, is renewed."""
RECHECK_S = 60.0
"""How often a pending job that was found fit, or refused, is looked at again."""

REQUEUE_S = 130.0
"""Slurm lets a job that was queued again wait for 121 s (22.05)."""
USAGE_S = 15.0
"""How often the usage of a running job is written down."""

SETTLE_S = 2.0
"""How long after a job's end its last slices may end."""


class Look(msgspec.Struct, kw_only=True):
    """What one look found and did. Job names are Slurm's."""

    daemon: bool = True
    controller: bool = True
    devices: dict[str, str] = {}
    held: list[str] = []
    let_go: list[str] = []
    refused: list[str] = []
    renewed: list[str] = []
    released: list[str] = []
    trouble: list[str] = []

    @property
    def eventful(self) -> bool:
        return bool(self.held or self.let_go or self.refused or self.released or self.trouble)


class Agent:
    """Looks again and again; what it remembers only saves work."""

    def __init__(
        self, settings: SlurmSettings, contract: Contract, queue: Queue, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._contract = contract
        self._queue = queue
        self._clock = clock
        self._fit: dict[int, float] = {}  # when a pending job was last found fit
        self._stale: set[str] = set()  # open in the daemon, pending in Slurm, at the last look
        self._told: dict[str, float] = {}  # when a running job's usage was last written down
        self._settling: dict[str, float] = {}  # jobs without QPUs since then, whose last slices may still run
        self._opened: set[str] = set()

    def look(self) -> Look:
        """One look. Nothing that is foreseen is raised: `trouble` has what did not work; the next look tries again."""
        look = Look()
        opened: list[wire.Job] | None = None
        status: dict[str, str] | None = None
        try:
            opened = [job for job in self._contract.jobs(MANAGER) if job.id.startswith(job_id(self._settings, ""))]
            status = {device.name: closed(device.name, device) for device in self._contract.devices()}
        except QuarterdeckError as error:
            look.daemon = False
            look.trouble.append(str(error))
        try:
            look.devices = self._publish(status)
        except OSError as error:
            look.trouble.append(f"{self._settings.state} cannot be written: {error.strerror}")
        try:
            queue = self._queue.jobs()
        except Unavailable as error:
            look.controller = False
            look.trouble.append(str(error))
            return look
        mine = [job for job in queue if job.qpus]
        pending: dict[str, list[SlurmJob]] = {}
        for job in mine:
            if job.job_state == "PENDING":
                pending.setdefault(job.handle, []).append(job)
        for parts in pending.values():
            self._try(look, partial(self._pending, look, parts, status))
        if opened is not None:
            known = {job_id(self._settings, job.job_id): job for job in queue}
            self._reconcile(look, opened, known)
            self._settle(look, {job.id for job in opened}, known)
        alive = {job.job_id for job in mine}
        self._fit = {job: at for job, at in self._fit.items() if job in alive}
        return look

    # -- availability -----------------------------------------------------------------------------------------------

    def _publish(self, status: dict[str, str] | None) -> dict[str, str]:
        """Write the file that job_submit.lua reads; answers with each QPU's trouble, empty for none."""
        known = {
            name: AWAY if status is None else status.get(name, closed(name, None)) for name in self._settings.devices
        }
        lines = [f"written\t{int(self._clock())}"]
        if self._settings.nodes:
            lines.append(f"nodes\t{len(self._settings.nodes)}")
        if self._settings.partition:
            lines.append(f"partition\t{self._settings.partition}")
        for name, why in known.items():
            sentence = " ".join(why.split())
            lines.append(f"device\t{name}\t{self._settings.devices[name]}\t{'held' if why else 'ready'}\t{sentence}")
        write_atomically(Path(self._settings.state), "\n".join(lines) + "\n")
        return known

    def _pending(self, look: Look, parts: Sequence[SlurmJob], status: dict[str, str] | None) -> None:
        """Hold a job that could not start, let one go that we held and that could. `parts`: a heterogeneous job's."""
        job = next((part for part in parts if _marked(part)), parts[0])
        if job.held and not _marked(job):
            return  # its user's hold, or the administrator's
        kind, why = self._obstacle(parts, status, fresh=not _marked(job))
        text = remark.write(job.comment, kind, why or None)
        if not why:
            self._fit.setdefault(job.job_id, self._clock())
            if job.held:
                self._queue.release(job.handle)
                look.let_go.append(job.handle)
            if _marked(job) and job.restart_cnt and 1 < job.start_time - self._clock() <= REQUEUE_S:
                self._queue.soon(job.handle)  # all components of a heterogeneous job
        if text != job.comment:
            self._queue.comment(job.record, text)
        self._queue.explain(job.record, job.said, why)
        if why and not (job.held and job.state_reason == "JobHeldAdmin"):
            # job_submit.lua can only hold as the user would, who could let it go
            self._queue.hold(job.handle)
            (look.refused if kind == "refused" else look.held).append(job.handle)

    def _obstacle(
        self, parts: Sequence[SlurmJob], status: dict[str, str] | None, fresh: bool
    ) -> tuple[remark.Kind, str]:
        """Why a job could not start, and whether for good; empty if it could. A `fresh` one is checked now and then."""
        if status is None:
            return "held", AWAY
        if why := "; ".join(filter(None, (status.get(name, "") for part in parts for name in part.qpus))):
            return "held", why
        found = self._fit.get(parts[0].job_id)
        if fresh and found is not None and self._clock() - found < RECHECK_S:
            return "held", ""
        self._fit.pop(parts[0].job_id, None)
        try:
            for part in parts:
                answer = self._contract.check(of_queue(self._settings, part))
                if not answer.ready:
                    return "held", answer.message
        except QuarterdeckError as error:
            return "refused" if for_good(error) else "held", str(error)
        return "held", ""

    # -- sessions ---------------------------------------------------------------------------------------------------

    def _reconcile(self, look: Look, opened: Iterable[wire.Job], queue: dict[str, SlurmJob]) -> None:
        """`queue` was read after `opened`: what is open and not there any more has ended."""
        stale: set[str] = set()
        for each in opened:
            job = queue.get(each.id)
            act = self._release if job is None or job.over else self._running
            if job is not None and job.job_state in ("PENDING", "COMPLETING"):
                # it is queued again, or ends; or it starts this very moment, and its hooks may be at work
                stale.add(each.id)
                if each.id not in self._stale or (job.job_state == "PENDING" and not job.held):
                    continue
                act = self._release
            self._try(look, partial(act, look, each, job))
        self._stale = stale

    def _settle(self, look: Look, opened: set[str], queue: dict[str, SlurmJob]) -> None:
        """Slices that run when a job ends count, too: a moment later its usage is written once more."""
        if self._settings.accounting:
            self._settling |= dict.fromkeys(self._opened - opened, self._clock())
            for id in opened & self._settling.keys():
                del self._settling[id]  # it was queued again, and runs again
            for id in [id for id, since in self._settling.items() if self._clock() - since >= SETTLE_S]:
                del self._settling[id]
                self._try(look, partial(self._account_again, id, queue.get(id)))
        self._opened = opened

    def _account_again(self, id: str, job: SlurmJob | None) -> None:
        self._account(id, self._contract.job(id), job)

    def _account(self, id: str, done: wire.Job, job: SlurmJob | None) -> None:
        if self._settings.accounting and done.usage is not None:
            text = remark.write(job.comment if job else "", "usage", told(done.usage))
            self._queue.account(id.rpartition(":")[2], text)

    def _release(self, look: Look, each: wire.Job, job: SlurmJob | None) -> None:
        done = self._contract.release(each.id, each.session)
        self._told.pop(each.id, None)
        if done.state == "open":  # it was queued again, and starts with a new session
            return
        look.released.append(each.id.rpartition(":")[2])
        self._account(each.id, done, job)

    def _running(self, look: Look, each: wire.Job, job: SlurmJob | None) -> None:
        assert job is not None
        if each.expires_s - self._clock() < RENEW_S:
            self._contract.renew(each.id, self._settings.grace_s + RENEW_S if job.walltime_s else DAY_S)
            look.renewed.append(job.handle)
        if job.job_state != "RUNNING" or self._clock() - self._told.get(each.id, 0.0) < USAGE_S:
            return
        self._told[each.id] = self._clock()
        usage = self._contract.job(each.id).usage
        if usage is not None and usage.tasks:
            text = remark.write(job.comment, "usage", told(usage))
            if text != job.comment:
                self._queue.comment(job.record, text)

    def _try(self, look: Look, act: Callable[[], None]) -> None:
        try:
            act()
        except NotFound:
            pass  # it is gone, which is what was wanted
        except QuarterdeckError as error:
            look.trouble.append(str(error))


def _marked(job: SlurmJob) -> bool:
    """Whether we, or our hooks, let it wait."""
    return bool(remark.read(job.comment, "held") or remark.read(job.comment, "refused"))


def run(
    agent: Agent, every_s: float, tell: Callable[[Look], None], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Look for ever."""
    while True:
        tell(agent.look())
        sleep(every_s)
