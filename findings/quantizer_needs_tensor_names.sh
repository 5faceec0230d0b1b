#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ai-edge-quantizer fails on a .tflite file whose tensors have no names, with an AttributeError that does not say so.
#
# Software: ai-edge-quantizer 0.10.0, ai-edge-litert 2.3.0 (numpy 2.4.6, Python 3.11).
# Seen: names are optional in the format, and stripped files have none; LiteRT runs the file and computes y = W x. The quantiser says
#   "AttributeError: 'NoneType' object has no attribute 'decode'"; the same model with names becomes a third of its size.
# Guess: that tensors are told apart by their index, as the runtime tells them, or that the missing names are named.
# For users: give every tensor a name of its own, a number will do, before you quantise; memkd-edge's stripped files do.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check ai-edge-quantizer==0.10.0 ai-edge-litert==2.3.0 numpy==2.4.6 \
    flatbuffers==25.12.19
cat > demonstrate.py <<'PY'
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe


def model(named):
    """y = x W^T, x [1, 64]: with its tensors named or not; a name is optional in the format."""

    def tensor(name, shape, buffer):
        result = schema.TensorT()
        result.name = name if named else None
        result.shape, result.type, result.buffer = shape, schema.TensorType.FLOAT32, buffer
        return result

    code, operator, graph, found = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    operator.inputs, operator.outputs = [0, 1, -1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    graph.tensors = [tensor("x", [1, 64], 1), tensor("W", [64, 64], 2), tensor("y", [1, 64], 3)]
    graph.inputs, graph.outputs = [0], [2]
    graph.operators = [operator]
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    data = schema.BufferT()
    data.data = np.frombuffer(weights.tobytes(), np.uint8)
    found.version, found.operatorCodes, found.subgraphs = 3, [code], [graph]
    found.buffers = [schema.BufferT(), schema.BufferT(), data, schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(found.Pack(builder), b"TFL3")
    return bytes(builder.Output()), weights


def answer(data):
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ones((1, 64), np.float32))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


said = {}
for named in (True, False):
    data, weights = model(named)
    name = f"{'named' if named else 'nameless'}.tflite"
    with open(name, "wb") as file:
        file.write(data)
    np.testing.assert_allclose(answer(data), weights.sum(1), rtol=1e-4, atol=1e-4)
    try:
        result = quantizer.Quantizer(name, recipe.dynamic_wi8_afp32()).quantize()
        said[named] = f"{len(data):,} bytes become {len(result.quantized_model):,}"
    except Exception as error:
        said[named] = f"{type(error).__name__}: {error}"
    print(f"{name}: LiteRT computes it; the quantiser: {said[named]}")
assert "become" in said[True]
assert said[False].startswith("AttributeError: 'NoneType' object has no attribute"), "the behaviour has changed"
PY
env/bin/python demonstrate.py 2>&1 | grep -v "^INFO"
