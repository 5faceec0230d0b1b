# SPDX-License-Identifier: Apache-2.0
"""Our ONNX files in the field's tools: simplified, converted to another opset, run by OpenVINO, tract and MNN.

`make runtimes` makes an environment with them; MEMKD_EDGE_ONNX_TOOLS_PYTHON names its Python. The version converter is onnx's.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import version_converter

from memkd_edge.formats.inspection import inspect
from memkd_edge.verification.pipeline import verify
from memkd_edge.writers.onnx import OPSET, write_onnx_sequence, write_onnx_step
from tests.conftest import ROOT
from tests.writers.test_onnx import in_torch, stream
from tests.writers.toy import metadata, series, student

PYTHON = Path(os.environ.get("MEMKD_EDGE_ONNX_TOOLS_PYTHON") or ROOT / ".venv-onnx" / "bin" / "python")

# Write FILE.simpler.
SIMPLER = {
    "onnxslim": """
import sys
import onnx, onnxslim
onnx.save(onnxslim.slim(onnx.load(sys.argv[1])), sys.argv[1] + ".simpler")
""",
    "onnxsim": """
import sys
import onnx, onnxsim
found, same = onnxsim.simplify(onnx.load(sys.argv[1]))
assert same
onnx.save(found, sys.argv[1] + ".simpler")
""",
}

# Stream x [N, T, C] through a step graph a sample a call, from state zero; write the logits of the last.
OPENVINO = """
import sys
import numpy as np, openvino
name, place = sys.argv[1:]
compiled = openvino.Core().compile_model(name, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
x = np.load(place + "/x.npy")
names = [one.any_name for one in compiled.inputs if one.any_name != "x"]
widths = {one.any_name: one.partial_shape[1].get_length() for one in compiled.inputs}
states = {one: np.zeros((len(x), widths[one]), np.float32) for one in names}
for t in range(x.shape[1]):
    found = compiled({"x": np.ascontiguousarray(x[:, t]), **states})
    states = {one: found[one + "_out"] for one in names}
np.save(place + "/logits.npy", found["logits"])
"""
TRACT = """
import sys
import numpy as np, tract
name, place = sys.argv[1:]
x, runnable = np.load(place + "/x.npy"), tract.onnx().load(name).into_model().into_runnable()
states = [np.zeros((len(x), 8), np.float32) for _ in range(1, runnable.input_count())]
for t in range(x.shape[1]):
    logits, *states = (one.to_numpy() for one in runnable.run([np.ascontiguousarray(x[:, t]), *states]))
np.save(place + "/logits.npy", logits)
"""
# The module under the command `mnnconvert`, which has pip install a package (findings/).
MNN = """
import sys
import numpy as np
import _tools, MNN.expr, MNN.nn
name, place = sys.argv[1:]
converted = name + ".mnn"
_tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", name, "--MNNModel", converted, "--bizCode", "toy"])
states = ["h"] if name.endswith("gru.onnx") else ["h", "c"]
module = MNN.nn.load_module_from_file(converted, ["x", *states], ["logits", *(f"{one}_out" for one in states)])
x = np.load(place + "/x.npy")
values = [np.zeros((len(x), 8), np.float32) for _ in states]
for t in range(x.shape[1]):
    given = [np.ascontiguousarray(x[:, t]), *values]
    found = module.forward([MNN.expr.const(one, list(one.shape), MNN.expr.NCHW) for one in given])
    logits, *values = (np.array(one.read()) for one in found)
np.save(place + "/logits.npy", logits)
"""
RUNTIMES = {"openvino": OPENVINO, "tract": TRACT, "MNN": MNN}


def run_tool(needs: str, program: str, *arguments: Path) -> None:
    if not PYTHON.is_file() or subprocess.run([PYTHON, "-c", f"import {needs}"], capture_output=True, check=False).returncode:
        pytest.skip(f"needs MEMKD_EDGE_ONNX_TOOLS_PYTHON to name a Python that has {needs}: make runtimes")
    done = subprocess.run([PYTHON, "-c", program, *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def check_changed(path: Path, sound: bytes, x: np.ndarray) -> None:
    """What a tool wrote decides as before, and is accepted: read as changed since export, and verified by running it."""
    assert path.read_bytes() != sound
    np.testing.assert_allclose(stream(path.read_bytes(), x), stream(sound, x), atol=1e-6)
    assert inspect(path).metadata is not None
    report = verify(path)
    assert any(one.status == "ok" for file in report.files for one in file.results)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("opset", [OPSET - 1, OPSET + 3])
def test_the_version_converter_keeps_a_step_graph_right(kind: str, opset: int, tmp_path: Path) -> None:
    sound = write_onnx_step(student(kind), metadata())
    converted = version_converter.convert_version(onnx.load_model_from_string(sound), opset)
    path = tmp_path / "m.onnx"
    path.write_bytes(converted.SerializeToString())
    np.testing.assert_allclose(stream(path.read_bytes(), series()), stream(sound, series()), atol=1e-6)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("tool", SIMPLER)
def test_a_simplified_step_graph_is_right_and_verify_takes_it(tool: str, kind: str, tmp_path: Path) -> None:
    path, x = tmp_path / "m.onnx", series()
    sound = write_onnx_step(student(kind), metadata())
    path.write_bytes(sound)
    run_tool(tool, SIMPLER[tool], path)
    path.write_bytes((tmp_path / "m.onnx.simpler").read_bytes())
    check_changed(path, sound, x)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("tool", RUNTIMES)
def test_another_runtime_in_float32_answers_as_torch(tool: str, kind: str, tmp_path: Path) -> None:
    model, x, path = student(kind), series(), tmp_path / f"{kind}.onnx"
    path.write_bytes(write_onnx_step(model, metadata()))
    np.save(tmp_path / "x.npy", x)
    run_tool(tool, RUNTIMES[tool], path, tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), in_torch(model, x), atol=1e-5)


def test_names_that_a_viewer_shows_are_words() -> None:
    """Netron shows the names in the file: each tensor and node output of both graphs is named, and says what it is."""
    for data in (write_onnx_step(student(), metadata()), write_onnx_sequence(student(), metadata())):
        graph = onnx.load_model_from_string(data).graph
        names = [*(one.name for one in graph.initializer), *(name for node in graph.node for name in node.output)]
        assert len(set(names)) == len(names)
        assert all(name.replace("_", "").isalnum() and not name.isdigit() for name in names)
