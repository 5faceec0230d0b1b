# SPDX-License-Identifier: Apache-2.0
"""The page of a run: what it holds, what it leaves out, and that it needs and reaches nothing outside."""

import base64
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import memkd_edge
from memkd_edge.config import DistillConfig
from memkd_edge.contents import read_series, read_streams, read_student
from memkd_edge.data.example_folder import write_example
from memkd_edge.distillation.pipeline import distill
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.pages import run_page
from memkd_edge.pages.run_page import write_run_page
from memkd_edge.runs import METADATA, Run
from memkd_edge.stream_scores import stream_scores
from memkd_edge.verification.pipeline import quantized
from tests.data.test_data_report import called

HOSTILE = "</script><img src=x onerror=alert(1)> {{7*7}} <!--"


def distilled(folder: Path) -> Run:
    write_example(folder / "recordings")
    config = DistillConfig(
        dataset=str(folder / "recordings"),
        method="base",
        seeds=1,
        epochs=6,
        hidden=4,
        teacher_hidden=6,
        teacher_layers=1,
        teacher_epochs=4,
        teacher_seeds=1,
        threads=1,
    )
    return distill(config, run_root=folder / "runs", name="example")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return distilled(tmp_path_factory.mktemp("page"))


def copied(run: Run, place: Path) -> Run:
    shutil.copytree(run.path, place)
    return Run.open(place)


def data_of(page: str) -> dict:
    (text,) = re.findall(r'<div id="player">.*?<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def unpacked(runs: list[list[int]]) -> np.ndarray:
    return np.concatenate([np.full(length, value) for value, length in runs])


def test_page_holds_the_test_streams_and_what_was_decided_along_them(run: Run, tmp_path: Path) -> None:
    page = write_run_page(copied(run, tmp_path / "run")).page.read_text()
    data, metadata, streams = data_of(page), run.metadata, read_streams(run)
    assert len(data["recordings"]) == data["of"] == len(streams)
    by_name = {one["name"]: one for one in data["recordings"]}
    decisions = []
    for number, (x, y) in enumerate(streams, 1):
        one = by_name[f"held-out stream {number}"]
        counts = np.frombuffer(base64.b64decode(one["samples"]), "<i2").reshape(-1, len(metadata.channels))
        physical = x * np.asarray(metadata.std, np.float32) + np.asarray(metadata.mean, np.float32)
        assert np.abs(counts * np.asarray(data["scale"]) - physical).max() <= max(data["scale"])
        assert (unpacked(one["labels"]) == y).all()
        decisions.append(unpacked(one["decisions"]))
        assert (unpacked(one["teacher"]) >= 0).all()
    # The float student's accuracy stands in metrics.json; the integers of the page decide nearly as well.
    seen = [np.where(one < 0, 0, one) for one in decisions]
    recorded = run.read_json("metrics.json")["student"]["stream"]["accuracy"]
    found = stream_scores(seen, [y for _, y in streams], len(metadata.labels), metadata.sample_rate_hz).accuracy
    assert found == pytest.approx(recorded, abs=0.1)
    assert f"{run.read_json('metrics.json')['student']['held']['accuracy']:.3f}" in page


def test_page_reaches_nothing_outside(run: Run, tmp_path: Path) -> None:
    page = write_run_page(copied(run, tmp_path / "run")).page.read_text()
    assert len(page) < 3e6
    assert not re.search(r"""(src|href|action|data)\s*=\s*["']?(https?:)?//""", page)
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts)\s*\(|url\(|@import", page)


def test_without_recordings_the_page_has_noise_and_says_so(run: Run, tmp_path: Path) -> None:
    place = copied(run, tmp_path / "run")
    page = write_run_page(place, recordings=False).page.read_text()
    data = data_of(page)
    assert data["noise"]
    assert not data["moments"]
    assert [one["name"] for one in data["recordings"]] == ["seeded noise"]
    assert "holds no recordings" in page
    assert page == write_run_page(place, recordings=False).page.read_text()


def test_a_page_runs_the_integers_that_an_export_made(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = copied(run, tmp_path / "run")
    page = write_run_page(place, recordings=False).page.read_text()
    integers = quantized(read_student(place), place.metadata, read_series(place).x_calibration, tuned=False)
    monkeypatch.setattr(run_page, "quantized", None)
    assert page == write_run_page(place, recordings=False, integers=integers).page.read_text()


def test_text_of_others_is_shown_and_not_obeyed(run: Run, tmp_path: Path) -> None:
    place = copied(run, tmp_path / "run")
    metadata = place.metadata
    labels = (HOSTILE, *metadata.labels[1:])
    place.write_text(METADATA, replace(metadata, labels=labels, dataset=HOSTILE, dataset_terms=HOSTILE).to_json())
    place.set_state("complete")
    written = write_run_page(place)
    page = written.page.read_text()
    assert "<img" not in page
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", page)[0]
    assert data_of(page)["labels"][0] == HOSTILE
    assert not re.search(r"(?<!\\)<img", written.text.read_text())


def test_without_clang_the_page_has_the_rest_and_says_what_is_missing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    written = write_run_page(copied(run, tmp_path / "run"))
    assert "apt-get install clang" in written.without_module
    data = data_of(written.page.read_text())
    assert data["module"] is None
    assert data["without_module"] == written.without_module
    assert data["recordings"]


def test_bench_and_verification_stand_in_the_page_with_the_kind_of_their_figures(run: Run, tmp_path: Path) -> None:
    place = copied(run, tmp_path / "run")
    figures = {
        "instructions": {
            "value": 1234.0,
            "kind": "emulated-exact",
            "unit": "instructions",
            "tool": "qemu",
            "lo": None,
            "hi": None,
        },
        "latency": {"value": 5.0, "kind": "estimated", "unit": "us", "tool": "model", "lo": 4.0, "hi": 7.0},
    }
    row = {"model": "student", "build": "int8 C", "figures": figures, "note": ""}
    place.write_json("bench/board.json", {"device": "board", "title": "A board", "rows": [row], "caveats": ["Not a board."]})
    result = {"title": "LiteRT", "status": "ok", "test": {"agreement": 0.75}, "stream": None, "mismatches": 3, "compared": 40}
    place.write_json("export/verify.json", {"files": [{"file": "x_int8.tflite", "bytes": 4321, "results": [result]}]})
    text = write_run_page(place).text.read_text()
    assert "**=1,234** instructions a sample: emulated-exact, int8 C on A board" in text
    assert "~5 us \\[4, 7\\]" in text
    assert "Not a board." in text
    assert "**4,321** bytes of model file" in text
    assert "0.7500" in text
    assert "3 of 40" in text
    place.write_json("bench/board.json", {"device": "board", "title": "A board", "rows": [{}], "caveats": []})
    with pytest.raises(MemkdEdgeError, match=r"bench/board\.json: damaged"):
        write_run_page(place)


def test_scores_while_the_students_were_trained_are_drawn(run: Run, tmp_path: Path) -> None:
    curves, metrics = run.read_json("curves.json"), run.read_json("metrics.json")
    assert [one["method"] for one in curves["methods"]] == ["base"]
    stop = metrics["methods"][0]["stop_epoch"]
    at = curves["epochs"].index(stop)
    assert curves["methods"][0]["score"][at] == pytest.approx(metrics["methods"][0]["validation_f1_macro_mean"])
    text = write_run_page(copied(run, tmp_path / "run")).text.read_text()
    assert f"| {stop} | {curves['methods'][0]['score'][at]:.4g} |" in text


def test_windows_have_a_page_too(tiny_run: Run, tmp_path: Path) -> None:
    written = memkd_edge.report(copied(tiny_run, tmp_path / "run"), figures=True)
    data = data_of(written.page.read_text())
    assert data["of"] == len(tiny_run.read_arrays("calibration.npz")["y_test"])
    assert data["recordings"][0]["teacher"] is None
    assert [path.name for path in sorted((tmp_path / "run/figures").iterdir())] == ["recording.png", "recording.svg"]
    assert "each from its start" in written.text.read_text()


def test_a_student_that_does_not_run_sample_by_sample_has_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from memkd_edge.nets.classifier import CnnClassifier, ModelSpec

    monkeypatch.setattr(run_page, "read_student", lambda _: CnnClassifier(ModelSpec(6, 4, 3, kind="cnn")))
    with pytest.raises(MemkdEdgeError, match="a cnn student has no page"):
        write_run_page(run)


def test_command_says_where_the_page_is(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied(run, tmp_path / "runs" / "mine")
    arguments = ("report", "mine", "--no-recordings", "--run-root", str(tmp_path / "runs"))
    code, out, _ = called(monkeypatch, capsys, *arguments)
    assert code == 0
    assert f"Page: {tmp_path}/runs/mine/report.html" in out
    code, _, err = called(monkeypatch, capsys, "report", "other", "--run-root", str(tmp_path / "runs"))
    assert code == 2
    assert "no run directory at other" in err
