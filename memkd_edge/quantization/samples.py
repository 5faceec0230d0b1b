# SPDX-License-Identifier: Apache-2.0
"""From real samples to the integers of a model's input.

An int8 step is coarse. A signal that rests between two steps would be off by the same part of one for as long as it rests, and a
recurrent network adds that up. So int8 samples carry over: what rounding leaves of a sample is added to the next one, as in a
sigma-delta converter, and the error averages out (Inose, Yasuda 1963, A unity bit coding method by negative feedback).
"""

from math import trunc

import numpy as np
from numpy import add, divide
from numpy.typing import NDArray

# float32 takes the number just below 1/2 for 1/2 when it adds 1/2 to it. Of doubles, in which all other such sums are exact
# where nothing is clamped, adding this does the same.
_HALF = 0.5 + 2.0**-25


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


class SampleWriter:
    """Quantises one stream sample by sample into memory: the values of `quantize_sample` and `quantize_array`.

    A call of numpy costs the same for one number and for many, and several times what plain numbers do. So numpy does the
    float32 arithmetic, never in place, which takes three times as long for one number, and the rest is done without it.

    rest: float32 [C], what rounding left of the last int8 sample; it may be assigned.
    """

    def __init__(self, memory: memoryview, scale: float, zero_point: int) -> None:
        """Write into `memory`, items of format "b" (int8, which carry over) or "h" (int16), one a channel."""
        self._memory, self._zero_point = memory, zero_point
        self._channels = range(len(memory))
        self._scale, self._scaled, self._value, self.rest = (
            np.full(len(memory), value, np.float32) for value in (scale, 0, 0, 0)
        )
        self._left = self.rest.data
        self._carries = memory.format == "b"
        self._smallest, self._largest = (-128, 127) if self._carries else (-32768, 32767)

    def write(self, x: NDArray[np.float32]) -> None:
        """Write sample x [C], up to 1e30, and move `rest` on; of no consequence for int16."""
        memory, left, zero_point = self._memory, self._left, self._zero_point
        value = divide(x, self._scale, self._scaled)
        if self._carries:
            value = add(value, self.rest, self._value)
        reals = value.tolist()
        for channel in self._channels:
            real = reals[channel]
            rounded = trunc(real + _HALF if real >= 0 else real - _HALF)
            try:
                memory[channel] = rounded + zero_point
                left[channel] = real - rounded
            except ValueError:  # beyond what the memory's items hold
                memory[channel] = self._largest if rounded > 0 else self._smallest
                left[channel] = 0


def quantize_array(x: NDArray[np.floating], scale: float, zero_point: int = 0) -> NDArray[np.int16]:
    """Return int16 clamp(trunc(x / scale +- 1/2) + zero_point) in float32 arithmetic, element by element."""
    rounded = _rounded(x.astype(np.float32) / np.float32(scale))
    return np.clip(rounded + zero_point, -32768, 32767).astype(np.int16)


def _rounded(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest, halves away from zero."""
    rounded: NDArray[np.float32] = np.trunc(value + np.copysign(np.float32(0.5), value))
    return rounded
