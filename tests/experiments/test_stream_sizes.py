# SPDX-License-Identifier: Apache-2.0
"""What a byte buys along streams: means over seeds, what is bold, and what the page says."""

from experiments.stream_sizes import Model, in_float, means, picture, report, rivals, table

SMALL = Model("lstm", "6 units", 371, 0.88, 0.90, 4500, 200, 1700)
LARGE = Model("lstm", "29 units", 4103, 0.89, 0.91, 9000, 400, 21000)
FOREST = Model("forest", "10 trees", 900, 0.85, 0.88, 20000, 3000, 300)
DEARER = Model("forest", "20 trees", 1900, 0.84, 0.87, 30000, 3000, 400)


def test_rivals_are_means_over_their_seeds() -> None:
    seeds = [FOREST, Model("forest", "10 trees", 1100, 0.87, 0.90, 22000, 3000, 310), DEARER]
    assert means(seeds) == [Model("forest", "10 trees", 1000, 0.86, 0.89, 21000, 3000, 305), DEARER]


def test_bold_is_what_no_other_beats_for_less_of_it() -> None:
    small, large, forest, dearer = (line.split(" | ") for line in table([SMALL, LARGE, FOREST, DEARER])[2:])
    assert small[-3:] == ["**=4,500 B**", "=200 B", "**=1,700** |"]
    assert large[-3:] == ["**=9,000 B**", "=400 B", "**=21,000** |"]
    assert forest[-3:] == ["=20,000 B", "=3,000 B", "**=300** |"]
    assert dearer[-3:] == ["=30,000 B", "=3,000 B", "=400 |"]


def test_the_page_has_every_model_and_all_students_in_float() -> None:
    metrics = {"students": [{"method": name, "test_f1_macro": f1} for name, f1 in (("base", 0.8), ("base", 0.9), ("memkd", 0.9))]}
    assert in_float(metrics) == {"base": [0.8, 0.9], "memkd": [0.9]}
    floats = {"base": [0.86, 0.88], "memkd-belief": [0.87, 0.89]}
    text = report([[SMALL], [LARGE]], [floats, floats], [FOREST], 0.895)
    assert "macro F1 0.895" in text
    assert "| lstm | 29 units | 0.870 ± 0.014 | 0.880 ± 0.014 |" in text
    assert text.count("\n| forest | 10 trees |") == 1
    assert max(map(len, text.splitlines()[:12])) < 130


def test_the_picture_has_a_line_for_each_kind() -> None:
    drawn = picture([SMALL, LARGE, FOREST])
    assert drawn == picture([SMALL, LARGE, FOREST])
    assert drawn != picture([SMALL, FOREST])


def test_tracked_rivals_are_three_kinds_and_means_of_three_seeds() -> None:
    found = rivals()
    assert {one.what for one in found} == {"forest", "cnn", "fastgrnn"}
    forest = next(one for one in found if one.size == "10 trees of 20 leaves")
    assert forest.flash_bytes == 2953
    assert 0.7 < forest.f1_macro < 0.8
