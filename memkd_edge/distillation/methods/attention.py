# SPDX-License-Identifier: Apache-2.0
"""Attention transfer: match where in time the hidden state is large."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from memkd_edge.distillation.methods.method import Method, Outputs, StepContext, register


@register
@dataclass
class AttentionTransfer(Method):
    """Mean squared difference of the attention maps Q / ||Q||_2, Q_t = mean over units of h_t^2.

    The maps have norm 1 over all T steps, so the mean is of the order 1 / T. Defaults: weights 100, 1000, 10.
    """

    name = "attention"
    paper = "Zagoruyko, Komodakis 2017, Paying More Attention to Attention, arXiv 1612.03928, equation 2"
    weights = (100.0, 1000.0, 10.0)

    def term(self, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext) -> Tensor:
        return (_attention(student.hidden) - _attention(teacher.hidden)).square().mean((1, 2))


def _attention(hidden: Tensor) -> Tensor:
    """Return the attention over time [..., T] of hidden [..., T, H], of Euclidean norm 1."""
    return F.normalize(hidden.square().mean(-1), dim=-1)
