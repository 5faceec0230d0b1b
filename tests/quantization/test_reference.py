# SPDX-License-Identifier: Apache-2.0
"""The numpy reference against TensorFlow Lite Micro: not one bit differs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.writers.tflite import write_tflite
from tests.quantization.helpers import (
    DTYPES,
    MicroStep,
    hard_states,
    random_model,
    random_series,
    reference_step,
    step_widths,
)

SPECS = [
    ModelSpec(1, 8, 2),
    ModelSpec(6, 16, 6),
    ModelSpec(3, 5, 4, num_layers=2),
    ModelSpec(1, 8, 2, kind="gru"),
    ModelSpec(4, 9, 5, num_layers=3, kind="gru"),
]


def assert_stream_equal(micro: MicroStep, runner, x: np.ndarray, widths: list[int]) -> None:
    """Stream x [1, T, C] through both from zero state, each fed with the wheel's states."""
    state = [np.zeros((1, width), np.int16) for width in widths[1:]]
    for sample in np.moveaxis(x, 1, 0):
        expected = micro([sample, *state])
        for want, got in zip(expected, reference_step(runner, [sample, *state]), strict=True):
            np.testing.assert_array_equal(got, want)
        state = expected[1:]


def assert_equal_on_hard_states(micro: MicroStep, runner, widths: list[int], dtype, seed: int, count: int) -> None:
    for inputs in hard_states(seed, count, widths, dtype):
        for want, got in zip(micro(inputs), reference_step(runner, inputs), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("interface", ["int8", "int16x8"])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_random_and_saturating_steps_equal_tflite_micro(spec, interface):
    q = quantize(random_model(spec, seed=7, gain=1.5), random_series(1, 8, 50, spec.input_size))
    micro = MicroStep(write_tflite(q, None, interface=interface))
    assert_equal_on_hard_states(micro, integer_classifier(q), step_widths(spec), DTYPES[interface], seed=11, count=1500)


@pytest.mark.parametrize("interface", ["int8", "int16x8"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_stream_without_reset_equals_tflite_micro(kind, interface):
    spec = ModelSpec(6, 16, 6, kind=kind)
    x = random_series(6, 1, 1500, 6)
    q = quantize(random_model(spec, seed=5), x[:, :40])
    runner = integer_classifier(q)
    micro = MicroStep(write_tflite(q, None, interface=interface))
    assert_stream_equal(micro, runner, runner.quantize_input(x, interface), step_widths(spec))


@settings(deadline=None, max_examples=25)
@given(
    kind=st.sampled_from(["lstm", "gru"]),
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
def test_every_size_equals_tflite_micro(kind, units, channels, classes, layers, steps, gain, peak, seed, interface):
    spec = ModelSpec(channels, units, classes, layers, kind)
    x = random_series(seed, 1, steps, channels) * np.float32(peak / 3)
    q = quantize(random_model(spec, seed, gain), x[:, :20])
    runner = integer_classifier(q)
    micro = MicroStep(write_tflite(q, None, interface=interface))
    assert_equal_on_hard_states(micro, runner, step_widths(spec), DTYPES[interface], seed, count=40)
    assert_stream_equal(micro, runner, runner.quantize_input(x, interface)[:, -60:], step_widths(spec))
