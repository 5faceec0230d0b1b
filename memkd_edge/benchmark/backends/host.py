# SPDX-License-Identifier: Apache-2.0
"""Measures wall time per sample and peak memory on this machine: generated C, LiteRT and onnxruntime, each in its own process.

A process per build, pinned to one CPU where that is allowed, gives each its own peak memory and keeps a native runtime that
aborts away from ours.
"""

import platform
import re
import sys
from pathlib import Path

from memkd_edge import toolchain
from memkd_edge.benchmark.backends.linux_rows import linux_makers, measured_row, write_bundle
from memkd_edge.benchmark.builds import Build, Builds, collect
from memkd_edge.benchmark.devices.profiles import Device
from memkd_edge.benchmark.report.figures import BuildFigures, DeviceReport
from memkd_edge.config import BenchConfig
from memkd_edge.progress import Reporter
from memkd_edge.scratch import scratch_folder


def bench_host(device: Device, builds: Builds, config: BenchConfig, progress: Reporter) -> DeviceReport:
    """Measure every build that runs here."""
    made, reasons = collect(linux_makers(builds))
    rows = tuple(measure_host(build, timeout_s=config.timeout_s) for build in progress.each(device.name, made, "builds"))
    return DeviceReport(device.name, f"{device.title} ({_processor()})", rows, tuple(reasons))


def measure_host(build: Build, *, timeout_s: float) -> BuildFigures:
    """Run `build` here and return its row.

    Raises:
        MissingToolError: no C compiler.
        GateError: the outputs are not the reference's.
        MemkdEdgeError: it does not build, run or end.
    """
    with scratch_folder() as folder:
        command, tool = write_bundle(folder, build, compiler="cc", python=sys.executable)
        text = toolchain.run(command, timeout_s=timeout_s, cwd=folder)
    return measured_row(build, text, tool, "this machine")


def _processor() -> str:
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return model[1] if model else platform.machine()
