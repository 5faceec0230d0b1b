# SPDX-License-Identifier: Apache-2.0
"""DT2W: soft dynamic time warping between the hidden sequences of student and teacher."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from memkd_edge.distillation.methods.method import Method, Outputs, StepContext, register, require_positive

_CHUNK = 1 << 20  # cells of cost matrices in memory at once


@register
@dataclass
class ShapeAlignedDistillation(Method):
    """Soft-DTW between the student's and the teacher's hidden sequence, per step, averaged over the batch.

    The teacher's units are averaged in groups down to the student's number. Sequences of more than `steps` steps are averaged
    over time down to that, since the cost grows with the square of the length.

    Defaults: smoothing = 1, steps = 50; weights 1, 10, 0.1.
    """

    name = "dt2w"
    paper = "Qiao et al. 2023 (ICASSP), Shape-Aligned Temporal Distillation; Cuturi, Blondel 2017, Soft-DTW, arXiv 1703.01541"
    weights = (1.0, 10.0, 0.1)

    smoothing: float = 1.0  # gamma of soft-DTW, > 0
    steps: int = 50

    def __post_init__(self) -> None:
        require_positive(self, "smoothing", "steps")

    def term(self, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext) -> Tensor:
        population, batch, length, width = student.hidden.shape
        shorter = min(length, self.steps)
        of_student = student.hidden.flatten(0, 1)
        of_teacher = F.adaptive_avg_pool1d(teacher.hidden, width)
        if shorter < length:
            of_student = F.adaptive_avg_pool1d(of_student.mT, shorter).mT
            of_teacher = F.adaptive_avg_pool1d(of_teacher.mT, shorter).mT
        distance = soft_dtw(of_student, of_teacher.repeat(population, 1, 1), self.smoothing)
        return distance.view(population, batch).mean(1) / shorter


def soft_dtw(first: Tensor, second: Tensor, smoothing: float) -> Tensor:
    """Return the soft-DTW [N] of first [N, T, H] and second [N, S, H] with squared Euclidean cost (Cuturi, Blondel 2017, eq. 2).

    Differentiable in `first` only, once. The gradient (algorithm 2 there) is computed together with the value, a few matrices
    at a time, so that memory does not grow with N * T * S.
    """
    value: Tensor = _SoftDTW.apply(first, second, smoothing)  # type: ignore[no-untyped-call]
    return value


class _SoftDTW(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, first: Tensor, second: Tensor, smoothing: float) -> Tensor:
        at_once = max(1, _CHUNK // (first.shape[1] * second.shape[1]))
        values, gradients = [], []
        for one, other in zip(torch.split(first, at_once), torch.split(second, at_once), strict=True):
            cost = _squared_distances(one, other)
            value, use = _align(cost, smoothing)
            values.append(value)
            gradients.append(2 * (use.sum(-1, keepdim=True) * one - use @ other))
        context.save_for_backward(torch.cat(gradients))
        return torch.cat(values)

    @staticmethod
    def backward(context: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = context.saved_tensors
        return outer[0][:, None, None] * gradient, None, None


def _squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Return ||first_i - second_j||^2 as [N, T, S]."""
    squares = first.square().sum(-1)[..., :, None] + second.square().sum(-1)[..., None, :]
    return (squares - 2 * first @ second.mT).clamp_min(0)


def _align(cost: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return the soft-DTW value [N] of cost [N, T, S] and its derivative by the cost [N, T, S].

    Works along anti-diagonals, all of whose cells depend on the two before only: diagonal d holds the cells (i, d - i). The
    series are innermost, so that the part of a diagonal inside the matrix is contiguous.
    """
    count, rows, columns = cost.shape
    diagonals = rows + columns - 1
    row = torch.arange(rows, device=cost.device)
    column = torch.arange(diagonals, device=cost.device)[:, None] - row  # [diagonals, rows]
    skewed = (cost / smoothing).permute(1, 2, 0)[row, column.clamp(0, columns - 1)]  # [diagonals, rows, N]
    inside = [slice(max(0, d - columns + 1), min(rows, d + 1)) for d in range(diagonals)]

    # Each diagonal's values stand at i + 1; what has not been reached is infinitely far, which makes the border.
    before_last, last, current = (cost.new_full((rows + 1, count), torch.inf) for _ in range(3))
    last[1] = skewed[0, 0]
    # The share of the ways into a cell: from the diagonal, from above, from the left. The last row stays zero.
    share = cost.new_zeros(diagonals, 3, rows + 1, count)
    for d in range(1, diagonals):
        at, after = inside[d], slice(inside[d].start + 1, inside[d].stop + 1)
        ways = (before_last[at], last[at], last[after])
        least = torch.minimum(torch.minimum(ways[0], ways[1]), ways[2])
        part = share[d, :, at]
        for number, way in enumerate(ways):
            torch.sub(least, way, out=part[number])
        total = part.exp_().sum(0)
        part.div_(total)
        torch.add(least, skewed[d, at], out=current[after]).sub_(total.log_())
        before_last, last, current = last, current, before_last
    value = smoothing * last[rows]

    # use[d, i]: how often, in the mean, the paths take that cell, gathered from the cells it leads to.
    use = cost.new_zeros(diagonals + 1, rows + 1, count)
    use[diagonals - 1, rows - 1] = 1
    for d in range(diagonals - 2, -1, -1):
        at, after = inside[d], slice(inside[d].start + 1, inside[d].stop + 1)
        torch.mul(use[d + 1, at], share[d + 1, 2, at], out=use[d, at])
        use[d, at].addcmul_(use[d + 1, after], share[d + 1, 1, after])
        if d + 2 < diagonals:
            use[d, at].addcmul_(use[d + 2, after], share[d + 2, 0, after])
    straight = row[:, None] + torch.arange(columns, device=cost.device)  # [T, S], the diagonal of each cell
    return value, use[straight, row[:, None]].permute(2, 0, 1)
