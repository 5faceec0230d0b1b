# SPDX-License-Identifier: Apache-2.0
"""The C sources that leave with a measurement compile without a warning, with both compilers, on every architecture."""

import subprocess

import pytest

from memkd_edge.assets import asset_dir
from memkd_edge.benchmark.emulation.cores import CORTEX_M, RISCV
from memkd_edge.benchmark.emulation.image import write_sources

from .tiny_model import TINY, inputs_int8

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wundef", "-Wcast-align", "-Werror", "-fsyntax-only"]

PORTS = ("port_cortex_m.c", "port_riscv.c")  # a folder of firmware has both


def compile_all(folder, command, files):
    subprocess.run([*command, *WARNINGS, *files], cwd=folder, check=True)


@pytest.fixture
def sources(tmp_path):
    write_sources(tmp_path, TINY, inputs_int8(2), passes=1)
    for path in (asset_dir("firmware_bench") / "workload").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("core", CORTEX_M)
@pytest.mark.parametrize("ticks", [[], ["-DPORT_TICKS_DWT"]], ids=["systick", "dwt"])
def test_the_microcontroller_s_runner(sources, core, ticks, require_tool):
    require_tool("arm-none-eabi-gcc", package="gcc-arm-none-eabi libnewlib-arm-none-eabi")
    files = [*PORTS, "runner.c", "output_semihosting.c", "output_cmsdk_uart.c", "workload.c"]
    compile_all(sources, ["arm-none-eabi-gcc", *CORTEX_M[core].flags, *ticks], files)


@pytest.mark.parametrize("core", RISCV)
def test_the_riscv_microcontroller_s_runner(sources, core, require_tool):
    require_tool("riscv64-unknown-elf-gcc", package="gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf")
    spec = RISCV[core]
    files = [*PORTS, "runner.c", "output_semihosting.c", "output_cmsdk_uart.c", "workload.c"]
    compile_all(sources, ["riscv64-unknown-elf-gcc", *spec.flags, *spec.architecture.compile_flags], files)


@pytest.mark.parametrize("compiler", ["cc", "clang", "aarch64-linux-gnu-gcc"])
def test_the_linux_runner(sources, compiler, require_tool):
    require_tool(compiler, package={"cc": "gcc", "clang": "clang"}.get(compiler, "gcc-aarch64-linux-gnu"))
    compile_all(sources, [compiler], ["runner.c", "port_linux.c", "workload.c"])


@pytest.mark.parametrize("compiler", ["cc", "clang"])
@pytest.mark.parametrize("version", [1, 2])
def test_the_counting_plugin(compiler, version, require_tool):
    require_tool(compiler, package={"cc": "gcc"}.get(compiler, compiler))
    warnings = [flag for flag in WARNINGS if flag != "-std=c99"]
    source = asset_dir("firmware_bench") / "plugin" / "count.c"
    subprocess.run([compiler, "-std=gnu11", *warnings, f"-DPLUGIN_API={version}", source], check=True)
