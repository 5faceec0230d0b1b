# SPDX-License-Identifier: Apache-2.0
"""Every example runs, with a small training, and says what its title says; so do the commands of the tutorials."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
SMALL = {
    "MEMKD_EDGE_DISTILL_TEACHER_HIDDEN": "8",
    "MEMKD_EDGE_DISTILL_TEACHER_LAYERS": "1",
    "MEMKD_EDGE_DISTILL_TEACHER_SEEDS": "1",
    "MEMKD_EDGE_DISTILL_TEACHER_EPOCHS": "3",
    "MEMKD_EDGE_DISTILL_EPOCHS": "3",
    "MEMKD_EDGE_DISTILL_HIDDEN": "4",
    "MEMKD_EDGE_DISTILL_SEEDS": "1",
    "MEMKD_EDGE_DISTILL_WEIGHTS": "1",
    "MEMKD_EDGE_DISTILL_METHOD": "memkd-belief",
    "MEMKD_EDGE_DISTILL_FOLDS": "1",
    "MEMKD_EDGE_DISTILL_THREADS": "1",
}
SMALL |= {
    name.replace("DISTILL", "COMPARE"): value
    for name, value in SMALL.items()
    if not name.endswith(("_METHOD", "_HIDDEN", "_WEIGHTS"))
}
SMALL |= {"MEMKD_EDGE_COMPARE_TEACHER_HIDDEN": "8", "MEMKD_EDGE_COMPARE_COMPRESSION": "5"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all examples run, one after another: the later ones find what the earlier made."""
    return tmp_path_factory.mktemp("examples")


def ran(place: Path, *command: str | Path) -> str:
    environment = {**os.environ, **SMALL, "PYTHONPATH": os.pathsep.join([str(EXAMPLES), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


EXPECTED = {
    "frame.py": r"accuracy per sample, never reset: 0\.\d+\npage: .*report\.html",
    "own_teacher.py": r"test accuracy: [01]\.\d+",
    "own_method.py": r"base 0\.0.*\nlogit-matching 1\.0",
    "leave_one_out.py": r"p0: accuracy 0\.\d{3}, macro F1 0\.\d{3}\n(p.*\n){3}",
    "live_stream.py": r"\d s  (rest|shake)  0\.\d\d",
    "onnx_step.py": r"\[.*\]",
    "c_on_host.sh": r"self-test passed",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_example(name: str, place: Path) -> None:
    arguments = {
        "live_stream.py": ["runs/frame/export/shaking_int8.tflite"],
        "onnx_step.py": [ROOT / "models/gunpoint/export/gunpoint_step.onnx"],
        "c_on_host.sh": [place / "gunpoint-c"],
    }.get(name, [])
    if name == "c_on_host.sh":
        shutil.copytree(ROOT / "models/gunpoint/export/gunpoint-c", place / "gunpoint-c")
    program = "sh" if name.endswith(".sh") else sys.executable
    assert re.search(EXPECTED[name], ran(place, program, EXAMPLES / name, *arguments))


def test_every_example_is_run_and_listed() -> None:
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")} - {"signals.py"}
    assert there == set(EXPECTED)
    assert {name for name in there if f"]({name})" in (EXAMPLES / "README.md").read_text()} == there
