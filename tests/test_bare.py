# SPDX-License-Identifier: Apache-2.0
"""A Raspberry Pi has numpy and ai-edge-litert and nothing else: there a model runs, and all else says which package it needs.

`make runtimes` makes such an environment; MEMKD_EDGE_BARE_PYTHON names its Python.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import memkd_edge
from tests.conftest import ROOT

MODELS = ROOT / "models" / "gunpoint" / "export"
MODEL = MODELS / "gunpoint_int8.tflite"
PYTHON = Path(os.environ.get("MEMKD_EDGE_BARE_PYTHON") or ROOT / ".venv-bare" / "bin" / "python")


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's packages and no others."""
    if not PYTHON.is_file():
        pytest.skip("needs MEMKD_EDGE_BARE_PYTHON to name a Python that has only numpy and ai-edge-litert: make runtimes")
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel], check=True)
    return folder


def bare(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, *arguments], env={**os.environ, "PYTHONPATH": str(site)}, cwd=site, capture_output=True, text=True
    )


def test_the_environment_is_bare(site: Path) -> None:
    code = "import importlib.util as u; print([n for n in ('torch', 'onnx', 'scipy', 'typer', 'rich') if u.find_spec(n)])"
    assert bare(site, "-c", code).stdout.strip() == "[]"


def test_a_model_streams_as_it_does_here(site: Path) -> None:
    x = np.cumsum(np.random.default_rng(0).standard_normal((150, 1)), axis=0)
    code = (
        "import json, sys, memkd_edge\n"
        f"classifier = memkd_edge.StreamingClassifier({str(MODEL)!r})\n"
        "print(json.dumps([classifier.push(sample).tolist() for sample in json.load(sys.stdin)]))"
    )
    done = subprocess.run(
        [PYTHON, "-c", code],
        input=json.dumps(x.tolist()),
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=site,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    classifier = memkd_edge.StreamingClassifier(MODEL)
    assert np.array_equal(np.array(json.loads(done.stdout), np.float32), [classifier.push(sample) for sample in x])


def test_a_model_file_is_inspected_as_it_is_here(site: Path) -> None:
    code = f"import json, memkd_edge; print(json.dumps(memkd_edge.inspect({str(MODEL)!r}).as_dict()))"
    assert json.loads(bare(site, "-c", code).stdout) == json.loads(json.dumps(memkd_edge.inspect(MODEL).as_dict()))


@pytest.mark.parametrize(
    ("expression", "package"),
    [
        ("distill()", "torch"),
        ("export('model:gunpoint')", "torch"),
        (f"verify({str(MODEL)!r})", "torch"),
        ("bench('model:gunpoint')", "torch"),
        ("compare(suite='bundled')", "torch"),
        ("VerifyReport", "torch"),
        (f"inspect({str(MODELS / 'gunpoint_step.onnx')!r})", "onnx"),
        (f"inspect({str(MODELS.parent / 'student.safetensors')!r})", "safetensors"),
        (f"StreamingClassifier({str(MODELS / 'gunpoint_step.onnx')!r})", "onnx"),
    ],
)
def test_all_else_names_the_package_that_it_needs(site: Path, expression: str, package: str) -> None:
    code = (
        "import memkd_edge, sys\nfrom memkd_edge.errors import MissingToolError\n"
        f"try:\n    memkd_edge.{expression}\nexcept MissingToolError as error:\n    sys.exit(f'{{error.exit_code}} {{error}}')"
    )
    assert bare(site, "-c", code).stderr.strip().startswith(f"3 {package} is not installed; pip install {package}")


def test_the_command_line_names_the_package_that_it_needs(site: Path) -> None:
    for start in (("-m", "memkd_edge"), (str(site / "bin" / "memkd-edge"),)):
        done = bare(site, *start, "inspect", str(MODEL))
        assert done.returncode == 3
        assert done.stderr.startswith("error: typer is not installed; pip install typer")


def test_running_a_model_loads_no_package_that_a_pi_lacks() -> None:
    code = (
        f"import sys, memkd_edge; memkd_edge.StreamingClassifier({str(MODEL)!r}); memkd_edge.inspect({str(MODEL)!r})\n"
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'scipy', 'sklearn', 'aeon', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
