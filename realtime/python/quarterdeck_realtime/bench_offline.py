"""The exact matching decoder against PyMatching's C++ core: same process, same shots, same graph, all bases.

PyMatching has no clock of its own, so both decoders are measured through calls for a batch, `decode_batch` and our
`predict_batch`: both take shots as packed bits and give the flips as packed bits, without weights. (PyMatching is not
faster on unpacked shots: by 1 % at most, where it is at all.) In each repeat the two take turns.

- mean: one batch of all shots.
- p99: the shots of a sample are ranked by their times, PyMatching's by batches of copies of a shot, ours by our clock;
  the shots around the 99th percentile of each ranking then make a batch that is decoded like the mean. The times of
  copies themselves would flatter, for they train the processor.
- cold: 2 MiB are written before each shot. The time of a batch of one shot, less the mean of those without defects that
  are strewn among them: what a decoder pays for every cold call is hidden. All shots come through one array, so that
  only their bits differ; each shot's time is the best of three passes, since the interpreter and the machine disturb
  single calls, and differences may be negative, or noise would count as work. By our own clock nothing is hidden.

All times but those of our own clock are processor time of the thread, so that other load disturbs less.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pymatching
import stim
from numpy.typing import NDArray

from quarterdeck_realtime._hot import Matching
from quarterdeck_realtime.bench_codes import CASES, CodeCase, CodeRow, codes_lines, compare_codes
from quarterdeck_realtime.codes import code_circuit
from quarterdeck_realtime.model import model_of

__all__ = ["Report", "Row", "compare", "markdown"]

Bits = NDArray[np.uint8]

FLUSH_BYTES = 2 << 20
SAMPLE = 6000  # shots that are ranked
AROUND = 0.005  # the ranks around p99 that are its batch, to either side


class Figure(msgspec.Struct, frozen=True):
    """Microseconds a shot, medians over repeats; `ratio` of PyMatching's to ours, with the least and the largest."""

    pymatching_us: float
    own_us: float
    ratio: float
    ratio_least: float
    ratio_largest: float


class Row(msgspec.Struct, frozen=True):
    """One code distance and error probability."""

    distance: int
    p: float
    shots: int
    defects: float
    mean: Figure
    p99: Figure
    cold_mean: Figure
    cold_p99: Figure
    own_clock_p99_us: float  # of our decoder by its own clock, over all shots, 25 ns of the clock included
    own_clock_p999_us: float
    own_cold_clock_mean_us: float
    own_cold_clock_p99_us: float
    own_table_bytes: int  # shared by all decoders of a model
    own_decoder_bytes: int  # of each thread
    pymatching_bytes: int  # in the heap; 0 where that is unknown
    disagreements: int  # shots whose observables differ
    largest_weight_difference: float  # over all shots: rounding on both sides
    own_failures: int
    pymatching_failures: int


class Report(msgspec.Struct, frozen=True):
    """What `compare` measured, and on what. `codes`: those that no matching decodes, beside other packages."""

    rows: list[Row]
    repeats: int
    processor: str
    pymatching: str
    stim: str
    codes: list[CodeRow] = []


def _us(call: Callable[[], Any]) -> float:
    start = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - start) / 1000


def _figure(theirs: list[float], ours: list[float]) -> Figure:
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return Figure(
        statistics.median(theirs), statistics.median(ours), statistics.median(ratios), min(ratios), max(ratios)
    )


def _times_of_copies(decode: Callable[[Bits], Any], sample: Bits) -> NDArray[np.float64]:
    times = []
    for shot in sample:
        copies = np.repeat(shot[None, :], 16, axis=0)
        both = []
        for _ in range(2):
            start = time.thread_time_ns()
            decode(copies)
            both.append(time.thread_time_ns() - start)
        times.append(min(both))
    return np.array(times)


def _around_p99(sample: Bits, times: NDArray[np.float64]) -> Bits:
    """The shots around the 99th percentile of some times, four times over."""
    order = np.argsort(times)
    first, last = (int(len(order) * (0.99 + side)) for side in (-AROUND, AROUND))
    return np.tile(sample[order[first : max(last, first + 1)]], (4, 1))


def _cold_us(decode: Callable[[Bits], Any], sample: Bits) -> NDArray[np.float64]:
    """Microseconds of each shot with cold caches, less those of a shot without defects."""
    waste = np.zeros(FLUSH_BYTES, dtype=np.uint8)
    empty = np.arange(len(sample) * 5 // 4) % 5 == 4
    shots = np.zeros((len(empty), sample.shape[1]), dtype=np.uint8)
    shots[~empty] = sample[: int((~empty).sum())]
    at_hand = np.zeros_like(sample[:1])
    best = np.full(len(shots), np.inf)
    for _ in range(3):
        for at, shot in enumerate(shots):
            at_hand[0] = shot
            np.add(waste, 1, out=waste)
            start = time.thread_time_ns()
            decode(at_hand)
            best[at] = min(best[at], (time.thread_time_ns() - start) / 1000)
    times: NDArray[np.float64] = best[~empty] - best[empty].mean()
    return times


class _Heap(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = tuple(
        (name, ctypes.c_size_t) for name in "arena ord smb hbl hblkhd usmb fsmb uordblks ford keep".split()
    )


def _heap_bytes() -> int:
    """Bytes that malloc has given out; 0 where the C library does not tell."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return 0
    mallinfo2.restype = _Heap
    heap = mallinfo2()
    return int(heap.uordblks + heap.hblkhd)


def _pymatching_bytes(dem: stim.DetectorErrorModel, bits: Bits) -> int:
    gc.collect()
    before = _heap_bytes()
    reference = pymatching.Matching.from_detector_error_model(dem)
    reference.decode_batch(bits, bit_packed_shots=True, bit_packed_predictions=True)
    return max(0, _heap_bytes() - before)


def _row(distance: int, p: float, budget_s: float, repeats: int) -> Row:
    circuit = code_circuit("surface", distance, distance, p)
    dem = circuit.detector_error_model(decompose_errors=True)
    reference = pymatching.Matching.from_detector_error_model(dem)
    model = model_of(dem)
    own = Matching(model)
    sampler = circuit.compile_detector_sampler(seed=distance)

    def theirs(bits: Bits) -> Any:
        return reference.decode_batch(bits, bit_packed_shots=True, bit_packed_predictions=True)

    probe, _ = sampler.sample(500, separate_observables=True, bit_packed=True)
    shot_us = _us(lambda: theirs(probe)) / len(probe)
    shots = int(np.clip(budget_s * 1e6 / (repeats * shot_us * 2), 4000, 100_000))
    bits, truth = sampler.sample(shots, separate_observables=True, bit_packed=True)
    flips, weights = reference.decode_batch(
        bits, return_weights=True, bit_packed_shots=True, bit_packed_predictions=True
    )
    own_weights = own.decode_batch(bits)[1]
    own_flips = own.predict_batch(bits)[:, 0] & 1

    def turns(their_bits: Bits, our_bits: Bits) -> Figure:
        loops = max(1, 2000 // len(our_bits))  # a batch that is too short for the clock is decoded several times
        a, b = [], []
        for _ in range(repeats):
            a.append(_us(lambda: [theirs(their_bits) for _ in range(loops)]) / len(their_bits) / loops)
            b.append(_us(lambda: [own.predict_batch(our_bits) for _ in range(loops)]) / len(our_bits) / loops)
        return _figure(a, b)

    mean = turns(bits, bits)
    clock = np.median([own.time_batch(bits) for _ in range(max(3, repeats))], axis=0) / 1000
    sample = bits[:SAMPLE]
    p99 = turns(_around_p99(sample, _times_of_copies(theirs, sample)), _around_p99(sample, clock[:SAMPLE]))

    cold_sample = bits[:1000]
    cold = [(_cold_us(theirs, cold_sample), _cold_us(own.predict_batch, cold_sample)) for _ in range(3)]
    cold_mean = _figure([float(a.mean()) for a, _ in cold], [float(b.mean()) for _, b in cold])
    cold_p99 = _figure([float(np.percentile(a, 99)) for a, _ in cold], [float(np.percentile(b, 99)) for _, b in cold])
    cold_clock = np.median([own.time_batch(cold_sample, FLUSH_BYTES) for _ in range(3)], axis=0) / 1000
    return Row(
        distance=distance,
        p=p,
        shots=shots,
        defects=float(np.unpackbits(bits[:2000]).sum() / min(shots, 2000)),
        mean=mean,
        p99=p99,
        cold_mean=cold_mean,
        cold_p99=cold_p99,
        own_clock_p99_us=float(np.percentile(clock, 99)),
        own_clock_p999_us=float(np.percentile(clock, 99.9)),
        own_cold_clock_mean_us=float(cold_clock.mean()),
        own_cold_clock_p99_us=float(np.percentile(cold_clock, 99)),
        own_table_bytes=own.bytes,
        own_decoder_bytes=own.decoder_bytes,
        pymatching_bytes=_pymatching_bytes(dem, bits[:200]),
        disagreements=int((own_flips != flips[:, 0] & 1).sum()),
        largest_weight_difference=float(np.abs(own_weights - weights).max()),
        own_failures=int((own_flips != truth[:, 0] & 1).sum()),
        pymatching_failures=int(((flips[:, 0] ^ truth[:, 0]) & 1).sum()),
    )


def _processor() -> str:
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else "unknown"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def compare(
    distances: Sequence[int] = (3, 5, 7, 9, 11, 13),
    probabilities: Sequence[float] = (1e-3, 3e-3),
    *,
    seconds: float = 100.0,
    repeats: int = 9,
    codes: Sequence[CodeCase] = CASES,
) -> Report:
    """Measure all pairs of a distance and a probability, in about so many seconds in all, then other codes.

    Surface code memory in the Z basis, as many rounds as the distance. Both decoders take every shot with both bases,
    though only one holds the observable.
    """
    budget_s = seconds / len(distances) / len(probabilities) / 3
    rows = [_row(distance, p, budget_s, repeats) for p in probabilities for distance in distances]
    others = compare_codes(codes, seconds=seconds / 12)
    return Report(rows, repeats, _processor(), pymatching.__version__, stim.__version__, others)


def markdown(report: Report) -> str:
    """Tables for the documentation: warm, cold, and what belongs to both."""

    def figure(value: Figure) -> str:
        spread = f"{value.ratio_least:.1f} to {value.ratio_largest:.1f}"
        return f"{value.pymatching_us:.3f} / {value.own_us:.3f} | **{value.ratio:.1f}** ({spread})"

    lines = [
        f"PyMatching {report.pymatching} / ours, microseconds a shot; in bold how many times faster ours is (least and "
        f"largest of {report.repeats} repeats). {report.processor}.",
        "",
        "| d | p | defects | mean | ratio | p99 | ratio | p99 by our clock |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.distance} | {row.p:g} | {row.defects:.1f} | {figure(row.mean)} | {figure(row.p99)} | "
        f"{row.own_clock_p99_us:.2f} (p99.9 {row.own_clock_p999_us:.2f}) |"
        for row in report.rows
    ]
    lines += [
        "",
        "With cold caches:",
        "",
        "| d | p | mean | ratio | p99 | ratio | by our clock |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.distance} | {row.p:g} | {figure(row.cold_mean)} | {figure(row.cold_p99)} | "
        f"{row.own_cold_clock_mean_us:.2f} (p99 {row.own_cold_clock_p99_us:.2f}) |"
        for row in report.rows
    ]
    lines += [
        "",
        "Accuracy and memory; failures are wrong observables, and differ only at ties within rounding:",
        "",
        "| d | p | shots | failures, PyMatching / ours | shots that differ | largest difference of weights "
        "| KiB, PyMatching / our table + each thread |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.distance} | {row.p:g} | {row.shots} | {row.pymatching_failures} / {row.own_failures} | "
        f"{row.disagreements} | {row.largest_weight_difference:.4f} | {row.pymatching_bytes / 1024:.0f} / "
        f"{row.own_table_bytes / 1024:.0f} + {row.own_decoder_bytes / 1024:.0f} |"
        for row in report.rows
    ]
    if report.codes:
        lines += ["", *codes_lines(report.codes)]
    return "\n".join(lines)


def main() -> None:
    """`python -m quarterdeck_realtime.bench_offline`: the tables, or the figures as JSON."""
    parser = argparse.ArgumentParser(description="The matching decoder against PyMatching, offline, in one run.")
    parser.add_argument("--distances", type=int, nargs="+", default=[3, 5, 7, 9, 11, 13])
    parser.add_argument("--probabilities", type=float, nargs="+", default=[1e-3, 3e-3])
    parser.add_argument("--seconds", type=float, default=100.0, help="about how long, in all")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = compare(options.distances, options.probabilities, seconds=options.seconds, repeats=options.repeats)
    print(msgspec.json.encode(report).decode() if options.json else markdown(report))


if __name__ == "__main__":
    main()
