"""Rounding by effect: closer answers than nearest rounding, on the same grid."""

import numpy as np
import pytest

from memkd_edge.models import ModelSpec
from memkd_edge.quantize import integer_classifier, quantize
from memkd_edge.quantize.calibrate import FloatModel
from memkd_edge.quantize.quantize import quantize_nearest, settings_of
from memkd_edge.quantize.rounding import MAX_PARAMETERS, round_weights
from tests.quantize.helpers import random_model, random_series


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


def test_rounded_weights_lie_on_the_grid_and_zero_blocks_stay_zero():
    dense = FloatModel.from_model(random_model(ModelSpec(2, 4, 3, kind="gru"), 1)).dense()
    scales = [float(np.abs(one.weight).max()) / 127 for one in dense]
    rounded = round_weights("gru", dense, scales, random_series(1, 4, 30, 2))
    for one, scale in zip(rounded, scales, strict=True):
        integers = one.weight / scale
        np.testing.assert_allclose(integers, np.round(integers), atol=1e-9)
        assert np.abs(integers).max() <= 127
    assert not rounded[0].weight[8:12, 2:].any()
    assert not rounded[0].weight[12:, :2].any()


def test_rounding_is_deterministic():
    model, x = random_model(ModelSpec(3, 6, 4), 2), random_series(2, 6, 40, 3)
    first, second = quantize(model, x), quantize(model, x)
    np.testing.assert_array_equal(first.layers[0].gates.weight, second.layers[0].gates.weight)
    np.testing.assert_array_equal(first.layers[0].gates.bias, second.layers[0].gates.bias)


def test_large_models_are_rounded_to_the_nearest():
    model = random_model(ModelSpec(3, 24, 4), 2)
    dense = FloatModel.from_model(model).dense()
    assert sum(part.size for one in dense for part in one) > MAX_PARAMETERS
    scale = float(np.abs(dense[0].weight).max()) / 127
    rounded = round_weights("lstm", dense, [scale, scale], random_series(2, 6, 40, 3))
    np.testing.assert_allclose(rounded[0].weight, np.round(dense[0].weight / scale) * scale, atol=1e-12)
    np.testing.assert_array_equal(rounded[0].bias, dense[0].bias)


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


def test_outliers_do_not_take_the_int8_inputs_resolution():
    model, x = random_model(ModelSpec(1, 4, 2), 3), random_series(3, 12, 80, 1)
    plain = quantize(model, x).input_gain * quantize(model, x).layers[0].state_scale
    x[0, 10] = 40.0
    with_outlier = quantize(model, x)
    assert with_outlier.input_scale < 40 / 127 / 2
    assert with_outlier.input_scale < 8 * plain
