"""Codes to try the host on: circuits of Stim, volumes of raw measurements, and what PyMatching makes of them."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pymatching
import stim

from quarterdeck_realtime import _hot
from quarterdeck_realtime.bicycle import bicycle_circuit
from quarterdeck_realtime.erasure import ErasureModel, erasure_model, with_losses
from quarterdeck_realtime.model import Model

__all__ = [
    "Experiment", "LossyExperiment", "Shots", "StreamShape", "circuit_experiment", "code_circuit", "experiment",
    "lossy_experiment", "read_loss", "stream_plan", "stream_shape",
]  # fmt: skip

Bits = npt.NDArray[np.bool_]
Masks = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

TASKS = {
    "surface": "surface_code:rotated_memory_z",
    "surface-x": "surface_code:rotated_memory_x",
    "repetition": "repetition_code:memory",
    "colour": "color_code:memory_xyz",
}


def code_circuit(code: str, distance: int, rounds: int, p: float, measure: float | None = None) -> stim.Circuit:
    """A memory experiment of Stim's with the same probability `p` on gates, idling data, measurements and resets;
    `measure`: another one for measurements.

    `code` is one of surface, surface-x, repetition, colour, or bicycle, which has phenomenological noise (data and
    measurements). Raises ValueError for others and for distances that there are not (the colour code has odd ones).
    """
    if code == "bicycle":
        return bicycle_circuit(distance, rounds, p, measure)
    if code not in TASKS:
        raise ValueError(f"There is no code {code!r}: use one of {', '.join([*TASKS, 'bicycle'])}.")
    return stim.Circuit.generated(
        TASKS[code],
        distance=distance,
        rounds=rounds,
        after_clifford_depolarization=p,
        before_round_data_depolarization=p,
        before_measure_flip_probability=p if measure is None else measure,
        after_reset_flip_probability=p,
    )


class Shots(msgspec.Struct, frozen=True):
    """Sampled volumes. `lost` marks measurements whose atom was gone; their bits are random."""

    measurements: Bits  # shots x measurements
    detections: Bits  # shots x detectors
    observables: Masks  # shots; bit k: observable k was flipped in truth
    lost: Bits | None = None  # shots x measurements

    def __len__(self) -> int:
        return len(self.measurements)


class Experiment(msgspec.Struct, frozen=True):
    """A memory experiment as the host sees it: rounds of raw measurements, and the detectors that they make."""

    name: str
    circuit: stim.Circuit
    dem: stim.DetectorErrorModel
    round_bits: list[int]  # measurements of each round of a volume
    detectors: list[list[int]]  # rows of the D matrix: the measurements of each detector
    readouts: list[list[int]]  # the measurements of each observable
    heralds: list[list[int]] = []  # for each measurement the edges that are erased where it tells of a loss, or none
    lost: list[list[int]] = []  # for each measurement the edges that are erased where its own atom is lost, or none
    odd: list[int] = []  # detectors that are odd without noise: they fire when they are even

    @property
    def measurements(self) -> int:
        """Of one volume."""
        return sum(self.round_bits)

    def sample(self, shots: int, seed: int, circuit: stim.Circuit | None = None, loss: float = 0.0) -> Shots:
        """`shots` volumes, the same for the same seed and versions of Stim and numpy.

        `circuit`: with other noise than this experiment's, as after a drift. `loss`: the probability that an atom is
        gone when it is measured; its bit is then random.
        """
        source = self.circuit if circuit is None else circuit
        measurements = source.compile_sampler(seed=seed).sample(shots)
        lost = None
        if loss:
            random = np.random.default_rng(seed)
            lost = random.random(measurements.shape) < loss
            measurements = np.where(lost, random.random(measurements.shape) < 0.5, measurements)
        return self._shots(measurements, lost)

    def silenced(self, shots: Shots) -> Shots:
        """The same with 0 for measurements whose atom was lost, as the host takes them."""
        return shots if shots.lost is None else self._shots(shots.measurements & ~shots.lost, shots.lost)

    def _shots(self, measurements: Bits, lost: Bits | None) -> Shots:
        converted = self.circuit.compile_m2d_converter().convert(measurements=measurements, separate_observables=True)
        detections, flips = cast(tuple[Bits, Bits], converted)
        return Shots(measurements, detections[:, : len(self.detectors)], masks(flips), lost)

    def frames(self, shots: Shots) -> Bytes:
        """The measurements as they go into frames: shots x bytes, each round starting at a byte, LSB first."""
        ends = np.cumsum(self.round_bits)
        parts = np.split(shots.measurements, ends[:-1], axis=1)
        return np.ascontiguousarray(
            np.concatenate([np.packbits(part, axis=1, bitorder="little") for part in parts], axis=1)
        )

    def outcomes(self, shots: Shots) -> Bytes:
        """The measurements as `enqueue_outcomes` has them: shots x measurements, 0, 1, or 2 for a lost atom."""
        found = shots.measurements.astype(np.uint8)
        return found if shots.lost is None else np.where(shots.lost, np.uint8(2), found)

    def reference(self) -> pymatching.Matching:
        """PyMatching for this experiment: the oracle."""
        return pymatching.Matching.from_detector_error_model(self.dem)

    def expected(self, shots: Shots) -> tuple[Masks, npt.NDArray[np.float64]]:
        """What PyMatching answers to each shot, and the weight of its solution."""
        found: Any = self.reference().decode_batch(shots.detections, return_weights=True)
        predictions, weights = found
        return masks(predictions), weights


def read_loss(exp: Experiment, model: Model) -> list[list[int]]:
    """For each measurement the edges of the model that a loss at that moment erases: its outcome says nothing then.

    A flipped outcome flips the detectors and observables that the measurement is part of; that is one edge, or none
    where the model has no such edge.
    """
    flips: list[list[int]] = [[] for _ in range(exp.measurements)]
    for detector, row in enumerate(exp.detectors):
        for measurement in row:
            flips[measurement].append(detector)
    readouts = [0] * exp.measurements
    for observable, row in enumerate(exp.readouts):
        for measurement in row:
            readouts[measurement] ^= 1 << observable
    numbers = {(u, v, mask): number for number, (u, v, _, mask) in enumerate(model.edges)}
    numbers |= {(v, u, mask): number for (u, v, mask), number in list(numbers.items()) if v != -1}
    found = []
    for fired, mask in zip(flips, readouts, strict=True):
        ends = (fired[0], fired[1] if len(fired) == 2 else -1, mask) if 0 < len(fired) <= 2 else None
        found.append([numbers[ends]] if ends in numbers else [])
    return found


class StreamShape(msgspec.Struct, frozen=True):
    """The detectors of a stream of rounds: measurements within the round, below 0 for those of the rounds before."""

    round_bits: int
    closing_bits: int  # of the readout that ends the stream
    reach: int  # how far back, in measurements
    first: list[list[int]]
    steady: list[list[int]]
    last: list[list[int]]

    def compiled(self) -> tuple[Any, Any, Any]:
        """The D matrices of the first round, of those after it, and of the readout."""
        return (
            _hot.Detectors(self.round_bits, self.first),
            _hot.Detectors(self.round_bits, self.steady, self.reach),
            _hot.Detectors(self.closing_bits, self.last, self.reach),
        )


def stream_shape(exp: Experiment) -> StreamShape:
    """The shape of the streams of which `exp`, with four rounds or more, is a short one.

    Raises ValueError where rounds are not alike, or detectors odd.
    """
    if exp.odd:
        raise ValueError(f"{exp.name}: detector {exp.odd[0]} is odd without noise; a stream's detectors are even.")
    starts = np.concatenate([[0], np.cumsum(exp.round_bits)])
    rows: list[list[list[int]]] = [[] for _ in exp.round_bits]
    for row in exp.detectors:
        at = int(np.searchsorted(starts, max(row), side="right")) - 1
        rows[at].append([measurement - int(starts[at]) for measurement in row])
    if len(rows) < 5 or len(set(exp.round_bits[:-1])) > 1 or any(each != rows[1] for each in rows[2:-1]):
        raise ValueError(f"{exp.name}: a stream needs at least four rounds, all alike but the first and the readout.")
    reach = -min(min(row) for row in rows[1] + rows[-1])
    return StreamShape(exp.round_bits[0], exp.round_bits[-1], max(0, reach), rows[0], rows[1], rows[-1])


def stream_plan(
    exp: Experiment, model: Model, window: int, commit: int, *, workers: int = 0, inner: str = "matching"
) -> Any:
    """How streams of which `exp` is a short one are decoded: `model` are its weights, and its edges are what the
    experiment's losses erase.

    Raises ValueError for losses and an `inner` decoder of windows that cannot take account of them (when it is seated).
    """
    return _hot.StreamPlan(
        model, window, commit, workers=workers, inner=inner, lost=exp.lost, heralds=exp.heralds,
        round_bits=exp.round_bits,
    )  # fmt: skip


def masks(rows: npt.NDArray[Any]) -> Masks:
    """Rows of at most 64 bits as one number each; bit k is column k."""
    powers = np.left_shift(np.uint64(1), np.arange(rows.shape[1], dtype=np.uint64))
    return np.asarray((rows.astype(np.uint64) * powers).sum(axis=1, dtype=np.uint64))


def experiment(code: str, distance: int, p: float, rounds: int | None = None) -> Experiment:
    """A memory experiment of `rounds` rounds (as many as the distance, by default) and a readout.

    The errors of colour and bicycle codes are not decomposed into edges: they have no matching; bring another decoder.
    """
    rounds = distance if rounds is None else rounds
    name = f"{code} d={distance} p={p:g}" + ("" if rounds == distance else f" rounds={rounds}")
    return circuit_experiment(
        name, code_circuit(code, distance, rounds, p), decompose=code not in ("colour", "bicycle")
    )


def circuit_experiment(name: str, circuit: stim.Circuit, decompose: bool = True) -> Experiment:
    """The experiment of any circuit. Detectors may be odd without noise, as those of Stim's colour codes are."""
    round_bits, detectors, readouts = layout(circuit)
    steady = circuit.reference_sample()
    odd = [detector for detector, row in enumerate(detectors) if steady[row].sum() % 2]
    dem = circuit.detector_error_model(decompose_errors=decompose)
    return Experiment(name, circuit, dem, round_bits, detectors, readouts, odd=odd)


def layout(circuit: stim.Circuit) -> tuple[list[int], list[list[int]], list[list[int]]]:
    """Measurements of each round, and those of each detector and observable.

    What is measured in one go is a round; bits that tell of losses go with the next one.
    """
    round_bits: list[int] = []
    detectors: list[list[int]] = []
    readouts: list[list[int]] = [[] for _ in range(circuit.num_observables)]
    come, waiting, adjacent = 0, 0, False
    for instruction in circuit.flattened():
        gate = stim.gate_data(instruction.name)
        many = instruction.num_measurements
        come += many
        if instruction.name.startswith("HERALDED"):
            waiting += many
            continue
        if many and adjacent:
            round_bits[-1] += waiting + many
        elif many:
            round_bits.append(waiting + many)
        if many:
            waiting = 0
        if instruction.name in ("DETECTOR", "OBSERVABLE_INCLUDE"):
            row = [come + target.value for target in instruction.targets_copy()]
            if instruction.name == "DETECTOR":
                detectors.append(sorted(row))
            else:
                readouts[round(instruction.gate_args_copy()[0])] += row
        adjacent = gate.produces_measurements
    round_bits[-1] += waiting
    return round_bits, detectors, readouts


class LossyExperiment(msgspec.Struct, frozen=True):
    """An experiment whose losses are told, with the models for decoders that listen and that do not."""

    experiment: Experiment
    erasures: ErasureModel
    herald_of: list[int]  # the measurement that tells of a loss at each place

    def losses(self, shots: Shots) -> Bits:
        """Which places were lost: shots x places."""
        return shots.measurements[:, self.herald_of]


def lossy_experiment(code: str, distance: int, p: float, fraction: float, rounds: int | None = None) -> LossyExperiment:
    """A memory experiment in which `fraction` of the depolarising errors are losses that are noticed at once."""
    rounds = distance if rounds is None else rounds
    plain = code_circuit(code, distance, rounds, p)
    circuit = with_losses(plain, fraction)
    round_bits, rows, readouts = layout(circuit)
    many = plain.num_detectors
    erasures = erasure_model(circuit, many)
    herald_of = [row[0] for row in rows[many:]]
    heralds: list[list[int]] = [[] for _ in range(circuit.num_measurements)]
    for measurement, edges in zip(herald_of, erasures.sites, strict=True):
        heralds[measurement] = edges
    name = f"{code} d={distance} p={p:g} losses={fraction:g}" + ("" if rounds == distance else f" rounds={rounds}")
    exp = Experiment(name, circuit, stim.DetectorErrorModel(), round_bits, rows[:many], readouts, heralds)
    return LossyExperiment(exp, erasures, herald_of)
