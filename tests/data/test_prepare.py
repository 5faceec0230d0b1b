# SPDX-License-Identifier: Apache-2.0
"""What training sees: parts that do not leak, and metadata from which a device repeats the front end."""

import numpy as np
import pytest

import memkd_edge
from memkd_edge.config import DistillConfig
from memkd_edge.data.dataset import Dataset, Description, RawPart, assemble
from memkd_edge.data.normalisation import normalise
from memkd_edge.data.prepare import prepare
from memkd_edge.data.registry import load_dataset
from memkd_edge.data.resampling import StreamingResampler
from memkd_edge.errors import UsageError


@pytest.fixture(scope="module")
def basic_motions() -> Dataset:
    return load_dataset("BasicMotions")


@pytest.mark.parametrize(("text", "steps"), [("none", 100), ("linear:40", 40), ("decimate:4", 25)])
def test_arrays_have_the_models_time_steps_and_metadata_tells_how(basic_motions, text, steps):
    prepared = prepare(basic_motions, DistillConfig(resample=text))
    assert prepared.x_train.shape == prepared.x_test.shape == (40, steps, 6)
    assert prepared.x_train.dtype == prepared.x_test.dtype == np.float32
    np.testing.assert_array_equal(prepared.y_train, basic_motions.y_train)
    metadata = prepared.metadata
    assert metadata.resampling.kind == text.split(":")[0]
    assert metadata.window_length == 100
    assert (metadata.labels, metadata.channels) == (basic_motions.labels, basic_motions.channels)
    assert (metadata.name, metadata.dataset, metadata.sample_rate_hz) == ("BasicMotions", "BasicMotions", 10.0)
    assert metadata.dataset_sha256 == basic_motions.sha256
    assert metadata.dataset_terms == basic_motions.terms
    assert metadata.version == memkd_edge.__version__
    assert type(metadata).from_json(metadata.to_json()) == metadata


@pytest.mark.parametrize("text", ["none", "linear:40", "decimate:4"])
def test_a_device_that_knows_only_the_metadata_gets_the_same_inputs(basic_motions, text):
    prepared = prepare(basic_motions, DistillConfig(resample=text))
    metadata = type(prepared.metadata).from_json(prepared.metadata.to_json())
    resampler = StreamingResampler(metadata.resampling)
    steps = [step for sample in basic_motions.x_test[7] for step in resampler.push(sample)]
    np.testing.assert_array_equal(normalise(np.stack(steps), metadata.mean, metadata.std), prepared.x_test[7])


def test_statistics_leave_a_single_held_out_part_out_and_otherwise_take_all_training_series(basic_motions):
    one = prepare(basic_motions, DistillConfig(folds=1))
    np.testing.assert_allclose(one.x_train[one.folds == -1].mean(axis=(0, 1)), 0, atol=1e-5)
    assert np.abs(one.x_train.std(axis=(0, 1)) - 1).max() > 0.01
    four = prepare(basic_motions, DistillConfig(folds=4))
    np.testing.assert_allclose(four.x_train.std(axis=(0, 1)), 1, atol=1e-4)


def test_a_small_set_is_dealt_to_four_folds_that_hold_every_class(basic_motions):
    prepared = prepare(basic_motions, DistillConfig())
    counts = [np.bincount(prepared.y_train[prepared.folds == fold], minlength=4) for fold in range(4)]
    assert np.sum(counts) == 40
    assert np.min(counts) == 2
    assert np.max(counts) == 3


def test_a_large_set_holds_one_part_out():
    data = assemble("D", _part("ab" * 200), _part("ab"), Description())
    folds = prepare(data, DistillConfig(validation=0.1)).folds
    assert np.bincount(folds + 1).tolist() == [360, 40]


def test_the_same_seed_prepares_the_same_arrays_and_another_seed_another_split(basic_motions):
    first, again, other = (prepare(basic_motions, DistillConfig(seed=seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.folds, again.folds)
    assert first.metadata == again.metadata
    assert (first.folds != other.folds).any()
    np.testing.assert_array_equal(first.y_test, other.y_test)


def test_golden_series_are_raw_and_of_different_classes(basic_motions):
    golden = prepare(basic_motions, DistillConfig(resample="decimate:4")).x_raw_golden
    assert golden.shape == (4, 100, 6)
    classes = [basic_motions.y_test[(basic_motions.x_test == series).all(axis=(1, 2)).argmax()] for series in golden]
    assert sorted(classes) == [0, 1, 2, 3]
    assert len(prepare(load_dataset("ACSF1"), DistillConfig()).x_raw_golden) == 4


def test_fewer_test_series_than_four_give_fewer_golden_ones():
    data = assemble("D", _part("ababab"), _part("ab"), Description())
    assert prepare(data, DistillConfig()).x_raw_golden.shape == (2, 5, 1)


def test_validation_is_held_out_by_subject():
    subjects = [f"s{index // 4}" for index in range(32)]
    data = assemble("D", _part("abab" * 8, subjects), _part("ab"), Description())
    assert data.groups_train is not None
    for folds in (1, 4):
        prepared = prepare(data, DistillConfig(validation=0.25, folds=folds))
        held_out = data.groups_train[prepared.folds == 0]
        assert len(held_out) == 8
        assert len(set(held_out)) == 2
        assert not set(held_out) & set(data.groups_train[prepared.folds != 0])


def test_an_impossible_validation_part_is_refused(basic_motions):
    with pytest.raises(UsageError, match=r"must lie between 0 and 1, not 1.5"):
        prepare(basic_motions, DistillConfig(validation=1.5, folds=1))


@pytest.mark.parametrize("folds", [-1, 41])
def test_an_impossible_number_of_folds_is_refused(basic_motions, folds):
    with pytest.raises(UsageError, match="--folds must lie between 1 and the 40 training series"):
        prepare(basic_motions, DistillConfig(folds=folds))


def test_a_test_part_of_one_class_is_refused_before_anything_is_trained():
    data = assemble("D", _part("ababab"), _part("bb"), Description())
    with pytest.raises(UsageError, match="all 2 test series are of class 'b'; scores need at least two classes"):
        prepare(data, DistillConfig())


def _part(labels, subjects=None):
    series = [np.random.default_rng(i).normal(size=(5, 1)) for i in range(len(labels))]
    return RawPart(series, list(labels), [str(i) for i in range(len(labels))], subjects)
