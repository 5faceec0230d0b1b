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


@njit(inline="always")
def _product(rows, values, bias, weight, reduced, shift):  # type: ignore[no-untyped-def]
    """SPEC.md's *Dense*: int32 values [columns] through int32 weight [columns, rows]; the result stands in `rows`, int32."""
    for row in range(rows.size):
        rows[row] = bias[row]
    for source in range(values.size):
        value = values[source]
        for row in range(rows.size):
            rows[row] += weight[source, row] * value
    half = 1 << (shift - 1)
    for row in range(rows.size):
        rows[row] = _saturated((np.int64(rows[row]) * reduced + half) >> shift)


@njit(nogil=True, cache=True)
def _lstm(x, weight, bias, reduced, shift, logistic, squash, cell_squash, mantissa, cell_bits, hidden_bits, h, c):  # type: ignore[no-untyped-def]
    series, steps, channels = x.shape
    units = h.shape[1]
    result = np.empty((series, steps, units), np.int16)
    gates = np.empty(4 * units, np.int32)
    values = np.empty(channels + units, np.int32)
    for n in range(series):
        values[channels:] = h[n]
        for t in range(steps):
            values[:channels] = x[n, t]
            _product(gates, values, bias, weight, reduced, shift)
            for unit in range(units):
                into = np.int64(logistic[gates[unit] + 32768])
                keep = np.int64(logistic[gates[units + unit] + 32768])
                out = np.int64(logistic[gates[2 * units + unit] + 32768])
                candidate = np.int64(squash[gates[3 * units + unit] + 32768])
                kept = _halves_away(keep * c[n, unit], 15)
                product = (into * candidate * mantissa + (1 << 30)) >> 31
                added = _saturated((product + (1 << (cell_bits - 1)) - (product < 0)) >> cell_bits)
                cell = _saturated(kept + added)
                c[n, unit] = cell
                hidden = _halves_away(out * np.int64(cell_squash[cell + 32768]), hidden_bits)
                values[channels + unit] = hidden
                result[n, t, unit] = hidden
        h[n] = values[channels:]
    return result


@njit(nogil=True, cache=True)
def _gru(x, weight, bias, reduced, shift, logistic, squash, hidden_bits, h):  # type: ignore[no-untyped-def]
    series, steps, channels = x.shape
    units = h.shape[1]
    result = np.empty((series, steps, units), np.int16)
    gates = np.empty(4 * units, np.int32)
    values = np.empty(channels + units, np.int32)
    for n in range(series):
        values[channels:] = h[n]
        for t in range(steps):
            values[:channels] = x[n, t]
            _product(gates, values, bias, weight, reduced, shift)
            for unit in range(units):
                reset = np.int64(logistic[gates[unit] + 32768])
                update = np.int64(logistic[gates[units + unit] + 32768])
                through = _halves_away(reset * gates[3 * units + unit], 15)
                candidate = np.int64(squash[_saturated(gates[2 * units + unit] + through) + 32768])
                kept = _halves_away(update * values[channels + unit], 15)
                added = _halves_away((32767 - update) * candidate, hidden_bits)
                hidden = _saturated(kept + added)
                values[channels + unit] = hidden
                result[n, t, unit] = hidden
        h[n] = values[channels:]
    return result


@njit(nogil=True, cache=True)
def _dense(x, weight, bias, reduced, shift):  # type: ignore[no-untyped-def]
    series, steps, columns = x.shape
    result = np.empty((series, steps, bias.size), np.int16)
    rows = np.empty(bias.size, np.int32)
    values = np.empty(columns, np.int32)
    for n in range(series):
        for t in range(steps):
            values[:] = x[n, t]
            _product(rows, values, bias, weight, reduced, shift)
            result[n, t] = rows
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
