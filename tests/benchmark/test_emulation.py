# SPDX-License-Identifier: Apache-2.0
"""The runner, the counting plugin and the linker's map, against a model that can be computed by hand."""

import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from memkd_edge import toolchain
from memkd_edge.benchmark.emulation.cores import CORES
from memkd_edge.benchmark.emulation.elf import symbols
from memkd_edge.benchmark.emulation.firmware import DoesNotFitError, build_firmware, measure_firmware
from memkd_edge.benchmark.emulation.image import CModel, write_sources
from memkd_edge.benchmark.emulation.qemu_user import measure_aarch64
from memkd_edge.errors import MemkdEdgeError, MissingToolError, UsageError

from .tiny_model import HEADER, SOURCE, TINY, WEIGHTS, inputs_int8, reference_int8


@pytest.fixture(autouse=True)
def _tools(require_tool):
    require_tool("arm-none-eabi-gcc", package="gcc-arm-none-eabi libnewlib-arm-none-eabi")
    require_tool("qemu-system-arm", package="qemu-system-arm")
    require_tool("qemu-aarch64", package="qemu-user")
    require_tool("aarch64-linux-gnu-gcc", package="gcc-aarch64-linux-gnu")
    require_tool("riscv64-unknown-elf-gcc", package="gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf")
    require_tool("qemu-system-riscv32", package="qemu-system-misc")


@pytest.mark.parametrize("core", CORES)
def test_each_core_gives_the_reference_logits(core):
    inputs = inputs_int8()
    measurement = measure_firmware(core, TINY, inputs)
    np.testing.assert_array_equal(measurement.logits, reference_int8(inputs))
    assert measurement.state_bytes == 4


def test_float_logits_arrive_bit_by_bit():
    inputs = (inputs_int8() / 7).astype(np.float32)
    emulated = [measure_firmware(core, TINY, inputs) for core in ("m4", "esp32c3")]
    for measurement in (*emulated, measure_aarch64("cortex-a72", TINY, inputs)):
        assert measurement.logits.dtype == np.float32
        np.testing.assert_allclose(measurement.logits, inputs @ WEIGHTS.T.astype(np.float32), rtol=1e-6)


def counted_model(instructions: int) -> CModel:
    """A model whose step is exactly that many one-instruction statements and a return."""
    body = "\n".join(['    __asm__ volatile("nop");'] * (instructions - 1))
    step = f"void tiny_step_i8(tiny_state_t *s, const int8_t x[2], int8_t y[3])\n{{\n    (void)s; (void)x; (void)y;\n{body}\n}}\n"
    source = '#include "tiny.h"\nvoid tiny_reset(tiny_state_t *s) { s->sum[0] = 0; }\n' + step
    return CModel("tiny", {"tiny.h": HEADER, "tiny.c": source})


@pytest.mark.parametrize(
    "measure",
    [
        lambda m, x: measure_firmware("m0plus", m, x),
        lambda m, x: measure_firmware("hazard3", m, x),
        lambda m, x: measure_aarch64("cortex-a53", m, x),
    ],
)
def test_the_count_grows_by_exactly_the_instructions_added(measure):
    inputs = inputs_int8(5)
    few, many = (measure(counted_model(count), inputs) for count in (10, 110))
    assert many.instructions_per_step - few.instructions_per_step == 100
    assert few.instructions_min == few.instructions_max
    assert 10 <= few.instructions_per_step <= 16  # the step, and the call with its arguments


def systick_instructions(model: CModel, inputs) -> float:
    """Mean instructions between the firmware's own SysTick readings, with QEMU's clock bound to the instruction count."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sources(folder, model, inputs, passes=1)
        machine = build_firmware(folder, "m4", model, output="output_semihosting.c")
        # fmt: off
        done = subprocess.run(
            ["qemu-system-arm", "-M", machine.name, "-kernel", "image.elf", "-nographic", "-monitor", "none", "-serial", "none",
             "-semihosting-config", "enable=on,target=native", "-icount", "shift=10,sleep=off,align=off"],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=True, text=True,
        )
        # fmt: on
    # One instruction is 1024 ns, one tick of the 25 MHz SysTick 40 ns.
    return float(np.mean([int(ticks) for ticks in re.findall(r"^ticks=(\d+)$", done.stdout, re.MULTILINE)])) * 40 / 1024


def test_the_plugin_agrees_with_systick_when_the_clock_counts_instructions():
    inputs = inputs_int8(6)
    models = (TINY, counted_model(200))
    by_plugin, by_systick = (
        [measure(model) for model in models]
        for measure in (
            lambda model: measure_firmware("m4", model, inputs).instructions_per_step,
            lambda model: systick_instructions(model, inputs),
        )
    )
    # The difference of two models: what the runner itself spends between its readings drops out.
    assert by_systick[1] - by_systick[0] == pytest.approx(by_plugin[1] - by_plugin[0], abs=0.1)


def test_two_runs_are_identical():
    inputs = inputs_int8()
    first, second = (measure_firmware("m33", TINY, inputs) for _ in range(2))
    assert first.profile == second.profile
    assert (first.instructions_per_step, first.sections, first.stack_bytes) == (
        second.instructions_per_step,
        second.sections,
        second.stack_bytes,
    )


def test_sections_are_those_of_the_compiled_objects():
    constants = "const int16_t tiny_big[100] = {1};\nconst int8_t tiny_table[64] = {2};\nstatic int32_t calls[5];\n"
    reading = SOURCE.replace(
        "state->sum[0] = 0;", "state->sum[0] = (int16_t)(tiny_big[calls[0]++ % 100] + tiny_table[calls[1] % 64]);"
    )
    model = CModel("tiny", {"tiny.h": HEADER, "tiny.c": reading.replace("static const", constants + "static const", 1)})
    sections = measure_firmware("m4", model, inputs_int8(3), flags=("-Os",)).sections
    assert sections.weights in (200, 206)  # the 6-byte weight matrix may be inlined
    assert sections.tables == 64
    assert sections.static == 20
    with tempfile.TemporaryDirectory() as folder:
        for name, text in model.sources.items():
            (Path(folder) / name).write_text(text)
        compiler = ["arm-none-eabi-gcc", *CORES["m4"].flags, "-Os", "-std=c99", "-c", "tiny.c", "-o", "tiny.o"]
        subprocess.run(compiler, cwd=folder, check=True)
        size = subprocess.run(
            ["arm-none-eabi-size", "-A", "tiny.o"], cwd=folder, check=True, capture_output=True, text=True
        ).stdout
        text_bytes = int(re.search(r"^\.text\s+(\d+)", size, re.MULTILINE)[1])
    # The float step is not called here and the linker drops it.
    assert 0 < sections.code < text_bytes


def test_stack_use_is_seen():
    greedy = SOURCE.replace(
        "for (int j = 0; j < 2; j++) {",
        "volatile uint8_t scratch[256]; for (int i = 0; i < 256; i++) { scratch[i] = 1; }\n for (int j = 0; j < 2; j++) {",
        1,
    )
    model = CModel("tiny", {"tiny.h": HEADER, "tiny.c": greedy})
    inputs = inputs_int8(3)
    for frugal, deep in (
        (measure_firmware("m4", TINY, inputs), measure_firmware("m4", model, inputs)),
        (measure_firmware("esp32c3", TINY, inputs), measure_firmware("esp32c3", model, inputs)),
        (measure_aarch64("cortex-a72", TINY, inputs), measure_aarch64("cortex-a72", model, inputs)),
    ):
        assert 256 <= deep.stack_bytes - frugal.stack_bytes <= 288


def test_a_model_too_large_is_refused_with_bytes_needed_and_available():
    with pytest.raises(DoesNotFitError) as caught:
        measure_firmware("m4", TINY, inputs_int8(), flash_bytes=1024, ram_bytes=4096)
    assert caught.value.available == {"FLASH": 1024, "RAM": 4096}
    assert 1024 < caught.value.needed["FLASH"] < 4096
    assert "RAM" not in caught.value.needed
    assert f"{caught.value.needed['FLASH'] - 1024:,} B too many" in str(caught.value)


def test_an_m0_image_beyond_the_microbit_runs_on_a_larger_machine():
    filler = "const uint8_t tiny_filler[300000] = {1};\n"
    source = SOURCE.replace("static const", filler + "static const", 1).replace(
        "state->sum[0] = 0;", "state->sum[0] = tiny_filler[9];"
    )
    # The filler is read through a volatile index, or the compiler would fold it away.
    source = source.replace("tiny_filler[9]", "tiny_filler[*(volatile int *)state->sum & 1023]")
    inputs = inputs_int8(3)
    measurement = measure_firmware("m0plus", CModel("tiny", {"tiny.h": HEADER, "tiny.c": source}), inputs)
    assert measurement.sections.weights >= 300000


@pytest.mark.parametrize(("core", "undefined"), [("m0plus", "udf #0"), ("esp32c3", "unimp")])
def test_a_hardware_fault_is_reported(core, undefined):
    source = SOURCE.replace("state->sum[0] = 0;", f'__asm__ volatile("{undefined}");')
    with pytest.raises(MemkdEdgeError, match="fault"):
        measure_firmware(core, CModel("tiny", {"tiny.h": HEADER, "tiny.c": source}), inputs_int8(2))


def test_an_emulator_that_hangs_is_ended():
    source = SOURCE.replace("state->sum[0] = 0;", 'for (;;) { __asm__ volatile(""); }')
    model = CModel("tiny", {"tiny.h": HEADER, "tiny.c": source})
    with pytest.raises(MemkdEdgeError, match=r"qemu-aarch64 did not end within 0\.5 s"):
        measure_aarch64("cortex-a72", model, inputs_int8(2), timeout_s=0.5)
    with pytest.raises(MemkdEdgeError, match=r"qemu-system-arm did not end within 0\.5 s"):
        measure_firmware("m4", model, inputs_int8(2), timeout_s=0.5)


def test_sources_that_do_not_compile_show_the_compiler_s_words():
    model = CModel("tiny", {"tiny.h": HEADER, "tiny.c": "int broken("})
    with pytest.raises(MemkdEdgeError, match="arm-none-eabi-gcc failed"):
        measure_firmware("m4", model, inputs_int8(2))


def test_an_unknown_core_is_refused():
    with pytest.raises(UsageError, match="m0plus"):
        measure_firmware("m99", TINY, inputs_int8(2))
    with pytest.raises(UsageError, match="cortex-a72"):
        measure_aarch64("cortex-x9", TINY, inputs_int8(2))


def test_a_missing_tool_names_its_package(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingToolError, match="apt-get install gcc-arm-none-eabi"):
        measure_firmware("m4", TINY, inputs_int8(2))
    with pytest.raises(MissingToolError, match="apt-get install qemu-user"):
        measure_aarch64("cortex-a72", TINY, inputs_int8(2))


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(MemkdEdgeError, match=r"cannot write .*XDG_CACHE_HOME"):
        measure_aarch64("cortex-a72", TINY, inputs_int8(2))


def test_the_runner_pulls_no_library_into_the_image():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sources(folder, TINY, inputs_int8(2), passes=1)
        build_firmware(folder, "m0plus", TINY, output="output_semihosting.c")
        pulled = (folder / "image.map").read_text().split("Discarded input sections")[0]
        assert "tiny.o (__aeabi_fadd)" in pulled  # the float step, on a core without FPU
        assert "runner.o (" not in pulled
        assert "port_cortex_m.o (" not in pulled
        assert "bench_begin" in symbols(folder / "image.elf", toolchain.find("arm-none-eabi-nm"))
