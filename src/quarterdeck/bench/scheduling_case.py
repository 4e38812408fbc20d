"""One case of the scheduling study: the policies and the variants of the workload by name, and its figures."""

from __future__ import annotations

import time
from statistics import fmean
from typing import Any, Literal

from msgspec.structs import replace

from quarterdeck.bench.scheduling_aims import GAMES
from quarterdeck.bench.scheduling_results import Case, Outcome
from quarterdeck.core.policy import make_policy
from quarterdeck.simulator.facility import Facility
from quarterdeck.simulator.metrics import SHARE_WINDOW_S, TAU_S, Figures, measure, slowdown
from quarterdeck.simulator.record import Record
from quarterdeck.simulator.run import simulate
from quarterdeck.simulator.study import MODALITIES, Study


def weights(production: float, test: float, development: float) -> dict[str, float]:
    return {"weight_production": production, "weight_test": test, "weight_development": development}


NO_SHARES = {"share_production": 0.0, "share_test": 0.0, "share_development": 0.0, "share_aged": 0.0}
POLICIES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain fifo": ("fifo", {"slices": False, "backfill": False}),
    "fifo": ("fifo", {}),
    "hrrn": ("hrrn", {}),
    "sjf": ("sjf", {}),
    "priority": ("priority", {}),
    "fairshare": ("fairshare", {}),
    "deck 1:1:1": ("deck", weights(1, 1, 1)),
    "deck": ("deck", {}),
    "deck 4:2:1": ("deck", weights(4, 2, 1)),
    "deck 8:3:1": ("deck", weights(8, 3, 1)),
    "strict/deck": ("deck", weights(1e6, 1e3, 1) | NO_SHARES),
}
"""By the name in the tables: the policy, and its settings beyond the usual ones.

`plain fifo` runs whole tasks, and waits when the first does not fit before the next window: what others ship. All else
has slices and backfill. `strict/deck` is class order, and deck's score within a class.
"""

ABLATIONS: dict[str, dict[str, Any]] = {
    "not short first": {"short_first": 0.0},
    "not fresh first": {"fresh_first": 0.0},
    "waiting counts not": {"slowdown": 0.01},
    "no fair share": {"fair": 0.0},
    "no guaranteed shares": NO_SHARES,
    "sticky 1.0": {"sticky": 1.0},
    "no set-up runs": {"setup_run_s": 0.0},
    "unbounded set-up runs": {"setup_run_s": 1e9, "setup_edge": 10.0},
    "whole tasks": {"slices": False},
    "no backfill": {"backfill": False},
    "neither slices nor backfill": {"slices": False, "backfill": False},
    "longer slices (3 % overhead)": {"slice_overhead": 0.003},
    "shorter slices (3 %)": {"slice_overhead": 0.03},
}
"""What `deck, CHANGE` changes in `deck`."""
VARIANTS: dict[str, dict[str, Any]] = {
    "": {},
    "sizes alike": {"sigma": 0.0},
    "sizes nearly alike": {"sigma": 0.5},
    "estimate error doubled": {"error": 0.6},
    "honest": {},
    GAMES[0]: {"cheat": "declare"},
    GAMES[1]: {"cheat": "reopen"},
    GAMES[2]: {"cheat": "relabel"},
}
"""What a variant changes in the workload, by name."""
MODALITY: dict[str, Literal["sc", "na"]] = {"superconducting": "sc", "neutral-atom": "na"}
CHEATER = "p0u0"
ROUNDS_PER_JOB = 13.25  # .2 (20..60) + .3 (5..20) + .5 (1..5)
DAY_OF_A_JOB = ROUNDS_PER_JOB / 2000
"""Of a facility's day of 2,000 tasks, what a job is."""
ETA_EVERY = {"superconducting": 60, "neutral-atom": 30, "centre": 300}
"""Every so many-th task is asked for its estimate; none in overload, where the queue has no end to look for."""


def policy_of(name: str) -> tuple[str, dict[str, Any]]:
    """Policy and settings behind a name in the tables. Raises `KeyError`."""
    base, comma, change = name.partition(", ")
    policy, settings = POLICIES[base]
    return policy, (settings | ABLATIONS[change]) if comma else settings


def outcome(case: Case) -> Outcome:
    """Run a case."""
    began_s = time.monotonic()
    record = simulated(case)
    shape = case.setting.shape if case.setting.shape in TAU_S else "superconducting"
    found = measure(record, tau_s=TAU_S[shape], share_window_s=SHARE_WINDOW_S[shape])
    figures = flat(found) | ({"cheater": cheater(record, TAU_S[shape])} if case.setting.part == "gaming" else {})
    return Outcome(case=case, figures=figures, wall_s=time.monotonic() - began_s)


def flat(found: Figures) -> dict[str, float]:
    """The figures by name; those that a run does not have are left out."""
    told: dict[str, float | None] = {
        f"{what} {name}": value
        for name, of in found.classes.items()
        for what, value in (("p50", of.p50), ("p95", of.p95), ("p99", of.p99), ("delay", of.delay_s))
    }
    told |= found.utilisation
    told |= {
        "capacity": found.capacity, "jain": found.jain, "share_ratio": found.share_ratio,
        "share_distance": found.share_distance, "eta": found.eta_error, "eta_p90": found.eta_error_p90,
        "redone": found.redone, "unfinished": float(found.unfinished), "makespan_s": found.makespan_s,
        "node_wait_s": found.node_wait_s,
    }  # fmt: skip
    return {name: value for name, value in told.items() if value is not None}


def cheater(record: Record, tau_s: float) -> float:
    """Mean bounded slowdown of the user who cheats, or would."""
    return fmean(slowdown(job, tau_s) for job in record.jobs if job.user == CHEATER)


def study(case: Case) -> tuple[Study, float | None]:
    """The workload of a case, and when its run ends (None: with its last job).

    A saturated one (load 0) has so many sessions at any time, and ends when the device could have done the work of
    `case.jobs` jobs.
    """
    setting = case.setting
    modality = MODALITIES[MODALITY[setting.shape]]
    plain = Study(modality=MODALITY[setting.shape], jobs=case.jobs, seed=case.seed, load=setting.load or 1.0)
    if setting.load:
        return replace(plain, **VARIANTS[setting.variant]), None
    until_s = case.jobs * ROUNDS_PER_JOB * modality.quantum_s / 0.9
    if setting.part == "sharing":
        ratio, access = setting.variant.removeprefix("c/q ").split(", ")
        think_s = float(ratio) * modality.quantum_s
        return replace(plain, think_s=think_s, mode=access, population=8 if access == "exclusive" else 48), until_s
    return replace(plain, population=int(setting.variant.split()[0])), until_s


def simulated(case: Case) -> Record:
    """The run of a case. Which device seconds are whose is kept for unsaturated ones only."""
    name, settings = policy_of(case.setting.policy)
    if case.setting.part == "centre":
        workload, until_s = Facility(scale=case.jobs * DAY_OF_A_JOB, days=1, seed=case.seed).workload(), None
    else:
        chosen, until_s = study(case)
        workload = chosen.workload()
    return simulate(
        workload, lambda: make_policy(name, settings), seed=case.seed, until_s=until_s,
        slices=until_s is None, eta_every=ETA_EVERY[case.setting.shape] if case.setting.load <= 1.0 else 0,
    )  # fmt: skip
