# SPDX-License-Identifier: Apache-2.0
"""Runs a .tflite through LiteRT in an arm64 Python under qemu-user, as on a Raspberry Pi, and counts its instructions."""

import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memkd_edge import toolchain
from memkd_edge.benchmark.backends.linux import write_python_bundle
from memkd_edge.benchmark.builds import Build
from memkd_edge.benchmark.emulation import arm64_root, plugin
from memkd_edge.benchmark.protocol import Result, parse
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.scratch import scratch_folder

GETPPID = 173  # number of the system call on aarch64


@dataclass(frozen=True)
class FileMeasurement:
    """A model file's run through a Python runtime. instructions_per_step: the median step, Python's own share included.

    runtime: the interpreter that ran it.
    """

    instructions_per_step: float
    result: Result
    runtime: str
    tool: str


def measure_file_aarch64(root: Path, core: str, build: Build, *, timeout_s: float = 120.0) -> FileMeasurement:
    """Run a .tflite through the arm64 Python in `root` on `core` and return the exact instructions of a step.

    Raises:
        MissingToolError: the emulator is not installed.
        MemkdEdgeError: the run failed or did not end.
    """
    with scratch_folder() as folder:
        library = plugin.build("qemu-aarch64")
        arguments = write_python_bundle(folder, build.file, build.suffix, build.inputs, passes=1)
        windows = f"{library},syscall={GETPPID},out=counts.txt"
        command = [toolchain.find("qemu-aarch64"), "-cpu", core, "-L", str(root), "-plugin", windows]
        environment = {"PYTHONPATH": str(root / arm64_root.SITE_PACKAGES), "PYTHONHASHSEED": "0", "PYTHONNOUSERSITE": "1"}
        text = toolchain.run(
            [*command, str(root / arm64_root.PYTHON), *arguments], timeout_s=timeout_s, cwd=folder, environment=environment
        )
        counts = plugin.read(folder / "counts.txt").windows
    result = parse(text.splitlines(), floats=build.expected.dtype == np.float32)
    # The calls come in pairs around each measurement: every second window is what lies between two measurements.
    measured = counts[::2]
    if len(measured) <= result.steps:
        raise MemkdEdgeError(f"the counting plugin saw {len(measured)} windows, more than {result.steps} steps are expected")
    runtime = dict(line.partition("=")[::2] for line in text.splitlines())["runtime"]
    steps, empty = measured[-result.steps :], min(measured[: -result.steps])
    name = runtime.split()[0]
    return FileMeasurement(statistics.median(steps) - empty, result, name, f"{runtime}, {toolchain.version('qemu-aarch64')}")
