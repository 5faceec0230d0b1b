# SPDX-License-Identifier: Apache-2.0
"""Temporal saliency distillation: match how much each stretch of the input matters to the prediction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from memkd_edge.distillation.methods.losses import divergence, smooth_l1
from memkd_edge.distillation.methods.method import Method, Outputs, StepContext, register, require_positive
from memkd_edge.errors import UsageError


@register
@dataclass
class TemporalSaliencyDistillation(Method):
    """SmoothL1 of the students' saliency of a random window against the teacher's.

    The saliency of a window is T^2 * KL(p(x) || p(x')), p the class probabilities at temperature T and x' the series whose window
    holds the values of a series of another class. Each step draws some series of the batch, and for each a window and a donor.
    The paper adds this to logit distillation: `tsd+kd`.

    Defaults: windows of 5 to 10 steps, T = 8, 16 series a step; weights 1, 0.1, 10.
    """

    name = "tsd"
    paper = "Temporal Saliency Distillation, arXiv 2601.04263"
    weights = (1.0, 0.1, 10.0)

    shortest: int = 5
    longest: int = 10
    temperature: float = 8.0
    series: int = 16  # perturbed per step; each costs one more pass of teacher and students

    def __post_init__(self) -> None:
        require_positive(self, "shortest", "longest", "temperature", "series")
        if self.shortest > self.longest:
            raise UsageError(f"method {self.name!r}: shortest={self.shortest} is above longest={self.longest}")

    def term(self, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext) -> Tensor:
        chosen, altered = self._perturbed(step.x, labels, step.generator)
        student_reaction = divergence(step.student_logits(altered), student.logits[:, chosen], self.temperature)
        teacher_reaction = divergence(step.teacher_logits(altered)[None], teacher.logits[chosen], self.temperature)
        scale = self.temperature**2
        return smooth_l1(scale * student_reaction, scale * teacher_reaction[0])

    def _perturbed(self, x: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return which series were drawn, [M], and these with one window exchanged, [M, T, C]."""
        batch, length = x.shape[:2]
        chosen = torch.randperm(batch, generator=generator)[: self.series]
        labels = labels.cpu()
        # A random donor, of another class if the batch has one.
        preference = torch.rand(len(chosen), batch, generator=generator) + (labels[chosen, None] != labels).float()
        donor = preference.argmax(1)
        shortest, longest = min(self.shortest, length), min(self.longest, length)
        size = torch.randint(shortest, longest + 1, (len(chosen), 1), generator=generator)
        start = (torch.rand(len(chosen), 1, generator=generator) * (length - size + 1)).long()
        time = torch.arange(length)
        window = ((time >= start) & (time < start + size)).to(x.device)
        chosen, donor = chosen.to(x.device), donor.to(x.device)
        return chosen, torch.where(window[..., None], x[donor], x[chosen])
