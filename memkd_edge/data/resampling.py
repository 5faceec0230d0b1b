# SPDX-License-Identifier: Apache-2.0
"""From raw samples to the model's time steps: the same arithmetic for a whole window and for one sample at a time.

Everything is elementwise float32 in a fixed order, so that window and stream agree bit for bit, and C code can too.
"""

import re

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.metadata import Resampling

KINDS = ("none", "linear", "decimate")
TAPS_PER_FACTOR = 6  # the low-pass delays the signal by half of that in model time steps: 3
CUTOFF = 0.8  # of the Nyquist frequency after decimation, where the filter's response is 1/2


def parse_resampling(text: str, input_length: int) -> Resampling:
    """Return the resampling written as `none`, `linear:LENGTH` or `decimate:FACTOR`, for windows of `input_length` samples.

    Raises:
        UsageError: not such a text, or it leaves fewer than 3 time steps.
    """
    match = re.fullmatch(r"(none|linear:(\d+)|decimate:(\d+))", text.strip())
    if not match:
        raise UsageError(f"--resample {text!r}: expected none, linear:LENGTH or decimate:FACTOR")
    if match[2]:
        length = int(match[2])
        if length < 3:
            raise UsageError(f"--resample {text!r}: a length of at least 3 is needed")
        return Resampling("linear", input_length=input_length, output_length=length)
    if match[3]:
        factor = int(match[3])
        if factor < 1 or input_length // factor < 3:
            raise UsageError(
                f"--resample {text!r}: {input_length} samples leave {input_length // max(factor, 1)} time steps; at least 3 are "
                f"needed, so the factor may be 1 to {input_length // 3}"
            )
        return Resampling("decimate", input_length, input_length // factor, factor, low_pass(factor))
    return Resampling("none", input_length=input_length, output_length=input_length)


def low_pass(factor: int) -> tuple[float, ...]:
    """Return the taps of the anti-aliasing filter: a windowed sinc (Hamming) of unit gain at rest, as float32 values."""
    if factor == 1:
        return (1.0,)
    half = TAPS_PER_FACTOR * factor // 2
    taps = np.sinc(np.arange(-half, half + 1) * CUTOFF / factor) * np.hamming(2 * half + 1)
    return tuple(float(tap) for tap in (taps / taps.sum()).astype(np.float32))


def resample(x: NDArray[np.float32], resampling: Resampling) -> NDArray[np.float32]:
    """Resample whole windows, float32 [N, T, C] -> [N, T', C].

    linear: T must be `input_length`, T' is `output_length`; first and last sample are kept. decimate: T' = T // factor; the
    output after each block of `factor` samples sees only the past, which before the first sample equals that sample.
    """
    x = np.asarray(x, dtype=np.float32)
    if resampling.kind == "linear":
        if x.shape[1] != resampling.input_length:
            raise UsageError(f"windows of {resampling.input_length} samples are expected, not of {x.shape[1]}")
        positions = [_linear_position(step, resampling) for step in range(resampling.output_length)]
        left = np.array([position for position, _ in positions])
        weight = np.array([fraction for _, fraction in positions], dtype=np.float32)[:, None]
        right = np.minimum(left + 1, x.shape[1] - 1)
        return x[:, left] + (x[:, right] - x[:, left]) * weight
    if resampling.kind == "decimate":
        newest = np.arange(resampling.factor - 1, x.shape[1], resampling.factor)
        result = np.zeros((x.shape[0], newest.size, x.shape[2]), dtype=np.float32)
        for delay, tap in enumerate(resampling.taps):
            result += np.float32(tap) * x[:, np.maximum(newest - delay, 0)]
        return result
    return x


class StreamingResampler:
    """Takes one raw sample at a time and gives the model's time steps, equal bit for bit to `resample` on the whole window.

    linear: windows of `input_length` samples follow one another without overlap.

    Raises:
        MemkdEdgeError: a kind of resampling that this version does not know.
    """

    def __init__(self, resampling: Resampling) -> None:
        if resampling.kind not in KINDS:
            raise MemkdEdgeError(f"unknown resampling {resampling.kind!r}; this version knows {', '.join(KINDS)}")
        self.resampling = resampling
        self.reset()

    def reset(self) -> None:
        """Forget all samples: the next one is the first of a window."""
        self._seen = 0
        self._emitted = 0
        self._history: list[NDArray[np.float32]] = []  # newest first

    def push(self, sample: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Take one sample, float32 [C]; return the time steps that it completes, none or more, each float32 [C]."""
        sample = np.asarray(sample, dtype=np.float32)
        if self.resampling.kind == "linear":
            return self._push_linear(sample)
        if self.resampling.kind == "decimate":
            return self._push_decimate(sample)
        return [sample]

    def _push_linear(self, sample: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        previous = self._history[0] if self._history else sample
        self._history = [sample]
        index, outputs = self._seen, []
        while self._emitted < self.resampling.output_length:
            left, weight = _linear_position(self._emitted, self.resampling)
            if left < index:
                outputs.append(previous + (sample - previous) * np.float32(weight))
            elif left == index and weight == 0.0:
                outputs.append(sample)
            else:
                break
            self._emitted += 1
        self._seen += 1
        if self._seen == self.resampling.input_length:
            self.reset()
        return outputs

    def _push_decimate(self, sample: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        taps = self.resampling.taps
        if not self._history:
            self._history = [sample] * len(taps)
        self._history = [sample, *self._history[:-1]]
        self._seen += 1
        if self._seen % self.resampling.factor:
            return []
        result = np.zeros_like(sample)
        for tap, past in zip(taps, self._history, strict=True):
            result += np.float32(tap) * past
        return [result]


def _linear_position(step: int, resampling: Resampling) -> tuple[int, float]:
    """Return the raw sample to the left of output `step` and the weight of the one to its right (aligned ends)."""
    gaps = resampling.output_length - 1
    left, rest = divmod(step * (resampling.input_length - 1), gaps)
    return left, rest / gaps
