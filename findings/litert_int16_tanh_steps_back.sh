#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# LiteRT's int16 TANH and LOGISTIC are worst at the roundest scale: at 2^-12 they fall while x rises, at any scale beside it not.
#
# Software: ai-edge-litert 2.3.0, tflite-micro 0.dev20261023182759 (numpy 2.3.5, Python 3.11, x86-64).
# Seen: over all 65,536 inputs of one operator, LSB 2^-12 in and 2^-15 out: TANH is up to 12 LSB off and falls at 602 places where
#   x rises, LOGISTIC 6 and 976; TANH at 2^-11 is as far off. At 2^-10, 2^-13, 1.001 * 2^-12 and 3 * 2^-12 both stay within 2 LSB,
#   never fall, and are bit by bit those of LiteRT's reference kernels and of TensorFlow Lite Micro, which are so at 2^-12, too.
# Guess: that a power of two is the easiest scale of all, and that faster kernels give the reference's integers.
# For users: at 2^-12 an int16 model is worse on the host that checks it than on the device; memkd-edge's gates are at 3 * 2^-12.
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
from tflite_micro.python.tflite_micro import runtime

X = np.arange(-32768, 32768, dtype=np.int16)[None]
FUNCTIONS = {"TANH": np.tanh, "LOGISTIC": lambda x: 1 / (1 + np.exp(-x))}


def model(name, scale):
    """One operator, int16 to int16; the output's scale is 2^-15, as the format asks for."""

    def tensor(label, its_scale):
        result, quantization = schema.TensorT(), schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = [its_scale], [0]
        result.name, result.shape, result.type, result.quantization = label, X.shape, schema.TensorType.INT16, quantization
        return result

    code, operator, graph, found = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = 3
    operator.inputs, operator.outputs = [0], [1]
    graph.tensors, graph.operators = [tensor("x", scale), tensor("y", 2.0**-15)], [operator]
    graph.inputs, graph.outputs = [0], [1]
    found.version, found.operatorCodes, found.subgraphs, found.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(found.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def litert(data, resolver):
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], X)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def micro(data):
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=1 << 19)
    interpreter.set_input(X, 0)
    interpreter.invoke()
    return interpreter.get_output(0)


def faults(name, scale, answer):
    """How far the answer is from the function, in LSB, and at how many places it falls."""
    y = answer.ravel().astype(int)
    exact = np.clip(np.rint(FUNCTIONS[name](X[0] * scale) * 32768), -32768, 32767)
    return int(np.abs(y - exact).max()), int((np.diff(y) < 0).sum())


for name, bad in (("TANH", {2.0**-12, 2.0**-11}), ("LOGISTIC", {2.0**-12})):
    for factor, exponent in ((1, -10), (1, -11), (1, -12), (1.001, -12), (3, -12), (1, -13)):
        scale = factor * 2.0**exponent
        data = model(name, scale)
        usual, reference, device = litert(data, OpResolverType.AUTO), litert(data, OpResolverType.BUILTIN_REF), micro(data)
        off, falls = faults(name, scale, usual)
        off_device, falls_device = faults(name, scale, device)
        print(
            f"{name} at {factor} * 2^{exponent}: LiteRT {off} LSB off, {falls} falls; reference and TensorFlow Lite Micro "
            f"{off_device} and {falls_device}"
        )
        assert np.array_equal(reference, device) and off_device <= 2 and falls_device == 0
        if scale in bad:
            assert off > 4 and falls > 0, "the behaviour has changed"
        else:
            assert np.array_equal(usual, device)
PY
env/bin/python demonstrate.py 2>&1 | grep -v "^INFO"
