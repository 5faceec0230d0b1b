# SPDX-License-Identifier: Apache-2.0
"""Names of exported models: what is reserved, what they become, what the user is told. Builds are in packages/test_names.py."""

import keyword
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkd_edge.errors import UsageError
from memkd_edge.export_names import LONGEST, check_export_name, export_name, rename_note, reserved_by


@pytest.mark.parametrize(
    ("name", "exported"),
    [
        *[("BasicMotions", "basicmotions"), ("a-b c/1", "a_b_c_1"), ("50words", "model_50words"), ("---", "model")],
        *[("test", "model_test"), ("String", "model_string"), ("memkd_x", "model_memkd_x"), ("x" * 42, "x" * 41)],
        *[("Ünder", "nder"), ("y" * 40 + " z", "y" * 40)],
    ],
)
def test_a_name_becomes_one_that_can_be_exported(name: str, exported: str) -> None:
    assert export_name(name) == exported


@given(st.text(max_size=80))
def test_every_name_becomes_one_that_passes_the_check_and_stays(name: str) -> None:
    check_export_name(export_name(name))
    assert export_name(export_name(name)) == export_name(name)
    assert rename_note(export_name(name)) == ""


@pytest.mark.parametrize(
    ("name", "who"),
    [
        *[
            ("class", "C and C++, as a word"),
            ("time", "C, as a function"),
            ("stdint", "header"),
            ("m", "the linker, as an archive"),
        ],
        *[("clean", "CMake, as a target"), ("wire", "Arduino"), ("nvs_flash", "ESP-IDF, as a component"), ("gpio", "Zephyr")],
        *[("memkd", "this project's runtime"), ("memkd_lstm", "this project's runtime"), ("esp_timer", "ESP-IDF")],
    ],
)
def test_a_reserved_name_is_refused_with_who_reserves_it(name: str, who: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' cannot name an exported model: reserved by .*; choose another with --name"):
        check_export_name(name)
    assert who in reserved_by(name)
    assert (
        rename_note(name)
        == f"exports will be named model_{name} ('{name}' is reserved by {reserved_by(name)}); export --name chooses another"
    )


@pytest.mark.parametrize("name", ["", "Gesture", "two words", "a__b", "tail_", "_a", "1a", "a-b", "../x", "a" * (LONGEST + 1)])
def test_a_name_of_another_form_or_length_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"use lower-case letters|has {LONGEST + 1} characters, at most {LONGEST} are taken"):
        check_export_name(name)


def test_why_a_name_is_not_kept_is_told() -> None:
    assert rename_note("GunPoint") == ""
    assert rename_note("50words").startswith("exports will be named model_50words (names begin with a letter)")
    assert "(names have at most 41 characters)" in rename_note("x" * 42)


def test_words_that_c_shares_with_python_are_in_the_table() -> None:
    """An independent list: Python's words that are C's or C++'s too."""
    shared = {"and", "break", "class", "continue", "else", "for", "if", "not", "or", "return", "try", "while"}
    assert shared <= set(keyword.kwlist)
    assert all(re.search("word", reserved_by(word)) for word in shared)
