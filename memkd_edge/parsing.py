# SPDX-License-Identifier: Apache-2.0
"""JSON and TOML, whoever wrote them: what comes out can be walked through, computed with, printed and written again."""

import json
import math
import tomllib
from typing import Any

MAX_DEPTH = 64  # of tables and lists in each other
MAX_INTEGER = 1 << 63


def json_value(text: str | bytes) -> Any:
    """Return the value that a JSON text holds.

    Raises:
        ValueError: it is no JSON in UTF-8, nested deeper than MAX_DEPTH, or holds an integer beyond 64 bits, a number that is not
            finite, a key twice, or half a character.
    """
    try:
        value = json.loads(
            text.decode() if isinstance(text, bytes) else text,
            parse_constant=_no_number,
            parse_float=_finite,
            object_pairs_hook=_each_key_once,
        )
    except RecursionError as error:
        raise ValueError(f"nested more than {MAX_DEPTH} deep") from error
    _check(value)
    return value


def json_object(text: str | bytes) -> dict[str, Any]:
    """Return the object that a JSON text holds.

    Raises:
        ValueError: as `json_value`, or it holds something else.
    """
    value = json_value(text)
    if not isinstance(value, dict):
        raise ValueError("a JSON object is expected")
    return value


def toml_table(text: bytes) -> dict[str, Any]:
    """Return the table that a TOML text holds.

    Raises:
        ValueError: it is no TOML in UTF-8, nested deeper than MAX_DEPTH, or holds an integer beyond 64 bits.
    """
    try:
        table = tomllib.loads(text.decode())
    except RecursionError as error:
        raise ValueError(f"nested more than {MAX_DEPTH} deep") from error
    _check(table)
    return table


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.40} is no finite number")
    return number


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _check(value: Any) -> None:
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += [*one, *one.values()]
            elif isinstance(one, list):
                below += one
            elif isinstance(one, int) and not -MAX_INTEGER <= one < MAX_INTEGER:
                raise ValueError("an integer has more than 64 bits")
            elif isinstance(one, str) and not one.isascii():
                one.encode()  # half of a pair of surrogates is a UnicodeEncodeError
        level, depth = below, depth + 1
