"""The devices of a simulation: they take as long as they take, calibrate, break and lose slices."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.core.commands import CancelSlice, StartSlice
from quarterdeck.core.nouns import Window
from quarterdeck.core.policy import Policy
from quarterdeck.errors import Conflict
from quarterdeck.simulator.ledger import Ledger
from quarterdeck.simulator.loop import START_S, Loop
from quarterdeck.simulator.record import Cause, EtaRecord, SliceRecord, Span
from quarterdeck.simulator.site import DeviceSpec, Site

if TYPE_CHECKING:
    from quarterdeck.simulator.crowd import Pool, Run, Ticket

AHEAD = 3
"""Windows of a device that the core knows of at a time."""


class Machine:
    """A device as it is, whatever the core believes."""

    __slots__ = (
        "calendar", "down", "flying", "id", "lanes", "ledger", "pools", "register", "rng", "setups", "spec", "waiting",
        "windows",
    )  # fmt: skip

    def __init__(self, spec: DeviceSpec, ledger: Ledger, rng: random.Random) -> None:
        self.spec, self.ledger, self.rng = spec, ledger, rng
        self.id, self.lanes = spec.id, spec.lanes
        self.calendar = spec.windows()
        self.register, self.down = "", 0
        self.flying: dict[str, Flight] = {}
        self.windows: dict[str, Cause] = {}  # those it is in; the kinds are causes
        self.pools: list[Pool] = []
        self.setups: dict[str, float] = {}
        self.waiting: deque[Run] = deque()  # jobs that want it exclusively

    def setup_s(self, register: str) -> float:
        """What it costs to have this register, now and here."""
        if not register or register == self.register:
            return 0.0
        took_s = self.setups.get(register)
        if took_s is None:
            took_s = self.setups[register] = self.spec.register_setup_s(register)
        return took_s

    def settle(self, now_s: float, paused: bool) -> None:
        """Enter from now on why its idle lanes are idle."""
        cause: Cause
        lanes = self.lanes - len(self.flying)
        if not lanes:
            cause = "empty"  # of no lane: it does not count
        elif self.windows:
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
        self.ledger.idle(lanes, cause, now_s)


class Flight(msgspec.Struct, eq=False):
    """A slice on a device. The entry in the heap with the number `order` ends it; another one's is void."""

    machine: Machine
    ticket: Ticket
    index: int
    shots: int
    shot_s: float
    setup_s: float
    overhead_s: float
    start_s: float
    end_s: float
    order: int = 0


class Plant(Loop):
    """All devices. `slices` and `spans` are kept if asked for."""

    def __init__(
        self, site: Site, policy: Callable[[], Policy], *, seed: int, slices: bool, spans: bool, audit: bool
    ) -> None:
        super().__init__(policy, audit)
        self.site = site
        self.slices: list[SliceRecord] | None = [] if slices else None
        self.spans: list[Span] | None = [] if spans else None
        self.etas: list[EtaRecord] = []
        self.machines: dict[str, Machine] = {}
        self._windows = 0
        for spec in site.device:
            ledger = Ledger(spec.id, START_S, self.spans)
            self.machines[spec.id] = Machine(spec, ledger, random.Random(f"{seed}/{spec.id}"))

    def open_site(self) -> None:
        """Declare the devices and their first windows."""
        for machine in self.machines.values():
            spec = machine.spec
            declared = ev.DeviceDeclared(
                at_s=self.now_s, device=spec.id, lanes=spec.lanes, slice_shots=spec.slice_shots,
                shot_rate_hz=spec.shot_rate_hz, setup_s=spec.mean_setup_s, overhead_s=spec.overhead_s, emulated=False,
                modality=spec.modality, qubits=spec.qubits,
            )  # fmt: skip
            self.send(declared)
            self.send(ev.DeviceChanged(at_s=self.now_s, device=spec.id, status="online", quality=spec.quality))
            for _ in range(AHEAD):
                self._announce(machine)
            if spec.faults.between_s:
                self.at(self.now_s + machine.rng.expovariate(1 / spec.faults.between_s), self._break, (machine, 0.0))

    def close_site(self) -> None:
        """Enter what is still going on."""
        for machine in self.machines.values():
            machine.ledger.idle(0, "empty", self.now_s)
            for flight in machine.flying.values():
                machine.ledger.worked(flight.start_s, self.now_s, flight.setup_s, flight.overhead_s, False)

    def flying(self) -> set[str]:
        return {key for machine in self.machines.values() for key in machine.flying}

    def settle(self, device: str) -> None:
        self.machines[device].settle(self.now_s, self.deck.devices[device].not_before_s > self.deck.now_s)

    # -- windows --------------------------------------------------------------------------------------------------

    def _announce(self, machine: Machine) -> None:
        for start_s, end_s, calendar in machine.calendar:
            if START_S + end_s <= self.deck.now_s:
                continue  # the clock jumped over it
            self._windows += 1
            window = ev.WindowSet(
                at_s=self.core_s, window=f"{machine.id}/{self._windows}", device=machine.id, kind=calendar.kind,
                start_s=START_S + start_s, end_s=START_S + end_s, hard=calendar.hard, slack_s=calendar.slack_s,
                user=calendar.user, project=calendar.project,
            )  # fmt: skip
            try:
                self.send(window)
            except Conflict:  # an exclusive session has the device then
                continue
            return

    def turned(self, window: Window) -> None:
        machine = self.machines[window.device]
        if window.state == "on":
            machine.windows[window.id] = window.kind
            if window.kind != "reservation":
                machine.register = ""
                if window.hard:
                    for flight in machine.flying.values():
                        if flight.end_s > self.now_s + 1e-6:
                            flight.order = self.at(self.now_s, self._lose, (flight, "lost", self._order + 1))
            self.settle(machine.id)
        elif window.state == "over":
            machine.windows.pop(window.id, None)
            self.at(self.now_s, self._announce, machine)
            self.freed(machine)
            self.settle(machine.id)

    @abstractmethod
    def freed(self, machine: Machine) -> None:
        """Who was refused an exclusive session may try again."""

    # -- slices ---------------------------------------------------------------------------------------------------

    def fly(self, machine: Machine, ticket: Ticket, command: StartSlice, shot_s: float) -> None:
        """Run a slice whose shots take `shot_s` each."""
        self.count["decisions"] += 1
        register = ticket.register
        setup_s = machine.setup_s(register)
        if register:
            machine.register = register
        shots, overhead_s = command.shots, machine.spec.overhead_s
        end_s = self.now_s + setup_s + overhead_s + shots * shot_s
        flight = Flight(machine, ticket, command.index, shots, shot_s, setup_s, overhead_s, self.now_s, end_s)
        machine.flying[command.key] = flight
        loss = machine.spec.faults.slice_loss
        if loss and machine.rng.random() < loss:
            at_s = self.now_s + (end_s - self.now_s) * machine.rng.random()
            flight.order = self.at(at_s, self._lose, (flight, "fault", self._order + 1))
        else:
            flight.order = self.at(end_s, self._land, (flight, self._order + 1))

    def cancel(self, command: CancelSlice) -> None:
        flight = self.machines[command.device].flying[command.key]
        flight.order = self.at(self.now_s, self._cut, (flight, self._order + 1))

    def _land(self, what: tuple[Flight, int]) -> None:
        """All shots of a slice are done."""
        flight, order = what
        if flight.order == order:
            self._over(flight, flight.shots, "")

    def _cut(self, what: tuple[Flight, int]) -> None:
        """The slice was called off: what it measured is kept."""
        flight, order = what
        if flight.order == order:
            ran_s = self.now_s - flight.start_s - flight.setup_s - flight.overhead_s
            shots = min(flight.shots, int(max(0.0, ran_s) / flight.shot_s)) if flight.shot_s else flight.shots
            self._over(flight, shots, "" if shots else "cancelled")

    def _lose(self, what: tuple[Flight, Literal["lost", "fault", "unavailable"], int]) -> None:
        """The slice came to nothing."""
        flight, kind, order = what
        if flight.order == order:
            self.count["killed" if kind == "lost" else "lost"] += 1
            self._over(flight, 0, kind)

    def _over(self, flight: Flight, shots: int, failed: str) -> None:
        machine, ticket, now_s = flight.machine, flight.ticket, self.now_s
        flight.order = 0
        del machine.flying[f"{ticket.id}/{flight.index}"]
        setup_s, overhead_s = machine.ledger.worked(
            flight.start_s, now_s, flight.setup_s, flight.overhead_s, bool(failed)
        )  # fmt: skip
        if self.slices is not None:
            job = ticket.run.job
            record = SliceRecord(
                machine.id, job.job, ticket.id, job.record_class or job.class_, job.user, flight.start_s - START_S,
                now_s - START_S, setup_s, overhead_s, "lost" if failed else "finished", shots,
            )  # fmt: skip
            self.slices.append(record)
        ticket.run.pool.ready += 1  # it waits again, unless it ended: `ended` knows
        busy_s = now_s - flight.start_s - overhead_s
        if failed:
            fail = ev.SliceFailed(
                at_s=self.core_s, task=ticket.id, index=flight.index, kind=failed, qpu_s=busy_s  # type: ignore[arg-type]
            )  # fmt: skip
            self.send(fail)
        else:
            self.moved_s = now_s
            done = ev.SliceFinished(
                at_s=now_s + self.skew_s, task=ticket.id, index=flight.index, shots=shots, qpu_s=busy_s, setup_s=setup_s
            )  # fmt: skip
            self.send(done)

    # -- faults ---------------------------------------------------------------------------------------------------

    def out_of_order(self, device: str, duration_s: float) -> None:
        """The device goes away for so long."""
        self._break((self.machines[device], duration_s))

    def _break(self, what: tuple[Machine, float]) -> None:
        """A device goes away, for `duration_s` or a time of its own."""
        machine, duration_s = what
        self.count["faults"] += 1
        machine.down += 1
        machine.register = ""
        self.send(ev.DeviceChanged(at_s=self.core_s, device=machine.id, status="offline", reason="fault"))
        for flight in list(machine.flying.values()):
            flight.order = -1
            self._lose((flight, "unavailable", -1))
        back_s = duration_s or machine.rng.expovariate(1 / machine.spec.faults.duration_s)
        self.at(self.now_s + back_s, self._mend, (machine, not duration_s))

    def _mend(self, what: tuple[Machine, bool]) -> None:
        machine, again = what
        machine.down -= 1
        if not machine.down:
            quality = machine.spec.quality
            self.send(ev.DeviceChanged(at_s=self.core_s, device=machine.id, status="online", quality=quality))
        if again:
            next_s = self.now_s + machine.rng.expovariate(1 / machine.spec.faults.between_s)
            self.at(next_s, self._break, (machine, 0.0))
