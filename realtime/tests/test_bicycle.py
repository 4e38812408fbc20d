"""Bivariate bicycle codes are what their paper says."""

from __future__ import annotations

import numpy as np
import pytest

from quarterdeck_realtime.bicycle import CODES, bicycle, bicycle_circuit, rank

TABLE = {6: (72, 12), 10: (108, 8), 12: (144, 12), 18: (288, 12)}  # distance: n, k


@pytest.mark.parametrize("distance", CODES)
def test_the_codes_of_table_three(distance: int) -> None:
    code = bicycle(distance)
    n, k = TABLE[distance]
    assert (code.qubits, len(code.z_logicals)) == (n, k)
    assert n - rank(code.x_checks) - rank(code.z_checks) == k
    assert not (code.x_checks @ code.z_checks.T % 2).any()
    for checks in (code.x_checks, code.z_checks):
        assert checks.shape == (n // 2, n)
        assert set(checks.sum(axis=1)) == {6} and set(checks.sum(axis=0)) == {3}
        shared = checks.astype(int) @ checks.T
        np.fill_diagonal(shared, 0)
        assert shared.max() == 1  # no cycle of length 4: the girth is 6 or more


@pytest.mark.parametrize("distance", CODES)
def test_logical_operators_commute_and_are_no_stabilisers(distance: int) -> None:
    code = bicycle(distance)
    assert not (code.x_checks @ code.z_logicals.T % 2).any()
    assert rank(np.vstack([code.z_checks, code.z_logicals])) == rank(code.z_checks) + len(code.z_logicals)
    assert code.z_logicals.sum(axis=1).min() >= distance


def test_rank_of_small_matrices() -> None:
    assert rank(np.eye(4, dtype=np.uint8)) == 4
    assert rank(np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]], dtype=np.uint8)) == 2
    assert rank(np.zeros((2, 3), dtype=np.uint8)) == 0


def test_code_capacity_is_the_check_matrix() -> None:
    code = bicycle(6)
    dem = bicycle_circuit(6, rounds=0, p=0.01).detector_error_model()
    assert (dem.num_detectors, dem.num_observables, dem.num_errors) == (36, 12, 72)
    flipped = np.zeros((36, 72), dtype=np.uint8)
    for column, error in enumerate(dem.flattened()[:72]):
        flipped[[t.val for t in error.targets_copy() if t.is_relative_detector_id()], column] = 1
    assert sorted(map(tuple, flipped.T)) == sorted(map(tuple, code.z_checks.T))


def test_phenomenological_noise_joins_rounds() -> None:
    dem = bicycle_circuit(6, rounds=3, p=0.01, measurement=0.02).detector_error_model()
    assert (dem.num_detectors, dem.num_observables) == (4 * 36, 12)
    probabilities = sorted({round(error.args_copy()[0], 9) for error in dem.flattened() if error.type == "error"})
    assert probabilities == [0.01, 0.02]
    assert dem.num_errors == 3 * 72 + 3 * 36


def test_detectors_are_even_and_observables_still_without_noise() -> None:
    detectors, flips = (
        bicycle_circuit(12, rounds=2, p=0.0).compile_detector_sampler(seed=1).sample(50, separate_observables=True)
    )
    assert not detectors.any() and not flips.any()


def test_other_distances_are_refused() -> None:
    with pytest.raises(ValueError, match="distance 6, 10, 12, 18, not 7"):
        bicycle(7)
