"""Self-test vectors: samples and the logits a device must give for them, bit for bit.

They are seeded noise over the whole range of the input, saturation included, and no recording: noise exercises every weight, both
ends of every table and the state's way round, and it can be published with the model.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memkd_edge.metadata import Metadata
from memkd_edge.quantize import IntegerLstm, QuantizedLstm

STEPS = 24
_SPREAD = 0.25  # standard deviation of the noise, in full scales
_TRIES = 64
_MARGIN = 0.1  # of an LSB: how far a float sample stays from where its rounding turns, more than float32 arithmetic errs


@dataclass(frozen=True)
class SelfTest:
    """One stream from reset: the same samples for all three step functions, and the logits after each of them.

    samples: float32 [T, C], physical units. x_int16, x_int8: [T, C] as the integer step functions take them. logits_int16 belongs
    to samples and x_int16, logits_int8 to x_int8; [T, K].
    """

    samples: NDArray[np.float32]
    x_int16: NDArray[np.int16]
    x_int8: NDArray[np.int8]
    logits_int16: NDArray[np.int16]
    logits_int8: NDArray[np.int8]


def self_test(model: QuantizedLstm, metadata: Metadata) -> SelfTest:
    """Return the vectors of `model`; the logits come from the numpy reference."""
    mean, std = np.asarray(metadata.mean, np.float64), np.asarray(metadata.std, np.float64)
    step = std * model.layers[0].state_scale  # physical units of one LSB of x_int16
    noise = np.random.default_rng(0).normal(0.0, _SPREAD * (1 << 15), (_TRIES, STEPS, model.input_size))
    noise[:, -3:] *= 8  # beyond the range: saturation
    candidates = (noise * step + mean).astype(np.float32)
    exact = (candidates - mean) / step
    safe = np.abs(exact - np.round(exact)) < 0.5 - _MARGIN
    first = np.argmax(safe, axis=0, keepdims=True)
    samples = np.take_along_axis(candidates, first, axis=0)[0]
    x_int16 = np.clip(np.round(np.take_along_axis(exact, first, axis=0)[0]), -(1 << 15), (1 << 15) - 1).astype(np.int16)
    x_int8 = np.clip(np.round(x_int16 / model.input_gain), -128, 127).astype(np.int8)
    reference = IntegerLstm(model)
    logits_int16 = reference.run(x_int16[None])[0].astype(np.int16)
    reference.reset()
    logits_int8 = reference.run(x_int8[None])[0].astype(np.int8)
    return SelfTest(samples, x_int16, x_int8, logits_int16, logits_int8)
