# SPDX-License-Identifier: Apache-2.0
"""Reader of the user's own windows as one table, a CSV or a Parquet file.

One row per time step, in order of time; a header line names the columns:

    series,label,subject,part,acc_x [m/s2],acc_y [m/s2]
    walk-01,walking,anna,train,0.12,9.71

`series` names the window that the row belongs to and `label` its class. Optional: `subject` (or another column given as
`groups`), `part` (`train` or `test`; without it a test part is split off) and `time`. Every other column is a channel, its unit
in brackets; see columns.py for the names that are understood, and those that are refused. An empty field is a missing value.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memkd_edge.data.columns import Role, roles, split_unit
from memkd_edge.data.dataset import Description, RawPart
from memkd_edge.data.labels import class_name, label_text, subject_name
from memkd_edge.data.tables import Table, read_table
from memkd_edge.data.text_formats import parse_numbers
from memkd_edge.data.times import parse_time, sample_rate, seconds_per_unit
from memkd_edge.errors import UsageError

_ABOUT = (Role.SERIES, Role.LABEL, Role.SUBJECT, Role.PART)  # the same in all rows of a series
_ORDER = (Role.TIME, Role.INDEX)  # rising within a series


@dataclass
class _Window:
    place: str
    about: dict[Role, str]
    clock: list[str]  # times and indices of the first row, as they are written
    rows: list[NDArray[np.float64]] = field(default_factory=list)
    order: list[list[float]] = field(default_factory=list)  # times and indices of each row, as numbers


@dataclass(frozen=True)
class _Layout:
    """Numbers of the columns of each kind, and all columns' names and roles."""

    about: dict[Role, int]
    order: list[int]
    channels: list[int]
    roles: dict[str, Role]
    names: list[str]


def read_windows(path: Path, groups: str = "") -> tuple[RawPart, RawPart | None, Description]:
    """Read the file.

    Raises:
        UsageError: a column is missing or not understood, a row has too few or too many fields, a field is no number, a label,
            subject or part is missing or changes within a series, or times fall; the message names line and column.
        MissingToolError: a Parquet file, and pyarrow is not installed.
    """
    table = read_table(path)
    layout = _layout(table, groups)
    windows, notes = _read_rows(table, layout, path.name)
    rate, times = _about_order(windows, layout, path.name)
    unused = [
        f"{path.name}: column {column!r} is not used; --groups {column} keeps the series of one {column} together in a split"
        for column, its in layout.roles.items()
        if its in (Role.RECORDING, Role.UNUSED)
    ]
    channels = [split_unit(layout.names[number]) for number in layout.channels]
    described = Description(
        channels=tuple(name for name, _ in channels),
        units=tuple(unit for _, unit in channels),
        sample_rate_hz=rate,
        source=str(path),
        notes=(*times, *unused, *notes),
    )
    if Role.PART not in layout.about:
        return _part(windows), None, described
    parts: dict[str, list[_Window]] = {"train": [], "test": []}
    for window in windows:
        name = window.about[Role.PART]
        if name.lower() not in parts:
            column = layout.names[layout.about[Role.PART]]
            raise UsageError(f"{window.place}, column {column!r}: {name!r} is neither 'train' nor 'test'")
        parts[name.lower()].append(window)
    return _part(parts["train"]), _part(parts["test"]), described


def _layout(table: Table, groups: str) -> _Layout:
    found = roles(table.header, table.place, groups)
    layout = _Layout(
        about={its: table.header.index(name) for name, its in found.items() if its in _ABOUT},
        order=[number for number, name in enumerate(table.header) if found[name] in _ORDER],
        channels=[number for number, name in enumerate(table.header) if found[name] is Role.CHANNEL],
        roles=found,
        names=table.header,
    )
    for its in (Role.SERIES, Role.LABEL):
        if its not in layout.about:
            raise UsageError(f"{table.place}: no column '{its}' among {', '.join(table.header)} (commas separate columns)")
    if not layout.channels:
        raise UsageError(f"{table.place}: no channel columns besides {', '.join(table.header)}")
    return layout


def _read_rows(table: Table, layout: _Layout, file: str) -> tuple[list[_Window], list[str]]:
    """Return the windows in the order in which they begin, and a note if rows of one stand apart."""
    windows: dict[str, _Window] = {}
    channels = [layout.names[number] for number in layout.channels]
    current = apart = ""  # the series of the row before; the first series that goes on after another has begun
    for place, fields in table.rows:
        about = {
            its: _about(its, fields[column], f"{place}, column {layout.names[column]!r}") for its, column in layout.about.items()
        }
        name = about[Role.SERIES]
        if name != current and name in windows:
            apart = apart or name
        current = name
        if name not in windows:
            windows[name] = _Window(f"{place} (series {name!r})", about, [fields[number] for number in layout.order])
        window = windows[name]
        for its, value in about.items():
            if value != window.about[its]:
                column = layout.names[layout.about[its]]
                raise UsageError(f"{place}, column {column!r}: {value!r} where series {name!r} began with {window.about[its]!r}")
        order = [parse_time(fields[number], f"{place}, column {layout.names[number]!r}") for number in layout.order]
        for number, moment, before in zip(layout.order, order, window.order[-1] if window.order else order, strict=True):
            if moment < before:
                raise UsageError(
                    f"{place}, column {layout.names[number]!r}: {moment:.15g} after {before:.15g}; the rows of series {name!r} "
                    "are not in order of time, sort them"
                )
        window.order.append(order)
        window.rows.append(parse_numbers([fields[number] for number in layout.channels], place, channels))
    if not apart or layout.order:
        return list(windows.values()), []
    return list(windows.values()), [
        f"{file}: the rows of series {apart!r} do not stand together; they are taken in the order of the file, which a column "
        "`time` would check"
    ]


def _about_order(windows: list[_Window], layout: _Layout, file: str) -> tuple[float | None, list[str]]:
    """Return the sample rate in Hz, None where nothing tells it, and a note on each column of times or indices."""
    rate, notes = None, []
    for position, number in enumerate(layout.order):
        column = layout.names[number]
        note = f"{file}: column {column!r} is taken as the {layout.roles[column]} of the rows, not as a channel"
        if layout.roles[column] is Role.TIME and windows:
            unit = seconds_per_unit(column, windows[0].clock[position])
            found = sample_rate([np.array(window.order)[:, position] * unit for window in windows]) if unit else None
            note += f"; sampled at {found:g} Hz" if found else ""
            note += "" if unit else "; with its unit in brackets, such as [s], it would give the sample rate"
            rate = rate or found
        notes.append(note)
    return rate, notes


def _about(role: Role, value: str, place: str) -> str:
    if role is Role.LABEL:
        return class_name(value, place)
    if role is Role.SUBJECT:
        return subject_name(value, place)
    if text := label_text(value, place):
        return text
    raise UsageError(f"{place}: the field is empty")


def _part(windows: list[_Window]) -> RawPart:
    subjects = [window.about[Role.SUBJECT] for window in windows if Role.SUBJECT in window.about]
    return RawPart(
        series=[np.array(window.rows) for window in windows],
        labels=[window.about[Role.LABEL] for window in windows],
        places=[window.place for window in windows],
        subjects=subjects or None,
    )
