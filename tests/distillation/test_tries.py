# SPDX-License-Identifier: Apache-2.0
"""Which of several starts a teacher goes on with."""

from dataclasses import replace

import pytest
import torch

from memkd_edge.distillation.recipe import TeacherRecipe
from memkd_edge.distillation.study import Tries
from memkd_edge.distillation.teacher import Series, TeacherTraining
from memkd_edge.nets.classifier import ModelSpec

RECIPE = TeacherRecipe(epochs=60, learning_rate=0.01, batch_size=8, noise=0.0)


@pytest.fixture
def tries() -> Tries:
    torch.manual_seed(0)
    noise = Series(torch.randn(6, 4, 1), torch.arange(6) % 2)
    return Tries(tuple(TeacherTraining(ModelSpec(1, 3, 2), RECIPE, seed, noise) for seed in range(3)))


def stand_still(training: TeacherTraining, loss: float) -> None:
    """Let a training be 20 epochs past its last progress, at `loss`."""
    training.loss = training.running = training.lowest = training.mark = loss
    training.epoch, training.standing = training.epoch + 20, 20


def test_the_next_start_is_tried_once_one_is_stuck_and_none_after_one_that_ended_well(tries: Tries) -> None:
    first, second, _ = tries.trainings
    assert tries.current is first
    stand_still(first, 0.69)  # guesses
    assert tries.current is second
    stand_still(second, 0.05)
    assert tries.current is None


def test_when_all_are_stuck_the_one_with_the_lowest_loss_goes_on_until_its_epochs_end(tries: Tries) -> None:
    first, second, third = tries.trainings
    for training, loss in ((first, 0.69), (second, 0.3), (third, 0.68)):
        stand_still(training, loss)
    assert tries.current is second
    assert tries.done == 20
    assert tries.best is second.model
    stand_still(second, 0.25)
    assert tries.current is second
    second.epoch = tries.epochs
    assert tries.current is None
    assert tries.done == tries.epochs


def test_a_single_start_goes_on_when_stuck(tries: Tries) -> None:
    alone = replace(tries, trainings=tries.trainings[:1])
    stand_still(alone.trainings[0], 0.69)
    assert alone.current is alone.trainings[0]
