"""DT2W: soft dynamic time warping between the hidden sequences of student and teacher."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from memkd_edge.distill.methods.method import Method, Outputs, StepContext, register

_CHUNK = 1 << 22  # cells of cost matrices in memory at once


@register
@dataclass
class ShapeAlignedDistillation(Method):
    """Soft-DTW between the student's and the teacher's hidden sequence, per step, averaged over the batch.

    The teacher's units are averaged in groups down to the student's number. Sequences of more than `steps` steps are averaged
    over time down to that, since the cost grows with the square of the length.

    Defaults: smoothing = 1, steps = 100; weights 1, 0.1, 10.
    """

    name = "dt2w"
    paper = "Qiao et al. 2023 (ICASSP), Shape-Aligned Temporal Distillation; Cuturi, Blondel 2017, Soft-DTW, arXiv 1703.01541"
    weights = (1.0, 0.1, 10.0)

    smoothing: float = 1.0  # gamma of soft-DTW, > 0
    steps: int = 100

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

    Works along anti-diagonals, all of whose cells depend on the two before only. Diagonal d holds cell (i, d - i) at position
    i + 1; position 0 is the border.
    """
    count, rows, columns = cost.shape
    diagonals = rows + columns - 1
    row = torch.arange(rows, device=cost.device)
    column = torch.arange(diagonals, device=cost.device)[:, None] - row  # [diagonals, rows]
    inside = (column >= 0) & (column < columns)
    skewed = cost[:, row, column.clamp(0, columns - 1)].transpose(0, 1)  # [diagonals, N, rows]
    skewed = torch.where(inside[:, None], skewed, torch.inf).contiguous()

    border = cost.new_full((count, rows + 1), torch.inf)
    before_last, last = border.clone(), border.clone()
    before_last[:, 0] = 0  # the start: cell (-1, -1)
    share = cost.new_zeros(3, diagonals, count, rows)  # of the way in: diagonal, from above, from the left
    for d in range(diagonals):
        ways = torch.stack([before_last[:, :-1], last[:, :-1], last[:, 1:]])
        least = ways.amin(0)
        least = torch.where(least.isinf(), 0, least)
        weight = torch.exp((least - ways) / smoothing)
        total = weight.sum(0)
        share[:, d] = weight / total.clamp_min(torch.finfo(cost.dtype).tiny)
        current = border.clone()
        current[:, 1:] = skewed[d] + least - smoothing * total.log()
        before_last, last = last, current
    value = last[:, rows]

    # use[d, i]: how much the value depends on that cell's cost, gathered from the cells it leads to.
    use = cost.new_zeros(diagonals, count, rows)
    use[-1, :, -1] = 1
    for d in range(diagonals - 2, -1, -1):
        use[d] = use[d + 1] * share[2, d + 1]
        use[d, :, :-1] += use[d + 1, :, 1:] * share[1, d + 1, :, 1:]
        if d + 2 < diagonals:
            use[d, :, :-1] += use[d + 2, :, 1:] * share[0, d + 2, :, 1:]
    straight = row[:, None] + torch.arange(columns, device=cost.device)  # [rows, columns], the diagonal of each cell
    return value, use[straight, :, row[:, None]].permute(2, 0, 1)
