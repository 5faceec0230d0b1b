# SPDX-License-Identifier: Apache-2.0
"""From a folder, a file or arrays to recordings as they were made: whose, which rows, which labels; nothing is resampled here.

FOLDER/s01_03.csv        a file each; names tell subject and recording by --name-pattern '{subject}_{recording}.csv'
ALL.csv                  one file; columns `subject` and `recording` (or session, trial) tell the rows apart
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import DataConfig
from memkd_edge.data.columns import Role, role, split_unit
from memkd_edge.data.recording_columns import EXPECTED, NO_TIME
from memkd_edge.data.recording_tables import TABLE_ENDINGS, Table, read_header, read_table
from memkd_edge.data.recordings import NO_CLASS
from memkd_edge.data.time_stamps import Clock
from memkd_edge.errors import UsageError
from memkd_edge.options import first_of

Note = Callable[[str], None]

_FIELDS = ("subject", "recording", "session", "trial")  # that a pattern of names may hold


@dataclass(frozen=True)
class RawRecording:
    """A recording as its file holds it, n rows.

    file_name: what stands for it in a file of intervals besides its name. x: float32 [n, C], NaN where a value is missing.
    stamps: float64 [n] in the file's unit, or None; time_column: their column; clock: how they count where their type tells it,
    None of numbers; zoned: ISO 8601 with a time zone. label: int32 [n], index into the labels of its `RawRecordings`, NO_CLASS
    where there is none. place, place_of: for messages, where the recording and where one of its rows stand.
    """

    name: str
    subject: str
    file_name: str
    x: NDArray[np.float32]
    stamps: NDArray[np.float64] | None
    time_column: str
    clock: Clock | None
    zoned: bool
    label: NDArray[np.int32]
    place: str
    place_of: Callable[[int], str]


@dataclass
class RawRecordings:
    """All recordings of a source, of the same channels. labels: distinct texts, in the order in which they were met."""

    columns: tuple[str, ...] = ()
    labels: list[str] = field(default_factory=list)
    recordings: list[RawRecording] = field(default_factory=list)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names without units."""
        return tuple(split_unit(column)[0] for column in self.columns)

    @property
    def units(self) -> tuple[str, ...]:
        """Units, "" where a column names none."""
        return tuple(split_unit(column)[1] for column in self.columns)

    def label_index(self, text: str) -> int:
        """Return the index of a label, which is added if it is new; NO_CLASS for ""."""
        if not text:
            return NO_CLASS
        if text not in self.labels:
            self.labels.append(text)
        return self.labels.index(text)


@dataclass(frozen=True)
class Origin:
    """What is known of a table besides its rows. place: for messages. name: "" where the table holds all recordings."""

    place: str
    file_name: str = ""
    name: str = ""
    subject: str = ""


def holds_recordings(path: Path) -> bool:
    """Whether a path is for `load_recordings`: a folder of tables, a .parquet file, or a text table without a `series` column.

    Raises:
        UsageError: a text table that cannot be read.
        MissingToolError: a .parquet file, and pyarrow is not installed.
    """
    if os.path.isdir(path):
        return any(_is_table(file) for file in path.rglob("*"))
    if path.suffix.lower() not in TABLE_ENDINGS:
        return False
    return not any(column.strip() and role(column) is Role.SERIES for column in read_header(path))


def read_recordings(path: Path, options: DataConfig, note: Note, labelled: bool = True, needed: bool = True) -> RawRecordings:
    """Read a folder or a file.

    Args:
        note: is told what was taken for what.
        labelled: whether labels are read; without, they are not looked at.
        needed: whether a file without a column of labels, where they are read, is refused; else its rows have none.

    Raises:
        UsageError: nothing there, a file that is no recording, files of different channels; the message names the file.
        MissingToolError: a .parquet file, and pyarrow is not installed.
    """
    raw = RawRecordings()
    first = ""
    for file, parts in _files(path, options, note):
        table = read_table(file, options)
        if labelled and needed and not options.intervals and table.label is None:
            raise UsageError(
                f"{file}: no column of labels among {', '.join(read_header(file))}; name it with --label, give --intervals, or, "
                f"if the file is no recording, say which are with --name-pattern; {EXPECTED}"
            )
        if table.stamps is None and not options.rate:
            unused = "" if options.time == NO_TIME else "name the column of time with --time, or "
            raise UsageError(f"{file}: no time stamps; {unused}give --rate HZ if the rows are evenly spaced")
        if not raw.columns:
            raw.columns, first = table.columns.channels, str(file)
            note(f"columns: {table.columns}")
        x = _reordered(table, raw.columns, str(file), first)
        taken = Origin(
            str(file), file.name, "" if path.is_file() else "_".join(parts.values()) or file.stem, parts.get("subject", "")
        )
        raw.recordings += recordings_of_table(table, x, taken, raw, labelled and not options.intervals)
    places: dict[str, str] = {}
    for recording in raw.recordings:
        if recording.name in places:
            raise UsageError(
                f"{recording.place}: the name {recording.name!r} is that of {places[recording.name]} too; let --name-pattern "
                "tell them apart"
            )
        places[recording.name] = recording.place
    return raw


def _is_table(file: Path) -> bool:
    """Whether a file may hold recordings; those of the UCR/UEA archive, NAME_TRAIN and NAME_TEST, never do."""
    if file.name.startswith(".") or file.stem.endswith(("_TRAIN", "_TEST")):
        return False
    return file.is_file() and file.suffix.lower() in TABLE_ENDINGS


def _files(path: Path, options: DataConfig, note: Note) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the files with what their names tell, in the order of the numbers in their names; others are named in a note."""
    if os.path.isfile(path):
        yield path, {}
        return
    if not os.path.isdir(path):
        raise UsageError(f"no file or folder at {path.absolute()}")
    pattern = _pattern(options.name_pattern) if options.name_pattern else None
    there = path.rglob("*") if "/" in options.name_pattern else path.iterdir()
    files = sorted((file for file in there if not file.name.startswith(".")), key=lambda file: _by_numbers(file, path))
    left_out, taken = [], 0
    for file in files:
        name = file.relative_to(path).as_posix()
        match = pattern.fullmatch(name) if pattern else None
        if _is_table(file) and (match or pattern is None):
            taken += 1
            yield file, match.groupdict() if match else {}
        elif file.is_file() or "/" not in options.name_pattern:
            left_out.append(name)
    if not taken:
        raise UsageError(
            f"{path}: none of {len(files)} files {'matches --name-pattern ' + options.name_pattern if pattern else 'is a table'} "
            f"({', '.join(left_out[:3])}, ...); {', '.join(TABLE_ENDINGS)} are read, those of subfolders with --name-pattern "
            "'{subject}/{recording}.csv'"
        )
    if left_out:
        reason = "not named as --name-pattern says" if pattern else f"not {', '.join(TABLE_ENDINGS)}"
        note(f"left out, as {reason}: {first_of(left_out)}")


def _by_numbers(file: Path, folder: Path) -> list[tuple[int, str]]:
    pieces = re.split(r"(\d+)", file.relative_to(folder).as_posix())
    return [(int(piece), "") if piece.isdigit() else (0, piece) for piece in pieces]


def _pattern(text: str) -> re.Pattern[str]:
    """Return the expression for names such as '{subject}_{session}_sw.csv', where * stands for any characters."""
    names = re.findall(r"\{(.*?)\}", text)
    unknown = [name for name in names if name not in _FIELDS]
    if unknown or len(set(names)) != len(names):
        raise UsageError(f"--name-pattern {text!r}: {{{'}, {'.join(_FIELDS)}}} can stand in it, each once; * is any text")
    pieces = re.split(r"(\{.*?\}|\*)", text)
    made = [
        "[^/]*" if piece == "*" else f"(?P<{piece[1:-1]}>[^/]+?)" if piece.startswith("{") else re.escape(piece)
        for piece in pieces
        if piece
    ]
    return re.compile("".join(made))


def _reordered(table: Table, columns: tuple[str, ...], place: str, first: str) -> NDArray[np.float32]:
    """Return the table's signals in the order of the first file's columns."""
    own = table.columns.channels
    if set(own) != set(columns):
        extra, lacking = (sorted(set(a) - set(b)) for a, b in ((own, columns), (columns, own)))
        told = [f"{word} {', '.join(names)}" for word, names in (("has", extra), ("lacks", lacking)) if names]
        raise UsageError(
            f"{place}: other channels than in {first}: it {' and '.join(told)}; give all recordings the same channels, choose "
            "those that all have with --channels, or, if the file is no recording, say which are with --name-pattern"
        )
    return table.x if own == columns else np.ascontiguousarray(table.x[:, [own.index(column) for column in columns]])


def recordings_of_table(
    table: Table, x: NDArray[np.float32], origin: Origin, raw: RawRecordings, labelled: bool
) -> Iterator[RawRecording]:
    """Yield the recordings of a table: rows of one subject and one recording, wherever they stand, in their order.

    Args:
        x: float32 [n, C], the table's signals in the order of `raw.columns`.
        raw: gets new labels, where `labelled`.

    Raises:
        UsageError: a row without subject or recording where others have one; the message names the row.
    """
    nobody: tuple[NDArray[np.int32], list[str]] = (np.zeros(len(x), dtype=np.int32), [""])
    (whose, subjects), (which, titles) = table.subject or nobody, table.recording or nobody
    for codes, texts, column in ((whose, subjects, "subject"), (which, titles, "recording")):
        if "" in texts and texts != [""]:
            raise UsageError(f"{table.place_of(int((codes == texts.index('')).argmax()))}: the {column} is missing")
    label = np.full(len(x), NO_CLASS, dtype=np.int32)
    if labelled and table.label is not None:
        label = np.array([raw.label_index(text) for text in table.label[1]], dtype=np.int32)[table.label[0]]
    group = whose.astype(np.int64) * len(titles) + which
    bounds = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(group)]
    runs: dict[int, list[slice]] = {}
    for begin, end in pairwise(bounds):
        runs.setdefault(int(group[begin]), []).append(slice(begin, end))
    recur = len({key % len(titles) for key in runs}) < len(runs)  # one title, as `1`, of several subjects
    for key, own in runs.items():
        subject, title = subjects[key // len(titles)], titles[key % len(titles)]
        alone = bool(origin.name) and len(runs) == 1
        name = "_".join(filter(None, [origin.name, "" if alone or not recur else subject, "" if alone else title]))
        name = name or subject or Path(origin.file_name).stem or "recording"
        rows = own[0] if len(own) == 1 else np.concatenate([np.arange(part.start, part.stop) for part in own])
        yield RawRecording(
            name=name,
            subject=subject or origin.subject,
            file_name=origin.file_name if len(runs) == 1 else name,
            x=x[rows],
            stamps=None if table.stamps is None else table.stamps[rows],
            time_column=table.columns.time,
            clock=table.clock,
            zoned=table.zoned,
            label=label[rows],
            place=origin.place if len(runs) == 1 else f"{origin.place}, recording {name!r}",
            place_of=places_from(table.place_of, rows.start) if isinstance(rows, slice) else places_at(table.place_of, rows),
        )


def places_from(place_of: Callable[[int], str], start: int) -> Callable[[int], str]:
    """Return where the rows from `start` on stand."""
    return lambda row: place_of(start + row)


def places_at(place_of: Callable[[int], str], rows: NDArray[np.int64]) -> Callable[[int], str]:
    """Return where the rows of those numbers stand."""
    return lambda row: place_of(int(rows[row]))
