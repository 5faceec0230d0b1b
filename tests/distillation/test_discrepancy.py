# SPDX-License-Identifier: Apache-2.0
"""The memory discrepancy against its printed formula, its gradients, the compiled loss, and the long pairs."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.distillation.discrepancy import DENOMINATORS, discrepancy, long_pairs, mismatch, short_pairs
from memkd_edge.distillation.methods import MemKD, method_named
from memkd_edge.errors import UsageError
from tests.distillation.batches import Batch


def _formula(h: np.ndarray, s: int, e: int, denominator: str) -> float:
    """r(h; s, e) of one series [T, H], as the module's docstring defines it."""
    norm = np.array([np.sqrt((state**2).sum()) for state in h])
    below = {"printed": norm[s], "floored": max(norm[s], norm.mean() / 2), "mean": norm.mean()}[denominator]
    return float(np.sqrt(((h[e] - h[s]) ** 2).sum()) / below)


def _smooth_l1(difference: float) -> float:
    return difference**2 / 2 if abs(difference) < 1 else abs(difference) - 0.5


@pytest.mark.parametrize("denominator", DENOMINATORS)
def test_the_discrepancy_equals_the_formula(denominator: str) -> None:
    hidden = torch.randn(2, 3, 8, 4, dtype=torch.float64)
    hidden[..., 0, :] *= 0.01  # a state near zero, where the denominators differ
    starts, ends = torch.tensor([0, 0, 3, 6]), torch.tensor([2, 7, 5, 7])
    got = discrepancy(hidden, starts, ends, denominator)
    assert got.shape == (4, 2, 3)
    for m, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        for p, b in itertools.product(range(2), range(3)):
            wanted = _formula(hidden[p, b].numpy(), start, end, denominator)
            assert got[m, p, b].item() == pytest.approx(wanted, rel=1e-3)


def test_a_hand_computed_case() -> None:
    # States 3, 6, 9 of one unit: mean norm 6, floor 3.
    hidden = torch.tensor([[3.0], [6.0], [9.0]])
    starts, ends = torch.tensor([0, 1, 0]), torch.tensor([1, 2, 2])
    for denominator, wanted in [("printed", [1, 0.5, 2]), ("floored", [1, 0.5, 2]), ("mean", [0.5, 0.5, 1])]:
        got = discrepancy(hidden, starts, ends, denominator)
        torch.testing.assert_close(got, torch.tensor(wanted), rtol=1e-5, atol=0)


def test_the_floor_bounds_the_ratio_of_a_state_near_zero() -> None:
    hidden = torch.ones(10, 1)
    hidden[0] = 1e-5
    pair = (torch.tensor([0]), torch.tensor([5]))
    assert discrepancy(hidden, *pair, "printed").item() > 1e4
    assert discrepancy(hidden, *pair, "floored").item() == pytest.approx(1 / 0.45, rel=1e-3)


def _all_terms(length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return short and long pairs of a series of `length` steps and a weight for each."""
    short, long = short_pairs(length), long_pairs(length, 100, torch.Generator().manual_seed(0))
    starts, ends = torch.cat([short[0], long[0]]), torch.cat([short[1], long[1]])
    return starts, ends, torch.rand(len(starts), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("denominator", DENOMINATORS)
@pytest.mark.parametrize("length", [3, 4, 9])
def test_gradients_equal_finite_differences(denominator: str, length: int) -> None:
    student = torch.randn(2, 2, length, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, length, 5, dtype=torch.float64)
    terms = _all_terms(length)
    assert torch.autograd.gradcheck(lambda h: mismatch(h, teacher, *terms, denominator), (student,))


@settings(max_examples=25, deadline=None)
@given(
    students=st.integers(1, 3),
    series=st.integers(1, 35),
    length=st.integers(3, 20),
    width=st.integers(1, 9),
    denominator=st.sampled_from(list(DENOMINATORS)),
    seed=st.integers(0, 999),
)
def test_the_compiled_loss_and_gradient_equal_torchs_in_double_precision(
    students: int, series: int, length: int, width: int, denominator: str, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(students, series, length, width, generator=generator)
    student[:, :, 0] *= 0.1
    teacher = torch.randn(series, length, 2 * width, generator=generator)
    outer = torch.rand(students, generator=generator)
    terms = _all_terms(length)
    results = []
    for dtype in (torch.float32, torch.float64):
        leaf = student.detach().to(dtype, copy=True).requires_grad_()
        value = mismatch(leaf, teacher.to(dtype), *terms, denominator)
        (value * outer).sum().backward()
        assert leaf.grad is not None
        results.append((value.detach().double(), leaf.grad.double()))
    (value, gradient), (wanted_value, wanted_gradient) = results
    torch.testing.assert_close(value, wanted_value, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-3, atol=1e-4 * float(wanted_gradient.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("denominator", DENOMINATORS)
@pytest.mark.parametrize("length", [3, 5000])
@pytest.mark.parametrize("states", ["zero", "equal", "first zero", "ordinary"])
def test_value_and_gradient_are_finite(denominator: str, length: int, states: str, dtype: torch.dtype) -> None:
    hidden = torch.randn(2, 2, length, 3, dtype=dtype)
    if states == "zero":
        hidden.zero_()
    elif states == "equal":
        hidden[:] = 0.3
    elif states == "first zero":
        hidden[..., 0, :] = 0
    hidden.requires_grad_()
    value = mismatch(hidden, torch.randn(2, length, 5, dtype=dtype), *_all_terms(length), denominator)
    value.sum().backward()
    assert value.isfinite().all()
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()


@settings(max_examples=30, deadline=None)
@given(
    length=st.integers(3, 20),
    width=st.integers(1, 5),
    scale=st.floats(0.1, 100),
    denominator=st.sampled_from(list(DENOMINATORS)),
    seed=st.integers(0, 999),
)
def test_the_discrepancy_does_not_depend_on_the_states_scale(
    length: int, width: int, scale: float, denominator: str, seed: int
) -> None:
    hidden = torch.randn(2, length, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    hidden = hidden + 0.1 * hidden.sign()  # away from zero, where the guard against division by zero shows
    starts, ends, _ = _all_terms(length)
    torch.testing.assert_close(
        discrepancy(hidden * scale, starts, ends, denominator),
        discrepancy(hidden, starts, ends, denominator),
        rtol=1e-3,
        atol=1e-9,
    )


def test_the_discrepancy_does_not_depend_on_the_units_coordinates() -> None:
    hidden = torch.randn(2, 9, 4, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    wider = torch.cat([hidden @ rotation, torch.zeros(2, 9, 3, dtype=torch.float64)], -1)
    starts, ends, _ = _all_terms(9)
    for denominator in DENOMINATORS:
        torch.testing.assert_close(discrepancy(wider, starts, ends, denominator), discrepancy(hidden, starts, ends, denominator))


def test_no_gradient_is_computed_for_students_that_want_none() -> None:
    student, teacher = torch.randn(2, 3, 9, 4), torch.randn(3, 9, 5)
    value = mismatch(student, teacher, *_all_terms(9), "floored")
    assert not value.requires_grad
    torch.testing.assert_close(value, mismatch(student.double(), teacher.double(), *_all_terms(9), "floored").float())


def _pairs(length: int, count: int, seed: int = 0) -> list[tuple[int, int]]:
    starts, ends = long_pairs(length, count, torch.Generator().manual_seed(seed))
    assert starts.dtype == ends.dtype == torch.int64
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def test_three_steps_have_exactly_one_long_pair() -> None:
    assert _pairs(3, 100) == [(0, 2)]


def test_all_long_pairs_are_taken_when_there_are_no_more_than_wanted() -> None:
    assert sorted(_pairs(5, 6)) == [(0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 4)]


@settings(max_examples=50, deadline=None)
@given(length=st.integers(3, 5000), count=st.integers(1, 300), seed=st.integers(0, 999))
def test_long_pairs_are_inside_the_series_and_further_apart_than_neighbours(length: int, count: int, seed: int) -> None:
    pairs = _pairs(length, count, seed)
    assert 1 <= len(pairs) <= count
    assert all(s >= 0 and s + 2 <= e < length for s, e in pairs)


def test_long_pairs_are_uniform() -> None:
    counts = Counter(_pairs(20, 170) + [pair for seed in range(200) for pair in _pairs(20, 170, seed)])
    assert len(counts) == 18 * 19 // 2  # every pair with e >= s + 2 occurs
    values = np.array(list(counts.values()))
    expected = values.sum() / len(values)
    chi_squared = ((values - expected) ** 2 / expected).sum()
    assert chi_squared < 171 + 5 * np.sqrt(2 * 171)


def test_short_pairs_are_neighbours() -> None:
    starts, ends = short_pairs(4)
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == [(0, 1), (1, 2), (2, 3)]


def test_draws_differ_from_step_to_step_and_repeat_from_the_same_state() -> None:
    assert _pairs(50, 100, 1) == _pairs(50, 100, 1)
    assert _pairs(50, 100, 1) != _pairs(50, 100, 2)


def test_two_steps_have_no_long_pair() -> None:
    with pytest.raises(UsageError, match="gamma=0"):
        long_pairs(2, 100, torch.Generator())


def test_one_step_has_no_pair_at_all() -> None:
    with pytest.raises(UsageError, match="2 steps or more"):
        short_pairs(1)


@pytest.mark.parametrize("denominator", DENOMINATORS)
def test_the_memkd_term_is_the_weighted_sum_of_the_two_printed_losses(denominator: str) -> None:
    batch = Batch(length=5)
    got = batch.term(MemKD(denominator=denominator, beta=0.7, gamma=1.3))
    pairs = [(s, e) for s in range(5) for e in range(s + 2, 5)]  # fewer than 100: all are used
    for number in range(batch.population):
        short, long = [], []
        for one, other in zip(batch.student.hidden[number].detach().numpy(), batch.teacher.hidden.numpy(), strict=True):
            for t in range(4):
                short.append(_smooth_l1(_formula(one, t, t + 1, denominator) - _formula(other, t, t + 1, denominator)))
            for s, e in pairs:
                long.append(_smooth_l1(_formula(one, s, e, denominator) - _formula(other, s, e, denominator)))
        assert got[number].item() == pytest.approx(0.7 * np.mean(short) + 1.3 * np.mean(long), rel=1e-4)


def test_short_and_long_term_switch_off_separately() -> None:
    batch = Batch()
    both, short, long = (batch.term(method_named(text)) for text in ("memkd", "memkd:gamma=0", "memkd:beta=0"))
    torch.testing.assert_close(short + long, both)
    assert (short > 0).all()
    assert (long > 0).all()


def test_the_short_term_alone_serves_a_series_of_two_steps() -> None:
    assert Batch(length=2).term(method_named("memkd:gamma=0")).isfinite().all()


def test_printed_and_default_differ_in_the_denominator_only() -> None:
    batch = Batch()
    printed = batch.term(method_named("memkd-printed"))
    assert torch.equal(printed, batch.term(method_named("memkd:denominator=printed")))
    assert not torch.allclose(printed, batch.term(method_named("memkd")))


def test_fewer_pairs_are_an_unbiased_estimate_of_all_of_them() -> None:
    batch = Batch(length=30)
    everything = batch.term(MemKD(beta=0, pairs=10_000)).detach()
    draws = []
    for seed in range(300):
        step = batch.step()
        step.generator.manual_seed(seed)
        draws.append(MemKD(beta=0, pairs=20).term(batch.student, batch.teacher, batch.labels, {}, step).detach())
    values = torch.stack(draws)
    error = (values.mean(0) - everything).abs()
    assert (error < 5 * values.std(0) / len(draws) ** 0.5).all()


def test_compiled_students_together_equal_each_alone_to_the_bit() -> None:
    student, teacher, terms = torch.randn(3, 20, 9, 4), torch.randn(20, 9, 5), _all_terms(9)
    together = student.clone().requires_grad_()
    value = mismatch(together, teacher, *terms, "floored")
    value.sum().backward()
    assert together.grad is not None
    for number in range(3):
        alone = student[number : number + 1].clone().requires_grad_()
        own = mismatch(alone, teacher, *terms, "floored")
        own.sum().backward()
        assert torch.equal(own, value[number : number + 1])
        assert alone.grad is not None
        assert torch.equal(alone.grad, together.grad[number : number + 1])
