"""The exact matching decoder against PyMatching on the same shots, and against brute force on small graphs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pymatching
import pytest
import stim
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck_realtime._hot import Matching, Model
from quarterdeck_realtime.model import model_of

PLAIN = {"vectors": False}
GENERAL = {"direct": 0, "prove": True}  # no subset programs; the duals must prove each solution
PROGRAMS = {"direct": 16, "small": 1 << 30, "vectors": False}


def surface(d: int, p: float, task: str = "rotated_memory_z", *, gates: bool = True) -> stim.Circuit:
    """A memory experiment of d rounds; without gate errors the noise is phenomenological."""
    return stim.Circuit.generated(
        f"surface_code:{task}",
        distance=d,
        rounds=d,
        after_clifford_depolarization=p if gates else 0,
        before_round_data_depolarization=p,
        before_measure_flip_probability=p,
        after_reset_flip_probability=p if gates else 0,
    )


def rounding(matching: Matching, events: Any) -> Any:
    """How much each shot's weight may differ from PyMatching's: half a unit a defect, and PyMatching's own rounding."""
    return 0.5 * max(matching.units) * events.sum(axis=1) + 0.01


CASES = [(d, p, "rotated_memory_z", True) for d in (3, 5, 7, 9, 11, 13) for p in (1e-3, 3e-3)] + [
    (5, 3e-3, "rotated_memory_x", True),
    (9, 3e-3, "rotated_memory_x", True),
    (5, 1e-2, "unrotated_memory_z", True),
    (7, 2e-2, "rotated_memory_z", False),
    (7, 2e-2, "rotated_memory_z", True),  # up to a hundred defects in a basis
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_weights_and_observables_are_pymatchings(case: tuple[int, float, str, bool]) -> None:
    d, p, task, gates = case
    circuit = surface(d, p, task, gates=gates)
    dem = circuit.detector_error_model(decompose_errors=True)
    shots = 20_000 // d if p < 1e-2 else 1000
    events, _ = circuit.compile_detector_sampler(seed=d).sample(shots, separate_observables=True)
    answers: Any = pymatching.Matching.from_detector_error_model(dem).decode_batch(events, return_weights=True)
    flips, weights = answers
    model = model_of(dem)
    first: Any = None
    usual: Any = None
    for options in ({}, PLAIN, GENERAL, PROGRAMS):
        matching = Matching(model, **options)
        masks, ours, qualities = matching.decode_batch(events)
        assert not qualities.any()
        assert (np.abs(ours - weights) <= rounding(matching, events)).all()
        ties: Any = (masks & 1) != flips[:, 0]
        assert np.sum(ties) <= 3  # at a hair's breadth, as the weights say; PyMatching rounds as well
        if first is None:
            first, usual = ours, masks
        assert np.abs(ours - first).max() < 1e-9  # every path through the decoder finds the same weight
        if options is PLAIN:
            assert (masks == usual).all()  # the same steps, without vectors
    bits = np.packbits(events, axis=1, bitorder="little")
    assert all((a == b).all() for a, b in zip(matching.decode_batch(bits), matching.decode_batch(events), strict=True))
    assert np.asarray(matching.time_batch(bits)).min() >= 0
    for rows in (bits, events):
        assert (matching.predict_batch(rows)[:, 0] == matching.decode_batch(rows)[0]).all()


def grid(size: int, observables: int, seed: int, *, torus: bool) -> tuple[Model, pymatching.Matching]:
    """Two lattices, tori or open left and right, with observables on a fifth of the edges; weights without ties."""
    rng = np.random.default_rng(seed)
    model, reference = Model(), pymatching.Matching()
    model.detectors, model.observables = 2 * size * size, observables

    def join(u: int, v: int) -> None:
        mask = int(rng.integers(1 << observables)) if rng.random() < 0.2 else 0
        ids = {k for k in range(observables) if mask >> k & 1}
        weight = float(rng.uniform(2, 4))
        model.add(u, v, weight, mask)
        if v < 0:
            reference.add_boundary_edge(u, weight=weight, fault_ids=ids)
        else:
            reference.add_edge(u, v, weight=weight, fault_ids=ids)

    for first, y, x in itertools.product((0, size * size), range(size), range(size)):
        here = first + y * size + x
        if torus or x + 1 < size:
            join(here, first + y * size + (x + 1) % size)
        if torus or y + 1 < size:
            join(here, first + (y + 1) % size * size + x)
        if not torus and x in (0, size - 1):
            join(here, -1)
    reference.ensure_num_fault_ids(observables)
    return model, reference


@pytest.mark.parametrize("torus", [False, True])
@pytest.mark.parametrize("observables", [1, 3, 20])
def test_several_observables_and_several_parts(observables: int, torus: bool) -> None:
    model, reference = grid(7, observables, observables, torus=torus)
    rng = np.random.default_rng(1)
    events = rng.random((400, model.detectors)) < rng.choice([0.03, 0.1, 0.4], size=(400, 1))
    if torus:  # without a boundary each lattice needs an even number
        events[:, 0] ^= events[:, :49].sum(axis=1) % 2 == 1
        events[:, 49] ^= events[:, 49:].sum(axis=1) % 2 == 1
    answers: Any = reference.decode_batch(events, return_weights=True)
    flips, weights = answers
    places = np.arange(observables, dtype=np.uint64)
    expected = (flips.astype(np.uint64) << places).sum(axis=1)
    for options in ({}, PLAIN, GENERAL):
        matching = Matching(model, **options)
        masks, ours, qualities = matching.decode_batch(events)
        assert not qualities.any()
        assert (np.abs(ours - weights) <= rounding(matching, events)).all()
        assert (masks != expected).sum() <= 8  # ties in the integers of either
        packed = matching.predict_batch(events)
        assert packed.shape == (len(events), (observables + 7) // 8)
        unpacked = np.unpackbits(packed, axis=1, bitorder="little", count=observables)
        assert (unpacked == (masks[:, None] >> places & 1)).all()
    for row, mask in zip(events[:50], masks, strict=False):
        pairs = matching.pairs(np.flatnonzero(row).tolist())
        assert sorted(end for pair in pairs for end in pair[:2] if end >= 0) == np.flatnonzero(row).tolist()
        assert np.bitwise_xor.reduce([0, *(pair[2] for pair in pairs)]) == mask


@pytest.mark.parametrize("detectors", [1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 200])
def test_rows_of_any_length(detectors: int) -> None:
    """A chain: each shot decodes as its defects do, wherever its row ends; the last row has nothing behind it."""
    model = Model()
    model.detectors, model.observables = detectors, 1
    model.add(0, -1, 1.0, 1)
    for v in range(1, detectors):
        model.add(v - 1, v, 1.0, 0)
    model.add(detectors - 1, -1, 1.5, 0)
    matching = Matching(model)
    rng = np.random.default_rng(detectors)
    events = rng.random((130, detectors)) < rng.choice([0.01, 0.1, 0.5], size=(130, 1))
    expected = [matching.decode(np.flatnonzero(row).tolist()) for row in events]
    for rows in (events, np.packbits(events, axis=1, bitorder="little")):
        masks, weights, _ = matching.decode_batch(rows)
        assert [*zip(masks.tolist(), weights.tolist(), strict=True)] == expected


def test_an_odd_number_without_boundary_fails() -> None:
    model, _ = grid(5, 1, 0, torus=True)
    matching = Matching(model)
    events = np.zeros((2, model.detectors), dtype=np.bool_)
    events[0, [3, 7, 30]] = True  # two in one lattice, one in the other
    events[1, [3, 7, 30, 31]] = True
    assert matching.decode_batch(events)[2].tolist() == [2, 0]
    with pytest.raises(ValueError, match="no perfect matching"):
        matching.predict_batch(events)
    assert matching.predict_batch(events[1:]).shape == (1, 1)
    with pytest.raises(ValueError, match="no perfect matching"):
        matching.decode([3, 7, 30])
    assert len(matching.pairs([3, 7, 30, 31])) == 2


def test_what_is_refused() -> None:
    model = Model()
    model.detectors = 2
    model.add(0, 1, -1.0, 0)
    with pytest.raises(ValueError, match="not negative"):
        Matching(model)
    model = Model()
    model.detectors = 30_001
    for detector in range(30_000):
        model.add(detector, detector + 1, 1.0, 0)
    with pytest.raises(ValueError, match="30001 detectors, more than 30000: decode it in windows"):
        Matching(model)
    model, _ = grid(5, 1, 0, torus=False)
    matching = Matching(model)
    for defects in ([50], [-1], [3, 3]):
        with pytest.raises(ValueError, match="different detectors below 50"):
            matching.decode(defects)
    with pytest.raises(ValueError, match="a bool for each of 50"):
        matching.decode_batch(np.zeros((1, 49), dtype=np.bool_))
    with pytest.raises(ValueError, match="packed rows have 7 bytes"):
        matching.decode_batch(np.zeros((1, 8), dtype=np.uint8))


EDGES = st.lists(
    st.tuples(
        st.integers(0, 6), st.integers(-1, 6), st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.0, 0.7, 3.1]), st.integers(0, 3)
    ),
    min_size=1,
    max_size=11,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(EDGES, st.sampled_from([{}, PLAIN, GENERAL]))
def test_the_weight_is_the_least_of_all_sets_of_edges(edges: list[tuple[int, int, float, int]], options: Any) -> None:
    """Brute force knows no distances: it tries every set of edges that explains the defects."""
    edges = [edge for edge in edges if edge[0] != edge[1]]
    model = Model()
    model.detectors, model.observables = 7, 2
    for edge in edges:
        model.add(*edge)
    best: dict[int, dict[int, float]] = {}
    for chosen in itertools.product((0, 1), repeat=len(edges)):
        defects = mask = 0
        weight = 0.0
        for (u, v, cost, flips), taken in zip(edges, chosen, strict=True):
            if taken:
                defects ^= 1 << u ^ (1 << v if v >= 0 else 0)
                mask ^= flips
                weight += cost
        found = best.setdefault(defects, {})
        found[mask] = min(weight, found.get(mask, weight))
    rows = np.array([[defects >> k & 1 for k in range(7)] for defects in range(128)], dtype=np.bool_)
    masks, weights, qualities = Matching(model, **options).decode_batch(rows)
    for defects in range(128):
        assert (qualities[defects] == 2) == (defects not in best)
        if defects in best:
            least = min(best[defects].values())
            assert weights[defects] == pytest.approx(least, abs=1e-2)
            assert best[defects][int(masks[defects])] <= least + 1e-2  # what it flips is a solution of that weight
