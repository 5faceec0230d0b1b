# SPDX-License-Identifier: Apache-2.0
"""Exported files in tflite-runtime 2.14, which old Raspberry Pi images have. It needs numpy < 2, so an environment of its own.

`make runtimes` makes it; MEMKD_EDGE_TFLITE_RUNTIME_PYTHON names its Python.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.quantization.sensor_front_end import IntegerFrontEnd, Sensor
from memkd_edge.writers.tflite import write_tflite, write_tflite_float
from tests.quantization.helpers import DTYPES, LiteRtStep, hard_states, random_model, random_series, reference_step, step_widths

# Prints how many steps differ from the outputs recorded in the .npz beside the model.
CHILD = """
import sys, numpy as np
from tflite_runtime.interpreter import Interpreter
wrong = 0
vectors = np.load(sys.argv[2], allow_pickle=False)
names = [str(name) for name in vectors["names"]]
step = Interpreter(sys.argv[1]).get_signature_runner("step")
for row in range(len(vectors["in_x"])):
    outputs = step(**{name: vectors["in_" + name][row : row + 1] for name in ["x", *names]})
    wanted = {name: vectors["out_" + name][row : row + 1] for name in ["logits", *names]}
    if vectors["tolerance"]:
        wrong += any(abs(outputs[name] - wanted[name]).max() > vectors["tolerance"] for name in wanted)
    else:
        wrong += any((outputs[name] != wanted[name]).any() or outputs[name].dtype != wanted[name].dtype for name in wanted)
print(wrong)
"""


@pytest.fixture(scope="module")
def pi_python() -> str:
    python = os.environ.get("MEMKD_EDGE_TFLITE_RUNTIME_PYTHON")
    if not python:
        pytest.skip("needs MEMKD_EDGE_TFLITE_RUNTIME_PYTHON to name a Python that has tflite-runtime: make runtimes")
    return python


def wrong_steps(python: str, folder: Path, file: bytes, names: list[str], steps: list, tolerance: float = 0.0) -> int:
    """Run `steps`, pairs of inputs and expected outputs in the file's order, in the other environment."""
    arrays = {"names": np.array(names), "tolerance": np.array(tolerance)}
    inputs, outputs = zip(*steps, strict=True)
    arrays |= {
        f"in_{name}": np.concatenate(values) for name, values in zip(["x", *names], zip(*inputs, strict=True), strict=True)
    }
    arrays |= {
        f"out_{name}": np.concatenate(values) for name, values in zip(["logits", *names], zip(*outputs, strict=True), strict=True)
    }
    (folder / "model.tflite").write_bytes(file)
    np.savez(folder / "vectors.npz", **arrays)
    command = [python, "-c", CHILD, folder / "model.tflite", folder / "vectors.npz"]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return int(result.stdout)


@pytest.mark.parametrize("raw", [False, True], ids=["normalised", "raw"])
@pytest.mark.parametrize("interface", ["int8", "int16x8"])
@pytest.mark.parametrize(
    "spec", [ModelSpec(1, 8, 2), ModelSpec(6, 16, 6), ModelSpec(2, 5, 3, 3), ModelSpec(3, 6, 4, 2, "gru")], ids=str
)
def test_tflite_runtime_equals_the_reference_bit_for_bit(pi_python, tmp_path, spec, interface, raw):
    channels = spec.input_size
    sensor = Sensor((1000.0,) * channels, (0.3,) * channels, (0.7,) * channels) if raw else None
    q = quantize(random_model(spec, 3, gain=1.5), random_series(3, 8, 60, channels), sensor=sensor)
    runner, steps = integer_classifier(q), []
    for inputs in hard_states(5, 2000, step_widths(spec), np.int16 if raw else DTYPES[interface]):
        x = inputs[0] if q.raw is None else IntegerFrontEnd(q.raw).normalise(inputs[0])
        logits, *states = reference_step(runner, [x, *inputs[1:]])
        steps.append((inputs, [runner.narrow(logits) if raw and interface == "int8" else logits, *states]))
    file = write_tflite(q, None, interface=interface)
    assert wrong_steps(pi_python, tmp_path, file, LiteRtStep(file, "builtin", spec).names, steps) == 0


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_tflite_runtime_runs_the_float_file(pi_python, tmp_path, kind):
    spec = ModelSpec(3, 6, 4, 2, kind)
    file = write_tflite_float(random_model(spec, 2), None)
    step = LiteRtStep(file, "builtin", spec)
    generator = np.random.default_rng(0)
    steps = []
    for _ in range(100):
        inputs = [generator.uniform(-1, 1, (1, width)).astype(np.float32) for width in step_widths(spec)]
        steps.append((inputs, step(inputs)))
    assert wrong_steps(pi_python, tmp_path, file, step.names, steps, tolerance=1e-5) == 0
