# SPDX-License-Identifier: Apache-2.0
"""The integer primitives against the runtimes' own kernels, over every int16 value."""

import math

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.quantization.fixed_point import (
    SIGMOID_TABLE,
    interpolated_sigmoid,
    interpolated_tanh,
    multiplier,
    rescale,
    saturate,
    sigmoid,
    tanh,
)
from memkd_edge.quantization.integer_model import ACTIVATION_SCALE, CELL_SCALE, GATE_SCALE, Multiplier
from memkd_edge.quantization.post_training import CELL_SHIFTS
from memkd_edge.writers.flatbuffer import ModelWriter
from tests.quantization.helpers import RESOLVERS, MicroStep, litert_interpreter

ALL_INT16 = np.arange(-32768, 32768, dtype=np.int16)[None]


def one_operator(kind: str, version: int, in_scale: float, out_dtype: str, out_scale: float, zero_point: int = 0) -> bytes:
    writer = ModelWriter()
    graph = writer.subgraph("step")
    graph.inputs["x"] = graph.tensor("x", ALL_INT16.shape, "int16", in_scale)
    graph.outputs["y"] = graph.tensor("y", ALL_INT16.shape, out_dtype, out_scale, zero_point)
    options = schema.QuantizeOptionsT() if kind == "QUANTIZE" else None
    graph.operator(kind, version, [graph.inputs["x"]], [graph.outputs["y"]], options)
    return writer.finish()


def results(file: bytes) -> dict[str, np.ndarray]:
    outputs = {name: litert_interpreter(file, name).get_signature_runner()(x=ALL_INT16)["y"][0] for name in RESOLVERS}
    outputs["tflite-micro"] = MicroStep(file)([ALL_INT16])[0][0]
    return outputs


@pytest.mark.parametrize(("kind", "function"), [("LOGISTIC", sigmoid), ("TANH", tanh)])
def test_gate_activations_equal_every_runtime_on_every_int16_value(kind, function):
    expected = function(ALL_INT16[0].astype(np.int64))
    for runtime, actual in results(one_operator(kind, 3, GATE_SCALE, "int16", ACTIVATION_SCALE)).items():
        np.testing.assert_array_equal(actual, expected, err_msg=runtime)


@pytest.mark.parametrize("shift", CELL_SHIFTS)
def test_the_cells_tanh_equals_every_runtime_on_every_int16_value(shift):
    expected = tanh(ALL_INT16[0].astype(np.int64), shift)
    for runtime, actual in results(one_operator("TANH", 3, CELL_SCALE * 2.0**shift, "int16", ACTIVATION_SCALE)).items():
        np.testing.assert_array_equal(actual, expected, err_msg=runtime)


def test_the_tables_hold_what_the_kernels_interpolate_at_every_int16_value():
    every = ALL_INT16[0].astype(np.int64)
    np.testing.assert_array_equal(sigmoid(every), interpolated_sigmoid(every))
    for shift in CELL_SHIFTS:
        np.testing.assert_array_equal(tanh(every, shift), interpolated_tanh(every, shift))


@pytest.mark.parametrize("seed", range(8))
def test_rescale_equals_every_runtimes_quantize_to_int8(seed):
    generator = np.random.default_rng(seed)
    in_scale = 2.0 ** int(generator.integers(-15, -5))
    out_scale = float(np.float32(in_scale * generator.uniform(1, 600)))
    zero_point = int(generator.integers(-128, 128))
    expected = rescale(ALL_INT16[0].astype(np.int64), multiplier(in_scale / out_scale)) + zero_point
    expected = saturate(expected, -128, 127)
    for runtime, actual in results(one_operator("QUANTIZE", 2, in_scale, "int8", out_scale, zero_point)).items():
        np.testing.assert_array_equal(actual, expected, err_msg=runtime)


@settings(deadline=None, max_examples=200)
@given(st.floats(2.0**-30, 0.999), st.integers(-(2**31) + 1, 2**31 - 1))
def test_rescale_is_within_one_of_the_real_product(real, value):
    factor = multiplier(real)
    assert 2**30 <= factor.mantissa < 2**31
    assert math.isclose(factor.mantissa / 2**31 * 2.0**factor.exponent, real, rel_tol=2**-30)
    assert abs(int(rescale(np.array([value]), factor)[0]) - value * real) <= 1.0 + abs(value) * real * 2**-30


def test_a_mantissa_that_rounds_up_to_one_takes_the_next_exponent():
    assert multiplier(0.5 - 2.0**-34) == Multiplier(1 << 30, 0) == multiplier(0.5)
    assert multiplier(0.5 - 2.0**-32) == Multiplier((1 << 31) - 1, -1)


def test_the_sigmoid_table_is_the_logistic_function_to_two_units():
    exact = 65536 / (1 + np.exp(-np.arange(256) / 24))
    assert np.abs(SIGMOID_TABLE - exact).max() < 2
    assert SIGMOID_TABLE[0] == 32768
    assert SIGMOID_TABLE[255] == 65535
