"""Decoder configurations of CUDA-Q QEC (`cudaq-qec`), read into Quarterdeck's decoders.

The file is the one that its decoding server takes: `decoders`, each with sparse matrices as lists of column indices
whose rows are closed by -1, and a type with arguments of its own. Decoders for GPUs are replaced by the nearest one on
a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import stim

from quarterdeck_realtime.decoders.cudaq_types import ARGUMENTS, TYPES, Choice
from quarterdeck_realtime.decoders.located import ConfigError, Located, parse
from quarterdeck_realtime.decoders.matrices import Mechanisms, dem_of
from quarterdeck_realtime.decoders.protocol import BatchDecoder
from quarterdeck_realtime.decoders.registry import decoder

__all__ = ["ConfigError", "CudaqDecoder", "read_cudaq"]

Row = tuple[int, ...]


class CudaqDecoder(msgspec.Struct, frozen=True):
    """One decoder of a file, and what stands in for it here.

    `measurements` are the rows of D: the measurements whose parity is each detector. `ignored` are arguments that mean
    nothing to `name`, such as those of a GPU.
    """

    id: int
    type: str
    dem: stim.DetectorErrorModel
    measurements: list[Row]
    name: str
    settings: dict[str, Any]
    ignored: list[str]

    def build(self) -> BatchDecoder:
        """Make the decoder; raises what `decoder` raises."""
        return decoder(self.name, self.dem, **self.settings)


def read_cudaq(path: Path) -> list[CudaqDecoder]:
    """Read a file. Raises ConfigError, which names the line, and OSError."""
    top = parse(path.read_text(encoding="utf-8"), path.name).fields(["decoders"], ["transport"])
    decoders: list[CudaqDecoder] = []
    for entry in top["decoders"].items():
        one = _read(entry, path.parent)
        if any(other.id == one.id for other in decoders):
            entry.refuse(f"has the id {one.id}, which another decoder has, too")
        decoders.append(one)
    if not decoders:
        top["decoders"].refuse("is empty: a server needs a decoder")
    return decoders


def _read(entry: Located, folder: Path) -> CudaqDecoder:
    fields = entry.fields(
        ["id", "type", "D_sparse"],
        [
            *("block_size", "syndrome_size", "H_sparse", "O_sparse", "error_rate_vec", "stim_dem_path"),
            *("decoder_custom_args", "dispatch", "cuda_device_id", "transport", "dem_chunks"),
        ],
    )
    if "dem_chunks" in fields:
        fields["dem_chunks"].refuse("cannot be read: export the decoder with the flat H_sparse, O_sparse and D_sparse")
    kind = fields["type"].text()
    choose = TYPES.get(kind)
    if choose is None:
        fields["type"].refuse(f"is '{kind}', which has no counterpart here: there are {', '.join(sorted(TYPES))}")
    arguments = fields["decoder_custom_args"].fields([], ARGUMENTS) if "decoder_custom_args" in fields else {}
    choice = choose(fields["type"], arguments)
    ignored = sorted(arguments.keys() - choice.used - {"error_rate", "error_rate_vec"})
    if "stim_dem_path" in fields:
        dem = _dem(fields["stim_dem_path"], folder)
    else:
        for name in ("block_size", "syndrome_size", "H_sparse", "O_sparse"):
            if name not in fields:
                entry.refuse(f"lacks {name} (or stim_dem_path)")
        dem = _matrices(fields, arguments, choice)
    measurements = [tuple(sorted(row)) for row in _rows(fields["D_sparse"], None)]
    if len(measurements) != dem.num_detectors:
        fields["D_sparse"].refuse(f"has {len(measurements)} rows for {dem.num_detectors} detectors")
    return CudaqDecoder(
        id=fields["id"].integer(),
        type=kind,
        dem=dem,
        measurements=measurements,
        name=choice.name,
        settings=choice.settings,
        ignored=ignored,
    )


def _dem(place: Located, folder: Path) -> stim.DetectorErrorModel:
    try:
        return stim.DetectorErrorModel.from_file(folder / place.text())
    except (OSError, ValueError) as error:
        place.refuse(f"cannot be read: {error}")


def _rows(matrix: Located, columns: int | None) -> list[list[int]]:
    """The rows of a sparse matrix, each closed by -1."""
    rows: list[list[int]] = [[]]
    for item in matrix.items():
        column = item.integer(-1)
        if column == -1:
            rows.append([])
        elif columns is not None and column >= columns:
            item.refuse(f"is column {column} of {columns} (in row {len(rows) - 1})")
        elif column in rows[-1]:
            item.refuse(f"repeats column {column} (in row {len(rows) - 1})")
        else:
            rows[-1].append(column)
    if rows.pop():
        matrix.refuse("does not end with -1: each row is closed by it")
    return rows


def _matrices(
    fields: Mapping[str, Located], arguments: Mapping[str, Located], choice: Choice
) -> stim.DetectorErrorModel:
    columns, detectors = fields["block_size"].integer(1), fields["syndrome_size"].integer(1)
    checks, logicals = _rows(fields["H_sparse"], columns), _rows(fields["O_sparse"], columns)
    if len(checks) != detectors:
        fields["H_sparse"].refuse(f"has {len(checks)} rows, and syndrome_size is {detectors}")
    mechanisms = Mechanisms(
        detectors=detectors,
        observables=len(logicals),
        flips=_transposed(checks, columns),
        logicals=_transposed(logicals, columns),
        probabilities=_rates(fields, arguments, columns),
    )
    width = choice.layer_width
    layers = [v // width for v in range(detectors)] if width else []
    return dem_of(_merged(mechanisms, choice.merge, fields["H_sparse"]) if choice.merge else mechanisms, layers)


def _transposed(rows: list[list[int]], columns: int) -> list[Row]:
    flips: list[list[int]] = [[] for _ in range(columns)]
    for number, row in enumerate(rows):
        for column in row:
            flips[column].append(number)
    return [tuple(column) for column in flips]


def _rates(fields: Mapping[str, Located], arguments: Mapping[str, Located], columns: int) -> np.ndarray[Any, Any]:
    """The probability of each column: equal ones if the file has none."""
    given = arguments.get("error_rate_vec") or fields.get("error_rate_vec")
    if given is None:
        single = arguments.get("error_rate")
        return np.full(columns, 0.01 if single is None else _rate(single))
    rates = [_rate(item) for item in given.items()]
    if len(rates) != columns:
        given.refuse(f"has {len(rates)} rates for block_size {columns}")
    return np.array(rates)


def _rate(item: Located) -> float:
    rate = item.real()
    if not 0 <= rate <= 0.5:
        item.refuse(f"is {rate}: error rates are from 0 to 0.5")
    return rate


def _merged(mechanisms: Mechanisms, strategy: str, place: Located) -> Mechanisms:
    """Columns with the same detectors, made one as PyMatching's strategies do it."""
    kept: dict[Row, tuple[Row, float]] = {}
    for number, (flips, logicals, rate) in enumerate(
        zip(mechanisms.flips, mechanisms.logicals, mechanisms.probabilities, strict=True)
    ):
        p = float(rate)
        if flips not in kept or strategy == "replace":
            kept[flips] = (logicals, p)
        elif strategy == "smallest_weight":
            kept[flips] = max(kept[flips], (logicals, p), key=lambda each: each[1])
        elif strategy == "independent":
            before = kept[flips][1]
            kept[flips] = (kept[flips][0], before * (1 - p) + p * (1 - before))
        elif strategy == "disallow" and flips:
            place.refuse(
                f"has several columns with the detectors {list(flips)}, such as {number}: name a merge_strategy"
            )
    return Mechanisms(
        detectors=mechanisms.detectors,
        observables=mechanisms.observables,
        flips=list(kept),
        logicals=[logicals for logicals, _ in kept.values()],
        probabilities=np.array([p for _, p in kept.values()]),
    )
