# SPDX-License-Identifier: Apache-2.0
"""Methods on hidden sequences, against loops over plain numpy."""

import itertools

import numpy as np
import torch
import torch.nn.functional as F

from memkd_edge.distillation.methods import method_named
from tests.distillation.batches import Batch


def _numpy(batch: Batch, number: int) -> tuple[np.ndarray, np.ndarray]:
    return batch.student.hidden[number].detach().numpy(), batch.teacher.hidden.numpy()


def _smooth_l1(difference: np.ndarray) -> np.ndarray:
    size = np.abs(difference)
    return np.where(size < 1, 0.5 * size**2, size - 0.5)


def test_fitnet_equals_the_error_of_the_explicit_regression() -> None:
    batch, method = Batch(), method_named("fitnet")
    regressor = batch.extra(method)["regressor"].detach()
    assert regressor.shape == (3, batch.width + 1, batch.teacher_width)
    assert regressor.abs().max() <= batch.width**-0.5
    got = batch.term(method)
    for number in range(batch.population):
        student, teacher = _numpy(batch, number)
        kernel, bias = regressor[number, :-1].numpy(), regressor[number, -1].numpy()
        np.testing.assert_allclose(got[number].item(), np.mean((student @ kernel + bias - teacher) ** 2), rtol=1e-12)


def test_the_regressor_of_fitnet_is_trained_to_the_least_squares_fit() -> None:
    batch, method = Batch(population=1, size=20), method_named("fitnet")
    extra = batch.extra(method)
    optimiser = torch.optim.Adam(extra.values(), lr=0.05)
    for _ in range(800):
        optimiser.zero_grad()
        term = method.term(batch.student, batch.teacher, batch.labels, extra, batch.step())
        term.sum().backward()
        optimiser.step()
    student, teacher = _numpy(batch, 0)
    source = np.concatenate([student, np.ones((*student.shape[:2], 1))], -1).reshape(-1, batch.width + 1)
    target = teacher.reshape(-1, batch.teacher_width)
    solution = np.linalg.lstsq(source, target, rcond=None)[0]
    np.testing.assert_allclose(term.item(), np.mean((source @ solution - target) ** 2), rtol=1e-5)


def test_attention_equals_the_loop_over_series() -> None:
    batch = Batch()
    got = batch.term(method_named("attention"))
    for number in range(batch.population):
        student, teacher = _numpy(batch, number)
        values = []
        for one, other in zip(student, teacher, strict=True):
            maps = [(h**2).mean(-1) for h in (one, other)]
            first, second = (q / np.sqrt((q**2).sum()) for q in maps)
            values.append(((first - second) ** 2).mean())
        np.testing.assert_allclose(got[number].item(), np.mean(values), rtol=1e-12)


def _distances(points: np.ndarray) -> np.ndarray:
    count = len(points)
    table = np.array([[np.linalg.norm(points[i] - points[j]) for j in range(count)] for i in range(count)])
    return table / table[table > 0].mean()


def _angles(points: np.ndarray) -> np.ndarray:
    count = len(points)
    table = np.zeros((count, count, count))
    for j, i, k in itertools.product(range(count), repeat=3):
        if j not in (i, k):
            first, second = points[i] - points[j], points[k] - points[j]
            table[j, i, k] = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    return table


def test_rkd_equals_the_loops_over_pairs_and_triples() -> None:
    batch = Batch()
    got = batch.term(method_named("rkd:distance=0.7:angle=1.3"))
    for number in range(batch.population):
        student, teacher = (h.reshape(batch.size, -1) for h in _numpy(batch, number))
        by_distance = _smooth_l1(_distances(student) - _distances(teacher)).mean()
        by_angle = _smooth_l1(_angles(student) - _angles(teacher)).mean()
        np.testing.assert_allclose(got[number].item(), 0.7 * by_distance + 1.3 * by_angle, rtol=1e-9)


def test_rkd_in_single_precision_agrees_with_double_precision() -> None:
    single, double = Batch(dtype=torch.float32, size=12, length=30), Batch(size=12, length=30)
    double.student.hidden.data = single.student.hidden.detach().double() + 3  # far from the origin, where products cancel
    single.student.hidden.data += 3
    double.teacher.hidden.data = single.teacher.hidden.double()
    method = method_named("rkd")
    torch.testing.assert_close(single.term(method).double(), double.term(method), rtol=1e-4, atol=1e-6)


def test_rkd_and_attention_do_not_depend_on_the_states_scale() -> None:
    batch, larger = Batch(), Batch()
    larger.student.hidden.data *= 7
    for name in ("rkd", "attention"):
        torch.testing.assert_close(batch.term(method_named(name)), larger.term(method_named(name)))


def test_smooth_l1_is_torchs() -> None:
    from memkd_edge.distillation.methods.losses import smooth_l1

    student, teacher = torch.randn(2, 5, 3) * 2, torch.randn(5, 3)
    wanted = torch.stack([F.smooth_l1_loss(one, teacher) for one in student])
    torch.testing.assert_close(smooth_l1(student, teacher), wanted)
