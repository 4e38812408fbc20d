"""The agent: every few seconds it makes Grid Engine know what the daemon knows, and the other way round.

Everything in a look is idempotent, so that an agent may be killed, doubled or late. It renews leases of jobs that are
at a host (running or suspended) and releases those of jobs that are not; it tells Grid Engine which devices take work,
and waiting jobs why they wait.
"""

from __future__ import annotations

import signal
import sys
import threading
import time

import msgspec

from quarterdeck import wire
from quarterdeck.errors import NotFound, QuarterdeckError
from quarterdeck.schedulers.contract import Contract, closed
from quarterdeck.schedulers.gridengine import door
from quarterdeck.schedulers.gridengine.cluster import Cluster, Row, number, plain
from quarterdeck.schedulers.gridengine.request import granted
from quarterdeck.schedulers.gridengine.site import Site, ready_of
from quarterdeck.schedulers.gridengine.verifier import WAITS

DAEMON_S = 10.0
RENEW_S, SOON_S = 3600.0, 1800.0
"""A lease that ends within half an hour is made to last an hour: time enough to restart a dead agent."""
SENTENCES = 50
"""Jobs told why they wait in one look: each costs a qalter of 0.06 s, and array tasks share one."""


class Look(msgspec.Struct, kw_only=True):
    """What one look found and did."""

    ready: dict[str, bool] = {}
    reasons: dict[str, str] = {}
    pushed: list[str] = []
    renewed: list[str] = []
    released: list[str] = []
    told: list[str] = []
    failed: list[str] = []

    def lines(self) -> list[str]:
        """What is worth telling an administrator."""
        news = [
            f"{name} is {'ready' if self.ready[name] else 'not ready: ' + self.reasons[name]}" for name in self.pushed
        ]
        return [*news, *(f"released {id_}: Grid Engine does not run it" for id_ in self.released), *self.failed]


class Agent:
    """Looks, and remembers which waiting jobs it told what."""

    def __init__(self, site: Site, cluster: Cluster, contract: Contract) -> None:
        self._site = site
        self._cluster = cluster
        self._contract = contract
        self._told: dict[str, str] = {}

    def look(self) -> Look:
        """One round. What cannot be done is in `failed`, and done by a later one."""
        look = Look()
        # The daemon's list first: a job that it holds now was at a host before Grid Engine is asked.
        held: list[wire.Job] | None = None
        try:
            devices = {device.name: device for device in self._contract.devices()}
            held = self._contract.jobs(door.MANAGER)
        except QuarterdeckError as error:
            look.failed.append(f"{error}; no job with a QPU starts until it answers")
            look.reasons = {name: door.AWAY for name in self._site.devices}
        else:
            look.reasons = {name: closed(name, devices.get(name)) for name in self._site.devices}
        look.ready = {name: not why for name, why in look.reasons.items()}
        try:
            self._push(look)
            rows = self._cluster.rows()
        except QuarterdeckError as error:
            look.failed.append(str(error))
            return look
        if held is not None:
            self._reconcile(held, rows, look)
        self._tell(rows, look)
        return look

    def _push(self, look: Look) -> None:
        wanted = {ready_of(name): str(int(ready)) for name, ready in look.ready.items()}
        there = self._cluster.values("-se", "global")
        wrong = {name: value for name, value in wanted.items() if number(there.get(name)) != float(value)}
        if wrong:
            self._cluster.set_values("exechost", "global", wrong)
            look.pushed = [name for name in look.ready if ready_of(name) in wrong]

    def _reconcile(self, held: list[wire.Job], rows: list[Row], look: Look) -> None:
        live = {self._site.job(row.number, row.task) for row in rows if row.live}
        for job in held:
            if not job.id.startswith(self._site.prefix):
                continue  # another cell's
            try:
                if job.id not in live:
                    self._contract.release(job.id, job.session)
                    look.released.append(job.id)
                elif job.expires_s - time.time() < SOON_S:
                    self._contract.renew(job.id, RENEW_S)
                    look.renewed.append(job.id)
            except NotFound:
                continue  # it was released meanwhile
            except QuarterdeckError as error:
                look.failed.append(f"{job.id}: {error}")

    def _tell(self, rows: list[Row], look: Look) -> None:
        """Put the reason into the context of jobs that wait for a device, and take it away afterwards."""
        waiting = {row.number: row for row in rows if row.waits and granted(row.resources, self._site)}
        # What a new one was told by the verifier, or one that was queued again by the prolog, is not known here.
        unknown = [job for job, row in waiting.items() if "R" in row.state or job not in self._told]
        try:
            contexts = self._cluster.contexts(unknown[:SENTENCES])
        except QuarterdeckError:  # one of them ended meanwhile
            contexts = {}
        self._told = {job: why for job, why in self._told.items() if job in waiting}
        self._told |= {job: context.get(WAITS, "") for job, context in contexts.items() if job in waiting}
        for job, told in list(self._told.items()):
            reasons = [look.reasons[name] for name in granted(waiting[job].resources, self._site)]
            why = plain("; ".join(filter(None, reasons)))
            if why == told or (not why and "R" in waiting[job].state) or len(look.told) >= SENTENCES:
                continue  # what the prolog told one that it sent back stays until it starts
            try:
                if why:
                    self._cluster.tell(job, WAITS, why)
                else:
                    self._cluster.untell(job, WAITS)
            except QuarterdeckError:  # it started or ended meanwhile
                continue
            self._told[job] = why
            look.told.append(job)


def run(agent: Agent, interval_s: float, once: bool = False) -> int:
    """Look until SIGTERM or Ctrl-C, or once. Returns the exit code: 1 if the only look failed in part."""
    stop = threading.Event()
    if not once:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
    before: list[str] = []
    while True:
        look = agent.look()
        lines = look.lines()
        for line in lines:
            if line not in before:
                print(f"qdeck: {line}", file=sys.stderr, flush=True)
        before = look.failed
        if once:
            return int(bool(look.failed))
        if stop.wait(interval_s):
            return 0
