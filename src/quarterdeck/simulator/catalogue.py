"""Workloads by name or by file."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from quarterdeck.errors import Invalid
from quarterdeck.simulator.facility import Facility
from quarterdeck.simulator.qstone import qstone, read_config
from quarterdeck.simulator.recorded import entries, recorded
from quarterdeck.simulator.study import Study
from quarterdeck.simulator.swf import decorate, read_trace
from quarterdeck.simulator.workload import Workload


def _study(modality: str, **settings: Any) -> Workload:
    return Study(modality=modality, **settings).workload()  # type: ignore[arg-type]


def _facility(scale: float, **settings: Any) -> Workload:
    return Facility(scale=scale, **settings).workload()


def _qstone(**settings: Any) -> Workload:
    return qstone(read_config(), **settings)


WORKLOADS: dict[str, Callable[..., Workload]] = {
    "study-na": partial(_study, "na"),
    "study-sc": partial(_study, "sc", load=0.85),
    "facility": partial(_facility, 1.0),
    "facility-x10": partial(_facility, 10.0),
    "facility-x100": partial(_facility, 100.0),
    "qstone": _qstone,
}
"""What is shipped. Each takes a `seed` and the settings of its maker."""


def load_workload(name: str, seed: int = 0, **settings: Any) -> Workload:
    """A shipped workload, or one from a file. Raises `Invalid`.

    A file is a trace (`.swf`, `.swf.gz`), a QStone configuration (`.json` with `users`), or otherwise a log of this
    daemon (lines of `qdeck events --json`, or its store). `settings` go to `Study`, `Facility`, `qstone`, `decorate` or
    `recorded`.
    """
    try:
        if name in WORKLOADS:
            return WORKLOADS[name](seed=seed, **settings)
        if not Path(name).is_file():
            raise Invalid(name, f"is neither a file nor one of {', '.join(WORKLOADS)}")
        if name.endswith((".swf", ".swf.gz")):
            return decorate(read_trace(name), seed=seed, **settings)
        if name.endswith(".json") and _is_qstone(name):
            return qstone(read_config(name), seed=seed, **settings)
        return recorded((event for _, event in entries(name)), name=Path(name).name, **settings)
    except TypeError as error:
        raise Invalid(name, f"does not take these settings: {error}") from None


def _is_qstone(name: str) -> bool:
    try:
        told = json.loads(Path(name).read_bytes())
    except ValueError:
        return False
    return isinstance(told, dict) and "users" in told
