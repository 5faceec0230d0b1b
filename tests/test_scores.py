# SPDX-License-Identifier: Apache-2.0
"""Metrics against scikit-learn and hand-computed cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from memkd_edge import scores as metrics
from memkd_edge.errors import UsageError


def _scikit_auc_prc(logits: np.ndarray, y: np.ndarray) -> float:
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return float(np.mean([average_precision_score(y == k, probability[:, k]) for k in np.unique(y)]))


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(2, 60),
    classes=st.integers(2, 6),
    rounded=st.sampled_from([None, 0, 1]),
    present=st.integers(1, 6),
    seed=st.integers(0, 9999),
)
def test_population_auc_prc_equals_scikit_learn_with_ties_and_absent_classes(
    count: int, classes: int, rounded: int | None, present: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(3, count, classes)) * 2
    if rounded is not None:
        logits = logits.round(rounded)
    y = generator.integers(0, min(present, classes), count)
    wanted = []
    for one in logits:
        # The library's own probabilities: an ulp of difference in exp would break ties.
        probability = metrics.softmax(one)
        wanted.append(np.mean([average_precision_score(y == k, probability[:, k]) for k in np.unique(y)]))
    np.testing.assert_allclose(metrics.auc_prc(logits, y), wanted, rtol=1e-12)


def test_auc_prc_of_a_hand_computed_case() -> None:
    # Ranked by class 1's score: hit, miss, hit, miss: AP(1) = (1/1 + 2/3) / 2; by class 0's, the reverse order: the same.
    logits = np.array([[[0.0, 4.0], [0.0, 3.0], [0.0, 2.0], [0.0, 1.0]]])
    assert metrics.auc_prc(logits, [1, 0, 1, 0])[0] == pytest.approx(5 / 6)


def test_a_constant_classifier_scores_the_class_shares() -> None:
    y = np.array([0, 0, 0, 1])
    assert metrics.auc_prc(np.zeros((1, 4, 2)), y)[0] == pytest.approx((0.75 + 0.25) / 2)


def test_classification_metrics_equal_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    logits, y = generator.normal(size=(200, 4)), generator.integers(0, 4, 200)
    logits[np.arange(200), y] += 1
    got = metrics.classification_metrics(logits, y)
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    predicted = logits.argmax(1)
    assert got["accuracy"] == pytest.approx((predicted == y).mean())
    assert got["auc_prc"] == pytest.approx(_scikit_auc_prc(logits, y))
    assert got["f1_macro"] == pytest.approx(f1_score(y, predicted, average="macro"))
    assert got["roc_auc"] == pytest.approx(roc_auc_score(y, probability, multi_class="ovr", average="macro"))
    assert set(got) == {"accuracy", "auc_prc", "f1_macro", "roc_auc", "calibration_error"}


def test_classes_absent_from_y_are_left_out_of_the_means() -> None:
    logits = np.array([[2.0, 0, 0], [0, 2.0, 0], [3.0, 0, 0], [0, 3.0, 0]])
    got = metrics.classification_metrics(logits, [0, 1, 0, 1])
    assert got["auc_prc"] == got["roc_auc"] == got["f1_macro"] == 1.0
    logits[3] = [0, 0, 3.0]  # decided for a class that is not there: F1 of 0 is 1, of 1 is 2/3
    assert metrics.classification_metrics(logits, [0, 1, 0, 1])["f1_macro"] == pytest.approx(5 / 6)


def test_predictions_of_huge_logits_do_not_overflow() -> None:
    got = metrics.classification_metrics(np.array([[1e4, -1e4], [-1e4, 1e4]]), [0, 1])
    assert got["auc_prc"] == got["accuracy"] == 1.0
    assert got["calibration_error"] == 0.0


def test_calibration_error_of_hand_computed_cases() -> None:
    # Four series, all with confidence 3/4 in class 0.
    logits = np.tile([math.log(3.0), 0.0], (4, 1))
    assert metrics.calibration_error(logits, [0, 0, 0, 1]) == pytest.approx(0)
    assert metrics.calibration_error(logits, [1, 1, 1, 1]) == pytest.approx(0.75)
    # Two bins: confidence 3/4, always right (1/4 off); confidence 9/10, never right (9/10 off).
    mixed = np.array([[math.log(3.0), 0.0], [math.log(9.0), 0.0]])
    assert metrics.calibration_error(mixed, [0, 1]) == pytest.approx((0.25 + 0.9) / 2)


def test_calibration_error_equals_the_loop_over_bins() -> None:
    generator = np.random.default_rng(3)
    logits, y = generator.normal(size=(300, 3)) * 2, generator.integers(0, 3, 300)
    probability = metrics.softmax(logits)
    confidence, correct = probability.max(1), probability.argmax(1) == y
    wanted = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            wanted += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert metrics.calibration_error(logits, y) == pytest.approx(wanted)


def test_per_class_table_of_a_hand_computed_case() -> None:
    logits = np.array([[2.0, 0, 0], [2.0, 0, 0], [0, 1.0, 0], [0, 3.0, 0]])
    rows = metrics.per_class_table(logits, [0, 1, 1, 1], ["rest", "walk", "run"])
    assert [row["label"] for row in rows] == ["rest", "walk", "run"]
    assert [row["support"] for row in rows] == [1, 3, 0]
    assert [row["precision"] for row in rows] == pytest.approx([0.5, 1, 0])
    assert [row["recall"] for row in rows] == pytest.approx([1, 2 / 3, 0])
    assert [row["f1"] for row in rows] == pytest.approx([2 / 3, 0.8, 0])
    assert rows[0]["auc_prc"] == pytest.approx(0.5)
    assert rows[2]["auc_prc"] is None


def test_agreement_counts_equal_decisions() -> None:
    first = np.array([[1, 0], [0, 1], [1, 0], [3, 2]])
    second = np.array([[9, 0], [0, 9], [0, 9], [5, 4]])
    assert metrics.agreement(first, second) == 0.75
    with pytest.raises(UsageError, match=r"\(4, 2\) and \(3, 2\)"):
        metrics.agreement(first, second[:3])


def test_retention_is_student_over_teacher() -> None:
    student = {"accuracy": 0.9, "auc_prc": 0.8, "f1_macro": 0.7, "roc_auc": 0.6, "calibration_error": 0.1}
    teacher = {"accuracy": 1.0, "auc_prc": 0.8, "f1_macro": 1.4, "roc_auc": 0.0, "calibration_error": 0.2}
    assert metrics.retention(student, teacher) == pytest.approx({"accuracy": 0.9, "auc_prc": 1.0, "f1_macro": 0.5})


@pytest.mark.parametrize(
    ("decisions", "samples"),
    [([1, 1, 1, 1], 1), ([0, 1, 1, 1], 2), ([0, 0, 0, 1], 4), ([1, 0, 1, 1], 3), ([2, 1, 0, 1], 4), ([1], 1)],
)
def test_warm_up_is_the_first_sample_from_which_the_decision_stays(decisions: list[int], samples: int) -> None:
    logits = np.eye(3)[decisions][None]  # [1, T, 3]
    assert metrics.warm_up_samples(logits).tolist() == [samples]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=1, max_size=5))
def test_warm_up_equals_its_definition(decisions: list[list[int]]) -> None:
    got = metrics.warm_up_samples(np.eye(3)[np.array(decisions)])
    for row, samples in zip(decisions, got, strict=True):
        final = [n for n in range(1, 7) if all(decision == row[-1] for decision in row[n - 1 :])]
        assert samples == final[0]


@pytest.mark.parametrize(
    ("logits", "y", "part"),
    [
        (np.zeros((0, 2)), [], "N >= 1"),
        (np.zeros((3, 2)), [0, 1], r"\(3, 2\) and \(2,\)"),
        (np.zeros((2, 2)), [0, 2], "classes 0 .. 2"),
        (np.array([[0.0, 1], [np.nan, 0]]), [0, 1], "series 1, class 0 is nan"),
        (np.zeros((2, 2)), [1, 1], "all 2 series are of class 1"),
    ],
)
def test_input_that_has_no_metrics_is_refused(logits: np.ndarray, y: list[int], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        metrics.classification_metrics(logits, y)


def test_the_majority_baseline_is_what_scikit_learn_gives_a_constant_decision() -> None:
    known, y = np.array([2, 2, 1, 0, 2, 1]), np.array([0, 2, 2, 1, 1, 2, 2, 0])
    assert metrics.majority_class(known) == 2
    assert metrics.majority_class([1, 0, 0, 1]) == 0
    found = metrics.majority_metrics(known, y)
    constant = np.tile([0.0, 0.0, 1.0], (8, 1))
    assert found == {"accuracy": 4 / 8, "auc_prc": pytest.approx(_scikit_auc_prc(constant, y))}
    assert found == pytest.approx({key: metrics.classification_metrics(constant, y)[key] for key in found})


def test_a_score_beats_the_majority_only_by_more_than_chance() -> None:
    # Two standard errors of .5 on 100 series are .1.
    assert not metrics.beats_majority(0.4, 0.5, 100)
    assert not metrics.beats_majority(0.599, 0.5, 100)
    assert metrics.beats_majority(0.601, 0.5, 100)
