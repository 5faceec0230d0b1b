# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning runs through the integer model itself."""

import numpy as np
import pytest
import torch

from memkd_edge.finetuning.pipeline import finetune, snap
from memkd_edge.finetuning.straight_through import integer_outputs
from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.calibration import FloatModel
from memkd_edge.quantization.post_training import quantize, quantize_nearest, settings_of
from memkd_edge.quantization.reference import integer_classifier
from tests.quantization.helpers import random_model, random_series


@pytest.mark.parametrize("interface", ["int8", "int16x8"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_forward_pass_is_the_integer_model_bit_for_bit(layers, kind, interface):
    model = random_model(ModelSpec(3, 6, 4, layers, kind), 1, gain=2.0)
    x = random_series(2, 5, 40, 3)
    q = quantize(model, x)
    outputs = integer_outputs(model, q, torch.from_numpy(x), interface)

    runner = integer_classifier(q, len(x))
    samples = runner.quantize_input(x, interface)
    hidden = []
    for sample in np.moveaxis(samples, 1, 0):
        logits = runner.step_int8(sample) if interface == "int8" else runner.step(sample)
        hidden.append(runner.h[-1])
    np.testing.assert_array_equal(outputs.hidden.detach().numpy() / q.layers[0].state_scale, np.stack(hidden, axis=1))
    if interface == "int8":
        expected = (logits.astype(np.float32) - q.logit_zero_point_int8) * np.float32(q.logit_scale_int8)
    else:
        expected = logits * np.float32(q.head.out_scale)
    np.testing.assert_array_equal(outputs.logits.detach().numpy(), expected)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_gradients_are_close_to_the_float_models(kind):
    model = random_model(ModelSpec(3, 6, 4, 2, kind), 1)
    x = torch.from_numpy(random_series(2, 5, 30, 3))
    target = torch.tensor([0, 1, 2, 3, 0])

    def gradients(logits):
        model.zero_grad()
        torch.nn.functional.cross_entropy(logits, target).backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    expected = gradients(model(x)[0])
    found = gradients(integer_outputs(model, quantize(model, x.numpy()), x, "int16x8").logits)
    for name in expected:
        difference = (found[name] - expected[name]).norm() / expected[name].norm()
        assert difference < 0.1, name


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("seed", range(3))
def test_quantising_a_snapped_model_gives_the_integers_it_was_trained_with(kind, seed):
    model, x = random_model(ModelSpec(2, 5, 3, 2, kind), seed, gain=1.3), random_series(seed, 4, 30, 2)
    settings = settings_of(quantize(model, x))
    trained = quantize_nearest(FloatModel.from_model(model), settings)
    exported = quantize(snap(model, settings), x, fine_tuned=True)
    for want, got in zip(
        [*(one.gates for one in trained.layers), trained.head],
        [*(one.gates for one in exported.layers), exported.head],
        strict=True,
    ):
        np.testing.assert_array_equal(got.weight, want.weight)
        assert got.reduced == want.reduced
        assert np.abs(got.bias - want.bias).max() <= 1


def test_saturated_gates_have_no_gradient():
    model = random_model(ModelSpec(1, 2, 2), 1)
    with torch.no_grad():
        model.rnn.bias_ih_l0.fill_(100.0)
    x = np.ones((1, 3, 1), np.float32)
    outputs = integer_outputs(model, quantize(model, x), torch.from_numpy(x), "int16x8")
    outputs.logits.sum().backward()
    assert not model.rnn.weight_ih_l0.grad.any()
    assert model.head.weight.grad.any()


def test_a_run_is_fine_tuned_with_its_own_teacher_and_method_and_never_gets_worse(tiny_run):
    scores = []
    result = finetune(tiny_run, epochs=6, learning_rate=0.02, progress=lambda epoch, epochs, score: scores.append(score))
    assert len(scores) == 6
    assert result.after == max([result.before, *scores])
    assert len(set(scores)) > 1  # it does train
    again = finetune(tiny_run, epochs=6, learning_rate=0.02)
    for name, tensor in result.model.state_dict().items():
        torch.testing.assert_close(tensor, again.model.state_dict()[name], rtol=0, atol=0)
