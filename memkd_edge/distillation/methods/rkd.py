# SPDX-License-Identifier: Apache-2.0
"""Relational knowledge distillation: match distances and angles between the series of a batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from memkd_edge.distillation.methods.losses import smooth_l1
from memkd_edge.distillation.methods.method import Method, Outputs, StepContext, register

_TINY = 1e-8  # squared distance below which two series count as one point


@register
@dataclass
class RelationalKD(Method):
    """distance * L_D + angle * L_A on the flattened hidden sequences, T * H numbers per series.

    L_D compares the Euclidean distances of all pairs, divided by their mean; L_A the cosines of the angles of all triples; both
    by SmoothL1.

    Defaults: distance = 1, angle = 2 (the published ratio 25 : 50); weights 0.3, 3, 30.
    """

    name = "rkd"
    paper = "Park et al. 2019, Relational Knowledge Distillation, arXiv 1904.05068, equations 5-10"
    weights = (0.3, 3.0, 30.0)

    distance: float = 1.0
    angle: float = 2.0

    def term(self, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext) -> Tensor:
        student_distance, student_cosine = _relations(student.hidden.flatten(2))
        teacher_distance, teacher_cosine = _relations(teacher.hidden.flatten(1))
        by_distance = smooth_l1(student_distance, teacher_distance)
        by_angle = smooth_l1(student_cosine, teacher_cosine)
        return self.distance * by_distance + self.angle * by_angle


def _relations(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the relations of points [..., B, D].

    Returns:
        the distances over their mean [..., B, B], and the cosine of the angle at point j between points i and k, [..., j, i, k].
    """
    # All comes from inner products: differences of all pairs would take B times the memory of the points.
    points = points - points.mean(-2, keepdim=True)
    gram = points @ points.mT
    own = gram.diagonal(dim1=-2, dim2=-1)
    squared = own[..., :, None] + own[..., None, :] - 2 * gram
    apart = ~torch.eye(points.shape[-2], dtype=torch.bool, device=points.device) & (squared > _TINY)
    length = torch.where(apart, squared, 1.0).sqrt()  # the inner where keeps the root's gradient finite
    distance = torch.where(apart, length, 0.0)
    mean = distance.sum((-2, -1), keepdim=True) / apart.sum((-2, -1), keepdim=True).clamp_min(1)
    inverse = torch.where(apart, 1 / length, 0.0)
    # <x_i - x_j, x_k - x_j> = <i, k> - <i, j> - <j, k> + <j, j>
    inner = gram[..., None, :, :] - gram[..., :, :, None] - gram[..., :, None, :] + own[..., :, None, None]
    return distance / mean.clamp_min(_TINY), inner * inverse[..., :, :, None] * inverse[..., :, None, :]
