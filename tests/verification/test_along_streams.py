# SPDX-License-Identifier: Apache-2.0
"""What exported integers decide along the test streams, against the streaming classifier and torch."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from memkd_edge.config import ExportConfig
from memkd_edge.contents import read_series, read_streams, read_student
from memkd_edge.contract import contract
from memkd_edge.distillation.pipeline import distill
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.exporting.pipeline import export
from memkd_edge.file_formats import KEY
from memkd_edge.formats.inspection import inspect
from memkd_edge.quantization.post_training import quantize
from memkd_edge.runs import SERIES, Run
from memkd_edge.stream_scores import stream_scores
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.verification import never_reset
from memkd_edge.verification import pipeline as verify_module
from memkd_edge.verification.along_streams import float_scores, integer_scores
from memkd_edge.verification.pipeline import ParityError, verify
from memkd_edge.verification.runtime_check import one_stream
from memkd_edge.vocabulary import Arithmetic, Reset
from tests.distillation.test_recordings import CONFIG, LABELS, recordings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = replace(CONFIG, method="base", seeds=1)
    return distill(config, run_root=tmp_path_factory.mktemp("runs"), name="whole", data=recordings())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "one_stream", partial(one_stream, steps=500))


def test_each_arithmetic_is_judged_on_the_test_streams_without_a_reset(run: Run) -> None:
    for arithmetic in (Arithmetic.INT8, Arithmetic.INT16X8):
        along = export(run, ExportConfig(quantize=arithmetic, min_agreement=0.5)).verification.along
        assert set(along) == {"float", arithmetic}
    assert run.read_json("export/verify.json")["along"] == json.loads(json.dumps(along))
    along = verify(run, min_agreement=0.5).along
    assert set(along) == {"float", "int8", "int16x8"}
    assert json.loads(json.dumps(along["float"])) == run.read_json("metrics.json")["student"]["stream"]
    mean, std = (np.asarray(values, np.float32) for values in (run.metadata.mean, run.metadata.std))
    streams = read_streams(run)
    for arithmetic in ("int8", "int16x8"):
        decisions = []
        for x, _ in streams:
            classifier = StreamingClassifier(run.path / "export" / f"walks_{arithmetic}.tflite")
            decisions.append(classifier.stream(x * std + mean).decisions)
        waited = [np.where(one < 0, 0, one) for one in decisions]  # the run judges the first samples, too
        judged = [np.where(one < 0, -1, y) for one, (_, y) in zip(decisions, streams, strict=True)]
        expected = stream_scores(waited, judged, len(LABELS), 50.0)
        warm = sum(int((one < 0).sum()) for one in decisions)
        assert along[arithmetic]["accuracy"] == pytest.approx(expected.accuracy, abs=(warm + 2) / 2000)


def test_a_class_is_held_until_another_leads_by_the_margin(run: Run) -> None:
    streams, held = read_streams(run), replace(run.metadata, decision_margin=1000.0)
    student = read_student(run)
    model = quantize(student, read_series(run).x_calibration)
    for scores in (
        float_scores(student, streams, held),
        *(integer_scores(model, arithmetic, lambda x: x, streams, held) for arithmetic in (Arithmetic.INT8, Arithmetic.INT16X8)),
    ):
        assert scores["switches_per_minute"] == 0.0
    assert integer_scores(model, Arithmetic.INT8, lambda x: x, streams, run.metadata)["switches_per_minute"] > 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.update(y_streams=arrays["y_streams"][1:]),
        lambda arrays: arrays.update(stream_lengths=arrays["stream_lengths"] + 1),
        lambda arrays: arrays.update(y_streams=arrays["y_streams"] + 9),
        lambda arrays: arrays.update(x_streams=arrays["x_streams"] * np.nan),
        lambda arrays: arrays.pop("stream_lengths"),
    ],
)
def test_streams_that_do_not_fit_are_refused(run: Run, tmp_path_factory: pytest.TempPathFactory, damage: Callable) -> None:
    broken = Run(tmp_path_factory.mktemp("broken"))
    for name in ("model.json", "env.json"):
        broken.write_bytes(name, run.read_bytes(name))
    arrays = dict(np.load(io.BytesIO(run.read_bytes(SERIES))))
    arrays.pop(KEY)
    damage(arrays)
    broken.write_arrays(SERIES, arrays)
    with pytest.raises(MemkdEdgeError, match="streams do not fit"):
        read_streams(broken)


def test_integers_are_held_to_the_float_student_along_100_000_samples(run: Run) -> None:
    file = export(run, ExportConfig(), force=True).verification.files[0]
    (found,) = file.without_reset.values()
    assert (found.samples, found.held_out, found.limit, found.kind) == (100_000, 2_000, 0.99, "measured")
    embedded = inspect(run.path / "export" / "walks_int8.tflite").metadata
    assert embedded is not None
    assert embedded.stream_agreement == pytest.approx(found.agreement, abs=1e-5)
    assert (embedded.stream_samples, embedded.stream_held_out) == (100_000, 2_000)
    assert "(2,000 different ones, looped), measured" in contract(embedded, resampled=True).sentences[-1]
    recorded = run.read_json("export/verify.json")["files"][0]["without_reset"]
    (again,) = verify(run.path / "export" / "walks_int8.tflite").files
    assert recorded["int8"]["agreement"] == found.agreement == again.without_reset[Arithmetic.INT8].agreement


def test_integers_are_calibrated_along_streams_where_the_model_is_never_reset(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, student, x = [], read_student(run), read_series(run).x_calibration
    monkeypatch.setattr(verify_module, "quantize", lambda *given, **more: asked.append(more["never_reset"]))
    for reset in Reset:
        verify_module.quantized(student, replace(run.metadata, reset=reset), x, tuned=False)
    assert dict(zip(Reset, asked, strict=True)) == {reset: reset == "never" for reset in Reset}


@pytest.fixture
def spoiled(run: Run, tmp_path: Path) -> Run:
    """The run, its calibration series a tenth of what they were: ranges of samples and cells come out too small."""
    copy = Run(tmp_path / "spoiled")
    copy.path.mkdir()
    for name in ("model.json", "env.json", "config.toml", "student.safetensors"):
        copy.write_bytes(name, run.read_bytes(name))
    arrays = run.read_arrays(SERIES)
    copy.write_arrays(SERIES, arrays | {"x_calibration": arrays["x_calibration"] * np.float32(0.1)})
    return copy


@pytest.mark.parametrize("format", ["tflite", "c"])
def test_a_spoiled_calibration_fails_the_gate_in_export_and_verify(spoiled: Run, format: str) -> None:
    with pytest.raises(ParityError, match=r"int8 decides as the float student at 0\.\d+ of 100,000 decisions") as failed:
        export(spoiled, ExportConfig(format=format))
    assert failed.value.exit_code == 4
    with pytest.raises(ParityError, match="held-out samples without a reset"):
        verify(spoiled)
    assert not export(spoiled, ExportConfig(format=format, min_agreement=0.5)).verification.failures


def test_int16_samples_are_what_the_message_offers_and_no_more_is_asked_of_them(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(never_reset.LEAST_ALONG, Arithmetic.INT8, 1.01)
    for format in ("tflite", "c"):
        with pytest.raises(ParityError, match=r"take int16 samples and logits with the same int8 weights, --samples int16"):
            export(run, ExportConfig(format=format), force=True)
        report = export(run, ExportConfig(format=format, samples="int16"), force=True)
        assert [one for file in report.verification.files for one in file.without_reset] == [Arithmetic.INT16X8]
    (run.path / "export" / "walks_int8.tflite").unlink()
    assert [list(file.without_reset) for file in verify(run).files] == [["int16x8"], ["int16x8"]]
    data = (run.path / "export" / "walks_int16x8.tflite").read_bytes()
    assert export(run, ExportConfig(quantize="int16x8")).files[0].read_bytes() == data


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": "int16", "quantize": "float32"},
        {"samples": "int8", "format": "onnx"},
        {"samples": "int8", "quantize": "int16x8"},
    ],
)
def test_samples_that_do_not_fit_are_refused(run: Run, wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="--samples int"):
        export(run, ExportConfig(**wrong))  # type: ignore[arg-type]
