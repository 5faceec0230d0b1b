# SPDX-License-Identifier: Apache-2.0
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

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from memkd_edge.comparison.device import device_figures
from memkd_edge.comparison.executors import Executor, LocalExecutor, RayExecutor, Task
from memkd_edge.comparison.findings import findings
from memkd_edge.comparison.folder import ROOT, TABLE, claim, teachers_file
from memkd_edge.comparison.plan import lay_out, settled
from memkd_edge.comparison.report import ComparisonReport, write_report
from memkd_edge.comparison.rows import StudentResult, read_rows, write_rows
from memkd_edge.config import CompareConfig, DistillConfig
from memkd_edge.contents import read_metrics
from memkd_edge.data.dataset import Dataset
from memkd_edge.distillation.pipeline import distill
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.progress import Reporter
from memkd_edge.runs import ENVIRONMENT, Run, alone


def compare(
    config: CompareConfig, folder: Path | None = None, *, force: bool = False, progress: Reporter | None = None
) -> ComparisonReport:
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
    tasks = {task.data.name: task for task in lay_out(config, progress)}
    folder = folder or ROOT / (config.suite or "datasets")
    with alone(folder, "compares", "--out", "--out"):
        claim(folder, config, force)
        _run(executor, tasks, folder, progress)
        return write_report(folder)


def train(task: Task, folder: Path, progress: Reporter) -> None:
    """Make the task's runs under `folder` / "runs"; the first one trains the teachers of all."""
    teachers = teachers_file(folder, task.data.name)
    for name in progress.each(task.data.name, list(task.runs), "runs"):
        config = task.runs[name]
        path = folder / "runs" / name
        begun = Run.open(path, complete=False) if (path / ENVIRONMENT).is_file() else None
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


def run_rows(run: Run, data: Dataset, config: DistillConfig, progress: Reporter) -> list[StudentResult]:
    """Return the rows of a finished run on `data`; what its kept student costs on a device is measured now.

    Raises:
        MemkdEdgeError: the run is damaged.
    """
    metrics, environment, metadata = read_metrics(run), run.environment(), run.metadata
    figures = device_figures(run)
    if figures.note:
        progress.note(figures.note)
    try:
        kept, teacher, majority = metrics.student, metrics.teacher, metrics.majority
        return [
            StudentResult(
                dataset=data.name,
                student=kept.kind,
                compression=config.compression,
                hidden_size=kept.hidden_size,
                parameters=kept.parameters,
                teacher_parameters=teacher.parameters,
                **vars(student),
                kept=(is_kept := (student.method, student.seed) == (kept.method, kept.seed)),
                teacher_validation_auc_prc=teacher.validation.auc_prc,
                teacher_test_auc_prc=teacher.test.auc_prc,
                teacher_test_accuracy=teacher.test.accuracy,
                majority_test_auc_prc=majority.test.auc_prc if majority else None,
                majority_test_accuracy=majority.test.accuracy if majority else None,
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
            for student in metrics.students
        ]
    except KeyError as error:
        raise MemkdEdgeError(f"{run.path}: env.json lacks {error}; delete this folder and compare again") from error


def _run(executor: Executor, tasks: Mapping[str, Task], folder: Path, progress: Reporter) -> None:
    """Train what is not complete, and keep the table abreast."""
    rows = read_rows(folder / TABLE)
    pending: dict[str, Task] = {}
    for name, task in tasks.items():
        unfinished = {run: one for run, one in task.runs.items() if not Run(folder / "runs" / run).is_complete}
        if unfinished:
            pending[name] = replace(task, runs=unfinished, effort=task.effort * len(unfinished))
        else:
            rows = _record(folder, task, rows, progress)
    effort = sum(task.effort for task in tasks.values())

    def tell() -> None:
        left = sum(task.effort for task in pending.values())
        progress.step("comparison", len(tasks) - len(pending), len(tasks), "data sets", _leader(rows), 1 - left / effort)

    tell()
    with closing(executor.run(list(pending.values()), train, folder, progress)) as finished:
        for name in (task.data.name for task in finished):
            rows = _record(folder, tasks[name], rows, progress)
            del pending[name]
            tell()


def _executor(config: CompareConfig) -> Executor:
    if config.executor == "ray":
        return RayExecutor(config.ray_address, max(config.distillation.threads, 1))
    if config.ray_address:
        raise UsageError("--ray-address goes with --executor ray")
    return LocalExecutor()


def _record(folder: Path, task: Task, rows: list[StudentResult], progress: Reporter) -> list[StudentResult]:
    """Return the table with the rows of the task's runs, and write it if they are new; its teachers are not needed any more."""
    known = {(row.dataset, row.student, row.compression) for row in rows}
    new = [
        row
        for name, config in task.runs.items()
        if (task.data.name, config.student, config.compression) not in known
        for row in run_rows(Run.open(folder / "runs" / name), task.data, config, progress)
    ]
    if new:
        write_rows(folder / TABLE, [*rows, *new])
    teachers_file(folder, task.data.name).unlink(missing_ok=True)
    return [*rows, *new]


def _leader(rows: Sequence[StudentResult]) -> str:
    """Return the method of the best mean rank in words, "" while no data set has ended."""
    best = findings(rows).ranking[0] if rows else None
    return "" if best is None or best.rank is None else f"{best.method} leads with a mean rank of {best.rank:.2f}"
