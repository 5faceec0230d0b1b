# SPDX-License-Identifier: Apache-2.0
"""Runs an integer model over long streams and many series, compiled by numba: the values of `reference.py`, bit for bit.

A layer goes through all time steps of a series before the next layer starts; its gates are columns of one product, which the
compiler turns into vector instructions. The logistic function and tanh are tables of all 65,536 values, made by the reference's
own functions. A table is read in a loop of its own, so that the loops beside it become vector instructions, too.
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
    """Return all values of sigmoid or of tanh with a shift, each at the index that is its argument as uint16."""
    every = np.arange(1 << 16).astype(np.int16).astype(np.int64)
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
    head = reference.classifier.head
    logits: Int16 = _dense(below, head.weight.astype(np.int32), head.bias.astype(np.int32), head.reduced, head.shift)
    return logits


def _lstm_constants(layer: QuantizedLstmLayer) -> tuple[Any, ...]:
    tables = _table("sigmoid"), _table("tanh"), _table("tanh", layer.cell_shift)
    rescale = layer.cell_rescale
    return *_gate_constants(layer.gates), *tables, rescale.mantissa, -rescale.exponent, 1 - layer.hidden_rescale.exponent


def _gru_constants(layer: QuantizedGruLayer) -> tuple[Any, ...]:
    return *_gate_constants(layer.gates), _table("sigmoid"), _table("tanh"), 1 - layer.hidden_rescale.exponent


def _gate_constants(gates: QuantizedDense) -> tuple[NDArray[np.int32], NDArray[np.int32], int, int]:
    """Weights [columns, rows], their columns filled up to whole fours, biases, multiplier and shift.

    |accumulator| < 2^31 holds for biases too.
    """
    rows, columns = gates.weight.shape
    weight = np.zeros((columns + -columns % 4, rows), np.int32)
    weight[:columns] = gates.weight.T
    return weight, gates.bias.astype(np.int32), gates.reduced, gates.shift


@njit(inline="always")
def _saturated(value: int) -> int:
    return min(max(value, -32768), 32767)


@njit(inline="always")
def _halves_away(value: int, bits: int) -> int:
    """`rescale` by 2^-bits, a factor of mantissa 2^30 (SPEC.md, "One LSTM step")."""
    return (value + (1 << (bits - 1)) + 1 - 2 * (value < 0)) >> bits


@njit(inline="always")
def _product(rows, values, bias, weight, reduced, shift):  # type: ignore[no-untyped-def]
    """SPEC.md's *Dense*: int32 values [columns] through int32 weight [columns, rows]; the result stands in `rows`, int32.

    Four columns at a time, as every pass loads and stores all rows.
    """
    for row in range(rows.size):
        rows[row] = bias[row]
    for source in range(0, values.size, 4):
        one, two, three, four = values[source], values[source + 1], values[source + 2], values[source + 3]
        for row in range(rows.size):
            rows[row] += (
                weight[source, row] * one
                + weight[source + 1, row] * two
                + weight[source + 2, row] * three
                + weight[source + 3, row] * four
            )
    half = 1 << (shift - 1)
    for row in range(rows.size):
        rows[row] = _saturated((np.int64(rows[row]) * reduced + half) >> shift)


@njit(nogil=True, cache=True)
def _lstm(x, weight, bias, reduced, shift, logistic, squash, cell_squash, mantissa, cell_bits, hidden_bits, h, c):  # type: ignore[no-untyped-def]
    series, steps, channels = x.shape
    units = h.shape[1]
    result = np.empty((series, steps, units), np.int16)
    gates, active = np.empty(4 * units, np.int32), np.empty(4 * units, np.int32)
    values, cells = np.zeros(weight.shape[0], np.int32), np.empty(units, np.int32)
    for n in range(series):
        values[channels : channels + units] = h[n]
        cells[:] = c[n]
        for t in range(steps):
            for channel in range(channels):
                values[channel] = x[n, t, channel]
            _product(gates, values, bias, weight, reduced, shift)
            for row in range(3 * units):
                active[row] = logistic[np.uint16(gates[row])]
            for row in range(3 * units, 4 * units):
                active[row] = squash[np.uint16(gates[row])]
            for unit in range(units):
                kept = _halves_away(np.int64(active[units + unit]) * cells[unit], 15)
                product = (np.int64(active[unit] * active[3 * units + unit]) * mantissa + (1 << 30)) >> 31
                added = _saturated((product + (1 << (cell_bits - 1)) - (product < 0)) >> cell_bits)
                cells[unit] = _saturated(kept + added)
            for unit in range(units):
                out = np.int64(active[2 * units + unit])
                hidden = _halves_away(out * cell_squash[np.uint16(cells[unit])], hidden_bits)
                values[channels + unit] = hidden
                result[n, t, unit] = hidden
        h[n] = values[channels : channels + units]
        c[n] = cells
    return result


@njit(nogil=True, cache=True)
def _gru(x, weight, bias, reduced, shift, logistic, squash, hidden_bits, h):  # type: ignore[no-untyped-def]
    series, steps, channels = x.shape
    units = h.shape[1]
    result = np.empty((series, steps, units), np.int16)
    gates, active = np.empty(4 * units, np.int32), np.empty(2 * units, np.int32)
    values, candidates = np.zeros(weight.shape[0], np.int32), np.empty(units, np.int32)
    for n in range(series):
        values[channels : channels + units] = h[n]
        for t in range(steps):
            for channel in range(channels):
                values[channel] = x[n, t, channel]
            _product(gates, values, bias, weight, reduced, shift)
            for row in range(2 * units):
                active[row] = logistic[np.uint16(gates[row])]
            for unit in range(units):
                through = _halves_away(np.int64(active[unit]) * gates[3 * units + unit], 15)
                candidates[unit] = _saturated(gates[2 * units + unit] + through)
            for unit in range(units):
                candidates[unit] = squash[np.uint16(candidates[unit])]
            for unit in range(units):
                update = np.int64(active[units + unit])
                kept = _halves_away(update * values[channels + unit], 15)
                added = _halves_away((32767 - update) * candidates[unit], hidden_bits)
                hidden = _saturated(kept + added)
                values[channels + unit] = hidden
                result[n, t, unit] = hidden
        h[n] = values[channels : channels + units]
    return result


@njit(nogil=True, cache=True)
def _dense(x, weight, bias, reduced, shift):  # type: ignore[no-untyped-def]
    """The same of a few rows: int16 x [N, T, columns] through weight [rows, columns]."""
    series, steps, columns = x.shape
    result = np.empty((series, steps, bias.size), np.int16)
    half = 1 << (shift - 1)
    for n in range(series):
        for t in range(steps):
            for row in range(bias.size):
                total = bias[row]
                for column in range(columns):
                    total += weight[row, column] * np.int32(x[n, t, column])
                result[n, t, row] = _saturated((np.int64(total) * reduced + half) >> shift)
    return result


@njit(nogil=True, cache=True)
def softmax(logits, exponentials):  # type: ignore[no-untyped-def]
    """`batch.softmax`."""
    rows, classes = logits.shape
    result = np.empty((rows, classes), np.float32)
    for row in range(rows):
        largest = logits[row].max()
        total = 0.0
        for index in range(classes):
            total += exponentials[largest - logits[row, index]]
        for index in range(classes):
            result[row, index] = exponentials[largest - logits[row, index]] / total
    return result


@njit(nogil=True, cache=True)
def held_classes(scores, margin, held):  # type: ignore[no-untyped-def]
    """`decisions.held_classes` of integer scores; held: -1 where there is none."""
    rows = len(scores)
    result = np.empty(rows, np.int64)
    for row in range(rows):
        best = scores[row].argmax()
        if held < 0 or scores[row, best] - scores[row, held] > margin:
            held = best
        result[row] = held
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
