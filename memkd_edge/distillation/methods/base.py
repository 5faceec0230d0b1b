# SPDX-License-Identifier: Apache-2.0
"""Base: no distillation."""

from dataclasses import dataclass

from torch import Tensor

from memkd_edge.distillation.methods.method import Method, Outputs, StepContext, register


@register
@dataclass
class Base(Method):
    """Cross-entropy on the labels only: what distillation has to beat."""

    name = "base"
    paper = "none: cross-entropy only"
    weights = (0.0,)
    along_streams = True

    def term(self, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext) -> Tensor:
        return student.logits.new_zeros(len(student.logits))
