# SPDX-License-Identifier: Apache-2.0
"""Comparisons that several methods share, each returning one value per student (and series)."""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy [P] of `logits` [P, B, K] against `labels` [B]."""
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
    teacher_log = F.log_softmax(teacher_logits / temperature, -1)
    student_log = F.log_softmax(student_logits / temperature, -1)
    return (teacher_log.exp() * (teacher_log - student_log)).sum(-1)


def smooth_l1(student: Tensor, teacher: Tensor) -> Tensor:
    """Return SmoothL1 (threshold 1) of `student` [P, ...] against `teacher` [...], averaged over all but the first axis: [P]."""
    each = F.smooth_l1_loss(student, teacher.expand_as(student), reduction="none")
    return each.flatten(1).mean(1)
