# SPDX-License-Identifier: Apache-2.0
"""Decoupled knowledge distillation: the target class and the others are matched separately."""

from dataclasses import dataclass

import torch
from torch import Tensor

from memkd_edge.distillation.methods.losses import divergence
from memkd_edge.distillation.methods.method import Method, Outputs, StepContext, register, require_positive


@register
@dataclass
class DecoupledKD(Method):
    """T^2 * (alpha * TCKD + beta * NCKD).

    TCKD is the divergence of (target class, all others), NCKD that among the others given that it is none of the target; with two
    classes NCKD is zero.

    Defaults: alpha = 1, beta = 8, T = 4 as published; weights 1, 3, 0.3.
    """

    name = "dkd"
    paper = "Zhao et al. 2022, Decoupled Knowledge Distillation, arXiv 2203.08679, equation 7"
    weights = (1.0, 3.0, 0.3)

    alpha: float = 1.0
    beta: float = 8.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        require_positive(self, "temperature")

    def term(self, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext) -> Tensor:
        of_student, others_of_student = _decoupled(student.logits / self.temperature, labels)
        of_teacher, others_of_teacher = _decoupled(teacher.logits / self.temperature, labels)
        target = divergence(of_student, of_teacher)
        others = divergence(others_of_student, others_of_teacher)
        return self.temperature**2 * (self.alpha * target + self.beta * others).mean(-1)


def _decoupled(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Split logits [..., B, K] into those of (target, any other) [..., B, 2] and those of the other classes [..., B, K - 1]."""
    rank = torch.arange(logits.shape[-1] - 1, device=logits.device)
    other = rank + (rank >= labels[:, None])  # [B, K - 1], the class indices without the target's
    others = logits.gather(-1, other.expand(*logits.shape[:-1], -1))
    target = logits.gather(-1, labels[:, None].expand(*logits.shape[:-1], 1))
    return torch.cat([target, others.logsumexp(-1, keepdim=True)], -1), others
