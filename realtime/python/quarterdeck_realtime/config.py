"""Configurations of decoding servers: the YAML files of CUDA-Q QEC.

A file names decoders by their matrices: `H_sparse` (detectors x errors), `O_sparse` (observables x errors) and
`D_sparse` (detectors x measurements), each a flat list of the columns of its ones, row after row, each row closed by
-1. Files with `dem_chunks` instead, and decoders for which no graph can be made, are refused with a sentence.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
import numpy as np
import pymatching
import scipy.sparse

from quarterdeck_realtime._hot import Compiled, Detectors, Matching, Model

__all__ = ["DecoderConfig", "ServerConfig", "TransportConfig", "read_config", "rows_of"]

# CUDA-Q's names of decoders that compute what our matching computes, and our own name.
MATCHING = {"pymatching", "matching"}


class TransportConfig(msgspec.Struct, frozen=True):
    """Where requests come from: `udp` or `ring` here."""

    provider: str = "udp"
    args: Any = None
    device_graph: Any = None


class DecoderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One decoder. `num_measurements` is ours: `D_sparse` cannot tell of trailing measurements in no detector."""

    id: int
    type: str
    block_size: int
    syndrome_size: int
    H_sparse: list[int] = []
    O_sparse: list[int] = []
    D_sparse: list[int] = []
    dispatch: str = "host"
    cuda_device_id: int | None = None
    decoder_custom_args: dict[str, Any] = {}
    dem_chunks: Any = None
    num_measurements: int | None = None

    @property
    def observables(self) -> int:
        """Bits of `get_corrections`."""
        return len(self._rows("O_sparse", self.O_sparse, self.block_size))

    def detectors(self) -> Detectors:
        """The D matrix, compiled; without one every measurement is a detector."""
        rows = rows_of(self.D_sparse) if self.D_sparse else [[i] for i in range(self.syndrome_size)]
        if len(rows) != self.syndrome_size:
            raise self._wrong(f"D_sparse has {len(rows)} rows for a syndrome_size of {self.syndrome_size}")
        measurements = self.num_measurements or 1 + max((max(row, default=-1) for row in rows), default=-1)
        return Detectors(measurements, rows)

    def model(self) -> Model:
        """The matching graph of H, O and the error rates."""
        if self.dem_chunks is not None:
            raise self._wrong("dem_chunks cannot be read yet; write its H_sparse, O_sparse and D_sparse")
        flips = _matrix(self._rows("H_sparse", self.H_sparse, self.block_size), self.block_size)
        logicals = _matrix(self._rows("O_sparse", self.O_sparse, self.block_size), self.block_size)
        if flips.shape[0] != self.syndrome_size:
            raise self._wrong(f"H_sparse has {flips.shape[0]} rows for a syndrome_size of {self.syndrome_size}")
        degrees = np.asarray(flips.sum(axis=0)).ravel()
        if degrees.max(initial=0) > 2:
            raise self._wrong(
                f"error {int(degrees.argmax())} flips {int(degrees.max())} detectors, so there is no matching graph: "
                "use the matrices of a decomposed detector error model"
            )
        rates = np.asarray(self.decoder_custom_args.get("error_rate_vec", [0.01] * self.block_size), dtype=np.float64)
        if rates.shape != (self.block_size,) or not ((rates > 0) & (rates <= 0.5)).all():
            raise self._wrong(f"error_rate_vec needs {self.block_size} rates above 0 and up to 1/2")
        used = np.flatnonzero(degrees)  # an error that no detector sees cannot be decoded
        graph = pymatching.Matching.from_check_matrix(
            flips[:, used],
            weights=np.log((1 - rates[used]) / rates[used]),
            error_probabilities=rates[used],
            faults_matrix=logicals[:, used],
            merge_strategy=str(self.decoder_custom_args.get("merge_strategy", "smallest-weight")).replace("_", "-"),
        )
        model = Model()
        model.detectors, model.observables = self.syndrome_size, logicals.shape[0]
        edges: Any = graph.edges()
        for u, v, data in edges:
            mask = sum(1 << observable for observable in data["fault_ids"])
            first, second = (v, u) if u is None or u >= self.syndrome_size else (u, v)
            boundary = second is None or second >= self.syndrome_size
            model.add(first, -1 if boundary else second, data["weight"], mask)
        model.check()
        return model

    def compiled(self) -> Compiled:
        """The decoder. Raises ValueError for a type that cannot run hot here."""
        if self.type not in MATCHING:
            raise self._wrong(
                f"type {self.type} cannot run on the hot path; those that can are {', '.join(sorted(MATCHING))} "
                "(both are Quarterdeck's exact matching)"
            )
        if self.dispatch != "host":
            raise self._wrong(f"dispatch {self.dispatch} needs a GPU path that this server does not have; use host")
        return Matching(self.model())

    def _rows(self, name: str, flat: list[int], columns: int) -> list[list[int]]:
        rows = rows_of(flat)
        if any(not 0 <= column < columns for row in rows for column in row):
            raise self._wrong(f"{name} names columns beyond the block_size of {columns}")
        return rows

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"Decoder {self.id}: {what}.")


class ServerConfig(msgspec.Struct, frozen=True):
    """A configuration file."""

    decoders: list[DecoderConfig]
    transport: TransportConfig | None = None


def rows_of(flat: list[int]) -> list[list[int]]:
    """Rows of a sparse matrix from its flat form. Raises ValueError if the last row is not closed by -1."""
    rows: list[list[int]] = []
    row: list[int] = []
    for column in flat:
        if column == -1:
            rows.append(row)
            row = []
        else:
            row.append(column)
    if row:
        raise ValueError("The last row of a sparse matrix is not closed by -1.")
    return rows


def _matrix(rows: list[list[int]], columns: int) -> scipy.sparse.csc_matrix:
    matrix = scipy.sparse.lil_matrix((len(rows), columns), dtype=np.uint8)
    for number, row in enumerate(rows):
        matrix[number, row] = 1
    return matrix.tocsc()


def read_config(path: str | os.PathLike[str]) -> ServerConfig:
    """Read a file. Raises OSError, and ValueError (msgspec.ValidationError for wrong types) for what it cannot mean."""
    with open(path, "rb") as file:
        config = msgspec.yaml.decode(file.read(), type=ServerConfig)
    ids = [decoder.id for decoder in config.decoders]
    if not ids:
        raise ValueError(f"{os.fspath(path)} has no decoders.")
    if len(set(ids)) != len(ids):
        raise ValueError(f"{os.fspath(path)} has two decoders with the same id.")
    return config
