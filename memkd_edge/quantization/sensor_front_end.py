# SPDX-License-Identifier: Apache-2.0
"""`--input raw`: the model takes what the sensor gives, int16 counts, and all that lies between is integer code.

counts -> decimating low-pass (if the model was trained on decimated signals) -> (counts - offset) * gain / 2^k -> int16 x.

The normalisation is not folded into the weights: they share one int8 scale, and channels in different units (g and degrees per
second) would leave the weights of some with hardly a bit. A 15-bit gain per channel costs one multiplication.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError
from memkd_edge.metadata import Resampling
from memkd_edge.quantization.calibration import DenseWeights, FloatModel
from memkd_edge.quantization.fixed_point import INT16_MAX, INT16_MIN, multiplier, rescale, saturate
from memkd_edge.quantization.integer_model import RawInput

_COARSEST_GAIN = 64  # its rounding error is below 0.8 %


@dataclass(frozen=True)
class Sensor:
    """What the sensor's counts mean.

    counts_per_unit: [C], counts of one physical unit (16384 for an accelerometer of 2 g full scale), not 0. mean, std: [C], the
    model's normalisation in physical units. resampling: the model's, "none" or "decimate".
    """

    counts_per_unit: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resampling: Resampling = field(default_factory=Resampling)


def raw_input(sensor: Sensor, state_scale: float) -> RawInput:
    """Return the integer front end whose output has scale `state_scale`.

    Raises:
        UsageError: the numbers of channels differ; a count so coarse or so fine, compared with the signal or with the other
            channels, that 16 bits do not do; a resampling that needs the whole window.
    """
    per_unit, mean, std = (np.array(values, np.float64) for values in (sensor.counts_per_unit, sensor.mean, sensor.std))
    if not per_unit.shape == mean.shape == std.shape:
        raise UsageError(
            f"--counts-per-unit gives {per_unit.size} values and the model has {mean.size} channels; give one for each"
        )
    if not (np.isfinite(per_unit).all() and (per_unit != 0).all()):
        raise UsageError(f"--counts-per-unit {sensor.counts_per_unit}: every value must be a number other than 0")
    if sensor.resampling.kind == "linear":
        raise UsageError(
            "--input raw cannot do linear resampling, which needs the whole window; distil with --resample decimate:FACTOR, "
            "or take --input normalised and resample on the host"
        )
    steps_per_count = 1 / (per_unit * std * state_scale)
    largest = float(np.abs(steps_per_count).max())
    bits = 14 - math.floor(math.log2(largest))  # the largest gain has 15 bits
    if round(largest * 2.0**bits) > INT16_MAX:
        bits -= 1
    if not 1 <= bits <= 31:
        channel = int(np.abs(steps_per_count).argmax())
        deviation = 1 / abs(per_unit[channel] * std[channel])
        raise UsageError(
            f"--counts-per-unit {per_unit[channel]:g}: one count of channel {channel} would be {deviation:.2g} standard "
            "deviations of the training signal; check the unit"
        )
    gain = np.round(steps_per_count * 2.0**bits).astype(np.int64)
    if (np.abs(gain) < _COARSEST_GAIN).any():
        channel = int(np.abs(gain).argmin())
        raise UsageError(
            f"--counts-per-unit {per_unit[channel]:g}: for its signal, the counts of channel {channel} are more than "
            f"{INT16_MAX // _COARSEST_GAIN} times finer than another channel's; shift them right by some bits in the driver and "
            "give the smaller number"
        )
    return RawInput(
        counts_per_unit=tuple(float(value) for value in per_unit),
        offset=np.clip(np.round(mean * per_unit), INT16_MIN, INT16_MAX).astype(np.int16),
        gain=gain.astype(np.int16),
        rescale=multiplier(2.0**-bits),
        taps=_integer_taps(sensor.resampling.taps if sensor.resampling.kind == "decimate" else (1.0,)),
        factor=sensor.resampling.factor if sensor.resampling.kind == "decimate" else 1,
    )


def absorb_offset_remainder(gates: DenseWeights, sensor: Sensor, raw: RawInput) -> DenseWeights:
    """Return the first layer's gates for x as the front end gives it.

    The front end subtracts whole counts; what is left of the mean moves the bias.
    """
    mean, std = np.array(sensor.mean), np.array(sensor.std)
    excess = (mean - raw.offset / np.array(sensor.counts_per_unit)) / std  # x of the front end - normalised x
    return DenseWeights(gates.weight, gates.bias - gates.weight[:, : len(mean)] @ excess)


def fold_normalisation(weights: FloatModel, mean: tuple[float, ...], std: tuple[float, ...]) -> FloatModel:
    """Return float `weights` whose first layer takes physical units: w / std, and w * mean / std off the bias."""
    first = weights.layers[0]
    scaled = first.input_weight / np.array(std)
    first = replace(first, input_weight=scaled, input_bias=first.input_bias - scaled @ np.array(mean))
    return replace(weights, layers=(first, *weights.layers[1:]))


class IntegerFrontEnd:
    """Runs a `RawInput` for N independent streams, as the generated C does, bit for bit."""

    def __init__(self, raw: RawInput) -> None:
        self._raw = raw
        self.reset()

    def reset(self) -> None:
        """Forget all samples: the next one is the first."""
        self._seen = 0
        self._history: NDArray[np.int64] | None = None  # [taps, N, C], newest first

    def push(self, counts: NDArray[np.int16]) -> NDArray[np.int16] | None:
        """Take one sample per stream, counts [N, C]; return x [N, C] for the model's step, or None between two steps.

        Before the first sample the signal is taken to have had that sample's value for ever.
        """
        newest = counts.astype(np.int64)[None]
        if self._history is None:
            self._history = np.repeat(newest, len(self._raw.taps), axis=0)
        self._history = np.concatenate([newest, self._history[:-1]])
        self._seen += 1
        if self._seen % self._raw.factor:
            return None
        filtered = np.tensordot(self._raw.taps.astype(np.int64), self._history, 1)
        return self.normalise(saturate((filtered + (1 << 14)) >> 15).astype(np.int16))

    def normalise(self, counts: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return x [N, C] for counts [N, C] at the model's own rate: what the .tflite file does inside."""
        centred = saturate(counts.astype(np.int64) - self._raw.offset)
        return saturate(rescale(centred * self._raw.gain, self._raw.rescale)).astype(np.int16)


def _integer_taps(taps: tuple[float, ...]) -> NDArray[np.int32]:
    """Round to 2^-15; the largest tap takes up what rounding left, so that a constant passes unchanged."""
    result = np.round(np.array(taps) * (1 << 15)).astype(np.int32)
    result[np.abs(result).argmax()] += (1 << 15) - result.sum()
    return result
