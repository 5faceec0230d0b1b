# SPDX-License-Identifier: Apache-2.0
"""The library's verbs; the command line calls the same code.

import memkd_edge as me

run = me.distill(dataset="GunPoint", method="memkd")
report = me.export(run, format="tflite", quantize="int8")
figures = me.bench(run, device=("rpi4",))
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memkd_edge.config import BenchConfig, CompareConfig, DataConfig, DistillConfig, ExportConfig, resolve
from memkd_edge.paths import path_text
from memkd_edge.ready_models import PREFIX, ReadyModel, model_file, open_run, ready_models
from memkd_edge.runs import Run, default_run_root, find_run
from memkd_edge.toolchain import naming_missing_packages

if TYPE_CHECKING:
    from memkd_edge.benchmark.report.figures import BenchReport
    from memkd_edge.classification import ClassifyReport
    from memkd_edge.comparison.report import ComparisonReport
    from memkd_edge.data.dataset import Dataset
    from memkd_edge.data.recordings import Recordings
    from memkd_edge.distillation.teacher import TeacherModel
    from memkd_edge.exporting.pipeline import ExportReport
    from memkd_edge.formats.inspection import Inspection
    from memkd_edge.pages.run_page import RunPage
    from memkd_edge.verification.pipeline import VerifyReport
    from memkd_edge.window_classification import WindowsReport


@naming_missing_packages()
def distill(
    *,
    run_root: str | Path | None = None,
    name: str | None = None,
    force: bool = False,
    teacher_model: TeacherModel | None = None,
    data: Recordings | Dataset | None = None,
    **options: Any,
) -> Run:
    """Train a teacher, distil it, and return the finished run.

    Args:
        run_root: folder in which the run directory is made; MEMKD_EDGE_RUN_ROOT or "runs" when left out.
        name: of the run directory; numbered after the data set when left out.
        force: overwrite a run of that name.
        teacher_model: a trained torch module of your own that takes normalised series [B, T, C] to logits [B, K] and a hidden
            sequence [B, T, H], and is put into evaluation mode; without one, a teacher is trained, or loaded from the option
            `teacher`.
        data: recordings of `recordings_from_frame` and its kin, or a data set, instead of the option `dataset`.
        options: fields of `DistillConfig`; with `data` none of those that say how data are read.

    Raises:
        UsageError: an unknown option, one that `data` leave no use for, or data that cannot be learnt from.
        MemkdEdgeError: the run could not be written.
    """
    from memkd_edge.data.loading import as_wanted
    from memkd_edge.distillation.pipeline import distill as run_distill

    if options.get("dataset") is not None:
        path_text(options["dataset"], "dataset", "data that a program has loaded are for the argument data")
    config = resolve(DistillConfig, "distill", flags=options)
    if data is not None:
        data = as_wanted(data, config)
        config = replace(config, dataset=data.name)
    return run_distill(
        config,
        run_root=default_run_root() if run_root is None else Path(path_text(run_root, "run_root")),
        name=None if name is None else path_text(name, "name"),
        force=force,
        teacher=teacher_model,
        data=data,
    )


@naming_missing_packages()
def export(run: Run | str | Path, *, force: bool = False, **options: Any) -> ExportReport:
    """Write the run's student as a deployable file, verify it in its runtimes, and return the report.

    Args:
        run: a run, the path of its directory, or "model:NAME" of a ready-made student.
        force: overwrite files that differ.
        options: fields of `ExportConfig`.

    Raises:
        GateError: the exported model agrees too rarely with the float student.
    """
    from memkd_edge.exporting.pipeline import export as run_export

    return run_export(_opened(run), resolve(ExportConfig, "export", flags=options), force=force)


@naming_missing_packages()
def bench(run: Run | str | Path, **options: Any) -> BenchReport:
    """Measure the run's student against its teacher on one or more devices.

    Args:
        run: a run, the path of its directory, or "model:NAME" of a ready-made student.
        options: fields of `BenchConfig`.

    Raises:
        MissingToolError: an emulator or a compiler is not installed.
    """
    from memkd_edge.benchmark.pipeline import bench as run_bench

    return run_bench(_opened(run), resolve(BenchConfig, "bench", flags=options))


@naming_missing_packages()
def classify(
    model: str | Path, dataset: str | Path, *, out: str | Path | None = None, force: bool = False, **options: Any
) -> ClassifyReport | WindowsReport:
    """Run an exported file along recordings or on windows, and return what it decides and how good that is with labels.

    Arrays need none of this: `StreamingClassifier.stream` takes samples [T, C], `StreamingClassifier.classify` windows [N, T, C].

    Args:
        model: a .tflite or .onnx file, or "model:NAME" for the int8 .tflite of a ready-made student.
        dataset: recordings or windows, as `distill` takes them: a folder, a file, or a name.
        out: .csv or .parquet file for a row a sample: recording, subject, time in seconds, label, decision, a score a class; of
            windows for a row a window.
        force: overwrite `out`.
        options: fields of `DataConfig`; those for training alone are refused.

    Raises:
        UsageError: data that the model cannot take; the message says which channel or rate differs.
        MemkdEdgeError: the model is damaged, or `out` cannot be written. MissingToolError: Parquet needs pyarrow.
    """
    from memkd_edge.classification import classify as run_classify

    in_memory = "samples [T, C] in memory go to StreamingClassifier.stream, windows [N, T, C] to its classify"
    config = resolve(DataConfig, "data", flags={**options, "dataset": path_text(dataset, "dataset", in_memory)})
    file = model_file(path_text(model, "model"))
    return run_classify(file, config, out=None if out is None else Path(path_text(out, "out")), force=force)


@naming_missing_packages()
def compare(out: str | Path | None = None, *, force: bool = False, **options: Any) -> ComparisonReport:
    """Train what the comparison in folder `out` still lacks, and return its report.

    Args:
        out: folder of the comparison; compare/<suite> or compare/datasets when left out.
        force: start anew in a folder that holds another comparison.
        options: fields of `CompareConfig`.

    Raises:
        UsageError: an impossible option, or the folder holds a comparison of other settings.
        MissingToolError: Ray was asked for and is not installed.
    """
    from memkd_edge.comparison.pipeline import compare as run_compare

    config = resolve(CompareConfig, "compare", flags=options)
    return run_compare(config, None if out is None else Path(path_text(out, "out")), force=force)


@naming_missing_packages()
def verify(target: Run | str | Path, *, min_agreement: float = 0.98) -> VerifyReport:
    """Check exported files in every runtime that is installed: agreement, exactness, state.

    Args:
        target: a run, the path of its directory, "model:NAME" of a ready-made student, or one .tflite or .onnx file.
        min_agreement: share of equal decisions with the float student, below which it fails.

    Raises:
        GateError: an exported file agrees too rarely, or is not bit-exact where it must be.
    """
    from memkd_edge.verification.pipeline import verify as run_verify

    if not isinstance(target, Run):
        text = path_text(target, "target")
        if not text.startswith(PREFIX) and not os.path.isdir(find_run(text, default_run_root())):
            return run_verify(Path(text), min_agreement=min_agreement)
    return run_verify(_opened(target), min_agreement=min_agreement)


@naming_missing_packages()
def inspect(file: str | Path) -> Inspection:
    """Return what a .tflite, .onnx or .safetensors file holds, or the int8 .tflite of "model:NAME"; nothing in it is executed.

    Raises:
        UsageError: no such file, or of no known kind.
        MemkdEdgeError: the file is damaged.
    """
    from memkd_edge.formats.inspection import inspect as run_inspect

    return run_inspect(model_file(path_text(file, "file")))


@naming_missing_packages()
def report(run: Run | str | Path, *, recordings: bool = True, figures: bool = False) -> RunPage:
    """Write the run's page, one HTML file with its recordings and its student in it, and the same as Markdown.

    Args:
        run: a run, the path of its directory, or "model:NAME" of a ready-made student.
        recordings: put held-out recordings into the page; without them it replays seeded noise.
        figures: also write figures as SVG and PNG, for papers.

    Raises:
        UsageError: the run's student does not run sample by sample.
        MemkdEdgeError: a file of the run is damaged, or the page cannot be written.
    """
    from memkd_edge.pages.run_page import write_run_page

    return write_run_page(_opened(run), recordings=recordings, figures=figures)


def models() -> list[ReadyModel]:
    """Return the ready-made students.

    Raises:
        MemkdEdgeError: models/figures.json is missing or damaged.
    """
    return ready_models()


def _opened(run: Run | str | Path) -> Run:
    return run if isinstance(run, Run) else open_run(path_text(run, "run"), default_run_root())
