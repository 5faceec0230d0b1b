# SPDX-License-Identifier: Apache-2.0
"""Runs a model's C code as firmware of an emulated microcontroller and returns what is exact there.

    measurement = measure_firmware("m4", CModel("student", emit_c(...)), inputs)     # inputs: [steps, C] int8, int16 or float32
    measurement.instructions_per_step, measurement.sections.flash, measurement.stack_bytes, measurement.logits

Instruction counts, section sizes and stack use are those of the real core: QEMU executes its instruction set, the linker is given
the device's memory sizes. QEMU has no timing model: cycles come from memkd_edge.benchmark.devices.cycles.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memkd_edge import toolchain
from memkd_edge.benchmark.emulation import plugin
from memkd_edge.benchmark.emulation.cores import CORES, KIB, Architecture, Machine
from memkd_edge.benchmark.emulation.elf import disassemble, symbols
from memkd_edge.benchmark.emulation.image import CModel, compile_commands, cpp_commands, objects, write_sources
from memkd_edge.benchmark.emulation.measurement import Measurement, from_windows
from memkd_edge.benchmark.emulation.sections import model_sections
from memkd_edge.benchmark.protocol import parse
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.scratch import scratch_folder

STACK_LIMIT = 8 * KIB


class DoesNotFitError(MemkdEdgeError):
    """The linker refused: the image is larger than the device's memory.

    needed, available: bytes by region ("flash", "RAM").
    """

    def __init__(self, needed: dict[str, int], available: dict[str, int]) -> None:
        self.needed, self.available = needed, available
        parts = []
        for region, count in needed.items():
            excess = count - available[region]
            parts.append(f"{region} needs {count:,} B and has {available[region]:,} B ({excess:,} B too many)")
        super().__init__("the model does not fit: " + "; ".join(parts))


def measure_firmware(
    core: str,
    model: CModel,
    inputs: NDArray[np.generic],
    *,
    flags: Sequence[str] = ("-O2",),
    flash_bytes: int | None = None,
    ram_bytes: int | None = None,
    timeout_s: float = 120.0,
) -> Measurement:
    """Build `model` for `core`, run it over `inputs` and return the exact results.

    Args:
        core: a key of `CORES`.
        model: sources and name.
        inputs: [steps, C] int8, int16 or float32 (physical units); the dtype chooses the step function.
        flags: optimisation and preprocessor flags for the model.
        flash_bytes, ram_bytes: the device's memory; the emulated machine's when None.
        timeout_s: limit for the emulator.

    Raises:
        UsageError: unknown core.
        DoesNotFitError: the image is larger than the memory.
        MissingToolError: compiler or emulator is not installed.
        MemkdEdgeError: the sources do not compile, the program faults, or the emulator does not end.
    """
    if core not in CORES:
        raise UsageError(f"no core {core!r}; there are {', '.join(CORES)}")
    with scratch_folder() as folder:
        write_sources(folder, model, inputs, passes=1)
        machine = build_firmware(
            folder, core, model, flags=flags, flash_bytes=flash_bytes, ram_bytes=ram_bytes, output="output_semihosting.c"
        )
        architecture = CORES[core].architecture
        counts, text = _emulate(folder, architecture, machine, timeout_s)
        result = parse(text.splitlines(), floats=inputs.dtype == np.float32)
        if model.library is not None and result.arena == 0:
            raise MemkdEdgeError(
                f"{model.library.archive} refused the model: it lacks a kernel, or more memory is needed than in other builds"
            )
        return from_windows(
            counts,
            result,
            sections=model_sections(folder / "image.map", model),
            disassembly=disassemble(folder / "image.elf", f"{architecture.tools}objdump", CORES[core].objdump_options),
            tool=f"{toolchain.version(architecture.compiler)} {' '.join(flags)}, {toolchain.version(architecture.emulator)}",
        )


def build_firmware(
    folder: Path,
    core: str,
    model: CModel,
    *,
    flags: Sequence[str] = ("-O2",),
    flash_bytes: int | None = None,
    ram_bytes: int | None = None,
    output: str,
) -> Machine:
    """Compile and link the sources in `folder` to image.elf and image.map; return the machine that can run it.

    `output` names the runner's source file that carries text out.
    """
    spec = CORES[core]
    architecture = spec.architecture
    compiler = toolchain.find(architecture.compiler)
    runner = ["runner.c", architecture.port, output]
    every = [*spec.flags, *architecture.compile_flags, *flags]
    commands = compile_commands(compiler, every, model, runner)
    libraries = ["-lm"]
    linker = compiler
    if model.library is not None:
        linker = toolchain.find_cxx()
        commands += cpp_commands(linker, every, model)
        # What the library would print or allocate needs an operating system's calls: stubs that refuse.
        libraries = [str(model.library.archive), "-lm", "-specs=nosys.specs"]
    for command in commands:
        toolchain.run(command, timeout_s=300, cwd=folder)
    largest = spec.machines[-1]
    flash = largest.flash_bytes if flash_bytes is None else flash_bytes
    ram = largest.ram_bytes if ram_bytes is None else ram_bytes
    layout = {
        "FLASH_ORIGIN": largest.flash_origin,
        "FLASH_LENGTH": flash,
        "RAM_ORIGIN": largest.ram_origin,
        "RAM_LENGTH": ram,
        "STACK_LENGTH": min(STACK_LIMIT, ram // 4),
    }
    link = [linker, *(spec.library_flags or spec.flags), *architecture.link_flags, "-nostartfiles"]
    link += ["-Wl,--gc-sections,-Map=image.map"]
    link += [f"-Wl,--defsym={symbol}={value}" for symbol, value in layout.items()]
    link += ["-T", architecture.script, *objects(model, runner), *libraries, "-o", "image.elf"]
    try:
        toolchain.run(link, timeout_s=120, cwd=folder)
    except toolchain.ToolFailedError as error:
        over = {region: int(count) for region, count in re.findall(r"region `(\w+)' overflowed by (\d+) bytes", error.output)}
        if not over:
            raise
        available = {"FLASH": flash, "RAM": ram}
        raise DoesNotFitError({region: available[region] + over[region] for region in over}, available) from error
    symbol = symbols(folder / "image.elf", f"{architecture.tools}nm")
    flash_used = symbol["data_load"] + symbol["data_end"] - symbol["data_start"] - largest.flash_origin
    ram_used = symbol["stack_top"] - largest.ram_origin
    for machine in spec.machines:
        if flash_used <= machine.flash_bytes and ram_used <= machine.ram_bytes:
            return machine
    raise MemkdEdgeError(
        f"the image fits the device, but no emulated {spec.title} has {flash_used:,} B + {ram_used:,} B of memory"
    )


def _emulate(folder: Path, architecture: Architecture, machine: Machine, timeout_s: float) -> tuple[plugin.Counts, str]:
    symbol = symbols(folder / "image.elf", f"{architecture.tools}nm")
    library = plugin.build(architecture.emulator)
    # fmt: off
    command = [
        toolchain.find(architecture.emulator), "-M", machine.name, *machine.options, "-kernel", "image.elf",
        "-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native",
        "-plugin", f"{library},begin={symbol['bench_begin']},end={symbol['bench_end']},out=counts.txt",
    ]
    # fmt: on
    # Semihosting's text comes out on stderr or stdout, depending on QEMU's version.
    text = toolchain.run(command, timeout_s=timeout_s, cwd=folder, join_stderr=True)
    return plugin.read(folder / "counts.txt"), text
