# SPDX-License-Identifier: Apache-2.0
"""The table of what quantisation costs."""

import json
import sys

import numpy as np
import pytest

from experiments import quantization_cost as report
from experiments.quantization_cost import Loss, QuantizationCost, measure, student_run, summary, to_markdown
from memkd_edge.distillation import study


def row(name: str, int8: Loss, int16x8: Loss) -> QuantizationCost:
    alone = Loss(0.95, 0.0, 0, 1.0), Loss(0.94, 1.0, 3, 0.97)
    return QuantizationCost(name, 1, 2, 24, 100, 0.9, 0.95, 7, int8, int16x8, *alone)


def test_the_summary_gives_mean_and_worst():
    rows = [
        row("a", Loss(0.95, 0.2, 0, 1.0), Loss(0.95, 0.0, 0, 1.0)),
        row("b", Loss(0.95, -0.4, 10, 0.9), Loss(0.95, 0.1, 2, 0.98)),
    ]
    found = summary(rows)
    assert found["int8"] == pytest.approx({"mean_loss": -0.1, "worst_loss": 0.2, "mean_agreement": 0.95, "worst_agreement": 0.9})
    assert found["int16x8"]["worst_agreement"] == 0.98
    text = to_markdown(rows)
    assert "| b | 1 | 2 | 24 | 100 | 7 | 0.900 | 0.9500 | -0.40 | 10 | 0.9000 | +0.10 | 2 | 0.9800 |" in text
    assert "| b | int8 | +0.00, 0 | +1.00, 3 | +0.10, 2 |" in text
    assert "| a | int" not in text


def test_a_student_is_measured_on_its_test_set(tiny_run):
    found = measure(tiny_run)
    assert (found.name, found.channels, found.classes, found.length, found.test_series) == ("ItalyPowerDemand", 1, 2, 24, 1029)
    expected = tiny_run.read_json("metrics.json")["student"]["test"]
    assert found.float_accuracy == pytest.approx(expected["accuracy"], abs=1e-6)
    assert found.float_auc_prc == pytest.approx(expected["auc_prc"], abs=1e-6)
    for loss in (found.int8, found.int16x8):
        assert loss.loss == pytest.approx(100 * (found.float_auc_prc - loss.auc_prc))
        assert loss.agreement == 1 - loss.flipped / 1029 > 0.95
    for alone in (found.x_alone, found.logits_alone):
        assert alone.flipped < 0.05 * 1029
        assert alone.auc_prc != found.float_auc_prc


def test_a_finished_student_is_taken_and_one_of_another_configuration_trained_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "epochs", lambda *asked: 1)
    first = student_run("ItalyPowerDemand", "", tmp_path)
    written = (first.path / "env.json").stat().st_mtime_ns
    assert (student_run("ItalyPowerDemand", "", tmp_path).path / "env.json").stat().st_mtime_ns == written
    monkeypatch.setattr(report, "HIDDEN", 3)
    again = student_run("ItalyPowerDemand", "", tmp_path)
    assert again.read_json("metrics.json")["student"]["hidden_size"] == 3


def test_both_files_are_written(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "BUNDLED", ("tiny",))
    monkeypatch.setattr(report, "student_run", lambda *asked: tiny_run)
    monkeypatch.setattr(sys, "argv", ["report", "--out", str(tmp_path)])
    report.main()
    written = json.loads((tmp_path / "quantization.json").read_text())
    assert written["kind"] == "measured"
    assert [one["name"] for one in written["rows"]] == ["ItalyPowerDemand"]
    assert np.isfinite(list(written["summary"]["int8"].values())).all()
    assert "ItalyPowerDemand" in (tmp_path / "quantization.md").read_text()
