"""Batched belief propagation over numpy: against a scalar reference, and against other people's packages."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import stim
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quarterdeck_realtime.bicycle import bicycle_circuit
from quarterdeck_realtime.decoders import decoder
from quarterdeck_realtime.decoders.matrices import Mechanisms, mechanisms_of
from quarterdeck_realtime.gpu.decoder import gpu_bp
from quarterdeck_realtime.gpu.graph import graph_of
from quarterdeck_realtime.gpu.min_sum import MinSum


def _scalar(
    mechanisms: Mechanisms, prior: list[int], syndrome: list[bool], iterations: int, scaling: float, memory: float
) -> tuple[list[bool], bool, int]:
    """The same algorithm, edge by edge, for one shot."""
    belief = [float(weight) for weight in prior]
    checks = [[e for e, flips in enumerate(mechanisms.flips) if c in flips] for c in range(mechanisms.detectors)]
    messages = {(c, e): 0.0 for c, errors in enumerate(checks) for e in errors}
    hard: list[bool] = []
    for turn in range(1, iterations + 1):
        incoming = {(c, e): belief[e] - message for (c, e), message in messages.items()}
        for c, e in messages:
            others = [incoming[c, other] for other in checks[c] if other != e]
            sign = (-1) ** (int(syndrome[c]) + sum(m <= 0 for m in others))
            size = min([1e4, *(abs(m) for m in others)])
            messages[c, e] = sign * size * (scaling or 1 - 2.0**-turn)
        for e, flips in enumerate(mechanisms.flips):
            bias = prior[e] + memory * (belief[e] - prior[e])
            belief[e] = bias + sum(messages[c, e] for c in flips)
        hard = [b <= 0 for b in belief]
        if all(sum(hard[e] for e in errors) % 2 == syndrome[c] for c, errors in enumerate(checks)):
            return hard, True, turn
    return hard, False, iterations


Case = tuple[list[tuple[int, ...]], list[int], list[list[bool]]]  # flips of errors, their weights, syndromes


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    checks = draw(st.integers(1, 6))
    flips = draw(
        st.lists(
            st.sets(st.integers(0, checks - 1), min_size=1, max_size=4).map(lambda s: tuple(sorted(s))),
            min_size=1,
            max_size=10,
        )
    )
    shots = draw(st.lists(st.lists(st.booleans(), min_size=checks, max_size=checks), min_size=1, max_size=5))
    prior = draw(st.lists(st.integers(-2, 12), min_size=len(flips), max_size=len(flips)))
    return flips, prior, shots


@settings(max_examples=100, deadline=None)
@given(_cases(), st.sampled_from([0.0, 0.75, 1.0]), st.sampled_from([0.0, 0.25, -0.25]))
@example(([(0, 1, 3), (0, 4), (0, 1, 2, 4)], [0, 0, 0], [[True, True, True, False, False]]), 0.0, 0.0)  # certainties
def test_a_batch_is_its_shots_one_by_one(case: Case, scaling: float, memory: float) -> None:
    """With weights and settings whose sums are exact, for ties are many."""
    flips, prior, syndromes = case
    many = len(flips)
    mechanisms = Mechanisms(len(syndromes[0]), 1, flips, [(0,)] * many, np.full(many, 0.1))
    graph = msgspec.structs.replace(graph_of(mechanisms), prior=np.array(prior, dtype=float))
    found = MinSum(np, graph, iterations=6, scaling=scaling, memory=memory, dtype="float64").run(np.array(syndromes).T)
    for shot, syndrome in enumerate(syndromes):
        hard, converged, turns = _scalar(mechanisms, prior, syndrome, 6, scaling, memory)
        assert (found.converged[shot], found.iterations[shot]) == (converged, turns)
        assert found.errors[:, shot].tolist() == hard


def _phenomenological(distance: int, p: float, shots: int) -> tuple[stim.DetectorErrorModel, np.ndarray, np.ndarray]:
    circuit = bicycle_circuit(distance, rounds=distance // 2, p=p)
    events, truth = circuit.compile_detector_sampler(seed=11).sample(shots, separate_observables=True)
    return circuit.detector_error_model(), events, truth


@pytest.mark.parametrize(("distance", "p"), [(6, 0.02), (12, 0.02)])
@pytest.mark.parametrize("scaling", [0.625, 0.0])
def test_like_the_package_ldpc(distance: int, p: float, scaling: float) -> None:
    """The same convergence, iterations and errors, but for ties that rounding decides."""
    ldpc, sparse = pytest.importorskip("ldpc"), pytest.importorskip("scipy.sparse")
    dem, events, _ = _phenomenological(distance, p, 200)
    mechanisms = mechanisms_of(dem)
    theirs = ldpc.BpDecoder(
        sparse.csr_matrix(mechanisms.checks()),
        error_channel=list(mechanisms.probabilities),
        max_iter=30,
        bp_method="minimum_sum",
        ms_scaling_factor=scaling,
    )
    ours = MinSum(np, graph_of(mechanisms), iterations=30, scaling=scaling, dtype="float64").run(events.T)
    same = 0
    for shot, row in enumerate(events.astype(np.uint8)):
        errors = theirs.decode(row)
        same += bool(
            theirs.converge == ours.converged[shot]
            and theirs.iter == ours.iterations[shot]
            and (errors == ours.errors[:, shot]).all()
        )
    print(f"distance {distance}: {same} of 200 the same, {ours.converged.sum()} converged")
    assert ours.converged.any() and not ours.converged.all()
    assert same >= 196


def test_what_converged_explains_the_syndrome_and_is_mostly_right() -> None:
    dem, events, truth = _phenomenological(6, 0.01, 2_000)
    mechanisms = mechanisms_of(dem)
    one = gpu_bp(dem, scaling=0.625, memory=0.0, batch=300)
    found = one.decode(events)
    beliefs = MinSum(np, graph_of(mechanisms), iterations=60, scaling=0.625).run(events.T)
    assert (found.failed == ~beliefs.converged).all()  # in batches of 300 as in one
    explained = (mechanisms.checks().astype(int) @ beliefs.errors % 2 == events.T).all(axis=0)
    assert (explained == beliefs.converged).all()
    flips = (mechanisms.logical_matrix().astype(int) @ beliefs.errors % 2).T.astype(bool)
    assert (found.observables == flips & ~found.failed[:, None]).all()
    weights = np.log(1 / mechanisms.probabilities - 1) @ beliefs.errors
    assert np.allclose(found.weights[~found.failed], weights[~found.failed], rtol=1e-5)
    assert np.isinf(found.weights[found.failed]).all()
    wrong = (found.observables != truth).any(axis=1)
    print(f"{found.failed.sum()} did not converge, {(wrong & ~found.failed).sum()} wrong of {len(events)}")
    assert 0 < found.failed.mean() < 0.1 and (wrong & ~found.failed).mean() < 0.01


def test_where_it_converges_osd_has_nothing_to_do() -> None:
    dem, events, _ = _phenomenological(6, 0.01, 300)
    found = gpu_bp(dem, iterations=30, scaling=0.625, memory=0.0, device="cpu").decode(events)
    with_osd = decoder("bp-osd", dem, max_iter=30).decode_batch(events)
    differ = (found.observables != with_osd).any(axis=1) & ~found.failed
    assert found.failed.sum() < 60 and differ.sum() <= 3  # float32 here, float64 there


def test_memory_lets_more_shots_converge() -> None:
    dem, events, truth = _phenomenological(6, 0.02, 1_000)
    with_memory, without = gpu_bp(dem).decode(events), gpu_bp(dem, scaling=0.625, memory=0.0).decode(events)
    unsolved = [np.count_nonzero(f.failed | (f.observables != truth).any(axis=1)) for f in (with_memory, without)]
    print(f"{with_memory.failed.sum()} and {without.failed.sum()} did not converge; unsolved {unsolved}")
    assert 5 * with_memory.failed.sum() < without.failed.sum() and unsolved[0] < unsolved[1]


def test_memory_like_the_first_leg_of_relay_bp() -> None:
    relay, sparse = pytest.importorskip("relay_bp"), pytest.importorskip("scipy.sparse")
    dem, events, _ = _phenomenological(6, 0.015, 200)
    mechanisms = mechanisms_of(dem)
    theirs = relay.RelayDecoderF64(
        sparse.csr_matrix(mechanisms.checks()),
        error_priors=mechanisms.probabilities,
        gamma0=0.1,
        pre_iter=40,
        num_sets=0,
        set_max_iter=1,
        stop_nconv=1,
        alpha=1.0,
    )
    ours = MinSum(np, graph_of(mechanisms), iterations=40, scaling=1.0, memory=0.1, dtype="float64").run(events.T)
    same = sum(
        bool((theirs.decode(row) == ours.errors[:, shot]).all())
        for shot, row in enumerate(events.astype(np.uint8))
        if ours.converged[shot]
    )
    print(f"{same} of {ours.converged.sum()} the same")
    assert ours.converged.sum() > 100 and same >= 0.98 * ours.converged.sum()


def test_shots_of_an_empty_batch_and_wrong_settings() -> None:
    dem, events, _ = _phenomenological(6, 0.01, 4)
    one = decoder("gpu-bp", dem, device="cpu")
    assert one.decode_batch(events[:0]).shape == (0, 12)
    with pytest.raises(ValueError, match="144 detectors"):
        one.decode_batch(events[:, 1:])
    with pytest.raises(ValueError, match="its settings are iterations, scaling, memory, device, batch"):
        decoder("gpu-bp", dem, beam=1)
    with pytest.raises(ValueError, match="auto, cpu, gpu, not 'tpu'"):
        decoder("gpu-bp", dem, device="tpu")
    with pytest.raises(ValueError, match="at least 1 iteration"):
        decoder("gpu-bp", dem, iterations=0)
    with pytest.raises(ValueError, match="the model has no errors"):
        decoder("gpu-bp", stim.DetectorErrorModel("detector D0"))
