"""The decoder `gpu-bp`: belief propagation for many shots or patches at once, on a GPU or (as tested) in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import stim

from quarterdeck_realtime.decoders.matrices import mechanisms_of
from quarterdeck_realtime.decoders.own import Decoded
from quarterdeck_realtime.decoders.protocol import Bools, checked
from quarterdeck_realtime.gpu.arrays import array_module
from quarterdeck_realtime.gpu.graph import graph_of
from quarterdeck_realtime.gpu.min_sum import MinSum

__all__ = ["BeliefPropagation", "gpu_bp"]


class BeliefPropagation:
    """One detector error model; shots of many patches of it may lie in one batch. `device` says where it runs."""

    def __init__(self, dem: stim.DetectorErrorModel, device: str, batch: int, **settings: Any) -> None:
        if batch < 1:
            raise ValueError(f"a batch has at least 1 shot, not {batch}")
        self.detectors = dem.num_detectors
        self.observables = dem.num_observables
        self._xp = array_module(device)
        self.device = "cpu" if self._xp is np else "gpu"
        self._batch = batch
        self._graph = graph_of(mechanisms_of(dem))
        self._min_sum = MinSum(self._xp, self._graph, **settings)
        bits = np.arange(self.observables, dtype=np.uint64)[:, None]
        # In float32, whose matrix products are fast and exact up to 2^24 errors in a shot.
        self._logicals = self._xp.asarray((self._graph.flips >> bits & np.uint64(1)).astype(np.float32))
        self._prior = self._xp.asarray(self._graph.prior.astype(np.float32))

    def decode_batch(self, events: Bools) -> Bools:
        """As BatchDecoder says. A shot that did not converge (see `decode`) flips nothing."""
        return self.decode(events).observables

    def decode(self, events: Bools) -> Decoded:
        """Decode detection events (shots, detectors). Shots fail that did not converge; their weight is infinite."""
        rows = checked(events, self.detectors)
        flips = np.zeros((len(rows), self.observables), dtype=np.bool_)
        weights = np.full(len(rows), np.inf)
        failed = np.ones(len(rows), dtype=np.bool_)
        for start in range(0, len(rows), self._batch):
            part = slice(start, start + self._batch)
            found = self._min_sum.run(self._xp.asarray(np.ascontiguousarray(rows[part].T)))
            errors = found.errors.astype(np.float32)
            converged = self._host(found.converged)
            failed[part] = ~converged
            flips[part] = self._host((self._logicals @ errors) % 2 == 1).T & converged[:, None]
            weights[part] = np.where(converged, self._host(self._prior @ errors), np.inf)
        return Decoded(observables=flips, weights=weights, failed=failed)

    def _host(self, array: Any) -> Any:
        return array if self._xp is np else self._xp.asnumpy(array)


def gpu_bp(
    dem: stim.DetectorErrorModel,
    *,
    iterations: int = 60,
    scaling: float = 0.0,
    memory: float = 0.125,
    device: str = "auto",
    batch: int = 1024,
) -> BeliefPropagation:
    """Min-sum belief propagation of `batch` shots at once: for qLDPC codes, a first stage.

    `scaling` and `memory` are as MinSum has them; with these defaults far more shots converge than without memory.
    `device` is 'gpu' (CuPy), 'cpu' (numpy), or 'auto': a GPU if there is one. What does not converge has no answer.
    """
    return BeliefPropagation(dem, device, batch, iterations=iterations, scaling=scaling, memory=memory)
