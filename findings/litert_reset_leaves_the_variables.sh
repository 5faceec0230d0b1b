#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# LiteRT's reset_all_variables() resets no VAR_HANDLE variable; TensorFlow Lite Micro's reset() makes it 0, whatever it starts at.
#
# Software: ai-edge-litert 2.3.0, tflite-micro 0.dev20261023182759 (numpy 2.3.5, Python 3.11, x86-64).
# Seen: a state h <- x + h, answered at each step, that a call-once graph of the file starts at 10. After x = 1, 1, 1 the answers
#   are 11, 12, 13, and after the reset, again with x = 1: LiteRT 14, as if it had not been asked; TensorFlow Lite Micro 1. With
#   each of LiteRT's three sets of kernels, and after allocate_tensors(), it goes on counting; a new interpreter begins with 11.
#   With h in a tensor marked as variable, the older way, reset_all_variables() does what its name says. No warning, no error.
# Guess: that after a reset of all variables a stream begins as it began in a new interpreter, on the host and on the device.
# For users: a converted Keras model that keeps its state has such variables. memkd-edge's files have their state as arguments;
#   for files of others `memkd-edge inspect` says so, and that a new interpreter is the reset.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check ai-edge-litert==2.3.0 tflite-micro==0.dev20261023182759 numpy==2.3.5 \
    flatbuffers==25.12.19
cat > demonstrate.py <<'PY'
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro import runtime

KINDS, OPTIONS = schema.BuiltinOperator, schema.BuiltinOptions
FLOAT32, RESOURCE = schema.TensorType.FLOAT32, schema.TensorType.RESOURCE
SIZE = 4


class File:
    """A .tflite file in the making: operators are added to the graph that was begun last."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version, self.model.operatorCodes, self.model.subgraphs = 3, [], []
        self.model.buffers = [schema.BufferT()]

    def graph(self):
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
        self.model.subgraphs.append(graph)
        return graph

    def tensor(self, shape=(1, SIZE), kind=FLOAT32, value=None, variable=False):
        tensor, graph = schema.TensorT(), self.model.subgraphs[-1]
        tensor.shape, tensor.type, tensor.isVariable = list(shape), kind, variable
        tensor.name, tensor.buffer = f"{len(self.model.subgraphs)}.{len(graph.tensors)}", 0
        if value is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(value, np.float32).tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    def operator(self, name, inputs, outputs, kind, options):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode, code.version = getattr(KINDS, name), 1
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.model.operatorCodes), inputs, outputs
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self.model.operatorCodes.append(code)
        self.model.subgraphs[-1].operators.append(operator)

    def handle(self):
        options, handle = schema.VarHandleOptionsT(), self.tensor([], RESOURCE)
        options.container, options.sharedName = "", "h"
        self.operator("VAR_HANDLE", [], [handle], OPTIONS.VarHandleOptions, options)
        return handle

    def assign(self, handle, value):
        self.operator("ASSIGN_VARIABLE", [handle, value], [], OPTIONS.AssignVariableOptions, schema.AssignVariableOptionsT())

    def content(self):
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def with_handle(start):
    """y = h = x + h, h behind a VAR_HANDLE."""
    file = File()
    step = file.graph()
    x, old, y = file.tensor(), file.tensor(), file.tensor()
    once = schema.CallOnceOptionsT()
    once.initSubgraphIndex = 1
    file.operator("CALL_ONCE", [], [], OPTIONS.CallOnceOptions, once)
    handle = file.handle()
    file.operator("READ_VARIABLE", [handle], [old], OPTIONS.ReadVariableOptions, schema.ReadVariableOptionsT())
    file.operator("ADD", [x, old], [y], OPTIONS.AddOptions, schema.AddOptionsT())
    file.assign(handle, y)
    step.inputs, step.outputs = [x], [y]
    file.graph()
    file.assign(file.handle(), file.tensor(value=np.full((1, SIZE), start)))
    return file.content()


def with_variable_tensor():
    """y = h = x + h as an RNN of unit weights, h in a tensor marked as variable. It starts at 0."""
    file = File()
    step = file.graph()
    x, y, h = file.tensor(), file.tensor(), file.tensor(variable=True)
    of_x, of_h = (file.tensor((SIZE, SIZE), value=np.eye(SIZE)) for _ in range(2))
    bias = file.tensor((SIZE,), value=np.zeros(SIZE))
    file.operator("RNN", [x, of_x, of_h, bias, h], [y], OPTIONS.RNNOptions, schema.RNNOptionsT())
    step.inputs, step.outputs = [x], [y]
    return file.content()


class OfLiteRT:
    def __init__(self, content, kernels):
        self.interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
        self.interpreter.allocate_tensors()
        self.reset, self.allocate = self.interpreter.reset_all_variables, self.interpreter.allocate_tensors

    def step(self):
        interpreter = self.interpreter
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ones((1, SIZE), np.float32))
        interpreter.invoke()
        return float(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0, 0])


class OfMicro:
    def __init__(self, content):
        self.interpreter = runtime.Interpreter.from_bytes(content)
        self.reset = self.interpreter.reset

    def step(self):
        self.interpreter.set_input(np.ones((1, SIZE), np.float32), 0)
        self.interpreter.invoke()
        return float(self.interpreter.get_output(0)[0, 0])


def answers(model):
    """Answers to x = 1 three times, and once after the reset."""
    before = [model.step() for _ in range(3)]
    model.reset()
    return before, model.step()


for kernels in (OpResolverType.AUTO, OpResolverType.BUILTIN_REF, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
    model = OfLiteRT(with_handle(10), kernels)
    before, after = answers(model)
    model.allocate()
    again, anew = model.step(), OfLiteRT(with_handle(10), kernels).step()
    print(f"LiteRT, {kernels.name}: {before}, after reset_all_variables() {after}, ", end="")
    print(f"after allocate_tensors() {again}; a new interpreter: {anew}")
    assert before == [11, 12, 13] and anew == 11
    assert (after, again) == (14, 15), "the behaviour has changed"
    before, after = answers(OfLiteRT(with_variable_tensor(), kernels))
    print(f"LiteRT, {kernels.name}, h in a variable tensor: {before}, after reset_all_variables() {after}")
    assert before == [1, 2, 3] and after == 1
before, after = answers(OfMicro(with_handle(10)))
print(f"TensorFlow Lite Micro: {before}, after reset() {after}; a new interpreter: {OfMicro(with_handle(10)).step()}")
assert before == [11, 12, 13] and OfMicro(with_handle(10)).step() == 11
assert after == 1, "the behaviour has changed"
PY
env/bin/python demonstrate.py
