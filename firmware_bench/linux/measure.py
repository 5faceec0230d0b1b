#!/usr/bin/env python3
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
        self.step = self.interpreter.get_signature_runner("step")
        details = self.step.get_input_details()
        self.zero_state = {name: numpy.zeros(detail["shape"], detail["dtype"]) for name, detail in details.items() if name != "x"}

    def reset(self):
        self.state = self.zero_state

    def run(self, x):
        outputs = self.step(x=x[None], **self.state)
        logits = outputs.pop("logits")
        self.state = outputs
        return logits[0]


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
        self.zero_state = {name: numpy.zeros(shapes[name], numpy.float32) for name in names if name != "x"}
        self.input_shape = shapes["x"]
        self.outputs = [node.name for node in self.session.get_outputs()]

    def reset(self):
        self.state = self.zero_state

    def run(self, x):
        feeds = dict(self.state, x=x.reshape(self.input_shape))
        results = dict(zip(self.outputs, self.session.run(self.outputs, feeds)))  # noqa: B905 (Python 3.10)
        logits = results.pop("logits")
        self.state = {name: results[name if name in results else name + "_out"] for name in self.state}
        return logits.reshape(-1)


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
    lines = ["protocol=1", f"steps={len(inputs)}", f"state_bytes={sum(s.nbytes for s in model.zero_state.values())}"]
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
    print(f"runtime={model.runtime}")
    print(f"rss={peak_memory()}")
    print(f"done={value:08x}")


main()
