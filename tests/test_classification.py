# SPDX-License-Identifier: Apache-2.0
"""`memkd-edge classify`: recordings in, decisions out, against the streaming classifier fed sample by sample."""

import dataclasses
import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import memkd_edge
from memkd_edge import classification
from memkd_edge.classification import classify
from memkd_edge.config import DataConfig
from memkd_edge.data.recordings import Recording
from memkd_edge.decision_files import writing
from memkd_edge.errors import MissingToolError, UsageError
from memkd_edge.metadata import Metadata, Resampling
from memkd_edge.nets.classifier import LstmClassifier, ModelSpec
from memkd_edge.progress import Reporter
from memkd_edge.quantization.post_training import quantize
from memkd_edge.stream_scores import stream_scores
from memkd_edge.streaming import Streamed, StreamingClassifier
from memkd_edge.vocabulary import Decision, Reset
from memkd_edge.writers.tflite import write_tflite
from tests.data.recording_examples import HEADER, folder, lines, signal, write
from tests.data.test_data_report import called

PATTERN = "{subject}_{recording}.csv"
LABELS = ("rest", "walk")


def model_file(path: Path, **changes: object) -> Path:
    torch.manual_seed(3)
    student = LstmClassifier(ModelSpec(2, 4, 2)).eval()
    facts = {
        "name": "steps",
        "labels": LABELS,
        "channels": ("acc_y", "acc_x"),  # not the order of the files
        "units": ("m/s2", "m/s2"),
        "sample_rate_hz": 50.0,
        "mean": (9.81, 0.0),
        "std": (0.2, 0.5),
        "warm_up": 5,
        "reset": Reset.NEVER,
        "decides": Decision.EVERY_SAMPLE,
        **changes,
    }
    x = np.random.default_rng(0).standard_normal((8, 50, 2)).astype(np.float32)
    path.write_bytes(write_tflite(quantize(student, x), Metadata(**facts), interface="int8"))  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_file(tmp_path_factory.mktemp("model") / "steps.tflite")


def options(path: Path, **more: object) -> DataConfig:
    return DataConfig(**{"dataset": str(path), "name_pattern": PATTERN, **more})  # type: ignore[arg-type]


def test_decisions_are_those_of_samples_pushed_one_by_one(model: Path, tmp_path: Path) -> None:
    place = folder(tmp_path / "recordings", subjects=3, recordings=2, rows=100)
    report = classify(model, options(place), out=tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    classifier, decisions, truth = StreamingClassifier(model), [], []
    for subject in (1, 2, 3):
        classifier.reset()
        own, labels = [], []
        for number in (1, 2):
            read = pd.read_csv(place / f"s{subject}_{number}.csv")
            for row in read.itertuples():
                scores = classifier.push([row.acc_y, row.acc_x])
                assert scores is not None
                own.append(-1 if classifier.decision is None else classifier.decision)
            rows = table[table.recording == f"s{subject}_{number}"]
            assert rows.label.tolist() == read.label.tolist()
            assert rows.decision.tolist() == ["" if one < 0 else LABELS[one] for one in own[-100:]]
            assert rows.time.to_numpy() == pytest.approx(np.arange(100) / 50)
            assert rows[["score rest", "score walk"]].iloc[-1].tolist() == pytest.approx(scores.tolist(), abs=1e-4)
            labels += read.label.map(LABELS.index).tolist()
        assert own[:5] == [-1] * 5
        decisions.append(np.array(own))
        truth.append(np.where(np.array(own) < 0, -1, labels))
    assert report.along == stream_scores(decisions, truth, 2, 50.0).as_dict()
    assert (report.streams, report.undecided, report.seconds) == (3, 15, 12.0)
    assert sum(report.samples.values()) == 600 - 15


def test_recordings_that_the_model_may_have_learnt_from_are_said_to_be_that(tmp_path: Path) -> None:
    model = model_file(tmp_path / "steps.tflite", dataset="recordings", dataset_split="subjects s2 (1 of 2)")
    for name, said in (("recordings", True), ("others", False)):
        place = folder(tmp_path / name, subjects=2, recordings=1, rows=100)
        notes = classify(model, options(place)).notes
        assert said == any("learnt from all but the test part (subjects s2 (1 of 2))" in note for note in notes)


def test_recordings_without_labels_are_classified_and_not_judged(model: Path, tmp_path: Path) -> None:
    header = HEADER.removesuffix(",label")
    write(tmp_path / "s1_1.csv", [row.rsplit(",", 1)[0] for row in lines(*signal(1))], header)
    report = classify(model, options(tmp_path))
    assert report.along is None
    assert sum(report.samples.values()) == 195


def test_files_with_labels_are_judged_beside_files_without(model: Path, tmp_path: Path) -> None:
    for name in ("labelled", "both"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "s2_1.csv", lines(*signal(2)))
    header = HEADER.removesuffix(",label")
    write(tmp_path / "both" / "s1_1.csv", [row.rsplit(",", 1)[0] for row in lines(*signal(1))], header)
    alone, both = (classify(model, options(tmp_path / name)).along for name in ("labelled", "both"))
    assert alone is not None
    assert both is not None
    assert both["accuracy"] == alone["accuracy"]


def test_a_model_for_events_says_that_none_begins(model: Path, tmp_path: Path) -> None:
    place = folder(tmp_path / "recordings")
    event = model_file(tmp_path / "event.tflite", reset=Reset.EVENT)
    said = "the model is for series that an event starts; here it runs on"
    assert [any(said in note for note in classify(one, options(place)).notes) for one in (event, model)] == [True, False]


def test_faster_recordings_are_resampled_and_other_classes_not_judged(model: Path, tmp_path: Path) -> None:
    seconds, values, labels = signal(1, rows=400, rate=100.0)
    write(tmp_path / "s1_1.csv", lines(seconds, values, ["fall" if label == "rest" else label for label in labels]))
    report = classify(model, options(tmp_path))
    assert report.seconds == pytest.approx(4.0)
    notes = " ".join(report.notes)
    assert "resampled to the model's 50 Hz" in notes
    assert "no such class: fall" in notes
    assert report.along is not None
    assert report.along["classes"][0]["samples"] == 0


def test_labels_come_from_intervals_too_and_some_are_not_judged(model: Path, tmp_path: Path) -> None:
    place = folder(tmp_path / "recordings", subjects=1, recordings=1)
    intervals = tmp_path / "intervals.csv"
    intervals.write_text("recording,start,end,label\ns1_1,1,2,rest\ns1_1,2,3,walk\n")

    def judged(**more: object) -> list[int]:
        along = classify(model, options(place, **more)).along
        assert along is not None
        return [one["samples"] for one in along["classes"]]

    assert judged() == [95, 100]
    assert judged(intervals=str(intervals)) == pytest.approx([50, 50], abs=1)
    assert judged(ignore=("rest",)) == [0, 100]
    assert judged(intervals=str(intervals), other="walk") == pytest.approx([50, 145], abs=1)


def test_recordings_a_little_slower_are_resampled_as_in_training(model: Path, tmp_path: Path) -> None:
    place = tmp_path / "slow"
    place.mkdir()
    write(place / "s1_1.csv", lines(*signal(1, rate=49.0)))
    report = classify(model, options(place))
    seconds = len(signal(1, rate=49.0)[0]) / 49.0
    assert report.seconds == pytest.approx(seconds, abs=0.1)
    assert sum(report.samples.values()) + report.undecided == pytest.approx(50 * seconds, abs=3)
    assert "resampled to the model's 50 Hz, from 49 and up" in report.notes


def test_what_the_model_cannot_take_is_refused(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path / "recordings")
    slow = tmp_path / "slow"
    slow.mkdir()
    write(slow / "s1_1.csv", lines(*signal(1, rate=25.0)))
    with pytest.raises(UsageError, match=r"s1_1\.csv: 25 rows a second, and the model takes 50"):
        classify(model, options(slow))
    with pytest.raises(UsageError, match="no channel acc_x, which the model takes; there are acc_y"):
        classify(model, options(place, channels=("acc_y",)))
    with pytest.raises(UsageError, match="--rate 25: the model takes 50 Hz, to which rows with time stamps are resampled"):
        classify(model, options(slow, rate=25.0))
    assert classify(model, options(place, rate=50.0)).seconds == classify(model, options(place)).seconds
    units = tmp_path / "units"
    units.mkdir()
    write(units / "s1_1.csv", lines(*signal(1)), "time,acc_x [m/s2],acc_y [g],label")
    with pytest.raises(UsageError, match="channel acc_y is in g, and the model takes m/s2"):
        classify(model, options(units))
    front = Resampling("decimate", factor=2, taps=(0.5, 0.5))
    for name, value in (("test_subjects", ("s1",)), ("refuse", 0.1), ("max_delay", 1.0), ("test_fraction", 0.5)):
        with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} is for training"):
            classify(model, options(place, **{name: value}))
    with pytest.raises(UsageError, match="resamples by itself"):
        classify(model_file(tmp_path / "front.tflite", resampling=front), options(place))
    with pytest.raises(UsageError, match=r"ends in \.csv or \.parquet"):
        classify(model, options(place), out=tmp_path / "out.txt")
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        classify(model, options(place), out=tmp_path / "there.csv")
    classify(model, options(place), out=tmp_path / "there.csv", force=True)
    assert (tmp_path / "there.csv").read_text().startswith("recording,subject,time,label,decision,score rest,score walk")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingToolError, match="parquet"):
        classify(model, options(place), out=tmp_path / "out.parquet")


def test_parquet_holds_the_same(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    place = folder(tmp_path / "recordings", subjects=1)
    for ending in ("csv", "parquet"):
        classify(model, options(place), out=tmp_path / f"out.{ending}")
    text, binary = pd.read_csv(tmp_path / "out.csv", keep_default_na=False), pd.read_parquet(tmp_path / "out.parquet")
    assert text.columns.tolist() == binary.columns.tolist()
    assert text.decision.tolist() == binary.decision.tolist()


def test_the_command(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder(tmp_path / "recordings")
    code, out, _ = called(monkeypatch, capsys, "classify", str(model), str(place), "--name-pattern", PATTERN)
    assert code == 0
    assert out.index("accuracy per sample") < out.index("Decided")
    code, out, _ = called(monkeypatch, capsys, "classify", str(model), str(place), "--name-pattern", PATTERN, "--json")
    assert (code, json.loads(out)["streams"]) == (0, 4)
    code, _, err = called(monkeypatch, capsys, "classify", str(model), "SPSW")
    assert (code, "no channel acc_y, acc_x" in err) == (2, True)


def test_a_bundled_set_is_classified_by_its_name(tmp_path: Path) -> None:
    facts = {
        "channels": ("x_acc", "y_gyro"),
        "units": ("m/s2", "rad/s"),
        "labels": ("SEATED", "WALKING"),
        "sample_rate_hz": 104.0,
    }
    report = classify(model_file(tmp_path / "watch.tflite", **facts), DataConfig(dataset="SPSW"))
    assert report.streams == 20
    assert any("not used, as the model does not take them: y_acc" in note for note in report.notes)


def test_a_program_gets_what_the_command_shows(model: Path, tmp_path: Path) -> None:
    place = folder(tmp_path / "recordings")
    report = memkd_edge.classify(model, place, out=tmp_path / "out.csv", name_pattern=PATTERN)
    assert report == dataclasses.replace(classify(model, options(place)), out=str(tmp_path / "out.csv"))
    assert len(pd.read_csv(tmp_path / "out.csv")) == sum(report.samples.values()) + report.undecided
    with pytest.raises(UsageError, match="no channel acc_y, acc_x"):
        memkd_edge.classify(model, "SPSW")
    with pytest.raises(UsageError, match="is there already"):
        memkd_edge.classify(model, place, out=tmp_path / "out.csv", name_pattern=PATTERN)


class _Stopwatch(Reporter):
    def __init__(self, stops_at: int) -> None:
        self.stops_at, self.told = stops_at, [(0, 0)][:0]

    def step(self, stage: str, done: int = 0, total: int = 0, *rest: Any, **more: Any) -> None:
        if stage == "classify":
            self.told.append((done, total))
            if done >= self.stops_at:
                raise KeyboardInterrupt


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_pieces_give_the_same_file_and_ctrl_c_leaves_none(
    ending: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    place, out = folder(tmp_path / "recordings", subjects=2), tmp_path / "out" / f"decisions.{ending}"
    report = classify(model, options(place), out=out)
    whole = out.read_bytes() if ending == "csv" else pd.read_parquet(out)
    monkeypatch.setattr(classification, "CHUNK", 30)
    assert classify(model, options(place), out=out, force=True) == report
    if ending == "csv":
        assert out.read_bytes() == whole
    else:
        pd.testing.assert_frame_equal(pd.read_parquet(out), whole)
    before = out.read_bytes()
    progress = _Stopwatch(stops_at=150)
    with pytest.raises(KeyboardInterrupt):
        classify(model, options(place), out=out, force=True, progress=progress)
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert out.read_bytes() == before
    out.unlink()
    with pytest.raises(KeyboardInterrupt):
        classify(model, options(place), out=out, progress=_Stopwatch(stops_at=150))
    assert list(out.parent.iterdir()) == []
    assert progress.told[-1][0] >= 150
    assert progress.told[0] < progress.told[-1]


def test_times_are_those_of_the_recording_s_rows_through_gaps_missing_ends_and_a_clock_a_little_off(
    model: Path, tmp_path: Path
) -> None:
    place = folder(tmp_path / "recordings", subjects=1, recordings=1, rows=300)
    (file,) = place.iterdir()
    table = pd.read_csv(file)
    table["time"] = 5000 + np.arange(300) / 50.4 + np.where(np.arange(300) < 120, 0, 2.0)
    table.loc[:29, "acc_x"] = np.nan
    table.to_csv(file, index=False)
    classify(model, options(place), out=tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    assert found.recording.value_counts().to_dict() == {"s1_1": 90, "s1_1#2": 180}
    assert found.time.to_numpy() == pytest.approx(table.time[30:] - 5000, abs=1e-4)


def test_time_is_exact_in_recordings_of_days(tmp_path: Path) -> None:
    stretch = Recording("long", "", np.zeros((10**7 + 1, 1), np.float32), np.full(10**7 + 1, -1))
    with writing(tmp_path / "out.csv", LABELS, 104.0) as write:
        write(stretch, 10**7, Streamed(np.full((1, 2), 0.5, np.float32), np.array([1])))
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == "long,,96153.846154,,walk,0.5,0.5"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_length_of_a_file_costs_no_memory(ending: str, tmp_path: Path) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    rows = 1 << 12
    piece = Streamed(np.full((rows, 2), 0.5, np.float32), np.zeros(rows, np.int64))

    def peak(pieces: int) -> int:
        stretch = Recording("long", "s1", np.zeros((pieces * rows, 1), np.float32), np.zeros(pieces * rows, np.int64))
        tracemalloc.start()
        with writing(tmp_path / f"{pieces}.{ending}", LABELS, 50.0) as write:
            for start in range(0, pieces * rows, rows):
                write(stretch, start, piece)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)  # imports
    assert peak(16) < 1.2 * peak(2)
