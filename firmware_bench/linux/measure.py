#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures a streaming .tflite or .onnx model on this Linux machine; needs numpy and a runtime, nothing else.

    python3 measure.py MODEL INPUTS.npy PASSES

It stays within what Python 3.7 knows, for older board images. INPUTS.npy: [steps, C] samples in the dtype of the model's tensor
`x`. It speaks the protocol of runner.c on stdout, with two more lines before the last: `runtime=` and `rss=` (peak resident
memory of this process in bytes, Python and numpy included). A tick is a nanosecond; one step is: set the inputs, run, fetch the
outputs, with the state carried by the caller. Each step stands between two getppid() calls, which a counting emulator sees.
"""

import contextlib
import os
import sys
import time

import numpy

EMPTY_MEASUREMENTS = 8  # the first ones meet cold caches


class LiteModel:
    """A .tflite with signature `step` in the first runtime that is installed."""

    def __init__(self, path):
        try:
            from ai_edge_litert import interpreter as runtime

            self.runtime = "ai_edge_litert"
        except ImportError:
            from tflite_runtime import interpreter as runtime

            self.runtime = "tflite_runtime"
        self.interpreter = runtime.Interpreter(model_path=path, num_threads=1)
        self.interpreter.allocate_tensors()
        signature = self.interpreter.get_signature_runner("step")
        inputs, outputs = signature.get_input_details(), signature.get_output_details()
        self.x, self.logits = inputs["x"]["index"], outputs["logits"]["index"]
        states = sorted(name for name in inputs if name != "x")
        self.state_in = [inputs[name]["index"] for name in states]
        self.state_out = [outputs[name]["index"] for name in states]
        self.zero_state = [numpy.zeros(inputs[name]["shape"], inputs[name]["dtype"]) for name in states]

    def reset(self):
        self.state = self.zero_state

    def run(self, x):
        # Tensor by tensor: a call through the signature costs several times as much in Python.
        self.interpreter.set_tensor(self.x, x[None])
        for index, value in zip(self.state_in, self.state):  # noqa: B905 (Python 3.10)
            self.interpreter.set_tensor(index, value)
        self.interpreter.invoke()
        self.state = [self.interpreter.get_tensor(index) for index in self.state_out]
        return self.interpreter.get_tensor(self.logits)[0]


class OnnxModel:
    """An ONNX step graph in onnxruntime, on one thread."""

    def __init__(self, path):
        import onnxruntime

        self.runtime = "onnxruntime"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [node.name for node in self.session.get_inputs()]
        shapes = {node.name: [size if isinstance(size, int) else 1 for size in node.shape] for node in self.session.get_inputs()}
        self.states = [name for name in names if name != "x"]
        self.zero_state = [numpy.zeros(shapes[name], numpy.float32) for name in self.states]
        self.input_shape = shapes["x"]
        self.outputs = ["logits"] + [name + "_out" for name in self.states]

    def reset(self):
        self.state = self.zero_state

    def run(self, x):
        feeds = dict(zip(self.states, self.state), x=x.reshape(self.input_shape))  # noqa: B905 (Python 3.10)
        logits, *self.state = self.session.run(self.outputs, feeds)
        return logits.reshape(-1)


def installed_version(package):
    """Return the version of an installed package, or "?"."""
    try:
        from importlib import metadata

        return metadata.version(package)
    except Exception:  # Python 3.7 has no such module, an unusual installation no such record
        return "?"


def peak_memory():
    """Return this process's peak resident bytes."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def main():
    """Run the measurement."""
    path, inputs_path, passes = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with contextlib.suppress(OSError):  # not allowed everywhere: then the scheduler may move us
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    inputs = numpy.load(inputs_path, allow_pickle=False)
    model = OnnxModel(path) if path.endswith(".onnx") else LiteModel(path)
    lines = ["protocol=1", f"steps={len(inputs)}", f"state_bytes={sum(state.nbytes for state in model.zero_state)}"]
    model.reset()
    for index, x in enumerate(inputs):
        logits = model.run(x)
        if logits.dtype == numpy.float32:
            words = [f"{bits:08x}" for bits in logits.view(numpy.uint32)]
        else:
            words = [f"{value}" for value in logits]
        lines.append(f"logits.{index}={' '.join(words)}")
    empty = []
    for _ in range(EMPTY_MEASUREMENTS):
        start = time.perf_counter_ns()
        os.getppid()
        os.getppid()
        empty.append(time.perf_counter_ns() - start)
    lines.append(f"overhead={min(empty)}")
    for _ in range(passes):
        model.reset()
        for x in inputs:
            start = time.perf_counter_ns()
            os.getppid()
            model.run(x)
            os.getppid()
            lines.append(f"ticks={time.perf_counter_ns() - start}")
    value = 2166136261
    for byte in "".join(line + "\n" for line in lines).encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    print("\n".join(lines))
    print(f"runtime={model.runtime} {installed_version(model.runtime)}")
    print(f"rss={peak_memory()}")
    print(f"done={value:08x}")


main()
