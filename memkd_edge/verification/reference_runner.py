# SPDX-License-Identifier: Apache-2.0
"""The numpy reference behind the interface of an exported file: it takes and gives exactly that file's integers."""

import numpy as np
from numpy.typing import NDArray

from memkd_edge.formats.step_interface import StepInterface, integer_step
from memkd_edge.padding import held, hold, lengths
from memkd_edge.quantization.batch import run
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.quantization.sensor_front_end import IntegerFrontEnd
from memkd_edge.vocabulary import Arithmetic


class ReferenceRunner:
    """Streams N series through an integer model, from a reset."""

    def __init__(self, model: QuantizedClassifier, interface: StepInterface, series: int = 1) -> None:
        self._classifier = integer_classifier(model, series)
        self._front_end = IntegerFrontEnd(model.raw) if model.raw is not None else None
        self._widen = interface.x.dtype == "int8"
        self._narrow = interface.logits.dtype == "int8"

    @property
    def states(self) -> tuple[NDArray[np.int16], ...]:
        """The state tensors [N, H] in the interface's order: h and, of an LSTM, c of each layer."""
        return self._classifier.states

    def step(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        """Take one sample per series, x [N, C]; return the logits after it, [N, K]."""
        return self._given(self._classifier.step(self._taken(x)))

    def run(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        """Take whole series x [N, T, C]; return the logits after each sample, [N, T, K]."""
        return np.stack([self.step(x[:, t]) for t in range(x.shape[1])], axis=1)

    def run_long(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        """Do the same with the reference's compiled steps, where numba is installed."""
        return self._given(run(self._classifier, self._taken(x)))

    def _taken(self, x: NDArray[np.integer]) -> NDArray[np.int16]:
        """Return samples of the interface at the state's scale."""
        if self._front_end is not None:
            return self._front_end.normalise(x.astype(np.int16))
        return self._classifier.widen(x) if self._widen else x.astype(np.int16)

    def _given(self, logits: NDArray[np.int16]) -> NDArray[np.integer]:
        return self._classifier.narrow(logits) if self._narrow else logits


def integer_logits(model: QuantizedClassifier, arithmetic: Arithmetic, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the real logits [N, K] of the integer model after series x [N, T, C] of what its x stands for, padded or not.

    Args:
        arithmetic: int8 or int16x8.
    """
    interface = integer_step(model, arithmetic)
    runner = ReferenceRunner(model, interface, len(x))
    return interface.logits.dequantize(hold(runner.run(interface.x.quantize(held(x))), lengths(x))[:, -1])
