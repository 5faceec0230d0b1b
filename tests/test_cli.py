# SPDX-License-Identifier: Apache-2.0
"""The command line's manners: help, versions, exit codes, streams, light imports."""

import gc
import inspect
import json
import signal
import subprocess
import sys

import pytest

import memkd_edge
from memkd_edge import ready_models
from memkd_edge.__main__ import main as entry
from memkd_edge.cli import main as cli
from memkd_edge.config import BenchConfig, CompareConfig, DistillConfig, ExportConfig
from memkd_edge.options import settings

HEAVY = ("torch", "sklearn", "aeon", "onnx", "onnxruntime", "ai_edge_litert", "matplotlib", "pandas", "scipy")


def run(*arguments: str, cwd=None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "memkd_edge", *arguments], capture_output=True, text=True, cwd=cwd)


def called(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["memkd-edge", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0), *capsys.readouterr()


def test_help_names_every_command():
    done = run("--help")
    assert done.returncode == 0
    for command in ("init", "data", "distill", "export", "verify", "inspect", "bench", "classify", "models", "devices", "doctor"):
        assert f"  {command}" in done.stdout


def test_a_short_command_collects_no_garbage_and_leaves_that_on(monkeypatch, capsys, tmp_path):
    seen = []
    monkeypatch.setattr("memkd_edge.formats.inspection.inspect", lambda path: seen.append([gc.isenabled()]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        called(monkeypatch, capsys, "inspect", str(tmp_path / "model.tflite"))
    assert seen == [[False]]
    assert gc.isenabled()
    # What it made is not searched by the next, small collection, but by a later one.
    assert any(one is seen[0] for one in gc.get_objects(generation=2))


def test_no_arguments_show_the_help():
    assert run().stdout == run("--help").stdout


def test_the_version_is_the_packages():
    assert run("--version").stdout.strip() == memkd_edge.__version__


def test_help_loads_nothing_heavy():
    code = f"import sys, memkd_edge.cli.main; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [("no-such-command",), ("distill", "--no-such-option"), ("distill", "--epochs", "many")])
def test_a_wrong_command_line_exits_2_and_says_why_on_stderr(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Error" in done.stderr or "error" in done.stderr


def test_an_unknown_data_set_exits_2_and_suggests_near_names(tmp_path):
    done = run("distill", "--dataset", "GunPiont", cwd=tmp_path)
    assert done.returncode == 2
    assert "GunPoint" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", [("export",), ("bench",)])
def test_without_a_run_the_command_that_makes_one_is_named(tmp_path, command):
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 2
    assert "memkd-edge distill" in done.stderr


def test_main_ends_with_the_errors_exit_code(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["memkd-edge", "export"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("command", "config"),
    [(cli.distill, DistillConfig), (cli.export, ExportConfig), (cli.bench, BenchConfig), (cli.compare, CompareConfig)],
)
def test_every_setting_of_a_stage_has_its_option(command, config):
    options = set(inspect.signature(command).parameters)
    assert set(settings(config)) <= options


@pytest.mark.parametrize(
    ("command", "groups"),
    [
        ("distill", ["Data:", "Recordings:", "Teacher:", "Students:", "Selection:", "Run:"]),
        ("compare", ["Data:", "Students:", "Recordings:", "Teacher:", "Selection:", "Run:", "Commands:"]),
        ("export", ["Files:", "Accuracy:", "Run:"]),
        ("bench", ["Measurement:", "Battery life:", "Run:"]),
        ("models", ["Options:"]),
    ],
)
def test_help_is_grouped_and_fits_80_columns(command, groups, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    lines = called(monkeypatch, capsys, command, "--help")[1].splitlines()
    assert [line for line in lines if line.endswith(":") and not line.startswith(" ")] == groups
    assert max(map(len, lines)) <= 80


def test_defaults_choices_and_both_spellings_stand_in_the_help(monkeypatch, capsys):
    text = " ".join(called(monkeypatch, capsys, "distill", "--help")[1].split())
    assert "--student lstm|gru|cnn Kind of the students. [default: lstm]" in text
    assert "--method, --methods <str>" in text
    assert "[default: 0.25]" in text
    assert "--device" not in text
    assert "COMMAND" not in called(monkeypatch, capsys, "compare", "--help")[1]


@pytest.mark.parametrize("spelling", ["--method", "--methods"])
@pytest.mark.parametrize("command", [("distill",), ("compare", "--suite", "bundled")])
def test_method_and_methods_are_one_option(command, spelling, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, error = called(monkeypatch, capsys, *command, spelling, "magic")
    assert (code, "no distillation method 'magic'" in error) == (2, True)


def test_ctrl_c_leaves_a_run_that_resumes(tmp_path):
    teacher = ("--teacher-hidden", "8", "--teacher-epochs", "60", "--teacher-seeds", "1", "--noise", "0")
    short = ("--epochs", "12", "--seeds", "1", "--compression", "5", *teacher)
    command = [sys.executable, "-m", "memkd_edge", "distill", "--dataset", "BasicMotions", *short]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    process.stderr.readline()  # the first progress line: training is under way
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "--resume runs/BasicMotions-1" in message
    assert "Traceback" not in message
    unfinished = run("export", "--run", "runs/BasicMotions-1", cwd=tmp_path)
    assert (unfinished.returncode, "--resume" in unfinished.stderr) == (1, True)
    other = run("distill", "--resume", "runs/BasicMotions-1", "--seeds", "1", "--epochs", "13", cwd=tmp_path)
    assert (other.returncode, "--epochs: runs/BasicMotions-1 was begun with 12 and goes on" in other.stderr) == (2, True)
    resumed = run("distill", "--resume", "runs/BasicMotions-1", "--json", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["student"]["compression"] >= 5


def test_what_does_not_fit_into_memory_ends_with_one_line(monkeypatch, capsys):
    def too_large(*arguments):
        raise MemoryError("Unable to allocate 200. TiB")

    monkeypatch.setattr(ready_models, "open_run", too_large)
    code, _, err = called(monkeypatch, capsys, "verify")
    assert (code, err) == (1, "error: not enough memory (Unable to allocate 200. TiB); give smaller sizes or less data\n")


def test_ctrl_c_before_a_command_begins_is_one_word(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    with pytest.raises(SystemExit) as ended:
        entry()
    assert (ended.value.code, capsys.readouterr().err) == (130, "interrupted\n")


@pytest.mark.parametrize("command", ["export", "bench", "verify"])
def test_ctrl_c_is_answered_with_one_line_and_exit_130(command, monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(ready_models, "open_run", interrupted)
    monkeypatch.setattr(sys, "argv", ["memkd-edge", command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == f"{command} was interrupted; no file is half written\n"
