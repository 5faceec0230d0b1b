"""The memory discrepancy r(s, e): how far a hidden state moved from step s to step e, relative to where it was.

    r(h; s, e) = ||h_e - h_s||_2 / D(h, s)            h: hidden sequence [T, H] of one series, s < e

D is the denominator (arXiv 2601.04264 prints the first form):

    printed   ||h_s||
    floored   max(||h_s||, half the mean over time of ||h_t|| of that series)
    mean      the mean over time of ||h_t|| of that series

r is a scalar per pair, so a teacher and a student of different width compare directly; it does not change when h is scaled.

The term is evaluated at every training step for a hundred students at once. So all work is on the layout [T, ..., H, B] that the
trainer's recurrence writes, time outermost and the batch innermost, and the norm and its gradient are written by hand: torch's
own norm over an axis of 8 that is not the innermost takes 30 times as long.
"""

from typing import Any

import torch
from torch import Tensor

DENOMINATORS = ("floored", "mean", "printed")
_FLOOR = 0.5  # share of the mean state norm below which ||h_s|| does not count
_TINY = 1e-6  # keeps the ratio finite where the states are all zero


class Discrepancy:
    """The memory discrepancy of one batch of hidden sequences; the denominators are computed once for all pairs."""

    def __init__(self, hidden: Tensor, denominator: str) -> None:
        """Prepare for `hidden` [..., B, T, H], T >= 2, with one of `DENOMINATORS`."""
        self.trajectory = hidden.movedim(-2, 0).mT  # [T, ..., H, B]
        norm: Tensor = _StateNorm.apply(self.trajectory)  # type: ignore[no-untyped-call]
        mean = norm.mean(0, keepdim=True)
        if denominator == "floored":
            self.scale = torch.maximum(norm, _FLOOR * mean) + _TINY
        elif denominator == "mean":
            self.scale = (mean + _TINY).expand_as(norm)
        else:
            self.scale = norm + _TINY

    def short(self) -> Tensor:
        """Return r of each two neighbouring steps: [T - 1, ..., B]."""
        steps = torch.arange(len(self.trajectory))
        return self.at(steps[:-1], steps[1:])

    def at(self, starts: Tensor, ends: Tensor) -> Tensor:
        """Return r of the pairs (starts[i], ends[i]), both int64 [M]: [M, ..., B]."""
        starts, ends = starts.to(self.trajectory.device), ends.to(self.trajectory.device)
        moved: Tensor = _Movement.apply(self.trajectory, starts, ends)  # type: ignore[no-untyped-call]
        return moved / self.scale.index_select(0, starts)


class _StateNorm(torch.autograd.Function):
    """Trajectory [T, ..., H, B] -> ||h_t|| [T, ..., B]."""

    @staticmethod
    def forward(context: Any, trajectory: Tensor) -> Tensor:
        norm = _norm(trajectory)
        context.save_for_backward(trajectory, norm)
        return norm

    @staticmethod
    def backward(context: Any, *outer: Tensor) -> Tensor:
        trajectory, norm = context.saved_tensors
        return _norm_gradient(trajectory, norm, outer[0])


class _Movement(torch.autograd.Function):
    """Trajectory [T, ..., H, B], starts and ends [M] -> ||h_e - h_s|| [M, ..., B]."""

    @staticmethod
    def forward(context: Any, trajectory: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
        difference = trajectory.index_select(0, ends).sub_(trajectory.index_select(0, starts))
        norm = _norm(difference)
        context.save_for_backward(difference, norm, starts, ends)
        context.shape = trajectory.shape
        return norm

    @staticmethod
    def backward(context: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        difference, norm, starts, ends = context.saved_tensors
        push = _norm_gradient(difference, norm, outer[0])
        gradient = push.new_zeros(context.shape)
        return gradient.index_add_(0, ends, push).index_add_(0, starts, push, alpha=-1), None, None


def _norm(vectors: Tensor) -> Tensor:
    """Return the Euclidean norm [..., B] of vectors [..., H, B]."""
    return (vectors * vectors).sum(-2).sqrt_()


def _norm_gradient(vectors: Tensor, norm: Tensor, outer: Tensor) -> Tensor:
    """Return the gradient [..., H, B] of the norm, times `outer`; zero at zero, where the norm has no gradient."""
    return vectors * torch.where(norm > 0, outer / norm, 0).unsqueeze(-2)


def long_pairs(length: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw `count` pairs (s, e) with e >= s + 2, uniformly and with replacement; all of them when there are no more than that.

    Args:
        length: number of time steps T, >= 3.
        count: pairs wanted, >= 1.
        generator: on the CPU.

    Returns:
        starts and ends, int64 [M], M <= count, on the CPU.

    Raises:
        ValueError: fewer than 3 steps have no long pair.
    """
    if length < 3:
        raise ValueError(f"a series of {length} steps has no two steps further apart than neighbours; 3 are needed")
    # Two different positions a < b of length - 1, read as s = a and e = b + 1: every pair with e >= s + 2 exactly once.
    positions = length - 1
    if positions * (positions - 1) // 2 <= count:
        first, second = torch.triu_indices(positions, positions, offset=1)
    else:
        one = torch.randint(positions, (count,), generator=generator)
        other = torch.randint(positions - 1, (count,), generator=generator)
        other = other + (other >= one)
        first, second = torch.minimum(one, other), torch.maximum(one, other)
    return first, second + 1
