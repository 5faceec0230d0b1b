"""compare: methods x data sets x sizes and kinds of student, as run directories and one table of students.

A comparison is a folder:

    compare.toml             the resolved configuration
    runs/<name>/             one ordinary run for each data set, or for each data set, kind and size
    teachers-*.safetensors   of the data set in training: the teachers that all its runs share
    rows.csv                 one row a student, added when a data set ends
    report.*                 what the rows say

The table follows from the finished runs alone. So a comparison that was killed continues where it stopped: runs that are complete
are taken as they are, the one in training goes on from its checkpoint.
"""

import re
import shutil
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import fields, replace
from itertools import product
from pathlib import Path

from memkd_edge.compare.device import device_figures
from memkd_edge.compare.executors import Executor, LocalExecutor, RayExecutor, Task
from memkd_edge.compare.findings import findings
from memkd_edge.compare.report import Report, write_report
from memkd_edge.compare.rows import Row, read_rows, write_rows
from memkd_edge.compare.suites import SUITES
from memkd_edge.config import CompareConfig, DistillConfig, from_table, to_toml
from memkd_edge.data import Dataset, load_dataset, prepare
from memkd_edge.distill.pipeline import candidates_of, distill, student_spec, teacher_spec
from memkd_edge.distill.population import batch_size, epochs
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.models import KINDS
from memkd_edge.progress import Reporter
from memkd_edge.runs import Run, write_atomic

ROOT = Path("compare")  # of comparisons whose folder is not named
TABLE = "rows.csv"

# Settings that say where and how fast, not what: a comparison may continue with others.
_FREE = ("data_root", "device", "threads", "memory_limit", "executor", "ray_address")
_SHARED = {field.name for field in fields(DistillConfig)} & {field.name for field in fields(CompareConfig)}


def compare(
    config: CompareConfig, folder: Path | None = None, *, force: bool = False, progress: Reporter | None = None
) -> Report:
    """Train what the comparison still lacks, and write its table and its report.

    Args:
        folder: of the comparison; compare/<suite> or compare/datasets when left out.
        force: start anew in a folder that holds another comparison.

    Raises:
        UsageError: an impossible option, or the folder holds a comparison of other settings.
        MissingToolError: Ray was asked for and is not installed.
        MemkdEdgeError: a file is damaged or cannot be written, or training failed.
    """
    progress = progress or Reporter()
    config = settled(config)
    executor = _executor(config)
    tasks = {task.data.name: task for task in _tasks(config, progress)}
    folder = folder or ROOT / (config.suite or "datasets")
    _claim(folder, config, force)
    rows = read_rows(folder / TABLE)
    pending: dict[str, Task] = {}
    for name, task in tasks.items():
        unfinished = {run: one for run, one in task.runs.items() if not _is_complete(folder / "runs" / run)}
        if unfinished:
            pending[name] = replace(task, runs=unfinished, effort=task.effort * len(unfinished))
        else:
            rows = _record(folder, task, rows, progress)
    began, effort = time.monotonic(), 0
    progress.compared(len(tasks) - len(pending), len(tasks), None, _leader(rows))
    with closing(executor.run(list(pending.values()), train, folder, progress)) as finished:
        for name in (task.data.name for task in finished):
            rows = _record(folder, tasks[name], rows, progress)
            effort += pending.pop(name).effort
            left_s = (time.monotonic() - began) / effort * sum(task.effort for task in pending.values())
            progress.compared(len(tasks) - len(pending), len(tasks), left_s, _leader(rows))
    return write_report(folder)


def newest() -> Path:
    """Return the folder of the comparison under compare/ to whose table rows were added last.

    Raises:
        UsageError: there is none.
    """
    tables = sorted(ROOT.glob(f"*/{TABLE}"), key=lambda table: table.stat().st_mtime)
    if not tables:
        raise UsageError(f"no comparison under {ROOT.resolve()} has rows yet; `memkd-edge compare` makes one")
    return tables[-1].parent


def settled(config: CompareConfig) -> CompareConfig:
    """Return `config` with its suite spelt out, after a check of all that can be checked without the data.

    Raises:
        UsageError: an option is impossible, or no data set is named.
    """
    if config.suite:
        if config.suite not in SUITES:
            raise UsageError(f"no suite {config.suite!r}; there are {', '.join(SUITES)}")
        suite = SUITES[config.suite]
        if config.datasets not in ((), suite.datasets):
            raise UsageError("--suite and --datasets both name the data sets; give one of them")
        config = replace(config, datasets=suite.datasets, resample=config.resample or suite.resample)
    if not config.datasets:
        raise UsageError(f"no data set is named; give --suite {' or '.join(SUITES)}, or --datasets A,B,C")
    lists = {option: tuple(one.strip() for one in getattr(config, option)) for option in ("datasets", "methods", "students")}
    for option, values in {**lists, "sweep": _compressions(config)}.items():
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice or not values:
            raise UsageError(f"--{option} " + (f"names {twice[0]} twice" if twice else "is empty"))
    unknown = [student for student in lists["students"] if student not in KINDS]
    if unknown:
        raise UsageError(f"--students: no kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    config = replace(config, **lists, resample=config.resample or "none")  # type: ignore[arg-type]
    candidates_of(_run_config(config, "", config.students[0], 1.0, 1))
    return config


def train(task: Task, folder: Path, progress: Reporter) -> None:
    """Make the task's runs under `folder` / "runs"; the first one trains the teachers of all."""
    teachers = folder / f"teachers-{task.data.name}.safetensors"
    for name, config in task.runs.items():
        path = folder / "runs" / name
        begun = Run.open(path, complete=False) if (path / "env.json").is_file() else None
        progress.study(name)
        distill(
            config,
            run_root=folder / "runs",
            name=name,
            resume=begun,
            force=True,
            progress=progress,
            data=task.data,
            teachers=teachers,
        )
    teachers.unlink(missing_ok=True)


def run_rows(run: Run, data: Dataset, config: DistillConfig, progress: Reporter) -> list[Row]:
    """Return the rows of a finished run on `data`; what its kept student costs on a device is measured now.

    Raises:
        MemkdEdgeError: the run is damaged.
    """
    metrics, environment, metadata = run.read_json("metrics.json"), run.environment(), run.metadata
    figures = device_figures(run)
    if figures.note:
        progress.note(figures.note)
    try:
        kept, teacher = metrics["student"], metrics["teacher"]
        return [
            Row(
                dataset=data.name,
                student=kept["kind"],
                compression=config.compression,
                hidden_size=kept["hidden_size"],
                parameters=kept["parameters"],
                teacher_parameters=teacher["parameters"],
                **student,
                kept=(is_kept := (student["method"], student["seed"]) == (kept["method"], kept["seed"])),
                teacher_validation_auc_prc=teacher["validation"]["auc_prc"],
                teacher_test_auc_prc=teacher["test"]["auc_prc"],
                teacher_test_accuracy=teacher["test"]["accuracy"],
                train_series=len(data.y_train),
                length=metadata.resampling.output_length,
                classes=len(metadata.labels),
                int8_test_auc_prc=figures.test_auc_prc if is_kept else None,
                int8_test_accuracy=figures.test_accuracy if is_kept else None,
                flash_bytes=figures.flash_bytes if is_kept else None,
                ram_bytes=figures.ram_bytes if is_kept else None,
                instructions=figures.instructions if is_kept else None,
                seconds=environment["seconds"],
                host=environment["host"],
                version=environment["version"],
            )
            for student in metrics["students"]
        ]
    except (KeyError, TypeError) as error:
        raise MemkdEdgeError(
            f"{run.path}: metrics.json or env.json lacks {error}; delete this folder and compare again"
        ) from error


def _executor(config: CompareConfig) -> Executor:
    if config.executor == "ray":
        return RayExecutor(config.ray_address, max(config.threads, 1))
    if config.executor != "local":
        raise UsageError(f"--executor {config.executor}: choose local or ray")
    if config.ray_address:
        raise UsageError("--ray-address goes with --executor ray")
    return LocalExecutor()


def _tasks(config: CompareConfig, progress: Reporter) -> Iterator[Task]:
    """Load every data set and lay out its runs; a size that a data set cannot have is left out, with a note.

    Raises:
        UsageError: a data set cannot be used, two have the same name, or no size is possible at all.
    """
    names: set[str] = set()
    variants = list(product(config.students, _compressions(config)))
    refusal, possible = None, False
    for dataset in config.datasets:
        data = load_dataset(dataset, data_root=config.data_root)
        if data.name in names:
            raise UsageError(f"--datasets: two are named {data.name}; compare them in folders of their own")
        names.add(data.name)
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


def _run_config(config: CompareConfig, dataset: str, student: str, compression: float, length: int) -> DistillConfig:
    """Return the configuration of one run on series of `length` steps."""
    longer = re.fullmatch(r"linear:(\d+)", config.resample)
    return DistillConfig(
        **{name: getattr(config, name) for name in _SHARED - {"compression", "resample", "threads"}},
        dataset=dataset,
        student=student,
        compression=compression,
        method=",".join(config.methods),
        resample="none" if longer and length <= int(longer[1]) else config.resample,
        threads=max(config.threads, 1) if config.executor == "ray" else config.threads,
    )


def _compressions(config: CompareConfig) -> tuple[float, ...]:
    if not config.sweep:
        return (config.compression,)
    key, _, values = config.sweep.partition("=")
    try:
        sizes = tuple(float(value) for value in values.split(","))
    except ValueError:
        sizes = ()
    if key.strip() != "compression" or not all(size > 0 for size in sizes) or not sizes:
        raise UsageError(f"--sweep {config.sweep}: expected compression=A,B,... with numbers above 0")
    return sizes


def _claim(folder: Path, config: CompareConfig, force: bool) -> None:
    """Make `folder` this comparison's: a new or empty one, or one that holds the same comparison.

    Raises:
        UsageError: it holds something else.
        MemkdEdgeError: its compare.toml is damaged.
    """
    path = folder / "compare.toml"
    if path.is_file() and force:
        shutil.rmtree(folder / "runs", ignore_errors=True)
        for file in (folder / TABLE, *folder.glob("teachers-*.safetensors")):
            file.unlink(missing_ok=True)
    elif path.is_file():
        try:
            before = from_table(CompareConfig, tomllib.loads(path.read_text())["compare"])
        except (KeyError, TypeError, ValueError) as error:
            raise MemkdEdgeError(f"{path}: damaged ({error}); --force starts the comparison anew") from error
        keys = [field.name for field in fields(CompareConfig) if field.name not in _FREE]
        other = [
            f"{key} is {getattr(before, key)} there and {getattr(config, key)} here"
            for key in keys
            if getattr(before, key) != getattr(config, key)
        ]
        if other:
            raise UsageError(
                f"{folder} holds another comparison: {'; '.join(other)}. Choose another --out, or --force to start anew"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no comparison; choose another --out")
    write_atomic(path, to_toml("compare", config).encode())


def _is_complete(path: Path) -> bool:
    return (path / "env.json").is_file() and Run(path).environment().get("state") == "complete"


def _record(folder: Path, task: Task, rows: list[Row], progress: Reporter) -> list[Row]:
    """Return the table with the rows of the task's runs, and write it if they are new."""
    known = {(row.dataset, row.student, row.compression) for row in rows}
    new = [
        row
        for name, config in task.runs.items()
        if (task.data.name, config.student, config.compression) not in known
        for row in run_rows(Run.open(folder / "runs" / name), task.data, config, progress)
    ]
    if new:
        write_rows(folder / TABLE, [*rows, *new])
    return [*rows, *new]


def _leader(rows: Sequence[Row]) -> str:
    """Return the method of the best mean rank in words, "" while no data set has ended."""
    best = findings(rows).standings[0] if rows else None
    return "" if best is None or best.rank is None else f"{best.method} leads with a mean rank of {best.rank:.2f}"
