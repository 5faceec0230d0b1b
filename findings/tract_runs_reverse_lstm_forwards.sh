#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tract runs an LSTM or GRU of direction reverse forwards, and with sigmoid, tanh and no clip whatever the file asks for.
#
# Software: tract 0.23.9, onnx 1.23.2, compared with onnxruntime 1.31.1 (numpy 2.3.5, Python 3.11).
# Seen: its answers to direction = reverse are those of forward to 1e-6, and up to 1.1 away from onnxruntime's. HardSigmoid
#   gates, ReLU, softsign, clip and input_forget change nothing either: it is the plain layer, to 1e-6. There is no warning, while
#   lengths end in an error. Bidirectional layers are right in both halves, and so are peepholes and both kinds of GRU.
# Guess: that a runtime which computes the backward half of a bidirectional layer has the lone backward layer, or refuses it.
# For users: memkd-edge's files look forward and are plain; check a file from elsewhere against onnxruntime.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check tract==0.23.9 onnx==1.23.2 onnxruntime==1.31.1 numpy==2.3.5
cat > demonstrate.py <<'PY'
import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper, numpy_helper

STEPS, CHANNELS, HIDDEN = 12, 3, 8
random = np.random.default_rng(0)
x = random.normal(0, 2, (STEPS, 1, CHANNELS)).astype(np.float32)
GATES = {"LSTM": 4, "GRU": 3}


def model(operator, **attributes):
    """One layer from x [T, 1, C] to the state after each step [T, D, 1, H], and the last [D, 1, H]."""
    random = np.random.default_rng(1)  # the same weights for every model of a size
    directions, rows = 1 + (attributes.get("direction") == "bidirectional"), GATES[operator] * HIDDEN
    sizes = {"W": (rows, CHANNELS), "R": (rows, HIDDEN), "B": (2 * rows,), "P": (3 * HIDDEN,)}
    weights = {name: random.normal(0, 0.6, (directions, *size)).astype(np.float32) for name, size in sizes.items()}
    inputs = ["x", "W", "R", "B"]
    lengths = attributes.pop("lengths", None)
    if lengths:
        inputs.append("lengths")
        weights["lengths"] = np.array(lengths, np.int32)
    if attributes.pop("peepholes", False):
        inputs += ["", "", "", "P"]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["y", "last"], hidden_size=HIDDEN, **attributes)],
        "layer",
        [value("x", TensorProto.FLOAT, x.shape)],
        [
            value("y", TensorProto.FLOAT, [STEPS, directions, 1, HIDDEN]),
            value("last", TensorProto.FLOAT, [directions, 1, HIDDEN]),
        ],
        [numpy_helper.from_array(weight, name) for name, weight in weights.items() if name in inputs],
    )
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(result, full_check=True)
    return result


def of_onnxruntime(found):
    return onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})


def of_tract(found):
    onnx.save(found, "layer.onnx")
    answers = tract.onnx().load("layer.onnx").into_model().into_runnable().run([x])
    return [answer.to_numpy() for answer in answers]


def distance(some, others):
    return max(float(np.abs(one - other).max()) for one, other in zip(some, others, strict=True))


RIGHT = {
    "LSTM": [{}, {"direction": "bidirectional"}, {"peepholes": True}],
    "GRU": [{}, {"direction": "bidirectional"}, {"linear_before_reset": 1}],
}
WRONG = [{"direction": "reverse"}, {"clip": 0.5}]
WRONG_OF = {
    "LSTM": [
        {"input_forget": 1},
        {"activations": ["HardSigmoid", "Tanh", "Tanh"]},
        {"activations": ["Sigmoid", "Relu", "Relu"]},
        {"activations": ["Sigmoid", "Softsign", "Softsign"]},
    ],
    "GRU": [
        {"activations": ["HardSigmoid", "Tanh"]},
        {"activations": ["Sigmoid", "Relu"]},
        {"activations": ["Sigmoid", "Softsign"]},
    ],
}
for operator in GATES:
    try:
        of_tract(model(operator, lengths=[STEPS - 4]))
    except tract.TractError as error:
        print(f"{operator} with lengths: {str(error).splitlines()[0]}")
    else:
        raise AssertionError("the behaviour has changed")
    for asked in RIGHT[operator]:
        found = model(operator, **asked)
        off = distance(of_tract(found), of_onnxruntime(found))
        print(f"{operator} {asked}: tract is {off:.0e} away from onnxruntime")
        assert off < 1e-5
    plain = of_onnxruntime(model(operator))
    for asked in WRONG + WRONG_OF[operator]:
        found = model(operator, **asked)
        answer = of_tract(found)
        off, off_plain = distance(answer, of_onnxruntime(found)), distance(answer, plain)
        print(f"{operator} {asked}: tract is {off:.2f} away from onnxruntime, {off_plain:.0e} from its plain {operator}")
        assert off > 0.03 and off_plain < 1e-5, "the behaviour has changed"
PY
env/bin/python demonstrate.py
