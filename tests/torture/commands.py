# SPDX-License-Identifier: Apache-2.0
"""The commands that are killed: what each needs, how it is started and continued, and what it leaves in the end."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch._dynamo  # noqa: F401 (slow to load: once, not in each fork)

from memkd_edge import classification  # noqa: F401
from memkd_edge.benchmark import pipeline as _bench_pipeline  # noqa: F401
from memkd_edge.comparison import pipeline as _compare_pipeline  # noqa: F401
from memkd_edge.comparison.rows import read_rows
from memkd_edge.exporting import pipeline as _export_pipeline  # noqa: F401
from memkd_edge.runs import Run
from tests.benchmark.conftest import make_run
from tests.comparison.small import scores
from tests.data import recording_examples
from tests.writers.toy import student

NAME = "tiny"
_TINY = [
    *("--teacher-hidden=6", "--teacher-layers=1", "--teacher-seeds=1", "--teacher-epochs=4"),
    *("--seeds=1", "--epochs=2", "--folds=2", "--threads=1"),
]


@dataclass(frozen=True)
class Command:
    """One command, in a folder of its own.

    prepare: puts what it needs into the folder. start: its arguments there, the first time and again. ends: what it leaves.
    """

    prepare: Callable[[Path], None]
    start: Callable[[Path], list[str]]
    ends: Callable[[Path], dict[str, object]]


def commands() -> dict[str, Command]:
    """Return all commands by name."""
    return {
        "distill": Command(_nothing, _distill, _files("runs/tiny", without=("env.json", "report.html", "report.md"))),
        "export": Command(_run, _export, _files("runs/tiny/export", without=("verify.json",))),
        "bench": Command(_run, _bench, _files("runs/tiny/bench", without=())),
        "compare": Command(_nothing, _compare, _rows),
        "classify": Command(_recordings, _classify, _files("out", without=())),
    }


def _nothing(folder: Path) -> None:
    pass


def _run(folder: Path) -> None:
    make_run(folder / "runs")


def _recordings(folder: Path) -> None:
    from memkd_edge.quantization.post_training import quantize
    from memkd_edge.writers.tflite import write_tflite
    from tests.writers.toy import metadata, series

    recording_examples.folder(folder / "recordings", subjects=2, recordings=1, rows=2000)
    described = metadata(channels=2, classes=2)
    described = type(described)(**{**vars(described), "channels": ("acc_x", "acc_y"), "labels": ("rest", "walk")})
    (folder / "m.tflite").write_bytes(write_tflite(quantize(student(channels=2, classes=2), series(channels=2)), described))


def _distill(folder: Path) -> list[str]:
    run = folder / "runs" / NAME
    if (run / "env.json").is_file() and not Run(run).is_complete:
        return ["distill", "--resume", str(run)]
    options = ["--dataset=ItalyPowerDemand", "--method=memkd", "--compression=5", *_TINY]
    return ["distill", *options, f"--run-root={folder / 'runs'}", f"--name={NAME}", *(["--force"] if run.exists() else [])]


def _export(folder: Path) -> list[str]:
    again = ["--force"] if (folder / "runs" / NAME / "export").exists() else []
    return ["export", "--run", str(folder / "runs" / NAME), "--format=onnx", *again]


def _bench(folder: Path) -> list[str]:
    return ["bench", "--run", str(folder / "runs" / NAME), "--device=esp32s3"]


def _compare(folder: Path) -> list[str]:
    options = ["--datasets=ItalyPowerDemand", "--methods=base", "--compression=5", "--resample=none", *_TINY]
    return ["compare", *options, f"--out={folder / 'compare'}"]


def _classify(folder: Path) -> list[str]:
    out = folder / "out" / "decisions.csv"
    again = ["--force"] if out.exists() else []
    return [
        "classify",
        str(folder / "m.tflite"),
        *(str(folder / "recordings"), "--name-pattern={subject}_{recording}"),
        f"--out={out}",
        *again,
    ]


def _files(place: str, *, without: tuple[str, ...]) -> Callable[[Path], dict[str, object]]:
    def ends(folder: Path) -> dict[str, object]:
        found = sorted(path for path in (folder / place).rglob("*") if path.is_file() and path.name not in without)
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}

    return ends


def _rows(folder: Path) -> dict[str, object]:
    rows = scores(read_rows(folder / "compare" / "rows.csv"))
    return {f"row {number}": row for number, row in enumerate(rows)}
