# SPDX-License-Identifier: Apache-2.0
"""Reader of the user's own recordings as one CSV file.

One row per time step, in order of time; a header line names the columns:

    series,label,subject,part,acc_x [m/s2],acc_y [m/s2]
    walk-01,walking,anna,train,0.12,9.71

`series` names the window that the row belongs to and `label` its class. Optional: `subject` (or another column given as `groups`)
and `part` (`train` or `test`; without it a test part is split off). Every other column is a channel, its unit in brackets.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.data.dataset import Description, RawPart
from memkd_edge.data.text_formats import parse_numbers, read_text
from memkd_edge.errors import UsageError

SERIES, LABEL, SUBJECT, PART = "series", "label", "subject", "part"


@dataclass
class _Window:
    place: str
    constants: dict[str, str]
    rows: list[NDArray[np.float64]] = field(default_factory=list)


def read_csv(path: Path, groups: str = "") -> tuple[RawPart, RawPart | None, Description]:
    """Read the file.

    Raises:
        UsageError: a column is missing, a row has too few or too many fields, a field is no number, or a label, subject or
            part changes within a series; the message names line and column.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    header = [name.strip() for name in next(_rows(reader, path), [])]
    if not header:
        raise UsageError(f"{path}: the file is empty; a header line is expected")
    subject = groups or SUBJECT
    for name in (SERIES, LABEL, *([groups] if groups else [])):
        if name not in header:
            raise UsageError(f"{path}, line 1: no column {name!r} among {', '.join(header)} (commas separate columns)")
    if len(set(header)) != len(header):
        raise UsageError(f"{path}, line 1: a column name is given twice among {', '.join(header)}")
    if "" in header:
        raise UsageError(f"{path}, line 1: column {header.index('') + 1} has no name")
    constants = [name for name in dict.fromkeys((SERIES, LABEL, PART, SUBJECT, subject)) if name in header]
    channels = [name for name in header if name not in constants]
    if not channels:
        raise UsageError(f"{path}, line 1: no channel columns besides {', '.join(header)}")

    windows: dict[str, _Window] = {}
    constant_columns = [header.index(name) for name in constants]
    channel_columns = [header.index(name) for name in channels]
    for fields in _rows(reader, path):
        place = f"{path}, line {reader.line_num}"
        if len(fields) != len(header):
            raise UsageError(f"{place}: {len(fields)} fields where the header has {len(header)}")
        about = dict(zip(constants, [fields[column].strip() for column in constant_columns], strict=True))
        window = windows.setdefault(about[SERIES], _Window(f"{place} (series {about[SERIES]!r})", about))
        for name, value in about.items():
            if not value:
                raise UsageError(f"{place}, column {name!r}: the field is empty")
            if value != window.constants[name]:
                raise UsageError(
                    f"{place}, column {name!r}: {value!r} where series {about[SERIES]!r} began with {window.constants[name]!r}"
                )
        window.rows.append(parse_numbers([fields[column] for column in channel_columns], place, channels))

    described = Description(
        channels=tuple(re.sub(r"\s*\[.*\]$", "", name) for name in channels),
        units=tuple(match[1] if (match := re.search(r"\[(.*)\]$", name)) else "" for name in channels),
        source=str(path),
    )
    has_subjects = subject in constants
    if PART not in constants:
        return _part(list(windows.values()), subject if has_subjects else ""), None, described
    parts: dict[str, list[_Window]] = {"train": [], "test": []}
    for window in windows.values():
        name = window.constants[PART]
        if name not in parts:
            raise UsageError(f"{window.place}, column {PART!r}: {name!r} is neither 'train' nor 'test'")
        parts[name].append(window)
    train, test = (_part(parts[name], subject if has_subjects else "") for name in ("train", "test"))
    return train, test, described


def _rows(reader: Any, path: Path) -> Iterator[list[str]]:
    """Yield the rows that are not blank."""
    try:
        yield from filter(None, reader)
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from error


def _part(windows: list[_Window], subject: str) -> RawPart:
    return RawPart(
        series=[np.array(window.rows) for window in windows],
        labels=[window.constants[LABEL] for window in windows],
        places=[window.place for window in windows],
        subjects=[window.constants[subject] for window in windows] if subject else None,
    )
