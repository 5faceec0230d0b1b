"""The table of what quantisation costs."""

import json
import sys

import numpy as np
import pytest

from memkd_edge.quantize import report
from memkd_edge.quantize.report import Loss, Row, measure, summary, to_markdown


def row(name: str, int8: Loss, int16x8: Loss) -> Row:
    return Row(name, 1, 2, 24, 100, 0.9, 0.95, int8, int16x8)


def test_the_summary_gives_mean_and_worst():
    rows = [
        row("a", Loss(0.95, 0.2, 1.0, 0.01), Loss(0.95, 0.0, 1.0, 0.01)),
        row("b", Loss(0.95, -0.4, 0.9, 0.01), Loss(0.95, 0.1, 0.98, 0.01)),
    ]
    found = summary(rows)
    assert found["int8"] == pytest.approx({"mean_loss": -0.1, "worst_loss": 0.2, "mean_agreement": 0.95, "worst_agreement": 0.9})
    assert found["int16x8"]["worst_agreement"] == 0.98
    assert "| b | 1 | 2 | 24 | 100 | 0.900 | 0.9500 | -0.40 | 0.9000 | +0.10 | 0.9800 |" in to_markdown(rows)


def test_a_student_is_measured_on_its_test_set(tiny_run):
    found = measure(tiny_run)
    assert (found.name, found.channels, found.classes, found.length, found.test_series) == ("ItalyPowerDemand", 1, 2, 24, 1029)
    expected = tiny_run.read_json("metrics.json")["student"]["test"]
    assert found.float_accuracy == pytest.approx(expected["accuracy"], abs=1e-6)
    assert found.float_auc_prc == pytest.approx(expected["auc_prc"], abs=1e-6)
    for loss in (found.int8, found.int16x8):
        assert loss.loss == pytest.approx(100 * (found.float_auc_prc - loss.auc_prc))
        assert loss.agreement > 0.95
        assert loss.mean_logit_error < 0.02


def test_finished_students_are_taken_and_both_files_written(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "BUNDLED", ("tiny",))
    monkeypatch.setattr(sys, "argv", ["report", "--runs", str(tiny_run.path.parent), "--out", str(tmp_path)])
    report.main()
    written = json.loads((tmp_path / "quantization.json").read_text())
    assert written["kind"] == "measured"
    assert [one["name"] for one in written["rows"]] == ["ItalyPowerDemand"]
    assert np.isfinite(list(written["summary"]["int8"].values())).all()
    assert "ItalyPowerDemand" in (tmp_path / "quantization.md").read_text()
