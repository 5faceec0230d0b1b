# SPDX-License-Identifier: Apache-2.0
"""Rows of TFLite Micro, on a stand-in: headers with its classes, and a library that is really cross-compiled, linked and run."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memkd_edge import toolchain
from memkd_edge.assets import asset_dir
from memkd_edge.benchmark.backends.tflm import TflmBuild
from memkd_edge.benchmark.builds import Builds
from memkd_edge.benchmark.emulation.cores import CORTEX_M
from memkd_edge.benchmark.emulation.image import CppLibrary
from memkd_edge.benchmark.pipeline import bench
from memkd_edge.cli.main import app
from memkd_edge.config import BenchConfig
from memkd_edge.errors import MemkdEdgeError, MissingToolError
from memkd_edge.vocabulary import FigureKind
from memkd_edge.writers.c_integer import emit_c
from memkd_edge.writers.tflite import write_tflite

from .conftest import make_run

STAND_IN_HEADERS = Path(__file__).resolve().parents[1] / "packages" / "stand_ins" / "tflm" / "tensorflow"
ARENA, ARENA_USED = 664, 600  # the runner tries multiples of 16: the least that suffices is 672
MODEL = """
#include "standin.h"
#define STAND_IN_ARENA_BYTES {arena}u
#define STAND_IN_ARENA_USED {used}u
#define MODEL_STATE standin_state_t
#define MODEL_VALUE model_value_t
#define MODEL_LAYERS STANDIN_LAYERS
#define MODEL_STEP stand_in_step
extern "C" void stand_in_kernel();
inline void stand_in_step(standin_state_t *state, const std::int8_t *x, std::int8_t *y) {{
    stand_in_kernel();
    standin_step_i8(state, x, y);
    y[1] += {off};
}}
inline void stand_in_step(standin_state_t *state, const std::int16_t *x, std::int16_t *y) {{
    stand_in_kernel();
    standin_step_i16(state, x, y);
}}
"""
KERNEL = "void stand_in_kernel(void) {}\n"
CMSIS_NN_KERNEL = f"""
void arm_fully_connected_s16(void) {{}}
void stand_in_kernel(void) {{ {'__asm__ volatile("nop");' * 100} }}
"""


@pytest.fixture(autouse=True)
def _tools(require_tool):
    require_tool("arm-none-eabi-gcc", "arm-none-eabi-g++", package=toolchain.DEBIAN_PACKAGES["arm-none-eabi-g++"])
    require_tool("qemu-system-arm", package="qemu-system-arm")
    try:
        toolchain.find_cxx()
    except MissingToolError as error:
        pytest.skip(str(error))


def stand_in(folder, run, *, arena=ARENA, off=0, forgets=False):
    """Write headers whose interpreter computes with the generated C of the run's student, which `library` compiles."""
    shutil.copytree(STAND_IN_HEADERS, folder / "tensorflow")
    builds = Builds(run, 4)
    for name, text in emit_c(builds.quantized, builds.metadata, "standin").items():
        (folder / name).write_text(text)
    model = MODEL.format(arena=arena, used=ARENA_USED, off=off)
    (folder / "stand_in_model.h").write_text(model + ("#define STAND_IN_FORGETS\n" if forgets else ""))
    return folder


def library(folder, place, *, flags=CORTEX_M["m4"].flags, kernel=KERNEL):
    """Compile the stand-in's "kernels" to libtensorflow-microlite.a in folder/place."""
    (folder / place).mkdir(parents=True, exist_ok=True)
    (folder / "kernel.c").write_text(kernel)
    objects = []
    for source in folder.glob("*.c"):
        objects.append(folder / f"{source.stem}.o")
        subprocess.run(["arm-none-eabi-gcc", *flags, "-O2", "-ffunction-sections", "-c", source, "-o", objects[-1]], check=True)
    archive = folder / place / "libtensorflow-microlite.a"
    subprocess.run(["arm-none-eabi-ar", "rcs", archive, *objects], check=True)
    return folder


def invoke(run, *arguments):
    result = CliRunner().invoke(app, ["bench", "--device", "nrf52840", "--run", str(run.path), "--steps", "6", *arguments])
    code = result.exception.exit_code if isinstance(result.exception, MemkdEdgeError) else result.exit_code
    return code, str(result.exception), result.stdout


def test_each_library_for_the_core_gives_a_row_for_each_file(run, tmp_path):
    folder = stand_in(tmp_path, run)
    library(folder, "gen/a_reference/lib")
    library(folder, "gen/b_cmsis_nn/lib", kernel=CMSIS_NN_KERNEL)
    library(folder, "gen/c_other_core/lib", flags=CORTEX_M["m0plus"].flags)
    report = bench(run, BenchConfig(device=("nrf52840",), steps=6, tflm_dir=str(folder))).devices[0]
    rows = {row.build: row for row in report.rows if row.model == "student"}
    names = [
        f"{interface} .tflite, TFLite Micro, {kernels} kernels"
        for kernels in ("reference", "CMSIS-NN")
        for interface in ("int8", "int16x8")
    ]
    assert [build for build in rows if "tflite" in build] == names
    builds = Builds(run, 6)
    places = {name: "gen/a_reference" if "reference" in name else "gen/b_cmsis_nn" for name in names}
    for name in names:
        figures = {key: figure.value for key, figure in rows[name].figures.items()}
        assert rows[name].figures["instructions"].kind == rows[name].figures["arena"].kind == FigureKind.EMULATED
        assert rows[name].note == (
            f"{places[name]}/lib/libtensorflow-microlite.a: state kept between calls, 6 steps equal to the integer reference"
        )
        file = write_tflite(builds.quantized, None, interface=name.split()[0], strip=True)
        assert figures["file"] == pytest.approx(len(file), abs=3)  # padded to words
        assert figures["flash"] == figures["file"] + figures["tables"] + figures["code"] + figures["library"]
        assert (figures["arena"], figures["arena_used"]) == (672, ARENA_USED)
        assert figures["state"] == 2 * 4 * 2  # h and c of 4 units
        assert figures["ram"] == figures["state"] + figures["static"] + figures["stack"] + 672
        # The interpreter and the resolver are static; the runner's arena, larger than needed, is not counted.
        assert 0 < figures["static"] < 500
        c_code = rows["int8 C"].figures
        assert figures["library"] >= c_code["code"].value  # the stand-in's kernels are the generated C
        assert c_code["instructions"].value / 2 < figures["instructions"] < c_code["instructions"].value + 2000
    for reference, cmsis_nn in zip(names[:2], names[2:], strict=True):
        counts = [rows[name].figures["instructions"].value for name in (reference, cmsis_nn)]
        assert counts[1] - counts[0] == 100


@pytest.mark.parametrize("core", ["m4", "m33", "m55"])
def test_the_least_arena_is_found_on_every_core_and_no_interpreter_destroyed_that_is_none(core, run, tmp_path):
    profile = (asset_dir("firmware_bench") / "devices" / "nrf5340.toml").read_text()
    (tmp_path / "board.toml").write_text(profile.replace('core = "m33"', f'core = "{core}"'))
    folder = library(stand_in(tmp_path / "tflm", run), "lib", flags=CORTEX_M[core].flags)
    config = BenchConfig(device=(str(tmp_path / "board.toml"),), steps=6, tflm_dir=str(folder))
    rows = [row for row in bench(run, config).devices[0].rows if "tflite" in row.build]
    assert [row.build.split()[0] for row in rows] == ["int8", "int16x8"]
    for row in rows:
        assert (row.figures["arena"].value, row.figures["arena_used"].value) == (672, ARENA_USED)
        assert "6 steps equal to the integer reference" in row.note


def test_a_gru_brings_its_own_operators_and_one_state(tmp_path):
    builds = Builds(make_run(tmp_path, student="gru", teacher="gru"), 4)
    build = TflmBuild(CppLibrary(Path("unused.a")), "unused.a", "reference kernels")
    header = builds.student_tflm("int16x8", build).source.sources["student.h"]
    assert "to->AddSub() == kTfLiteOk" in header
    assert "#define TFLM_STATES 1\n" in header
    assert "void student_step_i16(student_state_t *state, const int16_t x[], int16_t logits[]);" in header


def test_wrong_answers_end_with_exit_code_4(run, tmp_path):
    code, message, _ = invoke(run, "--tflm-dir", str(library(stand_in(tmp_path, run, off=1), "")))
    assert code == 4
    assert "nrf52840: student, int8 .tflite, TFLite Micro, reference kernels: 6 of 18 logits differ" in message
    assert "first at step 0, class 1" in message
    assert "state" not in message


def test_kernels_that_lose_the_state_are_found_out(run, tmp_path):
    code, message, _ = invoke(run, "--tflm-dir", str(library(stand_in(tmp_path, run, forgets=True), "")))
    assert code == 4
    assert "right from a reset, wrong with a state carried over: is it kept between calls?" in message


def test_a_model_that_tflite_micro_refuses_is_an_error(run, tmp_path):
    code, message, _ = invoke(run, "--tflm-dir", str(library(stand_in(tmp_path, run, arena=1 << 20), "")))
    assert code == 1
    assert "libtensorflow-microlite.a refused the model" in message


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda folder, run: folder, "no tensorflow/lite/micro/micro_interpreter.h"),
        (lambda folder, run: folder / "nowhere", "no tensorflow/lite/micro/micro_interpreter.h"),
        (stand_in, "no libtensorflow-microlite.a (looked for libtensorflow-microlite.a, lib/"),
        (
            lambda folder, run: library(stand_in(folder, run), "lib", flags=CORTEX_M["m0plus"].flags),
            "no library for Cortex-M4F, which is v7E-M, hard float: lib/libtensorflow-microlite.a is for v6S-M, soft float",
        ),
        (
            lambda folder, run: library(stand_in(folder, run), "lib", flags=("-mcpu=cortex-m4", "-mthumb")),
            "lib/libtensorflow-microlite.a is for v7E-M, soft float",
        ),
    ],
    ids=["empty", "nowhere", "headers only", "another core", "another float ABI"],
)
def test_a_folder_that_cannot_be_used_is_refused(make, expected, run, tmp_path):
    code, message, _ = invoke(run, "--tflm-dir", str(make(tmp_path, run)))
    assert code == 2
    assert expected in message
    assert "firmware_bench/README.md" in message


def test_a_file_that_is_no_library_is_refused(run, tmp_path):
    stand_in(tmp_path, run)
    (tmp_path / "libtensorflow-microlite.a").write_text("not an archive")
    code, message, _ = invoke(run, "--tflm-dir", str(tmp_path))
    assert code == 2
    assert "not a library of object files" in message


def test_a_header_and_a_function_that_are_missing_are_named(run, tmp_path):
    folder = library(stand_in(tmp_path, run), "")
    (folder / "standin.h").rename(folder / "renamed.h")
    code, message, _ = invoke(run, "--tflm-dir", str(folder))
    assert code == 2
    assert "no standin.h, which TFLite Micro includes; looked in third_party/flatbuffers/include" in message
    (folder / "renamed.h").rename(folder / "standin.h")
    subprocess.run(["arm-none-eabi-ar", "d", folder / "libtensorflow-microlite.a", "standin.o"], check=True)
    code, message, _ = invoke(run, "--tflm-dir", str(folder))
    assert code == 2
    assert "does not define standin_step_i8" in message


def test_linux_devices_have_no_such_rows(run, tmp_path):
    result = CliRunner().invoke(app, ["bench", "--device", "rpi4", "--run", str(run.path), "--tflm-dir", str(tmp_path)])
    assert result.exception.exit_code == 2
    assert "--tflm-dir adds rows to emulated microcontrollers, as nrf52840 is" in str(result.exception)


def test_a_missing_cplusplus_library_exits_3_and_names_the_package(run, tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "arm-none-eabi-g++").write_text("#!/bin/sh\necho libstdc++_nano.a\n")  # as g++ says of what it lacks
    (programs / "arm-none-eabi-g++").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    code, message, _ = invoke(run, "--tflm-dir", str(tmp_path))
    assert code == 3
    assert "apt-get install libstdc++-arm-none-eabi-newlib" in message
    checks = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    (check,) = [check for check in checks if check["name"] == "arm-none-eabi-g++"]
    assert not check["found"]
    assert "libstdc++-arm-none-eabi-newlib" in check["remedy"]
