"""Executes a `QuantizedLstm` in numpy, bit-exact with TensorFlow Lite Micro, for many series at once."""

import numpy as np
from numpy.typing import NDArray

from memkd_edge.quantize.fixed_point import Integers, rescale, saturate, sigmoid, tanh
from memkd_edge.quantize.types import Multiplier, QuantizedDense, QuantizedLayer, QuantizedLstm

# sigmoid(f) has scale 2^-15 and the cell keeps its scale, so the product is rescaled by 2^-15.
_FORGET_RESCALE = Multiplier(1 << 30, -14)


class IntegerLstm:
    """Stateful streaming classifier over N independent series.

    h, c: lists with one int16 array [N, H] per layer, bottom to top; they may be read and assigned.
    """

    def __init__(self, model: QuantizedLstm, series: int = 1) -> None:
        self.model = model
        self.reset(series)

    def reset(self, series: int = 1) -> None:
        """Set the state of `series` independent streams to zero."""
        self.h = [np.zeros((series, layer.hidden_size), np.int16) for layer in self.model.layers]
        self.c = [np.zeros((series, layer.hidden_size), np.int16) for layer in self.model.layers]

    def step(self, x: NDArray[np.int16]) -> NDArray[np.int16]:
        """Take one int16 sample per series, x [N, C] at the state scale, and return the int16 logits [N, K]."""
        below = x
        for index, layer in enumerate(self.model.layers):
            self.h[index], self.c[index] = _step_layer(layer, below, self.h[index], self.c[index])
            below = self.h[index]
        return dense(self.model.head, below).astype(np.int16)

    def step_int8(self, x: NDArray[np.int8]) -> NDArray[np.int8]:
        """Take one int8 sample per series, x [N, C] at `input_scale`, and return the int8 logits [N, K]."""
        logits = self.step((x.astype(np.int64) * self.model.input_gain).astype(np.int16)).astype(np.int64)
        shifted = rescale(logits, self.model.logit_rescale) + self.model.logit_zero_point_int8
        return saturate(shifted, -128, 127).astype(np.int8)

    def run(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        """Stream whole series x [N, T, C], int16 or int8, from the current state; return the logits after each, [N, T, K]."""
        samples = np.moveaxis(x, 1, 0)
        if x.dtype == np.int8:
            return np.stack([self.step_int8(sample.astype(np.int8)) for sample in samples], axis=1)
        return np.stack([self.step(sample.astype(np.int16)) for sample in samples], axis=1)

    def quantize_input(self, x: NDArray[np.floating], interface: str = "int16x8") -> NDArray[np.integer]:
        """Quantise normalised float samples for `interface` "int8" or "int16x8": float32 x / scale, halves away from zero."""
        if interface == "int8":
            return quantize_array(x, self.model.input_scale, np.int8)
        return quantize_array(x, self.model.layers[0].state_scale, np.int16)


def quantize_array(x: NDArray[np.floating], scale: float, dtype: type[np.int8] | type[np.int16]) -> NDArray[np.integer]:
    """Return clamp(trunc(x / scale +- 1/2)) in float32 arithmetic, the zero point being 0."""
    scaled = x.astype(np.float32) / np.float32(scale)
    limits = np.iinfo(dtype)
    quantized: NDArray[np.integer] = np.clip(
        np.trunc(scaled + np.copysign(np.float32(0.5), scaled)), limits.min, limits.max
    ).astype(dtype)
    return quantized


def dense(layer: QuantizedDense, x: NDArray[np.int16]) -> Integers:
    """Apply a dense layer to int16 x [N, columns]; int16 values [N, rows] in int64."""
    # float64 holds these sums exactly (below 2^31), and its matrix product is much faster than int64's.
    accumulator = (x.astype(np.float64) @ layer.weight.T.astype(np.float64)).astype(np.int64) + layer.bias
    return saturate((accumulator * layer.reduced + (1 << (layer.shift - 1))) >> layer.shift)


def _step_layer(
    layer: QuantizedLayer, x: NDArray[np.int16], h: NDArray[np.int16], c: NDArray[np.int16]
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    gates = dense(layer.gates, np.concatenate([x, h], axis=1))
    i, f, o, g = np.split(gates, 4, axis=1)
    kept = rescale(sigmoid(f) * c.astype(np.int64), _FORGET_RESCALE)
    added = saturate(rescale(sigmoid(i) * tanh(g), layer.cell_rescale))
    cell = saturate(kept + added)
    hidden = saturate(rescale(sigmoid(o) * tanh(cell), layer.hidden_rescale))
    return hidden.astype(np.int16), cell.astype(np.int16)
