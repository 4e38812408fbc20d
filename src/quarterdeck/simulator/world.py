"""The world around the core: virtual time, users who think, devices that take as long as they take.

The core is the daemon's own, `quarterdeck.core.deck.Deck`, fed with the same events and obeyed in the same commands. It
sees declared estimates and finished slices; how long a slice will really take only the world knows.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

from quarterdeck.core import events as ev
from quarterdeck.core.policy import Policy
from quarterdeck.simulator.crowd import Crowd
from quarterdeck.simulator.incident import Incident
from quarterdeck.simulator.loop import FOREVER_S, START_S
from quarterdeck.simulator.record import Record
from quarterdeck.simulator.site import Site
from quarterdeck.simulator.workload import Workload


class World(Crowd):
    """One run. `policy` makes a fresh policy; what else there is to say is in `simulate`."""

    def __init__(
        self, workload: Workload, site: Site, policy: Callable[[], Policy], *, seed: int = 0,
        until_s: float | None = None, slices: bool = False, spans: bool = False, eta_every: int = 0,
        audit: bool = False, incidents: Sequence[Incident] = (),
    ) -> None:  # fmt: skip
        super().__init__(
            workload, site, policy, seed=seed, slices=slices, spans=spans, eta_every=eta_every, audit=audit
        )  # fmt: skip
        self.seed = seed
        self.policy_name = self.deck.policy.name
        self.until_s = START_S + until_s if until_s is not None else FOREVER_S
        for incident in incidents:
            self.at(START_S + incident.at_s, self._befall, incident)

    def run(self) -> Record:
        """Run to the end. Raises `Broken` if an invariant does not hold, and `Invalid` for a job without a device."""
        began_s = time.perf_counter()
        collecting = gc.isenabled()
        gc.disable()  # nothing here is in cycles, and millions of records are not worth looking through
        try:
            self.open_site()
            for _ in range(max(1, self.workload.population)):
                self.next_job()
            self.go(self.until_s)
            if self.until_s < FOREVER_S:
                self.now_s = self.until_s
            self.close_site()
        finally:
            if collecting:
                gc.enable()
        return self._record(time.perf_counter() - began_s)

    def _befall(self, incident: Incident) -> None:
        match incident.kind:
            case "restart":
                self.restart()
            case "clock":
                self.skew_s += incident.seconds
                self.send(ev.Tick(at_s=self.core_s))
            case "outage":
                self.out_of_order(incident.device, incident.seconds)
            case "cancel":
                for task in list(self.deck.tasks.values()):
                    if task.state == "queued" and incident.user in ("", task.user):
                        self.send(ev.Cancelled(at_s=self.core_s, task=task.id, by="a cancel storm"))

    def _record(self, wall_s: float) -> Record:
        for span in self.spans or ():
            span.start_s -= START_S
            span.end_s -= START_S
        return Record(
            policy=self.policy_name, workload=self.workload.name, seed=self.seed, devices=list(self.machines),
            lanes={id: machine.lanes for id, machine in self.machines.items()}, end_s=self.now_s - START_S,
            jobs=self.jobs, slices=self.slices, spans=self.spans, etas=self.etas,
            busy={id: machine.ledger.seconds for id, machine in self.machines.items()},
            counters={
                **self.count, "unfinished": self.open, "wall_s": wall_s,
                "policy_failed": self.deck.policy.name != self.policy_name,
            },
        )  # fmt: skip
