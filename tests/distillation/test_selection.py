# SPDX-License-Identifier: Apache-2.0
"""The choice of method, weight, stopping epoch and seed, on hand-made scores."""

from dataclasses import replace

import numpy as np
import pytest

from memkd_edge.distillation.selection import ScoreHistory, choose, going_on, method_scores
from memkd_edge.distillation.students import Candidate


def history(score, loss=None):
    """Scores [V, P] at epochs 10, 20, ...; all losses 1 unless given."""
    score = np.array(score, float)
    return ScoreHistory(10 * np.arange(1, len(score) + 1), score, np.ones_like(score) if loss is None else np.array(loss, float))


def candidates(*groups, seeds=2):
    return [Candidate(method, weight, seed) for method, weight in groups for seed in range(seeds)]


def test_the_stopping_epoch_is_that_of_the_best_smoothed_mean_in_the_second_half():
    # Means .9 .2 .3 .8 .5 .7: smoothed .55 .467 .433 .533 .667 .6; the first three lie in the first half.
    scores = [[0.9, 0.9], [0.2, 0.2], [0.2, 0.4], [0.8, 0.8], [0.4, 0.6], [0.7, 0.7]]
    (score,) = method_scores(candidates(("base", 0.0)), history(scores))
    assert score.epoch == 50
    np.testing.assert_array_equal(score.score, [0.4, 0.6])


def test_of_equal_scorings_the_latest_stops():
    (score,) = method_scores(candidates(("base", 0.0)), history([[1.0, 1.0]] * 6))
    assert score.epoch == 60


def test_each_method_keeps_its_best_weight_and_the_mean_decides_not_a_single_seed():
    students = candidates(("kd", 1.0), ("kd", 3.0), ("base", 0.0))
    choice = choose(students, history([[1.0, 0.5, 0.8, 0.84, 0.7, 0.7]]))
    assert [(one.method, one.weight) for one in choice.methods] == [("kd", 3.0), ("base", 0.0)]
    assert (choice.kept.method, choice.kept.weight) == ("kd", 3.0)
    assert students[choice.index] == Candidate("kd", 3.0, 1)
    assert "kd with weight 3 has the highest mean validation AUC-PRC (0.820 over 2 seeds)" in choice.reason


@pytest.mark.parametrize(("memkd", "kept"), [(0.8998, "memkd"), (0.898, "kd")])
def test_of_methods_tied_to_three_decimals_a_memkd_method_is_kept_and_the_reason_says_so(memkd, kept):
    students = candidates(("kd", 1.0), ("memkd", 10.0))
    choice = choose(students, history([[0.8, 1.0, memkd, memkd]]))
    assert choice.kept.method == kept
    assert ("ties go to MemKD" in choice.reason) == (kept == "memkd")


def test_equal_scores_are_decided_by_the_lower_cross_entropy():
    students = candidates(("base", 0.0), ("kd", 1.0))
    choice = choose(students, history([[1.0] * 4], [[0.3, 0.4, 0.2, 0.1]]))
    assert students[choice.index] == Candidate("kd", 1.0, 1)


def test_the_reason_names_the_series_that_were_chosen_on():
    assert "highest mean test AUC-PRC" in choose(candidates(("base", 0.0)), history([[0.5, 0.6]]), "test").reason


def test_half_way_each_method_goes_on_with_its_best_weight_by_the_last_three_scorings() -> None:
    students = candidates(("base", 0.0), ("kd", 1.0), ("kd", 3.0))
    scores = history([[0.5] * 2 + [0.9] * 2 + [0.2] * 2, *[[0.5] * 2 + [0.6, 0.7] + [0.7, 0.65]] * 3])
    assert going_on(students, scores) == [*students[:2], *students[4:]]
    equal = history([[0.5] * 6] * 3, [[0.5] * 2 + [0.3, 0.4] + [0.3, 0.5]] * 3)
    assert going_on(students, equal) == students[:4]


def test_what_was_given_up_half_way_is_not_chosen_and_has_its_score_from_there() -> None:
    students = candidates(("kd", 1.0), ("kd", 3.0))
    scores = history([[0.5, 0.5, 0.7, 0.9], [0.6, 0.6, np.nan, np.nan]])
    assert choose(students, scores).kept.weight == 1.0
    assert [(one.epoch, round(float(one.score.mean()), 3)) for one in method_scores(students, scores)] == [(20, 0.6), (10, 0.8)]


def test_students_that_train_on_are_judged_by_the_last_scoring() -> None:
    scores = replace(history([[0.5] * 2, [0.9] * 2, [0.9] * 2, [0.7] * 2]), to_the_end=True)
    (score,) = method_scores(candidates(("base", 0.0)), scores)
    assert (score.epoch, float(score.score.mean())) == (40, 0.7)
