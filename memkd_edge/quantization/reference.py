# SPDX-License-Identifier: Apache-2.0
"""Executes an integer model in numpy, bit-exact with TensorFlow Lite Micro, for many series at once."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from memkd_edge.quantization.fixed_point import INT16_MAX, Integers, of_every_int16, rescale, saturate, sigmoid, tanh
from memkd_edge.quantization.integer_model import (
    Multiplier,
    QuantizedClassifier,
    QuantizedDense,
    QuantizedGru,
    QuantizedGruLayer,
    QuantizedLstm,
    QuantizedLstmLayer,
)
from memkd_edge.quantization.samples import quantize_array, quantize_series
from memkd_edge.vocabulary import Arithmetic

# A gate has scale 2^-15; multiplying by it keeps the other factor's scale.
_GATE_RESCALE = Multiplier(1 << 30, -14)


class IntegerClassifier:
    """Stateful streaming classifier over N independent series: what LSTM and GRU have in common.

    classifier: the integer model that runs. h: list with one int16 array [N, H] per layer, bottom to top; it may be read and
    assigned.
    """

    h: list[NDArray[np.int16]]

    def __init__(self, model: QuantizedClassifier, series: int = 1) -> None:
        self.classifier = model
        self.reset(series)

    def reset(self, series: int = 1) -> None:
        """Set the state of `series` independent streams to zero."""
        self.h = [np.zeros((series, layer.hidden_size), np.int16) for layer in self.classifier.layers]

    @property
    def states(self) -> tuple[NDArray[np.int16], ...]:
        """The state tensors [N, H] in the order of every interface: h and, of an LSTM, c of each layer; may be assigned."""
        return tuple(self.h)

    @states.setter
    def states(self, states: Sequence[NDArray[np.int16]]) -> None:
        self.h = list(states)

    def step(self, x: NDArray[np.int16]) -> NDArray[np.int16]:
        """Take one int16 sample per series, x [N, C] at the state scale, and return the int16 logits [N, K]."""
        below = x
        for index in range(len(self.h)):
            self._step_layer(index, below)
            below = self.h[index]
        return dense(self.classifier.head, below).astype(np.int16)

    def step_int8(self, x: NDArray[np.int8]) -> NDArray[np.int8]:
        """Take one int8 sample per series, x [N, C] at `input_scale`, and return the int8 logits [N, K]."""
        return self.narrow(self.step(self.widen(x)))

    def widen(self, x: NDArray[np.integer]) -> NDArray[np.int16]:
        """Return int8 samples of the int8 interface as int16 at the state scale."""
        return ((x.astype(np.int64) - self.classifier.input_zero_point_int8) * self.classifier.input_gain).astype(np.int16)

    def narrow(self, logits: NDArray[np.int16]) -> NDArray[np.int8]:
        """Return int16 logits as the int8 logits of the int8 interface."""
        return _every_int8_logit(self.classifier.logit_rescale, self.classifier.logit_zero_point_int8)[logits]

    def run(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        """Stream whole series x [N, T, C], int16 or int8, from the current state; return the logits after each, [N, T, K]."""
        samples = np.moveaxis(x, 1, 0)
        if x.dtype == np.int8:
            return np.stack([self.step_int8(sample.astype(np.int8)) for sample in samples], axis=1)
        return np.stack([self.step(sample.astype(np.int16)) for sample in samples], axis=1)

    def quantize_input(self, x: NDArray[np.floating], interface: Arithmetic = Arithmetic.INT16X8) -> NDArray[np.integer]:
        """Quantise normalised series x [N, T, C], from a reset, for `interface`, int8 or int16x8 (samples.py)."""
        if interface == Arithmetic.INT8:
            return quantize_series(x, self.classifier.input_scale, self.classifier.input_zero_point_int8)
        return quantize_array(x, self.classifier.layers[0].state_scale)

    def _step_layer(self, index: int, x: NDArray[np.int16]) -> None:
        """Advance the state of layer `index` by its input x."""
        raise NotImplementedError


class IntegerLstm(IntegerClassifier):
    """Runs a `QuantizedLstm`. c: the cells, one int16 array [N, H] per layer; may be read and assigned like h."""

    def __init__(self, model: QuantizedLstm, series: int = 1) -> None:
        self.model = model
        super().__init__(model, series)

    def reset(self, series: int = 1) -> None:
        super().reset(series)
        self.c = [np.zeros_like(h) for h in self.h]

    @property
    def states(self) -> tuple[NDArray[np.int16], ...]:
        return tuple(state for layer in zip(self.h, self.c, strict=True) for state in layer)

    @states.setter
    def states(self, states: Sequence[NDArray[np.int16]]) -> None:
        self.h, self.c = list(states[0::2]), list(states[1::2])

    def _step_layer(self, index: int, x: NDArray[np.int16]) -> None:
        self.h[index], self.c[index] = lstm_step(self.model.layers[index], x, self.h[index], self.c[index])


class IntegerGru(IntegerClassifier):
    """Runs a `QuantizedGru`."""

    def __init__(self, model: QuantizedGru, series: int = 1) -> None:
        self.model = model
        super().__init__(model, series)

    def _step_layer(self, index: int, x: NDArray[np.int16]) -> None:
        self.h[index] = gru_step(self.model.layers[index], x, self.h[index])


def integer_classifier(model: QuantizedClassifier, series: int = 1) -> IntegerClassifier:
    """Return the reference that runs `model`."""
    if isinstance(model, QuantizedLstm):
        return IntegerLstm(model, series)
    if isinstance(model, QuantizedGru):
        return IntegerGru(model, series)
    raise TypeError(f"no reference runs a {type(model).__name__}")


@lru_cache(maxsize=16)
def _every_int8_logit(factor: Multiplier, zero_point: int) -> NDArray[np.int8]:
    """Return int8 logits, each at the index that is the int16 one."""
    return of_every_int16(lambda logits: saturate(rescale(logits, factor) + zero_point, -128, 127)).astype(np.int8)


def dense(layer: QuantizedDense, x: NDArray[np.int16]) -> Integers:
    """Apply a dense layer to int16 x [N, columns]; int16 values [N, rows] in int64."""
    accumulator = (x.astype(np.float64) @ layer.columns).astype(np.int64) + layer.bias
    return saturate((accumulator * layer.reduced + (1 << (layer.shift - 1))) >> layer.shift)


def lstm_step(
    layer: QuantizedLstmLayer, x: NDArray[np.int16], h: NDArray[np.int16], c: NDArray[np.int16]
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Return the next h and c, int16 [N, H]."""
    gates = dense(layer.gates, np.concatenate([x, h], axis=1)).reshape(len(x), 4, -1)  # i, f, o, g
    logistic = sigmoid(gates[:, :3])
    kept = rescale(logistic[:, 1] * c.astype(np.int64), _GATE_RESCALE)
    added = saturate(rescale(logistic[:, 0] * tanh(gates[:, 3]), layer.cell_rescale))
    cell = saturate(kept + added)
    hidden = rescale(logistic[:, 2] * tanh(cell, layer.cell_shift), layer.hidden_rescale)
    return hidden.astype(np.int16), cell.astype(np.int16)


def gru_step(layer: QuantizedGruLayer, x: NDArray[np.int16], h: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the next h, int16 [N, H]."""
    reset, update, from_x, from_h = np.split(dense(layer.gates, np.concatenate([x, h], axis=1)), 4, axis=1)
    candidate = tanh(saturate(from_x + rescale(sigmoid(reset) * from_h, _GATE_RESCALE)))
    keep = sigmoid(update)
    kept = rescale(keep * h.astype(np.int64), _GATE_RESCALE)
    added = rescale((INT16_MAX - keep) * candidate, layer.hidden_rescale)
    return saturate(kept + added).astype(np.int16)
