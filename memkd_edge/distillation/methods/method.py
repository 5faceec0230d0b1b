# SPDX-License-Identifier: Apache-2.0
"""The contract of a distillation method: what it receives, what it returns, where it registers.

A method serves a slice of P students of the population at once: a leading axis P on everything of the student, none on the
teacher, and one loss value per student, which depends on that student alone. So a slice gives what each student alone would.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from memkd_edge.distillation.methods.losses import cross_entropy
from memkd_edge.errors import UsageError


@dataclass(frozen=True)
class Outputs:
    """What a forward pass over one batch gave: of P students, or of the one teacher (without the axis P, without gradient).

    Of windows, B logits are the answers at their ends. Of chunks of B streams, M logits are the answers at all steps where one is
    wanted, in the order of the labels: what a method makes of B of them holds for M.
    """

    logits: Tensor  # [P, B, K]; teacher [B, K]
    hidden: Tensor  # [P, B, T, H], the top layer's hidden sequence; teacher [B, T, Ht]


@dataclass(frozen=True)
class StepContext:
    """What else a method may use in one training step.

    `generator` is the only source of randomness. The trainer seeds it anew for each step from the run's seed and the step's
    number, and hands every method a generator in that same state: what a method draws does not depend on the methods beside it,
    nor on whether the run was resumed.

    `student_logits` and `teacher_logits` run the models on altered inputs (temporal saliency distillation needs it).
    The student's keeps gradients, the teacher's runs without. `student_readout` and `teacher_readout` read logits from hidden
    states, as the classification head does from the last one. Most methods need none of these.
    """

    generator: torch.Generator  # on the CPU
    progress: float  # 0 at the first step, 1 at the last
    x: Tensor  # [B, T, C], the batch
    student_logits: Callable[[Tensor], Tensor]  # [B', T, C] -> [P, B', K] of the P students of this slice; any B'
    teacher_logits: Callable[[Tensor], Tensor]  # [B', T, C] -> [B', K]
    head_weight: Tensor  # [P, K, H], of the students' classification heads
    head_bias: Tensor  # [P, K]
    teacher_readout: Callable[[Tensor], Tensor]  # [B, T, Ht] -> [B, T, K]
    share: Tensor | None = None  # [B], of each answer in the cross-entropy, 0 where the label is -1; None: equal

    def student_readout(self, hidden: Tensor) -> Tensor:
        """Return the logits [P, B, T, K] that the students' heads read from hidden states [P, B, T, H]."""
        return torch.einsum("pbth,pkh->pbtk", hidden, self.head_weight) + self.head_bias[:, None, None]


class Method(ABC):
    """One way to teach a student: cross-entropy plus a weighted distillation term.

    A subclass states `name`, `paper` and `weights`, and implements `term`. Its options are dataclass fields with defaults. One
    whose term means something for chunks of streams, where the state goes on and classes change, says so with `along_streams`.
    """

    name: str
    paper: ClassVar[str]  # authors, year, title or venue, equation
    weights: tuple[float, ...]  # default grid of the term's weight; the first is the one to take without a search
    along_streams: bool = False

    def parameters(
        self, population: int, student_hidden: int, teacher_hidden: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return tensors to be trained beside the students, each with leading axis `population`; most methods have none."""
        return {}

    @abstractmethod
    def term(self, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext) -> Tensor:
        """Return the distillation term [P], without its weight and without cross-entropy.

        Args:
            student: of P students on this batch.
            teacher: on the same batch, constant.
            labels: [B] int64 class indices; along streams -1 where the teacher alone teaches.
            extra: the tensors of `parameters`, this slice's part.
            step: randomness, progress and the means to run the models again.
        """

    def loss(
        self,
        student: Outputs,
        teacher: Outputs,
        labels: Tensor,
        weight: Tensor,
        extra: dict[str, Tensor],
        step: StepContext,
    ) -> Tensor:
        """Return the whole loss [P]: cross-entropy + weight * term; `weight` is [P], the rest as in `term`."""
        return cross_entropy(student.logits, labels, step.share) + weight * self.term(student, teacher, labels, extra, step)


def require_positive(method: Method, *options: str) -> None:
    """Raise UsageError unless each of these options of `method` is a finite number above 0."""
    for option in options:
        value = getattr(method, option)
        if not (value > 0 and math.isfinite(value)):
            raise UsageError(f"method {method.name!r}: {option}={value:g} must be above 0 and finite")


METHODS: dict[str, type[Method]] = {}


def register(cls: type[Method]) -> type[Method]:
    """Class decorator: make `cls` available under its `name` to `--method` and `method_named`."""
    if cls.name in METHODS and METHODS[cls.name] is not cls:
        raise ValueError(f"a method named {cls.name!r} is registered already; give {cls.__name__} another name")
    METHODS[cls.name] = cls
    return cls
