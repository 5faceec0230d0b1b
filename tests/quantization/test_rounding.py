# SPDX-License-Identifier: Apache-2.0
"""Calibration: rounding by effect, biases that take errors back, ranges."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.bias_correction import correct_biases
from memkd_edge.quantization.calibration import DenseWeights, FloatModel, LayerWeights
from memkd_edge.quantization.post_training import MAX_PARAMETERS, quantize, quantize_nearest, settings_of
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.quantization.rounding import round_weights
from memkd_edge.quantization.sensitivity import flatten, sensitivity
from tests.quantization.helpers import random_model, random_series

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def logit_error(model, q, x) -> float:
    runner = integer_classifier(q, len(x))
    return float(np.abs(runner.run(runner.quantize_input(x)) * q.head.out_scale - FloatModel.from_model(model).logits(x)).mean())


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_answers_on_unseen_series_come_closer_than_with_nearest_rounding(kind):
    found, nearest = [], []
    for seed in range(4):
        model = random_model(ModelSpec(2, 6, 3, kind=kind), seed, gain=1.2)
        seen, unseen = np.split(random_series(seed, 48, 60, 2), 2)
        q = quantize(model, seen)
        found.append(logit_error(model, q, unseen))
        nearest.append(logit_error(model, quantize_nearest(FloatModel.from_model(model), settings_of(q)), unseen))
    assert np.mean(found) < 0.7 * np.mean(nearest)


@pytest.mark.parametrize(("kind", "layers", "classes"), [("lstm", 1, 2), ("lstm", 2, 4), ("gru", 2, 3)])
def test_the_sensitivity_of_the_logits_is_the_derivative_that_finite_differences_find(kind, layers, classes):
    weights = FloatModel.from_model(random_model(ModelSpec(2, 3, classes, layers, kind), 3))
    x = random_series(3, 3, 40, 2)
    found = sensitivity(kind, weights.dense(), x)
    base = found.answers(weights.logits(x))
    assert found.jacobian.shape == (len(base), sum(part.size for one in weights.dense() for part in one))
    # A move of the head's last bias and of one gate's bias: the last column, and that of the bottom layer's first bias.
    head_bias = weights.head_bias.copy()
    head_bias[-1] += 1e-5
    moved = replace(weights, head_bias=head_bias)
    np.testing.assert_allclose(found.jacobian[:, -1], (found.answers(moved.logits(x)) - base) / 1e-5, atol=1e-4)
    bottom = weights.layers[0]
    input_bias = bottom.input_bias.copy()
    input_bias[0] += 1e-5
    moved = replace(weights, layers=(replace(bottom, input_bias=input_bias), *weights.layers[1:]))
    column = weights.dense()[0].weight.size
    np.testing.assert_allclose(found.jacobian[:, column], (found.answers(moved.logits(x)) - base) / 1e-5, atol=1e-4)
    input_weight = bottom.input_weight.copy()
    input_weight[1, 1] += 1e-5
    moved = replace(weights, layers=(replace(bottom, input_weight=input_weight), *weights.layers[1:]))
    column = weights.dense()[0].weight.shape[1] + 1
    np.testing.assert_allclose(found.jacobian[:, column], (found.answers(moved.logits(x)) - base) / 1e-5, atol=1e-4)
    biases = found.of_biases(weights.dense())
    alone = sensitivity(kind, weights.dense(), x, biases_only=True)
    np.testing.assert_array_equal(biases.jacobian, alone.jacobian)


@pytest.mark.parametrize(("kind", "layers"), [("lstm", 1), ("lstm", 3), ("gru", 2)])
def test_the_sensitivity_to_every_parameter_is_autograds(kind, layers):
    model = random_model(ModelSpec(2, 3, 2, layers, kind), 4).double()
    weights = FloatModel.from_model(model)
    x = random_series(4, 2, 12, 2)
    found = sensitivity(kind, weights.dense(), x)
    logits = model.head(model(torch.from_numpy(x).double())[1])
    looks = torch.from_numpy(found.directions)
    rows = []
    for n, series in enumerate(found.series):
        for m, sample in enumerate(found.samples):
            model.zero_grad()
            (logits[series, sample] @ looks[n, m]).backward(retain_graph=True)
            gradient = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
            # As dense layers are made of weights, their gradients are of the weights'; a summed bias has one of the two.
            one_bias = slice(None) if kind == "lstm" else slice(0, 6)
            for index in range(layers):
                gradient[f"rnn.bias_hh_l{index}"][one_bias] = 0
            parts = [[gradient[f"rnn.{part}_l{index}"] for part in PARTS] for index in range(layers)]
            own = replace(
                weights,
                layers=tuple(LayerWeights(*part) for part in parts),
                head_weight=gradient["head.weight"],
                head_bias=gradient["head.bias"],
            )
            rows.append(flatten(own.dense()))
    is_parameter = flatten(weights.dense()) != 0  # a GRU's candidate has weights that stay 0
    np.testing.assert_allclose(found.jacobian[:, is_parameter], np.stack(rows)[:, is_parameter], atol=1e-12)


def test_answers_weigh_all_differences_of_logits_alike_and_what_classes_share_little():
    weights = FloatModel.from_model(random_model(ModelSpec(1, 2, 4), 3))
    x = random_series(3, 2, 16, 1)
    found = sensitivity("lstm", weights.dense(), x)
    logits = np.random.default_rng(0).standard_normal((2, 16, 4))
    mean = logits.mean(-1, keepdims=True)
    counts = ((logits - mean) ** 2).sum(-1) + 4 * (0.3 * mean[..., 0]) ** 2
    expected = counts[:, np.unique(found.samples)].mean(1) + counts[:, -1]
    np.testing.assert_allclose((found.answers(logits) ** 2).reshape(2, -1).sum(1), expected)


def test_rounded_weights_lie_on_the_grid_and_zero_blocks_stay_zero():
    dense = FloatModel.from_model(random_model(ModelSpec(2, 4, 3, kind="gru"), 1)).dense()
    scales = [float(np.abs(one.weight).max()) / 127 for one in dense]
    rounded = round_weights(dense, scales, sensitivity("gru", dense, random_series(1, 4, 30, 2)).jacobian, 1e-3)
    for one, scale in zip(rounded, scales, strict=True):
        integers = one.weight / scale
        np.testing.assert_allclose(integers, np.round(integers), atol=1e-9)
        assert np.abs(integers).max() <= 127
    assert not rounded[0].weight[8:12, 2:].any()
    assert not rounded[0].weight[12:, :2].any()


def test_biases_take_back_what_is_off_everywhere_and_keep_what_a_few_series_ask_for():
    weights = FloatModel.from_model(random_model(ModelSpec(2, 4, 3), 5))
    dense, x = weights.dense(), random_series(5, 20, 30, 2)
    target = weights.logits(x)
    target[0] += 5.0 * np.array([1.0, 0.0, -1.0])  # one series that no bias can explain
    off = [*dense[:-1], DenseWeights(dense[-1].weight, dense[-1].bias + np.array([0.3, -0.1, 0.2]))]

    def errors(trial):
        return replace(weights, head_bias=trial[-1].bias, layers=(_layer_with(weights, trial[0]),)).logits(x) - target

    found = correct_biases(off, sensitivity("lstm", dense, x, biases_only=True), errors, lambda left: float(np.abs(left).mean()))
    left = errors(found)[1:]
    assert np.abs(left - left.mean(-1, keepdims=True)).max() < 0.1  # least squares would leave 5 / 20 everywhere


def _layer_with(weights, gates):
    i, f, o, g = np.split(np.arange(len(gates.bias)), 4)
    return replace(weights.layers[0], input_bias=gates.bias[np.concatenate([i, f, g, o])], hidden_bias=np.zeros(len(gates.bias)))


def test_a_model_larger_than_the_curvature_allows_still_follows_the_float_model():
    model = random_model(ModelSpec(3, 24, 4), 2)
    dense = FloatModel.from_model(model).dense()
    assert sum(part.size for one in dense for part in one) > MAX_PARAMETERS
    x = random_series(2, 12, 40, 3)
    q = quantize(model, x)
    scale = q.layers[0].gates.weight_scale
    np.testing.assert_allclose(q.layers[0].gates.weight, np.round(dense[0].weight / scale), atol=1e-12)
    nearest = quantize_nearest(FloatModel.from_model(model), settings_of(q))
    assert logit_error(model, q, x) < 0.7 * logit_error(model, nearest, x)


def test_rounding_is_deterministic():
    model, x = random_model(ModelSpec(3, 6, 4), 2), random_series(2, 6, 40, 3)
    first, second = quantize(model, x), quantize(model, x)
    np.testing.assert_array_equal(first.layers[0].gates.weight, second.layers[0].gates.weight)
    np.testing.assert_array_equal(first.layers[0].gates.bias, second.layers[0].gates.bias)


def test_a_cell_that_counts_far_gets_a_coarser_scale():
    model = random_model(ModelSpec(1, 2, 2), 1, gain=0.0)
    state = model.state_dict()
    state["rnn.bias_ih_l0"][:] = 0.0
    state["rnn.bias_ih_l0"][2:4] = 10.0  # forget nothing
    state["rnn.weight_ih_l0"][4:6] = 1.0  # add tanh(x)
    state["head.weight"][:] = 1.0
    ups_and_downs = np.concatenate([np.full((1, 60, 1), 3.0), np.full((1, 60, 1), -3.0)], axis=1).astype(np.float32)
    small = quantize(model, ups_and_downs[:, 55:65])
    large = quantize(model, ups_and_downs)
    assert large.layers[0].cell_shift > 0 >= small.layers[0].cell_shift


def test_of_a_model_that_is_never_reset_the_cells_range_is_that_of_streams():
    """From a reset each series takes the cell to 30 at most, one after another to 120."""
    model = random_model(ModelSpec(1, 2, 2), 1, gain=0.0)
    state = model.state_dict()
    state["rnn.bias_ih_l0"][2:4] = 10.0  # forget nothing
    state["rnn.weight_ih_l0"][4:6] = 1.0  # add tanh(x) / 2
    state["head.weight"][0] = 1.0
    series = np.concatenate([np.full((8, 30, 1), 3.0), np.full((8, 30, 1), -3.0)]).astype(np.float32)
    with torch.no_grad():
        expected = model.head(model(torch.from_numpy(series.reshape(1, -1, 1)))[1])[0].numpy()
    error = {}
    for never_reset in (False, True):
        q = quantize(model, series, never_reset=never_reset)
        runner = integer_classifier(q)
        logits = runner.run(runner.quantize_input(series.reshape(1, -1, 1)))[0] * q.head.out_scale
        error[never_reset] = np.abs(logits - expected).mean()
    assert error[True] < 0.02 < 0.1 < error[False]


def test_the_cells_range_is_the_one_that_errs_least_with_biases_of_its_own(monkeypatch):
    model, x = random_model(ModelSpec(1, 4, 3), 6), random_series(6, 20, 150, 1)
    model.state_dict()["rnn.bias_ih_l0"][4:8] += 4.0  # a long memory; with the biases of all ranges alike another one errs least
    expected = FloatModel.from_model(model).logits(x)

    def found():
        q = quantize(model, x)
        runner = integer_classifier(q, len(x))
        error = np.abs(runner.run(runner.quantize_input(x)) * q.head.out_scale - expected)
        return q.layers[0].cell_shift, error.mean() + error[:, -1].mean()

    chosen = found()
    each = []
    for shift in (-1, 0, 1):
        monkeypatch.setattr(import_module("memkd_edge.quantization.post_training"), "CELL_SHIFTS", (shift,))
        each.append(found())
    assert chosen == min(each, key=lambda one: one[1])


def test_outliers_do_not_take_the_int8_inputs_resolution():
    model, x = random_model(ModelSpec(1, 4, 2), 3), random_series(3, 12, 80, 1)
    plain = quantize(model, x).input_gain * quantize(model, x).layers[0].state_scale
    x[0, 10] = 40.0
    with_outlier = quantize(model, x)
    assert with_outlier.input_scale < 40 / 127 / 2
    assert with_outlier.input_scale < 8 * plain


def test_a_one_sided_input_gets_a_zero_point_and_twice_the_resolution():
    model, x = random_model(ModelSpec(1, 4, 2), 3), np.abs(random_series(3, 12, 80, 1))
    q = quantize(model, x)
    assert q.input_zero_point_int8 < -120
    assert q.input_scale < 1.05 * x.max() / 255
    runner = integer_classifier(q)
    held = np.minimum(x, (127 - q.input_zero_point_int8) * q.input_scale)
    found = runner.widen(runner.quantize_input(x, "int8")) * q.layers[0].state_scale
    # What is rounded off a sample is on the next, so two half steps may meet.
    np.testing.assert_allclose(found, held, atol=1.02 * q.input_scale)
    assert runner.quantize_input(np.zeros((1, 1, 1), np.float32), "int8") == q.input_zero_point_int8


def test_int8_logits_do_not_spend_their_range_on_classes_without_a_chance():
    model = random_model(ModelSpec(1, 4, 5), 3)
    state = model.state_dict()
    state["head.bias"][4] = -60.0
    q = quantize(model, random_series(3, 12, 80, 1))
    assert q.logit_scale_int8 * 255 < 20
    runner = integer_classifier(q, 3)
    assert (runner.run(runner.quantize_input(random_series(4, 3, 20, 1), "int8"))[..., 4] == -128).all()
