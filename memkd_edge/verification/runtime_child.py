# SPDX-License-Identifier: Apache-2.0
"""Runs model files in a native runtime, in a process of its own. A script, started by path: it must import nothing of ours.

A runtime may abort on a damaged file, and some need an interpreter with other packages; so they get processes of their own, under
any Python that has numpy and the runtime.

Each line of standard input is a JSON list of RUNTIME, MODEL, REQUEST.npz and RESPONSE.npz; once RESPONSE is written, a line is
printed. An error ends the process.

REQUEST holds `plan` (JSON as bytes: graph positions and names of x, logits and states; the jobs) and for each job j: x<j>
[N, T, C] in the graph's dtype and the initial states s<j>_<k> [N, width]. RESPONSE holds for each job: logits<j> ([N, T, K] if
the job wants every step, else [N, 1, K] after the last) and the final states s<j>_<k>. Exit code 3: the runtime is not installed.
"""

import gc
import json
import os
import sys
from typing import Any

import numpy as np

Array = Any  # np.ndarray[Any, Any], which old numpy does not subscript

ARENA_BYTES = 4 << 20  # far more than any student needs; the wheel's 64-bit pointers inflate it
NOT_INSTALLED = 3


class _Lite:
    """LiteRT, tflite-runtime and tf.lite: the same interpreter class. Batches by resizing every input to [N, width]."""

    def __init__(self, runtime: str, model: str, plan: dict[str, Any]) -> None:
        if runtime.startswith("litert"):
            from ai_edge_litert import interpreter as lite

            kernels = lite.OpResolverType
            resolver = {
                "litert-xnnpack": kernels.AUTO,
                "litert-builtin": kernels.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                "litert-reference": kernels.BUILTIN_REF,
            }[runtime]
            self.lite = lite.Interpreter(model, experimental_op_resolver_type=resolver, num_threads=1)
        elif runtime == "tflite-runtime":
            from tflite_runtime import interpreter as lite

            self.lite = lite.Interpreter(model, num_threads=1)
        else:
            import tensorflow as tf

            self.lite = tf.lite.Interpreter(model, num_threads=1)
        self.lite.allocate_tensors()
        inputs, outputs = self.lite.get_input_details(), self.lite.get_output_details()
        self.inputs = [inputs[position]["index"] for position in plan["inputs"]]
        self.outputs = [outputs[position]["index"] for position in plan["outputs"]]

    def run(self, x: Array, states: list[Array], every: bool) -> tuple[Array, list[Array]]:
        for index, value in zip(self.inputs, [x[:, 0], *states], strict=True):
            self.lite.resize_tensor_input(index, value.shape)
        self.lite.allocate_tensors()
        logits = []
        for t in range(x.shape[1]):
            for index, value in zip(self.inputs, [x[:, t], *states], strict=True):
                self.lite.set_tensor(index, value)
            self.lite.invoke()
            states = [self.lite.get_tensor(index) for index in self.outputs[1:]]
            if every or t + 1 == x.shape[1]:
                logits.append(self.lite.get_tensor(self.outputs[0]))
        return np.stack(logits, axis=1), states


class _Micro:
    """TFLite Micro: one series at a time. Outputs share memory with inputs, so all are copied out before the next step."""

    def __init__(self, runtime: str, model: str, plan: dict[str, Any]) -> None:
        from tflite_micro.python.tflite_micro import runtime as micro

        self.micro = micro.Interpreter.from_file(model, arena_size=ARENA_BYTES)
        self.inputs, self.outputs = plan["inputs"], plan["outputs"]

    def run(self, x: Array, states: list[Array], every: bool) -> tuple[Array, list[Array]]:
        micro = self.micro
        logits: list[Array] = []
        finals: list[list[Array]] = []
        for n in range(len(x)):
            state, kept = [value[n : n + 1] for value in states], []
            for t in range(x.shape[1]):
                for position, value in zip(self.inputs, [x[n : n + 1, t], *state], strict=True):
                    micro.set_input(value, position)
                micro.invoke()
                result = [np.array(micro.get_output(position)) for position in self.outputs]
                state = result[1:]
                if every or t + 1 == x.shape[1]:
                    kept.append(result[0][0])
            logits.append(np.stack(kept))
            finals.append(state)
        return np.stack(logits), [np.concatenate(values) for values in zip(*finals, strict=True)]


class _Onnx:
    """onnxruntime, for the step graph and for the sequence graph (which takes each series whole and has no states)."""

    def __init__(self, runtime: str, model: str, plan: dict[str, Any]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.inputs, self.outputs, self.alone = plan["input_names"], plan["output_names"], plan["alone"]

    def run(self, x: Array, states: list[Array], every: bool) -> tuple[Array, list[Array]]:
        if self.alone and len(x) > 1:
            parts = [self.run(x[n : n + 1], [state[n : n + 1] for state in states], every) for n in range(len(x))]
            finals = zip(*(part for _, part in parts), strict=True)
            return np.concatenate([logits for logits, _ in parts]), [np.concatenate(values) for values in finals]
        if not states and every:
            return np.concatenate([self.run(x[:, : t + 1], states, False)[0] for t in range(x.shape[1])], axis=1), []
        if not states:
            return self.session.run(self.outputs, {self.inputs[0]: x})[0][:, None], []
        logits = []
        for t in range(x.shape[1]):
            result = self.session.run(self.outputs, dict(zip(self.inputs, [x[:, t], *states], strict=True)))
            states = result[1:]
            if every or t + 1 == x.shape[1]:
                logits.append(result[0])
        return np.stack(logits, axis=1), states


def run(runtime: str, model: str, request: str, response: str) -> None:
    with np.load(request, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    plan = json.loads(arrays["plan"].tobytes())
    kind: Any = {"onnxruntime": _Onnx, "tflite-micro": _Micro}.get(runtime, _Lite)
    runner = kind(runtime, model, plan)
    results = {}
    for j, job in enumerate(plan["jobs"]):
        states = [arrays[f"s{j}_{k}"] for k in range(job["states"])]
        results[f"logits{j}"], finals = runner.run(arrays[f"x{j}"], states, job["every"])
        results.update({f"s{j}_{k}": value for k, value in enumerate(finals)})
    np.savez(response, **results)


def main() -> int:
    gc.disable()  # what a runtime loads stays: TensorFlow's takes a second to search for garbage
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a runtime prints is no answer
    for line in sys.stdin:
        try:
            run(*json.loads(line))
        except ImportError as error:
            print(error, file=sys.stderr)
            return NOT_INSTALLED
        print("done", file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
