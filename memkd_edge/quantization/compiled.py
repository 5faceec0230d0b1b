# SPDX-License-Identifier: Apache-2.0
"""Runs an integer model over long streams and many series, compiled by numba: the values of `reference.py`, bit for bit.

A layer goes through all time steps of a series before the next layer starts; its gates are columns of one product, which the
compiler turns into vector instructions. The logistic function and tanh are tables of all 65,536 values, made by the reference's
own functions.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memkd_edge.quantization.fixed_point import sigmoid, tanh
from memkd_edge.quantization.integer_model import QuantizedDense, QuantizedGruLayer, QuantizedLstmLayer
from memkd_edge.quantization.reference import IntegerClassifier, IntegerGru, IntegerLstm

Int16 = NDArray[np.int16]


@cache
def _table(function: str, shift: int = 0) -> Int16:
    """Return all values of sigmoid or of tanh with a shift, for -32768 .. 32767."""
    every = np.arange(-(1 << 15), 1 << 15, dtype=np.int64)
    return (sigmoid(every) if function == "sigmoid" else tanh(every, shift)).astype(np.int16)


def run(reference: IntegerClassifier, x: Int16) -> Int16:
    """Stream int16 series x [N, T, C] through the model, from the state in `reference` on, which becomes that after the last.

    Returns:
        int16 logits after each sample, [N, T, K], as `reference.run` gives them.
    """
    below = np.ascontiguousarray(x)
    for index in range(len(reference.h)):
        h = reference.h[index] = reference.h[index].copy()
        if isinstance(reference, IntegerLstm):
            c = reference.c[index] = reference.c[index].copy()
            below = _lstm(below, *_lstm_constants(reference.model.layers[index]), h, c)
        elif isinstance(reference, IntegerGru):
            below = _gru(below, *_gru_constants(reference.model.layers[index]), h)
        else:
            raise TypeError(f"no compiled steps for a {type(reference).__name__}")
    logits: Int16 = _dense(below, *_dense_constants(reference.classifier.head))
    return logits


def _lstm_constants(layer: QuantizedLstmLayer) -> tuple[Any, ...]:
    tables = _table("sigmoid"), _table("tanh"), _table("tanh", layer.cell_shift)
    rescale = layer.cell_rescale
    return *_dense_constants(layer.gates), *tables, rescale.mantissa, -rescale.exponent, 1 - layer.hidden_rescale.exponent


def _gru_constants(layer: QuantizedGruLayer) -> tuple[Any, ...]:
    return *_dense_constants(layer.gates), _table("sigmoid"), _table("tanh"), 1 - layer.hidden_rescale.exponent


def _dense_constants(dense: QuantizedDense) -> tuple[NDArray[np.int32], NDArray[np.int32], int, int]:
    """Weights [columns, rows], biases, multiplier and shift; |accumulator| < 2^31 holds for biases too."""
    return np.ascontiguousarray(dense.weight.T.astype(np.int32)), dense.bias.astype(np.int32), dense.reduced, dense.shift


@njit(inline="always")
def _saturated(value: int) -> int:
    return min(max(value, -32768), 32767)


@njit(inline="always")
def _halves_away(value: int, bits: int) -> int:
    """`rescale` by 2^-bits, a factor of mantissa 2^30 (SPEC.md, "One LSTM step")."""
    return (value + (1 << (bits - 1)) + 1 - 2 * (value < 0)) >> bits


@njit(nogil=True, cache=True)
def _lstm(x, weight, bias, reduced, shift, logistic, squash, cell_squash, mantissa, cell_bits, hidden_bits, h, c):  # type: ignore[no-untyped-def]
    series, steps, channels = x.shape
    units = h.shape[1]
    result = np.empty((series, steps, units), np.int16)
    accumulator = np.empty(4 * units, np.int32)
    values = np.empty(channels + units, np.int32)
    half = 1 << (shift - 1)
    for n in range(series):
        for unit in range(units):
            values[channels + unit] = h[n, unit]
        for t in range(steps):
            for channel in range(channels):
                values[channel] = x[n, t, channel]
            for row in range(4 * units):
                accumulator[row] = bias[row]
            for source in range(channels + units):
                value = values[source]
                for row in range(4 * units):
                    accumulator[row] += weight[source, row] * value
            for row in range(4 * units):
                accumulator[row] = _saturated((np.int64(accumulator[row]) * reduced + half) >> shift) + 32768
            for unit in range(units):
                into = np.int64(logistic[accumulator[unit]])
                keep = np.int64(logistic[accumulator[units + unit]])
                out = np.int64(logistic[accumulator[2 * units + unit]])
                candidate = np.int64(squash[accumulator[3 * units + unit]])
                kept = _halves_away(keep * c[n, unit], 15)
                product = (into * candidate * mantissa + (1 << 30)) >> 31
                added = _saturated((product + (1 << (cell_bits - 1)) - (product < 0)) >> cell_bits)
                cell = _saturated(kept + added)
                c[n, unit] = cell
                hidden = _halves_away(out * np.int64(cell_squash[cell + 32768]), hidden_bits)
                values[channels + unit] = hidden
                result[n, t, unit] = hidden
        for unit in range(units):
            h[n, unit] = values[channels + unit]
    return result


@njit(nogil=True, cache=True)
def _gru(x, weight, bias, reduced, shift, logistic, squash, hidden_bits, h):  # type: ignore[no-untyped-def]
    series, steps, channels = x.shape
    units = h.shape[1]
    result = np.empty((series, steps, units), np.int16)
    accumulator = np.empty(4 * units, np.int32)
    values = np.empty(channels + units, np.int32)
    half = 1 << (shift - 1)
    for n in range(series):
        for unit in range(units):
            values[channels + unit] = h[n, unit]
        for t in range(steps):
            for channel in range(channels):
                values[channel] = x[n, t, channel]
            for row in range(4 * units):
                accumulator[row] = bias[row]
            for source in range(channels + units):
                value = values[source]
                for row in range(4 * units):
                    accumulator[row] += weight[source, row] * value
            for row in range(4 * units):
                accumulator[row] = _saturated((np.int64(accumulator[row]) * reduced + half) >> shift)
            for unit in range(units):
                reset = np.int64(logistic[accumulator[unit] + 32768])
                update = np.int64(logistic[accumulator[units + unit] + 32768])
                through = _halves_away(reset * accumulator[3 * units + unit], 15)
                candidate = np.int64(squash[_saturated(accumulator[2 * units + unit] + through) + 32768])
                kept = _halves_away(update * values[channels + unit], 15)
                added = _halves_away((32767 - update) * candidate, hidden_bits)
                result[n, t, unit] = _saturated(kept + added)
            for unit in range(units):
                values[channels + unit] = result[n, t, unit]
        for unit in range(units):
            h[n, unit] = values[channels + unit]
    return result


@njit(nogil=True, cache=True)
def _dense(x, weight, bias, reduced, shift):  # type: ignore[no-untyped-def]
    series, steps, columns = x.shape
    rows = bias.size
    result = np.empty((series, steps, rows), np.int16)
    accumulator = np.empty(rows, np.int32)
    half = 1 << (shift - 1)
    for n in range(series):
        for t in range(steps):
            for row in range(rows):
                accumulator[row] = bias[row]
            for source in range(columns):
                value = np.int32(x[n, t, source])
                for row in range(rows):
                    accumulator[row] += weight[source, row] * value
            for row in range(rows):
                result[n, t, row] = _saturated((np.int64(accumulator[row]) * reduced + half) >> shift)
    return result


@njit(nogil=True, cache=True)
def carry_over(x, scale, zero_point, rest):  # type: ignore[no-untyped-def]
    """Quantise float32 x [N, T, C] to int8 samples that carry over (`samples.quantize_sample`), from and into `rest` [N, C]."""
    series, steps, channels = x.shape
    result = np.empty(x.shape, np.int8)
    half, zero = np.float32(0.5), np.float32(zero_point)
    for n in range(series):
        for t in range(steps):
            for channel in range(channels):
                value = x[n, t, channel] / scale + rest[n, channel]
                rounded = np.trunc(value + np.copysign(half, value))
                moved = rounded + zero
                sample = min(max(moved, np.float32(-128)), np.float32(127))
                result[n, t, channel] = np.int8(sample)
                rest[n, channel] = value - rounded if sample == moved else np.float32(0)
    return result
