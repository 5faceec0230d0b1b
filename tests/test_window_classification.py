# SPDX-License-Identifier: Apache-2.0
"""`memkd-edge classify` on windows: every format that `distill` takes, against the classifier fed sample by sample."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from memkd_edge.classification import classify
from memkd_edge.cli.main import app
from memkd_edge.config import DataConfig
from memkd_edge.errors import UnkeptError, UsageError
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.vocabulary import Decision, Reset
from memkd_edge.window_classification import WindowsReport
from tests.data.test_data_report import called
from tests.test_classification import LABELS, model_file

EVENT = {"reset": Reset.EVENT, "decides": Decision.WINDOW_END, "window_length": 40}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_file(tmp_path_factory.mktemp("model") / "steps.tflite", **EVENT)


def signals(count: int = 9, steps: int = 40) -> np.ndarray:
    """Return windows [N, T, 2] in the order of the model's channels."""
    x = np.random.default_rng(4).standard_normal((count, steps, 2))
    return (x * [0.2, 0.5] + [9.81, 0.0] + np.linspace(-1, 1, count)[:, None, None] * [0.6, 2.0]).astype(np.float32)


def npz(path: Path, x: np.ndarray, **more: object) -> Path:
    y = np.array([LABELS[index % 2] for index in range(len(x))])
    np.savez(path, **{"X": x, "y": y, **more})  # type: ignore[arg-type]
    return path


def found(model: Path, dataset: object, out: Path | None = None, **more: object) -> WindowsReport:
    report = classify(model, DataConfig(**{"dataset": str(dataset), **more}), out=out)  # type: ignore[arg-type]
    assert isinstance(report, WindowsReport)
    return report


def pushed(model: Path, series: np.ndarray) -> tuple[np.ndarray, str]:
    """Return scores and answer after samples pushed one by one."""
    classifier = StreamingClassifier(model)
    for sample in series:
        scores = classifier.push(sample)
        assert scores is not None
    return scores, "" if classifier.decision is None else LABELS[classifier.decision]


def test_every_window_is_decided_as_after_samples_pushed_one_by_one(model: Path, tmp_path: Path) -> None:
    x = signals()
    padded = x.copy()
    padded[3, 25:] = np.nan
    padded[5, 4:] = np.nan  # over before the fifth sample, after which the model decides
    report = found(model, npz(tmp_path / "w.npz", padded), tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    ends = [25 if index == 3 else 4 if index == 5 else 40 for index in range(len(x))]
    wanted = [pushed(model, series[:end]) for series, end in zip(x, ends, strict=True)]
    # Without a margin in the file the class with the highest score is held in the end, as long as none tie.
    assert table.decision.tolist() == [
        "" if end <= 5 else LABELS[scores.argmax()] for (scores, _), end in zip(wanted, ends, strict=True)
    ]
    np.testing.assert_allclose(table[["score rest", "score walk"]], [scores for scores, _ in wanted], atol=0.02)
    assert table.label.tolist() == [LABELS[index % 2] for index in range(9)]
    assert "X[3]" in table.window[3]
    assert (report.windows, report.undecided, report.refused) == (9, 1, 0)
    decided = table[table.decision != ""]
    assert report.decided == {label: int((decided.decision == label).sum()) for label in LABELS}
    assert report.scores is not None
    assert report.scores["accuracy"] == pytest.approx((decided.decision == decided.label).mean())


def test_a_folder_of_archives_a_ts_file_and_a_table_give_the_same(model: Path, tmp_path: Path) -> None:
    x = signals(6)
    wanted = found(model, npz(tmp_path / "w.npz", x))
    lines = ["@problemName steps", "@univariate false", "@classLabel true rest walk", "@data"]
    for index, series in enumerate(x):
        lines.append(":".join([*(",".join(map(str, channel)) for channel in series.T), LABELS[index % 2]]))
    for name in ("steps_TRAIN.ts", "steps_TEST.ts", "alone.ts"):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    alone = found(model, tmp_path / "alone.ts")
    assert (alone.decided, alone.scores) == (wanted.decided, wanted.scores)
    both = found(model, "steps", data_root=str(tmp_path))
    assert both.windows == 12
    assert "6 windows of the training part and 6 of the test part, together" in both.notes
    assert both.decided == {label: 2 * count for label, count in wanted.decided.items()}
    # A table names its channels, which stand in another order.
    rows = [f"s{index},{LABELS[index % 2]},{sample[1]},{sample[0]}" for index, series in enumerate(x) for sample in series]
    (tmp_path / "table.csv").write_text("series,label,acc_x [m/s2],acc_y [m/s2]\n" + "\n".join(rows) + "\n")
    table = found(model, tmp_path / "table.csv")
    assert (table.decided, table.scores) == (wanted.decided, wanted.scores)


def test_windows_that_the_model_cannot_take_are_refused_with_what_differs(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3 channels without names, and the model takes 2: acc_y, acc_x"):
        found(model, npz(tmp_path / "three.npz", np.zeros((4, 30, 3)) + np.arange(30)[:, None]))
    named = npz(tmp_path / "named.npz", signals(4), channels=np.array(["acc_y", "gyro"]))
    with pytest.raises(UsageError, match="no channel acc_x, which the model takes; there are acc_y, gyro"):
        found(model, named)
    fast = npz(tmp_path / "fast.npz", signals(4), sample_rate_hz=np.array(100.0))
    with pytest.raises(UsageError, match="100 samples a second, and the model takes 50"):
        found(model, fast)
    with pytest.raises(UsageError, match="--ignore is for recordings"):
        classify(model, DataConfig(dataset=str(npz(tmp_path / "w.npz", signals(4))), ignore=("rest",)))


def test_classes_that_the_model_lacks_are_not_judged_and_one_class_alone_is(model: Path, tmp_path: Path) -> None:
    report = found(model, npz(tmp_path / "w.npz", signals(4), y=np.array(["rest", "fall", "rest", "fall"])))
    assert "no such class: fall" in " ".join(report.notes)
    assert report.scores is not None
    assert report.scores["windows"] == 2
    assert report.scores["majority"] == 1
    assert "auc_prc" not in report.scores
    assert found(model, npz(tmp_path / "none.npz", signals(4), y=np.array(["fall"] * 4))).scores is None


def test_a_refusing_model_answers_none_below_its_floor(tmp_path: Path) -> None:
    file = model_file(tmp_path / "refusing.tflite", **EVENT, refuse_below=0.15)
    report = found(file, npz(tmp_path / "w.npz", signals(40)), tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    lead = np.abs(np.log(table["score rest"] / table["score walk"]))
    clear = np.abs(lead - 0.15) > 0.03
    assert ((table.decision == "") == (lead < 0.15))[clear].all()
    assert report.refused == (table.decision == "").sum()
    assert 0 < report.refused < 40


def test_the_command_prints_windows_and_json(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = npz(tmp_path / "w.npz", signals())
    code, printed, _ = called(monkeypatch, capsys, "classify", str(model), str(file))
    assert code == 0
    assert "On 9 windows" in printed
    assert "not yet" in printed
    code, printed, _ = called(monkeypatch, capsys, "classify", str(model), str(file), "--json")
    assert code == 0
    assert json.loads(printed) == json.loads(json.dumps(found(model, file).as_dict()))


def test_what_was_decided_is_printed_where_it_cannot_be_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("memkd_edge.runs.os.fsync", full)
    windows, out = npz(tmp_path / "w.npz", signals()), tmp_path / "out.csv"
    result = CliRunner().invoke(app, ["classify", str(model), str(windows), "--out", str(out), "--json"])
    assert isinstance(result.exception, UnkeptError)
    assert result.exception.exit_code == 1
    assert json.loads(result.stdout) == json.loads(json.dumps(found(model, windows).as_dict()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.npz"]
