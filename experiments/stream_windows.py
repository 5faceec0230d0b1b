# SPDX-License-Identifier: Apache-2.0
"""What `--reset never` is worth: `python -m experiments.stream_windows` writes models/stream_windows.md.

Students of windows decide at the end of each window. Trained the usual way they start every window from a reset; with
`--reset never` they learn along joined windows (streams.py). Both kinds then go through streams of joined test windows that
nobody resets, and their decisions at the windows' ends are compared with those that the same students take from a reset.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memkd_edge.config import DataConfig, DistillConfig
from memkd_edge.data.dataset import Dataset
from memkd_edge.data.loading import load_data
from memkd_edge.data.prepare import prepare
from memkd_edge.distillation.population import Population, predict, predict_along
from memkd_edge.distillation.recipe import Recipe, TeacherRecipe, batch_size, epochs
from memkd_edge.distillation.stream_teacher import StreamTeacher, answers_along
from memkd_edge.distillation.streams import JudgedStreams, joined
from memkd_edge.distillation.students import Candidate, Parameters
from memkd_edge.distillation.teacher import Series, Teacher, TeacherTraining
from memkd_edge.nets.classifier import ModelSpec, build
from memkd_edge.runs import write_atomic
from memkd_edge.threads import torch_threads

OUT = Path(__file__).parent.parent / "models" / "stream_windows.md"
SETS = {
    "BasicMotions": DataConfig(dataset="BasicMotions"),
    "SPSW, windows of 1 s": DataConfig(
        dataset="SPSW", windows="1s", time="none", rate=100.0, test_subjects=("s17", "s18", "s19", "s20")
    ),
}
METHODS = (("base", 0.0), ("memkd-belief", 2.0))
UNITS = 6
SEEDS = 5
STEPS, TEACHER_STEPS = 2000, 600
STREAMS = 16
STREAM_SAMPLES = 10_000
NOISE, STREAM_NOISE = 0.3, 0.1
RATE, TEACHER_RATE = 0.01, 0.002  # of learning
MEMORY = 2**31


@dataclass(frozen=True)
class Row:
    """One kind of training: accuracies [P] of its students at windows' ends."""

    name: str
    from_reset: NDArray[np.float64]
    never_reset: NDArray[np.float64]


def in_streams(x: NDArray[np.float32], y: NDArray[np.int64], seed: int) -> tuple[JudgedStreams, NDArray[np.int64]]:
    """Return windows x [N, T, C] of classes y [N] joined to `STREAMS` streams, and which window each judged end belongs to.

    A stream takes all windows in one random order after the other, until it has `STREAM_SAMPLES`.
    """
    windows, steps, channels = x.shape
    count = STREAM_SAMPLES // steps
    random = np.random.default_rng(seed)
    rounds = -(-count // windows)
    order = np.stack([np.concatenate([random.permutation(windows) for _ in range(rounds)])[:count] for _ in range(STREAMS)])
    which = order.T.reshape(-1)  # of ends in order of time
    time = np.repeat(np.arange(1, count + 1) * steps - 1, STREAMS)
    stream = np.tile(np.arange(STREAMS), count)
    parts = (x[order].reshape(STREAMS, count * steps, channels), stream, time, y[which])
    return JudgedStreams(*map(torch.from_numpy, parts)), which


def judged(name: str, from_reset: Tensor, never_reset: Tensor, streams: JudgedStreams, which: NDArray[np.int64]) -> Row:
    """Compare logits [P, N, K] on the test windows, each from a reset, with those [P, M, K] at the ends along streams."""
    right = (never_reset.argmax(-1) == streams.y).double()
    alone = (from_reset.argmax(-1)[:, which] == streams.y).double()
    return Row(name, alone.mean(1).numpy(), right.mean(1).numpy())


def trained(
    spec: ModelSpec, methods: tuple[tuple[str, float], ...], teacher: Teacher | StreamTeacher, recipe: Recipe, seeds: int
) -> Parameters:
    """Return the students of all methods, one after the other, as they are after the last epoch."""
    candidates = [Candidate(method, weight, seed) for method, weight in methods for seed in range(seeds)]
    population = Population(spec, candidates, teacher, recipe, threads=1, memory_limit=MEMORY)
    for epoch in range(recipe.epochs):
        population.train_epoch(epoch)
    population.keep(torch.ones(len(candidates), dtype=torch.bool))
    return population.kept


def rows_of(dataset: Dataset, seeds: int, steps: int, teacher_steps: int) -> list[Row]:
    """Train both ways on one data set, and judge; `steps` of the students, `teacher_steps` of the teacher."""
    prepared = prepare(dataset, DistillConfig(folds=2))  # statistics of all training windows
    channels, classes = len(prepared.metadata.channels), len(prepared.metadata.labels)
    x, y, x_test = (torch.from_numpy(part) for part in (prepared.x_train, prepared.y_train, prepared.x_test))
    spec, large = ModelSpec(channels, UNITS, classes), ModelSpec(channels, 100, classes, 3)
    streams, which = in_streams(prepared.x_test, prepared.y_test, 0)

    def of_students(name: str, students: Parameters) -> Row:
        return judged(name, predict(spec, students, x_test), predict_along(spec, students, streams), streams, which)

    size = batch_size(0, len(y))
    unheard = Teacher(build(ModelSpec(channels, 1, classes)).eval(), Series(x, y), memory_limit=MEMORY, noise=NOISE)
    usual = trained(spec, METHODS[:1], unheard, Recipe(epochs(0, len(y), size, steps), RATE, size, 0), seeds)
    rows = [of_students("base, each window from a reset", usual)]

    series = joined(prepared.x_train, prepared.y_train, 0, torch.ones(classes), torch.device("cpu"))
    of_teacher = TeacherRecipe(math.ceil(teacher_steps / series.epoch_steps), TEACHER_RATE, series.lanes, STREAM_NOISE)
    training = TeacherTraining(large, of_teacher, 0, series)
    while not training.finished:
        training.train_epoch()
    model = training.result()
    with torch.no_grad():
        alone = torch.cat([model(part)[0] for part in torch.split(x_test, 256)])
    rows.append(judged("teacher 3 x 100, `--reset never`", alone[None], answers_along(model, streams)[None], streams, which))

    recipe = Recipe(math.ceil(steps / series.epoch_steps), RATE, series.lanes, 0, 0.0, STREAM_NOISE)
    students = trained(spec, METHODS, StreamTeacher(model, series, memory_limit=MEMORY), recipe, seeds)
    for number, (method, _) in enumerate(METHODS):
        own = {name: tensor[number * seeds : (number + 1) * seeds] for name, tensor in students.items()}
        rows.append(of_students(f"{method}, `--reset never`", own))
    return rows


def report(results: dict[str, list[Row]], seeds: int, steps: int, teacher_steps: int) -> str:
    """Return models/stream_windows.md."""
    lines = [
        "# Windows joined: `--reset never`",
        "",
        "Written by `python -m experiments.stream_windows`. Accuracy at the ends of test windows, **measured** in float32: of "
        f"students of {UNITS} units, {seeds} seeds, {steps:,} steps, no selection, mean ± standard deviation, and of one "
        f"teacher, {teacher_steps} steps. From a reset: each window alone. Never reset: the same windows joined at random to "
        f"{STREAMS} streams of {STREAM_SAMPLES:,} samples. "
        "Difference: never reset less from a reset, mean over the seeds. SPSW: s01-s16 to train, s17-s20 to test; windows of "
        "100 samples, half a window apart.",
    ]
    for name, rows in results.items():
        lines += ["", f"## {name}", "", "| | from a reset | never reset | difference |", "|---|---|---|---|"]
        for row in rows:
            difference = (row.never_reset - row.from_reset).mean()
            lines.append(f"| {row.name} | {_figure(row.from_reset)} | {_figure(row.never_reset)} | {difference:+.3f} |")
    return "\n".join(lines) + "\n"


def _figure(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")


def main() -> None:
    """Train and judge on every set, one thread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--teacher-steps", type=int, default=TEACHER_STEPS)
    arguments = parser.parse_args()
    results = {}
    for name, config in SETS.items():
        data, _ = load_data(config, print)
        assert isinstance(data, Dataset)
        with torch_threads(1):
            results[name] = rows_of(data, arguments.seeds, arguments.steps, arguments.teacher_steps)
        text = report(results, arguments.seeds, arguments.steps, arguments.teacher_steps)
        write_atomic(arguments.out, text.encode())


if __name__ == "__main__":
    main()
