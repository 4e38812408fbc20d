"""An emulated controller in a process of its own, against a host that runs: sampled volumes, every answer checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from quarterdeck_realtime import _hot
from quarterdeck_realtime.closed_loop import NO_REACTION
from quarterdeck_realtime.codes import Experiment
from quarterdeck_realtime.control import Control
from quarterdeck_realtime.profiles import Profile

__all__ = ["Drive", "drive"]


class Drive(msgspec.Struct, frozen=True):
    """What the controller saw; times in us, from the last round published to the answer seen."""

    shots: int
    p50_us: float
    p99_us: float
    p999_us: float
    misses: int
    told_late: int
    differ: int  # from PyMatching
    logical_errors: int
    logical_errors_pymatching: int
    lost: int
    failed: int
    epochs: int  # changes of the decoder that the answers showed
    warnings: list[str]


def drive(
    socket: Path,
    qubit: str,
    experiment: Experiment,
    profile: Profile,
    shots: int,
    *,
    seed: int = 1,
    warm_shots: int = 0,
    core: int = -1,
    fifo: int = 0,
    **pace: Any,
) -> Drive:
    """Publish `shots` volumes of an experiment to a qubit of the host at `socket`, at the profile's cadence.

    The qubit must be seated for the same circuit. `pace`: what else `_hot.Controller` takes. Raises ValueError for a
    qubit that the host does not have, OSError where there is no host or another controller holds the rings,
    RuntimeError when answers stay away.
    """
    with Control(socket) as host:
        decoders = {seated.name: seated.decoder for seated in host.qubits()}
        rings = host.rings(qubit)
    sampled = experiment.sample(shots, seed)
    expected, _ = experiment.expected(sampled)
    controller = _hot.Controller(**{**profile.terms, "warm_shots": warm_shots, **pace})
    controller.add(
        rings,
        decoder=decoders[qubit],
        round_bits=experiment.round_bits,
        bits=experiment.frames(sampled),
        observables=max(1, len(experiment.readouts)),
        expected=expected,
        actual=sampled.observables,
    )
    warnings = controller.run(_hot.Wishes(core=core, fifo=fifo))
    tally = controller.tally(0)
    reactions = tally["reaction_ns"][warm_shots:]
    reactions = reactions[reactions != NO_REACTION] / 1e3
    found = np.quantile(reactions, (0.5, 0.99, 0.999)) if len(reactions) else np.zeros(3)
    p50, p99, p999 = (float(value) for value in found)
    return Drive(
        shots=tally["shots"],
        p50_us=p50,
        p99_us=p99,
        p999_us=p999,
        misses=tally["misses"],
        told_late=tally["told_late"],
        differ=tally["differ"],
        logical_errors=tally["logical_errors"],
        logical_errors_pymatching=int((expected != sampled.observables).sum()),
        lost=tally["lost"],
        failed=tally["failed"],
        epochs=tally["epochs"],
        warnings=warnings,
    )
