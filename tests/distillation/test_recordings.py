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
from memkd_edge.distillation.pipeline import candidates_of, distill
from memkd_edge.distillation.streams import judged_everywhere
from memkd_edge.distillation.students import Candidate
from memkd_edge.errors import UsageError
from memkd_edge.exporting.pipeline import export
from memkd_edge.nets.classifier import load_classifier
from memkd_edge.progress import Reporter
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.runs import Run
from memkd_edge.stream_scores import stream_scores
from memkd_edge.streaming import StreamingClassifier
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


def test_recordings_shorter_than_a_chunk_are_learnt_and_judged_whole(tmp_path: Path) -> None:
    own = [recording(subject, number, length=60 + 7 * number) for subject in range(6) for number in range(2)]
    data = replace(recordings(), train=tuple(own[:8]), test=tuple(own[8:]))
    found = distill(replace(CONFIG, method="base", seeds=1, epochs=40), run_root=tmp_path, name="short", data=data)
    assert max(len(one.y) for one in own) < 200  # a chunk: 4 s at 50 Hz
    metrics = found.read_json("metrics.json")
    student = load_classifier(found.path / "student.safetensors")
    mean, std = np.float32(found.metadata.mean), np.float32(found.metadata.std)
    right = total = 0
    for pair in (own[8:10], own[10:]):
        x, y = np.concatenate([one.x for one in pair]), np.concatenate([one.y for one in pair])
        with torch.no_grad():
            decided = student.head(student(torch.from_numpy((x - mean) / std)[None])[1])[0].argmax(1).numpy()
        right, total = right + int((decided == y)[y >= 0].sum()), total + int((y >= 0).sum())
    assert total == 4 * (60 - 7) + 2 * 7
    assert metrics["student"]["stream"]["accuracy"] == pytest.approx(right / total)
    assert right / total > 0.8  # the larger class alone: two thirds
    export(found, ExportConfig(quantize="int16x8"))


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


@pytest.mark.parametrize("arithmetic", ["int8", "int16x8"])
def test_figures_of_the_integers_are_those_of_the_exported_file_in_an_interpreter(run: Run, arithmetic: str) -> None:
    along = run.read_json("metrics.json")["student"]["integers"][arithmetic]
    export(run, ExportConfig(quantize=arithmetic))
    classifier, data = StreamingClassifier(run.path / "export" / f"walks_{arithmetic}.tflite"), recordings()
    right = total = 0
    for subject in ("s4", "s5"):
        classifier.reset()
        for one in (one for one in data.test if one.subject == subject):
            for sample, truth in zip(one.x, one.y, strict=True):
                classifier.push(sample)
                right, total = right + (truth >= 0 and classifier.decision == truth), total + (truth >= 0)
    assert along["accuracy"] == pytest.approx(right / total)


def test_chunks_to_calibrate_on_are_stretches_of_streams_from_all_over() -> None:
    prepared = prepare_recordings(recordings(), CONFIG)
    counted = replace(prepared, train=tuple((np.full_like(x, number), y) for number, (x, y) in enumerate(prepared.train)))
    for part in (x for x, _ in counted.train):
        part[:, 1] = np.arange(len(part))
    few = counted.kept_series(50)["x_calibration"]
    assert few.reshape(-1, 2).tolist() == np.concatenate([x for x, _ in counted.train]).tolist()
    many = counted.kept_series(5)["x_calibration"]  # 256 of 800
    recording, at = np.moveaxis(many.reshape(16, -1, 2).astype(int), 2, 0)
    assert (np.diff(500 * recording + at) == 1).all()
    assert set(recording.ravel()) == set(range(8))
    assert (recording[0, 0], at[0, 0], recording[-1, -1], at[-1, -1]) == (0, 0, 7, 499)


@pytest.mark.parametrize("labelled", [[123, 777], [30]])  # of the 1,000 samples of each test stream; none ends a chunk of 50
def test_where_few_samples_have_a_class_the_kept_series_end_with_one(labelled: list[int]) -> None:
    prepared = prepare_recordings(recordings(), CONFIG)
    test = []
    for x, y in prepared.test:
        sparse = np.full_like(y, -1)
        sparse[labelled] = y[labelled]
        test.append((np.c_[np.arange(len(x)), np.zeros(len(x))].astype(np.float32), sparse))
    kept = replace(prepared, test=tuple(test)).kept_series(50)
    last, length = labelled[-1], min(50, labelled[-1] + 1)
    assert kept["x_test"][:, :, 0].tolist() == [list(range(last + 1 - length, last + 1))] * 2
    assert kept["y_test"].tolist() == [y[last] for _, y in prepared.test]
    assert kept["x_calibration"].shape[1] == 50


def test_the_decision_layer_is_chosen_along_the_streams_that_each_fold_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, folds=2, max_delay=0.1, refuse=0.05)
    prepared = prepare_recordings(recordings(), config)
    streams = [prepared.held_out(fold) for fold in range(2)]
    assert [len(of_fold) for of_fold in streams] == [2, 2]  # four subjects, each once
    streams.append(joined(prepared.train, prepared.subjects))  # what the student that is kept is asked, number 2
    random, lead = np.random.default_rng(0), 9.0

    def noisy(student: Any, signals: list[np.ndarray]) -> list[np.ndarray]:
        np.testing.assert_equal(signals, [x for x, _ in streams[student]])
        if student == 2:
            return [lead * np.eye(2)[y.clip(0)] for _, y in streams[2]]
        return [3 * np.eye(2)[y.clip(0)] + random.standard_normal((len(y), 2)) for _, y in streams[student]]

    monkeypatch.setattr(recording_results, "_logits_along", noisy)
    point, refusal = recording_results._decision_layer((0, 1), 2, prepared, config)
    plain, nothing = recording_results._decision_layer((0, 1), 2, prepared, replace(config, max_delay=0.0, refuse=0.0))
    assert point.margin > 0
    assert point.scores.delay_median_s <= 0.1
    assert point.scores.false_switches_per_minute < plain.scores.false_switches_per_minute
    assert nothing is None
    assert refusal.right == pytest.approx(0.05, abs=1e-3)
    assert refusal.wrong > 0.3  # the unsure ones are the wrong ones

    lead = 0.6  # of the classes of the student that is kept: a margin above it holds one for ever
    small, _ = recording_results._decision_layer((0, 1), 2, prepared, config)
    assert small.margin < lead < point.margin


def test_the_students_of_the_folds_are_the_chosen_ones_at_the_end_of_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scored, kept = [], []
    answers, layer = study._answers_of_all, recording_results._decision_layer
    monkeypatch.setattr(study, "_answers_of_all", lambda *given: scored.append(answers(*given)) or scored[-1])
    monkeypatch.setattr(recording_results, "_decision_layer", lambda *given: kept.append(given[0]) or layer(*given))
    run = distill(CONFIG, run_root=tmp_path, name="whole", data=recordings())
    student = run.read_json("metrics.json")["student"]
    index = candidates_of(CONFIG).index(Candidate(student["method"], student["weight"], student["seed"]))
    judged = judged_everywhere(prepare_recordings(recordings(), CONFIG).held_out(0), torch.device("cpu"))
    ((of_fold,),) = kept
    with torch.no_grad():
        logits = of_fold.head(of_fold(judged.x)[1])[judged.stream, judged.time]
    torch.testing.assert_close(logits, scored[-1][index], atol=1e-4, rtol=1e-4)


def test_a_rare_class_that_is_hardly_ever_decided_is_said_with_the_remedy() -> None:
    labels = np.repeat([0, 1, 0], [500, 30, 470])
    found = stream_scores([np.where(np.arange(1000) == 510, 1, 0)], [labels], 2, 25.0)  # one of 30
    said = recording_results.seldom_warning(found, ["rest", "afib"], balance=False)
    assert said.startswith("of class 'afib', 3.0% of the test samples, the student decides 3.3% right: ")
    assert "--balance" in said
    assert "'rest'" not in said
    assert "--balance" not in recording_results.seldom_warning(found, ["rest", "afib"], balance=True)
    half = np.where((np.arange(1000) >= 500) & (np.arange(1000) < 515), 1, 0)
    assert recording_results.seldom_warning(stream_scores([half], [labels], 2, 25.0), ["rest", "afib"], balance=False) == ""


def test_a_student_is_warm_where_it_is_nearly_as_good_as_one_that_was_never_reset() -> None:
    random = np.random.default_rng(0)
    y = np.repeat(random.integers(0, 2, 100), 50)
    x = (2 * y[:, None] - 1 + 0.1 * random.standard_normal((len(y), 1))).astype(np.float32)

    def along(student: Any, streams: Any) -> list[np.ndarray]:
        """The logits of one that says class 0 until it has seen 60 samples, then the truth."""
        found = []
        for one in streams:
            says = (one[:, 0] > 0).astype(np.int64)
            says[:60] = 0
            found.append(np.eye(2, dtype=np.float32)[says])
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording_results, "_logits_along", along)
        patch.setattr(recording_results, "_from_resets", lambda student, x: np.stack(along(student, x)).argmax(-1))
        assert recording_results.warm_up(None, [(x, y)], 200) == 60
        assert recording_results.warm_up(None, [(np.ones((4000, 1), np.float32), np.ones(4000, np.int64))], 40) == 40


def test_a_refusal_of_everything_is_refused() -> None:
    with pytest.raises(UsageError, match="--refuse 1: a share"):
        prepare_recordings(recordings(), replace(CONFIG, refuse=1.0))


def test_the_run_exports(run: Run) -> None:
    report = export(run, ExportConfig(min_agreement=0.5))
    assert not report.verification.failures


class Stop(Reporter):
    """Interrupts the given stage at its second report."""

    def __init__(self, stage: str) -> None:
        self.left, self.stage = 2, stage

    def step(self, stage: str, *rest: Any, **more: Any) -> None:
        self.left -= stage == self.stage
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("phase", ["teacher", "students", "refit"])
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


def test_without_a_choice_recordings_take_the_methods_that_help_there(tmp_path: Path) -> None:
    config = replace(CONFIG, method="auto", epochs=1, teacher_epochs=1, seeds=1)
    metrics = distill(config, run_root=tmp_path, data=recordings()).read_json("metrics.json")
    assert [row["method"] for row in metrics["methods"]] == ["base", "memkd", "memkd-belief"]


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
    model = quantize(load_classifier(run.path / "student.safetensors"), arrays["x_calibration"], never_reset=True)
    right = []
    for x, y in zip(np.split(arrays["x_streams"], [1000]), np.split(arrays["y_streams"], [1000]), strict=True):
        reference = integer_classifier(model, 1)
        logits = reference.narrow(reference.run(reference.widen(reference.quantize_input(x[None], Arithmetic.INT8))))
        right.append((logits[0].argmax(-1) == y)[y >= 0])
    assert _right_along(run, model) == pytest.approx(float(np.concatenate(right).mean()))
