# SPDX-License-Identifier: Apache-2.0
"""Measures what training costs: `make bench-distill` writes models/distill_cost.md.

Population training against training each student alone with torch.nn.LSTM: both train the same students (of four methods) on the
same cached teacher, by turns; the fastest epoch of each counts. Only the population has the penalty on cell states, which
torch.nn.LSTM does not give, and the grid and the average of the weights.

What an epoch of students, of a teacher, or of either along streams takes, and the peak memory of a process that does nothing
else.

Times are CPU time of one thread: on a machine that others use, too, it says more than a clock. Only a clock shows what a second
core brings: a population's shards take one each, a lone LSTM of this size gains nothing, and counts with one thread or two,
whichever is faster. Data are random: time does not depend on them.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import product
from pathlib import Path

import numpy as np
import torch

from memkd_edge.distillation.population import Population
from memkd_edge.distillation.recipe import Recipe, TeacherRecipe, batch_size
from memkd_edge.distillation.stream_teacher import StreamTeacher
from memkd_edge.distillation.streams import EPOCH_STEPS, StreamSeries, recorded
from memkd_edge.distillation.students import Candidate
from memkd_edge.distillation.teacher import Series, Teacher, TeacherTraining
from memkd_edge.freed_memory import freed_memory_kept
from memkd_edge.nets.classifier import ModelSpec, build
from memkd_edge.runs import write_atomic
from tests.distillation.alone import Alone

TABLE = Path(__file__).resolve().parents[1] / "models" / "distill_cost.md"
METHODS = ("base", "kd", "memkd", "memkd+kd")
EPOCHS = 4  # a student alone; the first one warms up
CLASSES = 4
SPEC = ModelSpec(1, 8, CLASSES)
TEACHER = ModelSpec(1, 100, CLASSES, 3)
BATCH = 32
SERIES = 4 * BATCH
STUDENTS = 32
THREADS = 2
RATE_HZ = 100.0
MIB = 2**20


@dataclass(frozen=True)
class Work:
    """What an epoch is measured of: `who` trains ("students" or "a teacher") on N series of T steps.

    streams: the series are recordings, learnt along streams.
    """

    who: str
    steps: int
    series: int
    streams: bool = False


GROWTH = (
    *(Work("students", steps, SERIES) for steps in (100, 500, 1000, 5000)),
    *(Work("students", 100, series) for series in (50, 500, 5000)),
    *(Work("a teacher", steps, 50) for steps in (100, 500, 1000, 5000)),
    *(Work("a teacher", 100, series) for series in (500, 5000)),
    *(Work(who, 1200, series, True) for who in ("students", "a teacher") for series in (50, 500)),
)


def windows(steps: int, series: int) -> Series:
    """Return random series [N, T, 1]."""
    torch.manual_seed(0)
    return Series(torch.randn(series, steps, SPEC.input_size), torch.arange(series) % CLASSES)


def recordings(steps: int, series: int) -> StreamSeries:
    """Return N random recordings of T samples, a class at each."""
    random = np.random.default_rng(0)
    stretches = [
        (random.standard_normal((steps, SPEC.input_size)).astype(np.float32), np.arange(steps) * CLASSES // steps, False)
        for _ in range(series)
    ]
    return recorded(stretches, RATE_HZ, 0.0, torch.ones(CLASSES), torch.device("cpu"))


def candidates(students: int) -> list[Candidate]:
    """Return as many students, the same number of each method."""
    return [Candidate(method, 1.0, seed) for method in METHODS for seed in range(students // len(METHODS))]


def speed_up(students: int, length: int, threads: int) -> tuple[float, float]:
    """Return the seconds of an epoch of `students` on `SERIES` series of `length` steps: each alone, and as a population.

    With one thread they are CPU time, with more of them what a clock says.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    torch.manual_seed(0)
    teacher = Teacher(build(TEACHER).eval().requires_grad_(False), windows(length, SERIES), memory_limit=2**31)
    recipe = Recipe(epochs=100, learning_rate=0.01, batch_size=BATCH, seed=0)
    population = Population(SPEC, candidates(students), teacher, recipe, threads=threads, memory_limit=2**31)
    singles = [Alone(SPEC, candidate, teacher, recipe, bare=True) for candidate in candidates(students)]

    def one_by_one(epoch: int) -> None:
        for single in singles:
            single.train_epoch(epoch)

    alone_s, population_s = [], []
    with freed_memory_kept():  # as in `distill`
        for epoch in range(EPOCHS):
            for count in {1, threads}:
                torch.set_num_threads(count)
                alone_s.append(seconds_of(one_by_one, epoch, clock))
            population_s += [seconds_of(population.train_epoch, turn, clock) for turn in range(2 * epoch, 2 * epoch + 2)]
    return min(alone_s), min(population_s)


def cost(work: Work) -> tuple[int, float, int]:
    """Return samples of an epoch, CPU seconds of one after the first, and the peak memory of this process so far in bytes."""
    torch.set_num_threads(1)
    data = recordings(work.steps, work.series) if work.streams else windows(work.steps, work.series)
    torch.manual_seed(0)
    with freed_memory_kept():
        if work.who == "a teacher":
            part = data.for_teachers() if isinstance(data, StreamSeries) else data
            how = TeacherRecipe(100, 0.002, batch_size(0, work.series), 0.1, 0.9)
            training = TeacherTraining(TEACHER, how, 0, part)

            def epoch(_: int) -> None:
                training.train_epoch()

        else:
            part, model = data, build(TEACHER).eval().requires_grad_(False)
            recipe = Recipe(100, 0.01, batch_size(0, work.series), 0, 0.9, 0.1)
            taught = (
                StreamTeacher(model, data, memory_limit=2**31)
                if isinstance(data, StreamSeries)
                else Teacher(model, data, memory_limit=2**31)
            )
            population = Population(SPEC, candidates(STUDENTS), taught, recipe, threads=1, memory_limit=2**31)
            epoch = population.train_epoch
        epoch(0)
        seconds = seconds_of(epoch, 1, time.process_time)
    samples = part.epoch_steps * part.lanes * part.chunk if isinstance(part, StreamSeries) else work.series * work.steps
    return samples, seconds, peak_memory()


def peak_memory() -> int:
    """Return this process's peak resident memory in bytes; getrusage's counts that of the process which started it, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def seconds_of(work: Callable[[int], None], epoch: int, clock: Callable[[], float]) -> float:
    start = clock()
    work(epoch)
    return clock() - start


def growth_row(work: Work, samples: int, seconds: float, peak: int) -> str:
    """Return the table's line of one work."""
    kind = "recordings, along streams" if work.streams else "series"
    rate = 1e6 * seconds / samples / (STUDENTS if work.who == "students" else 1)
    who = f"{STUDENTS} {work.who}" if work.who == "students" else work.who
    cells = [who, f"{work.series:,} {kind}", f"{work.steps:,}", f"{seconds:.2f} s", f"{rate:.2f} us", f"{peak / MIB:,.0f} MiB"]
    return f"| {' | '.join(cells)} |"


def report(speed: list[str], growth: list[str]) -> str:
    """Return the text of models/distill_cost.md."""
    return "\n".join(
        [
            "# What training costs",
            "",
            f"Written by `make bench-distill` ({date.today():%B %Y}). All figures are **measured** on an x86-64 machine with two",
            "cores: CPU time of one thread, or what a clock says of two. What is compared ran by turns: the ratios hold where",
            "times do not.",
            "",
            f"## {SPEC.hidden_size} units, one epoch of {SERIES} series in batches of {BATCH}",
            "",
            "| students | T | threads | each alone, nn.LSTM | population | speed-up |",
            "|---|---|---|---|---|---|",
            *speed,
            "",
            "## One epoch, a sample of one student or teacher, and the peak memory of the process",
            "",
            "| who | of | T | CPU time | a sample | peak |",
            "|---|---|---|---|---|---|",
            *growth,
            "",
            f"Along streams an epoch is about {EPOCH_STEPS} chunks of each lane, however long the recordings.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", default="8,32,128", help="sizes of populations that are trained alone, too")
    sizes = [int(one) for one in parser.parse_args().students.split(",")]
    speed, growth = [], []
    for length, students, threads in product((100, 500), sizes, (1, THREADS)):
        alone, population = speed_up(students, length, threads)
        speed.append(f"| {students} | {length} | {threads} | {alone:.3f} s | {population:.3f} s | {alone / population:.1f}x |")
        print(speed[-1], file=sys.stderr)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for work, found in zip(GROWTH, pool.imap(cost, GROWTH, chunksize=1), strict=True):
            growth.append(growth_row(work, *found))
            print(growth[-1], file=sys.stderr)
    print(write_atomic(TABLE, report(speed, growth).encode()))


if __name__ == "__main__":
    main()
