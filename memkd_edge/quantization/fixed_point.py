# SPDX-License-Identifier: Apache-2.0
"""The scalar integer operations of the model, exactly as TensorFlow Lite Micro's reference kernels do them.

Every function takes and returns int64 arrays whose values fit int32, so nothing overflows here; SPEC.md gives the same as
formulas. `>>` is a shift that rounds towards minus infinity.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from memkd_edge.quantization.integer_model import Multiplier

Integers = NDArray[np.int64]

INT16_MIN, INT16_MAX = -(1 << 15), (1 << 15) - 1


def multiplier(real: float) -> Multiplier:
    """Return the 31-bit fixed-point form of the positive factor `real`, mantissa rounded half up."""
    fraction, exponent = math.frexp(real)
    mantissa = math.floor(fraction * (1 << 31) + 0.5)
    if mantissa == 1 << 31:
        mantissa, exponent = mantissa >> 1, exponent + 1
    return Multiplier(mantissa, exponent)


def rescale(values: Integers, factor: Multiplier) -> Integers:
    """Multiply by `factor` < 1: the rounding doubling high multiply, then a shift that rounds halves away from zero."""
    product = (values * factor.mantissa + (1 << 30)) >> 31
    if factor.exponent == 0:
        return product
    return (product + (1 << (-factor.exponent - 1)) - (product < 0)) >> -factor.exponent


def saturate(values: Integers, low: int = INT16_MIN, high: int = INT16_MAX) -> Integers:
    """Clamp to [low, high], int16 by default."""
    bounded: Integers = np.minimum(np.maximum(values, low), high)  # np.clip takes four times as long on a few values
    return bounded


def _nodes() -> Integers:
    """Build the 256 uint16 nodes of the logistic function at k / 24.

    Between nodes the kernels interpolate linearly, which runs below a concave curve by at most |f''| step^2 / 8; each node is
    therefore raised by half of that. The last node is the saturated value.
    """
    node = 1 / (1 + np.exp(-np.arange(256) / 24))
    curvature = node * (1 - node) * (1 - 2 * node)
    table = np.round((node - curvature / 24**2 / 16) * (1 << 16)).astype(np.int64)
    table[-1] = (1 << 16) - 1
    return table


SIGMOID_TABLE = _nodes()
SIGMOID_TABLE.setflags(write=False)

# Pre-activations and cell have the scale 3 * 2^-12 = 9 / 12288, so 9 * z counts 512ths of the table's step 1 / 24.
TABLE_STEPS_PER_LSB = 9


def sigmoid(pre_activation: Integers) -> Integers:
    """Logistic function of int16 values at scale 3 * 2^-12, as integers at scale 2^-15."""
    values: Integers = _every_sigmoid()[pre_activation]
    return values


def tanh(values: Integers, shift: int = 0) -> Integers:
    """Hyperbolic tangent of int16 values at scale 3 * 2^-12 * 2^shift, as integers at scale 2^-15."""
    result: Integers = _every_tanh(shift)[values]
    return result


@cache
def _every_sigmoid() -> Integers:
    return of_every_int16(interpolated_sigmoid)


@cache
def _every_tanh(shift: int) -> Integers:
    return of_every_int16(lambda values: interpolated_tanh(values, shift))


def of_every_int16(function: Callable[[Integers], Integers]) -> Integers:
    """Return a function's 65,536 values, each at the index that is its argument: negative ones count from the end."""
    values = function(np.concatenate([np.arange(INT16_MAX + 1), np.arange(INT16_MIN, 0)]))
    values.setflags(write=False)
    return values


def interpolated_sigmoid(pre_activation: Integers) -> Integers:
    """`sigmoid` as the kernels compute it."""
    argument = TABLE_STEPS_PER_LSB * pre_activation
    magnitude = np.abs(argument)
    index, fraction = magnitude >> 9, magnitude & 511
    left = np.minimum(index, 254)
    interpolated = (SIGMOID_TABLE[left] << 9) + fraction * (SIGMOID_TABLE[left + 1] - SIGMOID_TABLE[left])
    positive = np.where(index >= 255, 0x7FFF << 10, interpolated)
    return np.where(argument >= 0, positive + 512, (1 << 25) - positive + 511) >> 10


def interpolated_tanh(values: Integers, shift: int = 0) -> Integers:
    """`tanh` as the kernels compute it.

    It is 2 * sigmoid(2 x) - 1 on the same table; a negative shift rounds the argument half up.
    """
    argument = TABLE_STEPS_PER_LSB * values
    argument = argument << shift if shift >= 0 else (argument + (1 << (-shift - 1))) >> -shift
    magnitude = np.abs(argument)
    index, fraction = magnitude >> 8, magnitude & 255
    left = np.minimum(index, 254)
    interpolated = (SIGMOID_TABLE[left] << 8) + fraction * (SIGMOID_TABLE[left + 1] - SIGMOID_TABLE[left])
    positive = np.where(index >= 255, 0xFFFF << 8, interpolated) - (1 << 23)
    return np.where(argument >= 0, positive + 128, -positive + 127) >> 8
