# SPDX-License-Identifier: Apache-2.0
"""Where the command line takes a path the library takes one too; what can be no path is one error, not a traceback."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import memkd_edge as me
from memkd_edge.assets import asset_dir
from memkd_edge.cli.main import app
from memkd_edge.config import BenchConfig, CompareConfig, DataConfig, DistillConfig, resolve

MODEL = asset_dir("models") / "gait" / "export" / "gait_int8.tflite"
TOO_LONG = "x" * 5000  # as data that were made a text

TAKERS = {
    "dataset of classify": lambda given, place: me.classify(MODEL, given),
    "model of classify": lambda given, place: me.classify(given, "SPSW"),
    "inspect": lambda given, place: me.inspect(given),
    "verify": lambda given, place: me.verify(given),
    "export": lambda given, place: me.export(given),
    "bench": lambda given, place: me.bench(given),
    "report": lambda given, place: me.report(given),
    "StreamingClassifier": lambda given, place: me.StreamingClassifier(given),
    "load_recordings": lambda given, place: me.load_recordings(given),
    "dataset": lambda given, place: me.distill(dataset=given, run_root=place),
    "data_root": lambda given, place: me.distill(dataset="none", data_root=given, run_root=place),
    "unlabelled": lambda given, place: me.distill(unlabelled=given, run_root=place),
    "intervals": lambda given, place: me.distill(intervals=given, run_root=place),
    "teacher": lambda given, place: me.distill(dataset="ItalyPowerDemand", teacher=given, run_root=place),
}
MAKERS = {
    "run_root": lambda given, place: me.distill(dataset="none", run_root=given),
    "name": lambda given, place: me.distill(dataset="none", name=given, run_root=place),
    "out of classify": lambda given, place: me.classify(MODEL, "none", out=given),
    "out of compare": lambda given, place: me.compare(given, datasets="none"),
}


@pytest.mark.parametrize("given", [pd.DataFrame({"a": range(500)}), np.zeros((50, 3)), 5, b"path", [Path("path")]])
@pytest.mark.parametrize("taker", [*TAKERS, *MAKERS])
def test_data_are_no_path(taker, given, tmp_path):
    with pytest.raises(me.UsageError, match=rf"takes a path, .* of type {type(given).__name__}\b|is not of type str"):
        (TAKERS | MAKERS)[taker](given, tmp_path)


def test_where_data_go_instead_is_said(tmp_path):
    with pytest.raises(me.UsageError, match=r"StreamingClassifier\.stream"):
        me.classify(MODEL, np.zeros((50, 3)))
    with pytest.raises(me.UsageError, match="recordings_from_frame"):
        me.load_recordings(pd.DataFrame())
    with pytest.raises(me.UsageError, match="the argument data"):
        me.distill(dataset=np.zeros((50, 3)), run_root=tmp_path)


@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_too_long_for_a_path_is_not_there(taker, tmp_path):
    with pytest.raises(me.UsageError, match=r"no |neither|expected a file|inspect reads|verify takes"):
        TAKERS[taker](TOO_LONG, tmp_path)


def test_a_name_too_long_for_a_run_is_refused(tmp_path):
    with pytest.raises(me.UsageError, match=r"--name 'x+ is not the name of a folder"):
        me.distill(dataset="ItalyPowerDemand", name=TOO_LONG, run_root=tmp_path)


@pytest.mark.parametrize("arguments", [["classify", str(MODEL)], ["verify"], ["export", "--run"], ["data"], ["report"]])
def test_nor_on_the_command_line(arguments):
    assert isinstance(CliRunner().invoke(app, [*arguments, TOO_LONG]).exception, me.UsageError)


@pytest.mark.parametrize("name", ["dataset", "data_root", "intervals", "unlabelled", "teacher"])
def test_options_take_paths(name):
    assert getattr(resolve(DistillConfig, "distill", flags={name: Path("a") / "b"}), name) == os.path.join("a", "b")


def test_options_of_several_values_take_paths():
    assert resolve(CompareConfig, "compare", flags={"datasets": Path("a,b")}).datasets == ("a,b",)
    assert resolve(CompareConfig, "compare", flags={"datasets": [Path("a"), "b"]}).datasets == ("a", "b")
    assert resolve(BenchConfig, "bench", flags={"device": Path("own.toml")}).device == ("own.toml",)


def test_a_configuration_made_by_hand_takes_paths(tmp_path):
    (tmp_path / "own").mkdir()
    assert DataConfig(intervals=tmp_path / "labels.csv") == DataConfig(intervals=str(tmp_path / "labels.csv"))
    with pytest.raises(me.UsageError, match="no file or folder at"):
        me.load_recordings(tmp_path / "none", DataConfig(intervals=tmp_path / "labels.csv"))
