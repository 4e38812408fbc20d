"""The world around the core: virtual time, users who think, devices that take as long as they take.

The core is the daemon's own, `quarterdeck.core.deck.Deck`, fed with the same events and obeyed in the same commands. It
sees declared estimates and finished slices; how long a slice will really take only the world knows.
"""

from __future__ import annotations

import gc
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any, Literal

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.core.books import Step
from quarterdeck.core.commands import BeginWindow, CancelSlice, EndWindow, StartSlice
from quarterdeck.core.deck import Deck
from quarterdeck.core.invariants import Audit, validate
from quarterdeck.core.nouns import Task
from quarterdeck.core.policy import Policy
from quarterdeck.core.waiting import why
from quarterdeck.errors import Conflict, Invalid
from quarterdeck.simulator.incident import Incident
from quarterdeck.simulator.ledger import Ledger
from quarterdeck.simulator.record import Cause, EtaRecord, JobRecord, Record, SliceRecord, Span
from quarterdeck.simulator.site import DeviceSpec, Site
from quarterdeck.simulator.workload import Job, Workload

START_S = 86400.0
"""The core's time at which a run begins: to it, a time of 0 means never."""
FOREVER_S = 1e12
AHEAD = 3
"""Windows of a device that the core knows of at a time."""
STALL_S = 30 * 86400.0
"""A run ends when nothing finishes for so long although tasks wait: they never will."""


class _Pool:
    """Jobs with the same choice of devices."""

    __slots__ = ("devices", "ids", "open", "ready")

    def __init__(self, devices: list[_Device]) -> None:
        self.devices = devices
        self.ids = tuple(device.id for device in devices)
        self.ready = self.open = 0


class _Device:
    __slots__ = (
        "calendar", "down", "flying", "id", "lanes", "ledger", "pools", "register", "rng", "setups", "spec", "waiting",
        "windows",
    )  # fmt: skip

    def __init__(self, spec: DeviceSpec, ledger: Ledger, rng: random.Random) -> None:
        self.spec, self.ledger, self.rng = spec, ledger, rng
        self.id, self.lanes = spec.id, spec.lanes
        self.calendar = spec.windows()
        self.register, self.down = "", 0
        self.flying: dict[str, _Flight] = {}
        self.windows: dict[str, Cause] = {}  # the kinds are causes
        self.pools: list[_Pool] = []
        self.setups: dict[str, float] = {}
        self.waiting: deque[_Run] = deque()  # jobs that want it exclusively

    def settle(self, now_s: float, paused: bool) -> None:
        """Enter from now on why its idle lanes are idle."""
        cause: Cause
        if self.windows:
            cause = next(iter(self.windows.values()))
        elif self.down or paused:
            cause = "fault"
        else:
            cause = "empty"
            for pool in self.pools:
                if pool.ready:
                    cause = "blocked"
                    break
                if pool.open:
                    cause = "thinking"
        self.ledger.idle(self.lanes - len(self.flying), cause, now_s)


class _Flight:
    """A slice on a device."""

    __slots__ = ("device", "end_s", "index", "order", "overhead_s", "setup_s", "shot_s", "shots", "start_s", "ticket")

    def __init__(
        self, device: _Device, ticket: _Ticket, index: int, shots: int, setup_s: float, shot_s: float, now_s: float
    ) -> None:
        self.device, self.ticket, self.index, self.shots = device, ticket, index, shots
        self.setup_s, self.overhead_s, self.shot_s, self.start_s = setup_s, device.spec.overhead_s, shot_s, now_s
        self.end_s = now_s + setup_s + self.overhead_s + shots * shot_s
        self.order = 0


class _Run:
    """A job under way."""

    __slots__ = ("given_up", "job", "pool", "session", "sessions")

    def __init__(self, job: Job, pool: _Pool) -> None:
        self.job, self.pool = job, pool
        self.session, self.sessions, self.given_up = "", 0, False


class _Ticket:
    """A task under way."""

    __slots__ = ("eta_s", "id", "round", "run", "shot_s", "submitted_s")

    def __init__(self, id: str, run: _Run, round: int, shot_s: float, now_s: float) -> None:
        self.id, self.run, self.round, self.shot_s, self.submitted_s = id, run, round, shot_s, now_s
        self.eta_s: float | None = None


class World:
    """One run. `policy` makes a fresh policy; what else there is to say is in `simulate`."""

    def __init__(
        self, workload: Workload, site: Site, policy: Callable[[], Policy], *, seed: int = 0,
        until_s: float | None = None, slices: bool = False, spans: bool = False, eta_every: int = 0,
        audit: bool = False, incidents: Sequence[Incident] = (),
    ) -> None:  # fmt: skip
        self.workload, self.site, self.policy, self.seed = workload, site, policy, seed
        self.deck = Deck(policy())
        self.now_s, self.skew_s = START_S, 0.0
        self.until_s = START_S + until_s if until_s is not None else FOREVER_S
        self.audit = Audit() if audit else None
        self.eta_every = eta_every
        self.slices: list[SliceRecord] | None = [] if slices else None
        self.spans: list[Span] | None = [] if spans else None
        self.jobs: list[JobRecord] = []
        self.etas: list[EtaRecord] = []
        self.count = dict.fromkeys(
            ("events", "decisions", "tasks", "jobs", "cancelled", "missed", "killed", "lost", "faults", "restarts"), 0
        )
        self.devices: dict[str, _Device] = {}
        for spec in site.device:
            ledger = Ledger(spec.id, START_S, self.spans, self.slices)
            self.devices[spec.id] = _Device(spec, ledger, random.Random(f"{seed}/{spec.id}"))
        self._pools: dict[object, _Pool] = {}
        self._tickets: dict[str, _Ticket] = {}
        self._joined: dict[str, str] = {}
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = 0
        self._open = 0
        self._windows = 0
        self._moved_s = START_S
        self._arrivals: Iterator[Job] = iter(workload.jobs)
        for incident in incidents:
            self._at(START_S + incident.at_s, self._incident, incident)

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> Record:
        """Run to the end. Raises `Broken` if an invariant does not hold, and `Invalid` for a job without a device."""
        began_s = time.perf_counter()
        collecting = gc.isenabled()
        gc.disable()  # nothing here is in cycles, and millions of records are not worth looking through
        try:
            self._loop()
        finally:
            if collecting:
                gc.enable()
        return self._record(time.perf_counter() - began_s)

    def _loop(self) -> None:
        self._open_site()
        for _ in range(max(1, self.workload.population)):
            self._next_job()
        heap, until_s = self._heap, self.until_s
        while self._open or self._more:
            alarm_s = self.deck.next_alarm_s()
            if alarm_s is not None and (not heap or alarm_s - self.skew_s < heap[0][0]):
                now_s = max(self.now_s, alarm_s - self.skew_s)
                if now_s >= until_s or (now_s - self._moved_s > STALL_S and self._stuck()):
                    break
                self.now_s = now_s
                self._send(ev.Tick(at_s=alarm_s))
                continue
            if not heap or heap[0][0] >= until_s:
                break
            self.now_s, _, action, what = heappop(heap)
            action(what)
        if self.until_s < FOREVER_S:
            self.now_s = self.until_s
        self._close_site()

    def _stuck(self) -> bool:
        return any(pool.ready for pool in self._pools.values())

    def _at(self, at_s: float, action: Callable[[Any], None], what: Any) -> int:
        self._order += 1
        heappush(self._heap, (at_s, self._order, action, what))
        return self._order

    def _send(self, event: ev.Event) -> None:
        """Tell the core, and do what it says."""
        deck = self.deck
        step = deck.handle(event)
        count = self.count
        count["events"] += 1
        if self.audit is not None:
            self._check(self.audit, step)
        for task in deck.forget_ended():
            self._ended(task)
        for command in step.commands:
            if type(command) is StartSlice:
                self._start(command)
            else:
                self._obey(command)
        for id in step.devices:
            device = self.devices[id]
            device.settle(self.now_s, deck.devices[id].not_before_s > deck.now_s)

    def _check(self, audit: Audit, step: Step) -> None:
        audit.read(step.events)
        if self.count["events"] % 50 == 1:
            validate(self.deck)
            flying = {key for device in self.devices.values() for key in device.flying}
            starting = {command.key for command in step.commands if isinstance(command, StartSlice)}
            if flying | starting != self.deck.slices.keys():
                raise Conflict("the core and the devices differ on what is running")

    # -- devices --------------------------------------------------------------------------------------------------

    def _open_site(self) -> None:
        for device in self.devices.values():
            spec = device.spec
            declared = ev.DeviceDeclared(
                at_s=self.now_s, device=spec.id, lanes=spec.lanes, slice_shots=spec.slice_shots,
                shot_rate_hz=spec.shot_rate_hz, setup_s=spec.mean_setup_s, overhead_s=spec.overhead_s, emulated=False,
                modality=spec.modality, qubits=spec.qubits,
            )  # fmt: skip
            self._send(declared)
            self._send(ev.DeviceChanged(at_s=self.now_s, device=spec.id, status="online", quality=spec.quality))
            for _ in range(AHEAD):
                self._announce(device)
            if spec.faults.between_s:
                self._at(self.now_s + device.rng.expovariate(1 / spec.faults.between_s), self._break, (device, 0.0))

    def _announce(self, device: _Device) -> None:
        window = next(device.calendar, None)
        if window is not None:
            start_s, end_s, kind, hard = window
            self._windows += 1
            told = ev.WindowSet(
                at_s=self.now_s + self.skew_s, window=f"{device.id}/{self._windows}", device=device.id,
                kind=kind, start_s=START_S + start_s, end_s=START_S + end_s, hard=hard,  # type: ignore[arg-type]
            )  # fmt: skip
            if told.end_s > self.deck.now_s:
                self._send(told)
            else:  # the clock jumped over it
                self._announce(device)

    def _start(self, command: StartSlice) -> None:
        ticket = self._tickets[command.task]
        device = self.devices[command.device]
        run = ticket.run
        self.count["decisions"] += 1
        run.pool.ready -= 1
        if ticket.eta_s is not None:
            waited_s = self.now_s - ticket.submitted_s
            self.etas.append(EtaRecord(ticket.eta_s, waited_s, run.job.record_class or run.job.class_))
            ticket.eta_s = None
        register = run.job.rounds[ticket.round].register
        setup_s = 0.0
        if register and register != device.register:
            setup_s = device.setups.get(register, -1.0)
            if setup_s < 0:
                setup_s = device.setups[register] = device.spec.register_setup_s(register)
            device.register = register
        shot_s, first = ticket.shot_s, run.pool.devices[0]
        if device is not first and device.spec.shot_rate_hz:
            shot_s *= first.spec.shot_rate_hz / device.spec.shot_rate_hz
        flight = _Flight(device, ticket, command.index, command.shots, setup_s, shot_s, self.now_s)
        device.flying[command.key] = flight
        loss = device.spec.faults.slice_loss
        if loss and device.rng.random() < loss:
            at_s = self.now_s + (flight.end_s - self.now_s) * device.rng.random()
            flight.order = self._at(at_s, self._lose, (flight, "fault", self._order + 1))
        else:
            flight.order = self._at(flight.end_s, self._land, flight)

    def _obey(self, command: object) -> None:
        match command:
            case CancelSlice(device=id, key=key):
                flight = self.devices[id].flying[key]
                flight.order = self._at(self.now_s, self._cut, (flight, self._order + 1))
            case BeginWindow(device=id, window=window, kind=kind):
                device = self.devices[id]
                device.windows[window] = kind  # type: ignore[assignment]
                if kind != "reservation":
                    device.register = ""
                if self.deck.windows[window].hard:
                    for flight in device.flying.values():
                        if flight.end_s > self.now_s + 1e-6:
                            flight.order = self._at(self.now_s, self._lose, (flight, "lost", self._order + 1))
                device.settle(self.now_s, False)
            case EndWindow(device=id, window=window):
                self.devices[id].windows.pop(window, None)
                self._at(self.now_s, self._announce, self.devices[id])
                self.devices[id].settle(self.now_s, False)
            case _:
                pass

    def _land(self, flight: _Flight) -> None:
        """All shots of a slice are done."""
        device = flight.device
        key = f"{flight.ticket.id}/{flight.index}"
        if device.flying.get(key) is flight and flight.end_s <= self.now_s:
            self._over(flight, flight.shots, "")

    def _cut(self, what: tuple[_Flight, int]) -> None:
        """The slice was called off: what it measured is kept."""
        flight, order = what
        if flight.order == order:
            ran_s = self.now_s - flight.start_s - flight.setup_s - flight.overhead_s
            shots = min(flight.shots, int(max(0.0, ran_s) / flight.shot_s)) if flight.shot_s else flight.shots
            self._over(flight, shots, "" if shots else "cancelled")

    def _lose(self, what: tuple[_Flight, Literal["lost", "fault", "unavailable"], int]) -> None:
        """The slice came to nothing."""
        flight, kind, order = what
        if flight.order == order:
            self.count["killed" if kind == "lost" else "lost"] += 1
            self._over(flight, 0, kind)

    def _over(self, flight: _Flight, shots: int, failed: str) -> None:
        device, ticket, now_s = flight.device, flight.ticket, self.now_s
        flight.order = 0
        del device.flying[f"{ticket.id}/{flight.index}"]
        setup_s, overhead_s = device.ledger.worked(
            flight.start_s, now_s, flight.setup_s, flight.overhead_s, bool(failed)
        )  # fmt: skip
        if self.slices is not None:
            job = ticket.run.job
            record = SliceRecord(
                device.id, job.job, ticket.id, job.record_class or job.class_, job.user, flight.start_s - START_S,
                now_s - START_S, setup_s, overhead_s, "lost" if failed else "finished", shots,
            )  # fmt: skip
            self.slices.append(record)
        ticket.run.pool.ready += 1  # it waits again, unless it ended: `_ended` knows
        at_s = now_s + self.skew_s
        busy_s = now_s - flight.start_s - overhead_s
        if failed:
            fail = ev.SliceFailed(
                at_s=at_s, task=ticket.id, index=flight.index, kind=failed, qpu_s=busy_s  # type: ignore[arg-type]
            )  # fmt: skip
            self._send(fail)
        else:
            self._moved_s = now_s
            done = ev.SliceFinished(
                at_s=at_s, task=ticket.id, index=flight.index, shots=shots, qpu_s=busy_s, setup_s=setup_s,
            )  # fmt: skip
            self._send(done)

    def _break(self, what: tuple[_Device, float]) -> None:
        """A device goes away, for `duration_s` or a time of its own."""
        device, duration_s = what
        faults = device.spec.faults
        self.count["faults"] += 1
        device.down += 1
        device.register = ""
        self._send(ev.DeviceChanged(at_s=self.now_s + self.skew_s, device=device.id, status="offline", reason="fault"))
        for flight in list(device.flying.values()):
            flight.order = self._order + 1
            self._order += 1
            self._lose((flight, "unavailable", flight.order))
        back_s = duration_s or device.rng.expovariate(1 / faults.duration_s)
        self._at(self.now_s + back_s, self._mend, (device, not duration_s))

    def _mend(self, what: tuple[_Device, bool]) -> None:
        device, again = what
        device.down -= 1
        if not device.down:
            at_s = self.now_s + self.skew_s
            self._send(ev.DeviceChanged(at_s=at_s, device=device.id, status="online", quality=device.spec.quality))
        if again:
            next_s = self.now_s + device.rng.expovariate(1 / device.spec.faults.between_s)
            self._at(next_s, self._break, (device, 0.0))

    def _close_site(self) -> None:
        """Enter what is still going on."""
        for device in self.devices.values():
            device.ledger.idle(0, "empty", self.now_s)
            for flight in device.flying.values():
                device.ledger.worked(flight.start_s, self.now_s, flight.setup_s, flight.overhead_s, False)

    # -- jobs -----------------------------------------------------------------------------------------------------

    def _next_job(self) -> None:
        job = next(self._arrivals, None)
        self._more = job is not None
        if job is not None:
            at_s = self.now_s if self.workload.population else max(self.now_s, START_S + job.arrival_s)
            self._at(at_s, self._arrive, job)

    def _pool(self, job: Job) -> _Pool:
        wanted = job.devices or (job.modality, job.qubits)
        pool = self._pools.get(wanted)
        if pool is None:
            ids = job.devices or self.site.matching(job.modality, job.qubits)
            missing = [id for id in ids if id not in self.devices]
            if missing or not ids:
                want = " or ".join(missing) or f"a {job.modality or 'device'} of {job.qubits} qubits or more"
                raise Invalid(f"job {job.job}", f"needs {want}, which the devices file does not have")
            pool = self._pools[wanted] = _Pool([self.devices[id] for id in ids])
            for device in pool.devices:
                device.pools.append(pool)
        return pool

    def _arrive(self, job: Job) -> None:
        if self.workload.population:
            job.arrival_s = self.now_s - START_S
        else:
            self._next_job()
        self._open += 1
        self.count["jobs"] += 1
        run = _Run(job, self._pool(job))
        self._crowd(run.pool, 1)
        self._enter(run)

    def _crowd(self, pool: _Pool, more: int) -> None:
        before, pool.open = pool.open, pool.open + more
        if not before or not pool.open:
            self._settle(pool)

    def _settle(self, pool: _Pool) -> None:
        for device in pool.devices:
            if len(device.flying) < device.lanes:
                device.settle(self.now_s, self.deck.devices[device.id].not_before_s > self.deck.now_s)

    def _enter(self, run: _Run) -> None:
        """The job's session opens, or it waits for its turn; then its first round begins."""
        mode, joins = run.job.session, run.job.joins
        if joins in self._joined:
            run.session = self._joined[joins]
            self._turn((run, 0))
            return
        choice = mode == "shared" and len(run.pool.ids) > 1  # a session has one device: its tasks could not choose
        if mode != "none" and mode != "round" and not choice and not self._open_session(run, mode):
            return
        if joins:
            self._joined[joins] = run.session
        self._turn((run, 0))

    def _turn(self, what: tuple[_Run, int]) -> None:
        """A round begins, with the classical part."""
        run, round = what
        if run.job.session == "round":
            self._open_session(run, "shared")
        self._at(self.now_s + run.job.rounds[round].think_s, self._submit, what)

    def _home(self, run: _Run) -> str:
        """The device of the job's session, the first of its choice: jobs take turns."""
        ids = run.pool.ids
        return ids[run.job.job % len(ids)]

    def _open_session(self, run: _Run, mode: Literal["shared", "exclusive", "batch"]) -> bool:
        job, home = run.job, self._home(run)
        session = f"s{job.job}.{run.sessions}" if run.sessions else f"s{job.job}"
        opened = ev.SessionOpened(
            at_s=self.now_s + self.skew_s, session=session, user=job.user, device=home, ttl_s=FOREVER_S, mode=mode,
            class_=job.class_, project=job.project, job=session,
        )  # fmt: skip
        try:
            self._send(opened)
        except Conflict:
            if mode != "exclusive":
                raise
            self.devices[home].waiting.append(run)
            return False
        run.session, run.sessions = session, run.sessions + 1
        return True

    def _close_session(self, run: _Run) -> None:
        if not run.session or run.job.joins:
            return
        session, run.session = run.session, ""
        self._send(ev.SessionClosed(at_s=self.now_s + self.skew_s, session=session))
        waiting = self.devices[self._home(run)].waiting
        if waiting:
            self._at(self.now_s, self._enter, waiting.popleft())

    def _submit(self, what: tuple[_Run, int]) -> None:
        run, index = what
        job, pool = run.job, run.pool
        round = job.rounds[index]
        self.count["tasks"] += 1
        id = f"t{self.count['tasks']}"
        home = self.devices[self._home(run)] if len(pool.ids) > 1 else pool.devices[0]
        ticket = self._tickets[id] = _Ticket(id, run, index, round.quantum_s / round.shots, self.now_s)
        pool.ready += 1
        submitted = ev.Submitted(
            at_s=self.now_s + self.skew_s, task=id, user=job.user, device=home.id, program="p", shots=round.shots,
            session=run.session, project=job.project, job=run.session, class_=job.class_,
            devices=() if run.session else _first(home.id, pool.ids), register=round.register,
            estimate_s=round.estimate_s,
            deadline_s=START_S + job.arrival_s + job.deadline_s if job.deadline_s else 0.0,
        )  # fmt: skip
        self._send(submitted)
        if pool.ready:
            self._settle(pool)
            if self.eta_every and self.count["tasks"] % self.eta_every == 0 and id in self._tickets:
                task = self.deck.tasks[id]
                if task.state == "queued":
                    ticket.eta_s = why(self.deck, task).estimate_s

    def _ended(self, task: Task) -> None:
        """A task is over, and with it a round."""
        ticket = self._tickets.pop(task.id)
        run = ticket.run
        run.pool.ready -= 1
        job = run.job
        if task.state != "done":
            run.given_up = True
            self.count["missed"] += task.error_code == "deadline_missed"
            self._at(self.now_s, self._leave, run)
        elif ticket.round + 1 < len(job.rounds):
            self._at(self.now_s, self._next_round, (run, ticket.round + 1))
        else:
            now_s = self.now_s - START_S
            due_s = job.arrival_s + job.deadline_s if job.deadline_s else 0.0
            record = JobRecord(
                job.job, job.user, job.project, job.record_class or job.class_, job.arrival_s, now_s, job.work_s,
                job.quantum_s, len(job.rounds), due_s, bool(due_s) and now_s > due_s,
            )  # fmt: skip
            self.jobs.append(record)
            self.count["missed"] += record.missed
            self._at(self.now_s, self._leave, run)

    def _next_round(self, what: tuple[_Run, int]) -> None:
        run, _ = what
        if run.job.session == "round":
            self._close_session(run)
        self._turn(what)

    def _leave(self, run: _Run) -> None:
        """The job is over, or has given up."""
        self._close_session(run)
        self._open -= 1
        self.count["cancelled"] += run.given_up
        self._crowd(run.pool, -1)
        if self.workload.population:
            self._next_job()

    # -- what is done to the daemon -------------------------------------------------------------------------------

    def _incident(self, incident: Incident) -> None:
        match incident.kind:
            case "restart":
                self._restart()
            case "clock":
                self.skew_s += incident.seconds
                self._send(ev.Tick(at_s=self.now_s + self.skew_s))
            case "outage":
                self._break((self.devices[incident.device], incident.seconds))
            case "cancel":
                for task in list(self.deck.tasks.values()):
                    if task.state == "queued" and incident.user in ("", task.user):
                        self._send(ev.Cancelled(at_s=self.now_s + self.skew_s, task=task.id, by="a cancel storm"))

    def _restart(self) -> None:
        """What a daemon knows after SIGKILL: the records in its store, through JSON."""
        old = self.deck
        groups = (old.tasks, old.slices, old.sessions, old.devices, old.windows)
        nouns = [noun for group in groups for noun in group.values()]
        kept = [msgspec.json.decode(msgspec.json.encode(noun), type=type(noun)) for noun in nouns]
        self.deck = Deck(self.policy())
        self.deck.restore(kept, now_s=old.now_s, seq=old.seq)
        if self.deck.state() != old.state():
            raise Conflict("the restored state differs from the one before")
        self.count["restarts"] += 1

    def _record(self, wall_s: float) -> Record:
        for span in self.spans or ():
            span.start_s -= START_S
            span.end_s -= START_S
        counters: dict[str, float] = {**self.count, "unfinished": self._open, "wall_s": wall_s}
        return Record(
            policy=self.deck.policy.name, workload=self.workload.name, seed=self.seed, devices=list(self.devices),
            lanes={id: device.lanes for id, device in self.devices.items()}, end_s=self.now_s - START_S,
            jobs=self.jobs, slices=self.slices, spans=self.spans, etas=self.etas, counters=counters,
            busy={id: device.ledger.seconds for id, device in self.devices.items()},
        )  # fmt: skip


def _first(id: str, ids: tuple[str, ...]) -> tuple[str, ...]:
    """The same alternatives, this one first; none if there is no choice."""
    return () if len(ids) == 1 else (id, *(other for other in ids if other != id))
