# SPDX-License-Identifier: Apache-2.0
"""Runs a model's C code as an aarch64 Linux program under qemu-user, on the Cortex-A core of a Raspberry Pi.

    measurement = measure_aarch64("cortex-a72", CModel("student", emit_c(...)), inputs)

Instruction counts, code and weight bytes, state and stack are exact. QEMU has no timing model: latency comes from
memkd_edge.benchmark.devices.estimates.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memkd_edge import toolchain
from memkd_edge.benchmark.backends.linux import build_linux
from memkd_edge.benchmark.emulation import plugin
from memkd_edge.benchmark.emulation.elf import disassemble, symbols
from memkd_edge.benchmark.emulation.image import CModel
from memkd_edge.benchmark.emulation.measurement import Measurement, from_windows
from memkd_edge.benchmark.emulation.sections import model_sections
from memkd_edge.benchmark.protocol import parse
from memkd_edge.errors import UsageError
from memkd_edge.scratch import scratch_folder

CORES = ("cortex-a53", "cortex-a72", "cortex-a76")


def measure_aarch64(
    core: str,
    model: CModel,
    inputs: NDArray[np.generic],
    *,
    flags: Sequence[str] = ("-O2",),
    timeout_s: float = 120.0,
) -> Measurement:
    """Build `model` for `core`, run it over `inputs` and return the exact results.

    Args:
        core: one of `CORES`.
        model: sources and name.
        inputs: [steps, C] int8, int16 or float32 (physical units); the dtype chooses the step function.
        flags: optimisation and preprocessor flags for the model.
        timeout_s: limit for the emulator.

    Raises:
        UsageError: unknown core.
        MissingToolError: compiler or emulator is not installed.
        MemkdEdgeError: the sources do not compile, or the emulator does not end.
    """
    if core not in CORES:
        raise UsageError(f"no core {core!r}; there are {', '.join(CORES)}")
    with scratch_folder() as folder:
        emulator = toolchain.find("qemu-aarch64")
        library = plugin.build("qemu-aarch64")
        build_linux(folder, "aarch64-linux-gnu-gcc", model, inputs, flags=[f"-mcpu={core}", *flags], passes=1)
        symbol = symbols(folder / "image.elf", "aarch64-linux-gnu-nm")
        windows = f"{library},begin={symbol['bench_begin']},end={symbol['bench_end']},out=counts.txt"
        text = toolchain.run([emulator, "-cpu", core, "-plugin", windows, "image.elf"], timeout_s=timeout_s, cwd=folder)
        return from_windows(
            plugin.read(folder / "counts.txt"),
            parse(text.splitlines(), floats=inputs.dtype == np.float32),
            sections=model_sections(folder / "image.map", model, libraries="libm"),
            disassembly=disassemble(folder / "image.elf", "aarch64-linux-gnu-objdump"),
            tool=f"{toolchain.version('aarch64-linux-gnu-gcc')} {' '.join(flags)}, {toolchain.version('qemu-aarch64')}",
        )
