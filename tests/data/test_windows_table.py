# SPDX-License-Identifier: Apache-2.0
"""The CSV reader: the documented convention, and what it says about damage."""

import csv
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.data.labels import label_text
from memkd_edge.data.registry import load_dataset
from memkd_edge.data.windows_table import read_windows
from memkd_edge.errors import UsageError

HEADER = "series,label,subject,part,acc_x [m/s2],gyro\n"


def write(path, text):
    path.write_text(text)
    return str(path)


def recording(count=8, steps=4, *, part=True, subject=True):
    rows = []
    for index in range(count):
        label = "walk" if index % 2 else "run"
        about = [f"w{index}", label]
        about += [f"s{index // 2}"] if subject else []
        about += ["train" if index < count // 2 else "test"] if part else []
        rows += [[*about, index + step / 10, -step] for step in range(steps)]
    return rows


def test_a_recording_is_read_as_documented(tmp_path):
    path = write(tmp_path / "mine.csv", HEADER + "".join(",".join(map(str, row)) + "\n" for row in recording()))
    data = load_dataset(path)
    assert (data.name, data.labels, data.channels, data.units) == ("mine", ("run", "walk"), ("acc_x", "gyro"), ("m/s2", ""))
    np.testing.assert_allclose(data.x_train[:, :, 0], np.arange(4)[:, None] + np.arange(4) / 10, rtol=1e-6)
    np.testing.assert_array_equal(data.x_test[:, :, 1], np.tile(-np.arange(4), (4, 1)))
    assert list(data.y_train) == [0, 1, 0, 1]
    assert data.groups_train is not None
    assert data.groups_test is not None
    assert list(data.groups_train) == [0, 0, 1, 1]
    assert list(data.groups_test) == [2, 2, 3, 3]


def test_without_a_part_column_the_test_part_is_split_off_by_subject(tmp_path):
    rows = recording(16, part=False)
    path = write(tmp_path / "m.csv", "series,label,subject,a [g],b\n" + "".join(",".join(map(str, r)) + "\n" for r in rows))
    data = load_dataset(path)
    assert len(data.x_train) + len(data.x_test) == 16
    assert "by subject" in data.split
    assert data.sha256 == load_dataset(path, groups="subject").sha256


def test_another_column_can_name_the_subject_and_columns_may_stand_in_any_order(tmp_path):
    text = "a,person,label,series,subject\n"
    for index in range(12):
        text += "".join(f"{step},p{index // 2},{'uv'[index % 2]},{index},ignored\n" for step in range(3))
    data = load_dataset(write(tmp_path / "m.csv", text), groups="person")
    assert data.channels == ("a",)
    assert data.groups_train is not None
    assert data.groups_test is not None
    assert not set(data.groups_train) & set(data.groups_test)


def test_rows_of_series_may_interleave_and_quotes_byte_order_mark_and_blank_lines_are_fine(tmp_path):
    text = '\ufeffseries,label,"x [a, b]"\r\n' + "".join(f'{s},"{s % 2}",{t}{s}\r\n\r\n' for t in range(3) for s in range(8))
    (tmp_path / "m.csv").write_bytes(text.encode())
    train, test, described = read_windows(tmp_path / "m.csv")
    assert test is None
    assert described.channels == ("x",)
    assert described.units == ("a, b",)
    np.testing.assert_array_equal(train.series[5][:, 0], [5, 15, 25])


@settings(max_examples=40, deadline=None)
@given(
    x=st.lists(st.lists(st.floats(allow_nan=False, width=32), min_size=6, max_size=6), min_size=1, max_size=5),
    names=st.lists(st.text(min_size=1, max_size=5).filter(lambda name: name.strip()), min_size=5, max_size=5),
)
def test_a_written_file_is_read_back(tmp_path_factory, x, names):
    path = tmp_path_factory.mktemp("csv") / "r.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["series", "label", "c0", "c1"])
        names = [name if label_text(name, "") else "missing" for name in names]
        for index, values in enumerate(x):
            writer.writerows([index, names[index], *np.reshape(values, (3, 2))[step]] for step in range(3))
    train, _, _ = read_windows(path)
    np.testing.assert_array_equal(np.stack(train.series), np.reshape(x, (len(x), 3, 2)))
    assert train.labels == [label_text(name, "") for name in names[: len(x)]]


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet=st.sampled_from('ab1.,-"\n\r;eN\0 '), max_size=60), header=st.sampled_from(["", "series,label,x\n"]))
def test_garbage_is_read_or_refused_but_never_crashes(tmp_path_factory, text, header):
    path = tmp_path_factory.mktemp("csv") / "g.csv"
    path.write_bytes((header + text).encode())
    with suppress(UsageError):  # the only exception that may come out
        load_dataset(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty; a header line is expected"),
        ("series;label;x\n", r"line 1: no column 'series' among series;label;x \(commas separate columns\)"),
        ("series,x\n1,2\n", "line 1: no column 'label'"),
        ("series,label,x,x\n", "line 1: a column name is given twice"),
        ("series,label,,x\n", "line 1: column 3 has no name"),
        ("series,label,subject\n", "line 1: no channel columns"),
        ("series,label,x\n1,a,0.5\n1,a\n", "line 3: 2 fields where the header has 3"),
        ("series,label,x\n1,a,0.5\n1,a,zero\n", "line 3, column 'x': 'zero' is not a number"),
        ("series,label,x\n1,a,0.5\n1,b,0.5\n", "line 3, column 'label': 'b' where series '1' began with 'a'"),
        ("series,label,x\n1,,0.5\n", "line 2, column 'label': the class label is missing"),
        ("series,label,part,x\n1,a,val,0.5\n", "line 2 .*column 'part': 'val' is neither 'train' nor 'test'"),
        ('series,label,x\n1,a,"0.5\n', "line 2: unexpected end of data"),
        ("series,label,x\n", "the training part holds no series"),
    ],
)
def test_damage_is_reported_with_line_and_column(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        load_dataset(write(tmp_path / "d.csv", text))


def test_a_missing_group_column_is_named(tmp_path):
    with pytest.raises(UsageError, match="line 1: no column 'person' among series, label, x"):
        load_dataset(write(tmp_path / "d.csv", "series,label,x\n"), groups="person")


def test_a_gap_names_series_line_time_step_and_channel(tmp_path):
    rows = recording()
    rows[5][-1] = "nan"
    text = HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows)
    with pytest.raises(UsageError, match=r"line 6 \(series 'w1'\): nan at time step 1, gyro"):
        load_dataset(write(tmp_path / "d.csv", text))


def test_a_shorter_series_is_named(tmp_path):
    rows = recording()
    del rows[6]
    text = HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows)
    with pytest.raises(UsageError, match=r"line 6 \(series 'w1'\): the series has 3 time steps where the first .* has 4"):
        load_dataset(write(tmp_path / "d.csv", text))
