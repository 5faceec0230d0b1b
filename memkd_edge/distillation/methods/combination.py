# SPDX-License-Identifier: Apache-2.0
"""Several methods at once."""

import torch
from torch import Tensor

from memkd_edge.distillation.methods.method import Method, Outputs, StepContext


class Combination(Method):
    """Cross-entropy once, plus the terms of all parts.

    The first part's term takes the weight that is searched, from the first part's grid; the others stay at the first weight of
    their own grid.
    """

    paper = "see the parts"

    def __init__(self, parts: list[Method]) -> None:
        self.parts = parts
        self.name = "+".join(part.name for part in parts)
        self.weights = parts[0].weights
        self.along_streams = all(part.along_streams for part in parts)

    def parameters(
        self, population: int, student_hidden: int, teacher_hidden: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        return {
            f"{number}.{key}": tensor
            for number, part in enumerate(self.parts)
            for key, tensor in part.parameters(population, student_hidden, teacher_hidden, generator).items()
        }

    def term(self, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext) -> Tensor:
        return self._term(0, student, teacher, labels, extra, step)

    def loss(
        self,
        student: Outputs,
        teacher: Outputs,
        labels: Tensor,
        weight: Tensor,
        extra: dict[str, Tensor],
        step: StepContext,
    ) -> Tensor:
        total = super().loss(student, teacher, labels, weight, extra, step)
        for number, part in enumerate(self.parts[1:], start=1):
            total = total + part.weights[0] * self._term(number, student, teacher, labels, extra, step)
        return total

    def _term(
        self, number: int, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext
    ) -> Tensor:
        prefix = f"{number}."
        own = {key.removeprefix(prefix): tensor for key, tensor in extra.items() if key.startswith(prefix)}
        return self.parts[number].term(student, teacher, labels, own, step)
