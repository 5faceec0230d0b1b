# SPDX-License-Identifier: Apache-2.0
"""Hinton's knowledge distillation: match the teacher's softened class probabilities."""

from dataclasses import dataclass

from torch import Tensor

from memkd_edge.distillation.methods.losses import divergence
from memkd_edge.distillation.methods.method import Method, Outputs, StepContext, register, require_positive


@register
@dataclass
class KnowledgeDistillation(Method):
    """T^2 * KL(softmax(teacher / T) || softmax(student / T)).

    T^2 keeps the gradient's size independent of the temperature T (section 2.1 of the paper).

    Default T = 4; weights 1, 3, 10, 0.3.
    """

    name = "kd"
    paper = "Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network, arXiv 1503.02531, section 2"
    weights = (1.0, 3.0, 10.0, 0.3)
    along_streams = True

    temperature: float = 4.0

    def __post_init__(self) -> None:
        require_positive(self, "temperature")

    def term(self, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext) -> Tensor:
        return self.temperature**2 * divergence(student.logits, teacher.logits, self.temperature).mean(-1)
