# SPDX-License-Identifier: Apache-2.0
"""Tables of recordings: types that Parquet and frames bring, pieces, and files that are none."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from memkd_edge.config import DataConfig
from memkd_edge.data.recording_files import holds_recordings
from memkd_edge.data.recording_loading import load_recordings, recordings_from_frame
from memkd_edge.data.recording_tables import read_table
from memkd_edge.errors import MissingToolError, UsageError
from tests.data.recording_examples import HEADER, folder, lines, signal, write


def frame() -> pd.DataFrame:
    parts = []
    for subject in (1, 2, 3):
        seconds, values, labels = signal(subject)
        moments = pd.Timestamp("2026-03-01", tz="Europe/Madrid") + pd.to_timedelta(seconds, unit="s")
        parts.append(
            pd.DataFrame(
                {"time": moments, "subject": subject, "x": values[:, 0], "y": (values[:, 1] * 100).round(), "label": labels}
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    "types",
    [{}, {"label": "category", "subject": "category"}, {"y": "Int32", "x": "float32"}, {"label": "string", "subject": "Int8"}],
)
def test_types_do_not_matter(types: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    options = DataConfig(test_subjects=("3",))
    plain = recordings_from_frame(frame(), options)
    assert plain.sample_rate_hz == 50.0
    assert plain.train[0].y.tolist() == [["rest", "walk"].index(label) for label in signal(1)[2]]
    other = frame().astype(types)
    assert recordings_from_frame(other, options).sha256 == plain.sha256
    other.to_parquet(tmp_path / "all.parquet")
    assert load_recordings(tmp_path / "all.parquet", options).sha256 == plain.sha256


def test_an_index_of_dates_is_the_time() -> None:
    options = DataConfig(test_subjects=("3",))
    plain = recordings_from_frame(frame(), options)
    assert recordings_from_frame(frame().set_index("time"), options).sha256 == plain.sha256
    assert recordings_from_frame(frame().set_index("time").rename_axis(None), options).sha256 == plain.sha256
    seconds = frame().assign(time=np.tile(np.arange(200) / 50, 3))
    assert recordings_from_frame(seconds.set_index("time"), options).sha256 == plain.sha256


def test_a_frame_with_an_index_is_the_same_as_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    options = DataConfig(test_subjects=("3",))
    plain = recordings_from_frame(frame(), options)
    for index in ("time", ["subject", "time"]):
        frame().set_index(index).to_parquet(tmp_path / "all.parquet")
        assert load_recordings(tmp_path / "all.parquet", options).sha256 == plain.sha256


def test_missing_values_and_labels_of_a_frame() -> None:
    table = frame().astype({"y": "Int32"})
    table.loc[5, "y"] = pd.NA
    table.loc[[7, 8], "label"] = [None, np.nan]
    made = recordings_from_frame(table, DataConfig(test_subjects=("3",)))
    assert made.train[0].x[5, 1] == pytest.approx(np.mean(made.train[0].x[[4, 6], 1]))
    assert np.flatnonzero(made.train[0].y < 0).tolist() == [7, 8]
    table.loc[400, "time"] = pd.NaT
    with pytest.raises(UsageError, match="recordings, row 400: no time in column 'time'"):
        recordings_from_frame(table)
    with pytest.raises(UsageError, match="the channels x, y are not all numbers"):
        recordings_from_frame(frame().assign(y="high"))
    with pytest.raises(UsageError, match="no column of labels; expected is a header"):
        recordings_from_frame(frame().drop(columns="label"))


def test_recordings_are_named_alike_in_every_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    table = frame().assign(session=1, trial=lambda rows: rows.subject.where(rows.subject != 2))  # trial: 1.0, NaN, 3.0
    table.to_csv(tmp_path / "two.csv", index=False)
    table.to_parquet(tmp_path / "two.parquet")
    for made in (*map(load_recordings, (tmp_path / "two.csv", tmp_path / "two.parquet")), recordings_from_frame(table)):
        assert [one.name for one in (*made.train, *made.test)] == ["1_1", "1_", "1_3"]
    table = table.drop(columns="session")
    table.to_csv(tmp_path / "one.csv", index=False)
    table.to_parquet(tmp_path / "one.parquet")
    for name, place in (("one.csv", "line 202"), ("one.parquet", "row 200")):
        with pytest.raises(UsageError, match=f"{place}: the recording is missing"):
            load_recordings(tmp_path / name)


def test_pieces_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"s{who % 3},{line}" for who in range(3) for line in lines(*signal(who))]
    file = write(tmp_path / "all.csv", rows, "subject," + HEADER)
    whole = load_recordings(file)
    monkeypatch.setattr("memkd_edge.data.recording_tables.PIECE", 7)
    assert load_recordings(file).sha256 == whole.sha256
    rows[333] = rows[333].replace("s1", "")
    write(file, rows, "subject," + HEADER)
    with pytest.raises(UsageError, match=r"all\.csv, line 335: the subject is missing"):
        load_recordings(file)


def test_values_are_those_of_the_text(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(300, 2)) * 10 ** np.random.default_rng(1).uniform(-6, 6, (300, 2))
    file = write(tmp_path / "a.csv", [f"{a!r},{b:.9e}" for a, b in numbers.tolist()], "p,q")
    table = read_table(file, DataConfig())
    assert np.allclose(table.x, numbers.astype(np.float32), rtol=2e-7, atol=0)
    assert table.stamps is None


def test_quoted_fields_and_hidden_separators(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [f'{row / 10},"stand, still",{row}' for row in range(5)], "time,label,x")
    table = read_table(file, DataConfig())
    assert table.label is not None
    assert table.label[1] == ["stand, still"]
    assert table.x[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_what_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_text("not so")
    with pytest.raises(UsageError, match=r"a\.parquet: not a Parquet file"):
        load_recordings(tmp_path)
    with pytest.raises(UsageError, match="no file or folder at"):
        load_recordings(tmp_path / "none")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingToolError, match=r"pip install 'memkd-edge\[parquet\]'"):
        load_recordings(tmp_path)


def test_which_paths_hold_recordings(tmp_path: Path) -> None:
    assert not holds_recordings(tmp_path)
    (tmp_path / "GunPoint_TRAIN.tsv").write_text("1\t2\t3\n")
    assert not holds_recordings(tmp_path)
    assert not holds_recordings(tmp_path / "x.npz")
    assert not holds_recordings(write(tmp_path / "windows.csv", ["1,a,2"], "series,label,x"))
    assert holds_recordings(folder(tmp_path / "deeper"))
    assert holds_recordings(tmp_path)
