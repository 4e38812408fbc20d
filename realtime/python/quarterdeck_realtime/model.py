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
    (`circuit.detector_error_model(decompose_errors=True)`), or decode them with `relay`.
    """
    _refuse_hyperedges(dem)
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


def _refuse_hyperedges(dem: stim.DetectorErrorModel) -> None:
    """PyMatching leaves them out without a word."""
    for error in dem.flattened():
        if error.type != "error" or not error.args_copy()[0]:
            continue
        for part in error.target_groups():
            fired = [target.val for target in part if target.is_relative_detector_id()]
            if len(fired) > 2:
                raise ValueError(
                    f"the error {error} fires {len(fired)} detectors at once, and matching takes two: decompose the "
                    "model's errors (decompose_errors=True), or take the decoder relay"
                )
