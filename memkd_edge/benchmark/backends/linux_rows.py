# SPDX-License-Identifier: Apache-2.0
"""What the backends of real Linux machines, this one and those behind ssh, have in common: what to run, and the row it gives."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from memkd_edge import toolchain
from memkd_edge.benchmark.backends.linux import build_linux, write_python_bundle
from memkd_edge.benchmark.builds import Build, Builds
from memkd_edge.benchmark.protocol import parse
from memkd_edge.benchmark.report.figures import BuildFigures, Figure
from memkd_edge.vocabulary import FigureKind

TIMED_STEPS = 4096
WARM_UP_PART = 0.1  # of the timed steps, not counted


def linux_makers(builds: Builds) -> list[Callable[[], Build]]:
    """Return the makers of all builds that a Linux machine can run, the recommended one first."""
    return [
        builds.student_int8_c,
        builds.student_int8_tflite,
        builds.student_int16_tflite,
        *(partial(make, "student") for make in (builds.float_c, builds.float_tflite, builds.float_onnx)),
        *(partial(make, "teacher") for make in (builds.float_c, builds.float_tflite, builds.float_onnx)),
    ]


def write_bundle(folder: Path, build: Build, *, compiler: str, python: str) -> tuple[list[str], str]:
    """Write into `folder` all that a machine needs to measure `build`.

    Args:
        folder: an existing folder.
        build: what to measure.
        compiler: for the machine's architecture; C sources become a static program.
        python: the machine's interpreter, for model files.

    Returns:
        The command to run in the folder, and the versions of the tools used here.
    """
    passes = -(-TIMED_STEPS // len(build.inputs))
    if build.source is not None:
        build_linux(folder, compiler, build.source, build.inputs, flags=build.flags, passes=passes)
        return ["./image.elf"], f"{toolchain.version(compiler)} {' '.join(build.flags)}"
    return [python, *write_python_bundle(folder, build.file, build.suffix, build.inputs, passes=passes)], ""


def measured_row(build: Build, text: str, tool: str, where: str) -> BuildFigures:
    """Return the row of a run on the machine `where`, from all that it said: latency p50/p90/p99, peak memory, bytes.

    Raises:
        GateError: the outputs are not the reference's.
        MemkdEdgeError: the measurement is not complete.
    """
    result = parse(text.splitlines(), floats=build.expected.dtype == np.float32)
    build.check(result.logits, where)
    runtime = re.search(r"^runtime=(.+)$", text, re.MULTILINE)
    memory = re.search(r"^rss=(\d+)$", text, re.MULTILINE)
    tool = runtime[1] if runtime else tool
    ticks = np.array(result.ticks[int(WARM_UP_PART * len(result.ticks)) :]) / 1000
    figures = {
        "latency": Figure(round(float(np.percentile(ticks, 50)), 3), FigureKind.MEASURED, "us", tool),
        "latency_p90": Figure(round(float(np.percentile(ticks, 90)), 3), FigureKind.MEASURED, "us", tool),
        "latency_p99": Figure(round(float(np.percentile(ticks, 99)), 3), FigureKind.MEASURED, "us", tool),
        "weights": Figure(build.weight_bytes, FigureKind.MEASURED, "B", tool),
        "state": Figure(result.state_bytes, FigureKind.MEASURED, "B", tool),
    }
    if build.file:
        figures["file"] = Figure(len(build.file), FigureKind.MEASURED, "B", tool)
    if memory:
        figures["peak_memory"] = Figure(round(int(memory[1]) / 2**20, 1), FigureKind.MEASURED, "MiB", tool)
    return BuildFigures(build.model, f"{build.name}, {runtime[1].split()[0]}" if runtime else build.name, figures)
