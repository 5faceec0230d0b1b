# SPDX-License-Identifier: Apache-2.0
"""The memory discrepancy r(s, e): how far a hidden state moved from step s to step e, relative to where it was.

    r(h; s, e) = ||h_e - h_s||_2 / D(h, s)            h: hidden sequence [T, H] of one series, s < e

D is the denominator (arXiv 2601.04264 prints the first form):

    printed   ||h_s||
    floored   max(||h_s||, half the mean over time of ||h_t|| of that series)
    mean      the mean over time of ||h_t|| of that series

r is a scalar per pair, so a teacher and a student of different width compare directly; it does not change when h is scaled.

It is evaluated at every training step for a hundred students at once. On the CPU compiled passes do it
(nets/kernels/discrepancy.py); elsewhere, and in double precision, torch operations that give the same numbers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from memkd_edge.errors import UsageError
from memkd_edge.nets.kernels.lanes import fill_lanes

# D = max(own * ||h_s||, floor * mean norm) + TINY
DENOMINATORS = {"floored": (1.0, 0.5), "mean": (0.0, 1.0), "printed": (1.0, 0.0)}  # own, floor
TINY = 1e-6  # keeps the ratio finite where the states are all zero


def discrepancy(hidden: Tensor, starts: Tensor, ends: Tensor, denominator: str) -> Tensor:
    """Return r of the pairs (starts[m], ends[m]) of hidden sequences [..., T, H]: [M, ...].

    Args:
        hidden: [..., T, H].
        starts, ends: int64 [M] on the CPU, 0 <= start < end < T.
        denominator: one of `DENOMINATORS`.
    """
    own, floor = DENOMINATORS[denominator]
    starts, ends = starts.to(hidden.device), ends.to(hidden.device)
    norm = torch.linalg.vector_norm(hidden, dim=-1)  # [..., T]; at zero its gradient is zero
    scale = torch.maximum(own * norm, floor * norm.mean(-1, keepdim=True)) + TINY
    step = hidden.index_select(-2, ends) - hidden.index_select(-2, starts)
    ratio: Tensor = torch.linalg.vector_norm(step, dim=-1) / scale.index_select(-1, starts)
    return ratio.movedim(-1, 0)


def mismatch(student: Tensor, teacher: Tensor, starts: Tensor, ends: Tensor, share: Tensor, denominator: str) -> Tensor:
    """Return, per student, sum over pairs of share * SmoothL1(r_student, r_teacher), averaged over the batch: [P].

    Args:
        student: hidden sequences [P, B, T, H].
        teacher: hidden sequences [B, T, Ht], without gradient.
        starts, ends: int64 [M] on the CPU, 0 <= start < end < T.
        share: float32 [M] on the CPU, the pairs' weights.
        denominator: one of `DENOMINATORS`.
    """
    if student.device.type == "cpu" and student.dtype == teacher.dtype == torch.float32:
        value: Tensor = _CompiledMismatch.apply(student, teacher, starts, ends, share, denominator)  # type: ignore[no-untyped-call]
        return value
    of_student = discrepancy(student, starts, ends, denominator)  # [M, P, B]
    of_teacher = discrepancy(teacher, starts, ends, denominator)[:, None].expand_as(of_student)
    each = F.smooth_l1_loss(of_student, of_teacher, reduction="none").mean(-1)
    return (each * share.to(each)[:, None]).sum(0)


class _CompiledMismatch(torch.autograd.Function):
    """The gradient is computed together with the value, while the trajectory is in the cache."""

    @staticmethod
    def forward(
        context: Any, student: Tensor, teacher: Tensor, starts: Tensor, ends: Tensor, share: Tensor, denominator: str
    ) -> Tensor:
        from memkd_edge.nets.kernels import discrepancy as kernels

        students, series = student.shape[:2]
        factors = torch.tensor([*DENOMINATORS[denominator], TINY]).numpy()
        target = teacher.new_empty(len(starts), series)
        kernels.ratios(teacher.contiguous().numpy(), starts.numpy(), ends.numpy(), factors, target.numpy())
        hidden = fill_lanes(student.permute(0, 2, 3, 1))  # [P, T, H, B]
        weight = fill_lanes((share / series)[:, None].expand(-1, series))
        value = student.new_empty(students)
        gradient = torch.empty_like(hidden) if context.needs_input_grad[0] else hidden.new_empty(0, 0, 0, 0)
        arrays = (hidden, starts, ends, weight, fill_lanes(target))
        kernels.mismatch(*(tensor.numpy() for tensor in arrays), factors, value.numpy(), gradient.numpy())
        context.save_for_backward(gradient)
        context.series = series
        return value

    @staticmethod
    def backward(context: Any, *outer: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (gradient,) = context.saved_tensors
        scaled = gradient * outer[0].view(-1, 1, 1, 1)
        return scaled[..., : context.series].permute(0, 3, 1, 2), None, None, None, None, None


def short_pairs(length: int) -> tuple[Tensor, Tensor]:
    """Return the pairs (t, t + 1) of a series of `length` steps, as starts and ends, int64 [length - 1].

    Raises:
        UsageError: a single step has no pair.
    """
    if length < 2:
        raise UsageError("MemKD needs series of 2 steps or more, these have 1; use another method")
    steps = torch.arange(length)
    return steps[:-1], steps[1:]


def long_pairs(length: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw `count` pairs (s, e) with e >= s + 2, uniformly and with replacement; all of them when there are no more than that.

    Args:
        length: number of time steps T, >= 3.
        count: pairs wanted, >= 1.
        generator: on the CPU.

    Returns:
        starts and ends, int64 [M], M <= count, on the CPU.

    Raises:
        UsageError: fewer than 3 steps have no long pair.
    """
    if length < 3:
        raise UsageError(
            f"MemKD's long-term loss needs series of 3 steps or more, these have {length}; switch it off with memkd:gamma=0"
        )
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
