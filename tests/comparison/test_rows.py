# SPDX-License-Identifier: Apache-2.0
"""The table of students: read back as written, and clear about damage."""

from dataclasses import replace
from pathlib import Path

import pandas
import pytest

from memkd_edge.comparison.rows import COLUMNS, StudentResult, read_rows, write_rows
from memkd_edge.errors import MemkdEdgeError

ROW = StudentResult(
    dataset="GunPoint",
    student="lstm",
    compression=500.0,
    hidden_size=8,
    parameters=370,
    teacher_parameters=203002,
    method="memkd:beta=0.1+kd",
    weight=0.3,
    seed=4,
    stop_epoch=380,
    kept=False,
    validation_auc_prc=0.1 + 0.2,
    test_auc_prc=1.0,
    test_accuracy=2 / 3,
    agreement_with_teacher=1e-17,
    teacher_validation_auc_prc=0.9,
    teacher_test_auc_prc=0.8,
    teacher_test_accuracy=0.7,
    majority_test_auc_prc=0.5,
    majority_test_accuracy=0.6,
    train_series=50,
    length=100,
    classes=2,
    int8_test_auc_prc=None,
    int8_test_accuracy=None,
    flash_bytes=None,
    ram_bytes=None,
    instructions=None,
    seconds=12.5,
    host='a "quoted", host',
    version="0.1.0",
)
KEPT = replace(
    ROW, kept=True, int8_test_auc_prc=0.5, int8_test_accuracy=0.25, flash_bytes=6400, ram_bytes=216, instructions=1863.25
)


def test_rows_read_back_as_written_to_the_last_digit(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.csv", [ROW, KEPT])
    assert read_rows(path) == [ROW, KEPT]


def test_another_reader_sees_one_line_a_student_with_empty_cells_and_booleans(tmp_path: Path) -> None:
    table = pandas.read_csv(write_rows(tmp_path / "rows.csv", [ROW, KEPT]))
    assert tuple(table.columns) == COLUMNS
    assert table["kept"].tolist() == [False, True]
    assert table["flash_bytes"].isna().tolist() == [True, False]
    assert table["host"][0] == 'a "quoted", host'


def test_no_file_yet_is_an_empty_table(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "rows.csv") == []


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("dataset,", "set,", 1, "columns"),
        ("370", "many", 2, "parameters is 'many', not of type int"),
        (",false,", ",no,", 2, "kept is 'no', not of type bool"),
        ("12.5", "nan", 2, "seconds is nan, not a finite number"),
        (",1863.25,12.5", ",1863.25", 3, "30 cells where there are 31"),
        ("GunPoint", '"GunPoint', 2, "expected"),
    ],
)
def test_damage_is_one_error_with_file_line_and_remedy(old: str, new: str, line: int, message: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.csv", [ROW, KEPT])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(MemkdEdgeError, match=message) as caught:
        read_rows(path)
    assert f"{path}, line {line}" in str(caught.value)
    assert "delete the file" in str(caught.value)


def test_rows_of_a_version_without_a_column_that_may_be_empty_have_none_there(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.csv", [ROW, KEPT])
    table = pandas.read_csv(path, dtype=str, keep_default_na=False)
    table.drop(columns=["majority_test_auc_prc", "flash_bytes"]).to_csv(path, index=False)
    assert read_rows(path) == [replace(one, majority_test_auc_prc=None, flash_bytes=None) for one in (ROW, KEPT)]


@pytest.mark.parametrize(("old", "new"), [("seconds,", ""), ("ram_bytes", "flash_bytes"), ("version", "version,extra")])
def test_a_column_that_is_needed_twice_there_or_unknown_is_damage(old: str, new: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.csv", [ROW])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(MemkdEdgeError, match="the columns are not"):
        read_rows(path)


def test_a_file_cut_short_or_of_other_bytes_is_damaged(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.csv", [ROW, KEPT])
    whole = path.read_bytes()
    for damaged in (whole[:-20], b"\xff\xfe" + whole, b""):
        path.write_bytes(damaged)
        with pytest.raises(MemkdEdgeError, match=r"rows\.csv, line"):
            read_rows(path)
