# SPDX-License-Identifier: Apache-2.0
"""FitNet: a trained regressor maps the student's hidden sequence onto the teacher's."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
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
        regressor = extra["regressor"]  # [P, H + 1, Ht]
        # Transposed, because hidden states of the compiled passes lie as [P, T, H, B].
        source = F.pad(student.hidden.permute(0, 3, 2, 1).flatten(2), (0, 0, 0, 1), value=1.0)  # S' [P, H + 1, T * B]
        target = teacher.hidden.transpose(0, 1).flatten(0, 1)  # Y [T * B, Ht]
        # ||S R - Y||^2 = <S'S, R R'> - 2 <S'Y, R> + ||Y||^2, which never forms the [P, T * B, Ht] prediction.
        moment = source @ source.mT  # [P, H + 1, H + 1]
        cross = (source.flatten(0, 1) @ target).view(*source.shape[:2], -1)  # [P, H + 1, Ht], one product for all students
        squared = (moment * (regressor @ regressor.mT)).sum((1, 2)) - 2 * (cross * regressor).sum((1, 2))
        return (squared + target.square().sum()) / target.numel()
