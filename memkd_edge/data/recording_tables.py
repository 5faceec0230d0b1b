# SPDX-License-Identifier: Apache-2.0
"""Reads one table of recordings, CSV, Parquet or a pandas DataFrame, into arrays: a row is a time step.

CSV is read by pandas in pieces, so that ten million rows need hardly more than their float32 values. What pandas cannot say of a
bad file, its line and column, is looked for afterwards.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import DataConfig
from memkd_edge.data.labels import label_text
from memkd_edge.data.real_numbers import NOT_REAL
from memkd_edge.data.recording_columns import EXPECTED, Columns, find_columns
from memkd_edge.data.time_stamps import Clock
from memkd_edge.errors import MissingToolError, UsageError

PIECE = 500_000  # rows read at a time
TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".parquet")
_MISSING = ["", "NaN", "nan", "NAN", "NA", "N/A", "n/a", "null", "NULL", "None", "?"]  # of a number


@dataclass(frozen=True)
class Table:
    """A table's columns as arrays, n rows in the order of the file.

    x: float32 [n, C], NaN where a value is missing. stamps: float64 [n], or None without a column of time; clock: how they count
    where their type tells it, None of numbers; zoned: ISO 8601 with a time zone. label, subject, recording: for each row an index
    int32 [n] into the texts that follow it, "" for a missing label; None without such a column. place_of: where a row stands, for
    messages.
    """

    columns: Columns
    x: NDArray[np.float32]
    stamps: NDArray[np.float64] | None
    clock: Clock | None
    zoned: bool
    label: tuple[NDArray[np.int32], list[str]] | None
    subject: tuple[NDArray[np.int32], list[str]] | None
    recording: tuple[NDArray[np.int32], list[str]] | None
    place_of: Callable[[int], str]


def read_table(path: Path, options: DataConfig) -> Table:
    """Read a .csv (.tsv, .txt) or .parquet file.

    Raises:
        UsageError: it cannot be read, or its content cannot be used; the message names line and column.
        MissingToolError: a .parquet file, and pyarrow is not installed.
    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, options)
    return _read_csv(path, options)


def read_header(path: Path) -> list[str]:
    """Return the names of a table's columns, from its first line or its schema.

    Raises:
        UsageError: it cannot be read, or holds no table.
        MissingToolError: a .parquet file, and pyarrow is not installed.
    """
    if path.suffix.lower() == ".parquet":
        with _parquet(path) as file:
            return [str(name) for name in file.schema_arrow.names]
    return dialect_of(path).header


def from_frame(frame: Any, place: str, options: DataConfig) -> Table:
    """Take a pandas DataFrame; an index of times, or one with a name, is a column as others are.

    Raises:
        UsageError: no DataFrame of pandas, a column that should be a signal or time holds something else, or see `find_columns`.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        made_by = type(frame).__module__.partition(".")[0]
        raise UsageError(f"{place}: a pandas.DataFrame is expected, not the {type(frame).__name__} of {made_by}")
    is_time = str(frame.index.dtype).startswith(("datetime", "timedelta", "period"))
    if is_time or any(name is not None for name in frame.index.names):
        frame = frame.reset_index(names=[name or "time" for name in frame.index.names])
    columns = find_columns([str(name) for name in frame.columns], place, options)
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    collected = _Collected(columns, place)
    collected.add(frame)
    return collected.table(lambda row: f"{place}, row {row}")


@dataclass(frozen=True)
class Dialect:
    """How a text table is written."""

    header: list[str]
    separator: str
    decimal: str


@dataclass
class _Texts:
    """The distinct texts of a column that recurs in every row, and the index of each row's."""

    index: dict[str, int] = field(default_factory=dict)
    pieces: list[NDArray[np.int32]] = field(default_factory=list)

    def add(self, values: Any, clean: Callable[[Any], str]) -> None:
        codes, distinct = encode(values, clean)
        known = [self.index.setdefault(text, len(self.index)) for text in distinct]
        self.pieces.append(np.array(known, dtype=np.int32)[codes])

    def result(self) -> tuple[NDArray[np.int32], list[str]]:
        return np.concatenate(self.pieces), list(self.index)


class _Collected:
    """Pieces of a table, turned into arrays as they come."""

    def __init__(self, columns: Columns, place: str) -> None:
        self.columns, self.place = columns, place
        self.x: list[NDArray[np.float32]] = []
        self.stamps: list[NDArray[np.float64]] = []
        self.clock: Clock | None = None
        self.zoned = False
        self.label, self.subject, self.recording = _Texts(), _Texts(), _Texts()

    def add(self, frame: Any) -> None:
        columns = self.columns
        for name in columns.channels:
            if (kind := frame[name].dtype.kind) in NOT_REAL:
                raise UsageError(f"{self.place}, column {name!r}: a signal is numbers, and these are {NOT_REAL[kind]}")
        try:
            with np.errstate(over="ignore"):  # as in _read_csv
                self.x.append(frame[list(columns.channels)].to_numpy(dtype=np.float32, na_value=np.nan))
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"{self.place}: the channels {', '.join(columns.channels)} are not all numbers ({error})") from error
        if columns.time:
            self.stamps.append(self._stamps(frame[columns.time]))
        if columns.label:
            self.label.add(frame[columns.label], lambda value: label_text(value, self.place))
        if columns.subject:
            self.subject.add(frame[columns.subject], lambda value: label_text(value, self.place))
        if columns.recording:
            values = self._texts(frame[columns.recording[0]])
            for more in columns.recording[1:]:
                values = values + "_" + self._texts(frame[more])
            self.recording.add(values, lambda value: value if value.strip("_") else "")

    def _texts(self, values: Any) -> NDArray[np.object_]:
        codes, distinct = encode(values, lambda value: label_text(value, self.place))
        return np.array(distinct, dtype=np.object_)[codes]

    def _stamps(self, values: Any) -> NDArray[np.float64]:
        import pandas as pd

        try:
            values = values.infer_objects()
            if values.dtype.kind == "m":
                self.clock = Clock("s", "the start")
                return np.asarray(values / pd.Timedelta(seconds=1), dtype=np.float64)
            if pd.api.types.is_numeric_dtype(values) and values.dtype.kind != "c":
                return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
            moments = pd.to_datetime(values, format="ISO8601", utc=True)
        except (ValueError, TypeError, OverflowError) as error:
            reason = str(error).split(". You might")[0]
            raise UsageError(f"{self.place}, column {self.columns.time!r}: neither numbers nor ISO 8601 ({reason})") from error
        self.clock = Clock("s", "1970", text=True)
        self.zoned = not values.empty and pd.Timestamp(values.iloc[0]).tz is not None
        seconds = (moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
        return np.asarray(seconds, dtype=np.float64)

    def table(self, place_of: Callable[[int], str]) -> Table:
        if not sum(map(len, self.x)):
            raise UsageError(f"{self.place}: there are no rows below the header")
        x = _joined(self.x)
        stamps = _joined(self.stamps) if self.columns.time else None
        for found, where in ((np.isinf(x).any(axis=1), "an infinite value, or one too large for float32"),) + (
            ((~np.isfinite(stamps), f"no time in column {self.columns.time!r}"),) if stamps is not None else ()
        ):
            if found.any():
                raise UsageError(
                    f"{place_of(int(found.argmax()))}: {where} ({found.sum()} such rows); correct it or leave it out"
                )
        return Table(
            columns=self.columns,
            x=x,
            stamps=stamps,
            clock=self.clock,
            zoned=self.zoned,
            label=self.label.result() if self.columns.label else None,
            subject=self.subject.result() if self.columns.subject else None,
            recording=self.recording.result() if self.columns.recording else None,
            place_of=place_of,
        )


def encode(values: Any, clean: Callable[[Any], str]) -> tuple[NDArray[np.int64], list[str]]:
    """Return values of any type as indices int64 [n] into texts, as `clean` makes them of each distinct value."""
    import pandas as pd

    try:
        codes, distinct = pd.factorize(values, use_na_sentinel=False)
    except TypeError:  # lists and their like, which `clean` refuses
        codes, distinct = np.arange(len(values)), values
    return codes, [clean(value) for value in distinct]


def _joined(pieces: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the pieces as one array, and let them go one by one meanwhile."""
    if len(pieces) == 1:
        return pieces.pop()
    result = np.empty((sum(map(len, pieces)), *pieces[0].shape[1:]), dtype=pieces[0].dtype)
    begin = 0
    while pieces:
        piece = pieces.pop(0)
        result[begin : begin + len(piece)] = piece
        begin += len(piece)
    return result


def _read_csv(path: Path, options: DataConfig) -> Table:
    import pandas as pd

    dialect = dialect_of(path)
    columns = find_columns(dialect.header, f"{path}, line 1", options)
    types: dict[str, Any] = dict.fromkeys(dialect.header, str)
    types.update(dict.fromkeys(columns.channels, np.float32))
    line, first = next(rows_of(path, dialect), (2, dialect.header))
    if len(first) != len(dialect.header):  # pandas would leave out the last
        raise UsageError(
            f"{path}, line {line}: {len(first)} fields where the header has {len(dialect.header)}; correct or remove it"
        )
    is_number = bool(columns.time) and _is_number(first[dialect.header.index(columns.time)], dialect)
    if is_number:
        types[columns.time] = np.float64
    collected = _Collected(columns, str(path))
    numbers = [*columns.channels, *([columns.time] if is_number else [])]
    try:
        # A value beyond float32 becomes infinity, which is refused by `table`.
        with (
            np.errstate(over="ignore"),
            pd.read_csv(
                path,
                sep=dialect.separator,
                decimal=dialect.decimal,
                header=0,
                names=dialect.header,
                index_col=False,
                dtype=types,
                keep_default_na=False,
                na_values=dict.fromkeys(numbers, _MISSING),
                encoding="utf-8-sig",
                chunksize=PIECE,
            ) as pieces,
        ):
            for piece in pieces:
                collected.add(piece)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from error
    except (ValueError, UsageError) as error:  # pandas' ParserError is a ValueError
        _check_fields(path, dialect, numbers)
        if columns.time and not is_number:
            _check_moments(path, dialect, columns.time)
        raise error if isinstance(error, UsageError) else UsageError(f"{path}: {error}") from error
    rows = sum(map(len, collected.x))
    if _separators(path, dialect.separator) != (rows + 1) * (len(dialect.header) - 1):  # quoted ones are told there
        _check_fields(path, dialect, numbers)
    return collected.table(lambda row: f"{path}, line {_line(path, dialect, row)}")


def dialect_of(path: Path) -> Dialect:
    """Tell the separator, the decimal mark and the header of a text table from its first lines.

    Raises:
        UsageError: it cannot be read, is empty, or begins with no header of several columns.
    """
    lines: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            while len(lines) < 20 and (line := file.readline(1 << 20)):
                if line.strip():
                    lines.append(line)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from error
    if not lines:
        raise UsageError(f"{path}: the file is empty; {EXPECTED}")
    separator = next((mark for mark in (";", "\t") if mark in lines[0]), ",")
    header = [name.strip() for name in next(csv.reader(lines[:1], delimiter=separator))]
    if all(re.fullmatch(r"[+-]?[\d.,]*(e[+-]?\d+)?", name, re.IGNORECASE) for name in header):
        raise UsageError(f"{path}, line 1: numbers stand where the header should be; {EXPECTED}")
    if len(header) == 1:
        raise UsageError(f"{path}, line 1: a single column, {header[0]!r}; columns are separated by , or ; or tabs; {EXPECTED}")
    fields = [text for row in csv.reader(lines[1:], delimiter=separator) for text in row]
    decimal = "," if separator != "," and any(re.fullmatch(r"\s*[+-]?\d+,\d+(e[+-]?\d+)?\s*", text) for text in fields) else "."
    return Dialect(header, separator, decimal)


def rows_of(path: Path, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each row below the header, as pandas counts rows: blank lines are none."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=dialect.separator)
        rows = ((reader.line_num, row) for row in reader if row)
        next(rows)
        yield from rows


def _line(path: Path, dialect: Dialect, row: int) -> int:
    return next((line for number, (line, _) in enumerate(rows_of(path, dialect)) if number == row), 0)


def _separators(path: Path, separator: str) -> int:
    """Count a character in a file, without reading it whole."""
    with path.open("rb") as file:
        return sum(piece.count(separator.encode()) for piece in iter(lambda: file.read(1 << 24), b""))


def _is_number(text: str, dialect: Dialect) -> bool:
    try:
        float(text.replace(",", ".") if dialect.decimal == "," else text)
    except ValueError:
        return False
    return "_" not in text


def _check_fields(path: Path, dialect: Dialect, numbers: Sequence[str]) -> None:
    """Raise UsageError at the first row of too few or too many fields, or with a field that is no number where one should be."""
    at = {dialect.header.index(column): column for column in numbers}
    for line, row in rows_of(path, dialect):
        if len(row) != len(dialect.header):
            raise UsageError(
                f"{path}, line {line}: {len(row)} fields where the header has {len(dialect.header)}; correct or remove it"
            )
        for index, column in at.items():
            if row[index].strip() not in _MISSING and not _is_number(row[index], dialect):
                raise UsageError(
                    f"{path}, line {line}, column {column!r}: {row[index].strip()!r} is not a number; if the column is no "
                    "signal, name those that are with --channels"
                )


def _check_moments(path: Path, dialect: Dialect, column: str) -> None:
    """Raise UsageError at the first row whose time is no moment of ISO 8601."""
    import pandas as pd

    at = dialect.header.index(column)
    for line, row in rows_of(path, dialect):
        try:
            pd.to_datetime([row[at]], format="ISO8601", utc=True)
        except (ValueError, OverflowError):
            raise UsageError(
                f"{path}, line {line}, column {column!r}: {row[at]!r} is neither a number nor ISO 8601 (2026-03-01T08:00:00.000)"
            ) from None


def _parquet(path: Path) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingToolError(f"{path}: reading Parquet needs pyarrow: pip install 'memkd-edge[parquet]'") from error
    try:
        return ParquetFile(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    except ArrowException as error:
        raise UsageError(f"{path}: not a Parquet file ({error})") from error


def _read_parquet(path: Path, options: DataConfig) -> Table:
    with _parquet(path) as file:
        columns = find_columns([str(name) for name in file.schema_arrow.names], str(path), options)
        wanted = {*columns.channels, columns.time, columns.label, columns.subject, *columns.recording} - {""}
        collected = _Collected(columns, str(path))
        for piece in file.iter_batches(batch_size=PIECE, columns=sorted(wanted)):
            collected.add(piece.to_pandas(ignore_metadata=True))  # pandas would make an index of a column
    return collected.table(lambda row: f"{path}, row {row}")
