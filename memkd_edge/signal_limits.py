# SPDX-License-Identifier: Apache-2.0
"""The integers of an input monitor: how it reads a model's quantised samples, and what it takes as usual.

A monitor adds up samples, their squares and the squares of their changes, and counts those at the rails, for `samples` samples;
then it states a reading of each channel in 1/1024 of the training signal's standard deviation. Python, C and C++ compute the same
integers.
"""

from dataclasses import dataclass
from enum import IntFlag

import numpy as np

from memkd_edge.metadata import Metadata

READ_SAMPLES = 2048  # where the training signal's range is not known
UNIT = 1024  # readings are in 1/1024
SHIFT = 28  # of the multipliers
FLOAT_SCALE = 2.0**-12  # of the samples of a float model, as a monitor sees them
# What a reading may be beyond the training signal's range: a new wearer's is a bit.
MEAN_BEYOND = 0.25  # of the training signal's deviation
DEVIATION_BEYOND = 1.5  # times
PACE_BEYOND = 1.1  # times
RAILS_SHARE = 64  # one in so many samples at the rails, and no more
_FAR = 1 << 30
_MOST = (1 << 31) - 1


class Odd(IntFlag):
    """In what a reading is unlike the training signal; pace: it changes faster or slower, in all channels together."""

    RAILS = 1
    MEAN = 2
    DEVIATION = 4
    PACE = 8


@dataclass(frozen=True)
class Grid:
    """A channel's samples as a monitor sees them, q: real normalised value = scale * q.

    offset: taken off the sensor's count; None where samples are normalised. low, high: at the rails are q up to the one and from
    the other.
    """

    scale: float
    low: int
    high: int
    offset: int | None = None

    def multiplier(self, samples: int) -> int:
        """What makes a sum over `samples` samples a reading: sum * multiplier >> SHIFT. Negative for a channel turned round."""
        exact = round(self.scale * UNIT / samples * 2.0**SHIFT)
        return max(-_MOST, min(exact, _MOST))


@dataclass(frozen=True)
class Limits:
    """What is usual, lowest and highest, in 1/1024; mean and deviation of each channel. known: the training signal's range is."""

    samples: int
    known: bool
    mean: tuple[tuple[int, int], ...]
    deviation: tuple[tuple[int, int], ...]
    pace: tuple[int, int]

    @property
    def paced(self) -> bool:
        """The pace is known, too."""
        return self.pace[1] < _FAR

    @property
    def rails(self) -> int:
        """Samples at the rails that are usual."""
        return self.samples // RAILS_SHARE


def limits(metadata: Metadata, *, resampled: bool) -> Limits:
    """Return what is usual of a model's signal; of a model without a training range everything but samples at the rails.

    Args:
        metadata: of the model.
        resampled: the caller gives the model's time steps, whose pace is known; otherwise the sensor's samples.
    """
    usual, channels = metadata.usual, len(metadata.channels)
    if not usual.samples:
        everything = ((-_FAR, _FAR),) * channels
        return Limits(READ_SAMPLES, False, everything, everything, (0, _FAR))

    def scaled(low: float, high: float) -> tuple[int, int]:
        return round(low * UNIT), round(high * UNIT)

    mean = zip(usual.mean_low, usual.mean_high, strict=True)
    deviation = zip(usual.deviation_low, usual.deviation_high, strict=True)
    pace = scaled(usual.pace_low / PACE_BEYOND, usual.pace_high * PACE_BEYOND)
    return Limits(
        usual.samples,
        True,
        tuple(scaled(low - MEAN_BEYOND, high + MEAN_BEYOND) for low, high in mean),
        tuple(scaled(low / DEVIATION_BEYOND, high * DEVIATION_BEYOND) for low, high in deviation),
        pace if resampled or metadata.resampling.kind == "none" else (0, _FAR),
    )


def grids(metadata: Metadata, dtype: str, scale: float, zero_point: int, state_scale: float) -> tuple[Grid, ...]:
    """Return the grid of each channel.

    Args:
        metadata: of the model.
        dtype, scale, zero_point: of the tensor x; a float one is seen as int16 samples of `FLOAT_SCALE`.
        state_scale: of the state, which a model for counts brings its samples to.
    """
    if metadata.counts_per_unit:
        words = zip(metadata.mean, metadata.std, metadata.counts_per_unit, strict=True)
        return tuple(_of_counts(mean, std, per_unit, state_scale) for mean, std, per_unit in words)
    if dtype == "float32":
        scale, zero_point = FLOAT_SCALE, 0
    lowest, highest = (-128, 127) if dtype == "int8" else (-32768, 32767)
    return (Grid(scale, lowest - zero_point, highest - zero_point),) * len(metadata.channels)


def _of_counts(mean: float, std: float, per_unit: float, state_scale: float) -> Grid:
    offset = int(np.clip(np.round(mean * per_unit), -32768, 32767))
    reach = int(32767 * state_scale * abs(std * per_unit))
    return Grid(1 / (std * per_unit), max(-32768 - offset, -reach), min(32767 - offset, reach), offset)
