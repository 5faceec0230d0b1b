# SPDX-License-Identifier: Apache-2.0
"""Brings a stretch of samples to another rate behind an anti-aliasing filter that a device can repeat.

The filter is a windowed sinc (Hamming), as that of `decimate` (resampling.py), but longer, so that its stop band begins at the
Nyquist frequency of the lower rate. It is symmetric: the output has no delay here, a device that repeats it has half the
filter's length. Its gain at rest is exactly 1 in every phase, and the ends of a stretch are continued by their last value.
"""

import numpy as np
from numpy.typing import NDArray

from memkd_edge.data.resampling import CUTOFF

HALF_LENGTH = 9  # periods of the lower rate to each side: Hamming's transition, 3.3 / 18, fits twice into the 20 % above CUTOFF
_BLOCK = 1 << 15  # outputs at a time


def resample_evenly(x: NDArray[np.float32], rate_in: float, rate_out: float) -> NDArray[np.float32]:
    """Return evenly spaced samples at another rate, float32 [T, C] -> [T', C], the first at the same instant.

    The value at each new instant is the sum over the samples around it, weighted by a sinc that cuts at 0.8 of the Nyquist
    frequency of the lower rate. T' is as many as fit between the first and the last sample.
    """
    positions = sample_positions(len(x), rate_in, rate_out)
    stretch = max(rate_in / rate_out, 1.0)  # of the filter, in input samples
    reach = int(np.ceil(HALF_LENGTH * stretch))
    source = x.astype(np.float64)
    result = np.empty((positions.size, x.shape[1]), dtype=np.float32)
    offsets = np.arange(-reach, reach + 1)
    for begin in range(0, positions.size, _BLOCK):
        at = positions[begin : begin + _BLOCK]
        nearest = np.rint(at).astype(np.int64)
        distance = (nearest[:, None] + offsets - at[:, None]) / (HALF_LENGTH * stretch)
        weights = np.sinc(distance * HALF_LENGTH * CUTOFF) * (0.54 + 0.46 * np.cos(np.pi * distance))
        weights[np.abs(distance) > 1] = 0.0
        weights /= weights.sum(axis=1, keepdims=True)
        total = np.zeros((at.size, x.shape[1]))
        for column, offset in enumerate(offsets):
            total += weights[:, column, None] * source[np.clip(nearest + offset, 0, len(x) - 1)]
        result[begin : begin + _BLOCK] = total
    return result


def sample_positions(count: int, rate_in: float, rate_out: float) -> NDArray[np.float64]:
    """Return where the samples of the new rate lie among `count` old ones, float64 [T'] in input samples."""
    outputs = int(np.floor((count - 1) * rate_out / rate_in * (1 + 1e-12))) + 1
    return np.minimum(np.arange(outputs, dtype=np.float64) * (rate_in / rate_out), count - 1)


def evenly_spaced(
    seconds: NDArray[np.float64], x: NDArray[np.float32], rate_hz: float
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Interpolate unevenly spaced samples linearly at `rate_hz`, from the first to the last.

    Args:
        seconds: float64 [T], rising. x: float32 [T, C].

    Returns:
        float32 [T', C], and int64 [T'], the nearest old sample to each new one.
    """
    count = int(np.floor((seconds[-1] - seconds[0]) * rate_hz * (1 + 1e-12))) + 1
    at = np.minimum(seconds[0] + np.arange(count) / rate_hz, seconds[-1])
    values = np.stack([np.interp(at, seconds, x[:, channel]) for channel in range(x.shape[1])], axis=1)
    right = np.clip(np.searchsorted(seconds, at), 1, len(seconds) - 1)
    nearest = right - (at - seconds[right - 1] < seconds[right] - at)
    return values.astype(np.float32), nearest.astype(np.int64)
