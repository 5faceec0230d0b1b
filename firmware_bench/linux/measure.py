#!/usr/bin/env python3
"""Measures a streaming .tflite or .onnx model on this Linux machine; needs numpy and a runtime, nothing else.

    python3 measure.py MODEL INPUTS.npy PASSES

INPUTS.npy: [steps, C] samples in the dtype of the model's tensor `x`. Speaks the protocol of runner.c on stdout, with two more
lines before the last: `runtime=` and `rss=` (peak resident memory of this process in bytes, Python and numpy included). A tick is
a nanosecond; one step is: set the inputs, run, fetch the outputs, with the state carried by the caller. Each step stands between
two getppid() calls, which a counting emulator sees.
"""

import os
import sys
import time

import numpy


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
        self.zero_state = {
            name: numpy.zeros(detail["shape"], detail["dtype"]) for name, detail in details.items() if name != "x"
        }

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
        shapes = {
            node.name: [size if isinstance(size, int) else 1 for size in node.shape] for node in self.session.get_inputs()
        }
        self.zero_state = {name: numpy.zeros(shapes[name], numpy.float32) for name in names if name != "x"}
        self.input_shape = shapes["x"]
        self.outputs = [node.name for node in self.session.get_outputs()]

    def reset(self):
        self.state = self.zero_state

    def run(self, x):
        feeds = dict(self.state, x=x.reshape(self.input_shape))
        results = dict(zip(self.outputs, self.session.run(self.outputs, feeds)))
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
    try:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    except OSError:
        pass  # not allowed here: the scheduler may move us
    inputs = numpy.load(inputs_path, allow_pickle=False)
    model = OnnxModel(path) if path.endswith(".onnx") else LiteModel(path)
    lines = ["protocol=1", "steps=%d" % len(inputs), "state_bytes=%d" % sum(s.nbytes for s in model.zero_state.values())]
    model.reset()
    for index, x in enumerate(inputs):
        logits = model.run(x)
        if logits.dtype == numpy.float32:
            words = ["%08x" % bits for bits in logits.view(numpy.uint32)]
        else:
            words = ["%d" % value for value in logits]
        lines.append("logits.%d=%s" % (index, " ".join(words)))
    start = time.perf_counter_ns()
    os.getppid()
    os.getppid()
    lines.append("overhead=%d" % (time.perf_counter_ns() - start))
    for _ in range(passes):
        model.reset()
        for x in inputs:
            start = time.perf_counter_ns()
            os.getppid()
            model.run(x)
            os.getppid()
            lines.append("ticks=%d" % (time.perf_counter_ns() - start))
    value = 2166136261
    for byte in "".join(line + "\n" for line in lines).encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    print("\n".join(lines))
    print("runtime=%s" % model.runtime)
    print("rss=%d" % peak_memory())
    print("done=%08x" % value)


main()
