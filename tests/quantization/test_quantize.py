# SPDX-License-Identifier: Apache-2.0
"""Post-training quantisation: the integer model against the float one, and its refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.errors import UsageError
from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.calibration import DenseWeights, FloatModel
from memkd_edge.quantization.post_training import dense_grid, first_settings, power_of_two_scale, quantize
from memkd_edge.quantization.reference import integer_classifier
from tests.quantization.helpers import random_model, random_series


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_float_trajectories_equal_torch(kind):
    model = random_model(ModelSpec(3, 5, 4, 2, kind), seed=1)
    x = random_series(2, 6, 40, 3)
    with torch.no_grad():
        expected, _ = model(torch.from_numpy(x))
    np.testing.assert_allclose(FloatModel.from_model(model).logits(x)[:, -1], expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_integer_logits_follow_the_float_model_sample_by_sample(layers, kind):
    model = random_model(ModelSpec(3, 8, 4, layers, kind), seed=layers)
    x = random_series(layers, 8, 80, 3)
    q = quantize(model, x)
    expected = FloatModel.from_model(model).logits(x)
    runner = integer_classifier(q, len(x))
    wide = runner.run(runner.quantize_input(x)) * q.head.out_scale
    runner.reset(len(x))
    narrow = (runner.run(runner.quantize_input(x, "int8")).astype(float) - q.logit_zero_point_int8) * q.logit_scale_int8
    assert np.abs(wide - expected).mean() < 0.01
    assert np.abs(narrow - expected).mean() < 0.03
    runners_up, winners = np.moveaxis(np.sort(expected)[..., -2:], -1, 0)
    clear = winners - runners_up > 0.1
    assert clear.mean() > 0.2
    assert (wide.argmax(-1) == expected.argmax(-1))[clear].all()


def test_series_streamed_together_equal_series_streamed_alone():
    model = random_model(ModelSpec(2, 4, 3), seed=3)
    x = random_series(4, 5, 30, 2)
    runner = integer_classifier(quantize(model, x), len(x))
    together = runner.run(runner.quantize_input(x))
    for index in range(len(x)):
        runner.reset()
        np.testing.assert_array_equal(runner.run(runner.quantize_input(x[index : index + 1]))[0], together[index])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 80), st.floats(-6, 3), st.floats(-4, 4), st.booleans())
def test_dense_scales_are_exact_and_accumulators_fit_32_bits(seed, rows, columns, weight_exponent, bias_exponent, gates):
    generator = np.random.default_rng(seed)
    weight = generator.standard_normal((rows, columns)) * 10**weight_exponent
    bias = generator.standard_normal(rows) * 10**bias_exponent
    in_scale, out_scale = 2.0**-13, 3 * 2.0**-12 if gates else 2.0**-11
    dense = DenseWeights(weight, bias)
    layer = dense_grid(dense, in_scale, out_scale).place(dense)
    assert 2**14 < layer.reduced < 2**15
    assert layer.reduced % 2 == 1
    assert float(np.float32(layer.weight_scale)) == layer.weight_scale
    assert float(np.float32(in_scale * layer.weight_scale)) == in_scale * layer.weight_scale
    assert layer.reduced / 2**layer.shift * out_scale == in_scale * layer.weight_scale
    assert (np.abs(layer.weight.astype(np.int64)).sum(1) * 2**15 + np.abs(layer.bias)).max() < 2**31
    assert columns * 127 * 2**15 + 2 * np.abs(layer.bias).max() <= 2**31  # rounding may move a bias by as much again
    if np.abs(bias).max() < 100 * np.abs(weight).max():
        assert np.abs(layer.weight * layer.weight_scale - weight).max() <= layer.weight_scale * (0.5 + 1e-9)
        assert layer.weight_scale <= np.abs(weight).max() / 127 * (1 + 2**-13) or layer.shift > 36


def test_int16_reaches_a_quarter_beyond_the_calibration_series_and_int8_all_of_them():
    model = FloatModel.from_model(random_model(ModelSpec(1, 2, 2), seed=0))
    for low, high in ((-3.0, 7.0), (-0.2, 0.3), (-1.0, 100.0), (0.5, 9.0)):
        found = first_settings(model, np.array([[[low], [high]]], np.float32))
        assert 32768 * found.state_scale >= 1.25 * high > 8192 * found.state_scale or high < 0.5
        steps = np.array([low, high]) / (found.input_gain * found.state_scale) + found.input_zero_point
        assert -128.5 <= steps[0] < steps[1] <= 127.5
        assert found.input_gain * found.state_scale * 255 < max(high, high - low) + 255 * found.state_scale


def test_a_power_of_two_scale_is_the_smallest_at_which_int16_reaches_so_far():
    for magnitude, exponent in ((1.0, -15), (1.01, -14), (0.5, -16), (8.0, -12), (8.75, -11)):
        assert power_of_two_scale(magnitude) == 2.0**exponent


def test_input_quantisation_rounds_halves_away_from_zero_and_saturates():
    q = quantize(random_model(ModelSpec(1, 2, 2), seed=0), np.ones((1, 4, 1), np.float32))
    scale = q.layers[0].state_scale
    x = np.array([[[0.5], [-0.5], [1.49], [-1.5], [1e9], [-1e9]]], np.float32) * np.float32(scale)
    runner = integer_classifier(q)
    assert runner.quantize_input(x).ravel().tolist() == [1, -1, 1, -2, 32767, -32768]
    assert runner.quantize_input(x, "int8").dtype == np.int8


def test_a_constant_zero_input_can_be_quantised():
    model = random_model(ModelSpec(1, 2, 2), seed=0)
    q = quantize(model, np.zeros((2, 5, 1), np.float32))
    assert q.input_gain == 1


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_int8_logits_of_a_range_too_small_for_them_are_the_int16_logits(kind):
    """A barely trained student: its logits hardly differ, their scale is as fine as int16's."""
    model = random_model(ModelSpec(2, 4, 3, kind=kind), seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(1e-6 if name.startswith("rnn") else 1.0)
        model.head.bias.zero_()
    x = random_series(0, 3, 20, 2)
    q = quantize(model, x)
    assert q.logit_rescale.exponent == 0
    assert q.logit_scale_int8 == pytest.approx(q.head.out_scale, rel=1e-6)
    values = np.arange(-100, 100, dtype=np.int16)[:, None] * np.ones(3, np.int16)
    narrow = integer_classifier(q, len(values)).narrow(values)
    np.testing.assert_array_equal(narrow, np.clip(values + q.logit_zero_point_int8, -128, 127))


def test_a_model_of_zeros_gives_zero_logits():
    model = random_model(ModelSpec(1, 2, 2), seed=0, gain=0.0)
    runner = integer_classifier(quantize(model, np.ones((2, 5, 1), np.float32)))
    assert not runner.step(np.array([[1234]], np.int16)).any()


def test_calibration_series_that_are_not_finite_are_refused_with_their_place():
    x = np.zeros((3, 5, 2), np.float32)
    x[1, 4, 0] = np.nan
    with pytest.raises(UsageError, match="series 1, sample 4, channel 0 is nan"):
        quantize(random_model(ModelSpec(2, 2, 2), seed=0), x)


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (0, 5, 2), (3, 0, 2)])
def test_calibration_series_of_the_wrong_shape_are_refused(shape):
    with pytest.raises(UsageError, match=r"must be \[N, T, 2\]"):
        quantize(random_model(ModelSpec(2, 2, 2), seed=0), np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [(ModelSpec(2, 3, 2, kind="cnn"), "--format onnx"), (ModelSpec(2, 3, 2, bidirectional=True), "distil a causal student")],
)
def test_a_model_that_cannot_stream_is_refused_with_the_alternative(spec, remedy):
    with pytest.raises(UsageError, match=remedy):
        quantize(random_model(spec, seed=0), np.ones((1, 5, 2), np.float32))


def test_a_diverged_model_is_refused():
    model = random_model(ModelSpec(2, 2, 2), seed=0)
    with torch.no_grad():
        model.rnn.weight_hh_l0[0, 0] = float("nan")
    with pytest.raises(UsageError, match="not finite"):
        quantize(model, np.ones((1, 3, 2), np.float32))


def test_a_layer_too_wide_for_32_bit_accumulators_is_refused_with_the_alternative():
    with pytest.raises(UsageError, match="--quantize float32"):
        dense_grid(DenseWeights(np.ones((1, 513)), np.ones(1)), 2.0**-13, 2.0**-11)
