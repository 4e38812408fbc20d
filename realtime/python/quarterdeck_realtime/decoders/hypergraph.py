"""Stim's detector error models as mechanisms of any number of detectors: what `relay` decodes."""

from __future__ import annotations

import stim

from quarterdeck_realtime._hot import Mechanisms
from quarterdeck_realtime.decoders.matrices import mechanisms_of

__all__ = ["Mechanisms", "hypergraph_of"]


def hypergraph_of(dem: stim.DetectorErrorModel) -> Mechanisms:
    """All mechanisms of a detector error model, those with the same flips merged and decomposed ones put together.

    Those that never happen, or fire no detector, are left out. Raises ValueError for more than 64 observables, for
    probabilities above 1/2, and where nothing is left.
    """
    if dem.num_observables > 64:
        raise ValueError(f"decoders here have at most 64 observables, and the model {dem.num_observables}")
    found = mechanisms_of(dem)
    model = Mechanisms()
    model.detectors, model.observables = found.detectors, found.observables
    for flips, logicals, p in zip(found.flips, found.logicals, found.probabilities, strict=True):
        if p > 0:
            model.add(float(p), list(flips), sum(1 << observable for observable in logicals))
    model.check()
    return model
