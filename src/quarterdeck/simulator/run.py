"""One call for a whole run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from quarterdeck.core.policy import Policy, make_policy
from quarterdeck.simulator.incident import Incident
from quarterdeck.simulator.record import Record
from quarterdeck.simulator.site import Site, load_site
from quarterdeck.simulator.workload import Workload
from quarterdeck.simulator.world import World


def simulate(
    workload: Workload, policy: str | Callable[[], Policy] = "fifo", *, settings: dict[str, Any] | None = None,
    site: Site | None = None, seed: int = 0, until_s: float | None = None, slices: bool = False, spans: bool = False,
    eta_every: int = 0, audit: bool = False, incidents: Sequence[Incident] = (),
) -> Record:  # fmt: skip
    """Run a workload through the production core under virtual time.

    Args:
        policy: A name and its `settings`, or what makes a fresh policy.
        site: The devices; those that the workload was made for if not given.
        seed: Of the site's faults. The workload has its own.
        until_s: Stop there; otherwise when the last job ends.
        slices, spans: Keep them in the record.
        eta_every: Ask the core for an estimate at every so many-th submission; 0 for never.
        audit: Check the core's invariants along the way. Slow.

    Raises `Broken` if an invariant does not hold, `Invalid` for a job that no device fits.
    """
    make = partial(make_policy, policy, settings) if isinstance(policy, str) else policy
    make()  # refuses a bad name or setting before anything is read
    made_for = workload.site if isinstance(workload.site, Site) else None
    world = World(
        workload, site or made_for or load_site(str(workload.site)), make, seed=seed, until_s=until_s, slices=slices,
        spans=spans, eta_every=eta_every, audit=audit, incidents=incidents,
    )  # fmt: skip
    return world.run()
