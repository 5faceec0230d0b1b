# SPDX-License-Identifier: Apache-2.0
"""Prints results on stdout as tables that read the same on a terminal and in a log."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from memkd_edge.ready_models import ReadyModel
from memkd_edge.runs import Run


def console() -> Console:
    """Return a console on stdout; off a terminal it never wraps a table to 80 columns."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=160, soft_wrap=True)


def table(title: str, *columns: str) -> Table:
    """Return an empty table: the first column left-aligned, all others right-aligned."""
    result = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index == 0 else "right")
    return result


def print_models(models: list[ReadyModel]) -> None:
    """Print the ready-made students, one a row."""
    rows = table(
        "Ready-made students",
        "model",
        "data set",
        "channels x classes",
        "compression",
        "accuracy, int8",
        "AUC-PRC, int8",
        ".tflite",
        "C flash",
        "instructions",
    )
    rows.columns[0].no_wrap = True  # the names are what is to be typed
    for model in models:
        rows.add_row(
            model.name,
            model.dataset,
            f"{model.channels} x {model.classes}",
            f"{model.compression:.0f}x",
            f"{model.accuracy:.3f}, {model.accuracy_int8:.3f}",
            f"{model.auc_prc:.3f}, {model.auc_prc_int8:.3f}",
            f"{model.bytes['int8.tflite']:,} B",
            f"={model.flash_bytes:,.0f} B",
            f"={model.instructions:,.0f}",
        )
    out = console()
    out.print(rows)
    out.print(
        "Accuracy and AUC-PRC: measured on the test series, in float and in int8. =: emulated, exact on a Cortex-M4; int8 C, "
        "instructions of one sample.\nmemkd-edge export --run model:NAME; verify, inspect and bench take model:NAME as well.",
        highlight=False,
    )


def print_distillation(run: Run, metrics: dict[str, Any]) -> None:
    """Print teacher against student, then every method with its validation and test figures."""
    teacher, student = metrics["teacher"], metrics["student"]
    pair = table(f"Teacher and student, {run.metadata.dataset}", "", "parameters", "compression", "test accuracy", "test AUC-PRC")
    for name, model in (("teacher", teacher), ("student", student)):
        compression = f"{model['compression']:.0f}x" if "compression" in model else "1x"
        scores = model["test"]
        pair.add_row(name, f"{model['parameters']:,}", compression, f"{scores['accuracy']:.3f}", f"{scores['auc_prc']:.3f}")
    every = table(
        "All methods (mean ± std over seeds)",
        "method",
        "weight",
        "seeds",
        "validation AUC-PRC",
        "test AUC-PRC",
        "test accuracy",
        "",
    )
    for row in metrics["methods"]:
        every.add_row(
            row["method"],
            f"{row['weight']:g}",
            str(row["seeds"]),
            *(_spread(row, key) for key in ("validation_auc_prc", "test_auc_prc", "test_accuracy")),
            "kept" if row["kept"] else "",
        )
    out = console()
    out.print(pair)
    out.print(every)
    out.print(f"Kept: {metrics['kept_because']}")
    if metrics["warning"]:
        out.print(f"Note: {metrics['warning']}")
    out.print(f"Run: {run.path}", highlight=False)


def _spread(row: dict[str, Any], key: str) -> str:
    return f"{row[key + '_mean']:.3f} ± {row[key + '_std']:.3f}" if f"{key}_mean" in row else ""
