# SPDX-License-Identifier: Apache-2.0
"""The int8 grid on which recurrent students learn, so that exporting them has nothing left to round."""

import torch
from torch import Tensor

from memkd_edge.distillation.students import Parameters
from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.vocabulary import Cell

LEVELS = 127  # the largest int8 weight; -128 is not used


def on_grid(spec: ModelSpec, parameters: Parameters) -> Parameters:
    """Return the students' parameters with the weights of each dense layer rounded to multiples of its largest weight / `LEVELS`.

    That is the grid of the integer model: a student has one scale for the weights of all gates, of input and state alike, and one
    for the head; biases are fine-grained there and stay. The gradient passes as if nothing were rounded (Jacob et al. 2018,
    Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, arXiv 1712.05877, section 3).
    The weights of a cnn, which has no integer form, come back as they are.
    """
    if spec.kind == Cell.CNN:
        return parameters
    inward, recurrent = parameters["rnn.weight_ih_l0"], parameters["rnn.weight_hh_l0"]
    gates = _rounded(torch.cat([inward, recurrent], 2))
    inward, recurrent = torch.split(gates, [inward.shape[2], recurrent.shape[2]], 2)
    head = _rounded(parameters["head.weight"])
    return {**parameters, "rnn.weight_ih_l0": inward, "rnn.weight_hh_l0": recurrent, "head.weight": head}


def _rounded(weights: Tensor) -> Tensor:
    """Round [P, rows, columns] to the grid of each student."""
    scales = (weights.detach().abs().amax((1, 2)) / LEVELS).clamp_min(torch.finfo(weights.dtype).tiny)
    zero_points = torch.zeros(len(weights), dtype=torch.int32, device=weights.device)
    rounded: Tensor = torch.fake_quantize_per_channel_affine(weights, scales, zero_points, 0, -LEVELS, LEVELS)
    return rounded
