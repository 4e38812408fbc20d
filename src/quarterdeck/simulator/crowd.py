"""The users of a simulation: jobs arrive, think, submit, and think again when their task is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.core.commands import StartSlice
from quarterdeck.core.nouns import Task
from quarterdeck.core.policy import Policy
from quarterdeck.core.waiting import why
from quarterdeck.errors import Conflict, Invalid, NotFound
from quarterdeck.simulator.loop import FOREVER_S, START_S
from quarterdeck.simulator.plant import Machine, Plant
from quarterdeck.simulator.record import EtaRecord, JobRecord
from quarterdeck.simulator.site import Site
from quarterdeck.simulator.workload import Job, Workload

EXCLUSIVE_WORKS, EXCLUSIVE_MORE_S = 2.0, 7200.0
"""An exclusive session is asked for so many times the job's work, and so much more: as wall time is."""


class Pool:
    """Jobs with the same choice of devices: how many are open, and how many of their tasks wait."""

    __slots__ = ("ids", "machines", "open", "ready")

    def __init__(self, machines: list[Machine]) -> None:
        self.machines = machines
        self.ids = tuple(machine.id for machine in machines)
        self.ready = self.open = 0


class Run:
    """A job under way."""

    __slots__ = ("devices", "given_up", "home", "job", "pool", "session", "sessions")

    def __init__(self, job: Job, pool: Pool) -> None:
        self.job, self.pool = job, pool
        self.session, self.sessions, self.given_up = "", 0, False
        self.home = pool.ids[job.job % len(pool.ids)]  # the device of its session, one of its choice: jobs take turns
        self.devices = () if job.session == "exclusive" else _first(self.home, pool.ids)


class Ticket(msgspec.Struct, eq=False):
    """A task under way."""

    id: str
    run: Run
    round: int
    submitted_s: float
    shot_s: float
    register: str
    eta_s: float | None = None


class Crowd(Plant):
    """All jobs."""

    def __init__(
        self, workload: Workload, site: Site, policy: Callable[[], Policy], *, seed: int, slices: bool, spans: bool,
        eta_every: int, audit: bool,
    ) -> None:  # fmt: skip
        super().__init__(site, policy, seed=seed, slices=slices, spans=spans, audit=audit)
        self.workload, self.eta_every = workload, eta_every
        self.jobs: list[JobRecord] = []
        self.open = 0
        self._more = True
        self._arrivals: Iterator[Job] = iter(workload.jobs)
        self._pools: dict[object, Pool] = {}
        self._tickets: dict[str, Ticket] = {}
        self._joined: dict[str, str] = {}

    def busy(self) -> bool:
        return self.open > 0 or self._more

    def stuck(self) -> bool:
        return any(pool.ready for pool in self._pools.values()) or any(m.waiting for m in self.machines.values())

    # -- jobs come and go -----------------------------------------------------------------------------------------

    def next_job(self) -> None:
        """Take the next one from the workload."""
        job = next(self._arrivals, None)
        self._more = job is not None
        if job is not None:
            at_s = self.now_s if self.workload.population else max(self.now_s, START_S + job.arrival_s)
            self.at(at_s, self._arrive, job)

    def _arrive(self, job: Job) -> None:
        if self.workload.population:
            job.arrival_s = self.now_s - START_S
        else:
            self.next_job()
        self.open += 1
        self.count["jobs"] += 1
        run = Run(job, self._pool(job))
        self._crowd(run.pool, 1)
        self._enter(run)

    def _pool(self, job: Job) -> Pool:
        wanted = job.devices or (job.modality, job.qubits)
        pool = self._pools.get(wanted)
        if pool is None:
            ids = job.devices or self.site.matching(job.modality, job.qubits)
            missing = [id for id in ids if id not in self.machines]
            if missing or not ids:
                want = " or ".join(missing) or f"a {job.modality or 'device'} of {job.qubits} qubits or more"
                raise Invalid(f"job {job.job}", f"needs {want}, which the devices file does not have")
            pool = self._pools[wanted] = Pool([self.machines[id] for id in ids])
            for machine in pool.machines:
                machine.pools.append(pool)
        return pool

    def _crowd(self, pool: Pool, more: int) -> None:
        before, pool.open = pool.open, pool.open + more
        if not before or not pool.open:
            self._settle(pool)

    def _settle(self, pool: Pool) -> None:
        for machine in pool.machines:
            if len(machine.flying) < machine.lanes:
                self.settle(machine.id)

    def _enter(self, run: Run) -> bool:
        """The job's session opens and its first round begins; False if it has to wait for its turn."""
        mode, joins = run.job.session, run.job.joins
        if joins in self._joined:
            run.session = self._joined[joins]
        else:
            if mode != "none" and mode != "round" and not self._open_session(run, mode):
                return False
            if joins:
                self._joined[joins] = run.session
        self._turn((run, 0))
        return True

    def freed(self, machine: Machine) -> None:
        if machine.waiting:
            self.at(self.now_s, self._admit, machine)

    def _admit(self, machine: Machine) -> None:
        """The first of those who wait for the device that may have it."""
        for _ in range(len(machine.waiting)):
            if self._enter(machine.waiting.popleft()):
                return

    def _leave(self, run: Run) -> None:
        """The job is over, or has given up."""
        self._close_session(run)
        self.open -= 1
        self.count["cancelled"] += run.given_up
        self._crowd(run.pool, -1)
        if self.workload.population:
            self.next_job()

    # -- sessions -------------------------------------------------------------------------------------------------

    def _open_session(self, run: Run, mode: Literal["shared", "exclusive", "batch"]) -> bool:
        job = run.job
        session = f"s{job.job}.{run.sessions}" if run.sessions else f"s{job.job}"
        ttl_s = EXCLUSIVE_WORKS * job.work_s + EXCLUSIVE_MORE_S if mode == "exclusive" else FOREVER_S
        opened = ev.SessionOpened(
            at_s=self.core_s, session=session, user=job.user, device=run.home, ttl_s=ttl_s, mode=mode,
            class_=job.class_, project=job.project, job=session,
            devices=run.devices,
        )  # fmt: skip
        try:
            self.send(opened)
        except Conflict:
            if mode != "exclusive":
                raise
            self.machines[run.home].waiting.append(run)
            return False
        run.session, run.sessions = session, run.sessions + 1
        return True

    def _close_session(self, run: Run) -> None:
        if not run.session or run.job.joins:
            return
        session, run.session = run.session, ""
        if session in self.deck.sessions:  # an exclusive one may have expired
            self.send(ev.SessionClosed(at_s=self.core_s, session=session))
        self.freed(self.machines[run.home])

    # -- rounds ---------------------------------------------------------------------------------------------------

    def _turn(self, what: tuple[Run, int]) -> None:
        """A round begins, with the classical part."""
        run, round = what
        if run.job.session == "round":
            self._close_session(run)
            self._open_session(run, "shared")
        self.at(self.now_s + run.job.rounds[round].think_s, self._submit, what)

    def _submit(self, what: tuple[Run, int]) -> None:
        run, index = what
        job, pool = run.job, run.pool
        round = job.rounds[index]
        self.count["tasks"] += 1
        id, home = f"t{self.count['tasks']}", run.home
        shot_s = round.quantum_s / round.shots
        ticket = self._tickets[id] = Ticket(id, run, index, self.now_s, shot_s, round.register)
        pool.ready += 1
        submitted = ev.Submitted(
            at_s=self.now_s + self.skew_s, task=id, user=job.user, device=home, program="p", shots=round.shots,
            session=run.session, project=job.project, job=run.session, class_=job.class_,
            devices=run.devices, register=round.register,
            estimate_s=round.estimate_s, min_quality=job.min_quality,
            deadline_s=START_S + job.arrival_s + job.deadline_s if job.deadline_s else 0.0,
        )  # fmt: skip
        try:
            self.send(submitted)
        except (Conflict, NotFound) as error:
            if not job.deadline_s and isinstance(error, Conflict):
                raise
            del self._tickets[id]  # its deadline is over before it could be submitted, or its exclusive session is
            pool.ready -= 1
            self.count["missed"] += isinstance(error, Conflict)
            self._give_up(run)
            return
        if pool.ready:
            self._settle(pool)
            if self.eta_every and self.count["tasks"] % self.eta_every == 0 and id in self._tickets:
                task = self.deck.tasks[id]
                if task.state == "queued":
                    ticket.eta_s = why(self.deck, task, ahead=True).estimate_s

    def start(self, command: StartSlice) -> None:
        ticket = self._tickets[command.task]
        machine, run = self.machines[command.device], ticket.run
        run.pool.ready -= 1
        if ticket.eta_s is not None:
            waited_s = self.now_s - ticket.submitted_s
            self.etas.append(EtaRecord(ticket.eta_s, waited_s, run.job.record_class or run.job.class_))
            ticket.eta_s = None
        shot_s, first = ticket.shot_s, run.pool.machines[0]
        if machine is not first and machine.spec.shot_rate_hz:
            shot_s *= first.spec.shot_rate_hz / machine.spec.shot_rate_hz
        self.fly(machine, ticket, command, shot_s)

    def ended(self, task: Task) -> None:
        ticket = self._tickets.pop(task.id)
        run = ticket.run
        run.pool.ready -= 1
        job = run.job
        if task.state != "done":
            self.count["missed"] += task.error_code == "deadline_missed"
            self._give_up(run)
        elif ticket.round + 1 < len(job.rounds):
            if job.session == "round":  # that closes and opens sessions, and the core has not had its say yet
                self.at(self.now_s, self._turn, (run, ticket.round + 1))
            else:
                self._turn((run, ticket.round + 1))
        else:
            now_s = self.now_s - START_S
            due_s = job.arrival_s + job.deadline_s if job.deadline_s else 0.0
            record = JobRecord(
                job.job, job.user, job.project, job.record_class or job.class_, job.arrival_s, now_s, job.work_s,
                job.quantum_s, len(job.rounds), due_s, bool(due_s) and now_s > due_s,
            )  # fmt: skip
            self.jobs.append(record)
            self.count["missed"] += record.missed
            self.at(self.now_s, self._leave, run)

    def _give_up(self, run: Run) -> None:
        run.given_up = True
        self.at(self.now_s, self._leave, run)


def _first(id: str, ids: tuple[str, ...]) -> tuple[str, ...]:
    """The same alternatives, this one first; none if there is no choice."""
    return () if len(ids) == 1 else (id, *(other for other in ids if other != id))
