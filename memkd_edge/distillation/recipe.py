# SPDX-License-Identifier: Apache-2.0
"""How students are trained: how much, in which order, and from which randomness."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from memkd_edge import seeds

STEPS = 3000  # of training, when the number of epochs is left open
FEWEST_EPOCHS = 50


@dataclass(frozen=True)
class Recipe:
    """How students are trained: epochs >= 1, Adam's learning rate, series in a batch, seed of everything random.

    carried: the share of the lanes of a stream that go on from the state they ended in; the others are reset.
    noise: standard deviation of the Gaussian noise on normalised streams, fresh in every step.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    carried: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class TeacherRecipe:
    """How a teacher is trained: epochs at most, peak learning rate, series in a batch, Gaussian noise on normalised inputs.

    carried: as in `Recipe`.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    noise: float
    carried: float = 0.0


def batch_size(wanted: int, series: int) -> int:
    """Return the series in a batch: `wanted`, or when that is 0 a quarter of the training series within 8 .. 64."""
    return wanted or min(64, max(8, series // 4))


def epochs(wanted: int, series: int, size: int, steps: int = STEPS) -> int:
    """Return the epochs of training with batches of `size` series: `wanted`, or when that is 0 about `steps` steps' worth."""
    return wanted or max(FEWEST_EPOCHS, math.ceil(steps / math.ceil(series / size)))


def batches(series: int, recipe: Recipe, epoch: int) -> list[Tensor]:
    """Return the indices of each batch of an epoch: a random order, cut into equal parts (give or take one series)."""
    order = torch.randperm(series, generator=torch.Generator().manual_seed(seeds.of_epoch(recipe.seed, epoch)))
    count = math.ceil(series / recipe.batch_size)
    return [order[number::count] for number in range(count)]


def step_generator(recipe: Recipe, step: int) -> torch.Generator:
    """Return the source of randomness of one training step; the same for every student and after a resume."""
    return torch.Generator().manual_seed(seeds.of_step(recipe.seed, step))
