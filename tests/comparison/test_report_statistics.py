# SPDX-License-Identifier: Apache-2.0
"""The numbers of a report, against hand computation, enumeration and brute force."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkd_edge.comparison.statistics import holm, mean_difference, mean_ranks, outcomes, pareto_front, sets_needed, wilcoxon_holm


def exact_p(difference: np.ndarray) -> float:
    """Two-sided signed-rank p-value of differences without ties and zeros, by trying all signs."""
    ranks = np.argsort(np.argsort(np.abs(difference))) + 1
    sums = np.array([np.dot(signs, ranks) for signs in product((0, 1), repeat=len(ranks))])
    seen = ranks[difference > 0].sum()
    return float(min(1, 2 * min((sums <= seen).mean(), (sums >= seen).mean())))


def step_down(p: list[float], alpha: float) -> set[int]:
    """Which hypotheses Holm's procedure rejects, as he wrote it."""
    rejected: set[int] = set()
    for index in sorted(range(len(p)), key=p.__getitem__):
        if p[index] > alpha / (len(p) - len(rejected)):
            break
        rejected.add(index)
    return rejected


def test_ranks_average_over_data_sets_and_equal_scores_share_theirs() -> None:
    # By hand: 1, 2, 3; 2.5, 2.5, 1; 2, 2, 2.
    scores = [[0.9, 0.8, 0.7], [0.5, 0.5, 0.6], [0.4, 0.4, 0.4]]
    np.testing.assert_allclose(mean_ranks(scores), [5.5 / 3, 6.5 / 3, 6 / 3])


def test_scores_that_are_equal_to_three_decimals_are_a_draw() -> None:
    assert outcomes([0.9, 0.8004, 0.7, 0.6], [0.8, 0.8001, 0.701, 0.9]) == (1, 1, 2)
    assert outcomes([], []) == (0, 0, 0)


def test_a_mean_differences_interval_is_students_and_a_constant_one_has_no_width() -> None:
    # Differences .1, .2, .3: mean .2, standard error .1 / sqrt 3, t(.975, 2) = 4.30265.
    ours, theirs = [0.6, 0.6, 0.8], [0.5, 0.4, 0.5]
    assert mean_difference(ours, theirs) == pytest.approx(
        (0.2, 0.2 - 4.30265 * 0.1 / 3**0.5, 0.2 + 4.30265 * 0.1 / 3**0.5), rel=1e-5
    )
    assert mean_difference([0.75, 0.5], [0.5, 0.25]) == (0.25, 0.25, 0.25)


def test_holm_corrects_a_worked_example() -> None:
    # Sorted .005, .01, .03, .04 count 4, 3, 2 and 1 fold; the last is raised to the one before it.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


@given(
    p=st.lists(st.integers(0, 1000).map(lambda value: value / 1000), min_size=1, max_size=8),
    alpha=st.integers(1, 400).map(lambda value: value / 1000 + 0.0003),
)
def test_corrected_p_values_reject_what_the_step_down_procedure_rejects(p: list[float], alpha: float) -> None:
    assert set(np.flatnonzero(holm(p) <= alpha)) == step_down(p, alpha)


@pytest.mark.parametrize("seed", range(4))
def test_the_pairs_p_values_are_those_of_enumerated_signs_after_holm(seed: int) -> None:
    scores = np.random.default_rng(seed).random((9, 4)) + np.array([0.0, 0.1, 0.3, 0.6])
    pairs = list(combinations(range(4), 2))
    raw = [exact_p(scores[:, a] - scores[:, b]) for a, b in pairs]
    found = wilcoxon_holm(scores)
    np.testing.assert_allclose(found, found.T)
    np.testing.assert_allclose(np.diag(found), 1)
    for index, (a, b) in enumerate(pairs):
        # The corrected value is the smallest level at which the procedure rejects.
        assert index in step_down(raw, found[a, b] + 1e-9) or found[a, b] == 1
        assert index not in step_down(raw, found[a, b] - 1e-9)


def test_methods_that_are_equal_everywhere_have_p_one() -> None:
    scores = np.random.default_rng(0).random((7, 1))
    np.testing.assert_array_equal(wilcoxon_holm(np.hstack([scores, scores])), np.ones((2, 2)))


@pytest.mark.parametrize("methods", [2, 3, 8])
def test_the_sets_needed_are_the_fewest_on_which_a_clear_difference_is_significant(methods: int) -> None:
    pairs = methods * (methods - 1) // 2

    def smallest(sets: int) -> float:
        return exact_p(np.arange(1.0, sets + 1)) * pairs

    needed = sets_needed(methods)
    assert smallest(needed) <= 0.05 < smallest(needed - 1)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_the_pareto_front_is_that_of_brute_force(points: list[tuple[int, int]]) -> None:
    def beats(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return (a[0] < b[0] and a[1] >= b[1]) or (a[0] <= b[0] and a[1] > b[1])

    expected = [not any(beats(other, point) for other in points) for point in points]
    assert pareto_front([cost for cost, _ in points], [score for _, score in points]).tolist() == expected
