# SPDX-License-Identifier: Apache-2.0
"""Tables, one row per time step, from CSV or Parquet files: a header, and rows of text with the place where each stands."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memkd_edge.data.text_formats import read_text
from memkd_edge.errors import MissingToolError, UsageError

ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True)
class Table:
    """header: names of the columns, without blanks around them. place: where it stands. rows: place and fields of each row that
    is not blank, read as they are asked for; as many fields as the header has, a missing value is an empty one.
    """

    header: list[str]
    place: str
    rows: Iterator[tuple[str, list[str]]]


def read_table(path: Path) -> Table:
    """Open the file; `rows` raise UsageError for damage further down.

    Raises:
        UsageError: it is missing, no text (CSV), or no Parquet file.
        MissingToolError: a Parquet file, and pyarrow is not installed.
    """
    return _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)


def _read_csv(path: Path) -> Table:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    lines = _csv_lines(reader, path)
    header = [name.strip() for name in next(lines, [])]
    return Table(header, f"{path}, line 1", _csv_rows(lines, reader, path, len(header)))


def _csv_lines(reader: Any, path: Path) -> Iterator[list[str]]:
    """Yield the lines that are not blank."""
    try:
        yield from filter(None, reader)
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from error


def _csv_rows(lines: Iterator[list[str]], reader: Any, path: Path, count: int) -> Iterator[tuple[str, list[str]]]:
    for fields in lines:
        place = f"{path}, line {reader.line_num}"
        if len(fields) != count:
            raise UsageError(f"{place}: {len(fields)} fields where the header has {count}")
        yield place, fields


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingToolError(f"{path}: reading Parquet needs pyarrow; pip install 'memkd-edge[parquet]'") from error
    try:
        table = pyarrow.parquet.read_table(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except pyarrow.ArrowException as error:
        raise UsageError(f"{path}: not a readable Parquet file ({error})") from error
    return Table([name.strip() for name in table.column_names], str(path), _parquet_rows(table, path))


def _parquet_rows(table: Any, path: Path) -> Iterator[tuple[str, list[str]]]:
    number = 0
    for batch in table.to_batches():
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield f"{path}, row {number}", [_text(value) for value in values]
            number += 1


def _text(value: Any) -> str:
    """Return a value as a CSV file would hold it."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return "" if value is None else str(value)
