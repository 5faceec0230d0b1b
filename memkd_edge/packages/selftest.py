# SPDX-License-Identifier: Apache-2.0
"""Self-test vectors: samples and the logits a device must give for them, bit for bit.

They are seeded noise over the whole range of the input, saturation included, and no recording: noise exercises every weight, both
ends of every table and the state's way round, and it can be published with the model.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.metadata import Metadata
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.reference import IntegerClassifier, integer_classifier
from memkd_edge.quantization.sensor_front_end import IntegerFrontEnd

STEPS = 24
_SPREAD = 0.25  # standard deviation of the noise, in full scales
_TRIES = 64
_MARGIN = 0.1  # of an LSB: how far a float sample stays from where its rounding turns, more than float32 arithmetic errs


@dataclass(frozen=True)
class SelfTest:
    """For each of the three step functions a stream from reset, x [T, C], and the logits after each sample, [T, K].

    x_int8: int8, or int16 counts of a model that takes a sensor's counts, as x_int16 is then. x_float: float32, physical units.
    logits_float: int16, in units of the int16 logits.
    """

    x_int16: NDArray[np.int16]
    logits_int16: NDArray[np.int16]
    x_int8: NDArray[np.int8] | NDArray[np.int16]
    logits_int8: NDArray[np.int8]
    x_float: NDArray[np.float32]
    logits_float: NDArray[np.int16]


def self_test(model: QuantizedClassifier, metadata: Metadata) -> SelfTest:
    """Return the vectors of `model`; the logits come from the numpy reference."""
    raw = model.raw
    mean = np.asarray(metadata.mean if raw is None else raw.offset / np.asarray(raw.counts_per_unit), np.float64)
    x_float, x = _float_samples(mean, np.asarray(metadata.std) * model.layers[0].state_scale)
    reference = integer_classifier(model)
    logits_float = _stream(reference, x)
    if raw is None:
        x_int8 = np.clip(np.round(x / model.input_gain) + model.input_zero_point_int8, -128, 127).astype(np.int8)
        return SelfTest(x, logits_float, x_int8, _stream(reference, x_int8), x_float, logits_float)
    per_count = raw.gain.astype(np.float64) * raw.rescale.mantissa * 2.0 ** (raw.rescale.exponent - 31)
    counts = np.clip(np.round(raw.offset + x / per_count), -(1 << 15), (1 << 15) - 1).astype(np.int16)
    logits = _stream(reference, IntegerFrontEnd(raw).normalise(counts))
    return SelfTest(counts, logits, counts, reference.narrow(logits), x_float, logits_float)


def _float_samples(mean: NDArray[np.float64], unit: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Return noise in physical units, and the int16 (x - mean) / unit that every order of float32 operations rounds it to."""
    noise = np.random.default_rng(0).normal(0.0, _SPREAD * (1 << 15), (_TRIES, STEPS, len(mean)))
    noise[:, -3:] *= 8  # beyond the range: saturation
    candidates = (noise * unit + mean).astype(np.float32)
    exact = (candidates - mean) / unit
    safe = np.abs(exact - np.round(exact)) < 0.5 - _MARGIN
    first = np.argmax(safe, axis=0, keepdims=True)
    rounded = np.clip(np.round(np.take_along_axis(exact, first, axis=0)[0]), -(1 << 15), (1 << 15) - 1)
    return np.take_along_axis(candidates, first, axis=0)[0], rounded.astype(np.int16)


def _stream(reference: IntegerClassifier, x: NDArray[np.integer]) -> NDArray[Any]:
    reference.reset()
    logits: NDArray[Any] = reference.run(x[None])[0].astype(x.dtype)
    return logits
