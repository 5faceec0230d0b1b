#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# OpenCV gives a reverse LSTM's first state for its last, a reverse GRU it runs forwards, and a GRU's lengths it passes over.
#
# Software: opencv-python-headless 5.0.0.93 (cv2.dnn), onnx 1.23.2, compared with onnxruntime 1.31.1 (numpy 2.3.5, Python 3.11).
# Seen: of a reverse LSTM the states after each step are onnxruntime's to 1e-6, but Y_h and Y_c are those at the end of the
#   series, where the layer has seen one sample: a classifier on them is blind to the rest. Its backward half in a bidirectional
#   layer is right in all three. A reverse GRU is the forward one, to 1e-6; lengths of a GRU and the clip of both change nothing.
#   No message; other things that it lacks, as lengths of an LSTM, end in an error.
# Guess: that Y_h is the row of Y that was computed last, and that one module obeys or refuses alike in LSTM and GRU.
# For users: take the last state out of Y yourself, or look forward only, as memkd-edge's files do.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 onnx==1.23.2 onnxruntime==1.31.1 \
    numpy==2.3.5
cat > demonstrate.py <<'PY'
import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

STEPS, SERIES, CHANNELS, HIDDEN = 12, 2, 3, 8
random = np.random.default_rng(0)
x = random.normal(0, 2, (STEPS, SERIES, CHANNELS)).astype(np.float32)
GATES, OUTPUTS = {"LSTM": 4, "GRU": 3}, {"LSTM": ["Y", "Y_h", "Y_c"], "GRU": ["Y", "Y_h"]}


def model(operator, lengths=None, **attributes):
    """One layer from x [T, N, C] to Y [T, D, N, H] and the last states [D, N, H]."""
    random = np.random.default_rng(1)  # the same weights for every model of a size
    directions, rows = 1 + (attributes.get("direction") == "bidirectional"), GATES[operator] * HIDDEN
    sizes = {"W": (rows, CHANNELS), "R": (rows, HIDDEN), "B": (2 * rows,)}
    constants = {name: random.normal(0, 0.6, (directions, *size)).astype(np.float32) for name, size in sizes.items()}
    if lengths:
        constants["lengths"] = np.array(lengths, np.int32)
    last = [directions, SERIES, HIDDEN]
    shapes = {"Y": [STEPS, *last], "Y_h": last, "Y_c": last}
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *constants], OUTPUTS[operator], hidden_size=HIDDEN, **attributes)],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in OUTPUTS[operator]],
        [numpy_helper.from_array(constant, name) for name, constant in constants.items()],
    )
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(result, full_check=True)
    return result


def of_onnxruntime(operator, **asked):
    session = onnxruntime.InferenceSession(model(operator, **asked).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def of_opencv(operator, **asked):
    onnx.save(model(operator, **asked), "layer.onnx")
    net = cv2.dnn.readNetFromONNX("layer.onnx")
    net.setInput(x, "x")
    return net.forward(OUTPUTS[operator])


def distances(some, others):
    return [float(np.abs(one.reshape(other.shape) - other).max()) for one, other in zip(some, others, strict=True)]


def told(operator, asked, off, of="onnxruntime's"):
    numbers = ", ".join(f"{name} {number:.0e}" for name, number in zip(OUTPUTS[operator], off, strict=True))
    print(f"{operator} {asked or 'plain'}: OpenCV's distance from {of}: {numbers}")


for operator in GATES:
    for asked in ({}, {"direction": "bidirectional"}):
        off = distances(of_opencv(operator, **asked), of_onnxruntime(operator, **asked))
        told(operator, asked, off)
        assert max(off) < 1e-5

asked = {"direction": "reverse"}
found, right = of_opencv("LSTM", **asked), of_onnxruntime("LSTM", **asked)
off = distances(found, right)
told("LSTM", asked, off)
states = found[0].reshape(STEPS, SERIES, HIDDEN)
assert off[0] < 1e-5
assert min(off[1:]) > 0.1 and np.array_equal(found[1].reshape(SERIES, HIDDEN), states[-1]), "the behaviour has changed"
assert np.abs(right[1][0] - states[0]).max() < 1e-5
x[:-1] += 1  # all but the last sample
again = of_opencv("LSTM", **asked)
print("    all samples but the last one changed: its Y changes by", np.abs(again[0] - found[0]).max(), end=", ")
print("its Y_h and Y_c by", np.abs(again[1] - found[1]).max(), np.abs(again[2] - found[2]).max())
assert np.array_equal(again[1], found[1]) and np.array_equal(again[2], found[2]), "the behaviour has changed"

try:
    of_opencv("LSTM", lengths=[STEPS, STEPS - 5])
except cv2.error:
    print("LSTM with lengths: cv2.error")
else:
    raise AssertionError("the behaviour has changed")
for operator, asked in (
    ("GRU", {"direction": "reverse"}),
    ("GRU", {"lengths": [STEPS, STEPS - 5]}),
    ("GRU", {"clip": 0.5}),
    ("LSTM", {"clip": 0.5}),
):
    found = of_opencv(operator, **asked)
    off, off_plain = distances(found, of_onnxruntime(operator, **asked)), distances(found, of_onnxruntime(operator))
    told(operator, asked, off)
    told(operator, asked, off_plain, f"the plain {operator}")
    assert max(off) > 0.1 and max(off_plain) < 1e-5, "the behaviour has changed"
PY
env/bin/python demonstrate.py
