# SPDX-License-Identifier: Apache-2.0
"""MemKD read through the classification head: match how the belief moves over sub-sequences."""

from dataclasses import dataclass

from torch import Tensor

from memkd_edge.distillation.belief import mismatch
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
        if student.hidden.shape[2] < 2:
            raise UsageError(f"{self.name} needs series of 2 steps or more, these have 1; use another method")
        wanted = step.teacher_readout(teacher.hidden)  # [B, T, K]
        return mismatch(student.hidden, step.head_weight, step.head_bias, wanted, self.temperature)
