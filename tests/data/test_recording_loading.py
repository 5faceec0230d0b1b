# SPDX-License-Identifier: Apache-2.0
"""Recordings from folders, files, frames and arrays: what is understood, what is said, what is refused."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from memkd_edge.config import DataConfig
from memkd_edge.data.recording_loading import (
    load_recordings,
    load_with_sources,
    recordings_from_arrays,
    recordings_from_frame,
)
from memkd_edge.data.recording_split import leave_one_subject_out
from memkd_edge.data.recordings import NO_CLASS, Recordings
from memkd_edge.errors import UsageError
from tests.data.recording_examples import HEADER, folder, lines, signal, write

PATTERN = "{subject}_{recording}.csv"


def load(path: Path, **options: object) -> Recordings:
    return load_recordings(path, DataConfig(**{"name_pattern": PATTERN, **options}))  # type: ignore[arg-type]


def told(path: Path, **options: object) -> str:
    notes: list[str] = []
    load_recordings(path, DataConfig(**{"name_pattern": PATTERN, **options}), note=notes.append)  # type: ignore[arg-type]
    return "\n".join(notes)


def refused(path: Path, **options: object) -> str:
    with pytest.raises(UsageError) as caught:
        load(path, **options)
    return str(caught.value)


def test_a_folder_of_files(tmp_path: Path) -> None:
    made = load(folder(tmp_path))
    assert made.labels == ("rest", "walk")
    assert made.channels == ("acc_x", "acc_y")
    assert made.sample_rate_hz == 50.0
    assert {one.subject for one in made.train} | {one.subject for one in made.test} == {"s1", "s2", "s3", "s4"}
    assert not {one.subject for one in made.train} & {one.subject for one in made.test}
    assert made.split == f"subjects {made.test[0].subject} (1 of 4, 25% of the samples), by subject, seed 0"
    first = next(one for one in (*made.train, *made.test) if one.name == "s3_2")
    _, values, labels = signal(3)
    assert np.allclose(first.x, values, atol=1e-6)
    assert first.y.tolist() == [["rest", "walk"].index(label) for label in labels]
    assert load(tmp_path, test_subjects=("s2", "s4")).split.startswith("subjects s2, s4 (2 of 4, 50% of the samples), as --test")


def test_what_was_taken_for_what_is_said(tmp_path: Path) -> None:
    (folder(tmp_path) / "readme.md").write_text("about")
    write(tmp_path / "people.csv", ["s1,31"], "subject,age")
    notes = told(tmp_path)
    assert "columns: time time; label label; channels acc_x, acc_y" in notes
    assert "left out, as not named as --name-pattern says: people.csv, readme.md" in notes
    assert "time: column 'time', s since the start (guessed; --time-unit says otherwise)" in notes
    assert "rate: 50 Hz, as the recordings have 50 rows a second; --rate says otherwise" in notes
    assert "8 recordings in 8 stretches: 0 gaps above 10 intervals" in notes
    assert "test part: subjects s" in notes


def test_one_file_of_all(tmp_path: Path) -> None:
    rows = [f"{who},{trial},{line}" for who in range(3) for trial in range(2) for line in lines(*signal(who))]
    write(tmp_path / "all.csv", rows, "person,trial," + HEADER)
    made = load(tmp_path / "all.csv", test_subjects=("2",))
    assert [(one.name, one.subject) for one in made.train] == [("0_0", "0"), ("0_1", "0"), ("1_0", "1"), ("1_1", "1")]
    mixed = sorted(range(1200), key=lambda row: row % 200)  # rows of all recordings in turn
    write(tmp_path / "mixed.csv", [rows[row] for row in mixed], "person,trial," + HEADER)
    assert load(tmp_path / "mixed.csv", test_subjects=("2",)).sha256 == made.sha256


@pytest.mark.parametrize(("separator", "decimal"), [(";", "."), (";", ","), ("\t", ","), ("\t", ".")])
def test_separators_and_decimal_marks(tmp_path: Path, separator: str, decimal: str) -> None:
    plain = load(folder(tmp_path / "plain"))
    (tmp_path / "other").mkdir()
    for file in (tmp_path / "plain").iterdir():
        text = file.read_text().replace(",", separator).replace(".", decimal)
        (tmp_path / "other" / file.name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert load(tmp_path / "other").sha256 == plain.sha256


def test_parquet_and_frames_are_read_alike(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    plain = load(folder(tmp_path / "plain"))
    (tmp_path / "other").mkdir()
    frames = []
    for file in sorted((tmp_path / "plain").iterdir()):
        frame = pd.read_csv(file)
        frame.to_parquet(tmp_path / "other" / f"{file.stem}.parquet")
        frames.append(frame.assign(subject=file.stem[:2], recording=file.stem[3:]))
    assert load(tmp_path / "other", name_pattern="{subject}_{recording}.parquet").sha256 == plain.sha256
    assert recordings_from_frame(pd.concat(frames)).sha256 == plain.sha256
    with pytest.raises(UsageError, match=r"recordings: a pandas\.DataFrame is expected, not the recarray of numpy"):
        recordings_from_frame(frames[0].to_records())


def test_arrays() -> None:
    parts = [signal(subject) for subject in (1, 2, 3, 4) for _ in range(2)]
    made = recordings_from_arrays(
        [values for _, values, _ in parts],
        [labels for _, _, labels in parts],
        [1, 1, 2, 2, 3, 3, 4, 4],
        sample_rate_hz=50.3,
        channels=("acc x [g]", "y"),
        units=("g", ""),
    )
    assert (made.sample_rate_hz, made.channels, made.units) == (50.3, ("acc x [g]", "y"), ("g", ""))
    assert {one.subject for one in made.test} <= {"1", "2", "3", "4"}
    other = recordings_from_arrays(
        [np.ones((4, 1)) * [[0], [1], [0], [2]]] * 2, [[1, None, 2.0, math.nan]] * 2, sample_rate_hz=10
    )
    assert other.labels == ("1", "2")
    assert other.train[0].y.tolist() == [0, NO_CLASS, 1, NO_CLASS]
    with pytest.raises(UsageError, match=r"recording 1: a signal \[5, 2\] and labels \[4\]"):
        recordings_from_arrays([np.ones((4, 2)), np.ones((5, 2))], [list("aabb")] * 2, sample_rate_hz=10)
    for rate in (0, math.nan, math.inf):
        with pytest.raises(UsageError, match=r"sample_rate_hz is .*; a number above 0 is expected"):
            recordings_from_arrays([np.ones((4, 2))] * 2, [list("aabb")] * 2, sample_rate_hz=rate)
    with pytest.raises(UsageError, match="1 groups are given for 2 recordings"):
        recordings_from_arrays([np.ones((4, 2))] * 2, [list("aabb")] * 2, [1], sample_rate_hz=10)


def test_arrays_of_pandas_and_masked_ones() -> None:
    parts = [signal(subject) for subject in (1, 2, 3, 4)]
    signals, labels, groups = [x for _, x, _ in parts], [np.array(y) for *_, y in parts], ["p", "q", "r", "s"]
    plain = recordings_from_arrays(signals, labels, groups, sample_rate_hz=50)
    shuffled = pd.Series(groups, index=[2, 0, 3, 1])  # an index says nothing of places
    names = pd.Series([f"recording {number}" for number in range(4)], index=[1, 2, 3, 0])
    frames = [pd.DataFrame(x, columns=["a", "b"]) for x in signals]
    made = recordings_from_arrays(frames, labels, shuffled, names=names, sample_rate_hz=50)
    assert made.sha256 == plain.sha256
    assert [one.subject for one in made.train] == [one.subject for one in plain.train]
    with pytest.raises(UsageError, match="recording 2: the columns are b, a, where they are a, b elsewhere"):
        recordings_from_arrays([*frames[:2], frames[2][["b", "a"]], frames[3]], labels, groups, sample_rate_hz=50)
    with pytest.raises(UsageError, match="recording 0: the columns are a, b, where they are b, a elsewhere"):
        recordings_from_arrays(frames, labels, groups, channels=("b", "a"), sample_rate_hz=50)
    with pytest.raises(UsageError, match=r"recording 0: a signal is numbers \[samples, channels\]: could not convert"):
        recordings_from_arrays([np.full_like(x, "?", dtype=object) for x in signals], labels, groups, sample_rate_hz=50)

    gone = np.arange(len(signals[0])) == 20
    spoilt = [np.where(gone[:, None], 1e6, x) for x in signals]
    missing = [np.where(gone[:, None], np.nan, x) for x in signals]
    unknown = [np.where(gone, "", y) for y in labels]
    expected = recordings_from_arrays(missing, unknown, groups, sample_rate_hz=50)
    masked = [np.ma.masked_greater(x, 1e5) for x in spoilt], [np.ma.masked_array(y, gone) for y in labels]
    assert recordings_from_arrays(*masked, groups, sample_rate_hz=50).sha256 == expected.sha256


def test_a_recording_under_two_names_is_noted(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "s9_9.csv").write_bytes((tmp_path / "s2_1.csv").read_bytes())
    notes: list[str] = []
    load_recordings(tmp_path, DataConfig(name_pattern="{subject}_{recording}.csv"), note=notes.append)
    (note,) = (text for text in notes if "twice" in text)
    assert "s9_9 as s2_1; leave copies out" in note


def test_two_spellings_of_one_name_are_noted(tmp_path: Path) -> None:
    for name, label in (("s1_1", "rest"), ("S1_2", "rest"), ("s2_1", "Rest"), ("s3_1", "Rest"), ("s4_1", "rest")):
        write(tmp_path / f"{name}.csv", [row.replace("rest", label) for row in lines(*signal(int(name[1])))])
    notes: list[str] = []
    load_recordings(tmp_path, DataConfig(name_pattern="{subject}_{recording}.csv", test_subjects=("s4",)), note=notes.append)
    for names in ("classes Rest, rest", "subjects S1, s1"):
        assert f"{names} differ in upper and lower case alone: if they are one, spell them alike" in notes


def test_subjects_of_arrays_are_spelt_as_labels_are() -> None:
    parts = [signal(subject) for subject in (1, 2, 3, 4)]

    def made(*groups: object) -> tuple[str, list[str]]:
        found = recordings_from_arrays([x for _, x, _ in parts], [y for *_, y in parts], groups, sample_rate_hz=50)
        return found.split.split()[0], [one.subject for one in (*found.train, *found.test)]

    assert made(1, 1.0, b"2", " 2 ") == ("subjects", ["1", "1", "2", "2"])
    assert made(1, 2, None, math.nan) == ("recordings", ["1", "2", "", ""])  # not persons named None and nan


@pytest.mark.parametrize(("unit", "scale", "start"), [("ms", 1e3, 0), ("ms", 1e3, 1.7e9), ("us", 1e6, 1.7e9), ("ns", 1e9, 1.7e9)])
def test_units_of_time_do_not_matter(tmp_path: Path, unit: str, scale: float, start: float) -> None:
    plain = load(folder(tmp_path / "plain"))
    (tmp_path / "other").mkdir()
    for file in (tmp_path / "plain").iterdir():
        frame = pd.read_csv(file)
        frame["time"] = ((frame["time"] + start) * scale).round().astype(np.int64)
        frame.to_csv(tmp_path / "other" / file.name, index=False)
    assert load(tmp_path / "other").sha256 == plain.sha256
    assert f"{unit} since {'1970' if start else 'the start'}" in told(tmp_path / "other")


def test_iso_8601(tmp_path: Path) -> None:
    plain = load(folder(tmp_path / "plain"))
    (tmp_path / "other").mkdir()
    for file in (tmp_path / "plain").iterdir():
        frame = pd.read_csv(file)
        frame["time"] = (pd.Timestamp("2026-03-29T00:59:58Z") + pd.to_timedelta(frame["time"], unit="s")).dt.strftime(
            "%Y-%m-%dT%H:%M:%S.%f%z"
        )
        frame.to_csv(tmp_path / "other" / file.name, index=False)
    assert load(tmp_path / "other").sha256 == plain.sha256
    assert "time: column 'time', ISO 8601" in told(tmp_path / "other")
    file = tmp_path / "other" / "s1_1.csv"
    file.write_text(file.read_text().replace("2026-03-29T00:59:58.04", "yesterday"))
    assert f"{file}, line 4, column 'time': 'yesterday" in refused(tmp_path / "other")


def test_all_are_resampled_to_one_rate(tmp_path: Path) -> None:
    folder(tmp_path, subjects=3)
    for number in (1, 2):
        write(tmp_path / f"s4_{number}.csv", lines(*signal(4, 400, 100.0)))
    assert "s4_1.csv: 100 rows a second, where" in refused(tmp_path)
    assert "--rate 1e+12: the recordings have" in refused(tmp_path, rate=1e12)
    assert "give --rate HZ, at best 50" in refused(tmp_path)
    made = load(tmp_path, rate=50.0)
    stretch = next(one for one in made.train + made.test if one.name == "s4_1")
    exact = signal(4)
    assert np.abs(stretch.x[110:190] - exact[1][110:190]).max() < 0.02  # walking at 2 Hz
    assert stretch.y.tolist() == [["rest", "walk"].index(label) for label in exact[2]]
    assert "resampled to 50 Hz behind an anti-aliasing filter: 2 of 8 recordings" in told(tmp_path, rate=50.0)
    assert load(tmp_path, rate=50.0, time="none").train[0].x.shape == (200, 2)


def test_gaps_split_and_lost_rows_are_interpolated(tmp_path: Path) -> None:
    rows = lines(*signal(1))
    write(folder(tmp_path) / "s1_1.csv", rows[:50] + rows[80:])
    made = load(tmp_path, test_subjects=("s4",))
    plain_classes = made.train[2].y
    assert [(one.name, len(one.x)) for one in made.train[:2]] == [("s1_1", 50), ("s1_1#2", 120)]
    bridged = load(tmp_path, test_subjects=("s4",), max_gap="2s")
    assert [(one.name, len(one.x)) for one in bridged.train[:2]] == [("s1_1", 200), ("s1_2", 200)]
    values = signal(1)[1]
    kept = [*range(50), *range(80, 200)]
    assert np.allclose(bridged.train[0].x[kept], values[kept], atol=1e-6)
    assert np.allclose(bridged.train[0].x[50:80, 1], np.interp(np.arange(50, 80), [49, 80], values[[49, 80], 1]), atol=1e-6)
    assert (bridged.train[0].y == plain_classes).all()
    _, sources = load_with_sources(tmp_path, DataConfig(name_pattern=PATTERN, max_gap="2s"))
    assert [one.kept for one in sources] == [False] + [True] * 7
    assert "time: 30 rows were lost, as the others come late for good; up to 2s at a time" in told(tmp_path, max_gap="2s")
    assert "8 recordings in 9 stretches: 1 gaps above 10 intervals" in told(tmp_path)


def test_uneven_rows_are_interpolated_by_their_stamps(tmp_path: Path) -> None:
    _, _, labels = signal(1)
    seconds = np.cumsum(0.02 * (1 + 0.5 * np.sin(np.arange(400) / 40)))
    values = np.stack([np.sin(2 * np.pi * seconds), seconds % 1], axis=1)
    write(folder(tmp_path) / "s1_1.csv", lines(seconds, values, np.repeat(labels, 2).tolist()))
    made = load(tmp_path, rate=50.0, test_subjects=("s4",))
    at = seconds[0] + np.arange(len(made.train[0].x)) / 50
    assert np.abs(made.train[0].x[:, 0] - np.sin(2 * np.pi * at)).max() < 0.01
    _, sources = load_with_sources(tmp_path, DataConfig(name_pattern=PATTERN, rate=50.0))
    assert sources[0].rate_hz == pytest.approx(399 / (seconds[-1] - seconds[0]), rel=0.1)
    assert "1 of 8 recordings are not evenly spaced, and interpolated by their time stamps" in told(tmp_path, rate=50.0)


def test_missing_values(tmp_path: Path) -> None:
    rows = lines(*signal(1))
    for row in (20, 21, *range(60, 90)):
        rows[row] = rows[row].replace(rows[row].split(",")[2], "" if row % 2 else "NaN")
    write(folder(tmp_path) / "s1_1.csv", rows)
    made = load(tmp_path, test_subjects=("s4",))
    assert [(one.name, len(one.x)) for one in made.train[:2]] == [("s1_1", 60), ("s1_1#2", 110)]
    between = np.interp([20, 21], [19, 22], signal(1)[1][[19, 22], 1])
    assert np.allclose(made.train[0].x[[20, 21], 1], between, atol=1e-5)
    assert "missing values: 32; runs of up to 10 intervals are interpolated" in told(tmp_path)
    write(tmp_path / "s1_1.csv", [line.replace(line.split(",")[1], "nan") for line in rows])
    assert "s1_1.csv: nothing is left of the recording" in refused(tmp_path)
    assert "channel acc_x has no values" in refused(tmp_path)


def test_labels_that_are_ignored_missing_or_other(tmp_path: Path) -> None:
    rows = lines(*signal(1))
    rows[:30] = [line.replace("rest", "") for line in rows[:30]]
    rows[30:60] = [line.replace("rest", "tying shoes") for line in rows[30:60]]
    folder(tmp_path)
    for name in ("s1_1", "s2_2"):
        write(tmp_path / f"{name}.csv", rows)
    plain = load(tmp_path, test_subjects=("s4",))
    assert plain.labels == ("rest", "tying shoes", "walk")
    assert plain.train[0].y[[0, 29, 30, 59, 60]].tolist() == [NO_CLASS, NO_CLASS, 1, 1, 0]
    ignoring = load(tmp_path, test_subjects=("s4",), ignore=("tying shoes",))
    assert ignoring.labels == ("rest", "walk")
    assert (ignoring.train[0].y[:60] == NO_CLASS).all()
    null = load(tmp_path, test_subjects=("s4",), other="rest")
    assert null.train[0].y[[0, 29, 30, 60]].tolist() == [0, 0, 1, 0]
    new = load(tmp_path, test_subjects=("s4",), other="nothing", ignore=("tying shoes",))
    assert new.labels == ("nothing", "rest", "walk")
    assert new.train[0].y[[0, 30, 60, 199]].tolist() == [0, NO_CLASS, 1, 2]
    assert "labels: 3.8% of the rows have none, and are neither learnt nor judged" in told(tmp_path)
    assert "--ignore run: no such label among rest, tying shoes, walk" in refused(tmp_path, ignore=("run",))
    assert "choose one" in refused(tmp_path, ignore=("walk",), other="walk")
    assert "all rows are ignored or without a label" in refused(tmp_path, ignore=("walk", "rest", "tying shoes"))
    assert "all labelled rows are of class 'walk'" in refused(tmp_path, ignore=("rest", "tying shoes"))


def test_unlabelled_recordings(tmp_path: Path) -> None:
    folder(tmp_path / "known")
    (tmp_path / "more").mkdir()
    write(
        tmp_path / "more" / "x_1.csv", [",".join(reversed(line.split(",")[:3])) for line in lines(*signal(9))], "acc_y,acc_x,time"
    )
    made = load(tmp_path / "known", unlabelled=str(tmp_path / "more"))
    assert [(one.name, one.subject) for one in made.unlabelled] == [("x_1", "x")]
    assert np.allclose(made.unlabelled[0].x, signal(9)[1], atol=1e-6)
    assert (made.unlabelled[0].y == NO_CLASS).all()
    write(tmp_path / "more" / "x_1.csv", ["0,1"] * 5, "time,gyro")
    assert "channels gyro, where" in refused(tmp_path / "known", unlabelled=str(tmp_path / "more"), rate=50.0)


def test_every_subject_is_left_out_once(tmp_path: Path) -> None:
    made = load(folder(tmp_path))
    folds = list(leave_one_subject_out(made))
    assert sorted(fold.split for fold in folds) == [f"subject s{number} left out" for number in (1, 2, 3, 4)]
    for fold in folds:
        assert {one.subject for one in fold.test} == {fold.split.split()[1]}
        assert len(fold.train) == 6
    alone = recordings_from_arrays([signal(1)[1]] * 2, [signal(1)[2]] * 2, sample_rate_hz=50)
    with pytest.raises(UsageError, match="every recording needs one"):
        next(leave_one_subject_out(alone))


def test_one_subject_is_split_by_recording_and_said(tmp_path: Path) -> None:
    folder(tmp_path, subjects=1, recordings=4)
    made = load(tmp_path)
    assert made.split.startswith("recordings s1_")
    assert "by recording, seed 0" in made.split
    assert "one subject is known: the test is on other recordings" in told(tmp_path)
    assert "subjects are not known: the test" in told(tmp_path, name_pattern="*{recording}.csv")
    for file in list(tmp_path.iterdir())[1:]:
        file.unlink()
    assert "there is a single recording" in refused(tmp_path)


# What is refused.


def test_files_of_other_channels(tmp_path: Path) -> None:
    rows = [line.replace(",", ",0,", 1) for line in lines(*signal(2))]
    write(folder(tmp_path) / "s2_1.csv", rows, "time,gyro,acc_x,acc_y,label")
    message = refused(tmp_path)
    assert f"{tmp_path}/s2_1.csv: other channels than in {tmp_path}/s1_1.csv: it has gyro" in message
    assert load(tmp_path, channels=("acc_x", "acc_y")).sha256 == load(folder(tmp_path)).sha256


def test_a_foreign_file(tmp_path: Path) -> None:
    write(folder(tmp_path) / "people.csv", ["s1,31"], "subject,age")
    message = refused(tmp_path, name_pattern="")
    assert message.startswith(f"{tmp_path}/people.csv: no column of labels among subject, age")
    assert "say which are with --name-pattern" in message
    assert "`time,acc_x [m/s2],acc_y [m/s2],label`" in message
    assert "none of 9 files matches --name-pattern {subject}-{recording}.txt" in refused(
        tmp_path, name_pattern="{subject}-{recording}.txt"
    )
    assert "{subject}, {recording}" in refused(tmp_path, name_pattern="{who}.csv")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "s9_1.csv").write_text((tmp_path / "s1_1.csv").read_text())
    assert "left out, as not named as --name-pattern says: people.csv, sub" in told(tmp_path)


def test_no_labels_no_time_no_channels(tmp_path: Path) -> None:
    file = write(tmp_path / "s1_1.csv", ["0.00,1"] * 9, "time,acc")
    assert f"{file}: no column of labels among time, acc; name it with --label" in refused(tmp_path)
    write(file, ["a,1"] * 9, "label,acc")
    assert f"{file}: no time stamps; name the column of time with --time, or give --rate HZ" in refused(tmp_path)
    write(file, ["a,1"] * 9, "label,time")
    assert f"{file}, line 1: no channels among the columns label, time; expected is a header" in refused(tmp_path)
    write(file, ["1,2,3"] * 3, "0.1,9.81,3")
    assert f"{file}, line 1: numbers stand where the header should be; expected is" in refused(tmp_path)
    write(file, ["a,b,1"] * 3, "activity,class,acc")
    assert "columns 'activity' and 'class' could both be the label; name one by --label" in refused(tmp_path)
    assert f"{file}, line 1: no column 'x' among" in refused(tmp_path, label="x")
    write(file, [], "label,time,acc")
    assert f"{file}: there are no rows below the header" in refused(tmp_path)
    file.write_text("")
    assert f"{file}: the file is empty; expected is" in refused(tmp_path)


def test_bad_fields_are_named_by_line_and_column(tmp_path: Path) -> None:
    rows = lines(*signal(1))
    file = folder(tmp_path) / "s2_2.csv"

    def with_row(number: int, text: str) -> str:
        write(file, [*rows[:number], text, *rows[number + 1 :]])
        return refused(tmp_path)

    assert f"{file}, line 7, column 'acc_y': '9,8.1' is not a number" in with_row(5, '0.1,1,"9,8.1",rest')
    assert f"{file}, line 7, column 'acc_x': 'abc' is not a number; if the column is no signal" in with_row(5, "0.1,abc,1,rest")
    assert f"{file}, line 7: 3 fields where the header has 4" in with_row(5, "0.1,1,rest")
    assert f"{file}, line 201: 2 fields where the header has 4" in with_row(199, "0.1,1")
    assert f"{file}, line 7: 5 fields where the header has 4" in with_row(5, "0.1,1,2,3,rest")
    assert f"{file}, line 2: 5 fields where the header has 4" in with_row(0, "0.1,1,2,3,rest")
    assert f"{file}, line 7: an infinite value" in with_row(5, "0.1,1e39,2,rest")
    assert f"{file}, line 7: no time in column 'time'" in with_row(5, ",1,2,rest")
    assert f"{file}, line 9: time runs backwards, by 0.88 s" in with_row(5, "\n1,1,2,rest")
    assert f"{file}, line 7: the time is that of the row before" in with_row(5, rows[4])
    file.write_bytes(b"time,acc_x,acc_y,label\n0,1,2,\xff\xfe\n")
    assert f"{file}: not a text file" in refused(tmp_path)


def test_a_class_that_one_subject_alone_has(tmp_path: Path) -> None:
    rows = [line.replace("walk", "climb") for line in lines(*signal(1))]
    write(folder(tmp_path) / "s2_2.csv", rows)
    assert "class 'climb' stands in subject 's2' alone" in refused(tmp_path)
    assert load(tmp_path, ignore=("climb",)).labels == ("rest", "walk")
    assert "class 'climb' has no training samples" in refused(tmp_path, test_subjects=("s2",))
    assert "the subjects are s1, s2, s3, s4" in refused(tmp_path, test_subjects=("s5",))


def test_mixed_units_of_time(tmp_path: Path) -> None:
    frame = pd.read_csv(folder(tmp_path) / "s3_1.csv")
    frame["time"] *= 1000
    frame.to_csv(tmp_path / "s3_1.csv", index=False)
    message = refused(tmp_path)
    assert f"{tmp_path}/s3_1.csv: time seems to be in ms since the start, in {tmp_path}/s1_1.csv in s since the start" in message


def test_a_clock_among_the_channels(tmp_path: Path) -> None:
    rows = [f"{row},{line}" for row, line in enumerate(lines(*signal(1)))]
    for name in ("s1_1", "s1_2", "s2_1", "s2_2"):
        write(tmp_path / f"{name}.csv", rows, "tick," + HEADER)
    assert "tick never falls" in refused(tmp_path)
    assert load(tmp_path, channels=("acc_x", "acc_y")).channels == ("acc_x", "acc_y")
    for name in ("s1_1", "s1_2", "s2_1", "s2_2"):
        write(tmp_path / f"{name}.csv", rows, "index," + HEADER)
    assert "not used index" in told(tmp_path)


def test_two_recordings_of_one_name(tmp_path: Path) -> None:
    for sub in ("a", "b"):
        folder(tmp_path / sub)
    message = refused(tmp_path, name_pattern="*/{subject}_{recording}.csv")
    assert f"{tmp_path}/b/s1_1.csv: the name 's1_1' is that of {tmp_path}/a/s1_1.csv too" in message
    assert load(tmp_path, name_pattern="{session}/{subject}_{recording}.csv").train[0].name.startswith("a_s")


def test_sources_tell_what_was_there(tmp_path: Path) -> None:
    rows = lines(*signal(1))
    for row in range(100, 120):
        rows[row] = ",".join([rows[row].split(",")[0], "4.0", *rows[row].split(",")[2:]])
    rows[10] = rows[10].replace(rows[10].split(",")[2], "")
    write(folder(tmp_path) / "s1_1.csv", rows[:150] + rows[170:])
    _, sources = load_with_sources(tmp_path, DataConfig(name_pattern=PATTERN))
    one = sources[0]
    assert (one.name, one.subject, one.rows, one.missing, one.kept, one.repeats) == ("s1_1", "s1", 180, 1, True, 0)
    assert one.gaps == pytest.approx((0.42,))
    assert (one.maximum[0], one.at_maximum[0]) == (4.0, 20)
    assert one.rate_hz == pytest.approx(50.0)


def test_a_stretch_of_next_to_nothing_is_left_out(tmp_path: Path) -> None:
    rows = lines(*signal(1))
    write(folder(tmp_path) / "s1_1.csv", rows[:50] + rows[80:82] + rows[120:])
    made = load(tmp_path, test_subjects=("s4",))
    assert [(one.name, len(one.x)) for one in made.train[:2]] == [("s1_1", 50), ("s1_1#2", 80)]
    assert "1 stretches of fewer than 3 samples are left out" in told(tmp_path)
    write(tmp_path / "s1_1.csv", rows[:1])
    assert "s1_1.csv: 1 rows; at least 3 are needed" in refused(tmp_path)


def test_time_may_be_a_burst_of_rows_but_not_stand_still(tmp_path: Path) -> None:
    rows = lines(*signal(1))
    late = [row.replace(row.split(",")[0], rows[min(number | 3, 199)].split(",")[0], 1) for number, row in enumerate(rows)]
    write(folder(tmp_path) / "s1_1.csv", [*rows[:100], *late[100:104], *rows[104:]])  # four rows at once, when the last was due
    assert "time: 3 rows have the time of the row before; rows are evenly spaced, as they come in bursts" in told(tmp_path)
    made = load(tmp_path, test_subjects=("s4",))
    assert np.allclose(made.train[0].x, signal(1)[1], atol=1e-6)
    write(tmp_path / "s1_1.csv", late)
    assert "s1_1.csv, line 3: the time is that of the row before (150 such rows in 200)" in refused(tmp_path)


def test_the_order_of_recordings_is_that_of_the_numbers_in_their_names(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        for subject in ("a", "b"):
            write(tmp_path / f"{subject}_{number}.csv", lines(*signal(1)))
    assert [one.name for one in load(tmp_path, test_subjects=("b",)).train] == ["a_1", "a_2", "a_10"]
