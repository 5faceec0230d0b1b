# SPDX-License-Identifier: Apache-2.0
"""What a comparison trains: its settings checked, its data sets loaded, their runs laid out."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from memkd_edge.comparison.executors import Task
from memkd_edge.comparison.suites import SUITES
from memkd_edge.config import CompareConfig, DistillConfig
from memkd_edge.data.loading import load_data
from memkd_edge.data.prepare import prepare
from memkd_edge.data.recordings import Recordings
from memkd_edge.distillation.pipeline import candidates_of, student_spec, teacher_spec
from memkd_edge.distillation.recipe import batch_size, epochs
from memkd_edge.errors import UsageError
from memkd_edge.options import check, settings
from memkd_edge.progress import Reporter
from memkd_edge.vocabulary import Cell

LISTS = ("datasets", "methods", "students")


def settled(config: CompareConfig) -> CompareConfig:
    """Return `config` with its suite spelt out, after a check of all that can be checked without the data.

    Raises:
        UsageError: an option is impossible, or no data set is named.
    """
    lists = {option: tuple(one.strip() for one in getattr(config, option)) for option in LISTS}
    config = replace(config, **lists)  # type: ignore[arg-type]
    if config.suite:
        if config.suite not in SUITES:
            raise UsageError(f"no suite {config.suite!r}; there are {', '.join(SUITES)}")
        suite = SUITES[config.suite]
        strange = [one for one in config.datasets if one not in suite.datasets]
        if strange:
            raise UsageError(f"--datasets: {strange[0]} is not of --suite {config.suite}, which has {', '.join(suite.datasets)}")
        config = _resampled(replace(config, datasets=config.datasets or suite.datasets), suite.resample)
    if not config.datasets:
        raise UsageError(f"no data set is named; give --suite {' or '.join(SUITES)}, or --datasets A,B,C")
    for option, values in {**{option: getattr(config, option) for option in LISTS}, "sweep": _compressions(config)}.items():
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice or not values:
            raise UsageError(f"--{option} " + (f"names {twice[0]} twice" if twice else "is empty"))
    unknown = [student for student in config.students if student not in tuple(Cell)]
    if unknown:
        raise UsageError(f"--students: no kind {unknown[0]!r}; there are {', '.join(Cell)}")
    config = _resampled(config, "none")
    check(config)
    candidates_of(_run_config(config, "", config.students[0], 1.0, 1))
    return config


def lay_out(config: CompareConfig, progress: Reporter) -> Iterator[Task]:
    """Load every data set and lay out its runs; a size that a data set cannot have is left out, with a note.

    Raises:
        UsageError: a data set cannot be used, two have the same name, or no size is possible at all.
    """
    names: set[str] = set()
    variants = list(product(config.students, _compressions(config)))
    refusal, possible = None, False
    for dataset in config.datasets:
        notes: list[str] = []
        data, _ = load_data(replace(config.distillation, dataset=dataset), notes.append)
        if isinstance(data, Recordings):
            raise UsageError(
                f"--datasets {dataset} holds recordings, and methods are compared on windows; cut them with --windows, as in "
                "--windows 2s, or distill them with --method A,B"
            )
        if data.name in names:
            raise UsageError(f"--datasets: two are named {data.name}; compare them in folders of their own")
        names.add(data.name)
        for note in notes:
            progress.note(note)
        channels, classes, length = data.x_train.shape[2], len(data.labels), data.x_train.shape[1]
        runs = {}
        for student, compression in variants:
            one = _run_config(config, dataset, student, compression, length)
            try:
                student_spec(one, channels, classes, teacher_spec(one, channels, classes).parameters)
            except UsageError as error:
                refusal = error
                progress.note(f"{data.name} is left out with {student} students: {error}")
                continue
            runs[data.name if len(variants) == 1 else f"{data.name}-{student}-{compression:g}"] = one
        if runs:
            possible = True
            one = next(iter(runs.values()))
            prepared = prepare(data, one)  # refuses options that do not fit the data before anything is trained
            series, steps = prepared.x_train.shape[:2]
            trainings = int(prepared.folds.max()) + 2  # on each fold, and on all series
            passes = epochs(one.epochs, series, batch_size(one.batch_size, series))
            yield Task(data, runs, effort=series * steps * passes * trainings)
    if refusal is not None and not possible:
        raise refusal


def _resampled(config: CompareConfig, default: str) -> CompareConfig:
    distillation = config.distillation
    return replace(config, distillation=replace(distillation, resample=distillation.resample or default))


def _run_config(config: CompareConfig, dataset: str, student: str, compression: float, length: int) -> DistillConfig:
    """Return the configuration of one run on series of `length` steps."""
    shared = config.distillation
    longer = re.fullmatch(r"linear:(\d+)", shared.resample)
    sized = config.suite and not config.sweep and compression == settings(CompareConfig)["compression"].default
    return replace(
        shared,
        dataset=dataset,
        student=student,
        compression=compression,
        hidden=SUITES[config.suite].hidden.get(dataset, 0) if sized else 0,
        method=",".join(config.methods),
        resample="none" if longer and length <= int(longer[1]) else shared.resample,
        threads=max(shared.threads, 1) if config.executor == "ray" else shared.threads,
    )


def _compressions(config: CompareConfig) -> tuple[float, ...]:
    if not config.sweep:
        return (config.distillation.compression,)
    key, _, values = config.sweep.partition("=")
    try:
        sizes = tuple(float(value) for value in values.split(","))
    except ValueError:
        sizes = ()
    if key.strip() != "compression" or not all(size > 0 for size in sizes) or not sizes:
        raise UsageError(f"--sweep {config.sweep}: expected compression=A,B,... with numbers above 0")
    return sizes
