# SPDX-License-Identifier: Apache-2.0
"""Labels by interval, against the labels that the same recordings have row by row."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from memkd_edge.config import DataConfig
from memkd_edge.data.recording_loading import load_recordings, recordings_from_frame
from memkd_edge.data.recordings import NO_CLASS, Recordings
from memkd_edge.errors import UsageError
from tests.data.recording_examples import folder, write


def load(path: Path, rows: list[str], **options: object) -> Recordings:
    file = write(path.parent / "labels.csv", rows, "recording,start,end,label")
    given = {"name_pattern": "{subject}_{recording}.csv", "intervals": str(file), **options}
    return load_recordings(path, DataConfig(**given))  # type: ignore[arg-type]


def unlabelled(path: Path, scale: float = 1.0, start: float = 0.0) -> Path:
    for file in folder(path).iterdir():
        frame = pd.read_csv(file).drop(columns="label")
        frame["time"] = (frame["time"] + start) * scale
        if scale > 1:
            frame["time"] = frame["time"].round().astype(np.int64)
        frame.to_csv(file, index=False)
    return path


def intervals(path: Path, scale: float = 1.0, start: float = 0.0) -> list[str]:
    return [
        f"{file.stem},{(a + start) * scale:.12g},{(b + start) * scale:.12g},{label}"
        for file in sorted(path.iterdir())
        for a, b, label in ((0, 2, "rest"), (2, 4, "walk"))
    ]


@pytest.mark.parametrize(
    ("scale", "start", "written_scale", "written_start"),
    [(1, 0, 1, 0), (1000, 1.7e9, 1000, 1.7e9), (1000, 1.7e9, 1, 0), (1000, 0, 1, 0), (1000, 0, 1000, 0), (1, 1.7e9, 1, 0)],
)
def test_intervals_say_what_rows_said(
    tmp_path: Path, scale: float, start: float, written_scale: float, written_start: float
) -> None:
    plain = load_recordings(folder(tmp_path / "plain"), DataConfig(name_pattern="{subject}_{recording}.csv"))
    other = unlabelled(tmp_path / "other", scale, start)
    assert load(other, intervals(other, written_scale, written_start)).sha256 == plain.sha256


@pytest.mark.parametrize("labels", [[], ["label"]])
def test_a_frame_takes_intervals_and_no_other_labels(tmp_path: Path, labels: list[str]) -> None:
    path = folder(tmp_path / "x")
    files = sorted(path.iterdir())
    parts = [pd.read_csv(file).assign(subject=file.stem[:2], recording=file.stem) for file in files]
    frame = pd.concat(parts, ignore_index=True)
    rows = [row for row in intervals(path) if not row.startswith("s2")]
    options = DataConfig(intervals=str(write(tmp_path / "labels.csv", rows, "recording,start,end,label")))
    made = recordings_from_frame(frame.drop(columns={"label"} - {*labels}), options)
    assert {one.subject: set(one.y.tolist()) for one in (*made.train, *made.test)} == {
        "s1": {0, 1},
        "s2": {NO_CLASS},
        "s3": {0, 1},
        "s4": {0, 1},
    }


def test_moments_and_holes(tmp_path: Path) -> None:
    path = unlabelled(tmp_path / "x", 1000, 1_700_000_000)
    rows = [row for row in intervals(path) if not row.startswith("s1_1")]
    made = load(
        path,
        [*rows, "s1_1.csv,2023-11-14T22:13:20.5Z,2023-11-14T22:13:21Z,walk", "s1_1,2.0,2.5,rest"],
        test_subjects=("s4",),
    )
    y = made.train[0].y
    assert np.flatnonzero(y == 1).tolist() == list(range(25, 50))
    assert np.flatnonzero(y == 0).tolist() == list(range(100, 125))
    assert (y == NO_CLASS).sum() == 150
    assert (load(path, rows, other="rest", test_subjects=("s4",)).train[0].y == 0).all()


@pytest.mark.parametrize(
    ("rows", "written", "message"),
    [
        ("", "", ""),
        ("+01:00", "Z", ""),
        ("+01:00", "", "line 2: a date without a time zone, where the rows of 's1_1' tell theirs; write it on both sides"),
        ("", "Z", "line 2: a date with a time zone, where the rows of 's1_1' tell none"),
        (None, "", "line 2: a date without a time zone, where the rows of 's1_1' count from 1970, in UTC"),
    ],
)
def test_dates_are_of_one_zone(tmp_path: Path, rows: str | None, written: str, message: str) -> None:
    plain = load_recordings(folder(tmp_path / "plain"), DataConfig(name_pattern="{subject}_{recording}.csv"))
    other = unlabelled(tmp_path / "other")
    for file in other.iterdir():
        frame = pd.read_csv(file)
        moments = pd.Timestamp("2026-03-01T08:00:00") + pd.to_timedelta(frame["time"], unit="s")
        texts = moments.map(pd.Timestamp.isoformat)
        frame.assign(time=moments.astype("int64") if rows is None else texts + rows).to_csv(file, index=False)
    hour = 7 if rows == "+01:00" else 8
    given = [
        f"{file.stem},2026-03-01T{hour:02d}:00:{a:02d}{written},2026-03-01T{hour:02d}:00:{b:02d}{written},{label}"
        for file in sorted(other.iterdir())
        for a, b, label in ((0, 2, "rest"), (2, 4, "walk"))
    ]
    if message:
        with pytest.raises(UsageError, match=message):
            load(other, given)
    else:
        assert load(other, given).sha256 == plain.sha256


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("s9_1,0,1,rest", "line 18: there is no recording 's9_1'"),
        ("s1_1,3,1,rest", "line 18: the interval from 3 to 1 does not end after it starts; mend it, or leave the row out"),
        ("s1_1,2,2,rest", "line 18: the interval from 2 to 2 does not end after it starts"),
        ("s1_1,1,3,rest", "line 18: overlaps the interval of .*line 3 with another label; .* end where the other begins"),
        ("s1_1,50,60,rest", "line 18: no row of recording 's1_1' lies in the interval"),
        ("s1_1,soon,60,rest", "line 18: 'soon' is neither a number nor ISO 8601"),
        ("s1_1,0,1,", "line 18: the class label is missing"),
        ("s1_1,0,1", "line 18: 3 fields where the header has 4"),
        ("s1_1,2026-01-01,2026-01-02,rest", "line 18: a date, where the rows of 's1_1' count from the start"),
    ],
)
def test_bad_intervals_are_named_by_their_line(tmp_path: Path, row: str, message: str) -> None:
    path = unlabelled(tmp_path / "x")
    with pytest.raises(UsageError, match=message):
        load(path, [*intervals(path), row])


def test_files_of_one_name_in_several_folders_are_told_apart(tmp_path: Path) -> None:
    for subject in "12":
        (tmp_path / "x" / subject).mkdir(parents=True)
        write(tmp_path / "x" / subject / "walk.csv", [f"{t / 50},{t % 7},{t % 5}" for t in range(200)], "time,a,b")
    rows = [f"{who}_walk,{a},{a + 2},{label}" for who in "12" for a, label in ((0, "rest"), (2, "walk"))]
    made = load(tmp_path / "x", rows, name_pattern="{subject}/{recording}.csv")
    assert all((one.y == np.repeat([0, 1], 100)).all() for one in (*made.train, *made.test))
    with pytest.raises(UsageError, match=r"line 2: 'walk\.csv' may be '1_walk' or '2_walk'; name the recording so"):
        load(tmp_path / "x", ["walk.csv,0,2,rest", *rows], name_pattern="{subject}/{recording}.csv")


def test_a_file_of_intervals_needs_its_columns(tmp_path: Path) -> None:
    path = unlabelled(tmp_path / "x")
    file = write(tmp_path / "labels.csv", ["s1_1,0,1"], "recording,start,end")
    with pytest.raises(UsageError, match="no column 'label'; a file of intervals begins with recording,start,end,label"):
        load_recordings(path, DataConfig(intervals=str(file)))
    with pytest.raises(UsageError, match=r"--intervals .*none\.csv: no such file"):
        load_recordings(path, DataConfig(intervals=str(tmp_path / "none.csv")))
