#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# LiteRT keeps a loaded model file mapped: a file that is overwritten in place changes the model that is already running.
#
# Software: ai-edge-litert 2.3.0 (numpy 2.3.5, Python 3.11, Linux).
# Seen: Interpreter(model_path=...) answers x + 1; another valid model of the same size, x + 2, is written over the file in place; the
#   same interpreter, not loaded again, answers x + 2. No error is raised. With model_content=bytes it goes on answering x + 1.
# Guess: that a loaded interpreter holds the model, so that an update on a running device takes effect on the next load.
# For users: replace a model file by renaming a new one over it, as memkd-edge does, or load it with model_content.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check ai-edge-litert==2.3.0 numpy==2.3.5 flatbuffers==25.12.19
cat > demonstrate.py <<'PY'
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter


def tensor(name, buffer):
    result = schema.TensorT()
    result.name, result.shape, result.type, result.buffer = name, [1, 4], schema.TensorType.FLOAT32, buffer
    return result


def x_plus(constant):
    code, operator, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 1
    operator.inputs, operator.outputs = [0, 1], [2]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph.tensors, graph.inputs, graph.outputs = [tensor("x", 0), tensor("constant", 1), tensor("y", 0)], [0], [2]
    graph.operators = [operator]
    data = schema.BufferT()
    data.data = np.frombuffer(np.full(4, constant, np.float32).tobytes(), np.uint8)
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT(), data]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def answer(interpreter):
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.zeros((1, 4), np.float32))
    interpreter.invoke()
    return float(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0, 0])


one, two = x_plus(1.0), x_plus(2.0)
assert len(one) == len(two)
with open("model.tflite", "wb") as file:
    file.write(one)
by_path, by_content = Interpreter(model_path="model.tflite"), Interpreter(model_content=one)
for interpreter in (by_path, by_content):
    interpreter.allocate_tensors()
before = answer(by_path), answer(by_content)
with open("model.tflite", "r+b") as file:
    file.write(two)
after = answer(by_path), answer(by_content)
print("x = 0, by path and by content, before:", before, "after the file was overwritten:", after)
assert before == (1.0, 1.0)
assert after == (2.0, 1.0), "the behaviour has changed"
PY
env/bin/python demonstrate.py
