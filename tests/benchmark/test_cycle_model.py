# SPDX-License-Identifier: Apache-2.0
"""The cycle model against published results of real boards.

Published are CoreMark/MHz: Cortex-M0+ 2.46, M3 3.34, M4 3.40 (Arm), Hazard3 3.81 (its README), that is cycles per unit of the
same work. Our workload is of that kind, but not CoreMark, so only the ratio between two cores can be compared: it checks the
costs of M0+, M3, M4 and Hazard3 against each other, more tightly than their stated error. M7, M33, M55, ESP32-C3 and C6 are
scaled by these very publications; their intervals are an assertion, not a result.
"""

import numpy as np
import pytest

from memkd_edge.assets import asset_dir
from memkd_edge.benchmark.devices.cycles import estimate_cycles
from memkd_edge.benchmark.emulation.firmware import measure_firmware
from memkd_edge.benchmark.emulation.image import CModel
from memkd_edge.benchmark.emulation.qemu_user import measure_aarch64

COREMARK_PER_MHZ = {"m0plus": 2.46, "m3": 3.34, "m4": 3.40, "hazard3": 3.81}


@pytest.fixture(scope="module")
def workload():
    folder = asset_dir("firmware_bench") / "workload"
    return CModel("workload", {path.name: path.read_text() for path in folder.iterdir()})


@pytest.mark.parametrize("flags", [("-O2",), ("-O3",)])
def test_the_ratio_of_two_cores_is_the_published_one_within_15_percent(workload, flags, require_tool):
    require_tool("arm-none-eabi-gcc", package="gcc-arm-none-eabi libnewlib-arm-none-eabi")
    require_tool("qemu-system-arm", package="qemu-system-arm")
    require_tool("riscv64-unknown-elf-gcc", package="gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf")
    require_tool("qemu-system-riscv32", package="qemu-system-misc")
    inputs = np.arange(4, dtype=np.int8)[:, None]
    runs = {core: measure_firmware(core, workload, inputs, flags=flags) for core in COREMARK_PER_MHZ}
    cycles = {core: estimate_cycles(run, core).value for core, run in runs.items()}
    for core in ("m0plus", "m3", "hazard3"):
        published = COREMARK_PER_MHZ["m4"] / COREMARK_PER_MHZ[core]
        assert cycles[core] / cycles["m4"] == pytest.approx(published, rel=0.15)
    # The same work on all of them, or the ratio would mean nothing.
    for run in runs.values():
        np.testing.assert_array_equal(run.logits, runs["m4"].logits)


def test_the_workload_gives_the_same_results_on_a_64_bit_core(workload, require_tool):
    require_tool("qemu-aarch64", package="qemu-user")
    require_tool("aarch64-linux-gnu-gcc", package="gcc-aarch64-linux-gnu")
    require_tool("arm-none-eabi-gcc", package="gcc-arm-none-eabi libnewlib-arm-none-eabi")
    inputs = np.arange(4, dtype=np.int8)[:, None]
    wide = measure_aarch64("cortex-a72", workload, inputs)
    np.testing.assert_array_equal(wide.logits, measure_firmware("m4", workload, inputs).logits)
