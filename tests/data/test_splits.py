# SPDX-License-Identifier: Apache-2.0
"""Held-out parts: every class on both sides, no subject on both, the same seed the same split."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.data.splits import fold_numbers, hold_out
from memkd_edge.errors import UsageError

FEW = settings(max_examples=60, deadline=None)


@FEW
@given(counts=st.lists(st.integers(2, 30), min_size=2, max_size=6), fraction=st.floats(0.05, 0.9), seed=st.integers(0, 1000))
def test_a_stratified_split_holds_out_the_fraction_of_each_class_and_leaves_none_out(counts, fraction, seed):
    targets = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    labels = tuple(str(index) for index in range(len(counts)))
    held_out = hold_out(targets, fraction, seed, labels)
    np.testing.assert_array_equal(held_out, hold_out(targets, fraction, seed, labels))
    for index, count in enumerate(counts):
        held = int(held_out[targets == index].sum())
        assert 1 <= held <= count - 1
        assert abs(held - fraction * count) <= 1.0


@pytest.mark.parametrize("fraction", [0.75, 0.9, 0.99])
def test_a_small_class_keeps_a_series_to_train_on_whatever_the_fraction(fraction):
    targets = np.repeat([0, 1], [30, 2])
    held_out = hold_out(targets, fraction, 0, ("many", "few"))
    assert held_out[targets == 1].sum() == 1


def test_another_seed_gives_another_split():
    targets = np.repeat([0, 1], 20)
    assert (hold_out(targets, 0.25, 0, ("a", "b")) != hold_out(targets, 0.25, 1, ("a", "b"))).any()


@settings(max_examples=20, deadline=None)
@given(subjects=st.integers(3, 12), fraction=st.floats(0.1, 0.9), seed=st.integers(0, 1000))
def test_a_split_by_subject_never_has_a_subject_on_both_sides(subjects, fraction, seed):
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(subjects), 6)
    targets = np.tile([0, 0, 1, 1, 2, 2], subjects)
    order = generator.permutation(groups.size)
    groups, targets = groups[order], targets[order]
    held_out = hold_out(targets, fraction, seed, ("a", "b", "c"), groups)
    assert not set(groups[held_out]) & set(groups[~held_out])
    assert set(targets[held_out]) == set(targets[~held_out]) == {0, 1, 2}
    np.testing.assert_array_equal(held_out, hold_out(targets, fraction, seed, ("a", "b", "c"), groups))
    # Subjects have equally many series: the nearest number of them is half a subject away, or one of them must stay.
    assert abs(held_out.mean() - fraction) <= max(0.5 / subjects, 1 / subjects - fraction, fraction - 1 + 1 / subjects) + 1e-9


def test_a_split_by_subject_is_near_the_fraction_when_subjects_are_many():
    groups = np.repeat(np.arange(20), 5)
    held_out = hold_out(np.tile([0, 1, 0, 1, 0], 20), 0.25, 0, ("a", "b"), groups)
    assert held_out.mean() == pytest.approx(0.25)


def test_a_class_of_a_single_subject_is_named():
    with pytest.raises(UsageError, match="class 'b' was recorded with a single subject"):
        hold_out(np.array([0, 0, 0, 1, 1]), 0.3, 0, ("a", "b"), np.array([0, 1, 2, 2, 2]))


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_two_subjects_keeps_one_to_train_on_whatever_the_fraction(seed):
    targets, groups = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 0, 1])
    held_out = hold_out(targets, 0.75, seed, ("a", "b"), groups)
    assert list(np.bincount(targets[held_out])) == [3, 1]


def test_classes_that_no_choice_of_subjects_can_divide_are_refused():
    # Each of the three subjects lacks one class, and one subject is held out.
    targets, groups = np.array([0, 1, 1, 2, 0, 2]), np.array([0, 0, 1, 1, 2, 2])
    with pytest.raises(UsageError, match="no choice of 1 of 3 subjects leaves every class on both sides"):
        hold_out(targets, 0.3, 0, ("a", "b", "c"), groups)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 25.0])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(UsageError, match="between 0 and 1"):
        hold_out(np.array([0, 0, 1, 1]), fraction, 0, ("a", "b"))


def test_a_class_with_one_series_cannot_be_split():
    with pytest.raises(UsageError, match="class 'b' has fewer than two series"):
        hold_out(np.array([0, 0, 1]), 0.5, 0, ("a", "b"))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_folds_hold_every_series_out_once_and_leave_every_class_to_train_on(data):
    classes = data.draw(st.integers(2, 5))
    counts = data.draw(st.lists(st.integers(2, 30), min_size=classes, max_size=classes))
    folds = data.draw(st.integers(2, 6))
    targets = np.repeat(np.arange(classes), counts)
    numbers = fold_numbers(targets, folds, data.draw(st.integers(0, 99)), tuple(map(str, range(classes))))
    for index in range(classes):
        of_class = np.bincount(numbers[targets == index], minlength=folds)
        assert of_class.max() - of_class.min() <= 1
        assert of_class.max() < counts[index]
    sizes = np.bincount(numbers, minlength=folds)
    assert sizes.max() - sizes.min() <= 1


def test_folds_keep_subjects_whole():
    targets = np.tile([0, 0, 1, 1], 10)
    groups = np.repeat(np.arange(10), 4)
    numbers = fold_numbers(targets, 4, 0, ("a", "b"), groups)
    assert set(numbers) == {0, 1, 2, 3}
    assert all(len(set(numbers[groups == group])) == 1 for group in range(10))


def test_folds_need_two_series_and_two_subjects_of_each_class():
    with pytest.raises(UsageError, match="'b' has fewer than two series"):
        fold_numbers(np.array([0, 0, 0, 1]), 2, 0, ("a", "b"))
    with pytest.raises(UsageError, match="'b' was recorded with a single subject"):
        fold_numbers(np.array([0, 0, 1, 1]), 2, 0, ("a", "b"), np.array([0, 1, 1, 1]))


def test_no_fold_takes_all_subjects_of_a_class():
    # Class 1 was recorded with two of eight subjects: dealt to two folds, both may land in one, which leaves none to train on.
    targets = np.array([0] * 8 + [1] * 2)
    groups = np.array([*range(8), 0, 1])
    for seed in range(5):
        numbers = fold_numbers(targets, 2, seed, ("a", "b"), groups)
        assert len(set(numbers[targets == 1])) == 2
    # Three subjects with two of three classes each: two folds always hold two subjects in one, and with them all of a class.
    with pytest.raises(UsageError, match="no way to deal 3 subjects to 2 folds keeps every class outside each fold"):
        fold_numbers(np.array([0, 1, 1, 2, 0, 2]), 2, 0, ("a", "b", "c"), np.array([0, 0, 1, 1, 2, 2]))
