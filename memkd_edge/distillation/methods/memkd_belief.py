# SPDX-License-Identifier: Apache-2.0
"""MemKD read through the classification head: match how the belief moves over sub-sequences."""

from dataclasses import dataclass

from torch import Tensor

from memkd_edge.distillation.methods.losses import softmax
from memkd_edge.distillation.methods.method import Method, Outputs, StepContext, register, require_positive
from memkd_edge.errors import UsageError


@register
@dataclass
class BeliefMemKD(Method):
    """MemKD on what the memory says about the classes, instead of on the memory's norm.

        p_t = softmax(head(h_t) / temperature)                                         the belief after step t, [K]
        L   = mean over s < e of ||(p_e - p_s)_student - (p_e - p_s)_teacher||^2

    As in MemKD the target is how far the state moves over a sub-sequence, and student and teacher need not have the same width.
    But the belief has a direction, leaves out what does not bear on the classes, and is bounded: no denominator can explode.

    Defaults: temperature 1; weights 2, 0.5, 8.
    """

    name = "memkd-belief"
    paper = "ours, after MemKD, arXiv 2601.04264: its sub-sequences, with the head's softmax in place of the state's norm"
    weights = (2.0, 0.5, 8.0)
    along_streams = True

    temperature: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "temperature")

    def term(self, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext) -> Tensor:
        of_student = softmax(step.student_readout(student.hidden) / self.temperature)  # [P, B, T, K]
        of_teacher = softmax(step.teacher_readout(teacher.hidden) / self.temperature)  # [B, T, K]
        length = of_student.shape[2]
        if length < 2:
            raise UsageError(f"{self.name} needs series of 2 steps or more, these have 1; use another method")
        # The difference of two movements is the movement of the difference, and the mean square distance of all pairs of its
        # points is twice their variance.
        variance = (of_student - of_teacher).var(2, correction=1)  # [P, B, K]
        return 2 * variance.sum(-1).mean(1)
