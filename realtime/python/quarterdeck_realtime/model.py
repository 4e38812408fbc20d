"""Matching graphs of Stim's detector error models."""

from __future__ import annotations

import pymatching
import stim

from quarterdeck_realtime._hot import Model

__all__ = ["Model", "model_of"]


def model_of(dem: stim.DetectorErrorModel) -> Model:
    """The matching graph of a detector error model, with parallel mechanisms merged as PyMatching merges them.

    A detector's layer is its last coordinate, the convention of Stim's generated circuits; without coordinates the
    model has no layers. Raises ValueError for mechanisms that no graph can hold: decompose them first
    (`circuit.detector_error_model(decompose_errors=True)`).
    """
    model = Model()
    model.detectors, model.observables = dem.num_detectors, dem.num_observables
    graph = pymatching.Matching.from_detector_error_model(dem)
    for u, v, data in graph.edges():
        mask = sum(1 << observable for observable in data["fault_ids"])
        first, second = (v, u) if u is None else (u, v)
        model.add(first, -1 if second is None else second, data["weight"], mask)
    coordinates = dem.get_detector_coordinates()
    if dem.num_detectors and all(coordinates.get(detector) for detector in range(dem.num_detectors)):
        model.layer = [round(coordinates[detector][-1]) for detector in range(dem.num_detectors)]
    model.check()
    return model
