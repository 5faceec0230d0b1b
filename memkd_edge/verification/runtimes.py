# SPDX-License-Identifier: Apache-2.0
"""The native runtimes an exported file is checked in, in child processes.

A runtime that is not installed, or that dies on a file, is an outcome to report and never takes this process down.
"""

import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from memkd_edge import toolchain
from memkd_edge.errors import MemkdEdgeError, MissingToolError
from memkd_edge.formats.step_interface import Port, StepInterface
from memkd_edge.scratch import scratch_folder
from memkd_edge.verification import runtime_child

TIMEOUT_S = 900.0

_PACKAGES = toolchain.PYTHON_PACKAGES


@dataclass(frozen=True)
class Runtime:
    """One way to execute a model file.

    name: as `runtime_child` knows it; title: as reports print it; module: the import that tells whether it is installed;
    install: the command that installs it; python_variable: environment variable naming another Python that has it, for a
    runtime that does not share this environment; format: file suffix it takes; exact: promised to give the bits of the
    integer reference.
    """

    name: str
    title: str
    module: str
    install: str
    python_variable: str = ""
    format: str = ".tflite"
    exact: bool = False


RUNTIMES = (
    Runtime("litert-xnnpack", "LiteRT (XNNPACK)", "ai_edge_litert", _PACKAGES["ai_edge_litert"].install),
    Runtime("litert-builtin", "LiteRT (builtin)", "ai_edge_litert", _PACKAGES["ai_edge_litert"].install),
    Runtime("litert-reference", "LiteRT (reference)", "ai_edge_litert", _PACKAGES["ai_edge_litert"].install),
    Runtime(
        "tflite-runtime",
        "tflite-runtime",
        "tflite_runtime",
        "pip install tflite-runtime 'numpy<2' in a venv of its own, and MEMKD_EDGE_TFLITE_RUNTIME_PYTHON=VENV/bin/python",
        python_variable="MEMKD_EDGE_TFLITE_RUNTIME_PYTHON",
        exact=True,
    ),
    Runtime("tflite-micro", "TFLite Micro", "tflite_micro", _PACKAGES["tflite_micro"].install, exact=True),
    Runtime(
        "tf.lite",
        "TensorFlow (tf.lite)",
        "tensorflow",
        f"{_PACKAGES['tensorflow'].install}, or in a venv of its own, and MEMKD_EDGE_TF_PYTHON=VENV/bin/python",
        python_variable="MEMKD_EDGE_TF_PYTHON",
    ),
    Runtime("onnxruntime", "onnxruntime", "onnxruntime", _PACKAGES["onnxruntime"].install, format=".onnx"),
)


@dataclass(frozen=True)
class Job:
    """Series to stream: x [N, T, C] in the graph's dtype, from the given initial states, or from reset if None.

    every: keep the logits of every step rather than the last one's.
    """

    x: NDArray[Any]
    states: tuple[NDArray[Any], ...] | None = None
    every: bool = False


@dataclass(frozen=True)
class Streamed:
    """What came out of a job, in the graph's dtypes: logits [N, T or 1, K] and the final states, [N, width] each."""

    logits: NDArray[Any]
    states: tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Runner:
    """Something that streams jobs through one given model. exact: promised to give the bits of the integer reference."""

    title: str
    exact: bool
    stream: Callable[[Sequence[Job]], list[Streamed]]


class Children:
    """The child processes, one for each Python and package, each for one file after another: TensorFlow takes seconds to load.

    A context, at whose end they end.
    """

    def __init__(self) -> None:
        self._running: dict[tuple[str, str], toolchain.Companion] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._running:
            self._running.popitem()[1].stop()

    def run(self, runtime: Runtime, python: str, path: Path, question: Path, answer: Path) -> None:
        """Have `runtime_child` run the file at `path` under `python`; raises as `stream`.

        A child that dies on a file may have been hurt by one before it: what counts is how a new child takes the file.
        """
        key = (python, runtime.module)
        fresh = key not in self._running
        if fresh:
            try:
                # Isolated (-I): neither the caller's folder nor its PYTHON* variables reach the child.
                self._running[key] = toolchain.Companion([python, "-I", runtime_child.__file__])
            except MissingToolError as error:
                raise MissingToolError(f"{runtime.python_variable}={error}") from error
        line = json.dumps([runtime.name, str(path.resolve()), str(question), str(answer)])
        try:
            ended = self._running[key].ask(line, timeout_s=TIMEOUT_S)
        except toolchain.TimeLimitError as error:
            del self._running[key]
            raise MemkdEdgeError(f"{runtime.title} did not finish {path} in {TIMEOUT_S:.0f} s") from error
        if ended is None:
            return
        self._running.pop(key).stop()
        if not fresh:
            self.run(runtime, python, path, question, answer)
        elif ended.exit_code == runtime_child.NOT_INSTALLED:
            raise MissingToolError(f"{runtime.title}: {_reason(ended.errors)}; {runtime.install}")
        elif ended.exit_code < 0:
            name = signal.Signals(-ended.exit_code).name
            raise MemkdEdgeError(f"{runtime.title} crashed on {path} ({name}): {_reason(ended.errors)}")
        else:
            raise MemkdEdgeError(f"{runtime.title} refuses {path}: {_reason(ended.errors)}")


def runners(path: Path, interface: StepInterface, children: Children, *, alone: bool = False) -> list[Runner]:
    """Return a runner for each runtime that takes the format of the file at `path`, installed or not; arguments as `stream`'s."""
    return [
        Runner(runtime.title, runtime.exact, partial(stream, runtime, path, interface, children=children, alone=alone))
        for runtime in RUNTIMES
        if runtime.format == path.suffix
    ]


def stream(
    runtime: Runtime, path: Path, interface: StepInterface, jobs: Sequence[Job], *, children: Children, alone: bool = False
) -> list[Streamed]:
    """Run `jobs` through the file at `path` in a child process.

    Args:
        interface: of the file; for a graph that takes series whole, one without states.
        children: where the process is, or will be.
        alone: an .onnx file takes each series in calls of its own, where it could take all at once.

    Raises:
        MissingToolError: the runtime is not installed; the message is how to install it.
        MemkdEdgeError: the runtime refused the file, crashed on it, or ran longer than 15 minutes.
    """
    python = os.environ.get(runtime.python_variable, "") if runtime.python_variable else ""
    if not python and importlib.util.find_spec(runtime.module) is None:
        raise MissingToolError(runtime.install)
    request: dict[str, NDArray[Any]] = {"plan": _plan(interface, jobs, alone)}
    for j, job in enumerate(jobs):
        request[f"x{j}"] = job.x
        states = job.states or tuple(before.zeros(len(job.x)) for before, _ in interface.states)
        request.update({f"s{j}_{k}": state for k, state in enumerate(states)})
    with scratch_folder() as folder:
        question, answer = folder / "request.npz", folder / "response.npz"
        np.savez(question, **request)  # type: ignore[arg-type]
        children.run(runtime, python or sys.executable, path, question, answer)
        with np.load(answer, allow_pickle=False) as archive:
            results = [
                Streamed(archive[f"logits{j}"], tuple(archive[f"s{j}_{k}"] for k in range(len(interface.states))))
                for j in range(len(jobs))
            ]
    for job, result in zip(jobs, results, strict=True):
        _check_result(job, result, interface, f"{runtime.title}: {path}")
    return results


def _check_result(job: Job, result: Streamed, interface: StepInterface, what: str) -> None:
    """Hold the file to its word: a graph may give other shapes than it declares, and a float one may give NaN."""
    series, steps, _ = job.x.shape
    kept = steps if job.every else 1
    expected = [(interface.logits, [series, kept, interface.logits.width])]
    expected += [(after, [series, after.width]) for _, after in interface.states]
    for (port, shape), value in zip(expected, (result.logits, *result.states), strict=True):
        if list(value.shape) != shape or str(value.dtype) != port.dtype:
            raise MemkdEdgeError(f"{what} gives `{port.name}` as {value.dtype}{list(value.shape)}, not {port.dtype}{shape}")
        if not np.isfinite(value).all():
            raise MemkdEdgeError(f"{what} gives values of `{port.name}` that are not finite")


def _plan(interface: StepInterface, jobs: Sequence[Job], alone: bool) -> NDArray[np.uint8]:
    inputs: list[Port] = [interface.x, *(before for before, _ in interface.states)]
    outputs: list[Port] = [interface.logits, *(after for _, after in interface.states)]
    plan = {
        "inputs": [port.position for port in inputs],
        "outputs": [port.position for port in outputs],
        "input_names": [port.tensor for port in inputs],
        "output_names": [port.tensor for port in outputs],
        "alone": alone,
        "jobs": [{"states": len(interface.states), "every": job.every} for job in jobs],
    }
    return np.frombuffer(json.dumps(plan).encode(), np.uint8)


def _reason(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith("INFO:")]
    return lines[-1] if lines else "no message"
