# SPDX-License-Identifier: Apache-2.0
"""Export: which files, how large, what is in them, and what is refused."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

import memkd_edge as me
from memkd_edge.config import ExportConfig
from memkd_edge.data.normalisation import normalise
from memkd_edge.data.resampling import low_pass, resample
from memkd_edge.errors import GateError, MemkdEdgeError, MissingToolError, UsageError
from memkd_edge.exporting import pipeline as pipeline_module
from memkd_edge.exporting.pipeline import export
from memkd_edge.finetuning import pipeline as finetune_module
from memkd_edge.finetuning.pipeline import Finetuned
from memkd_edge.formats.embedded_metadata import read_onnx_metadata, read_tflite_metadata
from memkd_edge.formats.step_interface import float_step, integer_step
from memkd_edge.metadata import Resampling
from memkd_edge.nets.classifier import build, load_classifier
from memkd_edge.quantization.post_training import quantize
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.verification import pipeline as verify_module
from memkd_edge.verification.c_runtime import c_runners
from memkd_edge.verification.golden import golden_vectors, model_input, read_golden
from memkd_edge.verification.runtime_check import one_stream
from memkd_edge.verification.runtimes import Job
from memkd_edge.vocabulary import Arithmetic, Reset
from memkd_edge.writers.c_integer import emit_c
from tests.writers.toy import make_run, metadata, mistaken, series, student


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Keep the long stream to 300 steps, and to the runtimes of this environment; test_verify looks at the rest."""
    for variable in ("MEMKD_EDGE_TF_PYTHON", "MEMKD_EDGE_TFLITE_RUNTIME_PYTHON"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(verify_module, "one_stream", partial(one_stream, steps=300))


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, student())


def built(run, config, **shape):
    return export(make_run(run.path.parent, student(**shape), name="built"), config).files


@pytest.mark.parametrize(
    ("format", "quantize", "names"),
    [
        ("tflite", "", ["toy_set_1_int8.tflite"]),
        ("tflite", "int8", ["toy_set_1_int8.tflite"]),
        ("tflite", "int16x8", ["toy_set_1_int16x8.tflite"]),
        ("tflite", "float32", ["toy_set_1_float32.tflite"]),
        ("onnx", "", ["toy_set_1_step.onnx", "toy_set_1_sequence.onnx"]),
        ("onnx", "float32", ["toy_set_1_step.onnx", "toy_set_1_sequence.onnx"]),
        ("onnx", "int8", ["toy_set_1_int8_step.onnx", "toy_set_1_int8_sequence.onnx"]),
    ],
)
def test_each_format_has_its_files(run, format, quantize, names):
    report = export(run, ExportConfig(format=format, quantize=quantize))
    assert [path.name for path in report.files] == names
    assert {file.file for file in report.verification.files} == set(names)
    assert all(path.parent == run.path / "export" for path in report.files)
    assert all(file.agreement == 1 for file in report.verification.files)
    written = report.as_dict()["files"]
    assert [entry["bytes"] for entry in written] == [path.stat().st_size for path in report.files]
    json.dumps(report.as_dict(), allow_nan=False)


def test_the_integers_are_computed_once_per_export_and_once_by_verify(run, monkeypatch):
    calls = []
    quantize = verify_module.quantize
    monkeypatch.setattr(verify_module, "quantize", lambda *given, **more: calls.append(given) or quantize(*given, **more))
    for config in (ExportConfig(), ExportConfig(quantize="int16x8"), ExportConfig(format="c")):
        export(run, config)
    assert len(calls) == 3
    me.verify(run)
    assert len(calls) == 4


@pytest.mark.parametrize(("quantize", "folder"), [("int8", "c"), ("float32", "c_float32")])
def test_c_is_compiled_and_run(run, require_tool, quantize, folder):
    require_tool("cc", package="gcc libc6-dev")
    report = export(run, ExportConfig(format="c", quantize=quantize))
    assert {path.parent.name for path in report.files} == {folder}
    assert {"toy_set_1.c", "toy_set_1.h", "LICENSE"} <= {path.name for path in report.files}
    (file,) = report.verification.files
    assert file.file == f"{folder}/toy_set_1.c"
    ran = {result.title: result for result in file.results if result.status == "ok"}
    if quantize == "int8":
        for title in ("C, host, _i8", "C, host, small, _i8", "C, host, _i16"):
            assert (ran[title].mismatches, ran[title].test.agreement) == (0, 1.0)
            assert ran[title].compared > 1000
    else:
        assert ran["C, host, _f32"].test.max_error < 1e-4


@pytest.mark.parametrize(("quantize", "entries"), [("int8", ("i8", "i16")), ("float32", ("f32",))])
def test_c_runs_on_emulated_cortex_m_cores(run, require_tool, quantize, entries):
    require_tool("arm-none-eabi-gcc", "qemu-system-arm", package="gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm")
    report = export(run, ExportConfig(format="c", quantize=quantize))
    results = {result.title: result for result in report.verification.files[0].results}
    for core in ("Cortex-M4", "Cortex-M0+"):
        for entry in entries:
            result = results[f"C, {core} (QEMU), _{entry}"]
            assert (result.status, result.test.agreement, result.state_kept) == ("ok", 1.0, True)
            if quantize == "int8":
                assert (result.exact, result.mismatches) == (True, 0)
                assert result.compared > 1000
            else:
                assert result.test.max_error < 1e-4


def test_a_c_file_that_only_compiles_behind_the_others_fails(tmp_path, require_tool):
    require_tool("cc", package="gcc libc6-dev")
    model = quantize(student(), series())
    for name, text in emit_c(model, metadata(), "toy").items():
        (tmp_path / name).write_text(text)
    step = integer_step(model, Arithmetic.INT8)
    job = Job(step.x.zeros(1)[:, None])
    _host(tmp_path, step).stream([job])
    with (tmp_path / "memkd_state.c").open("a") as file:
        file.write("typedef memkd_dense_t of_a_header_that_is_not_included;\n")
    with pytest.raises(MemkdEdgeError, match=r"cc cannot build .*toy\.c"):
        _host(tmp_path, step).stream([job])


def _host(folder, step):
    (found,) = [one for one in c_runners(folder / "toy.c", [step])[0] if one.title == "C, host, _i8"]
    return found


def test_without_an_emulator_the_rung_says_what_to_install(run, tmp_path, monkeypatch):
    for tool in ("cc", "arm-none-eabi-gcc"):
        found = shutil.which(tool)
        if found is None:
            pytest.skip(f"needs {tool}: apt-get install gcc gcc-arm-none-eabi")
        (tmp_path / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    source = run.path / "export" / "c" / "toy_set_1.c"
    (emulated,) = [one for one in c_runners(source, [float_step(student().spec)])[0] if "Cortex-M4" in one.title]
    with pytest.raises(MissingToolError, match="qemu-system-arm is not installed; on Debian: apt-get install"):
        emulated.stream([])


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("lstm", ExportConfig(format="h5"), "--format h5: choose tflite, onnx or c"),
        ("lstm", ExportConfig(quantize="int4"), "--quantize int4: choose"),
        ("lstm", ExportConfig(format="onnx", quantize="int16x8"), "ONNX has no int16"),
        ("gru", ExportConfig(format="onnx", quantize="int8"), "--quantize float32"),
        ("cnn", ExportConfig(format="onnx"), "no streaming ONNX"),
        ("lstm", ExportConfig(format="c", strip=True), "--strip is for .tflite and .onnx"),
        ("cnn", ExportConfig(), "a cnn student has no tflite form"),
    ],
)
def test_what_a_format_cannot_do_is_refused_in_words(run, kind, config, message):
    with pytest.raises(UsageError, match=message):
        built(run, config, kind=kind)


@pytest.mark.parametrize(
    "config",
    [
        ExportConfig(format="onnx"),
        ExportConfig(quantize="int8"),
        ExportConfig(quantize="int16x8"),
        ExportConfig(quantize="float32"),
    ],
)
def test_a_gru_student_leaves_in_the_same_manner(tmp_path, config):
    run = make_run(tmp_path, student("gru", layers=2))
    report = export(run, config)
    for file in report.verification.files:
        assert file.agreement == 1
        assert all(result.mismatches in (0, None) for result in file.results)


COUNTS = (16384.0, 8192.0, 131.0)


@pytest.mark.parametrize(
    "config",
    [
        ExportConfig(input="raw", counts_per_unit=COUNTS),
        ExportConfig(input="raw", counts_per_unit=(1000.0,), quantize="int16x8"),
        ExportConfig(input="raw", counts_per_unit=COUNTS, strip=True),
        ExportConfig(input="raw", quantize="float32"),
        ExportConfig(input="raw", format="onnx"),
    ],
)
def test_raw_files_take_counts_or_physical_units_and_decide_the_same(run, config):
    report = export(run, config)
    for file in report.verification.files:
        assert file.agreement == 1
        assert file.input == "raw"
        assert len(file.counts_per_unit) == (3 if config.counts_per_unit else 0)
        ran = [result for result in file.results if result.status == "ok"]
        assert all(result.mismatches in (0, None) and result.state_kept is not False for result in ran)
        assert all(result.golden is (None if config.strip else True) for result in ran)
    again = verify_module.verify(run)  # without being told again
    assert [file.counts_per_unit for file in again.files] == [file.counts_per_unit for file in report.verification.files]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ExportConfig(input="cooked"), "--input cooked: choose normalised or raw"),
        (ExportConfig(input="raw"), r"give --counts-per-unit.* channel 0 \(m/s2\)"),
        (ExportConfig(input="raw", counts_per_unit=(1.0, 2.0)), "--counts-per-unit"),
        (ExportConfig(counts_per_unit=(1.0,)), "goes with --input raw"),
        (ExportConfig(input="raw", counts_per_unit=(1.0,), quantize="float32"), "leave out --counts-per-unit"),
        (ExportConfig(finetune=True, quantize="float32"), "--finetune trains through the integer arithmetic"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_words(run, config, message):
    with pytest.raises(UsageError, match=message):
        export(run, config)


def test_a_large_loss_to_rounding_is_told_with_what_helps(run):
    (run.path / "teacher.safetensors").touch()  # fine-tuning needs one
    report = export(run, ExportConfig(max_drop=-1.0))
    assert 0 < report.rounding.integer <= 1
    assert report.rounding.float32 == pytest.approx(report.rounding.integer, abs=0.05)
    assert "export again with --finetune or --quantize int16x8" in report.advice
    for finest in (ExportConfig(quantize="int16x8", max_drop=-1.0), ExportConfig(samples="int16", max_drop=-1.0)):
        assert export(run, finest).advice.endswith("export again with --finetune")
    assert export(run, ExportConfig(max_drop=1.0)).advice == ""
    assert export(run, ExportConfig(format="onnx")).rounding is None


def fine_tuned(run, arithmetic, progress):
    """Stand in for fine-tuning in which no epoch was better than none."""


@pytest.mark.parametrize(
    ("config", "teacher", "advice"),
    [
        ({}, True, "export again with --finetune or --quantize int16x8"),
        ({}, False, "export again with --quantize int16x8"),
        ({"finetune": True}, True, "export again with --quantize int16x8"),
        ({"quantize": "int16x8"}, True, "export again with --finetune"),
        ({"samples": "int16"}, False, "distil another student, or export with --quantize float32"),
        ({"samples": "int16", "finetune": True}, True, "distil another student, or export with --quantize float32"),
        ({"format": "c"}, False, "export again with --quantize int16x8"),
        ({"format": "onnx", "quantize": "int8"}, True, "export with --quantize float32, or as --format tflite"),
        ({"quantize": "float32"}, True, ""),
    ],
)
def test_what_is_advised_at_a_gate_was_not_done_and_can_be(run, monkeypatch, config, teacher, advice):
    if teacher:
        (run.path / "teacher.safetensors").touch()
    monkeypatch.setattr(pipeline_module, "_finetuned", fine_tuned)
    settings = ExportConfig(max_drop=-1.0, **config)
    told = export(run, settings, force=True).advice
    monkeypatch.setattr(pipeline_module, "read_student", lambda run: mistaken())
    with pytest.raises(GateError) as failure:
        export(run, settings, force=True)
    below = [line.partition(", below 0.98")[2] for line in str(failure.value).splitlines() if "of the test series" in line]
    assert below
    assert all(one.startswith(f": {advice}" if advice else "") for one in below)
    assert all(("--finetune" in one) == ("--finetune" in advice) for one in below)
    if told:
        assert advice in told


def test_along_streams_and_in_windows_one_thing_is_advised(tmp_path, monkeypatch):
    run = make_run(tmp_path, student())
    described = replace(run.metadata, reset=Reset.NEVER)
    run.write_text("model.json", described.to_json())
    run.set_state("complete")
    monkeypatch.setattr(pipeline_module, "read_student", lambda run: mistaken())
    with pytest.raises(GateError) as failure:
        export(run, ExportConfig())
    _, windows, along = str(failure.value).splitlines()
    assert windows.endswith("of the test series, below 0.98")
    assert "distil another student, or take --quantize float32 (--samples int16 reaches" in along


def test_the_loss_to_rounding_is_that_of_the_test_series_which_the_student_never_saw(run):
    arrays = run.read_arrays("calibration.npz")
    x, y = arrays["x_test"], np.roll(arrays["y_test"], 5)  # labels that the student is far from knowing
    run.write_arrays("calibration.npz", {**arrays, "y_test": y})
    report = export(run, ExportConfig(min_agreement=0.5))
    with torch.no_grad():
        share = load_classifier(run.path / "student.safetensors")(torch.from_numpy(x))[0].softmax(-1).numpy()
    expected = np.mean([average_precision_score(y == label, share[:, label]) for label in np.unique(y)])
    assert report.rounding.float32 == pytest.approx(expected)
    assert report.rounding.float32 < 0.9
    assert report.as_dict()["test_auc_prc"]["float32"] == report.rounding.float32


def test_a_run_of_a_version_that_kept_a_validation_part_exports_as_one_without(run):
    without = export(run, ExportConfig())
    arrays = run.read_arrays("calibration.npz")
    run.write_arrays("calibration.npz", {**arrays, "x_val": arrays["x_test"][:3], "y_val": arrays["y_test"][:3]})
    found = export(run, ExportConfig())  # files that differed would be refused
    assert (found.files, found.rounding) == (without.files, without.rounding)


def test_a_fine_tuned_file_is_verified_against_its_own_float_weights(run, monkeypatch):
    torch.manual_seed(3)
    tuned = build(student().spec).eval()
    monkeypatch.setattr(pipeline_module, "_finetuned", lambda run, arithmetic, progress: tuned)
    report = export(run, ExportConfig(finetune=True, min_agreement=0.5))
    assert all(result.mismatches in (0, None) for result in report.verification.files[0].results)
    assert report.verification.files[0].results[0].accuracy < 1  # other weights, other decisions than the student's
    assert verify_module.verify(run, min_agreement=0.5).files[0].agreement == report.verification.files[0].agreement
    export(run, ExportConfig(), force=True)
    assert not list((run.path / "export").glob("*.safetensors"))


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_student_that_fine_tuning_does_not_improve_is_exported_as_it_came(run, monkeypatch, epoch):
    result = Finetuned(load_classifier(run.path / "student.safetensors"), before=0.9, after=0.9, epoch=epoch)
    monkeypatch.setattr(finetune_module, "finetune", lambda run, interface, progress: result)
    untouched = export(run, ExportConfig()).files[0].read_bytes()
    tuned = export(run, ExportConfig(finetune=True), force=True).files[0].read_bytes()
    assert (tuned == untouched) == (epoch == 0)  # of the other, the biases stay as they were trained
    assert (run.path / "export/toy_set_1_int8.safetensors").exists() == (epoch > 0)


@pytest.mark.parametrize(("quantize", "limit"), [("int8", 3650), ("int16x8", 3150)])
def test_stripped_files_keep_the_size_limits(run, quantize, limit):
    (path,) = built(run, ExportConfig(quantize=quantize, strip=True), channels=1, hidden=8, classes=2)
    assert path.stat().st_size <= limit


def test_an_export_repeats_itself_byte_for_byte_and_needs_no_force(run):
    first = export(run, ExportConfig()).files[0].read_bytes()
    assert export(run, ExportConfig()).files[0].read_bytes() == first


def test_a_file_that_would_change_needs_force(run):
    full = export(run, ExportConfig()).files[0].stat().st_size
    with pytest.raises(UsageError, match="--force"):
        export(run, ExportConfig(strip=True))
    assert export(run, ExportConfig(strip=True), force=True).files[0].stat().st_size < full


def test_force_clears_a_packages_folder_of_what_an_earlier_export_left(run):
    config = ExportConfig(package="arduino")
    export(run, config)
    stale = run.path / "export" / "toy_set_1-arduino" / "src" / "stale.cpp"
    stale.write_text("#error this file belongs to no export")
    export(run, config)
    assert stale.exists()
    export(run, config, force=True)
    assert not stale.exists()


def test_below_the_wanted_agreement_the_files_and_the_report_stand_and_the_gate_fails(run, monkeypatch):
    monkeypatch.setattr(pipeline_module, "read_student", lambda run: mistaken())  # verification takes the run's
    with pytest.raises(GateError, match=r"of the test series, below 1: export again") as failure:
        export(run, ExportConfig(min_agreement=1.0))
    assert failure.value.exit_code == 4
    assert (run.path / "export" / "toy_set_1_int8.tflite").is_file()
    assert run.read_json("export/verify.json")["passed"] is False


def test_a_damaged_run_is_one_clear_error(run):
    student_file = run.path / "student.safetensors"
    whole = student_file.read_bytes()
    student_file.write_bytes(whole[:100])
    with pytest.raises(MemkdEdgeError, match=r"student\.safetensors"):
        export(run, ExportConfig())
    student_file.write_bytes(whole)
    (run.path / "calibration.npz").write_bytes(b"PK")
    with pytest.raises(MemkdEdgeError, match=r"calibration\.npz"):
        export(run, ExportConfig())


def test_the_files_metadata_describe_them(run):
    tflite = read_tflite_metadata(export(run, ExportConfig()).files[0])
    assert (tflite.arithmetic, tflite.labels) == ("int8", metadata().labels)
    assert tflite.input_scale > 0
    (vector,) = tflite.golden
    assert np.shape(vector["x"]) == (8, 3)
    step, _ = export(run, ExportConfig(format="onnx")).files
    assert (read_onnx_metadata(step).arithmetic, read_onnx_metadata(step).input_scale) == ("float32", None)


def test_the_golden_vector_is_what_the_library_answers_to_the_raw_samples(run):
    for config in (ExportConfig(), ExportConfig(quantize="int16x8"), ExportConfig(format="onnx")):
        path = export(run, config).files[0]
        classifier = StreamingClassifier(path)
        (vector,) = classifier.metadata.golden
        scores = classifier.predict(np.array(vector["x"], np.float32))
        expected = np.exp(vector["logits"] - np.max(vector["logits"]))
        np.testing.assert_allclose(scores, expected / expected.sum(), atol=1e-4)


@pytest.mark.parametrize("steps", [3, 4, 12])
@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_short_series_of_one_channel_are_exported(format, steps, tmp_path):
    run = make_run(tmp_path, student(channels=1))
    arrays = run.read_arrays("calibration.npz")
    run.write_arrays("calibration.npz", {name: array[:, :steps] if array.ndim > 1 else array for name, array in arrays.items()})
    report = export(run, ExportConfig(format=format, min_agreement=0))
    assert report.verification.failures == []
    (golden,) = StreamingClassifier(report.files[0]).metadata.golden
    assert len(golden["x"]) == steps


@pytest.mark.parametrize(
    "resampling",
    [Resampling("decimate", 30, 10, 3, low_pass(3)), Resampling("linear", 30, 12), Resampling("none", 30, 30)],
)
def test_golden_vectors_pass_through_the_resampling_front_end(resampling):
    described = metadata()
    described = type(described)(**{**vars(described), "resampling": resampling})
    raw = series(1)[0]
    whole = model_input(described, raw)
    np.testing.assert_array_equal(whole, normalise(resample(raw[None], resampling), described.mean, described.std))
    seen = []
    golden = golden_vectors(described, raw, lambda x: seen.append(x) or np.arange(4.0))
    assert seen[0].shape[1] >= 4
    assert np.size(golden[0]["x"]) <= np.size(raw)
    described = type(described)(**{**vars(described), "golden": golden})
    ((x, logits),) = read_golden(described, "m.tflite")
    np.testing.assert_array_equal(x, seen[0])
    np.testing.assert_array_equal(logits, np.arange(4.0))


def test_a_name_of_ones_own_is_that_of_all_files_and_another_is_refused_before_anything_is_done(run):
    report = export(run, ExportConfig(name="wrist", package="c"))
    assert {path.relative_to(run.path / "export").parts[0] for path in report.files} == {"wrist_int8.tflite", "wrist-c"}
    assert run.path / "export/wrist-c/src/wrist_selftest.c" in report.files
    assert export(run, ExportConfig(name="wrist", format="c")).files[0].parent.name == "c"
    for name, message in (("Wrist", "use lower-case"), ("test", "by CMake, as a target"), ("w" * 42, "at most 41 are taken")):
        with pytest.raises(UsageError, match=rf"--name '{name}' cannot name an exported model.*{message}"):
            export(run, ExportConfig(name=name))


def test_a_run_whose_name_is_reserved_exports_under_another(run):
    run.write_text("model.json", replace(run.metadata, name="Test").to_json())
    run.set_state("complete")
    assert [path.name for path in export(run, ExportConfig()).files] == ["model_test_int8.tflite"]


def test_the_librarys_verb_exports(run):
    assert me.export(run, format="onnx").files[0].name == "toy_set_1_step.onnx"


def test_exporting_imports_neither_tensorflow_nor_aeon(run):
    code = (
        "import sys, memkd_edge as me\n"
        f"me.export({str(run.path)!r}, format='tflite', quantize='int8')\n"
        "print(sorted({'tensorflow', 'aeon'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_torch_answers_the_stream_as_it_answers_step_by_step():
    model, x = student(), series()
    data = verify_module.float_reference(model, x, None)
    with torch.no_grad():
        for t in (0, 17, 299):
            expected = model(torch.from_numpy(data.stream[:, : t + 1]))[0][0].numpy()
            np.testing.assert_allclose(data.stream_logits[t], expected, atol=1e-5)
