# SPDX-License-Identifier: Apache-2.0
"""The tidy table of a comparison, rows.csv: one line a student."""

import csv
import io
import math
import typing
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from memkd_edge.errors import MemkdEdgeError
from memkd_edge.runs import write_atomic


@dataclass(frozen=True)
class StudentResult:
    """One student: a data set, a size and kind, a method at its best weight, and a seed.

    Validation figures are of held-out training series, test figures of all test series; AUC-PRC, accuracy and agreement lie in
    [0, 1]. int8_test_auc_prc to instructions are those of a kept student's generated int8 C, None where not measured: int8
    ones by the bit-exact integer reference on all test series; flash, RAM and instructions per sample, emulated-exact, on
    a Cortex-M4. seconds: that the run with all its students took on `host`, the same in all rows of a run.
    """

    dataset: str
    student: str  # lstm | gru | cnn
    compression: float  # as asked for
    hidden_size: int
    parameters: int
    teacher_parameters: int
    method: str
    weight: float
    seed: int
    stop_epoch: int
    kept: bool  # the student that the run kept
    validation_auc_prc: float
    test_auc_prc: float
    test_accuracy: float
    agreement_with_teacher: float
    teacher_validation_auc_prc: float
    teacher_test_auc_prc: float
    teacher_test_accuracy: float
    majority_test_auc_prc: float | None  # of always saying the most frequent class; None in rows of older versions
    majority_test_accuracy: float | None
    train_series: int
    length: int  # time steps, after resampling
    classes: int
    int8_test_auc_prc: float | None
    int8_test_accuracy: float | None
    flash_bytes: int | None
    ram_bytes: int | None
    instructions: float | None
    seconds: float
    host: str
    version: str


COLUMNS = tuple(field.name for field in fields(StudentResult))
_TYPES = typing.get_type_hints(StudentResult)
_BOOLEANS = {"true": True, "false": False}


def write_rows(path: Path, rows: Iterable[StudentResult]) -> Path:
    """Write the table atomically and return its path; numbers are written so that they read back the same."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(_cell, astuple(row)) for row in rows)
    return write_atomic(path, text.getvalue().encode())


def read_rows(path: Path) -> list[StudentResult]:
    """Return the rows in the file's order; none when there is no file yet.

    A column that older versions did not write, and that may be empty, is None throughout.

    Raises:
        MemkdEdgeError: the file is damaged; the message names the line.
    """
    if not path.is_file():
        return []
    rows: list[StudentResult] = []
    reader = csv.reader(io.StringIO(path.read_bytes().decode(errors="replace")), strict=True)
    try:
        columns = next(reader, [])
        missing = [name for name in COLUMNS if name not in columns and not _may_be_empty(name)]
        if missing or len(set(columns)) < len(columns) or not set(columns) <= set(COLUMNS):
            raise ValueError(f"the columns are not {', '.join(COLUMNS)}")
        for cells in reader:
            if len(cells) != len(columns):
                raise ValueError(f"{len(cells)} cells where there are {len(columns)} columns")
            found = dict(zip(columns, cells, strict=True))
            rows.append(StudentResult(**{name: _value(name, found.get(name, "")) for name in COLUMNS}))
    except (ValueError, csv.Error) as error:
        raise MemkdEdgeError(
            f"{path}, line {max(reader.line_num, 1)}: {error}; delete the file and compare again: it is made anew from the "
            "finished runs beside it"
        ) from error
    return rows


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _may_be_empty(name: str) -> bool:
    return type(None) in typing.get_args(_TYPES[name])


def _value(name: str, cell: str) -> Any:
    """Return the cell of column `name` as that column's type."""
    if not cell and _may_be_empty(name):
        return None
    kind = next(iter(typing.get_args(_TYPES[name])), _TYPES[name])
    try:
        value = _BOOLEANS[cell] if kind is bool else kind(cell)
    except (KeyError, ValueError):
        raise ValueError(f"{name} is {cell!r}, not of type {kind.__name__}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {cell}, not a finite number")
    return value
