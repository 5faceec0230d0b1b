# SPDX-License-Identifier: Apache-2.0
"""The compiled mismatch of beliefs against torch's operations in double precision, and these against finite differences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from memkd_edge.distillation.belief import mismatch
from memkd_edge.nets.recurrence import lstm
from tests.distillation.batches import Batch

Problem = tuple[Tensor, Tensor, Tensor, Tensor]  # hidden, weight, bias, teacher


def problem(students: int, series: int, steps: int, units: int, classes: int, seed: int = 0) -> Problem:
    """Return hidden states of compiled LSTMs, as they lie in memory, heads, and a teacher's logits, in float32."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    sizes = ((4 * units, 2), (4 * units, units), (4 * units,), (4 * units,))
    ((hidden,), *_) = lstm(normal(series, steps, 2), *(normal(students, *size) for size in sizes), [students])
    return hidden, 3 * normal(students, classes, units), normal(students, classes), 2 * normal(series, steps, classes)


def value_and_gradients(given_: Problem, temperature: float, outer: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Return the mismatch [P] in `dtype`, and the gradients by hidden states, weight and bias of its sum times `outer` [P]."""
    leaves = [one.detach() if one.dtype == dtype else one.detach().to(dtype) for one in given_[:3]]
    for leaf in leaves:
        leaf.requires_grad_()
    value = mismatch(*leaves, given_[3].to(dtype), temperature)
    return [value.detach(), *torch.autograd.grad((value * outer).sum(), leaves)]


@settings(max_examples=40, deadline=None)
@given(
    students=st.integers(1, 3),
    series=st.integers(1, 35),
    steps=st.integers(2, 20),
    units=st.integers(1, 9),
    classes=st.integers(2, 60),
    temperature=st.floats(0.3, 8),
    contiguous=st.booleans(),
    seed=st.integers(0, 999),
)
def test_the_compiled_value_and_gradients_equal_torchs_in_double_precision(
    students: int, series: int, steps: int, units: int, classes: int, temperature: float, contiguous: bool, seed: int
) -> None:
    hidden, *others = problem(students, series, steps, units, classes, seed)
    own: Problem = (hidden.contiguous() if contiguous else hidden, *others)
    outer = torch.rand(students, generator=torch.Generator().manual_seed(seed))
    got = value_and_gradients(own, temperature, outer, torch.float32)
    wanted = value_and_gradients(own, temperature, outer, torch.float64)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5 * float(other.abs().max()) + 1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_gradients_equal_finite_differences(temperature: float) -> None:
    hidden, weight, bias, teacher = (one.detach().double() for one in problem(2, 3, 5, 4, 3))
    leaves = [one.requires_grad_() for one in (hidden, weight, bias)]
    assert torch.autograd.gradcheck(lambda *given_: mismatch(*given_, teacher, temperature), leaves)


def test_logits_far_apart_give_finite_values_that_equal_torchs() -> None:
    hidden, weight, bias, teacher = problem(2, 5, 6, 4, 3)
    own = (hidden, 1e4 * weight, bias, 1e4 * teacher)
    got, wanted = (value_and_gradients(own, 1.0, torch.ones(2), dtype) for dtype in (torch.float32, torch.float64))
    assert all(one.isfinite().all() for one in got)
    torch.testing.assert_close(got[0].double(), wanted[0], rtol=1e-4, atol=0)


def test_what_fills_the_lanes_counts_nowhere() -> None:
    hidden, weight, bias, teacher = problem(2, 5, 6, 4, 3)
    plain = value_and_gradients((hidden.contiguous(), weight, bias, teacher), 1.0, torch.ones(2), torch.float32)
    memory = torch.full((2, 6, 4, 16), 7.0)
    memory[..., :5] = hidden.permute(0, 2, 3, 1)
    filled = value_and_gradients((memory[..., :5].permute(0, 3, 1, 2), weight, bias, teacher), 1.0, torch.ones(2), torch.float32)
    assert all(torch.equal(one, other) for one, other in zip(plain, filled, strict=True))


def test_students_together_equal_each_alone_to_the_bit() -> None:
    hidden, weight, bias, teacher = problem(3, 20, 9, 4, 5)
    together = value_and_gradients((hidden, weight, bias, teacher), 1.0, torch.ones(3), torch.float32)
    for number in range(3):
        own = slice(number, number + 1)
        alone = value_and_gradients((hidden[own], weight[own], bias[own], teacher), 1.0, torch.ones(1), torch.float32)
        assert all(torch.equal(one, other[own]) for one, other in zip(alone, together, strict=True))


def test_the_method_uses_it() -> None:
    from memkd_edge.distillation.methods import method_named

    batch = Batch(dtype=torch.float32)
    term = batch.term(method_named("memkd-belief"))
    assert type(term.grad_fn).__name__ == "_CompiledMismatchBackward"
