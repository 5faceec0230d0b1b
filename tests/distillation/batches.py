# SPDX-License-Identifier: Apache-2.0
"""Random batches for the tests of the distillation methods."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from memkd_edge.distillation.methods import Method, Outputs, StepContext


@dataclass
class Batch:
    """Outputs of P students and a teacher on one random batch; the students' are leaves that want gradients."""

    population: int = 3
    size: int = 6
    length: int = 7
    width: int = 4
    teacher_width: int = 9
    classes: int = 3
    seed: int = 0
    dtype: torch.dtype = torch.float64
    student: Outputs = field(init=False)
    teacher: Outputs = field(init=False)
    labels: Tensor = field(init=False)
    x: Tensor = field(init=False)
    heads: Tensor = field(init=False)  # [P, K]: the toy students answer altered inputs with these times the mean input

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=self.dtype)

        shape = (self.size, self.length)
        self.student = Outputs(
            normal(self.population, self.size, self.classes).requires_grad_(),
            normal(self.population, *shape, self.width).requires_grad_(),
        )
        self.teacher = Outputs(normal(self.size, self.classes), normal(*shape, self.teacher_width))
        self.labels = torch.arange(self.size) % self.classes
        self.x = normal(*shape, 2)
        self.heads = normal(self.population, self.classes)

    def step(self, students: slice = slice(None)) -> StepContext:
        """Return the context of a step; its generator starts in the same state each time."""
        heads = self.heads[students]
        return StepContext(
            generator=torch.Generator().manual_seed(self.seed),
            progress=0.5,
            x=self.x,
            student_logits=lambda x: x.mean((1, 2))[None, :, None] * heads[:, None, :],
            teacher_logits=lambda x: x.mean((1, 2))[:, None] * self.heads[0] * 2,
            head_weight=self.head(self.width).expand(len(heads), -1, -1),
            head_bias=heads.new_zeros(heads.shape),
            teacher_readout=self.readout,
        )

    def readout(self, hidden: Tensor) -> Tensor:
        """Return logits [..., K] of hidden states [..., H]: one fixed map for each width, student's or teacher's."""
        return hidden @ self.head(hidden.shape[-1]).T

    def head(self, width: int) -> Tensor:
        """Return the map [K, width] of `readout`."""
        return (torch.arange(1, self.classes + 1)[:, None] * torch.arange(width)).to(self.dtype).cos()

    def extra(self, method: Method) -> dict[str, Tensor]:
        """Return the method's own trainables, in the batch's dtype."""
        tensors = method.parameters(self.population, self.width, self.teacher_width, torch.Generator().manual_seed(1))
        return {name: tensor.to(self.dtype).requires_grad_() for name, tensor in tensors.items()}

    def term(self, method: Method) -> Tensor:
        """Return the method's distillation term [P]."""
        return method.term(self.student, self.teacher, self.labels, self.extra(method), self.step())
