# SPDX-License-Identifier: Apache-2.0
"""Students live on the grid of their int8 weights."""

import numpy as np
import pytest
import torch

from memkd_edge.distillation.grid import on_grid
from memkd_edge.distillation.population import Population
from memkd_edge.distillation.students import Candidate, initial_parameters
from memkd_edge.finetuning.straight_through import dequantized
from memkd_edge.nets.classifier import ModelSpec, build
from memkd_edge.quantization.post_training import quantize
from tests.distillation.test_population import RECIPE, make_teacher, series


def test_weights_go_to_multiples_of_the_largest_over_127_one_scale_for_all_gates_and_one_for_the_head() -> None:
    spec = ModelSpec(1, 1, 2)
    parameters = {
        "rnn.weight_ih_l0": torch.tensor([[[1.27], [0.5], [-0.304], [0.0051]], [[0.1], [0.2], [0.3], [0.4]]]),
        "rnn.weight_hh_l0": torch.tensor([[[0.6], [-0.6], [0.0049], [0.015]], [[-2.54], [0.0], [0.011], [0.0]]]),
        "rnn.bias_ih_l0": torch.full((2, 4), 0.123456),
        "rnn.bias_hh_l0": torch.zeros(2, 4),
        "head.weight": torch.tensor([[[12.7], [3.33]], [[0.0], [0.0]]]),
        "head.bias": torch.full((2, 2), 0.123456),
    }
    expected = parameters | {
        "rnn.weight_ih_l0": torch.tensor([[[1.27], [0.5], [-0.30], [0.01]], [[0.1], [0.2], [0.3], [0.4]]]),
        "rnn.weight_hh_l0": torch.tensor([[[0.6], [-0.6], [0.0], [0.02]], [[-2.54], [0.0], [0.02], [0.0]]]),
        "head.weight": torch.tensor([[[12.7], [3.3]], [[0.0], [0.0]]]),
    }
    found = on_grid(spec, parameters)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=1e-6, msg=name)


def test_the_gradient_passes_as_if_nothing_were_rounded() -> None:
    parameters = initial_parameters(ModelSpec(2, 3, 4), [Candidate("base", 0.0, seed) for seed in range(3)], 10, seed=1)
    tensors = {name: tensor.requires_grad_() for name, tensor in parameters.items()}
    factors = {name: torch.randn_like(tensor) for name, tensor in tensors.items()}
    rounded = on_grid(ModelSpec(2, 3, 4), tensors)
    sum((rounded[name] * factors[name]).sum() for name in tensors).backward()
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor.grad, factors[name], msg=name)


def test_convolutions_have_no_grid() -> None:
    spec = ModelSpec(2, 3, 4, 1, "cnn")
    parameters = initial_parameters(spec, [Candidate("base", 0.0, 0)], 10, seed=1)
    assert on_grid(spec, parameters) is parameters


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_export_rounds_nothing_away_from_a_trained_student(kind: str) -> None:
    spec = ModelSpec(2, 5, 3, 1, kind)
    data = series(24, 12, 2, 3)
    candidates = [Candidate("base", 0.0, seed) for seed in range(4)]
    population = Population(spec, candidates, make_teacher(data), RECIPE, threads=1, memory_limit=2**30)
    for epoch in range(3):
        population.train_epoch(epoch)
    population.keep(torch.ones(len(candidates), dtype=torch.bool))
    for student in range(len(candidates)):
        model = build(spec)
        model.load_state_dict({name: tensor[student] for name, tensor in population.kept.items()})
        q = quantize(model, data.x.numpy())
        inward, recurrent = dequantized(q.layers[0])
        head = torch.from_numpy(q.head.weight * np.float32(q.head.weight_scale))
        for found, name in ((inward, "rnn.weight_ih_l0"), (recurrent, "rnn.weight_hh_l0"), (head, "head.weight")):
            weight = model.get_parameter(name)
            step = float(weight.detach().abs().max()) / 127
            torch.testing.assert_close(found, weight.detach(), atol=0.02 * step, rtol=1e-4, msg=f"{student} {name}")
