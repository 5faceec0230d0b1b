# SPDX-License-Identifier: Apache-2.0
"""Methods on logits, against torch's own divergence and against the published formulas in plain Python."""

import math

import pytest
import torch
import torch.nn.functional as F

from memkd_edge.distillation.methods import Outputs, method_named
from tests.distillation.batches import Batch


def test_base_adds_nothing() -> None:
    assert torch.equal(Batch().term(method_named("base")), torch.zeros(3, dtype=torch.float64))


def test_kd_equals_torch_kl_div_times_the_squared_temperature() -> None:
    batch = Batch()
    got = batch.term(method_named("kd"))
    for student, value in zip(batch.student.logits, got, strict=True):
        wanted = F.kl_div(
            (student / 4).log_softmax(-1), (batch.teacher.logits / 4).log_softmax(-1), reduction="batchmean", log_target=True
        )
        torch.testing.assert_close(value, 16 * wanted)


def test_kd_of_a_hand_computed_case() -> None:
    # Teacher (3/4, 1/4), student (1/2, 1/2) at temperature 1: KL = 3/4 ln(3/2) + 1/4 ln(1/2).
    teacher = Outputs(torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 3, 1))
    student = Outputs(torch.zeros(1, 1, 2), torch.zeros(1, 1, 3, 1))
    term = method_named("kd:temperature=1").term(student, teacher, torch.tensor([0]), {}, Batch().step())
    assert term.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-6)


def _published_dkd(student: list[float], teacher: list[float], target: int, temperature: float) -> tuple[float, float]:
    """Equation 7 of arXiv 2203.08679 for one series, as printed: b over (target, rest), p-hat over the rest."""

    def parts(logits: list[float]) -> tuple[list[float], list[float]]:
        exponential = [math.exp(value / temperature) for value in logits]
        total = sum(exponential)
        rest = total - exponential[target]
        binary = [exponential[target] / total, rest / total]
        return binary, [value / rest for k, value in enumerate(exponential) if k != target]

    (b_student, p_student), (b_teacher, p_teacher) = parts(student), parts(teacher)
    tckd = sum(t * math.log(t / s) for t, s in zip(b_teacher, b_student, strict=True))
    nckd = sum(t * math.log(t / s) for t, s in zip(p_teacher, p_student, strict=True))
    return tckd, nckd


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_dkd_equals_the_published_formula(classes: int) -> None:
    batch = Batch(classes=classes)
    got = batch.term(method_named("dkd"))
    for number in range(batch.population):
        values = []
        for series in range(batch.size):
            tckd, nckd = _published_dkd(
                batch.student.logits[number, series].tolist(),
                batch.teacher.logits[series].tolist(),
                int(batch.labels[series]),
                4.0,
            )
            values.append(16 * (1.0 * tckd + 8.0 * nckd))
        assert got[number].item() == pytest.approx(sum(values) / len(values), rel=1e-9)


def test_dkd_with_the_teachers_weighting_is_kd() -> None:
    # KL = TCKD + (1 - p_target) NCKD: with one series the weights can be chosen so that both methods agree.
    batch = Batch(population=1, size=1)
    rest = 1 - (batch.teacher.logits[0] / 4).softmax(-1)[batch.labels[0]].item()
    decoupled = batch.term(method_named(f"dkd:alpha=1:beta={rest!r}"))
    torch.testing.assert_close(decoupled, batch.term(method_named("kd")))
