# SPDX-License-Identifier: Apache-2.0
"""Generated C under many compilers: no warning, no sanitizer report, no library call, no variables of its own."""

import itertools
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.reference_students import reference_student
from memkd_edge.benchmark.emulation.cores import CORES
from memkd_edge.metadata import Metadata, Resampling
from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.sensor_front_end import Sensor
from memkd_edge.toolchain import DEBIAN_PACKAGES
from memkd_edge.vocabulary import Reset
from memkd_edge.writers.c_float import emit_c_float
from memkd_edge.writers.c_integer import emit_c
from tests.quantization.helpers import random_model, random_series
from tests.writers.c_library import STRICT, write

MODELS = ("A", "stacked", "gru for counts", "float")
ARM = ("-mthumb", "-ffreestanding")
RISCV = ("-march=rv32imc", "-mabi=ilp32", "-ffreestanding")
FORMS = ((), ("-DMEMKD_MEDIUM",), ("-DMEMKD_SMALL",), ("-DMEMKD_PORTABLE",))


def require(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}: apt-get install {DEBIAN_PACKAGES.get(program, program)}")


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, tuple[Path, list[str]]]:
    """Folder and files to compile of each of MODELS."""
    stacked = quantize(random_model(ModelSpec(3, 5, 3, num_layers=2), 1), random_series(1, 4, 20, 3))
    sensor = Sensor((100.0, 250.0), (0.1, 3.0), (1.0, 2.0), Resampling("decimate", factor=2, taps=(0.25, 0.5, 0.25)))
    gru = quantize(random_model(ModelSpec(2, 7, 4, kind="gru"), 1), random_series(1, 4, 20, 2), sensor=sensor)
    files = {
        "A": emit_c(reference_student("A"), None, "demo"),
        "stacked": emit_c(stacked, None, "demo"),
        "gru for counts": emit_c(gru, None, "demo"),
        "float": emit_c_float(random_model(ModelSpec(2, 3, 2, num_layers=2), 1), None, "demo"),
    }
    folders = {name: tmp_path_factory.mktemp("c") for name in files}
    return {name: (folder, write(folder, files[name])) for name, folder in folders.items()}


def compile_each(sources, command: list[str], models=MODELS, forms=FORMS) -> None:
    """Compile all files of every model in every form; a warning fails."""
    for model, form in itertools.product(models, forms):
        folder, files = sources[model]
        done = subprocess.run([*command, *STRICT, *form, "-c", *files], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{model} {form}: {done.stderr}"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_host_compilers_have_nothing_to_warn_of(compiler, level, sources):
    require(compiler)
    compile_each(sources, [compiler, "-std=c99", level])


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_it_compiles_as_cpp_without_a_warning(standard, sources):
    require("g++")
    compile_each(sources, ["g++", "-x", "c++", f"-std={standard}", "-O1"])


@pytest.mark.parametrize("core", ["m0plus", "m3", "m4", "m7", "m33", "m55"])
def test_every_core_compiles_at_every_level_without_a_warning(core, sources):
    require("arm-none-eabi-gcc")
    for level in ("-O0", "-O2"):
        compile_each(sources, ["arm-none-eabi-gcc", *CORES[core].flags, *ARM, "-std=c99", level], models=("A", "gru for counts"))


def test_riscv_compiles_at_every_level_without_a_warning(sources):
    require("riscv64-unknown-elf-gcc")
    for level in ("-O0", "-O2"):
        command = ["riscv64-unknown-elf-gcc", "--specs=picolibc.specs", *RISCV, "-std=c99", level]
        compile_each(sources, command, models=("gru for counts",), forms=FORMS[:3])


@pytest.mark.parametrize("form", FORMS[:3], ids=["fast", "medium", "small"])
@pytest.mark.parametrize(
    ("core", "models"),
    [
        (("arm-none-eabi-gcc", *CORES["m4"].flags), ("A", "stacked", "gru for counts")),
        (("arm-none-eabi-gcc", *CORES["m55"].flags), ("A", "stacked", "gru for counts")),
        (("riscv64-unknown-elf-gcc", "--specs=picolibc.specs", *RISCV), ("stacked",)),
    ],
    ids=["m4", "m55", "rv32imc"],
)
def test_no_combination_of_options_runs_out_of_registers(core, models, form, sources):
    require(core[0])
    for options in (
        ["-O0", "-fno-omit-frame-pointer"],
        ["-Og", "-fPIC"],
        ["-O1", "-fno-omit-frame-pointer"],
        ["-O2", "-fno-schedule-insns"],
        ["-O2", "-fno-schedule-insns", "-fno-schedule-insns2"],
        ["-O3", "-funroll-loops"],
        ["-Os", "-fno-omit-frame-pointer"],
    ):
        compile_each(sources, [*core, "-std=c99", *options], models=models, forms=(form,))


@pytest.mark.parametrize("core", ["m0plus", "m4", "m55"])
def test_clang_compiles_for_cores_without_a_warning(core, sources):
    require("clang")
    require("arm-none-eabi-gcc")  # for newlib's headers
    include = subprocess.run(["arm-none-eabi-gcc", "-print-sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    headers = [path for path in (Path(include) / "include", Path("/usr/lib/arm-none-eabi/include")) if path.is_dir()]
    command = ["clang", "--target=arm-none-eabi", *CORES[core].flags, *ARM, "-isystem", str(headers[0]), "-std=c99"]
    for level in ("-O0", "-O2"):
        compile_each(sources, [*command, level], models=("A", "gru for counts"))


def test_clang_compiles_for_riscv_without_a_warning(sources):
    require("clang")
    headers = Path("/usr/lib/picolibc/riscv64-unknown-elf/include")
    if not headers.is_dir():
        pytest.skip("needs picolibc's headers: apt-get install picolibc-riscv64-unknown-elf")
    command = ["clang", "--target=riscv32", *RISCV, "-isystem", str(headers), "-std=c99"]
    for level in ("-O0", "-O2"):
        compile_each(sources, [*command, level], models=("stacked",), forms=FORMS[:3])


def test_cppcheck_has_nothing_to_say(sources):
    require("cppcheck")
    for model in MODELS:
        folder, files = sources[model]
        command = ["cppcheck", "--std=c99", "--enable=warning,style,performance,portability", "--error-exitcode=1", "-q", *files]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{model}: {done.stderr}"


@pytest.mark.parametrize("model", ["A", "float"])
def test_runtime_files_of_another_version_are_refused(model, sources, tmp_path):
    require("gcc")
    folder, _ = sources[model]
    text = (folder / "memkd_state.h").read_text()
    (tmp_path / "memkd_state.h").write_text(text.replace("MEMKD_RUNTIME_VERSION 1", "MEMKD_RUNTIME_VERSION 999"))
    for file in ("demo.c", "demo.h", *(path.name for path in folder.glob("memkd_*.h") if path.name != "memkd_state.h")):
        (tmp_path / file).write_text((folder / file).read_text())
    done = subprocess.run(["gcc", "-std=c99", "-fsyntax-only", "demo.c"], cwd=tmp_path, capture_output=True, text=True)
    assert "come from different versions of memkd-edge" in done.stderr


@pytest.mark.parametrize("file", ["demo.c", "demo_stream.c", "demo_monitor.c"])
@pytest.mark.parametrize("other", ["weights", "use"])
def test_a_header_of_another_export_is_refused(other, file, tmp_path):
    require("gcc")
    spec, signal = ModelSpec(2, 3, 2), random_series(1, 4, 20, 2)
    first, second = (quantize(random_model(spec, seed), signal) for seed in (1, 2))
    used = Metadata("", ("a", "b"), ("p", "q"), ("", ""), 50.0, (0.0, 0.0), (1.0, 1.0))
    header = emit_c(second, used, "demo") if other == "weights" else emit_c(first, replace(used, reset=Reset.NEVER), "demo")
    write(tmp_path, emit_c(first, used, "demo") | {"demo.h": header["demo.h"]})
    done = subprocess.run(["gcc", "-std=c99", "-fsyntax-only", file], cwd=tmp_path, capture_output=True, text=True)
    assert "this file and demo.h come from different exports" in done.stderr


# ---- what the objects hold ----


def symbols(folder: Path, file: str, *arguments: str) -> list[tuple[str, str]]:
    """(kind, name) of the symbols of an object."""
    text = subprocess.run(["arm-none-eabi-nm", *arguments, file], cwd=folder, capture_output=True, text=True, check=True).stdout
    return [(line.split()[-2], line.split()[-1]) for line in text.splitlines()]


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
@pytest.mark.parametrize("model", ["A", "stacked", "gru for counts"])
def test_the_integer_path_has_no_variables_and_calls_no_library(model, core, sources, tmp_path):
    require("arm-none-eabi-gcc")
    folder, files = sources[model]
    flags = ["-std=c99", "-O2", f"-mcpu={core}", *ARM, "-ffunction-sections", "-fdata-sections"]
    counts = "gru" in model
    calls = "demo_take_i16(&s, x, y); demo_take_i8(&s, x, z);" if counts else "demo_step_i16(&s, x, y); demo_step_i8(&s, z, z);"
    calls += f" demo_begin(&t); demo_gap(&t, 2); demo_push_i16(&t, x); demo_push_i8(&t, {'x' if counts else 'z'});"
    (folder / "main.c").write_text(f"""
        #include "demo.h"
        static demo_state_t s;
        static demo_stream_t t;
        static int16_t x[DEMO_CHANNELS], y[DEMO_CLASSES];
        static int8_t z[DEMO_CHANNELS + DEMO_CLASSES];
        void _start(void);
        void _start(void) {{ demo_init(&s); demo_reset(&s); {calls} (void)demo_argmax_i16(y); }}
    """)
    for file in files:
        subprocess.run(["arm-none-eabi-gcc", *flags, "-c", file], cwd=folder, check=True)
        kinds = {kind for kind, _ in symbols(folder, file.replace(".c", ".o"))}
        assert not kinds & set("dDbBC"), f"{file} has variables"
    # Nothing but the model is linked: an undefined symbol would be a library call.
    link = ["arm-none-eabi-gcc", *flags, "-nostdlib", "-Wl,--gc-sections", "main.c", *files, "-o", "alone.elf"]
    subprocess.run(link, cwd=folder, check=True)


# ---- undefined behaviour ----

FUZZ = """
#include "demo.h"
#include <stdio.h>
#include <string.h>

static uint32_t seed = 1;

static uint32_t next(void) {
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

/* Mostly random, often a limit. */
static int16_t word(void) {
    static const int16_t limits[] = {-32768, 32767, 0, -1, 1};
    return next() % 3u == 0 ? limits[next() % 5u] : (int16_t)(uint16_t)next();
}

int main(void) {
    uint32_t hash = 0;
    demo_state_t state;
    demo_stream_t stream16, stream8;
    demo_begin(&stream16);
    demo_begin(&stream8);
    for (int step = 0; step < 3000; step++) {
        int16_t x[DEMO_CHANNELS], logits[DEMO_CLASSES];
        INT8_INPUT x8[DEMO_CHANNELS];
        int8_t logits8[DEMO_CLASSES];
        float xf[DEMO_CHANNELS], logitsf[DEMO_CLASSES];
        uint8_t saved[DEMO_SAVE_BYTES];
        demo_init(&state);
        for (int u = 0; u < DEMO_HIDDEN * DEMO_LAYERS; u++) {
            (&state.h[0][0])[u] = word();
#ifdef CELL
            (&state.c[0][0])[u] = word();
#endif
        }
        for (int j = 0; j < DEMO_CHANNELS; j++) {
            x[j] = word();
            x8[j] = (INT8_INPUT)word();
            uint32_t bits = next() << 8 ^ next();
            memcpy(&xf[j], &bits, 4); /* infinities and NaN among them */
        }
        demo_step_i16(&state, x, logits);
        demo_step_i8(&state, x8, logits8);
        demo_step_f32(&state, xf, logitsf);
#ifdef PUSH
        demo_take_i16(&state, x, logits);
        demo_take_i8(&state, x, logits8);
#endif
        const uint32_t lost = next() % 4u != 0 ? 0u : next() % (DEMO_HOLD_SAMPLES + 3u);
        demo_gap(&stream16, lost);
        demo_gap(&stream8, lost * 1000u);
        hash = hash * 31u + (uint32_t)demo_push_i16(&stream16, x) + (uint32_t)demo_push_i8(&stream8, x8) * 5u;
        hash = hash * 31u + (uint32_t)demo_argmax_i16(logits) + (uint32_t)demo_argmax_i8(logits8) * 7u;
        hash = hash * 31u + (uint32_t)demo_argmax_f32(logitsf);
        for (int k = 0; k < DEMO_CLASSES; k++) {
            hash = hash * 31u + (uint16_t)logits[k];
        }
        demo_state_save(&state, saved);
        saved[next() % DEMO_SAVE_BYTES] ^= (uint8_t)(1u << next() % 8u);
        hash += (uint32_t)demo_state_load(&state, saved);
    }
    printf("%08lx\\n", (unsigned long)hash);
    return 0;
}
"""


@pytest.mark.parametrize("model", ["A", "stacked", "gru for counts"])
def test_fuzzing_under_sanitizers_reports_nothing_and_all_builds_agree(model, sources):
    require("gcc")
    folder, files = sources[model]
    (folder / "fuzz.c").write_text(FUZZ)
    counts = "gru" in model
    defines = ["-DINT8_INPUT=int16_t", "-DPUSH"] if counts else ["-DINT8_INPUT=int8_t", "-DCELL"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
    builds = [("gcc", ["-O2"]), *(("gcc", ["-O1", *form, *sanitizers]) for form in FORMS[:3])]
    if shutil.which("clang") is not None:
        builds.append(("clang", ["-O1", *sanitizers, "-fsanitize=float-cast-overflow"]))
    answers = set()
    for compiler, flags in builds:
        subprocess.run([compiler, "-std=c99", *flags, *defines, "fuzz.c", *files, "-lm", "-o", "fuzz"], cwd=folder, check=True)
        done = subprocess.run(["./fuzz"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{compiler} {flags}: {done.stderr}"
        answers.add(done.stdout)
    assert len(answers) == 1


def test_emitting_twice_gives_the_same_text():
    model = reference_student("B")
    assert emit_c(model, None, "demo") == emit_c(model, None, "demo")
    assert np.array_equal(model.head.bias, reference_student("B").head.bias)
