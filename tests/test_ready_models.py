# SPDX-License-Identifier: Apache-2.0
"""The ready-made students: each is checked again from its files, not trained again."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

import memkd_edge as me
from experiments import ready_models as maker
from memkd_edge import ready_models as ready
from memkd_edge import toolchain
from memkd_edge.benchmark.pipeline import bench
from memkd_edge.cli import main as cli
from memkd_edge.config import BenchConfig, DataConfig
from memkd_edge.contents import read_streams
from memkd_edge.data.loading import load_data
from memkd_edge.data.registry import load_dataset
from memkd_edge.errors import MemkdEdgeError, MissingToolError, UsageError
from memkd_edge.formats.step_interface import tflite_step
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.ready_models import open_run, ready_folder, ready_models
from memkd_edge.runs import Run
from memkd_edge.verification import pipeline as verify_module
from memkd_edge.verification.runtime_check import one_stream
from memkd_edge.verification.runtimes import Job, runners
from tests.conftest import SHARED

MODELS = maker.MODELS
NAMES = sorted(path.parent.name for path in MODELS.glob("*/student.safetensors"))
BUNDLED = "italypowerdemand"  # its series come with aeon, so its run can be opened everywhere
SIZE_LIMIT = 4_500_000
PAGE_LIMIT = 800_000
STREAM = "spsw"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Return a function that opens a model's run once; it skips the test where the data set is not at hand."""
    root = tmp_path_factory.mktemp("runs")

    def open_once(name: str) -> Run:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AEON_DATA", str(SHARED / "data" / "npz"))
            try:
                return open_run(f"model:{name}", root)
            except MemkdEdgeError as error:
                if (root / f"model-{name}").exists():
                    raise
                pytest.skip(str(error))

    return open_once


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Return a function that runs the command line in an empty folder and returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["memkd-edge", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """A copy of one shipped model in a models/ folder of its own, which a test may damage."""
    models = tmp_path / "installed" / "models"
    shutil.copytree(MODELS / BUNDLED, models / BUNDLED)
    monkeypatch.setattr(ready, "asset_dir", lambda name: models)
    return models / BUNDLED


def pinned(name):
    return next(model for model in ready_models() if model.name == name)


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_shipped_model_is_listed_and_has_an_entry_in_the_table_that_makes_it():
    assert sorted(model.name for model in ready_models()) == NAMES
    assert set(NAMES) <= {card.name for card in maker.cards()}


def test_all_models_together_are_small_and_hold_no_series_and_no_teacher():
    files = [path for name in NAMES for path in (MODELS / name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < SIZE_LIMIT
    assert {path.suffix for path in files} <= {
        "",
        ".md",
        ".json",
        ".toml",
        ".safetensors",
        ".tflite",
        ".onnx",
        ".c",
        ".h",
        ".html",
    }
    assert not [path for path in files if path.name == "teacher.safetensors"]
    assert max(path.stat().st_size for path in files if path.suffix != ".html") < 40_000
    assert max(path.stat().st_size for path in files) < PAGE_LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_the_page_holds_recordings_only_where_they_are_ours_to_give(name):
    page = (MODELS / name / "report.html").read_text()
    noise = "This page holds no recordings: its signals are seeded noise." in page
    assert noise == (name != STREAM)
    assert noise or ("CC BY 4.0" in page and "Matey-Sanz" in page)


@pytest.mark.parametrize("name", NAMES)
def test_the_pinned_figures_are_those_of_the_files(name):
    model, folder = pinned(name), MODELS / name
    student = json.loads((folder / "metrics.json").read_text())["student"]
    assert model.reset == json.loads((folder / "model.json").read_text())["reset"]
    scores = student["held"] if name == STREAM else student["test"]
    assert (model.accuracy, model.f1_macro) == pytest.approx((scores["accuracy"], scores["f1_macro"]), abs=1e-4)
    assert model.bytes == {
        ending: (folder / "export" / f"{name}_{ending}").stat().st_size
        for ending in ("int8.tflite", "int16x8.tflite", "step.onnx", "sequence.onnx")
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_a_user_must_know(name):
    card = next(one for one in maker.cards() if one.name == name)
    text = (MODELS / name / "README.md").read_text()
    measured = "Figures, along streams" if name == STREAM else "Figures, of events"
    for required in (card.what, card.misuse, card.terms, *card.cite, *maker.commands(card), measured, "Split:", "(report.html)"):
        assert required in text
    assert ("AUC-PRC" in text) == (name != STREAM)  # which is of windows
    if name == STREAM:
        for required in ("x_acc (m/s2)", "z_gyro (rad/s)", "104 samples a second", "false switches a minute", "CC BY 4.0"):
            assert required in text
    assert "host" not in json.loads((MODELS / name / "env.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_the_ladder_holds_and_int8_scores_what_is_pinned(name, opened, monkeypatch):
    run = opened(name)
    monkeypatch.setattr(verify_module, "one_stream", partial(one_stream, steps=300))
    paths = [run.path / "export" / f"{name}_{ending}" for ending in ("int8.tflite", "step.onnx")]
    report = verify_module.verify_run(run, paths, 0.98)
    assert report.failures == []
    if name == STREAM:
        assert report.along["float"]["accuracy"] == pytest.approx(pinned(name).accuracy, abs=1e-4)
        assert report.along["int8"]["accuracy"] == pytest.approx(pinned(name).accuracy_int8, abs=1e-4)
        # The same by StreamingClassifier, fed with physical values, and scikit-learn.
        model = me.StreamingClassifier(run.path / "export" / f"{name}_int8.tflite")
        truth, decided = [], []
        for x, y in read_streams(run):
            model.reset()
            answers = model.stream(x * np.float32(model.metadata.std) + np.float32(model.metadata.mean))[1]
            sure = answers >= 0  # not yet: what StreamingClassifier does not say before it is warm
            decided.append(answers[sure])
            truth.append(y[sure])
        found, y = np.concatenate(decided), np.concatenate(truth)
        assert accuracy_score(y, found) == pytest.approx(pinned(name).accuracy_int8, abs=2e-3)
        return
    for result in report.files[0].results:
        if result.status == "ok":
            assert result.accuracy == pytest.approx(pinned(name).accuracy_int8, abs=1e-4), result.title
    # The same by scikit-learn.
    logits, y = maker.int8_logits(run)
    assert f1_score(y, logits.argmax(1), average="macro") == pytest.approx(pinned(name).f1_macro_int8, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("arithmetic", ["int8", "int16x8"])
def test_tensorflow_lite_micro_answers_the_golden_vectors_bit_for_bit(name, arithmetic, children):
    golden = json.loads((MODELS / name / "golden.json").read_text())
    kind = {"int8": "int8", "int16x8": "int16"}[arithmetic]
    path = MODELS / name / "export" / f"{name}_{arithmetic}.tflite"
    runner = next(one for one in runners(path, tflite_step(read_tflite(path)), children) if one.title == "TFLite Micro")
    try:
        (answer,) = runner.stream([Job(np.array(golden[f"x_{kind}"], kind)[None], every=True)])
    except MissingToolError as error:
        pytest.skip(str(error))
    assert np.array_equal(answer.logits[0], golden[f"logits_{kind}"])


@pytest.mark.parametrize("name", NAMES)
def test_the_c_package_passes_its_self_test_and_fails_it_when_a_weight_is_changed(name, tmp_path, require_tool):
    require_tool("make", "cc", package="build-essential")
    package = tmp_path / "package"
    shutil.copytree(MODELS / name / "export" / f"{name}-c", package)
    # The vectors of the package are those of golden.json.
    vectors = (package / "src" / f"{name}_selftest.c").read_text()
    last = json.loads((MODELS / name / "golden.json").read_text())["logits_int16"][-1]
    assert ", ".join(map(str, last)) in vectors
    check = ["make", "--silent", "check"]
    passed = subprocess.run(check, cwd=package, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (passed.returncode, passed.stderr) == (0, "")
    source = package / "src" / f"{name}.c"
    above, table, below = source.read_text().partition("head_weights[] = {")
    source.write_text(above + table + re.sub(r"(?<=MEMKD_WEIGHTS\()-?\d+", lambda one: str(int(one[0]) ^ 1), below, count=1))
    assert subprocess.run(check, cwd=package, capture_output=True, stdin=subprocess.DEVNULL).returncode != 0


@pytest.mark.parametrize("name", NAMES)
def test_the_cost_on_a_cortex_m4_is_what_is_pinned_and_the_absent_teacher_is_named(name, opened, require_tool):
    require_tool("arm-none-eabi-gcc", package="gcc-arm-none-eabi libnewlib-arm-none-eabi")
    require_tool("qemu-system-arm", package="qemu-system-arm")
    if toolchain.version("arm-none-eabi-gcc") != json.loads((MODELS / ready.FIGURES).read_text())["compiler"]:
        pytest.skip("the figures were made with another compiler")
    run = opened(name)
    report = bench(run, BenchConfig(device=(maker.M4,), steps=64))
    cost = maker.student_row(run, maker.M4)
    model = pinned(name)
    assert (cost["flash"]["value"], cost["instructions"]["value"]) == (model.flash_bytes, model.instructions)
    assert {row.model for row in report.devices[0].rows} == {"student"}
    assert any("No rows of the teacher" in caveat for caveat in report.devices[0].caveats)
    held = [f"of the class that push holds it is {model.accuracy:.3f}."] if name == "spsw" else []
    assert [caveat.split("; ")[1] for caveat in report.devices[0].caveats if "push holds" in caveat] == held


def test_the_package_that_is_shipped_is_what_export_writes(monkeypatch, tmp_path, require_tool):
    monkeypatch.chdir(tmp_path)
    require_tool("arm-none-eabi-gcc", package="gcc-arm-none-eabi libnewlib-arm-none-eabi")  # its README has sizes
    if toolchain.version("arm-none-eabi-gcc") != json.loads((MODELS / ready.FIGURES).read_text())["compiler"]:
        pytest.skip("the figures were made with another compiler")
    monkeypatch.setattr(verify_module, "one_stream", partial(one_stream, steps=300))
    me.export(f"model:{BUNDLED}", package="c", force=True)
    package = Path("export") / f"{BUNDLED}-c"
    assert hashes(tmp_path / "runs" / f"model-{BUNDLED}" / package) == hashes(MODELS / BUNDLED / package)


def test_the_commands_take_a_model_as_a_run_and_write_beside_it_only(command, tmp_path, monkeypatch):
    monkeypatch.setattr(verify_module, "one_stream", partial(one_stream, steps=300))
    before = hashes(MODELS / BUNDLED)
    code, out, err = command("export", "--run", f"model:{BUNDLED}", "--json")
    assert code == 0, err
    assert json.loads(out)["run"] == f"runs/model-{BUNDLED}"
    # The same bytes as shipped, or it would have asked for --force.
    assert (tmp_path / "runs" / f"model-{BUNDLED}" / "export" / f"{BUNDLED}_int8.tflite").is_file()
    code, out, _ = command("verify", f"model:{BUNDLED}", "--json")
    assert (code, len(json.loads(out)["files"])) == (0, 4)
    code, out, _ = command("inspect", f"model:{BUNDLED}", "--json")
    assert (code, json.loads(out)["metadata"]["dataset"]) == (0, "ItalyPowerDemand")
    assert me.export(f"model:{BUNDLED}", format="c").verification.failures == []
    assert hashes(MODELS / BUNDLED) == before
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [f"model-{BUNDLED}"]


def test_the_list_names_every_model_in_words_and_in_json(command):
    _, out, _ = command("models")
    for model in ready_models():
        assert f"  {model.name} " in out
        assert f"={model.instructions:,.0f}" in out
        row = next(line for line in out.splitlines() if f"  {model.name} " in line)
        assert ("a stream" if model.name == STREAM else "events") in row
    listed = json.loads(command("models", "--json")[1])
    assert [one["name"] for one in listed["models"]] == [model.name for model in ready_models()]
    assert listed["kinds"]["instructions"] == "emulated-exact"


@pytest.mark.parametrize("words", [("export", "--run"), ("bench", "--run"), ("verify",), ("inspect",)])
def test_an_unknown_model_suggests_near_names(words, command):
    code, out, err = command(*words, "model:ItalyPowerDemnd")
    assert (code, out) == (2, "")
    assert f"did you mean model:{BUNDLED}?" in err
    assert BUNDLED in command(*words, "model:zzz")[2]


def test_the_shipped_folder_itself_is_not_taken_as_a_run(command):
    for words in (("export", "--run"), ("verify",)):
        code, _, err = command(*words, MODELS / BUNDLED)
        assert (code, f"name it model:{BUNDLED}" in err) == (2, True)


def test_a_file_as_it_is_shipped_is_verified_on_its_own(command):
    code, out, err = command("verify", MODELS / BUNDLED / "export" / f"{BUNDLED}_step.onnx", "--json")
    assert code == 0, err
    assert json.loads(out)["baseline"] == "onnxruntime"


def test_a_copy_of_another_student_is_not_taken_for_the_model(tmp_path):
    run = open_run(f"model:{BUNDLED}", tmp_path)
    (run.path / "student.safetensors").write_bytes(b"another")
    with pytest.raises(UsageError, match="holds another student"):
        open_run(f"model:{BUNDLED}", tmp_path)


def test_without_its_data_set_a_model_says_what_still_works_and_leaves_nothing(elsewhere, tmp_path):
    config = elsewhere / "config.toml"
    config.write_text(config.read_text().replace('"ItalyPowerDemand"', '"NowhereToBeFound"'))
    with pytest.raises(MemkdEdgeError, match=r"no data set named 'NowhereToBeFound'.*AEON_DATA in.*export work without"):
        open_run(f"model:{BUNDLED}", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_other_series_under_the_same_name_are_refused(elsewhere, tmp_path):
    config = elsewhere / "config.toml"
    config.write_text(config.read_text().replace('"ItalyPowerDemand"', '"GunPoint"'))
    with pytest.raises(MemkdEdgeError, match="holds other series or labels"):
        open_run(f"model:{BUNDLED}", tmp_path / "runs")


def test_the_streams_of_a_copy_are_those_of_its_recordings(opened):
    """The test streams, brought back to physical units, are the test subjects' recordings end to end."""
    run = opened(STREAM)
    metadata = run.metadata
    recordings, _ = load_data(DataConfig(dataset="SPSW"), note=lambda text: None)
    streams = read_streams(run)
    physical = np.concatenate([x for x, _ in streams]) * np.float32(metadata.std) + np.float32(metadata.mean)
    assert np.allclose(physical, np.concatenate([one.x for one in recordings.test]), atol=1e-4)
    assert metadata.dataset_split.startswith("subjects ")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(MemkdEdgeError, match=f"cannot write .*model-{BUNDLED}.*--run-root"):
        open_run(f"model:{BUNDLED}", tmp_path / "runs")


def test_fine_tuning_says_that_the_teacher_is_not_there(command):
    code, _, err = command("export", "--run", f"model:{BUNDLED}", "--finetune")
    assert (code, "no teacher.safetensors to fine-tune with" in err) == (2, True)


def test_a_model_is_shipped_from_a_run_without_what_is_not_ours_or_not_its_own(opened, tmp_path):
    """What `make models` writes from this run is what stands in the repository, byte for byte."""
    shutil.copytree(opened(BUNDLED).path, tmp_path / "run")
    (tmp_path / "run" / "teacher.safetensors").write_bytes(b"large")
    for changed in ("bench", "export"):
        shutil.rmtree(tmp_path / "run" / changed)
        shutil.copytree(MODELS / BUNDLED / changed, tmp_path / "run" / changed)
    (tmp_path / "models" / BUNDLED).mkdir(parents=True)
    (tmp_path / "models" / BUNDLED / "old.txt").touch()
    card = next(one for one in maker.cards() if one.name == BUNDLED)
    maker.ship(card, Run.open(tmp_path / "run"), tmp_path / "models" / BUNDLED)
    made, kept = tmp_path / "models" / BUNDLED, MODELS / BUNDLED
    assert hashes(made) == hashes(kept)


def test_a_set_that_is_not_at_hand_is_skipped_with_the_reason(monkeypatch, capsys):
    def missing(config, note):
        raise MemkdEdgeError(f"{config.dataset} could not be downloaded")

    before = (MODELS / ready.FIGURES).read_bytes()
    monkeypatch.setattr(maker, "load_data", missing)
    maker.main([BUNDLED])
    assert f"{BUNDLED}: skipped: ItalyPowerDemand could not be downloaded" in capsys.readouterr().err
    assert (MODELS / ready.FIGURES).read_bytes() == before


def test_the_series_of_a_copy_are_those_of_its_data_set(opened):
    """Every test series, brought back to physical units, is one of the data set's, and none is shipped."""
    run = opened(BUNDLED)
    arrays, metadata = run.read_arrays("calibration.npz"), run.metadata
    physical = arrays["x_test"] * np.float32(metadata.std) + np.float32(metadata.mean)
    assert np.allclose(physical, load_dataset("ItalyPowerDemand").x_test, atol=1e-5)
    assert not (ready_folder(BUNDLED) / "calibration.npz").exists()
