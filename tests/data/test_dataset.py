# SPDX-License-Identifier: Apache-2.0
"""Every check on input data, each with the message a user sees."""

import numpy as np
import pytest

from memkd_edge.config import DistillConfig
from memkd_edge.data.dataset import Description, RawPart, assemble
from memkd_edge.data.prepare import prepare
from memkd_edge.errors import UsageError
from memkd_edge.padding import lengths


def part(labels, *, steps=5, channels=2, subjects=None, kind="train"):
    series = [np.random.default_rng(i).normal(size=(steps, channels)) for i in range(len(labels))]
    return RawPart(series, list(labels), [f"{kind} series {i}" for i in range(len(labels))], subjects)


def test_a_sound_data_set_is_assembled():
    train, test = part("abab"), part("ba", kind="test")
    described = Description(channels=("x", "y"), units=("m", ""), sample_rate_hz=50.0, terms="free", source="here")
    data = assemble("D", train, test, described)
    np.testing.assert_array_equal(data.x_train, np.stack(train.series).astype(np.float32))
    np.testing.assert_array_equal(data.x_test, np.stack(test.series).astype(np.float32))
    assert data.x_train.dtype == np.float32
    assert data.y_train.dtype == np.int64
    assert list(data.y_train) == [0, 1, 0, 1]
    assert list(data.y_test) == [1, 0]
    assert (data.labels, data.channels, data.units) == (("a", "b"), ("x", "y"), ("m", ""))
    assert (data.sample_rate_hz, data.terms, data.source) == (50.0, "free", "here")
    assert data.groups_train is None
    assert data.split == ""


def test_numeric_labels_are_in_numerical_order_and_names_in_alphabetical_order():
    assert assemble("D", part(["10", "9", "10", "9", "-1", "-1"]), part(["9"]), Description()).labels == ("-1", "9", "10")
    assert assemble("D", part(["b", "10", "b", "10"]), part(["b"]), Description()).labels == ("10", "b")


def test_words_that_python_takes_for_numbers_are_names():
    assert assemble("D", part(["infinity", "1", "inf"] * 2), part(["1"]), Description()).labels == ("1", "inf", "infinity")


def test_given_labels_keep_their_order():
    assert list(assemble("D", part("abab"), part("a"), Description(labels=("b", "a"))).y_train) == [1, 0, 1, 0]


def test_the_hash_tells_contents_apart():
    original = assemble("D", part("abab"), part("ba"), Description())
    again = assemble("other name", part("abab"), part("ba"), Description())
    relabelled = assemble("D", part("abab"), part("ab"), Description())
    renamed = assemble("D", part("acac"), part("ca"), Description())
    assert original.sha256 == again.sha256
    assert len({original.sha256, relabelled.sha256, renamed.sha256}) == 3


def test_series_of_unequal_length_are_padded_to_the_longest_of_both_parts():
    train = part("abab")
    train.series[2] = train.series[2][:4]
    data = assemble("D", train, part("a", steps=6, kind="test"), Description())
    assert data.x_train.shape[1] == data.x_test.shape[1] == 6
    assert lengths(data.x_train).tolist() == [5, 5, 4, 5]
    assert lengths(data.x_test).tolist() == [6]
    np.testing.assert_array_equal(data.x_train[2, :4], train.series[2].astype(np.float32))
    assert "D: the series have 4 to 6 time steps; each is decided after its own last one" in data.notes


def test_short_runs_of_missing_values_are_interpolated():
    train = part("abab", steps=20)
    train.series[1][5:7, 1] = np.nan
    data = assemble("D", train, part("a", steps=20), Description())
    expected = np.interp([5, 6], [4, 7], train.series[1][[4, 7], 1])
    np.testing.assert_allclose(data.x_train[1, 5:7, 1], expected, rtol=1e-6)
    assert "D: missing values: 2 in 1 series; runs of up to a tenth of a series are interpolated" in data.notes


def test_a_series_with_another_number_of_channels_is_named():
    with pytest.raises(UsageError, match=r"^test series 0: the series has 3 channels where the first .* has 2"):
        assemble("D", part("abab"), part("a", channels=3, kind="test"), Description())


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-1e300, "-inf")])
def test_nan_and_infinity_name_sample_time_step_and_channel(value, shown):
    train = part("abab")
    train.series[1][2:4, 1] = value
    with pytest.raises(
        UsageError, match=rf"^train series 1: {shown} at time step 2, gyro \(2 such values in all\); fill the gaps"
    ):
        assemble("D", train, part("a"), Description(channels=("acc", "gyro")))


def test_one_class_only_is_refused():
    with pytest.raises(UsageError, match="all series are of class 'a'; a classifier needs at least two classes"):
        assemble("D", part("aaaa"), part("a"), Description())


def test_a_class_with_a_single_series_is_named():
    with pytest.raises(UsageError, match=r"class 'b' has only 1 series \(train series 2\); 2 are needed"):
        assemble("D", part("aaba"), part("ab"), Description())


def test_without_a_test_part_each_class_needs_three_series():
    with pytest.raises(UsageError, match=r"class 'b' has only 2 series \(train series 2\); 3 are needed"):
        assemble("D", part("aabbaa"), None, Description())


def test_fewer_than_three_time_steps_are_refused():
    with pytest.raises(UsageError, match="train series 0: the series has 2 time steps; at least 3 are needed"):
        assemble("D", part("abab", steps=2), part("a", steps=2), Description())


def test_an_empty_part_is_refused():
    with pytest.raises(UsageError, match="D: the training part holds no series"):
        assemble("D", part(""), part("a"), Description())
    with pytest.raises(UsageError, match="D: the test part holds no series"):
        assemble("D", part("abab"), part(""), Description())


def test_a_class_never_seen_in_training_is_refused():
    with pytest.raises(UsageError, match=r"test series 1: class 'c' .*"):
        assemble("D", part("abab"), part("ac", kind="test"), Description())
    with pytest.raises(UsageError, match="D: class 'c' has no series in the training part"):
        assemble("D", part("abab"), part("a"), Description(labels=("a", "b", "c")))


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (Description(channels=("x",)), "1 channel names are given for 2 channels"),
        (Description(units=("m",)), "1 units are given for 2 channels"),
        (Description(labels=("a", "b", "a")), "a class name is given twice"),
    ],
)
def test_names_that_do_not_fit_the_data_are_refused(described, message):
    with pytest.raises(UsageError, match=message):
        assemble("D", part("abab"), part("a"), described)


def test_a_missing_test_part_is_held_out_stratified_and_recorded():
    data = assemble("D", part("aaaabbbbbbbb"), None, Description(source="mine.npz"))
    assert np.bincount(data.y_train).tolist() == [3, 6]
    assert np.bincount(data.y_test).tolist() == [1, 2]
    assert data.source == "mine.npz"
    assert data.split == "3 of 12 series held out for the test, stratified, seed 0"
    assert prepare(data, DistillConfig()).metadata.dataset_split == data.split
    assert data.sha256 == assemble("D", part("aaaabbbbbbbb"), None, Description()).sha256


def test_a_missing_test_part_is_held_out_by_subject_where_subjects_are_known():
    subjects = [f"s{i % 4}" for i in range(24)]
    data = assemble("D", part("aaaabbbb" * 3, subjects=subjects), None, Description())
    assert data.groups_train is not None
    assert data.groups_test is not None
    assert len(set(data.groups_train)) == 3
    assert len(set(data.groups_test)) == 1
    assert not set(data.groups_train) & set(data.groups_test)
    assert "by subject" in data.split


def test_a_subject_in_both_parts_is_refused():
    train, test = part("abab", subjects=["p", "p", "q", "q"]), part("ab", subjects=["r", "q"])
    with pytest.raises(UsageError, match="subject 'q' is in both the training and the test part"):
        assemble("D", train, test, Description())


def test_subjects_of_the_training_part_alone_are_kept():
    data = assemble("D", part("abab", subjects=["p", "p", "q", "q"]), part("ab"), Description())
    assert data.groups_train is not None
    assert list(data.groups_train) == [0, 0, 1, 1]
    assert data.groups_test is None
