"""What Grid Engine and the daemon say of each QPU, side by side."""

from __future__ import annotations

import msgspec

from quarterdeck.errors import QuarterdeckError
from quarterdeck.schedulers.contract import closed
from quarterdeck.schedulers.gridengine import door
from quarterdeck.schedulers.gridengine.agent import DAEMON_S
from quarterdeck.schedulers.gridengine.cluster import Cluster, number
from quarterdeck.schedulers.gridengine.request import granted
from quarterdeck.schedulers.gridengine.site import Site, ready_of, slots_of


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One device. `ready` is what Grid Engine goes by, `daemon` what the daemon says, `reason` why it is not online."""

    device: str
    slots: int
    ready: bool
    daemon: str
    running: int
    waiting: int
    reason: str


def status(site: Site) -> list[Line]:
    """A line for each device. Raises `Unavailable` if Grid Engine does not answer."""
    cluster = Cluster(site)
    values, rows = cluster.values("-se", "global"), cluster.rows()
    try:
        devices = {device.name: device for device in door.contract(site, DAEMON_S).devices()}
        away = ""
    except QuarterdeckError as error:
        devices, away = {}, str(error)
    lines = []
    for name in site.devices:
        mine = [row for row in rows if name in granted(row.resources, site)]
        there = devices.get(name)
        daemon = "away" if away else there.status if there else "unknown"
        lines.append(
            Line(
                device=name, slots=int(number(values.get(slots_of(name))) or 0),
                ready=number(values.get(ready_of(name))) == 1, daemon=daemon,
                running=sum(row.live for row in mine), waiting=sum(row.waits for row in mine),
                reason=away or closed(name, there),
            )
        )  # fmt: skip
    return lines
