# SPDX-License-Identifier: Apache-2.0
"""distill from data set to run directory, on a data set of a few easy series."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from memkd_edge.config import DistillConfig
from memkd_edge.distillation import study
from memkd_edge.distillation.pipeline import distill, head_note, student_spec
from memkd_edge.distillation.selection import teacher_warning
from memkd_edge.distillation.teacher import Teacher, TeacherTraining
from memkd_edge.errors import UsageError
from memkd_edge.nets.classifier import load_classifier
from memkd_edge.progress import Reporter
from memkd_edge.runs import Run


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DistillConfig:
    generator = np.random.default_rng(1)
    y = np.arange(32) % 2
    x = generator.standard_normal((32, 10, 1)).astype(np.float32) + 2 * y[:, None, None]
    path = tmp_path_factory.mktemp("data") / "easy.npz"
    np.savez(path, X_train=x[:16], y_train=y[:16], X_test=x[16:], y_test=y[16:])
    return DistillConfig(
        dataset=str(path),
        method="base,kd",
        seeds=2,
        epochs=40,
        hidden=3,
        teacher_hidden=5,
        teacher_layers=1,
        teacher_epochs=20,
        folds=2,
    )


@pytest.mark.parametrize("kind", ["lstm", "gru", "cnn"])
def test_a_run_holds_all_files_and_its_student_scores_what_metrics_say(kind: str, config: DistillConfig, tmp_path: Path) -> None:
    run = distill(replace(config, student=kind), run_root=tmp_path)
    student = load_classifier(run.path / "student.safetensors")
    assert student.spec.kind == kind
    assert load_classifier(run.path / "teacher.safetensors").spec.hidden_size == 5
    metrics = run.read_json("metrics.json")
    arrays = run.read_arrays("calibration.npz")
    with torch.no_grad():
        predicted = student(torch.from_numpy(arrays["x_test"]))[0].argmax(-1).numpy()
    assert metrics["student"]["test"]["accuracy"] == pytest.approx((predicted == arrays["y_test"]).mean())
    assert metrics["student"]["parameters"] == sum(parameter.numel() for parameter in student.parameters())
    assert sum(row["kept"] for row in metrics["methods"]) == 1
    assert run.metadata.accuracy == metrics["student"]["test"]["accuracy"]
    assert 1 <= run.metadata.warm_up <= 10
    assert run.metadata.run_id == run.run_id
    assert run.environment()["state"] == "complete"
    assert not (run.path / "checkpoint").exists()


def test_every_student_has_its_figures_and_the_kept_ones_are_those_of_its_file(config: DistillConfig, tmp_path: Path) -> None:
    run = distill(replace(config, method="base,kd,memkd"), run_root=tmp_path)
    metrics, rows = run.read_json("metrics.json"), run.read_json("metrics.json")["students"]
    assert [(row["method"], row["seed"]) for row in rows] == [(m, seed) for m in ("base", "kd", "memkd") for seed in (0, 1)]
    assert run.environment()["seconds"] > 0
    kept = metrics["student"]
    (row,) = (row for row in rows if (row["method"], row["seed"]) == (kept["method"], kept["seed"]))
    arrays = run.read_arrays("calibration.npz")
    x, y = torch.from_numpy(arrays["x_test"]), arrays["y_test"]
    student, teacher = (
        load_classifier(run.path / name)(x)[0].detach() for name in ("student.safetensors", "teacher.safetensors")
    )
    areas = [average_precision_score(y == label, student.softmax(-1)[:, label].numpy()) for label in (0, 1)]
    assert row["test_auc_prc"] == pytest.approx(np.mean(areas))
    assert row["test_accuracy"] == (student.argmax(-1).numpy() == y).mean()
    assert row["agreement_with_teacher"] == (student.argmax(-1) == teacher.argmax(-1)).float().mean()
    assert (row["weight"], row["stop_epoch"]) == (kept["weight"], kept["stop_epoch"])
    assert row["validation_auc_prc"] == kept["validation"]["auc_prc"]
    for total in metrics["methods"]:
        if "test_auc_prc_mean" in total:
            own = [row for row in rows if row["method"] == total["method"]]
            for key in ("validation_auc_prc", "test_auc_prc", "test_accuracy"):
                assert np.mean([row[key] for row in own]) == pytest.approx(total[f"{key}_mean"])


@pytest.mark.parametrize(
    ("base", "kd", "teacher", "message"),
    [
        (0.9, 0.95, 0.8, "^without a teacher .* the teacher itself 0.800: it is the weak part"),
        (0.9, 0.85, 0.8, "^base won: without a teacher .* the teacher itself 0.800: it is the weak part"),
        (0.9, 0.85, 0.97, r"^base won: .*the best with one \(kd\) 0.850: nothing this teacher \(0.970\) taught helped"),
        (0.9, 0.95, 0.97, "^$"),
        (0.9, 0.9, 0.9, "^$"),
        (0.9001, 0.9, 0.97, "^$"),  # a tie, which goes to the method with a teacher
    ],
)
def test_base_winning_is_said_and_the_teacher_blamed_only_where_base_beats_it(
    base: float, kd: float, teacher: float, message: str
) -> None:
    assert re.search(message, teacher_warning({"base": base, "kd": kd}, teacher))


def test_a_comparison_without_base_or_of_base_alone_gives_no_warning() -> None:
    for method in ("kd", "base"):
        assert not teacher_warning({method: 0.9}, 0.95)


def test_the_same_configuration_gives_the_same_bytes(config: DistillConfig, tmp_path: Path) -> None:
    first, second = (distill(config, run_root=tmp_path, name=name) for name in ("first", "second"))
    assert first.read_bytes("student.safetensors") == second.read_bytes("student.safetensors")


def test_selection_on_the_test_series_is_named(config: DistillConfig, tmp_path: Path) -> None:
    metrics = distill(replace(config, protocol="paper"), run_root=tmp_path).read_json("metrics.json")
    assert metrics["protocol"] == "paper"
    assert metrics["teacher"]["noise"] == 0.0
    assert "test" in metrics["kept_because"]


@pytest.mark.parametrize(
    ("protocol", "folds", "widths"), [("honest", 2, [5, 5, 15]), ("honest", 1, [5, 10]), ("paper", 2, [5, 5])]
)
def test_teachers_of_all_folds_teach_at_last_except_in_the_papers_protocol(
    protocol: str, folds: int, widths: list[int], config: DistillConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def noted(*arguments: Any, **more: Any) -> Teacher:
        teacher = Teacher(*arguments, **more)
        found.append(teacher.width)
        return teacher

    monkeypatch.setattr(study, "Teacher", noted)
    distill(replace(config, protocol=protocol, folds=folds, epochs=2, teacher_epochs=2), run_root=tmp_path)
    assert found == widths


@pytest.mark.parametrize(("protocol", "teachers"), [("honest", 3), ("paper", 1)])
def test_what_trains_on_the_same_series_is_trained_once(
    protocol: str, teachers: int, config: DistillConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: Counter[int] = Counter()

    class Counted(study.TeacherTraining):
        def train_epoch(self) -> None:
            epochs[id(self)] += 1
            super().train_epoch()

    monkeypatch.setattr(study, "TeacherTraining", Counted)
    asked = replace(config, protocol=protocol, folds=2, noise="0", teacher_seeds=1, epochs=2, teacher_epochs=2)
    distill(asked, run_root=tmp_path)
    assert list(epochs.values()) == [2] * teachers


def test_a_module_of_ones_own_teaches(config: DistillConfig, tmp_path: Path) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 7)
            self.head = nn.Linear(7, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            hidden = torch.tanh(self.layer(x))
            return self.head(hidden.mean(1)), hidden

    torch.manual_seed(0)
    own = Own().eval()
    run = distill(replace(config, method="memkd"), run_root=tmp_path, teacher=own)
    assert run.read_json("metrics.json")["teacher"]["parameters"] == 30


def test_a_given_bidirectional_teacher_teaches_a_causal_student(config: DistillConfig, tmp_path: Path) -> None:
    made = distill(replace(config, teacher_bidirectional=True, method="base"), run_root=tmp_path, name="made")
    path = made.path / "teacher.safetensors"
    run = distill(replace(config, teacher=str(path), method="memkd"), run_root=tmp_path, name="used")
    assert run.read_bytes("teacher.safetensors") == path.read_bytes()
    assert load_classifier(path).spec.bidirectional
    assert not load_classifier(run.path / "student.safetensors").spec.bidirectional


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "--seeds must be at least 1"),
        ({"teacher_seeds": 0}, "--teacher-seeds must be at least 1"),
        ({"batch_size": -1}, "--batch-size must be at least 0"),
        ({"learning_rate": 0.0}, "--learning-rate must be above 0"),
        ({"teacher_learning_rate": float("nan")}, "--teacher-learning-rate must be at least 0"),
        ({"validation": 1.0}, "--validation is a share"),
        ({"protocol": "lucky"}, "honest or paper"),
        ({"accelerator": "tpu"}, "--accelerator tpu: choose auto, cpu or cuda"),
        ({"method": "magic"}, "no distillation method"),
        ({"student": "transformer"}, "--student transformer: choose lstm, gru or cnn"),
        ({"teacher_kind": "transformer"}, "--teacher-kind transformer: choose lstm or gru"),
        ({"hidden": 0, "compression": 1e6}, "out of reach"),
        ({"teacher": "nowhere.safetensors"}, "no model file"),
        ({"hidden": 10**11}, r"--hidden 100000000000: .* parameters take .* GiB in training, and this machine has"),
        ({"teacher_hidden": 10**9}, "--teacher-hidden 1000000000: .* give less"),
        ({"refuse": 0.1}, "--refuse is for recordings that are learnt sample by sample"),
        ({"decision_delay": 0.1, "reset": "never"}, "--decision-delay is for recordings"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_written(
    changes: dict[str, object], message: str, config: DistillConfig, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        distill(replace(config, **changes), run_root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_existing_run_is_kept_unless_forced(config: DistillConfig, tmp_path: Path) -> None:
    run = distill(config, run_root=tmp_path, name="one")
    stale = run.write_text("export/stale.txt", "of the old run")
    with pytest.raises(UsageError, match="--force"):
        distill(config, run_root=tmp_path, name="one")
    assert stale.exists()
    distill(config, run_root=tmp_path, name="one", force=True)
    assert not stale.exists()


def test_a_teacher_that_collapses_is_tried_anew_and_a_noise_level_that_cannot_win_is_not(
    config: DistillConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: dict[TeacherTraining, int] = {}
    train_epoch = TeacherTraining.train_epoch

    def poisoned(training: TeacherTraining) -> None:
        train_epoch(training)
        epochs[training] = training.epoch
        if training.seed == 0 and training.running < 0.6 and training.standing == 0:
            with torch.no_grad():
                for parameter in training.model.parameters():
                    parameter.zero_()
            training.optimizer.state.clear()

    monkeypatch.setattr(TeacherTraining, "train_epoch", poisoned)
    run = distill(replace(config, teacher_epochs=250, teacher_learning_rate=0.01, epochs=2), run_root=tmp_path)
    assert {training.seed for training in epochs} == {0, 1}
    assert max(epoch for training, epoch in epochs.items() if training.seed == 0) < 250
    assert {training.recipe.noise for training in epochs} == {0.3}
    assert run.read_json("metrics.json")["teacher"]["validation"]["auc_prc"] > 0.95


def test_a_data_set_whose_name_is_reserved_is_told_what_exports_will_be_named(tmp_path: Path, config: DistillConfig) -> None:
    notes: list[str] = []
    reporter = Reporter()
    reporter.note = notes.append
    x = np.random.default_rng(5).standard_normal((12, 6, 1)).astype(np.float32)
    np.savez(tmp_path / "test.npz", X_train=x, y_train=np.arange(12) % 2, X_test=x, y_test=np.arange(12) % 2)
    distill(replace(config, dataset=str(tmp_path / "test.npz"), teacher_epochs=1, epochs=1), run_root=tmp_path, progress=reporter)
    assert len(notes) == 1
    assert "exports will be named model_test ('test' is reserved by CMake, as a target); export --name chooses another" in notes


def test_classes_that_leave_few_units_are_told_with_what_half_the_compression_leaves() -> None:
    # Of h units, 1 channel and K classes: 4 h (h + 3) + K (h + 1) parameters. 206,739 / 500 allow 382 (h = 5), / 250 802 (h = 9).
    config = DistillConfig(compression=500)
    spec = student_spec(config, 1, 37, 206_739)
    expected = (
        "37 classes take 222 of the student's 382 parameters and leave it a hidden size of 5; --compression 250 leaves 9, "
        "which mostly decides better"
    )
    assert head_note(config, spec, 206_739) == expected
    assert head_note(replace(config, hidden=5), spec, 206_739) == ""  # asked for
    assert head_note(config, student_spec(config, 1, 15, 204_517), 204_517) == ""  # 120 of 400


def test_a_student_at_chance_is_said_beside_the_majority(tmp_path: Path, config: DistillConfig) -> None:
    generator = np.random.default_rng(5)
    y = np.arange(60) % 5
    np.savez(
        tmp_path / "noise.npz",
        X_train=generator.standard_normal((30, 6, 1)).astype(np.float32),
        y_train=y[:30],
        X_test=generator.standard_normal((30, 6, 1)).astype(np.float32),
        y_test=y[30:],
    )
    quick = replace(config, dataset=str(tmp_path / "noise.npz"), teacher_epochs=2, epochs=2)
    metrics = distill(quick, run_root=tmp_path).read_json("metrics.json")
    assert metrics["majority"]["test"] == {"accuracy": pytest.approx(0.2), "auc_prc": pytest.approx(0.2)}
    assert metrics["majority"]["validation"]["auc_prc"] == pytest.approx(0.2)
    assert "not better than always saying '0'" in metrics["chance"]


def test_a_student_that_has_learnt_is_not_called_one_at_chance(config: DistillConfig, tmp_path: Path) -> None:
    metrics = distill(replace(config, teacher_epochs=100), run_root=tmp_path).read_json("metrics.json")
    assert metrics["student"]["test"]["accuracy"] > 0.8
    assert metrics["chance"] == ""


def test_a_second_process_is_kept_out_of_a_run_in_training(config: DistillConfig, tmp_path: Path) -> None:
    class Curious(Reporter):
        refusals: ClassVar[list[str]] = []

        def started(self, run: Path) -> None:
            for change in ({"force": True}, {"resume": Run(run)}):
                with pytest.raises(UsageError) as caught:
                    distill(config, run_root=tmp_path, name="one", **change)
                self.refusals.append(str(caught.value))

    run = distill(config, run_root=tmp_path, name="one", progress=Curious())
    assert run.is_complete
    assert len(Curious.refusals) == 2
    assert all("another process trains in" in text for text in Curious.refusals)


@pytest.mark.parametrize("name", ["../out", "."])
def test_a_run_stays_under_its_root(name: str, config: DistillConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not the name of a folder"):
        distill(config, run_root=tmp_path / "runs", name=name, force=True)
    assert not list(tmp_path.iterdir())
