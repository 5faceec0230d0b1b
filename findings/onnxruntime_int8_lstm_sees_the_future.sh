#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# onnxruntime's dynamically quantised LSTM is not causal: the last sample of a call changes the output at its first step.
#
# Software: onnxruntime 1.31.1, onnx 1.23.2 (numpy 2.3.5, Python 3.11).
# Seen: a forward LSTM through quantize_dynamic becomes one DynamicQuantizeLSTM, which finds one int8 scale for x over all time
#   steps (and series) of the call. With a spike of 10,000 in the last of 20 samples, the 19 outputs before it change by up to .35
#   and are those of a series of zeros; the float model's stay equal bit by bit. Fed one step a call, the int8 model's do, too.
# Guess: that a forward LSTM is causal, quantised or not; that a scale depends on the batch is better known, and less harmful.
# For users: verify and run such a model one step a call, as a device does; memkd-edge warns about the sequence form.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2 numpy==2.3.5
cat > demonstrate.py <<'PY'
import logging

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

logging.disable(logging.WARNING)
STEPS, CHANNELS, HIDDEN = 20, 2, 8
NAMES = ["y", "h", "c"]
random = np.random.default_rng(0)


def constant(name, width):
    return numpy_helper.from_array(random.normal(0, 0.5, (1, 4 * HIDDEN, width)).astype(np.float32), name)


def value(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


lstm = helper.make_node("LSTM", ["x", "W", "R", "", "", "h0", "c0"], NAMES, hidden_size=HIDDEN, direction="forward")
states_in, states_out = ([value(name, 1, 1, HIDDEN) for name in names] for names in (["h0", "c0"], NAMES[1:]))
graph = helper.make_graph(
    [lstm],
    "lstm",
    [value("x", "T", 1, CHANNELS), *states_in],
    [value("y", "T", 1, 1, HIDDEN), *states_out],
    [constant("W", CHANNELS), constant("R", HIDDEN)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "float.onnx")
quantize_dynamic("float.onnx", "int8.onnx")


def open_model(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(session, x, steps_a_call):
    h = c = np.zeros((1, 1, HIDDEN), np.float32)
    rows = []
    for start in range(0, STEPS, steps_a_call):
        y, h, c = session.run(NAMES, {"x": x[start : start + steps_a_call], "h0": h, "c0": c})
        rows.append(y)
    return np.concatenate(rows)[: STEPS - 1]  # without the step of the spike


x = random.normal(size=(STEPS, 1, CHANNELS)).astype(np.float32)
spiked = x.copy()
spiked[-1] = 10_000
exact, int8 = open_model("float.onnx"), open_model("int8.onnx")
operators = [node.op_type for node in onnx.load("int8.onnx").graph.node]
print("operators of the quantised model:", operators)
past = {}
for name, session, steps in (("float, whole", exact, STEPS), ("int8, whole", int8, STEPS), ("int8, one step a call", int8, 1)):
    plain, after = run(session, x, steps), run(session, spiked, steps)
    past[name] = float(np.abs(plain - after).max())
    print(f"{name}: the spike in the last sample changes the outputs before it by up to {past[name]:.3f}")
to_zeros = float(np.abs(run(int8, spiked, STEPS) - run(int8, np.zeros_like(x), STEPS)).max())
print(f"int8, whole: with the spike, the outputs before it differ from those of zeros by up to {to_zeros:.4f}")
assert operators == ["DynamicQuantizeLSTM"], "the behaviour has changed"
assert past["float, whole"] == past["int8, one step a call"] == 0
assert past["int8, whole"] > 0.1 and to_zeros < 0.001, "the behaviour has changed"
PY
env/bin/python demonstrate.py
