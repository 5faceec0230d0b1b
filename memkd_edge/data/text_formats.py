# SPDX-License-Identifier: Apache-2.0
"""Readers of the archives' text formats: .ts and .arff (UCR/UEA), .tsv (UCR 2018) and the label-first text of UCR 2015.

Own readers, because messages must name line and column, labels must keep their case, and importing aeon takes seconds.
The values are those of aeon's readers. A missing value is NaN, `?` or an empty field.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memkd_edge.data.dataset import RawPart
from memkd_edge.data.labels import label_text
from memkd_edge.errors import UsageError


def read_text(path: Path) -> str:
    """Return the file's text.

    Raises:
        UsageError: it is missing or no UTF-8 text.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")  # some spreadsheets begin their files with a byte-order mark
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from error


def read_ts(path: Path) -> RawPart:
    """Read a .ts file: `@` header lines, `@data`, then `v,v,...:v,v,...:label` with one `:`-separated field per channel.

    Class names may hold blanks, as they do in files that aeon or sktime wrote, although the header separates names by blanks.

    Raises:
        UsageError: damaged, without class labels, or with time stamps; the message names line and column.
    """
    classes: list[str] | None = None
    in_data = has_classes = has_no_target = False
    series, labels, places = [], [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith(("#", "%")):
            continue
        place = f"{path}, line {number}"
        if in_data:
            *fields, label = [field.strip() for field in line.split(":")]
            if not fields:
                raise UsageError(f"{place}: a series needs its values and, after a ':', its class")
            if _is_series(label):
                raise UsageError(
                    f"{place}: after the last ':' stand values ({label[:20]}...) where the class is expected"
                    + ("" if has_classes else "; the header has no @classLabel line, perhaps the file has no classes")
                )
            if classes is not None and not _stands_in(classes, label_text(label, place).split()):
                raise UsageError(f"{place}: class {label!r} is not one of the header's: {', '.join(classes)}")
            series.append(_channels([field.split(",") for field in fields], place))
            labels.append(label)
            places.append(place)
            continue
        key, *values = line.split()
        match key.lower():
            case "@data":
                in_data = True
                if has_no_target and not has_classes:  # what aeon writes when it is given no labels
                    raise UsageError(f"{place}: the file has no class labels; a classification data set is needed")
            case "@classlabel":
                has_classes = True
                if not values or values[0].lower() != "true":
                    raise UsageError(f"{place}: the file has no class labels; a classification data set is needed")
                classes = [label_text(value, place) for value in values[1:]] or None
            case "@targetlabel" if values and values[0].lower() == "true":
                raise UsageError(f"{place}: this is a regression data set; a classification data set is needed")
            case "@targetlabel":
                has_no_target = True
            case "@timestamps" if values and values[0].lower() == "true":
                raise UsageError(f"{place}: time-stamped series are not supported; sample them evenly first")
            case _ if not key.startswith("@"):
                raise UsageError(f"{place}: {line[:40]!r} stands before @data")
    if not in_data:
        raise UsageError(f"{path}: no @data line; this is not a .ts file")
    return RawPart(series, labels, places)


def _is_series(label: str) -> bool:
    """Tell whether what stands for the class is a list of numbers."""
    try:
        return len([_number(field) for field in label.split(",")]) > 1
    except ValueError:
        return False


def _stands_in(words: list[str], label: list[str]) -> bool:
    """Tell whether the words of a class name follow each other in the header's; a missing label is reported elsewhere."""
    return any(words[start : start + len(label)] == label for start in range(len(words))) or not label


def read_arff(path: Path) -> RawPart:
    r"""Read an .arff file of the archive: one series a line, its class last; channels in one quoted field, separated by `\n`.

    Raises:
        UsageError: damaged; the message names line and column.
    """
    in_data = False
    series, labels, places = [], [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("%"):
            continue
        place = f"{path}, line {number}"
        if not in_data:
            if not line.startswith("@"):
                raise UsageError(f"{place}: {line[:40]!r} stands before @data")
            in_data = line.lower() == "@data"
            continue
        quoted_class = re.search(r",\s*('[^']*'|\"[^\"]*\")$", line)
        values, comma, label = (line[: quoted_class.start()], ",", quoted_class[1]) if quoted_class else line.rpartition(",")
        if not comma:
            raise UsageError(f"{place}: a series needs its values and, after a ',', its class")
        quoted = re.fullmatch(r"(['\"])(.*)\1", values.strip())
        rows = re.split(r"\\n", quoted.group(2)) if quoted else [values]
        series.append(_channels([row.split(",") for row in rows], place))
        labels.append(label.strip().strip("'\""))
        places.append(place)
    if not in_data:
        raise UsageError(f"{path}: no @data line; this is not an .arff file")
    return RawPart(series, labels, places)


def read_label_first(path: Path) -> RawPart:
    """Read one univariate series a line, its class first; separated by commas, tabs or blanks.

    Nothing between two commas or two tabs is a missing value, as in files that pandas writes.

    Raises:
        UsageError: damaged; the message names line and column.
    """
    series, labels, places = [], [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        fields = line.split("," if "," in line else "\t" if "\t" in line else None)
        label, *values = [field.strip() for field in fields]
        if not values:
            raise UsageError(f"{place}: a series needs its class and, after it, its values")
        series.append(parse_numbers(values, place, range(2, len(fields) + 1))[:, None])
        labels.append(label)
        places.append(place)
    return RawPart(series, labels, places)


def _channels(rows: list[list[str]], place: str) -> NDArray[np.float64]:
    """Return [T, C] from the fields of each channel."""
    channels, column = [], 1
    for index, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise UsageError(f"{place}: channel {index} has {len(row)} values where channel 0 has {len(rows[0])}")
        channels.append(parse_numbers(row, place, range(column, column + len(row))))
        column += len(row)
    return np.stack(channels, axis=1)


def parse_numbers(fields: Sequence[str], place: str, columns: Sequence[object]) -> NDArray[np.float64]:
    """Return the numbers in `fields`; NaN for a missing value, which is NaN, `?` or an empty field.

    Raises:
        UsageError: a field is no number; the message begins with `place` and the field's entry in `columns`.
    """
    values = np.empty(len(fields))
    for index, field in enumerate(fields):
        try:
            values[index] = _number(field)
        except ValueError:
            raise UsageError(f"{place}, column {columns[index]!r}: {field.strip()!r} is not a number") from None
    return values


def _number(field: str) -> float:
    if "_" in field:  # Python's digit grouping is no notation of data files
        raise ValueError
    return math.nan if field.strip() in ("", "?") else float(field)
