# SPDX-License-Identifier: Apache-2.0
"""FitNet: a trained regressor maps the student's hidden sequence onto the teacher's."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memkd_edge.distillation.methods.method import Method, Outputs, StepContext, register


@register
@dataclass
class FitNet(Method):
    """Mean squared error of a linear map of the student's hidden state against the teacher's, at every time step.

    The map (one 1 x 1 convolution over time, with bias) belongs to the student and is trained with it. Hint and cross-entropy are
    minimised together, not in two stages.

    Defaults: weights 1, 10, 0.1.
    """

    name = "fitnet"
    paper = "Romero et al. 2015, FitNets: Hints for Thin Deep Nets, arXiv 1412.6550, equation 3"
    weights = (1.0, 10.0, 0.1)
    along_streams = True

    def parameters(
        self, population: int, student_hidden: int, teacher_hidden: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the map as one tensor [P, H + 1, Ht] whose last row is the bias, uniform in +-1 / sqrt(H)."""
        bound = student_hidden**-0.5
        drawn = torch.rand(population, student_hidden + 1, teacher_hidden, generator=generator)
        return {"regressor": (2 * drawn - 1) * bound}

    def term(self, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext) -> Tensor:
        value: Tensor = _Regression.apply(student.hidden, extra["regressor"], teacher.hidden)  # type: ignore[no-untyped-call]
        return value


class _Regression(torch.autograd.Function):
    """Hidden states [P, B, T, H], maps [P, H + 1, Ht], the teacher's hidden states [B, T, Ht] -> mean squared error [P].

    With S [H + 1, T * B] the states and a row of ones, R the map and Y [T * B, Ht] the teacher:

        ||S'R - Y||^2 = <R, SS'R - 2 SY> + ||Y||^2          gradients: 2 (SS'R - SY), 2 R (S'R - Y)'

    None of which forms the [P, T * B, Ht] prediction. The row of ones, and the bias it belongs to, are kept apart.
    """

    @staticmethod
    def forward(context: Any, hidden: Tensor, regressor: Tensor, teacher: Tensor) -> Tensor:
        students, _, _, units = hidden.shape
        weight, bias = regressor[:, :-1], regressor[:, -1:]
        # Transposed, because hidden states of the compiled passes lie as [P, T, H, B].
        source = hidden.permute(0, 3, 2, 1).flatten(2)  # [P, H, T * B]
        target = teacher.transpose(0, 1).flatten(0, 1)  # [T * B, Ht]
        cross = (source.flatten(0, 1) @ target).view(students, units, -1)  # SY [P, H, Ht], one product for all students,
        cross_ones = target.sum(0)  # and its row of ones [Ht]
        ones = source.sum(2, keepdim=True)  # what SS' has for it, [P, H, 1]
        by_weight = (source @ source.mT) @ weight + ones * bias - cross  # SS'R - SY
        by_bias = (weight * ones).sum(1, keepdim=True) + len(target) * bias - cross_ones
        squared = (weight * (by_weight - cross)).sum((1, 2)) + (bias * (by_bias - cross_ones)).sum((1, 2)) + target.square().sum()
        context.save_for_backward(weight, bias, source, target, torch.cat([by_weight, by_bias], 1))
        context.shape = hidden.shape
        return squared / target.numel()

    @staticmethod
    def backward(context: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None]:
        weight, bias, source, target, by_regressor = context.saved_tensors
        students, series, steps, units = context.shape
        scale = (2 / target.numel() * outer[0]).view(-1, 1, 1)
        scaled = scale * weight
        by_source = (scaled.flatten(0, 1) @ target.T).view_as(source)  # RY', one product for all students
        torch.baddbmm(by_source, scaled @ weight.mT, source, beta=-1, out=by_source).add_(scaled @ bias.mT)
        return by_source.view(students, units, steps, series).permute(0, 3, 2, 1), scale * by_regressor, None
