# SPDX-License-Identifier: Apache-2.0
"""Class labels, as the formats' libraries hand them over."""

import numpy as np
import pandas as pd
import pytest

from memkd_edge.data.labels import class_name, label_text, sorted_labels
from memkd_edge.errors import UsageError


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("walk", "walk"),
        (" sitting down ", "sitting down"),
        (np.str_("Walk"), "Walk"),
        (b"walk", "walk"),
        (np.bytes_("gehört".encode()), "gehört"),
        (np.float64(1.0), "1"),
        (np.float32(-1.0), "-1"),
        (np.int64(7), "7"),
        (np.bool_(True), "True"),
        ("0.0", "0"),
        ("-0.0", "0"),
        ("1.0000000e+000", "1"),
        ("1.0000000e+001", "10"),
        ("1.50", "1.50"),
        ("007", "007"),
        ("1e5", "1e5"),
        ("1_0.0", "1_0.0"),
        ("NA", "NA"),
        ("Null", "Null"),
        ("inf", "inf"),
        ("1.0e999", "1.0e999"),
    ],
)
def test_a_class_has_one_spelling(value, name):
    assert class_name(value, "here") == name


@pytest.mark.parametrize(
    "value", ["", "  ", "?", "NaN", "nan", "-nan", "<NA>", b"", b"nan", None, np.nan, np.float32("nan"), pd.NA, pd.NaT]
)
def test_a_missing_label_is_no_class(value):
    assert label_text(value, "here") == ""
    with pytest.raises(UsageError, match=r"^here: the class label is missing \(.+\); label the series or leave it out"):
        class_name(value, "here")


def test_bytes_that_are_no_text_are_named():
    with pytest.raises(UsageError, match=r"^here: b'\\xff' is not UTF-8"):
        class_name(b"\xff", "here")


def test_classes_stand_in_numerical_order_if_all_are_numbers():
    assert sorted_labels(["10", "9", "-1", "9"]) == ("-1", "9", "10")
    assert sorted_labels(["b", "10", "9"]) == ("10", "9", "b")
    assert sorted_labels(["inf", "1", "10"]) == ("1", "10", "inf")
