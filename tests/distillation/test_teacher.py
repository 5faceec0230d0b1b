# SPDX-License-Identifier: Apache-2.0
"""Teachers: training, resuming, loading, and a user's own module."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from memkd_edge.distillation.recipe import TeacherRecipe
from memkd_edge.distillation.teacher import Series, Teacher, TeacherTraining, load_teacher
from memkd_edge.errors import UsageError
from memkd_edge.nets.classifier import ModelSpec, build, save_model

RECIPE = TeacherRecipe(epochs=6, learning_rate=0.01, batch_size=8, noise=0.2)
SPECS = [
    ModelSpec(2, 6, 3, 2),
    ModelSpec(2, 6, 3, 1, "lstm", True),
    ModelSpec(2, 6, 3, 2, "gru"),
    ModelSpec(2, 6, 3, 1, "gru", True),
]


@pytest.fixture
def series() -> Series:
    torch.manual_seed(2)
    labels = torch.arange(18) % 3
    return Series(torch.randn(18, 9, 2) + labels[:, None, None], labels)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_kind_of_teacher_learns_and_resumes_with_the_same_bytes(spec: ModelSpec, series: Series) -> None:
    straight, broken, resumed = (TeacherTraining(spec, RECIPE, 4, series) for _ in range(3))
    losses = []
    while not straight.finished:
        straight.train_epoch()
        losses.append(straight.loss)
    assert losses[-1] < losses[0]
    for _ in range(3):
        broken.train_epoch()
    resumed.load({name: tensor.clone() for name, tensor in broken.state().items()})
    while not resumed.finished:
        resumed.train_epoch()
    assert save_model(resumed.result()) == save_model(straight.result())


def test_the_average_of_few_epochs_reaches_back_over_a_part_of_them(series: Series) -> None:
    training = TeacherTraining(SPECS[0], replace(RECIPE, epochs=20), 4, series)
    name, expected = "head.bias", torch.zeros(3)
    for epoch in range(1, 21):
        training.train_epoch()
        expected += max(1 / 3, 1 / epoch) * (training.model.state_dict()[name] - expected)
    torch.testing.assert_close(training.average[name], expected)


def test_a_finished_teacher_is_frozen(series: Series) -> None:
    training = TeacherTraining(SPECS[0], RECIPE, 4, series)
    training.train_epoch()
    assert not any(parameter.requires_grad for parameter in training.result().parameters())


@pytest.fixture
def easy() -> Series:
    """Three classes that lie far apart, 18 series of 9 steps."""
    torch.manual_seed(3)
    labels = torch.arange(18) % 3
    return Series(torch.randn(18, 9, 2) / 4 + (labels[:, None, None] - 1), labels)


def poison(training: TeacherTraining) -> None:
    """Set all weights to zero: no gradient leads away from there but that of the output's bias."""
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.zero_()
    training.optimizer.state.clear()


def test_a_teacher_that_collapses_ends_stuck_and_keeps_what_it_had_learnt(easy: Series) -> None:
    training = TeacherTraining(SPECS[0], replace(RECIPE, epochs=300), 4, easy)
    while training.loss > 0.1:
        training.train_epoch()
    poison(training)
    while not training.finished:
        training.train_epoch()
    assert training.loss > 1
    assert training.stuck
    assert training.epoch < 100
    assert torch.equal(training.result()(easy.x)[0].argmax(1), easy.y)


def test_a_training_resumes_into_a_collapse_with_the_same_bytes(easy: Series) -> None:
    straight = TeacherTraining(SPECS[0], replace(RECIPE, epochs=300), 4, easy)
    while straight.loss > 0.1:
        straight.train_epoch()
    poison(straight)
    for _ in range(8):
        straight.train_epoch()
    resumed = TeacherTraining(SPECS[0], replace(RECIPE, epochs=300), 4, easy)
    resumed.load({name: tensor.clone() for name, tensor in straight.state().items()})
    for training in (straight, resumed):
        while not training.finished:
            training.train_epoch()
    assert (resumed.epoch, resumed.stuck) == (straight.epoch, True)
    assert save_model(resumed.result()) == save_model(straight.result())


@pytest.mark.parametrize(("rise", "stuck"), [(0.1, False), (0.5, True)])
def test_a_loss_that_wavers_low_is_no_collapse(easy: Series, rise: float, stuck: bool) -> None:
    training = TeacherTraining(SPECS[0], replace(RECIPE, epochs=300), 4, easy)
    training.lowest = training.mark = 0.02 * math.log(3)
    training.running = rise * math.log(3)
    training.standing = 30  # a tenth of the epochs
    assert training.finished
    assert training.stuck is stuck


@pytest.mark.parametrize(("alike", "stuck"), [(6, True), (1, False)])
def test_a_teacher_that_stands_still_is_stuck_half_way_and_done_when_it_has_learnt_most(
    easy: Series, alike: int, stuck: bool
) -> None:
    x = easy.x.clone()
    x[1 : 3 * alike : 3] = x[2 : 3 * alike : 3]  # so many series of the second class are also of the third
    training = TeacherTraining(SPECS[0], replace(RECIPE, epochs=200, noise=0.0), 4, Series(x, easy.y))
    while not (training.stuck or training.finished):
        training.train_epoch()
    assert training.epoch < 200
    assert training.loss > alike / 9 * math.log(2)  # what no teacher can learn
    assert training.stuck is stuck


def test_a_teacher_for_other_data_is_refused_with_both_shapes(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    path.write_bytes(save_model(build(ModelSpec(1, 5, 2))))
    with pytest.raises(UsageError, match="1 channels and knows 2 classes") as raised:
        load_teacher(path, ModelSpec(6, 100, 4))
    assert "6 and 4" in str(raised.value)


def test_a_loaded_teacher_keeps_its_own_depth_and_direction(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    path.write_bytes(save_model(build(SPECS[3])))
    assert load_teacher(path, ModelSpec(2, 100, 3, 3)).spec == SPECS[3]


def test_any_module_that_yields_logits_and_a_hidden_sequence_can_teach(series: Series) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 7)
            self.head = nn.Linear(7, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            hidden = torch.tanh(self.layer(x))
            return self.head(hidden.mean(1)), hidden

    model = Own()
    teacher = Teacher(model, series, memory_limit=2**20)
    index = torch.tensor([0, 5])
    lesson = teacher.lesson(index, 0)
    assert teacher.width == 7
    assert torch.equal(lesson.x, series.x[index])
    assert torch.equal(lesson.labels, series.y[index])
    torch.testing.assert_close(lesson.teacher.hidden, model(lesson.x)[1].detach())
    assert not lesson.teacher.logits.requires_grad


def test_students_see_one_noisy_copy_after_the_other_with_what_the_teacher_makes_of_it(series: Series) -> None:
    model = build(ModelSpec(2, 5, 3))
    teacher = Teacher(model.requires_grad_(False), series, memory_limit=2**24, noise=0.3, seed=4)
    index = torch.arange(len(series.y))
    copies = [teacher.lesson(index, epoch) for epoch in range(teacher.copies + 1)]
    assert torch.equal(copies[0].x, series.x)
    assert torch.equal(copies[-1].x, series.x)
    added = torch.stack([copy.x - series.x for copy in copies[1:-1]])
    assert abs(float(added.std()) - 0.3) < 0.02
    assert abs(float(added.mean())) < 0.02
    assert not torch.equal(added[0], added[1])
    for copy in copies:
        assert torch.equal(copy.labels, series.y)
        torch.testing.assert_close(copy.teacher.hidden, model(copy.x)[1])
    again = Teacher(model, series, memory_limit=0, noise=0.3, seed=4)  # nothing is cached: computed anew from the same copies
    torch.testing.assert_close(again.lesson(index, 1).teacher.logits, copies[1].teacher.logits)


def test_several_teachers_answer_with_the_mean_of_their_beliefs(series: Series) -> None:
    torch.manual_seed(8)
    model, *others = (build(ModelSpec(2, 5, 3)).requires_grad_(False) for _ in range(3))
    teacher = Teacher(model, series, memory_limit=2**24, others=others)
    index = torch.tensor([4, 9])
    lesson = teacher.lesson(index, 0)
    logits, hidden = zip(*(one(series.x[index]) for one in (model, *others)), strict=True)
    beliefs = torch.stack([one.softmax(-1) for one in logits]).mean(0)
    assert teacher.width == 15
    torch.testing.assert_close(lesson.teacher.hidden, torch.cat(hidden, -1))
    torch.testing.assert_close(lesson.teacher.logits.exp(), beliefs)
    torch.testing.assert_close(teacher.readout(lesson.teacher.hidden)[:, -1].exp(), beliefs)
    torch.testing.assert_close(teacher.logits(series.x[index]).exp(), beliefs)


def test_other_teachers_that_do_not_fit_into_memory_do_not_teach(series: Series) -> None:
    model, other = (build(ModelSpec(2, 5, 3)).requires_grad_(False) for _ in range(2))
    needed = 2 * series.x[..., 0].numel() * 5 * 2  # bytes in half precision
    assert Teacher(model, series, memory_limit=needed, others=[other]).width == 10
    assert Teacher(model, series, memory_limit=needed - 1, others=[other]).width == 5
