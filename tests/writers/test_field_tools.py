# SPDX-License-Identifier: Apache-2.0
"""Our .tflite files in the field's tools: ai-edge-quantizer 0.10 and Arm's compiler for the Ethos-U, Vela 5.2.

`make runtimes` makes an environment with both; MEMKD_EDGE_TOOLS_PYTHON names its Python.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.post_training import quantize
from memkd_edge.writers.tflite import write_tflite, write_tflite_float
from tests.conftest import ROOT
from tests.quantization.helpers import DTYPES, LiteRtStep, random_model, random_series

PYTHON = Path(os.environ.get("MEMKD_EDGE_TOOLS_PYTHON") or ROOT / ".venv-tools" / "bin" / "python")
SPECS = {"lstm": ModelSpec(3, 8, 4), "gru": ModelSpec(3, 8, 4, kind="gru")}
ARITHMETICS = ("int8", "int16x8", "float32")

# Writes beside each file FILE.requantised: dynamic int8, the first recipe of the tool's guide.
REQUANTISE = """
import sys
from pathlib import Path
from ai_edge_quantizer import quantizer, recipe
for name in sys.argv[1:]:
    result = quantizer.Quantizer(name, recipe.dynamic_wi8_afp32()).quantize()
    Path(name + ".requantised").write_bytes(result.quantized_model)
"""

# Says for each file and accelerator what Vela leaves to the CPU.
MAP = """
import sys
from ethosu.vela.vela import main
accelerator, out, *names = sys.argv[1:]
for name in names:
    print("FILE", name.rpartition("/")[2])
    main([name, "--accelerator-config", accelerator, "--output-dir", out])
"""


def run_tool(program: str, *arguments: str | Path) -> str:
    if not PYTHON.is_file():
        pytest.skip("needs MEMKD_EDGE_TOOLS_PYTHON to name a Python that has ai-edge-quantizer and ethos-u-vela: make runtimes")
    done = subprocess.run([PYTHON, "-c", program, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files CELL_ARITHMETIC_(named|stripped).tflite."""
    folder = tmp_path_factory.mktemp("files")
    for cell, spec in SPECS.items():
        model = random_model(spec, 3, gain=1.5)
        q = quantize(model, random_series(3, 8, 60, spec.input_size))
        for arithmetic in ARITHMETICS:
            for names in ("named", "stripped"):
                strip = names == "stripped"
                data = (
                    write_tflite_float(model, None, strip=strip)
                    if arithmetic == "float32"
                    else write_tflite(q, None, interface=arithmetic, strip=strip)
                )
                (folder / f"{cell}_{arithmetic}_{names}.tflite").write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def requantised(files: Path) -> Path:
    run_tool(REQUANTISE, *sorted(files.glob("*.tflite")))
    return files


def streamed_logits(file: bytes, spec: ModelSpec, x: Sequence[np.ndarray], state_dtype: type) -> np.ndarray:
    step = LiteRtStep(file, "builtin", spec)
    state = [np.zeros((1, spec.hidden_size), state_dtype) for _ in step.names]
    logits = []
    for sample in x:
        scores, *state = step([sample, *state])
        logits.append(scores[0])
    return np.array(logits)


@pytest.mark.parametrize("names", ["named", "stripped"])
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("cell", SPECS)
def test_a_requantised_file_decides_as_before(requantised: Path, cell: str, arithmetic: str, names: str) -> None:
    path = requantised / f"{cell}_{arithmetic}_{names}.tflite"
    generator, spec = np.random.default_rng(7), SPECS[cell]
    if arithmetic == "float32":
        x, state = generator.standard_normal((300, 1, 3)).astype(np.float32), np.float32
    else:
        kind = DTYPES[arithmetic]
        x, state = generator.integers(-100, 100, (300, 1, 3)).astype(kind) * (np.iinfo(kind).max // 127), np.int16
    before = streamed_logits(path.read_bytes(), spec, x, state)
    after = streamed_logits(Path(f"{path}.requantised").read_bytes(), spec, x, state)
    assert len(set(before.argmax(1))) > 1
    if arithmetic == "float32":  # its weights become int8
        assert np.mean(before.argmax(1) == after.argmax(1)) > 0.97
    else:
        assert np.array_equal(before, after)


@pytest.mark.parametrize("accelerator", ["ethos-u55-128", "ethos-u65-256", "ethos-u85-256"])
def test_vela_maps_int16x8_whole_and_all_of_int8_but_its_cast(files: Path, tmp_path: Path, accelerator: str) -> None:
    said = run_tool(MAP, accelerator, tmp_path, *sorted(files.glob("*_int*.tflite")))
    _, *reports = said.split("FILE ")
    assert len(reports) == 8
    for report in reports:
        left = 1 if "_int8_" in report.split()[0] and accelerator != "ethos-u85-256" else 0
        assert f"CPU operators = {left} " in report
        assert re.findall(r"operator: (\w+)", report) == ["CAST"] * left
