# SPDX-License-Identifier: Apache-2.0
"""Resampling and normalisation against torch and scipy, and the stream against the window."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from memkd_edge.data.normalisation import normalise, statistics
from memkd_edge.data.resampling import CUTOFF, StreamingResampler, low_pass, parse_resampling, resample
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.metadata import Resampling

FEW = settings(max_examples=60, deadline=None)


def series(length, channels=2, count=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, length, channels)).astype(np.float32)


@pytest.mark.parametrize(("length", "wanted"), [(637, 100), (24, 100), (100, 100), (3, 7), (150, 3)])
def test_linear_resampling_equals_torchs_interpolation_with_aligned_corners(length, wanted):
    x = series(length)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x).double().transpose(1, 2), size=wanted, mode="linear", align_corners=True
    ).transpose(1, 2)
    result = resample(x, parse_resampling(f"linear:{wanted}", length))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected.numpy(), atol=1e-6)
    np.testing.assert_array_equal(result[:, [0, -1]], x[:, [0, -1]])


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_the_low_pass_is_scipys_windowed_sinc(factor):
    taps = low_pass(factor)
    expected = signal.firwin(len(taps), CUTOFF / factor, window="hamming")
    np.testing.assert_allclose(taps, expected, atol=1e-7)


@pytest.mark.parametrize("factor", [2, 5])
def test_decimation_equals_scipys_causal_filter_started_at_rest_on_the_first_sample(factor):
    x = series(101)
    taps = np.array(low_pass(factor))
    held = np.concatenate([np.repeat(x[:, :1], len(taps), axis=1), x], axis=1)
    expected = signal.lfilter(taps, [1.0], held, axis=1)[:, len(taps) :][:, factor - 1 :: factor]
    result = resample(x, parse_resampling(f"decimate:{factor}", 101))
    assert result.shape == (3, 101 // factor, 2)
    np.testing.assert_allclose(result, expected, atol=2e-6)


def test_decimation_passes_a_slow_signal_and_removes_one_that_would_alias():
    factor, time = 8, np.arange(2000)
    resampling = parse_resampling(f"decimate:{factor}", time.size)
    slow, fast = (np.sin(2 * np.pi * cycles / factor * time).astype(np.float32)[None, :, None] for cycles in (0.05, 0.95))
    assert np.abs(resample(slow, resampling)[:, 20:]).max() > 0.98
    assert np.abs(resample(fast, resampling)[:, 20:]).max() < 0.01
    assert np.abs(fast[:, ::factor][:, 20:]).max() > 0.9, "without the filter it would alias"


def test_a_constant_signal_stays_itself_from_the_first_output():
    x = np.full((1, 40, 1), 9.81, dtype=np.float32)
    for text in ("decimate:4", "linear:17", "none"):
        np.testing.assert_allclose(resample(x, parse_resampling(text, 40)), 9.81, rtol=1e-6)


def test_none_and_a_factor_of_one_change_nothing():
    x = series(30)
    for text in ("none", "decimate:1", "linear:30"):
        np.testing.assert_array_equal(resample(x, parse_resampling(text, 30)), x)


def stream(x, resampling):
    resampler = StreamingResampler(resampling)
    outputs = [output for sample in x for output in resampler.push(sample)]
    return np.stack(outputs)


@FEW
@given(length=st.integers(3, 120), wanted=st.integers(3, 150), seed=st.integers(0, 100))
def test_the_linear_stream_equals_the_window_bit_for_bit(length, wanted, seed):
    x, resampling = series(length, seed=seed)[0], parse_resampling(f"linear:{wanted}", length)
    np.testing.assert_array_equal(stream(x, resampling), resample(x[None], resampling)[0])


@FEW
@given(length=st.integers(24, 120), factor=st.integers(1, 8), seed=st.integers(0, 100))
def test_the_decimated_stream_equals_the_window_bit_for_bit(length, factor, seed):
    x, resampling = series(length, seed=seed)[0], parse_resampling(f"decimate:{factor}", length)
    np.testing.assert_array_equal(stream(x, resampling), resample(x[None], resampling)[0])


def test_linear_windows_follow_one_another_in_a_stream():
    x, resampling = series(20)[:2].reshape(40, 2), parse_resampling("linear:7", 20)
    np.testing.assert_array_equal(stream(x, resampling), resample(x.reshape(2, 20, 2), resampling).reshape(14, 2))


@pytest.mark.parametrize("text", ["none", "linear:9", "decimate:3"])
def test_a_reset_stream_starts_afresh(text):
    x, resampling = series(30)[0], parse_resampling(text, 30)
    resampler = StreamingResampler(resampling)
    for sample in x[:13]:
        resampler.push(sample + 5)
    resampler.reset()
    outputs = [output for sample in x for output in resampler.push(sample)]
    np.testing.assert_array_equal(np.stack(outputs), resample(x[None], resampling)[0])


def test_an_output_is_given_as_soon_as_its_samples_are_there():
    resampler = StreamingResampler(parse_resampling("linear:3", 5))
    given = [len(resampler.push(sample)) for sample in series(5)[0]]
    assert given == [1, 0, 1, 0, 1]
    resampler = StreamingResampler(parse_resampling("decimate:4", 12))
    assert [len(resampler.push(sample)) for sample in series(12)[0]] == [0, 0, 0, 1] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cubic:5", "expected none, linear:LENGTH or decimate:FACTOR"),
        ("linear", "expected none, linear:LENGTH or decimate:FACTOR"),
        ("linear:2", "a length of at least 3 is needed"),
        ("decimate:0", "the factor may be 1 to 10"),
        ("decimate:11", "30 samples leave 2 time steps; at least 3 are needed, so the factor may be 1 to 10"),
    ],
)
def test_an_impossible_resampling_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_resampling(text, 30)


def test_a_window_of_another_length_cannot_be_resampled_linearly():
    with pytest.raises(UsageError, match="windows of 20 samples are expected, not of 30"):
        resample(series(30), parse_resampling("linear:10", 20))


def test_a_kind_of_a_later_version_is_refused_and_not_ignored():
    with pytest.raises(MemkdEdgeError, match=r"unknown resampling 'spline'; this version knows none, linear, decimate"):
        StreamingResampler(Resampling("spline"))


def test_the_taps_survive_a_trip_through_json():
    import json

    taps = low_pass(4)
    assert tuple(json.loads(json.dumps(taps))) == taps
    assert Resampling(**{**parse_resampling("decimate:4", 40).__dict__}).taps == taps


def test_normalised_training_data_has_zero_mean_and_unit_deviation_per_channel():
    x = series(50) * np.float32([3, 0.01]) + np.float32([100, -2])
    mean, std = statistics(x)
    np.testing.assert_allclose(mean, x.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(std, x.std(axis=(0, 1)), rtol=1e-4)
    z = normalise(x, mean, std)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(axis=(0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(z.std(axis=(0, 1)), 1, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e6, -3e-20])
def test_a_constant_channel_becomes_zero_and_not_noise(level):
    x = np.full((4, 30, 1), level, dtype=np.float32)
    mean, std = statistics(x)
    assert std == (1.0,)
    assert np.abs(normalise(x, mean, std)).max() < 1e-6 * max(1, abs(level))
