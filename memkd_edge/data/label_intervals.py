# SPDX-License-Identifier: Apache-2.0
"""Labels that stand in a file of their own, as intervals of time: recording,start,end,label."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memkd_edge.data.labels import class_name
from memkd_edge.data.recording_files import RawRecording, RawRecordings
from memkd_edge.data.recording_tables import dialect_of, rows_of
from memkd_edge.data.recordings import NO_CLASS
from memkd_edge.data.time_stamps import UNITS, Clock
from memkd_edge.errors import UsageError

HEADER = ("recording", "start", "end", "label")


@dataclass(frozen=True)
class Interval:
    """A label from `start` up to, and without, `end`: numbers as they stand there; where `text` (ISO 8601) seconds since 1970.

    zoned: the text tells a time zone.
    """

    start: float
    end: float
    label: str
    text: bool
    zoned: bool
    place: str


def read_intervals(path: Path, raw: RawRecordings) -> dict[str, list[Interval]]:
    """Return the intervals of each recording by its name.

    Raises:
        UsageError: a column or a field is missing, a recording that is not there, an interval that ends before it starts; the
            message names file and line.
    """
    dialect = dialect_of(path)
    header = [column.lower() for column in dialect.header]
    if lacking := [name for name in HEADER if name not in header]:
        raise UsageError(f"{path}, line 1: no column {lacking[0]!r}; a file of intervals begins with {','.join(HEADER)}")
    at = [header.index(name) for name in HEADER]
    names: dict[str, set[str]] = {}  # files of several folders may be named alike
    for recording in raw.recordings:
        for title in (recording.file_name, Path(recording.file_name).stem):
            names.setdefault(title, set()).add(recording.name)
    names |= {recording.name: {recording.name} for recording in raw.recordings}
    found: dict[str, list[Interval]] = {}
    for line, row in rows_of(path, dialect):
        place = f"{path}, line {line}"
        if len(row) != len(header):
            raise UsageError(f"{place}: {len(row)} fields where the header has {len(header)}")
        title, *ends, label = (row[index].strip() for index in at)
        if title not in names:
            raise UsageError(f"{place}: there is no recording {title!r}; there are {', '.join(sorted(names)[:5])}, ...")
        name, *others = sorted(names[title])
        if others:
            raise UsageError(f"{place}: {title!r} may be {name!r} or {others[0]!r}; name the recording so")
        moments = [_moment(end.replace(",", ".") if dialect.decimal == "," else end, place) for end in ends]
        (start, is_text, zoned), (end, *end_form) = moments
        if [is_text, zoned] != end_form or not start < end:
            raise UsageError(
                f"{place}: the interval from {ends[0]} to {ends[1]} does not end after it starts; mend it, or leave the row out"
            )
        found.setdefault(name, []).append(Interval(start, end, class_name(label, place), is_text, zoned, place))
    return found


def label_rows(
    recording: RawRecording, intervals: list[Interval], seconds: NDArray[np.float64], clock: Clock | None, raw: RawRecordings
) -> NDArray[np.int32]:
    """Return the label of each row, NO_CLASS outside all intervals, int32 [n].

    Args:
        seconds: float64 [n], the rows' time since 1970 or as the file counts, in seconds. clock: how the file counts; None
            without time stamps, then `seconds` begin at 0.

    Numbers are those of the recording's own time stamps, or seconds from its start where they are too small to be such stamps.

    Raises:
        UsageError: an interval lies outside the recording, is a date where the rows count otherwise or in another zone for all
            one knows, or two of different labels overlap; the message names its line.
    """
    label = np.full(len(seconds), NO_CLASS, dtype=np.int32)
    taken = np.full(len(seconds), -1, dtype=np.int32)
    duration = float(seconds[-1] - seconds[0])
    latest = max((one.end for one in intervals if not one.text), default=0.0)
    from_start = clock is None or ((clock.since == "1970" or clock.unit != "s") and latest <= 1.01 * duration + 1)
    for number, one in enumerate(intervals):
        if one.text and (clock is None or clock.since != "1970"):
            raise UsageError(f"{one.place}: a date, where the rows of {recording.name!r} count from the start; give seconds")
        if one.text and clock is not None and one.zoned != (recording.zoned or not clock.text):
            raise UsageError(
                f"{one.place}: a date {'with' if one.zoned else 'without'} a time zone, where the rows of {recording.name!r} "
                f"{'tell none' if one.zoned else 'tell theirs' if recording.zoned else 'count from 1970, in UTC'}; write it on "
                "both sides, as in 2026-03-01T08:00:00+01:00, or on neither"
            )
        scale, origin = (1.0, 0.0) if one.text else (1.0, seconds[0]) if from_start or clock is None else (UNITS[clock.unit], 0.0)
        begin, end = np.searchsorted(seconds, [one.start * scale + origin - 1e-9, one.end * scale + origin - 1e-9])
        if begin == end:
            raise UsageError(
                f"{one.place}: no row of recording {recording.name!r} lies in the interval; times are those of its column "
                f"{recording.time_column!r}, or seconds from its start"
            )
        index = raw.label_index(one.label)
        other = taken[begin:end][(taken[begin:end] >= 0) & (label[begin:end] != index)]
        if other.size:
            raise UsageError(
                f"{one.place}: overlaps the interval of {intervals[int(other[0])].place} with another label; a sample has one: "
                "let one interval end where the other begins"
            )
        label[begin:end], taken[begin:end] = index, number
    return label


def _moment(text: str, place: str) -> tuple[float, bool, bool]:
    """Return a number, or the seconds since 1970 of an ISO 8601 text; whether it is one, and whether with a time zone."""
    import pandas as pd

    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.IGNORECASE):
        return float(text), False, False
    try:
        moment = pd.to_datetime([text], format="ISO8601")[0]
    except (ValueError, OverflowError):
        raise UsageError(f"{place}: {text!r} is neither a number nor ISO 8601") from None
    zoned = moment.tz is not None
    return float((moment - pd.Timestamp(0, tz="UTC" if zoned else None)) / pd.Timedelta(seconds=1)), True, zoned
