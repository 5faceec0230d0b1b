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
        sample = np.clip(rounded + zero_point, -128, 127)
        left = np.where(sample == rounded + zero_point, value - rounded, np.float32(0))
    return sample.astype(np.int8), left


def quantize_array(x: NDArray[np.floating], scale: float, zero_point: int = 0) -> NDArray[np.int16]:
    """Return int16 clamp(trunc(x / scale +- 1/2) + zero_point) in float32 arithmetic, element by element."""
    rounded = _rounded(x.astype(np.float32) / np.float32(scale))
    return np.clip(rounded + zero_point, -32768, 32767).astype(np.int16)


def _rounded(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest, halves away from zero."""
    rounded: NDArray[np.float32] = np.trunc(value + np.copysign(np.float32(0.5), value))
    return rounded
