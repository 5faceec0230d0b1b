# SPDX-License-Identifier: Apache-2.0
"""The runtime checks: what they measure, and that they catch files that are wrong on purpose."""

import errno
import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import helper
from typer.testing import CliRunner

from memkd_edge.cli.main import app
from memkd_edge.config import ExportConfig
from memkd_edge.errors import GateError, MemkdEdgeError, MissingToolError, UnkeptError, UsageError
from memkd_edge.exporting.pipeline import export
from memkd_edge.formats.embedded_metadata import read_onnx
from memkd_edge.formats.inspection import CHANGED, SHARED_SCALES
from memkd_edge.formats.integers import read_integers
from memkd_edge.formats.step_interface import onnx_step, tflite_step
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.quantization.post_training import quantize
from memkd_edge.runs import Run
from memkd_edge.verification import pipeline as verify_module
from memkd_edge.verification.pipeline import ParityError, verify
from memkd_edge.verification.runtime_check import Accuracy, RuntimeResult, one_stream
from memkd_edge.verification.runtimes import RUNTIMES, Job, stream
from memkd_edge.writers.onnx import write_onnx_step
from memkd_edge.writers.tflite import write_tflite, write_tflite_float
from tests.writers.toy import make_run, metadata, series, student

BY_NAME = {runtime.name: runtime for runtime in RUNTIMES}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs"), student())


@pytest.fixture(scope="module")
def report(run):
    return export(run, ExportConfig(format="tflite", quantize="int8")).verification


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    """Keep the long stream to 500 steps, and to the runtimes of this environment, where a test does not look at more."""
    wanted = request.getfixturevalue("variable") if "variable" in request.fixturenames else None
    for variable in {"MEMKD_EDGE_TF_PYTHON", "MEMKD_EDGE_TFLITE_RUNTIME_PYTHON"} - {wanted}:
        monkeypatch.delenv(variable, raising=False)
    if "report" not in request.fixturenames:
        monkeypatch.setattr(verify_module, "one_stream", partial(one_stream, steps=500))


def edited(data, change):
    """Return .tflite bytes after `change` was done to their object tree."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def swap_state_outputs(model):
    outputs = model.signatureDefs[0].outputs
    h, c = (next(entry for entry in outputs if entry.name == name) for name in (b"h", b"c"))
    h.tensorIndex, c.tensorIndex = c.tensorIndex, h.tensorIndex


def results_of(report, file):
    return {result.title: result for result in next(f for f in report.files if f.file == file).results}


def test_every_runtime_gives_the_references_bits_and_keeps_the_state(report):
    results = results_of(report, "toy_set_1_int8.tflite")
    assert {"numpy reference", "LiteRT (XNNPACK)", "LiteRT (builtin)", "LiteRT (reference)"} <= set(results)
    for result in results.values():
        if result.status == "not installed":
            assert "pip install" in result.detail
            continue
        assert result.status == "ok"
        assert result.test.agreement == 1.0
        assert result.accuracy == result.test.agreement  # the toy's labels are the float student's decisions
        assert 0 < result.test.mean_error <= result.test.max_error < 0.05
        assert result.stream.agreement > 0.98
        assert result.state_kept is True
        assert result.golden is True
        assert result.mismatches in (0, None)
        assert result.compared > 40_000 or result.mismatches is None


def test_the_report_is_recorded_in_the_run(run, report):
    record = run.read_json("export/verify.json")
    assert record.pop("format") == 1
    assert record == json.loads(json.dumps(report.as_dict()))
    assert record["passed"] is True
    assert record["kind"] == "measured"
    assert (record["series"], record["steps"], record["stream_steps"]) == (24, 30, 10_000)


def test_the_record_keeps_other_files_while_they_are_unchanged(tmp_path):
    run = make_run(tmp_path, student())
    export(run, ExportConfig(format="onnx"))
    export(run, ExportConfig(format="onnx", quantize="int8"))
    names = {file["file"] for file in run.read_json("export/verify.json")["files"]}
    stem = "toy_set_1"
    assert names == {f"{stem}{kind}.onnx" for kind in ("_step", "_sequence", "_int8_step", "_int8_sequence")}
    (run.path / "export" / f"{stem}_step.onnx").write_bytes(b"changed")
    verify(run.path / "export" / f"{stem}_sequence.onnx")
    names = {file["file"] for file in run.read_json("export/verify.json")["files"]}
    assert f"{stem}_step.onnx" not in names
    assert f"{stem}_int8_step.onnx" in names


def test_verify_takes_a_run_its_path_or_one_of_its_files(tmp_path, monkeypatch):
    run = make_run(tmp_path, student())
    model = quantize(student(), run.read_arrays("calibration.npz")["x_calibration"])
    run.write_bytes("export/toy_set_1_int8.tflite", write_tflite(model, None))
    file = run.path / "export" / "toy_set_1_int8.tflite"
    monkeypatch.chdir(file.parent)
    for target in (run, run.path, file, Path("../export", file.name), Path(file.name)):
        again = verify(target)
        assert again.baseline == "float student in torch"
        assert [file.file for file in again.files] == ["toy_set_1_int8.tflite"]


def test_what_was_verified_is_printed_where_it_cannot_be_kept(run, report, monkeypatch):
    def read_only(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("memkd_edge.runs.tempfile.mkstemp", read_only)
    before = (run.path / "export" / "verify.json").read_bytes()
    result = CliRunner().invoke(app, ["verify", str(run.path)])
    assert isinstance(result.exception, UnkeptError)
    assert result.exception.exit_code == 1
    assert report.files[0].file in result.stdout
    assert (run.path / "export" / "verify.json").read_bytes() == before
    monkeypatch.setattr(RuntimeResult, "failures", lambda *_, **__: ("it decides otherwise",))
    result = CliRunner().invoke(app, ["verify", str(run.path)])
    assert isinstance(result.exception, ParityError)
    assert "verify.json: Read-only file system" in result.stderr


def test_a_file_on_its_own_is_measured_against_its_first_runtime_and_its_golden_vectors(run, report, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes((run.path / "export" / "toy_set_1_int8.tflite").read_bytes())
    alone = verify(path)
    assert alone.baseline == "LiteRT (XNNPACK)"
    results = results_of(alone, "m.tflite")
    assert results["LiteRT (reference)"].test.max_error == 0
    assert results["LiteRT (reference)"].golden is True
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize(
    "config",
    [
        ExportConfig(format="onnx"),
        ExportConfig(format="onnx", quantize="int8"),
        ExportConfig(strip=True),
        ExportConfig(input="raw", counts_per_unit=(1000.0,)),
    ],
)
def test_files_of_every_kind_are_verified_on_their_own(tmp_path, config):
    run = make_run(tmp_path, student())
    for path in export(run, config).files:
        alone = tmp_path / path.name
        alone.write_bytes(path.read_bytes())
        (file,) = verify(alone).files
        ran = [result for result in file.results if result.status == "ok"]
        assert ran
        assert all(result.test.agreement == 1 and result.golden is not False for result in ran)


def test_a_changed_file_is_called_so_and_judged_by_running_it(run, report, tmp_path):
    exported, path = run.path / "export" / "toy_set_1_int8.tflite", tmp_path / "m.tflite"
    data = exported.read_bytes()
    path.write_bytes(data.replace(b"class 3", b"class 4"))
    (file,) = verify(path).files
    assert file.notes == (CHANGED,)
    assert all(result.golden for result in file.results if result.status == "ok")
    weights = read_integers(read_tflite(exported)).head.weight.tobytes()
    path.write_bytes(data.replace(weights, bytes(len(weights))))
    with pytest.raises(ParityError, match="golden vectors") as failure:
        verify(path)
    assert failure.value.report.files[0].notes == (CHANGED,)


def test_a_dynamic_int8_onnx_answers_as_if_it_were_alone(tmp_path, children):
    run = make_run(tmp_path, student())
    report = export(run, ExportConfig(format="onnx", quantize="int8")).verification
    notes = {file.file: file.notes for file in report.files}
    assert notes == {"toy_set_1_int8_step.onnx": (), "toy_set_1_int8_sequence.onnx": (SHARED_SCALES,)}
    path = run.path / "export" / "toy_set_1_int8_step.onnx"
    step, (onnxruntime,) = onnx_step(read_onnx(path), str(path)), [one for one in RUNTIMES if one.name == "onnxruntime"]
    x = series(4)
    jobs = [Job(x), *(Job(x[n : n + 1]) for n in range(4))]
    together, *alone = stream(onnxruntime, path, step, jobs, children=children, alone=True)
    shared, *_ = stream(onnxruntime, path, step, jobs, children=children)
    np.testing.assert_array_equal(together.logits, np.concatenate([one.logits for one in alone]))
    assert (together.logits != shared.logits).any()


def test_swapped_int8_state_outputs_are_refused_by_name(run, tmp_path):
    data = edited(write_tflite(quantize(student(), series()), None), swap_state_outputs)
    path = tmp_path / "swapped.tflite"
    path.write_bytes(data)
    with pytest.raises(MemkdEdgeError, match=r"state h goes in as .* comes out as"):
        verify(path)


def test_swapped_float_state_outputs_fail_the_gate(tmp_path):
    run = make_run(tmp_path, student())
    run.write_bytes("export/toy_float32.tflite", edited(write_tflite_float(student(), None), swap_state_outputs))
    with pytest.raises(ParityError, match=r"LiteRT .*float student") as failure:
        verify(run)
    assert failure.value.exit_code == GateError.exit_code == 4
    assert all(result.test.max_error > 0.1 for result in failure.value.report.files[0].results if result.status == "ok")
    assert run.read_json("export/verify.json")["passed"] is False


def test_a_bias_that_is_off_by_little_breaks_the_promised_bits(tmp_path):
    run = make_run(tmp_path, student())
    model = quantize(student(), run.read_arrays("calibration.npz")["x_calibration"])
    bias = model.head.bias.copy()
    bias[0] += 1 << (model.head.shift - 10)  # a few LSB of one logit
    run.write_bytes(
        "export/toy_int16x8.tflite", write_tflite(replace(model, head=replace(model.head, bias=bias)), None, interface="int16x8")
    )
    with pytest.raises(ParityError, match="integers differ from the reference"):
        verify(run)


def test_a_file_that_forgets_its_cell_state_fails_the_probe(tmp_path):
    run = make_run(tmp_path, student())
    model = onnx.load_model_from_string(write_onnx_step(student(), None))
    squeeze = next(node for node in model.graph.node if node.output[0] == "c_out")
    squeeze.output[0] = "c_kept"
    model.graph.node.append(helper.make_node("Sub", ["c_kept", "c_kept"], ["c_out"]))
    run.write_bytes("export/toy_step.onnx", model.SerializeToString())
    with pytest.raises(ParityError, match="still zero after a sample"):
        verify(run)


def test_wrong_golden_vectors_fail(tmp_path):
    described = replace(metadata(), golden=({"x": [[0.1, 0.2, 0.3]], "logits": [9.0, 9.0, 9.0, 9.0]},))
    path = tmp_path / "m.tflite"
    path.write_bytes(write_tflite(quantize(student(), series()), described))
    with pytest.raises(ParityError, match="golden vectors"):
        verify(path)


@pytest.mark.parametrize(
    "golden",
    [
        ({"x": [[0.1, 0.2]], "logits": [0.0] * 4},),
        ({"x": [[0.1, 0.2, 0.3]], "logits": [0.0] * 3},),
        ({"x": "no", "logits": [0.0] * 4},),
        ({"logits": [0.0] * 4},),
    ],
)
def test_damaged_golden_vectors_are_one_clear_error(tmp_path, golden):
    path = tmp_path / "m.tflite"
    path.write_bytes(write_tflite(quantize(student(), series()), replace(metadata(), golden=golden)))
    with pytest.raises(MemkdEdgeError, match=r"m\.tflite: damaged golden vector"):
        verify(path)


def test_a_file_of_another_run_is_refused(tmp_path):
    run = make_run(tmp_path, student(channels=2))
    run.write_bytes("export/other.tflite", write_tflite(quantize(student(), series()), None))
    with pytest.raises(MemkdEdgeError, match="belongs to another run"):
        verify(run)


def test_there_must_be_something_to_verify(tmp_path):
    run = make_run(tmp_path, student())
    with pytest.raises(UsageError, match="memkd-edge export"):
        verify(run)
    with pytest.raises(UsageError, match="no file at"):
        verify(tmp_path / "absent.tflite")
    with pytest.raises(UsageError, match="takes a run directory"):
        verify(run.path / "student.safetensors")


@pytest.fixture
def tflite(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(write_tflite(quantize(student(), series()), None))
    return path


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("kill -SEGV $$", MemkdEdgeError, r"crashed on .*m\.tflite \(SIGSEGV\)"),
        ("echo went wrong >&2; exit 1", MemkdEdgeError, r"refuses .*m\.tflite: went wrong"),
        ("echo no module >&2; exit 3", MissingToolError, "no module"),
    ],
)
def test_a_runtime_that_dies_is_an_error_and_not_the_end(tflite, tmp_path, monkeypatch, children, script, error, message):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setenv("MEMKD_EDGE_TF_PYTHON", str(python))
    step = tflite_step(read_tflite(tflite))
    with pytest.raises(error, match=message):
        stream(BY_NAME["tf.lite"], tflite, step, [Job(step.x.zeros(1)[:, None])], children=children)
    monkeypatch.setenv("MEMKD_EDGE_TF_PYTHON", str(tmp_path / "absent"))
    with pytest.raises(MissingToolError, match=r"MEMKD_EDGE_TF_PYTHON=.* cannot be run"):
        stream(BY_NAME["tf.lite"], tflite, step, [Job(step.x.zeros(1)[:, None])], children=children)


@pytest.mark.parametrize("name", ["litert-xnnpack", "litert-builtin", "litert-reference", "tflite-micro"])
def test_a_batch_from_given_states_equals_its_series_one_by_one(tflite, children, name):
    pytest.importorskip(BY_NAME[name].module)
    step = tflite_step(read_tflite(tflite))
    x = step.x.quantize(series(5, 7))
    generator = np.random.default_rng(1)
    states = tuple(generator.integers(-3000, 3000, (5, 8)).astype(np.int16) for _ in range(2))
    singles = [Job(x[n : n + 1], tuple(s[n : n + 1] for s in states), every=True) for n in range(5)]
    together, *alone = stream(BY_NAME[name], tflite, step, [Job(x, states, every=True), *singles], children=children)
    np.testing.assert_array_equal(together.logits, np.concatenate([one.logits for one in alone]))
    for k in range(2):
        np.testing.assert_array_equal(together.states[k], np.concatenate([one.states[k] for one in alone]))


@pytest.mark.parametrize(
    ("variable", "name"), [("MEMKD_EDGE_TF_PYTHON", "tf.lite"), ("MEMKD_EDGE_TFLITE_RUNTIME_PYTHON", "tflite-runtime")]
)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_runtime_of_another_environment_gives_the_references_bits(tmp_path, variable, name, layers):
    if not os.environ.get(variable):
        pytest.skip(f"needs {variable} to name a Python: {BY_NAME[name].install}")
    run = make_run(tmp_path, student(layers=layers))
    report = export(run, ExportConfig(format="tflite", quantize="int8")).verification
    result = results_of(report, "toy_set_1_int8.tflite")[BY_NAME[name].title]
    assert (result.status, result.mismatches) == ("ok", 0)


def test_one_stream_joins_series_end_to_end_and_over_again():
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    assert one_stream(x, 8)[0, :, 0].tolist() == [0, 2, 4, 6, 8, 10, 0, 2]


def test_gates_of_a_rung():
    good = RuntimeResult("R", "ok", test=Accuracy(1.0, 0.1, 0.01), state_kept=True, golden=True)
    assert good.failures(0.98, np.inf) == []
    assert RuntimeResult("R", "not installed").failures(0.98, np.inf) == []
    assert RuntimeResult("R", "failed", "it crashed").failures(0.98, np.inf) == ["it crashed"]
    tie = replace(good, mismatches=1, compared=10_000, largest_mismatch=1)
    assert tie.failures(0.98, np.inf) == []
    for bad in (
        replace(tie, exact=True),
        replace(tie, largest_mismatch=2),
        replace(tie, mismatches=11),
        replace(good, test=Accuracy(0.97, 0.1, 0.01)),
        replace(good, state_kept=False),
        replace(good, golden=False),
    ):
        assert len(bad.failures(0.98, np.inf)) == 1
    assert len(good.failures(0.98, 0.05)) == 1


def test_an_incomplete_run_is_not_verified(tmp_path):
    run = make_run(tmp_path, student())
    run.set_state("training")
    with pytest.raises(MemkdEdgeError, match="not complete"):
        verify(Run(run.path).path)
