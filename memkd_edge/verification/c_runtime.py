# SPDX-License-Identifier: Apache-2.0
"""Runs generated C for verification: compiled for this machine, for aarch64 and RISC-V under qemu-user, for emulated Cortex-M."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from memkd_edge import toolchain
from memkd_edge.assets import asset_dir
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.formats.step_interface import StepInterface
from memkd_edge.scratch import scratch_folder
from memkd_edge.verification.runtimes import TIMEOUT_S, Job, Runner, Streamed

_TYPES = {"int8": ("i8", "int8_t"), "int16": ("i16", "int16_t"), "float32": ("f32", "float")}


@dataclass(frozen=True)
class Target:
    """One way to build and run generated C.

    sources: what it needs beside stream.c; script: the linker's, beside it, too; needs: a file of the compiler's library. apart:
    file by file, as a build system compiles; else as one source, for a compiler takes long to start and to read the headers.
    """

    title: str
    compiler: str
    flags: tuple[str, ...] = ()
    emulator: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    needs: str = ""
    script: str = ""
    apart: bool = False


_SEMIHOSTING = ("-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native", "-kernel")


def _cortex_m(title: str, cpu: str, machine: str) -> Target:
    return Target(
        title,
        "arm-none-eabi-gcc",
        (f"-mcpu={cpu}", "-mthumb", "--specs=rdimon.specs", "-Wl,--section-start=.vectors=0"),
        ("qemu-system-arm", "-M", machine, *_SEMIHOSTING),
        ("cortex_m.c",),
        "rdimon.specs",
    )


TARGETS = (
    Target("C, host", "cc", apart=True),
    Target("C, host, small", "cc", ("-DMEMKD_SMALL",)),
    Target("C, aarch64 (QEMU)", "aarch64-linux-gnu-gcc", ("-static",), ("qemu-aarch64",)),
    _cortex_m("C, Cortex-M4 (QEMU)", "cortex-m4", "mps2-an386"),
    _cortex_m("C, Cortex-M0+ (QEMU)", "cortex-m0plus", "mps2-an385"),  # an M3, which executes all of an M0+'s instructions
    Target(
        "C, RISC-V (QEMU)",
        "riscv64-unknown-elf-gcc",
        ("-march=rv32imc", "-mabi=ilp32", "--specs=picolibc.specs", "-nostartfiles"),
        ("qemu-riscv32",),
        ("riscv.c",),
        "picolibc.specs",
        "riscv.ld",
    ),
)


def c_runners(source: Path, interfaces: Sequence[StepInterface]) -> list[list[Runner]]:
    """Return for each entry the ways to run the model `source` (<name>.c beside its runtime) through it.

    Each way is built once, with all entries, when it is first needed.

    Args:
        interfaces: of the entries.
    """
    found: list[list[Runner]] = [[] for _ in interfaces]
    exact = all(interface.logits.dtype != "float32" for interface in interfaces)
    for target in TARGETS:
        if not exact and "-DMEMKD_SMALL" in target.flags:  # the float runtime has one size
            continue
        program = _Program(target, source, interfaces)
        for number, interface in enumerate(interfaces):
            title = f"{target.title}, _{_entry(interface)}"
            found[number].append(Runner(title, exact, partial(_stream, program, number)))
    return found


class _Program:
    """Generated C and the program around it, for one target."""

    def __init__(self, target: Target, source: Path, interfaces: Sequence[StepInterface]) -> None:
        self.target, self.source, self.interfaces = target, source, interfaces

    @cached_property
    def binary(self) -> bytes:
        """The program, built."""
        with scratch_folder() as folder:
            _compile(self.target, self.source, self.interfaces, folder / "stream")
            return (folder / "stream").read_bytes()


def _entry(interface: StepInterface) -> str:
    return _TYPES[interface.logits.dtype][0]


def _stream(program: _Program, entry: int, jobs: Sequence[Job]) -> list[Streamed]:
    target, source, interface = program.target, program.source, program.interfaces[entry]
    for tool in (target.compiler, *target.emulator[:1]):
        toolchain.find(tool)
    if target.needs:
        toolchain.find_library(target.compiler, target.needs)
    request = b"".join(
        np.array([entry, *job.x.shape[:2], job.every], np.uint32).tobytes() + np.ascontiguousarray(job.x).tobytes()
        for job in jobs
    )
    binary = program.binary
    with scratch_folder() as folder:
        file = folder / "stream"
        file.write_bytes(binary)
        file.chmod(0o700)
        answer = _run([*target.emulator, str(file)], request, f"{target.title}: {source}")
    results, at = [], 0
    width = interface.logits.width
    for job in jobs:
        series, steps, _ = job.x.shape
        # The program gives h of all layers, then c of all layers; the interface goes layer by layer.
        kinds = [kind for kind in "hc" if any(before.name.startswith(kind) for before, _ in interface.states)]
        layers, state = len(interface.states) // len(kinds), interface.states[0][0]
        record = np.dtype(
            [("logits", interface.logits.dtype, (steps if job.every else 1, width))]
            + [(kind, state.dtype, (layers, state.width)) for kind in kinds]
        )
        if len(answer) < at + series * record.itemsize:
            raise MemkdEdgeError(f"{target.title}: {source} gave {len(answer)} bytes, fewer than its interface promises")
        found = np.frombuffer(answer, record, series, at)
        at += series * record.itemsize
        states = tuple(found[kind][:, layer] for layer in range(layers) for kind in kinds)
        results.append(Streamed(found["logits"], states))
    return results


def _compile(target: Target, source: Path, interfaces: Sequence[StepInterface], program: Path) -> None:
    folder, name = asset_dir("firmware_bench") / "verify", source.stem
    # What is left out, the decisions on top of the steps, is nothing that runs here.
    parts = [source, *sorted(source.parent.glob("memkd_*.c")), folder / "stream.c"]
    if not target.apart:
        together = program.with_name("together.c")
        together.write_text("".join(part.read_text() for part in parts))
        parts = [together]
    entries = " ".join(f"ENTRY({_entry(one)},{_TYPES[one.x.dtype][1]},{_TYPES[one.logits.dtype][1]})" for one in interfaces)
    command = [
        target.compiler,
        "-std=c99",
        "-O2",
        *target.flags,
        f'-DMODEL_HEADER="{name}.h"',
        f"-DMODEL(x)={name}_##x",
        f"-DSIZE(x)={name.upper()}_##x",
        f"-DENTRIES={entries}",
        *(["-DCELLS"] if any(before.name.startswith("c") for before, _ in interfaces[0].states) else []),
        f"-I{source.parent}",
        *map(str, parts),
        *(str(folder / name) for name in target.sources),
        *(("-T", str(folder / target.script)) if target.script else ()),
        "-lm",
        "-o",
        str(program),
    ]
    _run(command, b"", f"{target.compiler} cannot build {source}")


def _run(command: Sequence[str], request: bytes, what: str) -> bytes:
    try:
        done = toolchain.execute(command, timeout_s=TIMEOUT_S, stdin=request)
    except toolchain.TimeLimitError as error:
        raise MemkdEdgeError(f"{what}: not finished in {TIMEOUT_S:.0f} s") from error
    if done.exit_code != 0:
        raise MemkdEdgeError(f"{what}: exit {done.exit_code}: {done.errors.strip()[-500:]}")
    return done.output
