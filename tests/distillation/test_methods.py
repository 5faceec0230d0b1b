# SPDX-License-Identifier: Apache-2.0
"""What holds for every distillation method: the contract, the names, the combinations."""

import math

import pytest
import torch
import torch.nn.functional as F

from memkd_edge.distillation.methods import METHODS, Combination, Method, Outputs, method_named, register
from memkd_edge.errors import UsageError
from tests.distillation.batches import Batch

NAMES = [*sorted(METHODS), "memkd+kd", "fitnet+kd"]


@pytest.mark.parametrize("name", NAMES)
def test_a_slice_of_students_gives_what_each_student_alone_gives(name: str) -> None:
    batch, method = Batch(), method_named(name)
    weight = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    extra = batch.extra(method)
    together = method.loss(batch.student, batch.teacher, batch.labels, weight, extra, batch.step())
    together.sum().backward()
    for number in range(batch.population):
        one = slice(number, number + 1)
        student = Outputs(
            batch.student.logits[one].detach().requires_grad_(), batch.student.hidden[one].detach().requires_grad_()
        )
        own = {key: tensor[one].detach().requires_grad_() for key, tensor in extra.items()}
        alone = method.loss(student, batch.teacher, batch.labels, weight[one], own, batch.step(one))
        alone.sum().backward()
        torch.testing.assert_close(alone, together[one])
        pairs = [(student.logits, batch.student.logits), (student.hidden, batch.student.hidden)]
        for got, wanted in pairs + [(own[key], extra[key]) for key in own]:
            if wanted.grad is not None:
                torch.testing.assert_close(got.grad, wanted.grad[one])


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_has_the_gradient_that_finite_differences_give(name: str) -> None:
    batch, method = Batch(population=2, size=4, length=5, width=2, teacher_width=3), method_named(name)
    extra = batch.extra(method)
    weight = torch.tensor([0.5, 2.0], dtype=torch.float64)

    def loss(logits: torch.Tensor, hidden: torch.Tensor, *own: torch.Tensor) -> torch.Tensor:
        tensors = dict(zip(extra, own, strict=True))
        return method.loss(Outputs(logits, hidden), batch.teacher, batch.labels, weight, tensors, batch.step())

    assert torch.autograd.gradcheck(loss, (batch.student.logits, batch.student.hidden, *extra.values()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("states", ["zero", "equal", "huge"])
def test_gradients_stay_finite_on_degenerate_states(name: str, states: str) -> None:
    batch, method = Batch(dtype=torch.float32), method_named(name)
    hidden = {
        "zero": torch.zeros_like(batch.student.hidden),
        "equal": torch.ones_like(batch.student.hidden),
        "huge": batch.student.hidden.detach() * 1e4,
    }[states].requires_grad_()
    logits = (batch.student.logits.detach() * (1e4 if states == "huge" else 0)).requires_grad_()
    extra, weight = batch.extra(method), torch.ones(batch.population)
    loss = method.loss(Outputs(logits, hidden), batch.teacher, batch.labels, weight, extra, batch.step())
    loss.sum().backward()
    assert loss.isfinite().all()
    for tensor in (logits, hidden):
        assert tensor.grad is None or tensor.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_last_batch_of_one_series_gives_a_finite_loss(name: str) -> None:
    batch, method = Batch(size=1), method_named(name)
    extra, weight = batch.extra(method), torch.ones(batch.population)
    loss = method.loss(batch.student, batch.teacher, batch.labels, weight, extra, batch.step())
    loss.sum().backward()
    assert loss.isfinite().all()
    for tensor in (batch.student.logits, batch.student.hidden):
        assert tensor.grad is None or tensor.grad.isfinite().all()


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"base", "fitnet", "dt2w", "tsd"}))
def test_a_student_that_equals_its_teacher_has_no_distillation_loss(name: str) -> None:
    batch = Batch(teacher_width=4)
    same = Outputs(batch.teacher.logits.expand(2, -1, -1), batch.teacher.hidden.expand(2, -1, -1, -1))
    term = method_named(name).term(same, batch.teacher, batch.labels, {}, batch.step(slice(2)))
    torch.testing.assert_close(term, torch.zeros(2, dtype=torch.float64), atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_states_its_paper_and_the_grid_it_has(name: str) -> None:
    method = method_named(name)
    assert method.name == name
    assert method.paper
    if name != "base":
        assert f"weights {', '.join(f'{weight:g}' for weight in method.weights)}." in " ".join(
            (type(method).__doc__ or "").split()
        )
    assert all(math.isfinite(weight) and weight >= 0 for weight in method.weights)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_loss_is_cross_entropy_plus_weight_times_term(name: str) -> None:
    batch, method = Batch(), method_named(name)
    extra, weight = batch.extra(method), torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    loss = method.loss(batch.student, batch.teacher, batch.labels, weight, extra, batch.step())
    term = method.term(batch.student, batch.teacher, batch.labels, extra, batch.step())
    entropy = torch.stack([F.cross_entropy(logits, batch.labels) for logits in batch.student.logits])
    torch.testing.assert_close(loss, entropy + weight * term)


def test_a_combination_counts_cross_entropy_once_and_searches_the_first_weight() -> None:
    batch, both = Batch(), method_named("kd+attention")
    assert isinstance(both, Combination)
    kd, attention = method_named("kd"), method_named("attention")
    weight = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    loss = both.loss(batch.student, batch.teacher, batch.labels, weight, {}, batch.step())
    entropy = torch.stack([F.cross_entropy(logits, batch.labels) for logits in batch.student.logits])
    wanted = entropy + weight * batch.term(kd) + attention.weights[0] * batch.term(attention)
    torch.testing.assert_close(loss, wanted)
    assert both.weights == kd.weights
    assert both.name == "kd+attention"


def test_a_combination_keeps_its_parts_trainables_apart() -> None:
    both = method_named("kd+fitnet")
    extra = Batch().extra(both)
    assert list(extra) == ["1.regressor"]


def test_a_name_carries_options() -> None:
    batch = Batch()
    method = method_named("kd:temperature=2")
    assert method.name == "kd:temperature=2"
    soft, target = (logits / 2 for logits in (batch.student.logits[0], batch.teacher.logits))
    wanted = 4 * F.kl_div(soft.log_softmax(-1), target.softmax(-1), reduction="batchmean")
    torch.testing.assert_close(batch.term(method)[0], wanted)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("nosuch", "there are attention, base"),
        ("kd+nosuch", "'nosuch'"),
        ("kd:heat=3", "takes temperature"),
        ("base:heat=3", "takes none"),
        ("kd:temperature=hot", "not of type float"),
        ("memkd:denominator=other", "floored"),
        ("memkd:pairs=0", "pairs >= 1"),
        ("memkd:beta=0:gamma=0", "beta and gamma"),
        ("memkd:beta=nan", "finite"),
        ("kd:temperature=0", "above 0"),
        ("dkd:temperature=inf", "finite"),
        ("dt2w:steps=0", "steps=0"),
        ("dt2w:smoothing=nan", "smoothing=nan"),
        ("tsd:shortest=20", "above longest=10"),
    ],
)
def test_a_wrong_name_or_option_is_refused_with_the_choices(text: str, part: str) -> None:
    with pytest.raises(UsageError, match=part.replace("+", r"\+")):
        method_named(text)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered already"):

        @register
        class Other(Method):  # pragma: no cover
            name = "kd"
