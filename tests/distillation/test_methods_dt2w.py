# SPDX-License-Identifier: Apache-2.0
"""Soft-DTW, against a naive dynamic programme and against brute force over all alignment paths."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.distillation.methods import dt2w, method_named
from memkd_edge.distillation.methods.dt2w import soft_dtw
from tests.distillation.batches import Batch


def _softmin(values: list[float], smoothing: float) -> float:
    least = min(values)
    return least - smoothing * math.log(sum(math.exp((least - value) / smoothing) for value in values))


def _programme(first: np.ndarray, second: np.ndarray, smoothing: float) -> float:
    """Algorithm 1 of Cuturi and Blondel 2017, cell by cell."""
    table = np.full((len(first) + 1, len(second) + 1), np.inf)
    table[0, 0] = 0
    for i, one in enumerate(first, 1):
        for j, other in enumerate(second, 1):
            ways = [v for v in (table[i - 1, j - 1], table[i - 1, j], table[i, j - 1]) if np.isfinite(v)]
            table[i, j] = ((one - other) ** 2).sum() + _softmin(ways, smoothing)
    return float(table[-1, -1])


def _paths(rows: int, columns: int) -> list[list[tuple[int, int]]]:
    if (rows, columns) == (1, 1):
        return [[(0, 0)]]
    steps = [(rows - 1, columns), (rows, columns - 1), (rows - 1, columns - 1)]
    return [[*path, (rows - 1, columns - 1)] for r, c in steps if r and c for path in _paths(r, c)]


def test_soft_dtw_is_the_soft_minimum_over_all_paths() -> None:
    first, second = torch.randn(1, 3, 2, dtype=torch.float64), torch.randn(1, 4, 2, dtype=torch.float64)
    costs = [sum(float((first[0, i] - second[0, j]).square().sum()) for i, j in path) for path in _paths(3, 4)]
    assert len(costs) == 25  # the Delannoy number D(2, 3)
    assert soft_dtw(first, second, 0.7).item() == pytest.approx(_softmin(costs, 0.7), rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 9), columns=st.integers(1, 9), smoothing=st.sampled_from([0.01, 1.0, 1.2]), seed=st.integers(0, 999))
def test_soft_dtw_equals_the_naive_programme(rows: int, columns: int, smoothing: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(2, rows, 3)), generator.normal(size=(2, columns, 3))
    got = soft_dtw(torch.tensor(first), torch.tensor(second), smoothing)
    wanted = [_programme(one, other, smoothing) for one, other in zip(first, second, strict=True)]
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (5, 1), (4, 6), (6, 6)])
def test_soft_dtw_has_the_gradient_that_finite_differences_give(rows: int, columns: int) -> None:
    first = torch.randn(2, rows, 2, dtype=torch.float64, requires_grad=True)
    second = torch.randn(2, columns, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda one: soft_dtw(one, second, 0.5), (first,))


def test_chunks_do_not_change_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, method = Batch(), method_named("dt2w")
    at_once = batch.term(method)
    monkeypatch.setattr(dt2w, "_CHUNK", 100)
    torch.testing.assert_close(batch.term(method), at_once)


def test_dt2w_aligns_with_the_teachers_units_averaged_and_divides_by_the_length() -> None:
    batch = Batch(width=3, teacher_width=9)
    teacher = batch.teacher.hidden.unflatten(-1, (3, 3)).mean(-1).numpy()
    got = batch.term(method_named("dt2w:smoothing=1.2"))
    for number in range(batch.population):
        student = batch.student.hidden[number].detach().numpy()
        values = [_programme(one, other, 1.2) for one, other in zip(student, teacher, strict=True)]
        assert got[number].item() == pytest.approx(np.mean(values) / batch.length, rel=1e-9)


def test_longer_sequences_are_averaged_over_time_first() -> None:
    batch = Batch(length=12, width=3, teacher_width=3)
    shorter = Batch(length=4, width=3, teacher_width=3)
    shorter.student.hidden.data = F.avg_pool2d(batch.student.hidden.detach(), (3, 1))
    shorter.teacher.hidden.data = F.avg_pool2d(batch.teacher.hidden, (3, 1))
    method = method_named("dt2w:steps=4")
    torch.testing.assert_close(batch.term(method), shorter.term(method))


def test_several_hundred_steps_stay_finite_in_single_precision() -> None:
    batch = Batch(population=1, size=2, length=400, dtype=torch.float32)
    term = batch.term(method_named("dt2w:steps=400"))
    term.sum().backward()
    assert term.isfinite().all()
    assert batch.student.hidden.grad is not None
    assert batch.student.hidden.grad.isfinite().all()
