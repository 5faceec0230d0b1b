#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ONNX's own reference evaluator runs an LSTM over the padding, without its clip and with other activations, and says nothing.
#
# Software: onnx 1.23.2 (its ReferenceEvaluator), compared with onnxruntime 1.31.1 (numpy 2.3.5, Python 3.11).
# Seen: on models that onnx.checker accepts, sequence_lens, clip and activations change nothing in the reference's answers: they
#   are bit by bit those of the plain LSTM. onnxruntime's answers change with all three: past the length y is 0, the last state
#   is that of the length. For the plain LSTM both agree to 1e-6. No warning, no error for what is not implemented.
# Guess: that the reference evaluator, made to show what an operator means, obeys its inputs and attributes or refuses them.
# For users: check an exported LSTM with lengths or a clip against torch or numpy, not against this reference.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.31.1 numpy==2.3.5
cat > demonstrate.py <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

STEPS, CHANNELS, HIDDEN, LENGTH = 6, 2, 4, 3
random = np.random.default_rng(0)
x = random.normal(size=(STEPS, 1, CHANNELS)).astype(np.float32)
constants = [
    numpy_helper.from_array(random.normal(size=(1, 4 * HIDDEN, width)).astype(np.float32), name)
    for name, width in (("W", CHANNELS), ("R", HIDDEN))
]


def answers(length, **attributes):
    """The outputs y and last h of the reference and of onnxruntime."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "W", "R", "", "sequence_lens"], ["y", "last"], hidden_size=HIDDEN, **attributes)],
        "lstm",
        [value("x", TensorProto.FLOAT, [STEPS, 1, CHANNELS]), value("sequence_lens", TensorProto.INT32, [1])],
        [value("y", TensorProto.FLOAT, [STEPS, 1, 1, HIDDEN]), value("last", TensorProto.FLOAT, [1, 1, HIDDEN])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    inputs = {"x": x, "sequence_lens": np.array([length], np.int32)}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return ReferenceEvaluator(model).run(None, inputs), session.run(None, inputs)


plain, plain_runtime = answers(STEPS)
assert max(np.abs(a - b).max() for a, b in zip(plain, plain_runtime, strict=True)) < 1e-6
for name, length, attributes in (
    (f"sequence_lens = {LENGTH} of {STEPS}", LENGTH, {}),
    ("clip = 0.1", STEPS, {"clip": 0.1}),
    ("activations = Sigmoid, Relu, Relu", STEPS, {"activations": ["Sigmoid", "Relu", "Relu"]}),
):
    reference, runtime = answers(length, **attributes)
    ignored = all(np.array_equal(a, b) for a, b in zip(reference, plain, strict=True))
    difference = float(np.abs(reference[1] - runtime[1]).max())
    print(f"{name}: reference answers as without it: {ignored}; its last h is {difference:.2f} away from onnxruntime's")
    assert ignored and difference > 0.05, "the behaviour has changed"
    if length < STEPS:
        assert np.array_equal(runtime[1][0], runtime[0][LENGTH - 1, 0]) and not runtime[0][LENGTH:].any()
PY
env/bin/python demonstrate.py
