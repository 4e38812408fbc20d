"""The goals that were set for the control plane, and how a run's figures stand to them."""

from __future__ import annotations

import msgspec

from quarterdeck.bench.report import Goal, Row

CLIENTS = (1, 8, 32)
SUBMIT = {"cold": "submit, a new program each time", "referenced": "submit, program uploaded before"}
STATUS = "status of a task"
LATENCY = "submit to device, idle system"
DRAIN = "drain a backlog of 400"
BUSY_DRAIN = "drain while 8 clients submit"
BUSY_SUBMIT = "submit while the device drains"


def goals(rows: list[Row], deep: int) -> list[Goal]:
    """How the figures stand to the goals that were set, over TCP; a goal whose figures are missing is left out."""

    def figure(what: str, system: str, clients: int, name: str) -> float | None:
        for row in rows:
            if (row.what, row.system, row.clients) == (what, system, clients) and row.transport in ("tcp", ""):
                return row.figures[name].median if name in row.figures else None
        return None

    found: list[Goal] = []

    def ratio(name: str, wanted: float, above: float | None, below: float | None, sense: str = "at least") -> None:
        if above is not None and below:
            found.append(msgspec.convert({"name": name, "sense": sense, "wanted": wanted, "got": above / below}, Goal))

    for clients, wanted in ((1, 4), (8, 10), (32, 10)):
        mine = figure(SUBMIT["referenced"], "quarterdeck", clients, "rate_hz")
        ratio(
            f"submissions/s, {clients} clients, times Warden's", wanted, mine,
            figure(SUBMIT["cold"], "warden", clients, "rate_hz"),
        )  # fmt: skip
    for what in (DRAIN, BUSY_DRAIN):
        clients = 8 if what == BUSY_DRAIN else 0
        ratio(
            f"{what}, times Warden's", 10, figure(what, "quarterdeck", clients, "rate_hz"),
            figure(what, "warden", clients, "rate_hz"),
        )  # fmt: skip
    ratio(
        f"{LATENCY}, p50, part of Warden's", 1 / 50, figure(LATENCY, "quarterdeck", 1, "p50_ms"),
        figure(LATENCY, "warden", 1, "p50_ms"), "at most",
    )  # fmt: skip
    for kind in SUBMIT:
        for clients in CLIENTS:
            p99 = figure(SUBMIT[kind], "quarterdeck", clients, "p99_ms")
            ratio(f"{SUBMIT[kind]}, {clients} clients, p99 ms", 50, p99, 1.0, "at most")
    for verb, clients in (("submit", 8), ("status", 8), ("drain", 0)):
        many, few = (figure(f"{verb}, {n:,} queued", "quarterdeck", clients, "server_cpu_ms") for n in (deep, 1000))
        ratio(f"{verb}: cost with {deep:,} queued, times that with 1,000", 1.3, many, few, "at most")
    return found
