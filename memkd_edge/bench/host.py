"""Measures wall time per sample and peak memory on this machine: generated C, LiteRT and onnxruntime, each in its own process.

A process per build, pinned to one CPU where that is allowed, gives each its own peak memory and keeps a native runtime that
aborts away from ours.
"""

import platform
import re
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from memkd_edge.assets import asset_dir
from memkd_edge.bench import toolchain
from memkd_edge.bench.profiles import Device
from memkd_edge.bench.protocol import Result, parse
from memkd_edge.bench.qemu_user import build_linux
from memkd_edge.bench.subjects import Subject, Subjects, collect
from memkd_edge.bench.types import MEASURED, DeviceReport, Figure, Row
from memkd_edge.config import BenchConfig

TIMED_STEPS = 4096
WARM_UP_PART = 0.1  # of the timed steps, not counted
FLAGS = ("-O2",)


def measure_host(subject: Subject, *, timeout_s: float) -> Row:
    """Run `subject` here and return its row: latency p50/p90/p99, peak resident memory, bytes.

    Raises:
        MissingToolError: no C compiler.
        GateError: the outputs are not the reference's.
        MemkdEdgeError: it does not build, run or end.
    """
    with tempfile.TemporaryDirectory(prefix="memkd-edge-") as name:
        folder = Path(name)
        passes = -(-TIMED_STEPS // len(subject.inputs))
        if subject.source is not None:
            build_linux(folder, "cc", subject.source, subject.inputs, flags=FLAGS, passes=passes)
            command, tool = ["./image.elf"], f"{toolchain.version('cc')} {' '.join(FLAGS)}"
        else:
            command, tool = [sys.executable, *python_bundle(folder, subject, passes)], ""
        text = toolchain.run(command, timeout_s=timeout_s, cwd=folder)
    result = parse(text.splitlines(), floats=subject.expected.dtype == np.float32)
    subject.check(result.logits, "this machine")
    return row(subject, result, text, tool)


def python_bundle(folder: Path, subject: Subject, passes: int) -> list[str]:
    """Write measure.py, the model file and its inputs into `folder`; return the arguments for a Python interpreter there."""
    (folder / "measure.py").write_bytes((asset_dir("firmware_bench") / "linux" / "measure.py").read_bytes())
    (folder / f"model{subject.suffix}").write_bytes(subject.file)
    np.save(folder / "inputs.npy", subject.inputs)
    return ["measure.py", f"model{subject.suffix}", "inputs.npy", str(passes)]


def row(subject: Subject, result: Result, text: str, tool: str) -> Row:
    """Return the row of a run that was measured on a Linux machine; `text` is all it said."""
    runtime = re.search(r"^runtime=(.+)$", text, re.MULTILINE)
    memory = re.search(r"^rss=(\d+)$", text, re.MULTILINE)
    tool = runtime[1] if runtime else tool
    ticks = np.array(result.ticks[int(WARM_UP_PART * len(result.ticks)) :]) / 1000
    figures = {
        "latency": Figure(round(float(np.percentile(ticks, 50)), 3), MEASURED, "us", tool),
        "latency_p90": Figure(round(float(np.percentile(ticks, 90)), 3), MEASURED, "us", tool),
        "latency_p99": Figure(round(float(np.percentile(ticks, 99)), 3), MEASURED, "us", tool),
        "weights": Figure(subject.weight_bytes, MEASURED, "B", tool),
        "state": Figure(result.state_bytes, MEASURED, "B", tool),
    }
    if subject.file:
        figures["file"] = Figure(len(subject.file), MEASURED, "B", tool)
    if memory:
        figures["peak_memory"] = Figure(round(int(memory[1]) / 2**20, 1), MEASURED, "MiB", tool)
    return Row(subject.model, f"{subject.build}, {runtime[1]}" if runtime else subject.build, figures)


def bench_host(device: Device, subjects: Subjects, config: BenchConfig) -> DeviceReport:
    """Measure every build that runs here."""
    made, reasons = collect(linux_makers(subjects))
    rows = tuple(measure_host(subject, timeout_s=config.timeout_s) for subject in made)
    return DeviceReport(device.name, f"{device.title} ({_processor()})", rows, tuple(reasons))


def linux_makers(subjects: Subjects) -> list[Callable[[], Subject]]:
    """Return the makers of all builds that a Linux machine can run, the recommended one first."""
    return [
        subjects.student_int8_c,
        subjects.student_int8_tflite,
        subjects.student_int16_tflite,
        *(partial(build, "student") for build in (subjects.float_c, subjects.float_tflite, subjects.float_onnx)),
        *(partial(build, "teacher") for build in (subjects.float_c, subjects.float_tflite, subjects.float_onnx)),
    ]


def _processor() -> str:
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return model[1] if model else platform.machine()
