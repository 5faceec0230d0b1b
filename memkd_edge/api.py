"""The library's three verbs; the command line calls the same code.

import memkd_edge as me

run = me.distill(dataset="GunPoint", method="memkd")
report = me.export(run, format="tflite", quantize="int8")
figures = me.bench(run, device=("rpi4",))
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from memkd_edge.config import BenchConfig, DistillConfig, ExportConfig, resolve
from memkd_edge.ready_models import open_run
from memkd_edge.runs import Run

if TYPE_CHECKING:
    from memkd_edge.benchmark.report.figures import BenchReport
    from memkd_edge.distillation.teacher import TeacherModel
    from memkd_edge.exporting.pipeline import ExportReport


def distill(
    *,
    run_root: str | Path = "runs",
    name: str | None = None,
    force: bool = False,
    teacher_model: TeacherModel | None = None,
    **options: Any,
) -> Run:
    """Train a teacher, distil it, and return the finished run.

    Args:
        run_root: folder in which the run directory is made.
        name: of the run directory; numbered after the data set when left out.
        force: overwrite a run of that name.
        teacher_model: a trained torch module of your own that takes normalised series [B, T, C] to logits [B, K] and a hidden
            sequence [B, T, H]; without one, a teacher is trained, or loaded from the option `teacher`.
        options: fields of `DistillConfig`.

    Raises:
        UsageError: an unknown option, or data that cannot be learnt from.
        MemkdEdgeError: the run could not be written.
    """
    from memkd_edge.distillation.pipeline import distill as run_distill

    config = resolve(DistillConfig, "distill", flags=options)
    return run_distill(config, run_root=Path(run_root), name=name, force=force, teacher=teacher_model)


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


def _opened(run: Run | str | Path) -> Run:
    return run if isinstance(run, Run) else open_run(str(run), Path("runs"))
