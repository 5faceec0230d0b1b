# SPDX-License-Identifier: Apache-2.0
"""What a run holds: typed, of older formats too, and one clear error for what is damaged or newer."""

import json
import shutil
from dataclasses import MISSING, asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from memkd_edge.config import DistillConfig, ExportConfig, to_toml
from memkd_edge.contents import read_config, read_metrics, read_recording_metrics, read_series, read_student, read_teacher
from memkd_edge.distillation.checkpoint import read_checkpoint, write_checkpoint
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.exporting.pipeline import export
from memkd_edge.file_formats import CHECKPOINT, CONFIGURATION
from memkd_edge.runs import FORMAT, Run
from tests.example_metrics import example_metrics
from tests.writers.toy import make_run, student

MODELS = Path(__file__).resolve().parents[1] / "models"


@pytest.fixture
def run(tmp_path):
    made = make_run(tmp_path, student())
    made.write_json("metrics.json", asdict(example_metrics()))
    return made


def test_metrics_survive_the_round_trip(run):
    assert read_metrics(run) == example_metrics()


def test_series_student_and_teacher_are_those_that_were_written(run):
    arrays = run.read_arrays("calibration.npz")
    series = read_series(run)
    np.testing.assert_array_equal(series.x_test, arrays["x_test"])
    np.testing.assert_array_equal(series.y_test, arrays["y_test"])
    x = torch.from_numpy(series.x_test)
    torch.testing.assert_close(read_student(run)(x)[0], student()(x)[0])
    assert read_teacher(run) is None
    shutil.copy(run.path / "student.safetensors", run.path / "teacher.safetensors")
    torch.testing.assert_close(read_teacher(run)(x)[0], student()(x)[0])


@pytest.mark.parametrize("name", ["student.safetensors", "teacher.safetensors"])
def test_weights_that_were_changed_since_are_named_and_runs_that_did_not_note_them_are_read(run, name):
    shutil.copy(run.path / "student.safetensors", run.path / "teacher.safetensors")
    run.set_state("complete")
    read = {"student.safetensors": read_student, "teacher.safetensors": read_teacher}[name]
    sound = run.read_bytes(name)
    read(run)
    run.write_bytes(name, sound[:-1] + bytes([sound[-1] ^ 1]))
    with pytest.raises(MemkdEdgeError, match=rf"{name} was changed after the run was complete"):
        read(run)
    env = run.environment()
    run.write_json("env.json", env | {"sha256": 5})
    with pytest.raises(MemkdEdgeError, match="was changed"):
        read(run)
    del env["sha256"]
    run.write_json("env.json", env)
    read(run)


@pytest.mark.parametrize("change", [{"labels": ("class 1", "class 0")}, {"std": (9.0,)}])
def test_metadata_that_say_something_else_are_not_exported(tmp_path, change):
    run = make_run(tmp_path, student(channels=1, classes=2))
    sound = run.metadata
    run.write_text("model.json", replace(sound, **change).to_json())
    for read in (read_series, lambda run: export(run, ExportConfig())):
        with pytest.raises(MemkdEdgeError, match=r"model\.json was changed after the run was complete; distil it again"):
            read(run)
    assert not (run.path / "export").exists()
    env = run.environment()
    del env["sha256"]["model.json"]  # as older runs are
    run.write_json("env.json", env)
    assert run.metadata == replace(sound, **change)


@pytest.mark.parametrize("name", ["basicmotions", "gunpoint", "natops"])
def test_runs_of_before_the_format_numbers_are_read(name, tmp_path):
    shutil.copytree(MODELS / name, tmp_path / name)
    run = Run.open(tmp_path / name)
    for file in ("metrics.json", "env.json", "model.json"):
        record = json.loads((run.path / file).read_text())
        record.pop("format", None)
        (run.path / file).write_text(json.dumps(record))
    config = (run.path / "config.toml").read_text().splitlines(keepends=True)
    (run.path / "config.toml").write_text("".join(line for line in config if not line.startswith("format = ")))
    record = json.loads((run.path / "metrics.json").read_text())
    metrics = read_metrics(run)
    assert metrics.student.test.accuracy == record["student"]["test"]["accuracy"]
    assert len(metrics.methods) == len(record["methods"])
    assert [vars(one) for one in metrics.students] == record["students"]
    assert read_config(run).accelerator == "auto"
    assert read_student(run).spec.parameters == metrics.student.parameters


def test_every_file_of_a_run_carries_its_format_number(run, tmp_path):
    for name in ("env.json", "metrics.json"):
        assert json.loads((run.path / name).read_text())["format"] == FORMAT
    run.write_json("bench/rpi4.json", {"run": "id"})
    assert run.read_json("bench/rpi4.json") == {"run": "id", "format": FORMAT}
    assert run.read_arrays("calibration.npz")["format"] == FORMAT
    assert (run.path / "config.toml").read_text().startswith(f"format = {CONFIGURATION}\n")
    assert json.loads((run.path / "model.json").read_text())["format"] == 1
    write_checkpoint(tmp_path / "c.safetensors", {"w": torch.zeros(1)}, {"epoch": 3})
    assert read_checkpoint(tmp_path / "c.safetensors")[1] == {"epoch": 3, "format": CHECKPOINT}
    with safe_open(tmp_path / "c.safetensors", framework="np") as archive:
        assert json.loads(archive.metadata()["memkd_edge"])["format"] == CHECKPOINT


def test_files_of_a_newer_format_are_refused_by_name(run, tmp_path):
    newer = {"format": FORMAT + 1}
    for name in ("metrics.json", "env.json"):
        run.write_json(name, run.read_json(name) | newer)
    run.write_arrays("calibration.npz", run.read_arrays("calibration.npz") | {"format": np.array(FORMAT + 1)})
    run.write_text("config.toml", to_toml("distill", DistillConfig()).replace(f"= {CONFIGURATION}", f"= {CONFIGURATION + 1}", 1))
    write_checkpoint(tmp_path / "c.safetensors", {"w": torch.zeros(1)}, {"format": CHECKPOINT + 1})
    cases = {
        "metrics.json": lambda: read_metrics(run),
        "env.json": run.environment,
        "calibration.npz": lambda: read_series(run),
        "config.toml": lambda: read_config(run),
        "c.safetensors": lambda: read_checkpoint(tmp_path / "c.safetensors"),
    }
    for name, read in cases.items():
        with pytest.raises(MemkdEdgeError, match=rf"{name}: format \d is newer than this version reads") as caught:
            read()
        assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_test": None}, "has no x_test"),
        ({"x_test": np.zeros((0, 30, 3), np.float32)}, "x_test is empty"),
        ({"x_test": np.zeros((24, 30, 2), np.float32)}, r"x_test is \[24, 30, 2\], not \[N, T, 3\]"),
        ({"x_calibration": np.full((4, 30, 3), np.nan, np.float32)}, "x_calibration holds something else"),
        ({"x_calibration": np.full((4, 30, 3), "a")}, "x_calibration holds something else"),
        ({"y_test": np.full(24, 4)}, "y_test is not one of 4 classes"),
        ({"y_test": np.zeros(23, np.int64)}, "y_test is not one of 4 classes"),
        ({"y_test": np.zeros(24)}, "y_test is not one of 4 classes"),
    ],
)
def test_series_that_do_not_fit_the_run_are_one_error(run, change, message):
    arrays = {key: value for key, value in (run.read_arrays("calibration.npz") | change).items() if value is not None}
    run.write_arrays("calibration.npz", arrays)
    with pytest.raises(MemkdEdgeError, match=rf"calibration\.npz: {message}"):
        read_series(run)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "no protocol"),
        ({"folds": 2.5}, r"folds is 2\.5"),
        ({"folds": True}, "folds is True"),
        ({"teacher": 5}, "5 is no object"),
        ({"teacher": {"parameters": 3, "test": {"accuracy": "high"}}}, "accuracy is 'high'"),
        ({"methods": {}}, r"methods is \{\}"),
        ({"format": "two"}, "format is 'two', which is no format number"),
    ],
)
def test_damaged_metrics_are_one_error(run, record, message):
    whole = asdict(example_metrics())
    run.write_json("metrics.json", whole | record if record else {})
    with pytest.raises(MemkdEdgeError, match=rf"metrics\.json: {message}"):
        read_metrics(run)


@pytest.mark.parametrize(
    ("model", "figure", "value"),
    [("teacher", "accuracy", "high"), ("student", "event_f1", [0.5]), ("student", "seconds", MISSING), ("held", "missed", {})],
)
def test_damaged_figures_along_streams_are_one_error(run, model, figure, value):
    whole = json.loads((MODELS / "spsw" / "metrics.json").read_bytes())
    run.write_json("metrics.json", whole)
    read_recording_metrics(run)
    figures = whole["student"]["held"] if model == "held" else whole[model]["stream"]
    if value is MISSING:
        del figures[figure]
    else:
        figures[figure] = value
    run.write_json("metrics.json", whole)
    with pytest.raises(MemkdEdgeError, match=rf"metrics\.json: {figure} of the .*{model} is ") as caught:
        read_recording_metrics(run)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distill = 5", "5 is no table"),
        ("[[distill]]", "is no table"),
        ("[export]", r"no table \[distill\]"),
        ("[distill]\nepochs = 'many'", "epochs: 'many' is not of type int"),
        ("[distill", "damaged TOML"),
        ("a = " + "[" * 5000, "damaged TOML"),
    ],
)
def test_a_damaged_configuration_is_one_error(run, text, message):
    run.write_text("config.toml", text)
    with pytest.raises(MemkdEdgeError, match=rf"config\.toml: .*{message}") as caught:
        read_config(run)
    assert caught.value.exit_code == 1


def test_json_nested_too_deep_is_one_error(run):
    run.write_text("metrics.json", "[" * 200_000)
    with pytest.raises(MemkdEdgeError, match=r"metrics\.json: damaged JSON"):
        read_metrics(run)
