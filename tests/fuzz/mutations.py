# SPDX-License-Identifier: Apache-2.0
"""Damage: of bytes, of words, of the values in JSON, wherever it stands."""

import json
import random
from typing import Any

from memkd_edge.formats.digest import with_digest

WORDS = (
    b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"1e308", b"9" * 5000, b"18446744073709551616", b"null", b"true", b'"', b"'",
    b"[" * 3000, b'{"a":' * 3000, b"]", b"}", b"\n", b"\r\n", b"\t", b",", b";", b"=", b"\x00", b"\xff", b"\xef\xbb\xbf",
    b'"\\ud800"', b"[b]", b"/dev/zero", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xff" * 8, b"\x80" * 9,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1 << 31, 1 << 63, 10**400, 1e308, -1e-300, float("nan"), float("inf"), "", "x", "\ud800", "é\x00[b]\n",
    "9" * 5000, [], {}, [[]], [0.5], ["a"] * 300, {"a": 1},
)  # fmt: skip


def damaged(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Return `data` with one to four injuries; `others`: whose parts may be put in."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = _injured(data, others, rng)
    return data


def _injured(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data) + 1), min(1 << rng.randrange(12), len(data))
    kind = rng.randrange(9)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[at + length :]
    if kind == 2:
        return data[:at] + data[at : at + length] + data[at:]
    if kind == 3:
        other = rng.choice(others)
        start = rng.randrange(len(other) + 1)
        return data[:at] + other[start : start + length] + data[at:]
    if kind == 4:
        return data[:at] + rng.choice(WORDS) + data[at + rng.choice((0, 0, 1, 4)) :]
    if kind == 5:
        return data[:at] + rng.randbytes(4) + data[at + 4 :]
    if kind == 6:
        return _json_injured(data, rng)
    if at == len(data):
        return data
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _json_injured(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with one value changed in the JSON that it is, or that stands in it, in a length of its own or padded."""
    start = data.find(b"{")
    if start < 0:
        return data
    try:
        value, end = json.JSONDecoder().raw_decode(data[start:].decode("latin-1"))
    except (ValueError, RecursionError):
        return data
    return data[:start] + changed(value, rng).encode("utf-8", "surrogatepass") + data[start + end :]


def changed(value: Any, rng: random.Random) -> str:
    """Return a JSON text of `value` with one value in it changed, or a key gone."""
    places: list[tuple[Any, Any]] = []
    level = [value]
    while level:
        one = level.pop()
        if isinstance(one, dict | list) and one:
            keys = list(one) if isinstance(one, dict) else range(len(one))
            places += [(one, key) for key in keys]
            level += [one[key] for key in keys]
    if places:
        container, key = rng.choice(places)
        if rng.random() < 0.2:
            del container[key]
        else:
            container[key] = rng.choice(VALUES)
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)


def resealed(data: bytes, rng: random.Random) -> bytes:
    """Return a .tflite with a right digest, now and then: what its maker could have damaged before he sealed it."""
    try:
        return with_digest(data) if rng.random() < 0.5 else data
    except Exception:  # it is too damaged to be sealed
        return data
