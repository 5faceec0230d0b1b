# SPDX-License-Identifier: Apache-2.0
"""The data report and its command, against what was written into the files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import memkd_edge
from memkd_edge.cli.main import main
from memkd_edge.config import DataConfig
from memkd_edge.data.data_report import examine
from memkd_edge.data.dataset import Dataset
from memkd_edge.data.loading import as_wanted, load_data
from memkd_edge.data.recording_loading import load_recordings
from memkd_edge.data.recordings import Recordings
from memkd_edge.errors import UsageError
from tests.data.recording_examples import HEADER, folder, lines, signal, write

PATTERN = "{subject}_{recording}.csv"
SPSW = Path(__file__).parents[2].parent / "shared/data/raw/spsw"


def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["memkd-edge", *arguments])
    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_seconds_of_each_class_gaps_and_ends(tmp_path: Path) -> None:
    rows = lines(*signal(1))
    for row in range(120, 140):
        rows[row] = ",".join([rows[row].split(",")[0], "4.0", *rows[row].split(",")[2:]])
    rows[:10] = [row.replace("rest", "") for row in rows[:10]]
    write(folder(tmp_path) / "s1_1.csv", rows[:20] + rows[50:])
    notes: list[str] = []
    report = examine(DataConfig(dataset=str(tmp_path), name_pattern=PATTERN, test_subjects=("s4",)), notes)
    assert (report.kind, report.amounts, report.sample_rate_hz, report.labels) == ("recordings", "s", 50.0, ("rest", "walk"))
    one, two, _, four = report.subjects
    assert (one.subject, one.part, one.recordings, one.without) == ("s1", "training", 2, 0.2)
    assert one.amounts == pytest.approx((2.0 + 1.2, 4.0))
    assert two.amounts == (4.0, 4.0)
    assert (four.subject, four.part) == ("s4", "test")
    assert report.gaps_s["s1_1"] == pytest.approx((0.62,))
    assert report.rates_hz == pytest.approx((50.0, 50.0))
    x = report.channels[0]
    assert (x.name, x.unit, x.maximum) == ("acc_x", "", 4.0)
    assert x.at_maximum == pytest.approx(20 / 1570)
    table = pd.concat([pd.read_csv(file) for file in tmp_path.iterdir()])
    y = report.channels[1]
    lowest, highest = table.acc_y.min(), table.acc_y.max()
    assert (y.minimum, y.maximum) == pytest.approx((lowest, highest))
    assert (y.at_minimum, y.at_maximum) == pytest.approx(((table.acc_y == lowest).mean(), (table.acc_y == highest).mean()))
    assert notes == list(report.notes)
    assert sum("end of its range" in note for note in notes) == 1  # not the two highest values of 1,570
    assert "acc_x: 1.3% of its values are exactly 4, its highest; is the sensor at the end of its range?" in notes


def test_constant_channels_and_other_units_are_noted(tmp_path: Path) -> None:
    for subject in range(1, 5):
        seconds, values, labels = signal(subject)
        values = (values + 1) * (1 / 9.81 if subject == 2 else 1)
        write(
            tmp_path / f"s{subject}_1.csv", lines(seconds, np.c_[values, 0 * seconds], labels), HEADER.replace("label", "z,label")
        )
    notes: list[str] = []
    report = examine(DataConfig(dataset=str(tmp_path), name_pattern=PATTERN, channels=("acc_x", "acc_y")), notes)
    assert any("the values of s2 are 9.8 times smaller than the others'" in note for note in notes)
    report = examine(DataConfig(dataset=str(tmp_path), name_pattern=PATTERN), notes)
    assert any("z is constant (0)" in note for note in notes)
    assert report.channels[2].minimum == report.channels[2].maximum == 0.0


def test_windows_are_reported_too(tmp_path: Path) -> None:
    report = examine(DataConfig(dataset="BasicMotions"), [])
    assert report.kind == report.amounts == "windows"
    assert [(row.part, row.amounts) for row in report.subjects] == [("training", (10.0,) * 4), ("test", (10.0,) * 4)]
    cut = DataConfig(dataset=str(folder(tmp_path)), name_pattern=PATTERN, windows="1s")
    report = examine(cut, [])
    assert {row.subject for row in report.subjects} == {"0", "1", "2", "3"}
    assert isinstance(load_data(cut, lambda text: None)[0], Dataset)


def test_what_a_path_holds_decides(tmp_path: Path) -> None:
    windows = write(
        tmp_path / "windows.csv",
        [f"w{n},{'ab'[n % 2]},{np.sin(n + t):.3f}" for n in range(12) for t in range(5)],
        "series,label,x",
    )
    assert isinstance(load_data(DataConfig(dataset=str(windows)), lambda text: None)[0], Dataset)
    rows = [f"s{who},{line}" for who in range(4) for line in lines(*signal(who))]
    for ending in ("csv", "tsv", "txt"):
        text = "\n".join(["subject," + HEADER, *rows])
        file = tmp_path / f"all.{ending}"
        file.write_text(text.replace(",", "\t") if ending == "tsv" else text)
        made = load_data(DataConfig(dataset=str(file)), lambda text: None)[0]
        assert isinstance(made, Recordings)
        assert sorted(one.name for one in (*made.train, *made.test)) == ["s0", "s1", "s2", "s3"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "[b]\x1b[31mwalk"
    for file in folder(tmp_path / "x").iterdir():
        file.write_text(file.read_text().replace("walk", hostile))
    arguments = ("data", str(tmp_path / "x"), "--name-pattern", PATTERN)
    code, out, err = called(monkeypatch, capsys, *arguments)
    assert (code, err) == (0, "")
    assert "[b]\\x1b[31mwalk" in out
    assert "\x1b" not in out
    assert "x: recordings, 50 Hz; seconds of each class" in out
    assert [line.split() for line in out.splitlines() if line.strip().startswith("all")] == [["all", "6", "12.0", "12.0", "24.0"]]
    code, out, err = called(monkeypatch, capsys, *arguments, "--json", "--test-subjects", "s1,s2")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert [row["subject"] for row in report["subjects"] if row["part"] == "test"] == ["s1", "s2"]
    assert report["split"].startswith("subjects s1, s2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ignore", "sleep"], "--ignore sleep: no such label among rest, walk"),
        (["--time-unit", "h"], "--time-unit h: choose s, ms, us or ns"),
        (["--test-fraction", "1.5"], "--test-fraction is a share between 0 and 1, not 1.5"),
        (["--max-gap", "soon"], "--max-gap 'soon': a duration such as 2s"),
        (["--label", "x"], "line 1: no column 'x' among time, acc_x, acc_y, label; expected is a header such as"),
    ],
)
def test_a_refusal_is_one_line_after_what_was_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    code, out, err = called(monkeypatch, capsys, "data", str(folder(tmp_path)), "--name-pattern", PATTERN, *options)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: ")
    assert message in err.splitlines()[-1]
    assert all(not line.startswith("error") for line in err.splitlines()[:-1])


def test_the_example_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "mine"
    code, out, err = called(monkeypatch, capsys, "init", str(place))
    assert (code, err) == (0, "")
    assert out == f"9 files in {place}; next: memkd-edge data {place}; memkd-edge distill --dataset {place}\n"
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    assert len(before) == 9
    assert list(tmp_path.iterdir()) == [place]
    report = examine(DataConfig(dataset=str(place)), [])
    assert report.labels == ("rest", "turn", "walk")
    assert {row.subject for row in report.subjects} == {"s01", "s02", "s03", "s04"}
    assert [channel.unit for channel in report.channels] == ["m/s2"] * 3 + ["rad/s"]
    code, out, err = called(monkeypatch, capsys, "init", str(place))
    assert (code, out) == (2, "")
    assert "is not empty; name another folder, or --force" in err
    (place / "s01_01.csv").write_text("")
    assert called(monkeypatch, capsys, "init", str(place), "--force")[0] == 0
    assert {file.name: file.read_bytes() for file in place.iterdir()} == before
    assert "is a file; name a folder" in called(monkeypatch, capsys, "init", str(place / "README.md"))[2]


@pytest.mark.skipif(not SPSW.is_dir(), reason="../shared/data/raw/spsw is not here")
def test_spsw() -> None:
    options = DataConfig(
        dataset=str(SPSW), name_pattern="{subject}_{recording}_sw.csv", test_subjects=("s17", "s18", "s19", "s20")
    )
    data, sources = load_data(options, lambda text: None)
    assert isinstance(data, Recordings)
    assert data.sample_rate_hz == 104.0
    assert (len(data.train), len(data.test)) == (155, 40)
    assert all(one.kept for one in sources)
    first = data.train[0]
    rows = np.loadtxt(SPSW / "s01_01_sw.csv", delimiter=",", skiprows=1, usecols=range(6))
    assert np.abs(first.x - rows).max() < 1e-5
    labels = np.loadtxt(SPSW / "s01_01_sw.csv", delimiter=",", skiprows=1, usecols=7, dtype=str)
    assert [data.labels[index] for index in first.y] == labels.tolist()


def test_a_million_rows_need_little_more_than_their_values(tmp_path: Path) -> None:
    # 8 recordings, 6 channels: 24 MB of float32 and 8 MB of class indices. Ten million took 980 MB, pandas included.
    rows = [
        f"{row % 7},{row % 11},{row % 13},{row % 17},{row % 19},{row % 23},{'walk' if row % 500 < 250 else 'rest'}"
        for row in range(1000)
    ]
    with (tmp_path / "all.csv").open("w") as file:
        file.write("subject,a,b,c,d,e,f,label\n")
        for subject in range(8):
            file.write("".join(f"s{subject},{row}\n" for row in rows) * 125)
    program = (
        "import resource, sys; import pandas\n"
        "from memkd_edge.config import DataConfig\n"
        "from memkd_edge.data.recording_loading import load_recordings\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak()\n"
        "load_recordings(sys.argv[1], DataConfig(time='none', rate=100.0))\n"
        "print(peak() - before)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "all.csv")], capture_output=True, text=True, check=True, env=environment
    )
    assert float(done.stdout) < 200


def test_windows_of_recordings_are_a_data_set_to_train_on(tmp_path: Path) -> None:
    options = DataConfig(dataset=str(folder(tmp_path)), name_pattern=PATTERN, windows="1s", hop="0.5s")
    notes: list[str] = []
    made, _ = load_data(options, notes.append)
    assert isinstance(made, Dataset)
    assert made.x_train.shape == (36, 50, 2)
    assert "windows: 36 to train and 12 to test, of 50 samples, 25 apart, of one label each" in notes
    assert "time: column 'time', s since the start (guessed; --time-unit says otherwise)" in notes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ignore": ("Walking",)}, "--ignore is for recordings, and BasicMotions holds windows"),
        ({"test_subjects": ("s1",)}, "--test-subjects is for recordings"),
        ({"test_fraction": 0.5}, "--test-fraction is for recordings"),
        ({"dataset": "SPSW", "groups": "subject"}, "--groups is for windows; name the column of people with --subject"),
        ({"dataset": "SPSW", "hop": "1s"}, "--hop is the distance of windows; give their length with --windows"),
    ],
)
def test_options_of_the_other_kind_of_data_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_data(DataConfig(**{"dataset": "BasicMotions", **given}), lambda text: None)  # type: ignore[arg-type]


def test_what_a_program_has_loaded_is_cut_and_not_read_again(tmp_path: Path) -> None:
    whole = load_recordings(folder(tmp_path), DataConfig(name_pattern=PATTERN))
    cut, _ = load_data(DataConfig(dataset=str(tmp_path), name_pattern=PATTERN, windows="1s"), lambda text: None)
    windows = as_wanted(whole, DataConfig(windows="1s"))
    assert isinstance(windows, Dataset)
    assert windows.sha256 == cut.sha256
    assert as_wanted(whole, DataConfig(balance=True, refuse=0.1)) is whole
    for given in ({"rate": 20.0}, {"ignore": ("rest",)}, {"dataset": "GunPoint"}):
        with pytest.raises(UsageError, match=f"--{next(iter(given))} says how data are read, and these are read already"):
            memkd_edge.distill(data=whole, run_root=tmp_path, **given)
    with pytest.raises(UsageError, match="--windows cuts recordings"):
        as_wanted(windows, DataConfig(windows="1s"))
    for other in ("GunPoint", windows.x_train, pd.DataFrame()):
        with pytest.raises(UsageError, match=f"data is a {type(other).__name__}; it takes what recordings_from_frame"):
            memkd_edge.distill(data=other, run_root=tmp_path)  # type: ignore[arg-type]
