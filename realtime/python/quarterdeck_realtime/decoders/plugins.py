"""Decoders of other makers behind the same protocol: slower, from Python, and for codes that matching cannot decode.

None is installed with Quarterdeck but PyMatching; `pip install 'quarterdeck-realtime[plugins]'` brings the others.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pymatching
import stim

from quarterdeck_realtime.decoders.matrices import mechanisms_of
from quarterdeck_realtime.decoders.protocol import Bools, MissingPackage, checked

__all__ = ["bp_lsd", "bp_osd", "py_matching", "relay_bp", "tesseract"]


def _package(name: str, decoder: str, install: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackage(
            f"the decoder '{decoder}' needs the package {install}: pip install '{install}' ({error})"
        ) from error


class _Plugin:
    """Common to plug-ins: shapes."""

    def __init__(self, dem: stim.DetectorErrorModel) -> None:
        self.detectors = dem.num_detectors
        self.observables = dem.num_observables

    def decode_batch(self, events: Bools) -> Bools:
        rows = checked(events, self.detectors)
        flips = np.zeros((len(rows), self.observables), dtype=np.bool_)
        if len(rows) and self.observables:
            flips[:] = self._decode(rows)
        return flips

    def _decode(self, rows: Bools) -> Any:
        raise NotImplementedError


class _PyMatching(_Plugin):
    def __init__(self, dem: stim.DetectorErrorModel, correlations: bool) -> None:
        super().__init__(dem)
        self._correlations = correlations
        self._matching = pymatching.Matching.from_detector_error_model(dem, enable_correlations=correlations)

    def _decode(self, rows: Bools) -> Any:
        flips = self._matching.decode_batch(rows, enable_correlations=self._correlations)
        return flips[:, : self.observables]


def py_matching(dem: stim.DetectorErrorModel, *, correlations: bool = False) -> _PyMatching:
    """PyMatching's sparse blossom; with `correlations` in two passes."""
    return _PyMatching(dem, correlations)


class _RelayBp(_Plugin):
    def __init__(self, dem: stim.DetectorErrorModel, settings: dict[str, Any], parallel: bool) -> None:
        super().__init__(dem)
        package = _package("relay_bp", "relay-bp", "relay-bp")
        sparse = importlib.import_module("scipy.sparse")  # slow to import
        mechanisms = mechanisms_of(dem)
        decoder = package.RelayDecoderF64(
            sparse.csr_matrix(mechanisms.checks()), error_priors=mechanisms.probabilities, **settings
        )
        logicals = sparse.csr_matrix(mechanisms.logical_matrix())
        self._runner = package.ObservableDecoderRunner(decoder, logicals, include_decode_result=False)
        self._parallel = parallel

    def _decode(self, rows: Bools) -> Any:
        return self._runner.decode_observables_batch(rows.astype(np.uint8), parallel=self._parallel, progress_bar=False)


def relay_bp(
    dem: stim.DetectorErrorModel,
    *,
    gamma0: float = 0.1,
    pre_iter: int = 80,
    num_sets: int = 60,
    set_max_iter: int = 60,
    gamma_dist_interval: tuple[float, float] = (-0.24, 0.66),
    stop_nconv: int = 1,
    stopping_criterion: str = "nconv",
    seed: int = 0,
    parallel: bool = False,
) -> _RelayBp:
    """Relay-BP: belief propagation in relays with disordered memory, for qLDPC codes (settings as in its package)."""
    settings = {
        "gamma0": gamma0,
        "pre_iter": pre_iter,
        "num_sets": num_sets,
        "set_max_iter": set_max_iter,
        "gamma_dist_interval": tuple(gamma_dist_interval),
        "stop_nconv": stop_nconv,
        "stopping_criterion": stopping_criterion,
        "seed": seed,
    }
    return _RelayBp(dem, settings, parallel)


class _Ldpc(_Plugin):
    """Decodes shot by shot."""

    def __init__(self, dem: stim.DetectorErrorModel, kind: str, name: str, settings: dict[str, Any]) -> None:
        super().__init__(dem)
        package = _package("ldpc", name, "ldpc")
        sparse = importlib.import_module("scipy.sparse")
        mechanisms = mechanisms_of(dem)
        self._decoder = getattr(package, kind)(
            sparse.csr_matrix(mechanisms.checks()), error_channel=list(mechanisms.probabilities), **settings
        )
        self._logicals = mechanisms.logical_matrix()

    def _decode(self, rows: Bools) -> Any:
        errors = np.array([self._decoder.decode(row) for row in rows.astype(np.uint8)], dtype=np.int64)
        return errors @ self._logicals.T % 2


def bp_osd(
    dem: stim.DetectorErrorModel,
    *,
    max_iter: int = 30,
    bp_method: str = "minimum_sum",
    ms_scaling_factor: float = 0.625,
    osd_method: str = "OSD_CS",
    osd_order: int = 4,
) -> _Ldpc:
    """Belief propagation with ordered statistics, from the package ldpc."""
    settings = {
        "max_iter": max_iter,
        "bp_method": bp_method,
        "ms_scaling_factor": ms_scaling_factor,
        "osd_method": osd_method,
        "osd_order": osd_order,
    }
    return _Ldpc(dem, "BpOsdDecoder", "bp-osd", settings)


def bp_lsd(
    dem: stim.DetectorErrorModel,
    *,
    max_iter: int = 30,
    bp_method: str = "minimum_sum",
    ms_scaling_factor: float = 0.625,
    lsd_method: str = "LSD_0",
    lsd_order: int = 0,
) -> _Ldpc:
    """Belief propagation with localised statistics, from the package ldpc."""
    settings = {
        "max_iter": max_iter,
        "bp_method": bp_method,
        "ms_scaling_factor": ms_scaling_factor,
        "lsd_method": lsd_method,
        "lsd_order": lsd_order,
    }
    return _Ldpc(dem, "BpLsdDecoder", "bp-lsd", settings)


class _Tesseract(_Plugin):
    def __init__(self, dem: stim.DetectorErrorModel, settings: dict[str, Any]) -> None:
        super().__init__(dem)
        module = _package("tesseract_decoder.tesseract", "tesseract", "tesseract-decoder")
        self._decoder = module.TesseractConfig(dem=dem, **settings).compile_decoder()

    def _decode(self, rows: Bools) -> Any:
        return self._decoder.decode_batch(rows)


def tesseract(
    dem: stim.DetectorErrorModel,
    *,
    det_beam: int = 5,
    beam_climbing: bool = False,
    pqlimit: int = 200_000,
    det_penalty: float = 0.0,
) -> _Tesseract:
    """Tesseract: a search for the most likely error (settings as in its package)."""
    settings = {"det_beam": det_beam, "beam_climbing": beam_climbing, "pqlimit": pqlimit, "det_penalty": det_penalty}
    return _Tesseract(dem, settings)
