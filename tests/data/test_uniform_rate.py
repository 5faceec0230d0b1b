# SPDX-License-Identifier: Apache-2.0
"""Resampling of recordings, against sines whose values are known, scipy's frequency response and numpy's interpolation."""

import numpy as np
import pytest
from scipy import signal

from memkd_edge.data.uniform_rate import CUTOFF, HALF_LENGTH, evenly_spaced, resample_evenly, sample_positions

RATES = [(100.0, 50.0), (104.27, 50.0), (200.0, 20.0), (52.0, 50.0), (50.0, 100.0)]


def sine(hz: float, rate: float, seconds: float = 20.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate).astype(np.float32)[:, None]


def amplitude(y: np.ndarray, hz: float, rate: float) -> float:
    """Least-squares amplitude of a sine in the middle of y, where the ends play no part."""
    middle = slice(int(rate * 2), -int(rate * 2))
    angle = 2 * np.pi * hz * np.arange(len(y)) / rate
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)[middle]
    return float(np.hypot(*np.linalg.lstsq(basis, y[middle, 0], rcond=None)[0]))


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_a_slow_sine_keeps_its_amplitude_and_its_phase(rate_in: float, rate_out: float) -> None:
    y = resample_evenly(sine(3.0, rate_in), rate_in, rate_out)
    expected = np.sin(2 * np.pi * 3.0 * np.arange(len(y)) / rate_out)
    inside = slice(int(rate_out), -int(rate_out))
    assert np.abs(y[inside, 0] - expected[inside]).max() < 0.01
    assert len(y) == pytest.approx(20 * rate_out, abs=rate_out / rate_in + 1)


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_the_gain_at_rest_is_exactly_one(rate_in: float, rate_out: float) -> None:
    level = np.float32(9.80665)
    assert (resample_evenly(np.full((300, 2), level), rate_in, rate_out) == level).all()


@pytest.mark.parametrize(("rate_in", "rate_out"), [pair for pair in RATES if pair[0] > 1.5 * pair[1]])
def test_what_lies_above_the_new_nyquist_frequency_is_gone(rate_in: float, rate_out: float) -> None:
    for hz in np.linspace(0.503 * rate_out, 0.49 * rate_in, 7):
        y = resample_evenly(sine(hz, rate_in), rate_in, rate_out)
        assert np.abs(y[int(rate_out) : -int(rate_out)]).max() < 0.01, hz


def test_an_integer_factor_is_a_fir_filter_that_a_device_can_repeat() -> None:
    factor = 4
    taps = np.sinc(np.arange(-HALF_LENGTH * factor, HALF_LENGTH * factor + 1) * CUTOFF / factor) * np.hamming(
        2 * HALF_LENGTH * factor + 1
    )
    taps /= taps.sum()
    x = np.random.default_rng(0).normal(size=(800, 3)).astype(np.float32)
    y = resample_evenly(x, 100.0, 25.0)
    filtered = signal.lfilter(taps, 1.0, x.astype(np.float64), axis=0)[2 * HALF_LENGTH * factor :: factor]  # causal, delayed
    assert np.abs(y[HALF_LENGTH : HALF_LENGTH + len(filtered)] - filtered).max() < 1e-6
    _, response = signal.freqz(taps, worN=np.pi * np.linspace(1.0, 4.0, 400) / factor)
    assert 20 * np.log10(np.abs(response).max()) < -40


def test_the_ends_go_on_with_their_last_value() -> None:
    x = np.linspace(0, 1, 50, dtype=np.float32)[:, None]
    y = resample_evenly(x, 10.0, 5.0)
    longer = np.concatenate([np.repeat(x[:1], 40, axis=0), x, np.repeat(x[-1:], 40, axis=0)])
    assert np.allclose(y, resample_evenly(longer, 10.0, 5.0)[20 : 20 + len(y)], atol=1e-6)
    assert sample_positions(50, 10.0, 5.0).tolist() == list(range(0, 50, 2))
    assert sample_positions(1, 10.0, 5.0).tolist() == [0]


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).normal(size=(500, 2)).astype(np.float32)
    whole = resample_evenly(x, 100.0, 33.0)
    monkeypatch.setattr("memkd_edge.data.uniform_rate._BLOCK", 7)
    assert (resample_evenly(x, 100.0, 33.0) == whole).all()


def test_uneven_samples_are_interpolated_and_labels_are_those_of_the_nearest() -> None:
    seconds = np.array([0.0, 0.1, 0.25, 0.3, 0.7])
    x = np.stack([np.arange(5.0), np.arange(5.0) ** 2], axis=1).astype(np.float32)
    y, nearest = evenly_spaced(seconds, x, 10.0)
    at = np.arange(8) / 10
    assert np.allclose(y, np.stack([np.interp(at, seconds, column) for column in x.T], axis=1), atol=1e-6)
    assert nearest.tolist() == [0, 1, 2, 3, 3, 4, 4, 4]
