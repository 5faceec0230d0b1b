#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# OpenVINO runs an ONNX LSTM of coupled gates as an ordinary one, and drops peepholes and the second direction's activations.
#
# Software: openvino 2026.4.1, onnx 1.23.2, compared with onnxruntime 1.31.1 (numpy 2.3.5, Python 3.11), in float32.
# Seen: input_forget = 1, where 1 - i stands for the forget gate, is computed with the f of the plain LSTM: .37 away from
#   onnxruntime's answers, 1e-7 from those without the attribute. So it is with the eighth input, the peepholes (.21 away), and
#   with ReLUs in the second direction only, where both get the first one's sigmoid and tanh (1.2 away). Neither read_model nor
#   compile_model says a word; both know the plain LSTM, ReLUs in one direction, and an error for layout = 1 or HardSigmoid.
# Guess: that what the graph compiler cannot do it refuses, as it does with layout and activations.
# For users: LSTMs of coupled gates are a quarter smaller, and made for small devices; those that memkd-edge writes have all four.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.31.1 numpy==2.3.5
cat > demonstrate.py <<'PY'
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

STEPS, CHANNELS, HIDDEN = 20, 3, 8
PLAIN = ["Sigmoid", "Tanh", "Tanh"]
RELU = ["Sigmoid", "Relu", "Relu"]
random = np.random.default_rng(0)
x = random.normal(size=(STEPS, 1, CHANNELS)).astype(np.float32)
sizes = {"W": (4 * HIDDEN, CHANNELS), "R": (4 * HIDDEN, HIDDEN), "B": (8 * HIDDEN,), "P": (3 * HIDDEN,)}
weights = {name: random.normal(0, 0.5, (2, *size)).astype(np.float32) for name, size in sizes.items()}


def model(directions=1, peepholes=False, **attributes):
    """One LSTM from x [T, 1, C] to the state after each step [T, D, 1, H]."""
    value = helper.make_tensor_value_info
    names = ["W", "R", "B", "P"] if peepholes else ["W", "R", "B"]
    inputs = ["x", "W", "R", "B", "", "", "", "P"] if peepholes else ["x", "W", "R", "B"]
    attributes["direction"] = "bidirectional" if directions == 2 else "forward"
    graph = helper.make_graph(
        [helper.make_node("LSTM", inputs, ["y"], hidden_size=HIDDEN, **attributes)],
        "lstm",
        [value("x", TensorProto.FLOAT, x.shape)],
        [value("y", TensorProto.FLOAT, [STEPS, directions, 1, HIDDEN])],
        [numpy_helper.from_array(weights[name][:directions], name) for name in names],
    )
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(result, full_check=True)
    return result


def of_onnxruntime(found):
    session = onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def of_openvino(found):
    onnx.save(found, "lstm.onnx")
    core = openvino.Core()
    compiled = core.compile_model(core.read_model("lstm.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled({"x": x})[0]


def distance(a, b):
    return float(np.abs(a - b).max())


for directions in (1, 2):
    plain = model(directions)
    assert distance(of_openvino(plain), of_onnxruntime(plain)) < 1e-5
relu = model(activations=RELU)
assert distance(of_openvino(relu), of_onnxruntime(relu)) < 1e-5
print("plain LSTMs of one and of two directions, and one of ReLUs: OpenVINO computes what onnxruntime computes")
for name, asked, computed in (
    ("input_forget = 1", {"input_forget": 1}, {}),
    ("peepholes", {"peepholes": True}, {}),
    ("ReLUs in the second direction", {"directions": 2, "activations": PLAIN + RELU}, {"directions": 2}),
):
    found, right, other = of_openvino(model(**asked)), of_onnxruntime(model(**asked)), of_onnxruntime(model(**computed))
    print(f"{name}: OpenVINO is {distance(found, right):.2f} from onnxruntime's, {distance(found, other):.0e} from it without")
    assert distance(found, right) > 0.05 and distance(found, other) < 1e-5, "the behaviour has changed"
PY
env/bin/python demonstrate.py
