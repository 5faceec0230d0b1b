# SPDX-License-Identifier: Apache-2.0
"""MemKD on beliefs: its value against a loop over all sub-sequences, and the head that reads them."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from memkd_edge.distillation.methods import method_named
from memkd_edge.distillation.teacher import Series, Teacher
from memkd_edge.errors import UsageError
from memkd_edge.nets.classifier import ModelSpec, build, logits_over_time
from tests.distillation.batches import Batch


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("length", [2, 7])
def test_the_term_is_the_mean_over_all_sub_sequences(temperature: float, length: int) -> None:
    batch = Batch(length=length)
    term = batch.term(method_named(f"memkd-belief:temperature={temperature}"))
    of_student = (batch.readout(batch.student.hidden.detach()) / temperature).softmax(-1)
    of_teacher = (batch.readout(batch.teacher.hidden) / temperature).softmax(-1)
    pairs = list(itertools.combinations(range(length), 2))
    for student in range(batch.population):
        total = 0.0
        for series, (start, end) in itertools.product(range(batch.size), pairs):
            moved = of_student[student, series, end] - of_student[student, series, start]
            wanted = of_teacher[series, end] - of_teacher[series, start]
            total += float((moved - wanted).square().sum())
        assert float(term[student].detach()) == pytest.approx(total / (len(pairs) * batch.size), rel=1e-9)


def test_the_term_does_not_see_what_the_head_does_not_read() -> None:
    batch, method = Batch(), method_named("memkd-belief")
    before = batch.term(method)
    batch.student.hidden.data += 1000.0 * blind(batch)
    torch.testing.assert_close(batch.term(method), before)


def blind(batch: Batch) -> Tensor:
    """Return a change of the hidden state that adds the same to all of its logits, which no softmax shows."""
    return torch.linalg.lstsq(batch.head(batch.width), torch.ones(batch.classes, dtype=batch.dtype)).solution


def test_a_single_step_is_refused() -> None:
    with pytest.raises(UsageError, match="2 steps"):
        Batch(length=1).term(method_named("memkd-belief"))


def test_the_readout_of_students_is_each_ones_head_at_every_step() -> None:
    spec, x = ModelSpec(2, 4, 3), torch.randn(6, 7, 2)
    models = [build(spec) for _ in range(3)]
    step = replace(
        Batch(dtype=torch.float32).step(),
        head_weight=torch.stack([model.head.weight for model in models]),
        head_bias=torch.stack([model.head.bias for model in models]),
    )
    readout = step.student_readout(torch.stack([model(x)[1] for model in models]))
    for model, logits in zip(models, readout, strict=True):
        torch.testing.assert_close(logits, logits_over_time(model, x))


class Pooled(nn.Module):
    """A teacher of one's own, without a layer called head."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(2, 5, batch_first=True)
        self.classify = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.rnn(x)[0]
        return self.classify(hidden[:, -1]), hidden


def test_the_readout_of_a_teacher_is_its_head() -> None:
    torch.manual_seed(0)
    model = build(ModelSpec(2, 5, 3, 2)).eval().requires_grad_(False)
    x = torch.randn(20, 9, 2)
    teacher = Teacher(model, Series(x, torch.arange(20) % 3), memory_limit=2**20)
    torch.testing.assert_close(teacher.readout(model(x)[1]), logits_over_time(model, x))


def test_the_readout_of_ones_own_module_is_found_from_its_answers() -> None:
    torch.manual_seed(0)
    model = Pooled().requires_grad_(False)
    x = torch.randn(20, 9, 2)
    teacher = Teacher(model, Series(x, torch.arange(20) % 3), memory_limit=2**20)
    hidden = model(x)[1]
    torch.testing.assert_close(teacher.readout(hidden), model.classify(hidden), atol=1e-4, rtol=1e-4)
