# SPDX-License-Identifier: Apache-2.0
"""The microcontroller cores that QEMU runs here: how their firmware is built, and the machine that executes it."""

from dataclasses import dataclass

KIB = 1024


@dataclass(frozen=True)
class Architecture:
    """What the cores of one instruction set share.

    tools: prefix of compiler and binutils. emulator: QEMU's program. port: the runner's file for these cores. script: for the
    linker. compile_flags, link_flags: for every file, and for the image alone, that say which C library is taken.
    """

    tools: str
    emulator: str
    port: str
    script: str
    compile_flags: tuple[str, ...]
    link_flags: tuple[str, ...]

    @property
    def compiler(self) -> str:
        """Name of the C compiler."""
        return f"{self.tools}gcc"


@dataclass(frozen=True)
class Machine:
    """A QEMU machine and the memory that takes the place of the device's flash and RAM. options: of QEMU beside -M."""

    name: str
    flash_origin: int
    flash_bytes: int
    ram_origin: int
    ram_bytes: int
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Core:
    """A core: compiler flags, and the machines that execute its code, the most faithful one first.

    library_flags: what the image is linked with instead of `flags`, where no library is built for exactly these. objdump_options:
    what the disassembler has to be told of the core.
    """

    title: str
    architecture: Architecture
    flags: tuple[str, ...]
    machines: tuple[Machine, ...]
    library_flags: tuple[str, ...] = ()
    objdump_options: tuple[str, ...] = ()


_ARM = Architecture("arm-none-eabi-", "qemu-system-arm", "port_cortex_m.c", "cortex_m.ld", (), ("-specs=nano.specs",))
_AN385 = Machine("mps2-an385", 0x0, 4096 * KIB, 0x20000000, 4096 * KIB)
_HARD_FLOAT = "-mfloat-abi=hard"
CORTEX_M = {
    # The microbit's M0 refuses a stray Thumb-2 instruction. An image beyond its memory runs on the M3, which executes it too.
    "m0plus": Core(
        "Cortex-M0+",
        _ARM,
        ("-mcpu=cortex-m0plus", "-mthumb"),
        (Machine("microbit", 0x0, 256 * KIB, 0x20000000, 16 * KIB), _AN385),
    ),
    "m3": Core("Cortex-M3", _ARM, ("-mcpu=cortex-m3", "-mthumb"), (_AN385,)),
    "m4": Core(
        "Cortex-M4F",
        _ARM,
        ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", _HARD_FLOAT),
        (Machine("mps2-an386", 0x0, 4096 * KIB, 0x20000000, 4096 * KIB),),
    ),
    "m7": Core(
        "Cortex-M7",
        _ARM,
        ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", _HARD_FLOAT),
        (Machine("mps2-an500", 0x0, 4096 * KIB, 0x20000000, 4096 * KIB),),
    ),
    "m33": Core(
        "Cortex-M33",
        _ARM,
        ("-mcpu=cortex-m33", "-mthumb", "-mfpu=fpv5-sp-d16", _HARD_FLOAT),
        (Machine("mps2-an505", 0x10000000, 4096 * KIB, 0x38000000, 4096 * KIB),),
    ),
    "m55": Core(
        "Cortex-M55",
        _ARM,
        ("-mcpu=cortex-m55", "-mthumb", _HARD_FLOAT),
        (Machine("mps3-an547", 0x10000000, 512 * KIB, 0x30000000, 512 * KIB),),
        objdump_options=("-m", "armv8.1-m.main"),  # or vector instructions look like a coprocessor's
    ),
}

# The headers and libraries of picolibc; -march of the compiler's libraries is one that it was built for.
_PICOLIBC = "--specs=picolibc.specs"
_RISCV = Architecture("riscv64-unknown-elf-", "qemu-system-riscv32", "port_riscv.c", "riscv.ld", (_PICOLIBC,), (_PICOLIBC,))


def _virt(extensions: str) -> tuple[Machine, ...]:
    """QEMU's virt has 128 MiB of RAM: a half for flash, a half for RAM. Extensions that the core lacks are off."""
    options = ("-bios", "none", "-cpu", f"rv32,{extensions}")
    return (Machine("virt", 0x80000000, 32768 * KIB, 0x84000000, 32768 * KIB, options),)


RISCV = {
    "esp32c3": Core(
        "ESP32-C3's RISC-V, rv32imc",
        _RISCV,
        ("-march=rv32imc_zicsr", "-mabi=ilp32"),
        _virt("a=false,f=false,d=false,zba=false,zbb=false,zbc=false,zbs=false"),
        ("-march=rv32im", "-mabi=ilp32"),
    ),
    "esp32c6": Core(
        "ESP32-C6's RISC-V, rv32imac",
        _RISCV,
        ("-march=rv32imac_zicsr", "-mabi=ilp32"),
        _virt("f=false,d=false,zba=false,zbb=false,zbc=false,zbs=false"),
    ),
    "hazard3": Core(
        "RP2350's RISC-V, Hazard3, rv32imac with Zba and Zbb",
        _RISCV,
        ("-march=rv32imac_zicsr_zba_zbb", "-mabi=ilp32"),
        _virt("f=false,d=false,zba=true,zbb=true,zbc=false,zbs=true"),
        ("-march=rv32imac", "-mabi=ilp32"),
    ),
}

CORES = CORTEX_M | RISCV
