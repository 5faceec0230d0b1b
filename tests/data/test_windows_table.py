# SPDX-License-Identifier: Apache-2.0
"""Windows from tables, CSV and Parquet: the documented convention, and what it says about damage."""

import csv
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.data.labels import label_text
from memkd_edge.data.registry import load_dataset
from memkd_edge.data.windows_table import read_windows
from memkd_edge.errors import MissingToolError, UsageError

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
    rows[5][-1] = rows[6][-1] = "nan"  # one alone is interpolated
    text = HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows)
    with pytest.raises(UsageError, match=r"line 6 \(series 'w1'\): nan at time step 1, gyro"):
        load_dataset(write(tmp_path / "d.csv", text))


def test_a_shorter_series_is_padded_at_its_end(tmp_path):
    rows = recording()
    del rows[6]
    text = HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows)
    data = load_dataset(write(tmp_path / "d.csv", text))
    np.testing.assert_array_equal(
        data.x_train[1], [[1.0, 0.0], [np.float32(1.1), -1.0], [np.float32(1.3), -3.0], [np.nan, np.nan]]
    )
    assert "d: the series have 3 to 4 time steps; each is decided after its own last one" in data.notes


def table(tmp_path, header, row, count=12, steps=5):
    """Write a table of `count` series and load it; row(series, step) gives the fields after series and label."""
    lines = [
        ",".join(map(str, [f"s{index}", "ab"[index % 2], *row(index, step)])) for index in range(count) for step in range(steps)
    ]
    return load_dataset(write(tmp_path / "t.csv", f"series,label,{header}\n" + "\n".join(lines) + "\n"))


def noise(index, step):
    return round(float(np.random.default_rng(1000 * index + step).normal()), 4)


@pytest.mark.parametrize("column", ["Subject", "SUBJECT", "participant_id", "User"])
def test_a_subject_is_one_however_its_column_is_spelt(tmp_path, column):
    data = table(tmp_path, f"{column},x", lambda index, step: [index // 2 + 0.0, noise(index, step)])
    assert data.channels == ("x",)
    assert "by subject" in data.split
    assert data.groups_train is not None
    assert data.groups_test is not None
    assert not set(data.groups_train) & set(data.groups_test)


def test_a_part_is_one_however_it_is_spelt(tmp_path):
    data = table(tmp_path, "Part,x", lambda index, step: ["Test" if index >= 8 else "TRAIN", noise(index, step)])
    assert (len(data.x_train), len(data.x_test), data.split) == (8, 4, "")


@pytest.mark.parametrize(
    ("column", "moment", "rate", "ending"),
    [
        ("timestamp", lambda index, step: 1_700_000_000_000 + 60_000 * index + 20 * step, 50.0, "; sampled at 50 Hz"),
        ("Time (s)", lambda index, step: 60 * index + step / 100, 100.0, "; sampled at 100 Hz"),
        ("time", lambda index, step: f"2026-01-01T00:{index:02}:00.{step}00", 10.0, "; sampled at 10 Hz"),
        ("time", lambda index, step: 5 * step, None, "; with its unit in brackets, such as [s], it would give the sample rate"),
        ("Unnamed: 0", lambda index, step: 5 * index + step, None, ""),
        ("", lambda index, step: 5 * index + step, None, ""),
    ],
)
def test_times_and_row_numbers_are_no_channels_and_it_is_said(tmp_path, column, moment, rate, ending):
    rows = [f"{moment(index, step)},s{index},{'ab'[index // 6]},{noise(index, step)}" for index in range(12) for step in range(5)]
    data = load_dataset(write(tmp_path / "t.csv", f"{column},series,label,x\n" + "\n".join(rows) + "\n"))
    assert data.channels == ("x",)
    assert data.sample_rate_hz == rate
    role = "index" if column in ("Unnamed: 0", "") else "time"
    assert data.notes == (f"t.csv: column {column!r} is taken as the {role} of the rows, not as a channel{ending}",)


def test_a_time_under_another_name_is_refused(tmp_path):
    with pytest.raises(
        UsageError, match=r"^t: clock never falls within a series but to start again, .* in a table name it `time`, or,"
    ):
        table(tmp_path, "clock,x", lambda index, step: [600 * index + step / 10, noise(index, step)])


def test_rows_out_of_order_are_refused_where_a_time_tells_and_noted_where_they_lie_apart(tmp_path):
    with pytest.raises(UsageError, match=r"line 4, column 'time \[s\]': 1 after 2; the rows of series 's0' are not in"):
        table(tmp_path, "time [s],x", lambda index, step: [[0, 2, 1, 3, 4][step], noise(index, step)])
    text = "series,label,x\n" + "".join(f"{s},{'ab'[s % 2]},{noise(s, t)}\n" for t in range(5) for s in range(8))
    (note,) = load_dataset(write(tmp_path / "t.csv", text)).notes
    assert note.startswith("t.csv: the rows of series '0' do not stand together; they are taken in the order of the file")


def test_columns_that_are_not_used_are_named(tmp_path):
    (note,) = table(tmp_path, "session,x", lambda index, step: [index // 3, noise(index, step)]).notes
    assert note == "t.csv: column 'session' is not used; --groups session keeps the series of one session together in a split"


def test_a_parquet_file_as_pandas_writes_it(tmp_path):
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'memkd-edge[parquet]'")
    import pandas as pd

    index = np.repeat(np.arange(12), 5)
    frame = pd.DataFrame(
        {
            "series": index,
            "label": pd.Categorical.from_codes(index % 2, ["run", "walk"]),
            "subject": index // 2,
            "timestamp": pd.Timestamp("2026-01-01") + pd.to_timedelta(index * 60_000 + np.tile(np.arange(5), 12) * 20, unit="ms"),
            "acc [g]": np.random.default_rng(0).normal(size=60).astype(np.float32),
        }
    )
    frame[frame["series"] >= 0].to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv")
    parquet, text = load_dataset(str(tmp_path / "t.parquet")), load_dataset(str(tmp_path / "t.csv"))
    assert parquet.sha256 == text.sha256
    assert (parquet.channels, parquet.units, parquet.sample_rate_hz) == (("acc",), ("g",), 50.0)
    assert "by subject" in parquet.split
    (tmp_path / "t.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(UsageError, match=r"t\.parquet: not a readable Parquet file"):
        load_dataset(str(tmp_path / "t.parquet"))


def test_without_pyarrow_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingToolError, match=r"reading Parquet needs pyarrow; pip install 'memkd-edge\[parquet\]'"):
        load_dataset(str(tmp_path / "t.parquet"))
