# SPDX-License-Identifier: Apache-2.0
"""Distilling recordings, and windows that are never reset: figures against torch's own models, resuming, refusals."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from memkd_edge.benchmark.pipeline import _right_along
from memkd_edge.config import DistillConfig, ExportConfig
from memkd_edge.data.dataset import Dataset
from memkd_edge.data.prepare_recordings import joined, prepare_recordings
from memkd_edge.data.recordings import Recording, Recordings
from memkd_edge.distillation import recording_results, study
from memkd_edge.distillation.pipeline import distill
from memkd_edge.errors import UsageError
from memkd_edge.exporting.pipeline import export
from memkd_edge.nets.classifier import load_classifier
from memkd_edge.progress import Reporter
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.runs import Run
from memkd_edge.vocabulary import Arithmetic

LABELS = ("rest", "walk")
CONFIG = DistillConfig(
    method="base,kd,memkd-belief",
    seeds=2,
    weights=1,
    epochs=4,
    hidden=3,
    teacher_hidden=5,
    teacher_layers=2,
    teacher_epochs=3,
    threads=2,
)


def recording(subject: int, number: int, length: int = 500, labelled: bool = True) -> Recording:
    generator = np.random.default_rng(100 * subject + number)
    y = (np.arange(length) // 40 + number) % 3 // 2  # a third of the samples are of class 1
    x = (generator.standard_normal((length, 2)) + 2 * y[:, None]).astype(np.float32)
    y[:7] = -1
    return Recording(f"s{subject}_{number}", f"s{subject}", x, y.astype(np.int64) if labelled else np.full(length, -1, np.int64))


def recordings(**changes: Any) -> Recordings:
    own = [recording(subject, number) for subject in range(6) for number in range(2)]
    whole = Recordings("walks", tuple(own[:8]), tuple(own[8:]), LABELS, ("x", "y"), ("g", "g"), 50.0)
    return replace(whole, **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return distill(CONFIG, run_root=tmp_path_factory.mktemp("runs"), name="whole", data=recordings())


def test_figures_are_those_of_torchs_models_along_each_subjects_stream(run: Run) -> None:
    metrics, metadata = run.read_json("metrics.json"), run.metadata
    assert (metadata.reset, metadata.decides) == ("never", "every_sample")
    data = recordings()
    mean, std = np.float32(metadata.mean), np.float32(metadata.std)
    for name in ("student", "teacher"):
        model = load_classifier(run.path / f"{name}.safetensors")
        truth, found = [], []
        for subject in ("s4", "s5"):
            own = [one for one in data.test if one.subject == subject]
            x = torch.from_numpy((np.concatenate([one.x for one in own]) - mean) / std)
            with torch.no_grad():
                found.append(model.head(model(x[None])[1])[0].argmax(1).numpy())
            truth.append(np.concatenate([one.y for one in own]))
        y, d = np.concatenate(truth), np.concatenate(found)
        assert metrics[name]["stream"]["accuracy"] == pytest.approx(accuracy_score(y[y >= 0], d[y >= 0]))
        assert metrics[name]["stream"]["f1_macro"] == pytest.approx(f1_score(y[y >= 0], d[y >= 0], average="macro"))
    assert metadata.accuracy == metrics["student"]["stream"]["accuracy"]
    kept = next(
        row
        for row in metrics["students"]
        if (row["method"], row["seed"]) == tuple(metrics["student"][k] for k in ("method", "seed"))
    )
    assert kept["test_accuracy"] == pytest.approx(metrics["student"]["stream"]["accuracy"])


def test_statistics_are_of_the_recordings_that_train_and_selection_holds_subjects_out(run: Run) -> None:
    arrays = run.read_arrays("calibration.npz")
    assert arrays["x_calibration"].shape[1:] == (200, 2)
    assert arrays["stream_lengths"].tolist() == [1000, 1000]
    assert len(arrays["x_streams"]) == len(arrays["y_streams"]) == 2000
    assert len(arrays["x_test"]) == len(arrays["y_test"]) == 10


def test_the_exported_model_holds_the_class_that_the_run_says(run: Run) -> None:
    metrics, metadata = run.read_json("metrics.json"), run.metadata
    assert metadata.decision_margin == metrics["student"]["decision_margin"]
    student = load_classifier(run.path / "student.safetensors")
    arrays = run.read_arrays("calibration.npz")
    right = total = 0
    for x, y in zip(*(np.split(arrays[name], [1000]) for name in ("x_streams", "y_streams")), strict=True):
        with torch.no_grad():
            logits = student.head(student(torch.from_numpy(x)[None])[1])[0].numpy()
        present = int(logits[0].argmax())
        for row, truth in zip(logits, y, strict=True):
            if row.max() - row[present] > metadata.decision_margin:
                present = int(row.argmax())
            right, total = right + (present == truth), total + (truth >= 0)
    assert metrics["student"]["held"]["accuracy"] == pytest.approx(right / total)


def test_the_margin_is_chosen_along_the_training_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare_recordings(recordings(), CONFIG)
    streams = dict(zip(("s0", "s1", "s2", "s3"), joined(prepared.train, prepared.subjects), strict=True))
    random = np.random.default_rng(0)

    def noisy(student: Any, signals: list[np.ndarray]) -> list[np.ndarray]:
        assert [len(x) for x in signals] == [len(x) for x, _ in streams.values()]
        return [3 * np.eye(2)[y.clip(0)] + random.standard_normal((len(y), 2)) for _, y in streams.values()]

    monkeypatch.setattr(recording_results, "_logits_along", noisy)
    point = recording_results._decision_layer(None, prepared, 0.1)
    plain = recording_results._decision_layer(None, prepared, 0.0)
    assert point.margin > 0
    assert point.scores.delay_median_s <= 0.1
    assert point.scores.false_switches_per_minute < plain.scores.false_switches_per_minute


def test_the_run_exports(run: Run) -> None:
    report = export(run, ExportConfig(min_agreement=0.5))
    assert not report.verification.failures


class Stop(Reporter):
    """Interrupts the given phase at its second report."""

    def __init__(self, phase: str) -> None:
        self.left = 2
        setattr(self, phase, self._count)

    def _count(self, *report: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("phase", ["teacher", "population", "refit"])
def test_an_interrupted_run_ends_with_the_same_bytes(
    phase: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "CHECKPOINT_EVERY_S", 0.0)
    reporter = Stop(phase)
    with pytest.raises(KeyboardInterrupt):
        distill(CONFIG, run_root=tmp_path, name="stopped", data=recordings(), progress=reporter)
    assert reporter.run is not None
    broken = Run.open(reporter.run, complete=False)
    assert list((broken.path / "checkpoint").glob("*"))
    finished = distill(DistillConfig(), run_root=tmp_path, resume=broken, data=recordings())
    for name in ("teacher.safetensors", "student.safetensors", "metrics.json"):
        assert finished.read_bytes(name) == run.read_bytes(name), name


def test_unlabelled_recordings_balance_delay_and_folds_change_the_students(run: Run, tmp_path: Path) -> None:
    quick = replace(CONFIG, method="kd", seeds=1)
    plain = distill(quick, run_root=tmp_path, name="plain", data=recordings()).read_bytes("student.safetensors")
    more = recordings(unlabelled=(recording(8, 0, labelled=False),))
    for name, changes, data in (
        ("unlabelled", {}, more),
        ("balance", {"balance": True}, recordings()),
        ("delay", {"decision_delay": 0.1}, recordings()),
        ("folds", {"folds": 2}, recordings()),
        ("gru", {"student": "gru", "teacher_kind": "gru"}, recordings()),
    ):
        other = distill(replace(quick, **changes), run_root=tmp_path, name=name, data=data)  # type: ignore[arg-type]
        assert other.read_bytes("student.safetensors") != plain, name


def alone(data: Recordings) -> Recordings:
    """One training subject has a class that no other has."""
    bare = [replace(one, y=np.where(one.y == 1, -1, one.y)) if one.subject != "s0" else one for one in data.train]
    return replace(data, train=tuple(bare))


@pytest.mark.parametrize(
    ("changes", "change", "message"),
    [
        ({"method": "rkd"}, None, "method rkd is for windows"),
        ({"method": "kd+attention"}, None, r"method kd\+attention is for windows"),
        ({"student": "cnn"}, None, "cnn student"),
        ({"teacher_bidirectional": True}, None, "bidirectional teacher"),
        ({"reset": "window"}, None, "--windows"),
        ({"resample": "linear:50"}, None, "--rate"),
        ({"protocol": "paper"}, None, "--protocol paper"),
        ({"decision_delay": 10.0}, None, "every recording is over"),
        ({"folds": 9}, None, "--folds must lie between 1 and the 4 training subjects"),
        ({}, alone, "class 'walk' stands in one subject"),
    ],
)
def test_what_does_not_go_along_streams_is_refused_before_anything_is_written(
    changes: dict[str, Any], change: Callable[[Recordings], Recordings] | None, message: str, tmp_path: Path
) -> None:
    data = change(recordings()) if change else recordings()
    with pytest.raises(UsageError, match=message):
        distill(replace(CONFIG, **changes), run_root=tmp_path, data=data)
    assert not list(tmp_path.iterdir())


def test_a_single_short_recording_of_each_subject_is_enough(tmp_path: Path) -> None:
    short = [replace(recording(subject, 0, 90), subject="") for subject in range(6)]
    data = Recordings("short", tuple(short[:4]), tuple(short[4:]), LABELS, ("x", "y"), ("g", "g"), 50.0)
    run = distill(replace(CONFIG, method="base", seeds=1), run_root=tmp_path, data=data)
    assert run.is_complete


def test_windows_that_are_never_reset_are_judged_at_their_ends_along_a_stream(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = (generator.standard_normal((60, 12, 2)) + y[:, None, None]).astype(np.float32)
    data = Dataset("windows", x[:40], y[:40], x[40:], y[40:], LABELS, ("x", "y"), ("", ""))
    run = distill(replace(CONFIG, reset="never", folds=2), run_root=tmp_path, data=data)
    metrics = run.read_json("metrics.json")
    assert (run.metadata.reset, run.metadata.decides) == ("never", "window_end")
    assert metrics["student"]["test"] == metrics["student"]["test_never_reset"]
    student = load_classifier(run.path / "student.safetensors")
    arrays = run.read_arrays("calibration.npz")
    logits = student(torch.from_numpy(arrays["x_test"]))[0]
    assert metrics["student"]["test_from_reset"]["accuracy"] == (logits.argmax(1).numpy() == y[40:]).mean()


def test_bench_takes_the_accuracy_of_the_integers_along_whole_streams(run: Run) -> None:
    arrays = run.read_arrays("calibration.npz")
    model = quantize(load_classifier(run.path / "student.safetensors"), arrays["x_calibration"])
    right = []
    for x, y in zip(np.split(arrays["x_streams"], [1000]), np.split(arrays["y_streams"], [1000]), strict=True):
        reference = integer_classifier(model, 1)
        logits = reference.narrow(reference.run(reference.widen(reference.quantize_input(x[None], Arithmetic.INT8))))
        right.append((logits[0].argmax(-1) == y)[y >= 0])
    assert _right_along(run, model) == pytest.approx(float(np.concatenate(right).mean()))
