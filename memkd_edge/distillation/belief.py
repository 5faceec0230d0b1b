# SPDX-License-Identifier: Apache-2.0
"""The belief p_t = softmax(head(h_t) / temperature), and how its movement differs between students and a teacher.

    mean over s < e of ||(p_e - p_s)_student - (p_e - p_s)_teacher||^2

The difference of two movements is the movement of the difference d_t = p_t,student - p_t,teacher, and the mean square distance of
all pairs of its points is twice their variance: no pair is visited.

It is evaluated at every training step for a hundred students at once. On the CPU a compiled pass does it
(nets/kernels/belief.py); elsewhere, and in double precision, torch operations that give the same numbers.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from memkd_edge.nets.kernels import belief as kernels
from memkd_edge.nets.kernels.lanes import fill_lanes


def mismatch(hidden: Tensor, weight: Tensor, bias: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return, per student, the mean square difference of all movements of its belief and the teacher's: [P].

    Args:
        hidden: the students' hidden sequences [P, B, T, H], T >= 2.
        weight, bias: the students' heads, [P, K, H] and [P, K].
        teacher: the teacher's logits [B, T, K] at every step, without gradient.
        temperature: divides all logits; > 0.
    """
    if hidden.device.type == "cpu" and all(one.dtype == torch.float32 for one in (hidden, weight, bias, teacher)):
        value: Tensor = _CompiledMismatch.apply(hidden, weight, bias, teacher, temperature)  # type: ignore[no-untyped-call]
        return value
    logits = torch.einsum("pbth,pkh->pbtk", hidden, weight) + bias[:, None, None]
    difference = (logits / temperature).softmax(-1) - (teacher / temperature).softmax(-1)
    return 2 * difference.var(2, correction=1).sum(-1).mean(1)


class _CompiledMismatch(torch.autograd.Function):
    """The gradients are computed together with the value, while the beliefs are in the cache."""

    @staticmethod
    def forward(context: Any, hidden: Tensor, weight: Tensor, bias: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        series, sharpness = len(teacher), np.float32(1 / temperature)
        logits = fill_lanes(teacher.permute(1, 2, 0))  # [T, K, B]
        target = torch.empty_like(logits)
        kernels.beliefs(logits.numpy(), sharpness, target.numpy())
        given = (fill_lanes(hidden.permute(0, 2, 3, 1)), weight.detach().contiguous(), bias.detach().contiguous())
        gradients = tuple(torch.empty_like(one) for one in given)
        value = hidden.new_empty(len(hidden))
        inputs, results = (*given, target), (value, *gradients)
        kernels.mismatch(*(one.numpy() for one in inputs), series, sharpness, *(one.numpy() for one in results))
        context.save_for_backward(*gradients)
        context.series = series
        return value

    @staticmethod
    def backward(context: Any, *outer: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        hidden, weight, bias = context.saved_tensors
        scale = outer[0].view(-1, 1, 1)
        scaled = hidden * scale[..., None]
        return scaled[..., : context.series].permute(0, 3, 1, 2), weight * scale, bias * scale[..., 0], None, None
