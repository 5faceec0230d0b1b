#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# emx-onnx-cgen's C of a bidirectional LSTM pairs each step with another step's backward state: that half is back to front.
#
# Software: emx-onnx-cgen 1.4.0, onnx 1.23.2, compared with onnxruntime 1.31.1 (numpy 2.3.5, Python 3.11, gcc).
# Seen: the backward direction is computed right, from the last sample to the first, but its rows of y are written in the order of
#   computing: the first row is the state after the last sample. Read in reverse, they are onnxruntime's to 1e-6, and so are
#   the forward rows and both last states; a classifier on the last state is spared, one on each step is .6 off. `compile` ends
#   with 0 and no warning; `verify`, a command of its own, finds it with the same file. Reverse GRUs and RNNs it refuses.
# Guess: that a generator which has peepholes, coupled gates, clips and lengths right has the order of the rows right, too.
# For users: run its `verify` on your own file; what memkd-edge exports looks back only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check emx-onnx-cgen==1.4.0 onnx==1.23.2 onnxruntime==1.31.1 numpy==2.3.5
cat > demonstrate.py <<'PY'
import subprocess

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

STEPS, CHANNELS, HIDDEN = 20, 3, 8
random = np.random.default_rng(0)
x = random.normal(size=(STEPS, 1, CHANNELS)).astype(np.float32)
value = helper.make_tensor_value_info
shapes = {"y": [STEPS, 2, 1, HIDDEN], "h": [2, 1, HIDDEN], "c": [2, 1, HIDDEN]}
graph = helper.make_graph(
    [helper.make_node("LSTM", ["x", "W", "R", "B"], list(shapes), hidden_size=HIDDEN, direction="bidirectional")],
    "lstm",
    [value("x", TensorProto.FLOAT, x.shape)],
    [value(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
    [
        numpy_helper.from_array(random.normal(0, 0.5, (2, *size)).astype(np.float32), name)
        for name, size in (("W", (4 * HIDDEN, CHANNELS)), ("R", (4 * HIDDEN, HIDDEN)), ("B", (8 * HIDDEN,)))
    ],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "lstm.onnx")
session = onnxruntime.InferenceSession("lstm.onnx", providers=["CPUExecutionProvider"])
right = dict(zip(shapes, session.run(list(shapes), {"x": x}), strict=True))


def in_c():
    """The answers of the generated C: y [T, D, 1, H], h and c [D, 1, H]."""
    said = subprocess.run(["env/bin/emx-onnx-cgen", "compile", "lstm.onnx", "lstm.c"], check=True, capture_output=True, text=True)
    assert "warn" not in (said.stdout + said.stderr).lower()
    samples = ", ".join(f"{number}f" for number in x.ravel())
    with open("main.c", "w") as file:
        file.write(
            f"""#include <stdio.h>
#include "lstm.c"
static const float x[{STEPS}][1][{CHANNELS}] = {{{samples}}};
static float y[{STEPS}][2][1][{HIDDEN}], h[2][1][{HIDDEN}], c[2][1][{HIDDEN}];
int main(void) {{
    model(x, y, h, c);
    for (int i = 0; i < {STEPS * 2 * HIDDEN}; i++) printf("%.9g\\n", (&y[0][0][0][0])[i]);
    for (int i = 0; i < {2 * HIDDEN}; i++) printf("%.9g\\n", (&h[0][0][0])[i]);
    for (int i = 0; i < {2 * HIDDEN}; i++) printf("%.9g\\n", (&c[0][0][0])[i]);
}}
"""
        )
    subprocess.run(["gcc", "-std=gnu99", "-w", "main.c", "-o", "main", "-lm"], check=True)
    numbers = np.array(subprocess.run("./main", check=True, capture_output=True, text=True).stdout.split(), np.float32)
    y, h, c = np.split(numbers, [STEPS * 2 * HIDDEN, STEPS * 2 * HIDDEN + 2 * HIDDEN])
    return {"y": y.reshape(shapes["y"]), "h": h.reshape(shapes["h"]), "c": c.reshape(shapes["c"])}


def distance(a, b):
    return float(np.abs(a - b).max())


found = in_c()
forward, backward = (distance(found["y"][:, direction], right["y"][:, direction]) for direction in (0, 1))
turned = distance(found["y"][::-1, 1], right["y"][:, 1])
last = max(distance(found[name], right[name]) for name in ("h", "c"))
print(f"away from onnxruntime: forward rows {forward:.0e}, last states {last:.0e}, backward rows {backward:.2f},")
print(f"  backward rows read from the last to the first {turned:.0e}")
verified = subprocess.run(["env/bin/emx-onnx-cgen", "verify", "lstm.onnx"], capture_output=True, text=True)
print("verify ends with", verified.returncode, "and says:", (verified.stdout + verified.stderr).strip().splitlines()[-1])
assert forward < 1e-5 and last < 1e-5
assert backward > 0.3 and turned < 1e-5 and verified.returncode == 1, "the behaviour has changed"
PY
env/bin/python demonstrate.py
