"""Relay belief propagation: against numpy's, against the package `relay-bp`, and against the likeliest errors."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest
import stim
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck_realtime import _hot
from quarterdeck_realtime.codes import Experiment, Shots, experiment, masks
from quarterdeck_realtime.decoders import decoder
from quarterdeck_realtime.decoders.hypergraph import hypergraph_of
from quarterdeck_realtime.decoders.matrices import Mechanisms, dem_of, mechanisms_of
from quarterdeck_realtime.decoders.own import OwnDecoder, relay
from quarterdeck_realtime.gpu.graph import graph_of
from quarterdeck_realtime.gpu.min_sum import MinSum

BICYCLE = ("bicycle", 6, 0.02)


def sampled(code: str, distance: int, p: float, shots: int, seed: int = 7) -> tuple[Experiment, Shots]:
    exp = experiment(code, distance, p)
    return exp, exp.sample(shots, seed)


def found(compiled: Any, events: np.ndarray) -> tuple[int, float, list[int], int, int] | None:
    """What it says of a shot; None if nothing converged."""
    try:
        answer: tuple[int, float, list[int], int, int] = compiled.decode(np.flatnonzero(events).tolist())
    except RuntimeError as error:
        assert "no leg converged in" in str(error)
        return None
    return answer


@pytest.mark.parametrize(("scaling", "memory"), [(0.0, 0.125), (1.0, 0.125), (0.625, 0.0), (1.0, -0.2)])
@pytest.mark.parametrize(("code", "distance", "p"), [BICYCLE, ("colour", 5, 3e-3)])
def test_the_first_leg_is_numpys_min_sum(code: str, distance: int, p: float, scaling: float, memory: float) -> None:
    """The same shots converge after as many iterations to the same errors."""
    exp, shots = sampled(code, distance, p, 150)
    theirs = MinSum(np, graph_of(mechanisms_of(exp.dem)), iterations=40, scaling=scaling, memory=memory)
    beliefs = theirs.run(shots.detections.T)
    ours = relay(exp.dem, iterations=40, legs=0, scaling=scaling, memory=memory).compiled
    same = 0
    for shot, events in enumerate(shots.detections):
        answer = found(ours, events)
        assert (answer is not None) == beliefs.converged[shot] or code == "colour"
        if answer is None:
            same += not beliefs.converged[shot]
        elif not events.any():
            same += answer == (0, 0.0, [], 0, 0)
        else:
            same += (
                answer[3] == beliefs.iterations[shot] and answer[2] == np.flatnonzero(beliefs.errors[:, shot]).tolist()
            )
    print(f"{same} of 150 the same, {beliefs.converged.sum()} converged")
    assert same >= 148 and 0 < beliefs.converged.sum()


@pytest.mark.parametrize("solutions", [1, 3])
def test_legs_like_relay_bp(solutions: int) -> None:
    """With memories that are no random ones: each leg takes over the beliefs of the one before, and nothing else."""
    package, sparse = pytest.importorskip("relay_bp"), pytest.importorskip("scipy.sparse")
    exp, shots = sampled("bicycle", 6, 0.03, 300)
    mechanisms = mechanisms_of(exp.dem)
    theirs = package.RelayDecoderF64(
        sparse.csr_matrix(mechanisms.checks()), error_priors=mechanisms.probabilities, gamma0=0.1, pre_iter=8,
        num_sets=6, set_max_iter=8, gamma_dist_interval=(0.3, 0.3 + 1e-9), stop_nconv=solutions,
    )  # fmt: skip
    ours = relay(
        exp.dem,
        iterations=8,
        legs=6,
        leg_iterations=8,
        memory=0.1,
        memories=(0.3, 0.3),
        solutions=solutions,
        scaling=1.0,
    )
    same = legs = 0
    for events in shots.detections:
        told = theirs.decode_detailed(events.astype(np.uint8))
        answer = found(ours.compiled, events)
        same += (answer is not None) == told.success and (
            answer is None or answer[2] == np.flatnonzero(told.decoding).tolist()
        )
        legs += 0 if answer is None else answer[4] - 1
    print(f"{same} of 300 the same, {legs} further legs")
    assert legs > 100 and same >= 0.98 * 300


# Wrong or failed shots, of as many: relay here, and the best of other packages.
CASES = [(*BICYCLE, 1000), ("colour", 3, 5e-3, 4000), ("colour", 5, 3e-3, 800), ("colour", 7, 3e-3, 150)]


@pytest.mark.parametrize(("code", "distance", "p", "many"), CASES)
@pytest.mark.parametrize("other", ["relay-bp", "bp-osd"])
def test_as_accurate_as_other_peoples(code: str, distance: int, p: float, many: int, other: str) -> None:
    pytest.importorskip({"relay-bp": "relay_bp", "bp-osd": "ldpc"}[other])
    exp, shots = sampled(code, distance, p, many, seed=distance)
    own = relay(exp.dem).decode(shots.detections)
    ours = own.failed | (masks(own.observables) != shots.observables)
    theirs = masks(decoder(other, exp.dem).decode_batch(shots.detections)) != shots.observables
    print(f"{exp.name}: {ours.sum()} wrong ({own.failed.sum()} failed), {other} {theirs.sum()}, of {many}")
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    assert own.failed.sum() <= 0.002 * many
    assert only_ours - only_theirs <= 3 * np.sqrt(only_ours + only_theirs + 1)  # paired, by sign


def test_twelve_observables() -> None:
    exp, shots = sampled("bicycle", 6, 0.01, 500)
    own = relay(exp.dem)
    flips = own.decode_batch(shots.detections)
    assert flips.shape == (500, 12)
    assert shots.observables.max() >= 1 << 11 and (masks(flips) == shots.observables).mean() > 0.98
    assert own.compiled.bytes > 10_000 and own.compiled.decoder_bytes > 10_000


Toy = tuple[int, list[tuple[int, ...]], list[int], list[float], list[int]]


@st.composite
def toys(draw: st.DrawFn) -> Toy:
    """Detectors, what each mechanism fires and flips, its probability, and which happened."""
    detectors = draw(st.integers(1, 8))
    fires = st.sets(st.integers(0, detectors - 1), min_size=1, max_size=5).map(lambda each: tuple(sorted(each)))
    all_fires = draw(st.lists(fires, min_size=1, max_size=10))
    many = len(all_fires)
    masks_of = draw(st.lists(st.integers(0, 7), min_size=many, max_size=many))
    probabilities = draw(st.lists(st.floats(1e-4, 0.5), min_size=many, max_size=many))
    happened = draw(st.lists(st.integers(0, many - 1), max_size=4, unique=True))
    return detectors, all_fires, masks_of, probabilities, happened


def compile_toy(toy: Toy, **more: Any) -> Any:
    detectors, fires, flips, probabilities, _ = toy
    model = _hot.Mechanisms()
    model.detectors, model.observables = detectors, 3
    for which, mask, p in zip(fires, flips, probabilities, strict=True):
        model.add(p, list(which), mask)
    return _hot.Relay(model, **more)


def syndrome(fires: list[tuple[int, ...]], happened: Any) -> set[int]:
    fired: set[int] = set()
    for i in happened:
        fired ^= set(fires[i])
    return fired


@settings(max_examples=150, deadline=None)
@given(toys(), st.integers(1, 4), st.sampled_from([0.0, 1.0]))
def test_what_is_found_explains_the_syndrome(toy: Toy, solutions: int, scaling: float) -> None:
    """And weighs what it says; the answer called exact is the lightest of all."""
    detectors, fires, flips, probabilities, happened = toy
    compiled = compile_toy(toy, solutions=solutions, more=solutions, scaling=scaling)
    fired = syndrome(fires, happened)
    events = np.zeros((1, detectors), dtype=np.bool_)
    events[0, sorted(fired)] = True
    (mask,), (weight,), (quality,) = compiled.decode_batch(events)
    answer = found(compiled, events[0])
    assert (answer is None) == (quality == 2)
    if answer is None:
        assert mask == 0
        return
    assert (mask, weight) == answer[:2]
    prior = np.log(1 / np.array(probabilities) - 1)
    assert syndrome(fires, answer[2]) == fired
    assert weight == pytest.approx(prior[answer[2]].sum())
    assert mask == np.bitwise_xor.reduce(np.array([0, *(flips[i] for i in answer[2])]))
    least = min(
        prior[list(some)].sum()
        for size in range(len(fires) + 1)
        for some in itertools.combinations(range(len(fires)), size)
        if syndrome(fires, some) == fired
    )
    assert weight >= least - 1e-9
    assert quality == 1 or weight == pytest.approx(least)


def test_nearly_as_good_as_the_likeliest_class() -> None:
    """Of a small code, whose likeliest answer to every syndrome is known: colour, distance 3, two rounds."""
    exp = experiment("colour", 3, 1e-2, rounds=2)
    mechanisms = mechanisms_of(exp.dem)
    chance = np.zeros((1 << exp.dem.num_detectors, 2))
    chance[0, 0] = 1
    for flips, logicals, p in zip(mechanisms.flips, mechanisms.logicals, mechanisms.probabilities, strict=True):
        at = np.arange(len(chance)) ^ sum(1 << v for v in flips)
        moved = chance[at]
        chance = (1 - p) * chance + p * (moved[:, ::-1] if logicals else moved)
    best = chance.max(axis=1).sum()
    syndromes = np.arange(len(chance))
    events = (syndromes[:, None] >> np.arange(exp.dem.num_detectors) & 1).astype(np.bool_)
    for solutions, worse in ((3, 1.6), (10, 1.1)):
        own = relay(exp.dem, solutions=solutions, more=2 * solutions).decode(events)
        right = chance[syndromes, own.observables[:, 0].astype(int)][~own.failed].sum()
        print(f"{solutions} solutions: right with probability {right:.5f}, at best {best:.5f}")
        assert 1 - right < worse * (1 - best)


def test_the_same_by_seed_and_processor() -> None:
    exp, shots = sampled("bicycle", 6, 0.03, 300)
    first, plain, other = (relay(exp.dem, **more) for more in ({}, {"vectors": False}, {"seed": 1}))
    answers = [one.compiled.decode_batch(shots.detections) for one in (first, plain, other)]
    for ours, theirs in zip(answers[0], answers[1], strict=True):
        assert (ours == theirs).all()
    assert (answers[0][1] != answers[2][1]).any()
    assert first.compiled.memory(1, 0) != other.compiled.memory(1, 0)


def test_weights_are_rebuilt() -> None:
    exp, shots = sampled("colour", 3, 5e-3, 500)
    own = relay(exp.dem, solutions=1)
    worse = experiment("colour", 3, 2e-2).dem
    again = own.rebuilt(hypergraph_of(worse))
    assert isinstance(again, OwnDecoder)
    fresh = relay(worse, solutions=1).decode(shots.detections)
    assert (again.decode(shots.detections).weights == fresh.weights).all()
    assert (fresh.weights != own.decode(shots.detections).weights).any()
    with pytest.raises(ValueError, match="that is another volume"):
        own.rebuilt(hypergraph_of(experiment("colour", 5, 5e-3).dem))


def test_merged_and_left_out() -> None:
    dem = stim.DetectorErrorModel(
        "error(0.1) D0 D1 D2\nerror(0.2) D0 D1 ^ D2\nerror(0) D0\nerror(0.3) L0\nerror(0.1) D1 L0"
    )
    model = hypergraph_of(dem)
    assert (len(model), model.detectors, model.observables) == (2, 3, 1)
    assert found(relay(dem).compiled, np.array([1, 1, 1])) == (0, pytest.approx(np.log(0.74 / 0.26)), [0], 1, 1)


def test_what_cannot_be_is_refused() -> None:
    dem = stim.DetectorErrorModel("error(0.1) D0 D1 D2 L0")
    with pytest.raises(ValueError, match=r"probability 0\.6"):
        relay(stim.DetectorErrorModel("error(0.6) D0"))
    with pytest.raises(ValueError, match="no errors"):
        relay(stim.DetectorErrorModel("detector D0"))
    with pytest.raises(ValueError, match="at most 64 observables, and the model 65"):
        relay(stim.DetectorErrorModel("error(0.1) D0 L64"))
    with pytest.raises(ValueError, match="its settings are iterations, legs"):
        decoder("relay", dem, beam=3)
    with pytest.raises(ValueError, match="memories are between"):
        relay(dem, memories=(0.5, 0.2))
    compiled = relay(dem).compiled
    with pytest.raises(ValueError, match="detectors below 3"):
        compiled.decode([3])
    with pytest.raises(RuntimeError, match="no leg converged"):
        compiled.decode([0])
    assert relay(dem).decode(np.array([[True, False, False]])).failed.all()
    assert isinstance(msgspec.json.encode(dict(found=compiled.decode([0, 1, 2]))), bytes)


def test_a_surface_code_as_matching_does() -> None:
    """With decomposed errors or not: the same mechanisms."""
    exp = experiment("surface", 3, 5e-3)
    shots = exp.sample(2000, 3)
    matched = exp.expected(shots)[0] != shots.observables
    whole = exp.circuit.detector_error_model()
    for dem in (exp.dem, whole):
        wrong = relay(dem).decode_batch(shots.detections)[:, 0] != shots.observables.astype(bool)
        print(f"{wrong.sum()} wrong, matching {matched.sum()}")
        assert wrong.sum() <= matched.sum()
    assert mechanisms_of(dem_of(mechanisms_of(whole))).flips == mechanisms_of(whole).flips
    assert isinstance(mechanisms_of(whole), Mechanisms)
