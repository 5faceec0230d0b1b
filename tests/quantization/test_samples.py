# SPDX-License-Identifier: Apache-2.0
"""Real samples as integers: rounding, saturation, and int8 samples that carry over."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from memkd_edge.quantization.samples import quantize_array, quantize_sample, quantize_series

FLOATS = st.floats(-200, 200, width=32)


def test_a_resting_signal_is_right_on_average() -> None:
    x = np.full((1, 8, 1), 0.3, np.float32)
    # By hand, in steps of 0.5: 0.6 rounds to 1, rest -0.4; 0.2 to 0, rest 0.2; 0.8 to 1, -0.2; 0.4 to 0, 0.4; 1.0 to 1, 0.
    assert quantize_series(x, 0.5, 0)[0, :, 0].tolist() == [1, 0, 1, 0, 1, 1, 0, 1]
    assert quantize_series(x, 0.5, -7)[0, :, 0].tolist() == [-6, -7, -6, -7, -6, -6, -7, -6]


def test_halves_round_away_from_zero_and_clamped_samples_leave_no_rest() -> None:
    samples, rests = quantize_sample(np.array([0.5, -0.5, 127.4, 127.6, -129, 1e38, -1e38]), np.zeros(7, np.float32), 0.5 * 2, 0)
    assert samples.tolist() == [1, -1, 127, 127, -128, 127, -128]
    np.testing.assert_allclose(rests, [-0.5, 0.5, 0.4, 0, 0, 0, 0], atol=1e-5)
    samples, rests = quantize_sample(np.full(1, 3e38, np.float32), np.zeros(1, np.float32), 1e-3, 0)  # beyond float32
    assert (samples.tolist(), rests.tolist()) == ([127], [0])


@given(arrays(np.float32, (3, 40, 2), elements=FLOATS), st.sampled_from([1.0, 0.75, 3.0]), st.integers(-20, 20))
def test_the_sum_of_the_samples_never_strays_from_the_signals(x: np.ndarray, scale: float, zero_point: int) -> None:
    q = quantize_series(x, scale, zero_point).astype(np.int64)
    inside = ((q > -128) & (q < 127)).all(1)  # of a clamped signal nothing is promised
    error = np.cumsum((q - zero_point) * scale - x.astype(np.float64), axis=1)
    assert (np.abs(error).max(1)[inside] <= 0.5 * scale * 1.001 + 0.02).all()


@given(arrays(np.float32, (2, 10, 3), elements=FLOATS), st.sampled_from([1.0, 0.3]))
def test_series_and_channels_are_independent_and_a_series_is_its_samples_one_by_one(x: np.ndarray, scale: float) -> None:
    whole = quantize_series(x, scale, 4)
    for series in range(2):
        for channel in range(3):
            rest = np.zeros(1, np.float32)
            for t in range(10):
                sample, rest = quantize_sample(x[series, t, channel : channel + 1], rest, scale, 4)
                assert whole[series, t, channel] == sample[0]


@given(st.floats(-40000, 40000, width=32), st.sampled_from([1.0, 0.5, 2.0**-9]))
def test_int16_samples_are_rounded_each_by_itself(value: float, scale: float) -> None:
    exact = Fraction(value) / Fraction(scale)
    half = Fraction(1, 2)
    rounded = int(exact + half) if exact >= 0 else -int(-exact + half)
    found = int(quantize_array(np.array([value], np.float32), scale)[0])
    # float32's own addition of 1/2 may round where the value is large.
    assert abs(found - min(max(rounded, -32768), 32767)) <= (0 if abs(exact) < 2**22 and (exact * 1024).denominator == 1 else 1)
