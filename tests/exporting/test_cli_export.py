# SPDX-License-Identifier: Apache-2.0
"""The commands export, verify and inspect: what they print, and their exit codes."""

import json
import os
import sys
from functools import partial

import pytest

from memkd_edge.cli import main as cli
from memkd_edge.exporting import pipeline as export_module
from memkd_edge.verification import pipeline as verify_module
from memkd_edge.verification.runtime_check import one_stream
from tests.writers.toy import make_run, mistaken, student


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder with one run under runs/, as the working directory; the long stream is kept to 300 steps."""
    monkeypatch.setattr(verify_module, "one_stream", partial(one_stream, steps=300))
    for variable in ("MEMKD_EDGE_TF_PYTHON", "MEMKD_EDGE_TFLITE_RUNTIME_PYTHON"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return make_run(tmp_path / "runs", student())


@pytest.fixture
def command(monkeypatch, capsys):
    """Return a function that runs the command line and returns exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["memkd-edge", *map(str, arguments)])
        monkeypatch.setattr(cli, "_page", lambda *_: [])  # tests/pages has it
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_the_command_of_the_readme_takes_the_newest_run(run, command):
    code, out, err = command("export", "--format", "tflite", "--quantize", "int8")
    assert code == 0, err
    size = (run.path / "export" / "toy_set_1_int8.tflite").stat().st_size
    assert f"toy_set_1_int8.tflite: {size:,} bytes, int8" in out
    for text in ("numpy reference", "LiteRT (XNNPACK)", "1.0000", "kept", "Test AUC-PRC"):
        assert text in out


def test_a_run_is_named_under_the_run_root(run, command, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    where = ("--run-root", run.path.parent)
    assert command("export", "--run", run.path.name, *where)[0] == 0
    assert command("verify", run.path.name, *where)[0] == 0
    code, _, err = command("export", "--run", "other", *where)
    assert (code, "no run directory at other" in err) == (2, True)


def test_export_prints_json(run, command):
    code, out, _ = command("export", "--format", "onnx", "--run", run.path, "--json")
    record = json.loads(out)
    assert code == 0
    assert [os.path.basename(file["path"]) for file in record["files"]] == ["toy_set_1_step.onnx", "toy_set_1_sequence.onnx"]
    assert record["verification"]["passed"] is True


def test_a_failed_gate_prints_the_figures_and_exits_4(run, command, monkeypatch):
    monkeypatch.setattr(export_module, "read_student", lambda run: mistaken())  # verification takes the run's
    code, out, err = command("export")
    assert code == 4
    assert "numpy reference" in out
    assert "of the test series, below 0.98: export again with --quantize int16x8" in err
    code, out, err = command("verify", "--json")
    assert code == 4
    assert json.loads(out)["passed"] is False
    assert "of the test series, below 0.98" in err


@pytest.mark.parametrize("asked", ["98", "1.01", "-1", "nan"])  # above 1 nothing passes, and nothing is below nan
def test_an_agreement_is_a_share(run, command, asked):
    for name in ("export", "verify"):
        code, out, err = command(name, "--min-agreement", asked)
        assert (code, out) == (2, "")
        assert "--min-agreement is a share from 0 to 1, such as 0.98, not" in err
    assert command("export", "--min-agreement", "1")[0] == command("verify", "--min-agreement", "0")[0] == 0


def test_an_export_in_the_way_exits_2_and_names_force(run, command):
    assert command("export")[0] == 0
    code, out, err = command("export", "--strip")
    assert (code, out) == (2, "")
    assert "--force" in err
    assert command("export", "--strip", "--force")[0] == 0


def test_raw_counts_are_given_by_commas(run, command):
    assert command("export", "--input", "raw", "--counts-per-unit", "16384,8192,131")[0] == 0
    code, _, err = command("export", "--input", "raw", "--counts-per-unit", "many")
    assert code == 2
    assert "--counts-per-unit: 'many' is not of type float" in err


def test_a_program_beside_the_models_c_is_not_verified(run, command):
    assert command("export", "--format", "c")[0] == 0
    (run.path / "export" / "c" / "main.c").write_text('#include "board.h"\nint main(void) { return 0; }\n')
    code, out, _ = command("verify", run.path, "--json")
    assert code == 0
    assert [file["file"] for file in json.loads(out)["files"]] == ["c/toy_set_1.c"]


def test_verify_and_inspect_of_files(run, command, tmp_path):
    command("export")
    path = run.path / "export" / "toy_set_1_int8.tflite"
    code, out, _ = command("verify", path)
    assert code == 0
    assert "LiteRT (reference)" in out
    code, out, _ = command("inspect", path)
    assert code == 0
    assert "Signature step" in out
    assert json.loads(command("inspect", path, "--json")[1])["streaming"] == "yes"


@pytest.mark.parametrize(
    ("name", "content", "code"), [("m.tflite", b"\0" * 64, 1), ("m.onnx", b"\xff" * 64, 1), ("m.txt", b"", 2)]
)
@pytest.mark.parametrize("verb", ["verify", "inspect"])
def test_bad_files_end_in_one_line_on_stderr(run, command, tmp_path, verb, name, content, code):
    path = tmp_path / name
    path.write_bytes(content)
    got, out, err = command(verb, path)
    assert (got, out) == (code, "")
    assert err.startswith("error: ")
    assert name in err
    assert len(err.splitlines()) == 1


def test_verify_without_exported_files_names_the_command_that_makes_them(run, command):
    code, _, err = command("verify")
    assert code == 2
    assert "memkd-edge export --run" in err
