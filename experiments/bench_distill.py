# SPDX-License-Identifier: Apache-2.0
"""Measures population training against training each student alone with torch.nn.LSTM: `make bench-distill`.

Both train the same students (of four methods) on the same cached teacher, one right after the other, several times; the fastest
of each counts. The loop over single students runs with one thread and with as many as the population has, and the better of the
two counts: on a small model torch's threads often cost more than they bring. Data are random: time does not depend on them.
Only the population has the penalty on cell states, which torch.nn.LSTM does not give, and the grid and the average of the
weights.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from memkd_edge.cli.tables import console, table
from memkd_edge.distillation.population import Population
from memkd_edge.distillation.recipe import Recipe
from memkd_edge.distillation.students import Candidate
from memkd_edge.distillation.teacher import Series, Teacher
from memkd_edge.nets.classifier import ModelSpec, build
from tests.distillation.alone import Alone

METHODS = ("base", "kd", "memkd", "memkd+kd")
THREADS = 2
REPEATS = 2
CLASSES = 4
SPEC = ModelSpec(1, 8, CLASSES)
BATCH = 32
SERIES = 4 * BATCH


@dataclass(frozen=True)
class Timing:
    """Seconds of one epoch."""

    alone: float
    population: float


def measure(students: int, length: int, series: int, *, alone: bool = True) -> Timing:
    """Time one epoch of `students` on `series` series of `length` steps."""
    torch.manual_seed(0)
    data = Series(torch.randn(series, length, SPEC.input_size), torch.arange(series) % CLASSES)
    teacher_model = build(ModelSpec(SPEC.input_size, 100, CLASSES, 3)).eval().requires_grad_(False)
    teacher = Teacher(teacher_model, data, memory_limit=2**31)
    recipe = Recipe(epochs=100, learning_rate=0.01, batch_size=BATCH, seed=0)
    each = students // len(METHODS)
    candidates = [Candidate(method, 1.0, seed) for method in METHODS for seed in range(each)]
    population = Population(SPEC, candidates, teacher, recipe, threads=THREADS, memory_limit=2**31)
    singles = [Alone(SPEC, candidate, teacher, recipe, bare=True) for candidate in candidates] if alone else []

    def one_by_one(epoch: int) -> None:
        for single in singles:
            single.train_epoch(epoch)

    alone_s, population_s = [], []
    for epoch in range(REPEATS + 1):
        for threads in (1, THREADS):
            torch.set_num_threads(threads)
            alone_s.append(timed(one_by_one, epoch))
        population_s.append(timed(population.train_epoch, epoch))
    return Timing(min(alone_s), min(population_s))


def timed(work: Callable[[int], None], epoch: int) -> float:
    start = time.perf_counter()
    work(epoch)
    return time.perf_counter() - start


def main() -> None:
    out = console()
    speed = table(
        f"One epoch of {SERIES} series in batches of {BATCH}, {SPEC.hidden_size} units, {THREADS} threads: seconds (measured)",
        "students",
        "steps T",
        "each alone, nn.LSTM",
        "population",
        "speed-up",
    )
    for length in (100, 500):
        for students in (8, 32, 128):
            found = measure(students, length, SERIES)
            speed.add_row(
                str(students),
                str(length),
                f"{found.alone:.4f}",
                f"{found.population:.4f}",
                f"{found.alone / found.population:.1f}x",
            )
            print(f"{students} students, T = {length}: done", file=sys.stderr)
    out.print(speed)
    growth = table("Population training alone: seconds per epoch (measured)", "students", "steps T", "series N", "seconds")
    for students, length, series in (
        (32, 100, 32),
        (32, 200, 32),
        (32, 400, 32),
        (32, 800, 32),
        (32, 100, 64),
        (32, 100, 128),
        (32, 100, 256),
    ):
        found = measure(students, length, series, alone=False)
        growth.add_row(str(students), str(length), str(series), f"{found.population:.4f}")
    out.print(growth)


if __name__ == "__main__":
    main()
