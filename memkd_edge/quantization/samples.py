# SPDX-License-Identifier: Apache-2.0
"""From real samples to the integers of a model's input.

An int8 step is coarse. A signal that rests between two steps would be off by the same part of one for as long as it rests, and a
recurrent network adds that up. So int8 samples carry over: what rounding leaves of a sample is added to the next one, as in a
sigma-delta converter, and the error averages out (Inose, Yasuda 1963, A unity bit coding method by negative feedback).
"""

import numpy as np
from numpy.typing import NDArray


def quantize_series(x: NDArray[np.floating], scale: float, zero_point: int) -> NDArray[np.int8]:
    """Quantise series x [N, T, C], each from a reset, to int8 samples that carry over; arithmetic as `quantize_sample`."""
    quantized = np.empty(x.shape, np.int8)
    rest = np.zeros((len(x), x.shape[2]), np.float32)
    for t in range(x.shape[1]):
        quantized[:, t], rest = quantize_sample(x[:, t], rest, scale, zero_point)
    return quantized


def quantize_sample(
    x: NDArray[np.floating], rest: NDArray[np.float32], scale: float, zero_point: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantise one sample x [..., C] with the `rest` of the one before; return it and its own rest.

    In float32: value = x / scale + rest, rounded to the nearest, halves away from zero; the sample is that plus the zero point,
    clamped; the new rest is value less rounded, 0 for a clamped sample and after a reset.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # infinite values are clamped
        value = x.astype(np.float32) / np.float32(scale) + rest
        rounded = _rounded(value)
        moved = rounded + np.float32(zero_point)
        sample = np.minimum(np.maximum(moved, np.float32(-128)), np.float32(127))
        left = np.where(sample == moved, value - rounded, np.float32(0))
    return sample.astype(np.int8), left


class Int8Samples:
    """`quantize_sample` for one stream, sample by sample: the same values from fewer operations, in buffers of its own."""

    def __init__(self, scale: float, zero_point: int, channels: int) -> None:
        def row(value: float) -> NDArray[np.float32]:
            return np.full(channels, value, np.float32)

        self._scale, self._zero_point, self._half = row(scale), row(zero_point), row(0.5)
        self._low, self._high = row(-128 - zero_point), row(127 - zero_point)
        self._value, self._rounded, self._kept = row(0), row(0), row(0)
        self._sample = np.zeros((1, channels), np.int8)

    def next(self, x: NDArray[np.float32], rest: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return sample x [C], up to 1e30, as int8 [1, C], good until the next call, and move `rest` [C] on."""
        value, rounded, kept = self._value, self._rounded, self._kept
        np.divide(x, self._scale, value)
        np.add(value, rest, value)
        np.copysign(self._half, value, rounded)
        np.add(value, rounded, rounded)
        np.trunc(rounded, rounded)
        np.subtract(value, rounded, rest)
        np.maximum(rounded, self._low, kept)
        np.minimum(kept, self._high, kept)
        if kept.tobytes() != rounded.tobytes():
            rest[kept != rounded] = 0
        np.add(kept, self._zero_point, self._sample[0], casting="unsafe")
        return self._sample


def quantize_array(x: NDArray[np.floating], scale: float, zero_point: int = 0) -> NDArray[np.int16]:
    """Return int16 clamp(trunc(x / scale +- 1/2) + zero_point) in float32 arithmetic, element by element."""
    rounded = _rounded(x.astype(np.float32) / np.float32(scale))
    return np.clip(rounded + zero_point, -32768, 32767).astype(np.int16)


def _rounded(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest, halves away from zero."""
    rounded: NDArray[np.float32] = np.trunc(value + np.copysign(np.float32(0.5), value))
    return rounded
