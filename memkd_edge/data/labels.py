# SPDX-License-Identifier: Apache-2.0
"""What a class label is, whichever file it stood in: one spelling for each class, and no class for a missing label."""

import math
import re
from collections.abc import Iterable

import numpy as np

from memkd_edge.errors import UsageError

_MISSING = {"", "?", "nan", "+nan", "-nan", "<na>", "nat"}  # csv and .ts; .arff; numpy and pandas. `NA` and `null` may be classes
_DECIMAL = re.compile(r"[+-]?\d+\.\d*(e[+-]?\d+)?", re.IGNORECASE)
_EXACT = 2.0**53  # whole numbers below it are exact in a double


def label_text(value: object, place: str) -> str:
    """Return the class name of a label as a file holds it, "" when it is missing.

    Args:
        value: text, bytes (UTF-8), a number or None. Blanks around a text go, and whole numbers lose their decimals, as one
            table writes 0 where another, that passed through a column with gaps, writes 0.0: `1.0000000e+000` is `1`.
        place: where it stands, for the message.

    Raises:
        UsageError: bytes that are no UTF-8; a list or another collection.
    """
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"{place}: {value!r} is not UTF-8") from error
    if isinstance(value, list | dict | set | np.ndarray):
        raise UsageError(f"{place}: {value!r:.60} is a {type(value).__name__}; a label or name is one text or number")
    text = "" if value is None else str(value).strip()
    if text.lower() in _MISSING:
        return ""
    if _DECIMAL.fullmatch(text) and abs(number := float(text)) < _EXACT and number.is_integer():
        return str(int(number))
    return text


def class_name(value: object, place: str) -> str:
    """Return the class name of a label that has to be there; see `label_text`.

    Raises:
        UsageError: the label is missing (empty, `?`, NaN, None), or bytes that are no UTF-8.
    """
    if text := label_text(value, place):
        return text
    raise UsageError(f"{place}: the class label is missing ({_shown(value)}); label the series or leave it out")


def subject_name(value: object, place: str) -> str:
    """Return the name of a subject that has to be there; missing and spelt alike are what a label is.

    Raises:
        UsageError: it is missing (empty, `?`, NaN, None), or bytes that are no UTF-8.
    """
    if text := label_text(value, place):
        return text
    raise UsageError(f"{place}: the subject is missing ({_shown(value)}); name it, leave the series out, or drop the subjects")


def spelt_alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the distinct names that differ from each other in upper and lower case alone."""
    spellings: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        spellings.setdefault(name.casefold(), []).append(name)
    return [tuple(several) for several in spellings.values() if len(several) > 1]


def _shown(value: object) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)


def sorted_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels, in numerical order if all are numbers."""
    distinct = sorted(set(labels))
    try:
        numbers = {label: float(label) for label in distinct}
    except ValueError:
        return tuple(distinct)
    if not all(math.isfinite(number) for number in numbers.values()):  # words such as `inf`
        return tuple(distinct)
    return tuple(sorted(distinct, key=numbers.__getitem__))
