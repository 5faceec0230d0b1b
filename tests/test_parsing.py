# SPDX-License-Identifier: Apache-2.0
"""JSON and TOML of strangers: what a program could not walk through, compute with or print is refused."""

import pytest

from memkd_edge.parsing import MAX_DEPTH, json_object, json_value, toml_table


def test_what_json_and_toml_say_is_read() -> None:
    assert json_value(b'{"a": [1, 2.5, null, true, "\\u00e9"], "b": -9223372036854775808}') == {
        "a": [1, 2.5, None, True, "é"],
        "b": -(1 << 63),
    }
    assert json_value("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert toml_table(b"a = 1\n[b]\nc = [2.5, 'x']\n") == {"a": 1, "b": {"c": [2.5, "x"]}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "deep"),
        ("[" * 200 + "]" * 200, "deep"),
        ('{"a":' * 100 + "1" + "}" * 100, "deep"),
        ("9" * 5000, "digits"),
        ("9223372036854775808", "64 bits"),
        ("1e999", "1e999 is no finite number"),
        ("NaN", "NaN"),
        ('{"a": [-Infinity]}', "Infinity"),
        ('{"a": 1, "a": 2}', "twice"),
        ('["\\ud800"]', "surrogates"),
        ('{"\\udfff": 1}', "surrogates"),
        (b"\xff\xfe[\x00]\x00", "utf-8"),
        ("", "Expecting value"),
    ],
)
def test_other_json_is_a_value_error(text: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        json_value(text)


def test_an_object_is_told_from_other_values() -> None:
    with pytest.raises(ValueError, match="a JSON object is expected"):
        json_object("[1]")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"a = " + b"[" * 100_000, "deep"),
        (b"a = " + b"[" * 200 + b"]" * 200, "deep"),
        (b"a = " + b"9" * 5000, "digits"),
        (b"a = 9223372036854775808", "64 bits"),
        (b"a = '\xff'", "utf-8"),
    ],
)
def test_other_toml_is_a_value_error(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        toml_table(text)
