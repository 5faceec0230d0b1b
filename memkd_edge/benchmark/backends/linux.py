# SPDX-License-Identifier: Apache-2.0
"""What runs on a Linux machine, here, emulated or over ssh: a static program for C sources, a Python script for model files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memkd_edge import toolchain
from memkd_edge.assets import asset_dir
from memkd_edge.benchmark.emulation.image import CModel, compile_commands, objects, write_sources


def build_linux(
    folder: Path, compiler: str, model: CModel, inputs: NDArray[np.generic], *, flags: Sequence[str], passes: int
) -> None:
    """Compile the model and the runner as a static Linux program, image.elf with image.map, in `folder`."""
    write_sources(folder, model, inputs, passes=passes)
    runner = ["runner.c", "port_linux.c"]
    program = toolchain.find(compiler)
    for command in compile_commands(program, flags, model, runner):
        toolchain.run(command, timeout_s=300, cwd=folder)
    link = [program, *flags, "-static", "-Wl,--gc-sections,-Map=image.map", *objects(model, runner), "-lm", "-lpthread"]
    toolchain.run([*link, "-o", "image.elf"], timeout_s=120, cwd=folder)


def write_python_bundle(folder: Path, file: bytes, suffix: str, inputs: NDArray[np.generic], *, passes: int) -> list[str]:
    """Write measure.py, the model file and its inputs into `folder`; return the arguments for a Python interpreter there.

    Args:
        folder: an existing folder.
        file, suffix: the model file, ".tflite" or ".onnx".
        inputs: [steps, C] in the dtype of the model's tensor `x`.
        passes: timed passes over the inputs.
    """
    (folder / "measure.py").write_bytes((asset_dir("firmware_bench") / "linux" / "measure.py").read_bytes())
    (folder / f"model{suffix}").write_bytes(file)
    np.save(folder / "inputs.npy", inputs)
    return ["measure.py", f"model{suffix}", "inputs.npy", str(passes)]
