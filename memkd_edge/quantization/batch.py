# SPDX-License-Identifier: Apache-2.0
"""Runs an integer model over long streams and many series at once: compiled where numba is installed, in numpy elsewhere."""

from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from memkd_edge import decisions
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.reference import IntegerClassifier, integer_classifier
from memkd_edge.quantization.samples import quantize_array, quantize_sample
from memkd_edge.quantization.sensor_front_end import IntegerFrontEnd
from memkd_edge.vocabulary import Arithmetic

CHUNK = 1 << 16  # samples, all series together, that are in work at once


@cache
def _compiled() -> ModuleType | None:
    """Return the compiled steps; None without numba, which takes too long to load where single samples are classified."""
    try:
        return import_module("memkd_edge.quantization.compiled")
    except ModuleNotFoundError:
        return None


def run(reference: IntegerClassifier, x: NDArray[np.int16]) -> NDArray[np.int16]:
    """Stream int16 series x [N, T, C] at the state's scale through `reference`; return all int16 logits, [N, T, K]."""
    compiled = _compiled()
    logits: NDArray[np.int16] = reference.run(x).astype(np.int16) if compiled is None else compiled.run(reference, x)
    return logits


def softmax(logits: NDArray[np.int32], exponentials: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the softmax [N, K] of integer logits [N, K], each sum added up from the first class on.

    exponentials: of 0, -1, -2 ... units, as far as logits of a row lie apart.
    """
    compiled = _compiled()
    if compiled is not None:
        scores: NDArray[np.float32] = compiled.softmax(logits, exponentials)
        return scores
    weights = exponentials[logits.max(-1, keepdims=True) - logits]
    result: NDArray[np.float32] = (weights / weights.cumsum(-1)[:, -1:]).astype(np.float32)
    return result


def held_classes(logits: NDArray[np.int32], margin: float, held: int | None) -> NDArray[np.int64]:
    """Return what `decisions.held_classes` does for integer logits [T, K]."""
    compiled = _compiled()
    if compiled is None:
        return decisions.held_classes(logits, margin, held)
    classes: NDArray[np.int64] = compiled.held_classes(logits, margin, -1 if held is None else held)
    return classes


def decisions_along(
    model: QuantizedClassifier, interface: Arithmetic, x: NDArray[np.float32], margin: float
) -> NDArray[np.int64]:
    """Return the classes [T] that an integer model holds along a stream x [T, C], as `BatchRunner.logits` takes it, from a reset.

    margin: in logits, by which another class takes over from the one held; 0: the highest logit decides.
    """
    scale = model.logit_scale_int8 if interface == Arithmetic.INT8 else model.head.out_scale
    logits = BatchRunner(model, interface).logits(x[None])[0]
    return held_classes(logits.astype(np.int32), decisions.margin_steps(margin, scale), None)


class BatchRunner:
    """N independent streams through an integer model's int8 or int16 interface, equal to the file in TensorFlow Lite Micro.

    reference: holds the streams' states. rest: float32 [N, C], what rounding left of the last int8 samples (samples.py).
    """

    def __init__(self, model: QuantizedClassifier, interface: Arithmetic, series: int = 1) -> None:
        self.model, self.interface = model, interface
        self.reference: IntegerClassifier = integer_classifier(model, series)
        self.rest = np.zeros((series, model.input_size), np.float32)

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.integer]:
        """Take the next samples x [N, T, C], real numbers as the file's `x` stands for; return int8 or int16 logits [N, T, K]."""
        logits = self.int16_logits(x)
        return self.reference.narrow(logits) if self.interface == Arithmetic.INT8 else logits

    def int16_logits(self, x: NDArray[np.float32]) -> NDArray[np.int16]:
        """Do the same, but return the int16 logits [N, T, K] of either interface: those that int8 logits are rounded from."""
        return run(self.reference, self._wide(np.ascontiguousarray(x, np.float32)))

    def _wide(self, x: NDArray[np.float32]) -> NDArray[np.int16]:
        """Return int16 samples at the state's scale."""
        if self.model.raw is not None:
            return IntegerFrontEnd(self.model.raw).normalise(quantize_array(x, 1.0))
        if self.interface == Arithmetic.INT16X8:
            return quantize_array(x, self.model.layers[0].state_scale)
        return self.reference.widen(self._narrow(x))

    def _narrow(self, x: NDArray[np.float32]) -> NDArray[np.int8]:
        scale, zero_point = self.model.input_scale, self.model.input_zero_point_int8
        compiled = _compiled()
        if compiled is not None:
            narrow: NDArray[np.int8] = compiled.carry_over(x, np.float32(scale), zero_point, self.rest)
            return narrow
        narrow = np.empty(x.shape, np.int8)
        for t in range(x.shape[1]):
            narrow[:, t], self.rest = quantize_sample(x[:, t], self.rest, scale, zero_point)
        return narrow
