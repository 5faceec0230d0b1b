# SPDX-License-Identifier: Apache-2.0
"""Sixteen float32 side by side, as one value in numba-compiled code.

LLVM does not reliably vectorise loops over several arrays, because it cannot prove that they do not overlap, and a kernel is ten
times slower when it does not. With an explicit vector type nothing is left to chance; LLVM splits it to what the processor has
(AVX-512, AVX2, NEON).

    total = splat(bias)
    for k in range(n):
        total = total + splat(weight[k]) * load(values, k * LANES)
    store(result, 0, tanh(total))

`load` and `store` take a one-dimensional C-contiguous float32 array and an element index; they check no bounds.

Compiled kernels are cached beside their own source file: after a change here, delete memkd_edge/nets/kernels/__pycache__.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic, models, overload, register_model
from numba.np.arrayobj import make_array

LANES = 16
_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_FAST = ("contract", "nsz", "arcp", "reassoc", "nnan", "ninf")


class Lanes(types.Type):
    """The numba type of sixteen float32."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


_lanes = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """Return the vector that starts at element `index`."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = builder.load(_address(context, builder, signature, arguments))
        value.align = 4
        return value

    return _lanes(array, types.intp), emit


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Write `value` to the elements from `index` on."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _address(context, builder, signature, arguments)).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, _lanes), emit


@intrinsic
def splat(typing: Any, value: Any) -> Any:
    """Return a vector of sixteen times the same float32."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

    return _lanes(types.float32), emit


@intrinsic
def lane_sum(typing: Any, value: Any) -> Any:
    """Return the sum of the sixteen lanes, a float32."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_FLOAT, (_FLOAT, _VECTOR))
        function = get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f32")
        return builder.call(function, [ir.Constant(_FLOAT, 0.0), arguments[0]], fastmath=_FAST)

    return types.float32(_lanes), emit


@intrinsic
def square_root(typing: Any, value: Any) -> Any:
    """Return the square root of each lane; it must not be negative."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, (_VECTOR,))
        function = get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f32")
        return builder.call(function, [arguments[0]])

    return _lanes(_lanes), emit


@intrinsic
def _nearest_whole(typing: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = get_or_insert_function(builder.module, ir.FunctionType(_VECTOR, (_VECTOR,)), f"llvm.rint.v{LANES}f32")
        return builder.call(function, [arguments[0]])

    return _lanes(_lanes), emit


@intrinsic
def _power_of_two(typing: Any, exponent: Any) -> Any:
    """Return 2 to the power of whole numbers from -126 to 127: float32's exponent field alone."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.VectorType(ir.IntType(32), LANES)
        field = builder.add(builder.fptosi(arguments[0], kind), ir.Constant(kind, [127] * LANES))
        return builder.bitcast(builder.shl(field, ir.Constant(kind, [23] * LANES)), _VECTOR)

    return _lanes(_lanes), emit


def _two(emit: Callable[[Any, Any, Any], Any]) -> Any:
    """Return an intrinsic of two vectors."""

    @intrinsic
    def operation(typing: Any, left: Any, right: Any) -> Any:
        return _lanes(_lanes, _lanes), lambda context, builder, signature, arguments: emit(builder, *arguments)

    return operation


def _library(name: str) -> Callable[[Any, Any, Any], Any]:
    def emit(builder: Any, left: Any, right: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, (_VECTOR, _VECTOR))
        function = get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32")
        return builder.call(function, [left, right], fastmath=_FAST)

    return emit


smaller = _two(_library("minnum"))
larger = _two(_library("maxnum"))
_add = _two(lambda builder, left, right: builder.fadd(left, right, flags=_FAST))
_subtract = _two(lambda builder, left, right: builder.fsub(left, right, flags=_FAST))
_multiply = _two(lambda builder, left, right: builder.fmul(left, right, flags=_FAST))
_divide = _two(lambda builder, left, right: builder.fdiv(left, right, flags=_FAST))


def _overload(symbol: Any, operation: Any) -> None:
    @overload(symbol, strict=False)  # the implementation has no annotations
    def choose(left: Any, right: Any) -> Any:
        if left is _lanes and right is _lanes:
            return lambda left, right: operation(left, right)
        return None


for _symbol, _operation in (
    (operator.add, _add),
    (operator.sub, _subtract),
    (operator.mul, _multiply),
    (operator.truediv, _divide),
):
    _overload(_symbol, _operation)


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = make_array(signature.args[0])(context, builder, arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), _VECTOR.as_pointer())


# tanh(x) = x P(x^2) / Q(x^2), a minimax fit of relative error 8e-9 on |x| <= 8.2, beyond which tanh is 1 in float32.
_LIMIT = np.float32(8.2)
_P0, _P1, _P2, _P3, _P4 = (
    np.float32(value) for value in (0.999999992, 0.134321252, 0.00355668894, 2.16373161e-05, 1.4840611e-08)
)
_Q0, _Q1, _Q2, _Q3, _Q4 = (np.float32(value) for value in (1.0, 0.467654509, 0.0261083086, 0.000338644531, 8.37062664e-07))
_HALF = np.float32(0.5)


@njit(inline="always")
def tanh(x: Any) -> Any:
    """Hyperbolic tangent of each lane."""
    x = smaller(larger(x, splat(-_LIMIT)), splat(_LIMIT))
    square = x * x
    above = splat(_P4) * square + splat(_P3)
    above = above * square + splat(_P2)
    above = above * square + splat(_P1)
    above = above * square + splat(_P0)
    below = splat(_Q4) * square + splat(_Q3)
    below = below * square + splat(_Q2)
    below = below * square + splat(_Q1)
    below = below * square + splat(_Q0)
    return x * above / below


@njit(inline="always")
def sigmoid(x: Any) -> Any:
    """Logistic function of each lane."""
    return splat(_HALF) * tanh(splat(_HALF) * x) + splat(_HALF)


# exp(x) = 2^n exp(r), n the whole number nearest to x / ln 2; exp(r) is a minimax fit of relative error 2e-9 on |r| <= ln 2 / 2.
_LEAST_EXPONENT, _LARGEST_EXPONENT = np.float32(-87), np.float32(88)
_LOG2_E, _LN_2 = np.float32(1.44269504), np.float32(0.693147181)
_E2, _E3, _E4, _E5, _E6 = (np.float32(value) for value in (0.49999992, 0.166664192, 0.0416682318, 0.00837489845, 0.0013836742))
_ONE = np.float32(1)


@njit(inline="always")
def exp(x: Any) -> Any:
    """Exponential of each lane; of x < -87 that of -87, 1.6e-38, and of x > 88 that of 88."""
    x = smaller(larger(x, splat(_LEAST_EXPONENT)), splat(_LARGEST_EXPONENT))
    whole = _nearest_whole(x * splat(_LOG2_E))
    rest = x - whole * splat(_LN_2)
    result = splat(_E6) * rest + splat(_E5)
    result = result * rest + splat(_E4)
    result = result * rest + splat(_E3)
    result = result * rest + splat(_E2)
    result = result * rest + splat(_ONE)
    result = result * rest + splat(_ONE)
    return result * _power_of_two(whole)
