# SPDX-License-Identifier: Apache-2.0
"""Which of the training tricks pays: `make ablation` writes models/ablation.md.

The same students are trained with each trick left out, and with each of two that were left out for good put in, on data sets that
aeon bundles.
"""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from memkd_edge.config import DistillConfig
from memkd_edge.data.prepare import Prepared, prepare
from memkd_edge.data.registry import load_dataset
from memkd_edge.distillation import population as population_module
from memkd_edge.distillation import students as students_module
from memkd_edge.distillation import teacher as teacher_module
from memkd_edge.distillation.population import Population, predict
from memkd_edge.distillation.recipe import STEPS, Recipe, TeacherRecipe, batch_size, batches, epochs
from memkd_edge.distillation.schedule import rate
from memkd_edge.distillation.students import Candidate, Parameters
from memkd_edge.distillation.teacher import Series, Teacher, TeacherTraining
from memkd_edge.finetuning.straight_through import integer_trajectory
from memkd_edge.nets.classifier import LstmClassifier, ModelSpec, build, hidden_size_for
from memkd_edge.quantization.calibration import FloatModel
from memkd_edge.quantization.post_training import quantize
from memkd_edge.runs import write_atomic
from memkd_edge.scores import agreement, auc_prc
from tests.distillation.alone import cell_states

DATA_SETS = (
    ("GunPoint", "linear:100"),
    ("ItalyPowerDemand", "none"),
    ("BasicMotions", "none"),
    ("ArrowHead", "linear:100"),
    ("PickupGestureWiimoteZ_eq", "linear:100"),
    ("JapaneseVowels_eq", "none"),
    ("OSULeaf", "linear:100"),
)
LONG_SETS = (("ArrowHead", 2), ("PickupGestureWiimoteZ_eq", 4), ("OSULeaf", 4), ("ACSF1", 8))
UNITS = 8
METHODS = (("base", 0.0), ("kd", 1.0), ("memkd", 1.0), ("memkd-belief", 2.0))
SEEDS = 5
NOISE = 0.3
LEARNING_RATE = 0.01
CLIP_NORM = 1.0


class ClippingAdam(torch.optim.Adam):
    """Scales each student's gradient to norm `CLIP_NORM` at most first, as clip_grad_norm_ does for one model."""

    def step(self, closure: Any = None) -> Any:
        gradients = [tensor.grad for group in self.param_groups for tensor in group["params"]]  # [students, ...] each
        norms = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()
        scale = (CLIP_NORM / (norms + 1e-6)).clamp_max(1.0)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
        return super().step(closure)


class CosineAdam(torch.optim.Adam):
    """Warms up, then lets the learning rate fall along half a cosine, as the teachers' does."""

    taken = 0
    steps = STEPS  # altogether

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["lr"] = LEARNING_RATE * rate(self.taken, self.steps)
        self.taken += 1
        return super().step(closure)


def forget_bias_of_one(units: int, length: int) -> torch.Tensor:
    """Return the usual LSTM gate biases [4H], whatever the series' length."""
    return torch.cat([torch.zeros(units), torch.ones(units), torch.zeros(2 * units)])


VARIANTS: dict[str, tuple[tuple[Any, str, Any], ...]] = {
    "as it is": (),
    "no long-memory initialisation": ((students_module, "long_memory_bias", forget_bias_of_one),),
    "no noisy copies": ((teacher_module, "FEWEST_COPIES", 1), (teacher_module, "MOST_COPIES", 1)),
    "no penalty on large cells": ((population_module, "CELL_PENALTY", 0.0),),
    "no average of the weights": ((population_module, "AVERAGE_STEPS", 1),),
    "no int8 grid": ((population_module, "on_grid", lambda spec, parameters: parameters),),
    "with clipping": ((torch.optim, "Adam", ClippingAdam),),
    "with warm-up and cosine": ((torch.optim, "Adam", CosineAdam),),
}


def load(name: str, resampling: str) -> tuple[Prepared, Series, Recipe]:
    """Return a data set, its training series, and how students train on them."""
    prepared = prepare(load_dataset(name), DistillConfig(dataset=name, resample=resampling))
    train = Series(torch.from_numpy(prepared.x_train), torch.from_numpy(prepared.y_train))
    batch = batch_size(0, len(train.y))
    return prepared, train, Recipe(epochs(0, len(train.y), batch), LEARNING_RATE, batch, seed=0)


def train_teacher(spec: ModelSpec, train: Series, students: Recipe) -> nn.Module:
    """Train one teacher, for as many epochs as its students; as in a run, another seed is tried when it does not fit."""
    recipe = TeacherRecipe(students.epochs, learning_rate=0.002, batch_size=students.batch_size, noise=NOISE)
    for seed in range(3):
        training = TeacherTraining(spec, recipe, seed, train)
        while not training.finished:
            training.train_epoch()
        if not training.stuck:
            break
    return training.result()


def student(spec: ModelSpec, parameters: Parameters, number: int) -> LstmClassifier:
    model = LstmClassifier(spec)
    model.load_state_dict({name: tensor[number] for name, tensor in parameters.items()})
    return model


def integer_agreement(model: LstmClassifier, calibration: np.ndarray, x: np.ndarray) -> float:
    """Return the share of series on which the int16x8 model decides as the float model does."""
    integers = integer_trajectory(quantize(model, calibration), x, "int16x8").logits[:, -1]
    return agreement(integers, FloatModel.from_model(model).logits(x)[:, -1])


def ablate(name: str, resampling: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return a data set's table as Markdown, its scores [variants, methods, seeds] and agreements [variants]."""
    prepared, train, recipe = load(name, resampling)
    x_test = torch.from_numpy(prepared.x_test)
    channels, classes = train.x.shape[2], len(prepared.metadata.labels)
    teacher_spec = ModelSpec(channels, 100, classes, 3)
    taught_by = train_teacher(teacher_spec, train, recipe)
    spec = ModelSpec(channels, 1, classes)
    spec = ModelSpec(channels, hidden_size_for(500, teacher_spec.parameters, spec), classes)
    candidates = [Candidate(method, weight, seed) for method, weight in METHODS for seed in range(SEEDS)]
    with torch.no_grad():
        score = float(auc_prc(taught_by(x_test)[0].numpy()[None], prepared.y_test)[0])
    lines = [
        f"## {name}, {x_test.shape[1]} steps, {spec.hidden_size} units, teacher {score:.3f}",
        "",
        f"| | {' | '.join(method for method, _ in METHODS)} | largest \\|c\\| | int16x8 agreement |",
        f"|---|{'---|' * len(METHODS)}---|---|",
    ]
    CosineAdam.steps = recipe.epochs * len(batches(len(train.y), recipe, 0))
    all_scores, agreements = [], []
    for label, patches in VARIANTS.items():
        print(f"{name}: {label}", file=sys.stderr)
        with ExitStack() as stack:
            for module, attribute, value in patches:
                stack.enter_context(patch.object(module, attribute, value))
            parameters = trained(spec, candidates, Teacher(taught_by, train, memory_limit=2**30, noise=NOISE), recipe)
        scores = auc_prc(predict(spec, parameters, x_test).numpy(), prepared.y_test).reshape(len(METHODS), SEEDS)
        all_scores.append(scores)
        students = [student(spec, parameters, number) for number in range(len(candidates))]
        agreements.append(np.mean([integer_agreement(one, prepared.x_train, prepared.x_test) for one in students[:SEEDS]]))
        cells = [f"{one.mean():.3f} ± {one.std():.3f}" for one in scores]
        with torch.no_grad():
            largest = max(float(cell_states(one.rnn, x_test).abs().max()) for one in students)
        lines.append(f"| {label} | {' | '.join(cells)} | {largest:.1f} | {agreements[-1]:.4f} |")
    return [*lines, ""], np.stack(all_scores), np.stack(agreements)


def trained(spec: ModelSpec, candidates: list[Candidate], teacher: Teacher, recipe: Recipe) -> Parameters:
    """Return the students' weights at the end of training."""
    population = Population(spec, candidates, teacher, recipe, threads=1, memory_limit=2**30)
    for epoch in range(recipe.epochs):
        population.train_epoch(epoch)
    population.keep(torch.ones(len(candidates), dtype=torch.bool))
    return population.kept


def decimate() -> list[str]:
    """Return a table, as Markdown, of what base students lose or gain when long series are decimated first."""
    lines = [
        "## Decimation",
        "",
        "Base students on long series as they are, and decimated behind the anti-aliasing filter that leaves with the model.",
        "",
        "| data set | steps | AUC-PRC | decimated by | steps | AUC-PRC |",
        "|---|---|---|---|---|---|",
    ]
    for name, factor in LONG_SETS:
        cells = []
        for resampling in ("none", f"decimate:{factor}"):
            print(f"{name}: {resampling}", file=sys.stderr)
            prepared, train, recipe = load(name, resampling)
            spec = ModelSpec(train.x.shape[2], UNITS, len(prepared.metadata.labels))
            teacher = Teacher(build(spec).eval().requires_grad_(False), train, memory_limit=2**30, noise=NOISE)  # teaches nothing
            parameters = trained(spec, [Candidate("base", 0.0, seed) for seed in range(SEEDS)], teacher, recipe)
            scores = auc_prc(predict(spec, parameters, torch.from_numpy(prepared.x_test)).numpy(), prepared.y_test)
            cells.append(f"{prepared.x_test.shape[1]} | {scores.mean():.3f} ± {scores.std():.3f}")
        lines.append(f"| {name} | {cells[0]} | {factor} | {cells[1]} |")
    return [*lines, ""]


def main() -> None:
    torch.set_num_threads(1)
    found = [ablate(*each) for each in DATA_SETS]
    scores = np.concatenate([scores for _, scores, _ in found], 1)  # [variants, data sets x methods, seeds]
    agreements = np.stack([agreements for *_, agreements in found]).mean(0)
    lines = [
        "# Which of the training tricks pays",
        "",
        "Written by `make ablation`. Every figure is **measured**: test AUC-PRC, mean ± standard deviation over",
        f"{SEEDS} seeds, at the end of training ({STEPS:,} steps), without any selection. The students of a column",
        "differ in nothing but one trick, left out or put in. Largest |c|: cell state of any student on the test series.",
        "Agreement: share of test series on which the int16x8 model decides as the float student does, mean over the",
        f"{METHODS[0][0]} students.",
        "",
        "What that changes, mean over data sets, methods and seeds, and the standard error of that mean over the pairs of data",
        "set and method. Clipping and the schedule of the learning rate did not pay; `distill` trains students without them.",
        "",
        "| | change of AUC-PRC | standard error | change of agreement |",
        "|---|---|---|---|",
    ]
    for label, one, same in zip(list(VARIANTS)[1:], scores[1:], agreements[1:], strict=True):
        change = (one - scores[0]).mean(1)
        error = change.std(ddof=1) / len(change) ** 0.5
        lines.append(f"| {label} | {change.mean():+.3f} | {error:.3f} | {same - agreements[0]:+.4f} |")
    lines += ["", *(line for part, *_ in found for line in part), *decimate()]
    print(write_atomic(Path("models/ablation.md"), "\n".join(lines).encode()))


if __name__ == "__main__":
    main()
