# SPDX-License-Identifier: Apache-2.0
"""What exported integers decide along the test streams, against the streaming classifier and torch."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from memkd_edge.config import ExportConfig
from memkd_edge.contents import read_series, read_streams, read_student
from memkd_edge.distillation.pipeline import distill
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.exporting.pipeline import export
from memkd_edge.file_formats import KEY
from memkd_edge.quantization.post_training import quantize
from memkd_edge.runs import SERIES, Run
from memkd_edge.stream_scores import stream_scores
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.verification import pipeline as verify_module
from memkd_edge.verification.along_streams import float_scores, integer_scores
from memkd_edge.verification.pipeline import verify
from memkd_edge.verification.runtime_check import one_stream
from memkd_edge.vocabulary import Arithmetic
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
