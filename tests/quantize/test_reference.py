"""The numpy reference against TensorFlow Lite Micro: not one bit differs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.export.tflite import write_tflite
from memkd_edge.models import ModelSpec
from memkd_edge.quantize import IntegerLstm, QuantizedLstm, quantize
from tests.quantize.helpers import MicroStep, hard_states, random_model, random_series

DTYPES = {"int8": np.int8, "int16x8": np.int16}


def reference_step(runner: IntegerLstm, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """One step in the file's order: x, h, c, h1, c1, ... -> logits, h, c, ..."""
    runner.h, runner.c = inputs[1::2], inputs[2::2]
    logits = runner.step_int8(inputs[0]) if inputs[0].dtype == np.int8 else runner.step(inputs[0])
    return [logits, *(state for pair in zip(runner.h, runner.c, strict=True) for state in pair)]


def assert_equal_on_hard_states(q: QuantizedLstm, interface: str, seed: int, count: int) -> None:
    micro = MicroStep(write_tflite(q, None, interface=interface))
    widths = [q.input_size] + [layer.hidden_size for layer in q.layers for _ in range(2)]
    runner = IntegerLstm(q)
    for inputs in hard_states(seed, count, widths, DTYPES[interface]):
        for expected, actual in zip(micro(inputs), reference_step(runner, inputs), strict=True):
            np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("interface", ["int8", "int16x8"])
@pytest.mark.parametrize("spec", [ModelSpec(1, 8, 2), ModelSpec(6, 16, 6), ModelSpec(3, 5, 4, num_layers=2)], ids=str)
def test_random_and_saturating_steps_equal_tflite_micro(spec, interface):
    q = quantize(random_model(spec, seed=7, gain=1.5), random_series(1, 8, 50, spec.input_size))
    assert_equal_on_hard_states(q, interface, seed=11, count=2500)


@pytest.mark.parametrize("interface", ["int8", "int16x8"])
def test_a_stream_without_reset_equals_tflite_micro(interface):
    model = random_model(ModelSpec(6, 16, 6), seed=5)
    x = random_series(6, 1, 3000, 6)
    q = quantize(model, x)
    micro = MicroStep(write_tflite(q, None, interface=interface))
    runner = IntegerLstm(q)
    state = [np.zeros((1, 16), np.int16)] * 2
    for sample in np.moveaxis(runner.quantize_input(x, interface), 1, 0):
        expected = micro([sample, *state])
        actual = reference_step(runner, [sample, *state])
        for want, got in zip(expected, actual, strict=True):
            np.testing.assert_array_equal(got, want)
        state = expected[1:]


@settings(deadline=None, max_examples=25)
@given(
    units=st.integers(1, 64),
    channels=st.integers(1, 16),
    classes=st.integers(2, 60),
    layers=st.integers(1, 3),
    steps=st.integers(1, 2000),
    gain=st.floats(0.05, 4),
    peak=st.floats(0.01, 30),
    seed=st.integers(0, 2**31),
    interface=st.sampled_from(["int8", "int16x8"]),
)
def test_every_size_equals_tflite_micro(units, channels, classes, layers, steps, gain, peak, seed, interface):
    model = random_model(ModelSpec(channels, units, classes, num_layers=layers), seed, gain)
    x = random_series(seed, 1, steps, channels) * np.float32(peak / 3)
    q = quantize(model, x)
    assert_equal_on_hard_states(q, interface, seed, count=40)
    micro, runner = MicroStep(write_tflite(q, None, interface=interface)), IntegerLstm(q)
    state = [np.zeros((1, units), np.int16) for _ in range(2 * layers)]
    for sample in np.moveaxis(runner.quantize_input(x, interface), 1, 0)[:60]:
        expected = micro([sample, *state])
        for want, got in zip(expected, reference_step(runner, [sample, *state]), strict=True):
            np.testing.assert_array_equal(got, want)
        state = expected[1:]
