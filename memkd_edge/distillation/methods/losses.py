# SPDX-License-Identifier: Apache-2.0
"""Comparisons that several methods share, each returning one value per student (and series)."""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor, share: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy [P] of `logits` [P, B, K] against `labels` [B].

    Args:
        share: [B], of each answer in the mean; where it is 0 the label may be -1. Equal when left out.
    """
    if share is not None:
        chosen = labels.clamp_min(0)[None, :, None].expand(len(logits), -1, 1)
        return -(log_softmax(logits).gather(2, chosen)[..., 0] * share).sum(1)
    population, batch, classes = logits.shape
    each = F.cross_entropy(logits.reshape(-1, classes), labels.repeat(population), reduction="none")
    return each.view(population, batch).mean(1)


def divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return KL(teacher || student) [P, B], in nats, of the class probabilities at `temperature`.

    Args:
        student_logits: [P, B, K].
        teacher_logits: [B, K], or anything that broadcasts against the student's.
        temperature: divides both logits; > 0.
    """
    teacher_log = log_softmax(teacher_logits / temperature)
    student_log = log_softmax(student_logits / temperature)
    return (teacher_log.exp() * (teacher_log - student_log)).sum(-1)


def log_softmax(logits: Tensor) -> Tensor:
    """Return the logarithms of the class probabilities of `logits` [..., K], which may lie in memory in any order."""
    # Along streams the classes are not innermost. torch would copy such logits first, and it is several times slower over few
    # classes side by side than over many series of each.
    order = sorted(range(logits.dim()), key=logits.stride, reverse=True)
    probabilities = logits.permute(order).log_softmax(order.index(logits.dim() - 1))
    return probabilities.permute([order.index(axis) for axis in range(logits.dim())])


def smooth_l1(student: Tensor, teacher: Tensor) -> Tensor:
    """Return SmoothL1 (threshold 1) of `student` [P, ...] against `teacher` [...], averaged over all but the first axis: [P]."""
    each = F.smooth_l1_loss(student, teacher.expand_as(student), reduction="none")
    return each.flatten(1).mean(1)
