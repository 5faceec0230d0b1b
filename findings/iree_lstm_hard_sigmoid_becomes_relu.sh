#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# IREE compiles an LSTM with hard sigmoids into one whose gates are ReLUs, over the padding and without peepholes, in silence.
#
# Software: iree-base-compiler and -runtime 3.13.0, onnx 1.23.2, compared with onnxruntime 1.31.1 (numpy 2.3.5, Python 3.11).
# Seen: with activations HardSigmoid, Tanh, Tanh the compiled model answers up to 1.1 away from onnxruntime's, and within 1e-6 of
#   Relu, Tanh, Tanh: gates pass 1, and a state that cannot pass 1 reaches 1.5. Softsign in place of tanh becomes ReLU, too. Given
#   lengths or peepholes it computes the plain LSTM, to 1e-6. Neither iree-import-onnx nor iree-compile prints a word; of other
#   things that it lacks, as direction = reverse, it says "failed to legalize operation" and ends.
# Guess: that a compiler which refuses a direction refuses an activation that it does not know, rather than choose another.
# For users: gates of LSTMs made for microcontrollers are often hard sigmoids; those that memkd-edge writes are plain in all four.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check iree-base-compiler==3.13.0 iree-base-runtime==3.13.0 onnx==1.23.2 \
    onnxruntime==1.31.1 numpy==2.3.5
cat > demonstrate.py <<'PY'
import subprocess

import iree.runtime
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

STEPS, SERIES, CHANNELS, HIDDEN = 20, 2, 3, 8
LENGTHS, WHOLE = [20, 12], [20, 20]
random = np.random.default_rng(0)
x = random.normal(size=(STEPS, SERIES, CHANNELS)).astype(np.float32)
sizes = {"W": (4 * HIDDEN, CHANNELS), "R": (4 * HIDDEN, HIDDEN), "B": (8 * HIDDEN,), "P": (3 * HIDDEN,)}
constants = [numpy_helper.from_array(random.normal(0, 0.5, (1, *size)).astype(np.float32), name) for name, size in sizes.items()]


def model(lengths=WHOLE, gates="Sigmoid", others="Tanh", peepholes=False):
    """One LSTM from x [T, N, C] to the state after each step [T, 1, N, H]; the lengths are an input."""
    value = helper.make_tensor_value_info
    inputs = ["x", "W", "R", "B", "lengths", "", "", "P"] if peepholes else ["x", "W", "R", "B", "lengths"]
    graph = helper.make_graph(
        [helper.make_node("LSTM", inputs, ["y"], hidden_size=HIDDEN, activations=[gates, others, others])],
        "lstm",
        [value("x", TensorProto.FLOAT, x.shape), value("lengths", TensorProto.INT32, [SERIES])],
        [value("y", TensorProto.FLOAT, [STEPS, 1, SERIES, HIDDEN])],
        constants if peepholes else constants[:3],
    )
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(result, full_check=True)
    return result, np.array(lengths, np.int32)


def of_onnxruntime(found, lengths):
    session = onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x, "lengths": lengths})[0]


def of_iree(found, lengths):
    onnx.save(found, "lstm.onnx")
    for command in (
        ["env/bin/iree-import-onnx", "lstm.onnx", "-o", "lstm.mlir"],
        ["env/bin/iree-compile", "lstm.mlir", "--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=generic"]
        + ["-o", "lstm.vmfb"],
    ):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert not done.stdout + done.stderr, done.stdout + done.stderr
    context = iree.runtime.SystemContext(config=iree.runtime.Config("local-sync"))
    with open("lstm.vmfb", "rb") as file:
        context.add_vm_module(iree.runtime.VmModule.copy_buffer(context.instance, file.read()))
    return context.modules.module["lstm"](x, lengths).to_host()


def distance(a, b):
    return float(np.abs(a - b).max())


same = distance(of_iree(*model()), of_onnxruntime(*model()))
print(f"plain: IREE is {same:.0e} away from onnxruntime")
assert same < 1e-5
for name, asked, computed in (
    ("hard sigmoids as gates", {"gates": "HardSigmoid"}, {"gates": "Relu"}),
    ("softsign instead of tanh", {"others": "Softsign"}, {"others": "Relu"}),
    (f"lengths {LENGTHS} of {STEPS}", {"lengths": LENGTHS}, {}),
    ("peepholes", {"peepholes": True}, {}),
):
    found, right = of_iree(*model(**asked)), of_onnxruntime(*model(**asked))
    other = distance(found, of_onnxruntime(*model(**computed)))
    print(f"{name}: IREE is {distance(found, right):.2f} from onnxruntime's, {other:.0e} from its {computed or 'plain LSTM'}; ", end="")
    print(f"the largest |h| is {np.abs(found).max():.2f}, onnxruntime's {np.abs(right).max():.2f}")
    assert distance(found, right) > 0.05 and other < 1e-5, "the behaviour has changed"
PY
env/bin/python demonstrate.py
