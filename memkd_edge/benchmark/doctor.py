# SPDX-License-Identifier: Apache-2.0
"""Says which external programs and packages are installed, what each is for, and how to get the missing ones."""

import importlib.metadata
import shutil
from dataclasses import dataclass

from memkd_edge import toolchain
from memkd_edge.benchmark.emulation import arm64_root
from memkd_edge.errors import MissingToolError


@dataclass(frozen=True)
class Check:
    """One tool. found: its version or place, empty when it is missing; remedy: the command that installs it."""

    name: str
    purpose: str
    found: str
    remedy: str
    needed: bool


_MICROCONTROLLERS = "--device nrf52840 and other Cortex-M"
_RISCV = "--device esp32c3 and other RISC-V"
_PI = "--device rpi4 and other Raspberry Pis"
_PROGRAMS = {
    "arm-none-eabi-gcc": _MICROCONTROLLERS,
    "qemu-system-arm": _MICROCONTROLLERS,
    "riscv64-unknown-elf-gcc": _RISCV,
    "qemu-system-riscv32": _RISCV,
    "aarch64-linux-gnu-gcc": _PI,
    "qemu-aarch64": _PI,
    "cc": "--device host; the instruction counter of all emulated devices",
}
_OPTIONAL_PROGRAMS = {"ssh": "a real Pi: backend ssh"}
_MODULES = {
    "ai_edge_litert": ".tflite on this machine",
    "onnxruntime": ".onnx on this machine",
    "tflite_micro": "TensorFlow Lite Micro's kernels in the verification",
    "serial": "a real microcontroller: backend serial",
}


def examine() -> list[Check]:
    """Return all checks, the needed ones first."""
    checks = [_program(name, purpose, needed=True) for name, purpose in _PROGRAMS.items()]
    checks += [_program(name, purpose, needed=False) for name, purpose in _OPTIONAL_PROGRAMS.items()]
    checks.append(_cxx())
    for module, purpose in _MODULES.items():
        package = toolchain.PYTHON_PACKAGES[module]
        checks.append(Check(package.distribution, purpose, _installed(package.distribution), package.install, needed=False))
    root = arm64_root.location()
    found = str(root) if arm64_root.is_built(root) else ""
    checks.append(
        Check("arm64 Python", ".tflite through LiteRT on an emulated Pi", found, "memkd-edge doctor --arm64-root", False)
    )
    return checks


def _program(name: str, purpose: str, *, needed: bool) -> Check:
    found = shutil.which(name) or ""
    if found and needed:
        found = toolchain.version(name).removeprefix(f"{name} ")
    return Check(name, purpose, found, f"apt-get install {toolchain.DEBIAN_PACKAGES[name]}", needed)


def _cxx() -> Check:
    name = "arm-none-eabi-g++"
    try:
        found = toolchain.find_cxx()
    except MissingToolError:
        found = ""
    return Check(
        name, "rows of TFLite Micro: --tflm-dir", found, f"apt-get install {toolchain.DEBIAN_PACKAGES[name]}", needed=False
    )


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
