# SPDX-License-Identifier: Apache-2.0
"""Temporal saliency distillation: the perturbation it makes, and its value against a loop."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from memkd_edge.distillation.methods import StepContext, TemporalSaliencyDistillation, method_named
from tests.distillation.batches import Batch


def _recorded(batch: Batch, method: TemporalSaliencyDistillation) -> tuple[Tensor, Tensor]:
    """Run the term; return its value and the altered series it gave to the models."""
    seen: list[Tensor] = []
    plain = batch.step()

    def student_logits(x: Tensor) -> Tensor:
        seen.append(x)
        return plain.student_logits(x)

    step: StepContext = replace(plain, student_logits=student_logits)
    term = method.term(batch.student, batch.teacher, batch.labels, {}, step)
    return term, seen[0]


def _matches(batch: Batch, altered: Tensor) -> list[tuple[int, int, list[int]]]:
    """For each altered series: which series it was, where the values came from, and at which steps."""
    found = []
    for series in altered:
        source = max(range(batch.size), key=lambda i: int((series == batch.x[i]).all(-1).sum()))
        steps = (series != batch.x[source]).any(-1).nonzero().flatten().tolist()
        donor = [i for i in range(batch.size) if all(torch.equal(series[t], batch.x[i, t]) for t in steps)]
        assert len(donor) == 1
        found.append((source, donor[0], steps))
    return found


def test_one_window_of_each_series_gets_the_values_of_another_class() -> None:
    batch = Batch(size=12, length=40)
    _, altered = _recorded(batch, TemporalSaliencyDistillation())
    found = _matches(batch, altered)
    assert sorted(source for source, _, _ in found) == list(range(12))
    for source, donor, steps in found:
        assert batch.labels[source] != batch.labels[donor]
        assert 5 <= len(steps) <= 10
        assert steps == list(range(steps[0], steps[0] + len(steps)))


def test_windows_reach_both_ends_of_the_series() -> None:
    starts, ends = set(), set()
    for seed in range(12):
        batch = Batch(size=12, length=14, seed=seed)
        _, altered = _recorded(batch, TemporalSaliencyDistillation())
        for _, _, steps in _matches(batch, altered):
            starts.add(steps[0])
            ends.add(steps[-1])
    assert min(starts) == 0
    assert max(ends) == 13


def test_a_batch_of_one_class_takes_its_donor_from_that_class() -> None:
    batch = Batch(size=4, length=40)
    batch.labels = torch.zeros(4, dtype=torch.int64)
    term, altered = _recorded(batch, TemporalSaliencyDistillation())
    assert altered.shape == batch.x.shape
    assert term.isfinite().all()


def test_only_so_many_series_are_perturbed_and_short_series_keep_their_length() -> None:
    batch = Batch(size=12, length=3)
    _, altered = _recorded(batch, TemporalSaliencyDistillation(series=5))
    assert altered.shape == (5, 3, 2)


def test_the_term_compares_the_two_divergences_at_the_temperature() -> None:
    batch = Batch(size=6, length=40)
    term, altered = _recorded(batch, TemporalSaliencyDistillation(temperature=3.0))
    step = batch.step()
    chosen = [source for source, _, _ in _matches(batch, altered)]

    def saliency(before: Tensor, after: Tensor) -> Tensor:
        each = F.kl_div((after / 3).log_softmax(-1), (before / 3).softmax(-1), reduction="none")
        return 9 * each.sum(-1)

    of_teacher = saliency(batch.teacher.logits[chosen], step.teacher_logits(altered))
    for number, logits in enumerate(step.student_logits(altered)):
        of_student = saliency(batch.student.logits[number, chosen], logits)
        torch.testing.assert_close(term[number], F.smooth_l1_loss(of_student, of_teacher))


def test_the_same_step_perturbs_alike() -> None:
    batch = Batch(size=6, length=40)
    method = method_named("tsd")
    assert torch.equal(batch.term(method), batch.term(method))
