# SPDX-License-Identifier: Apache-2.0
"""Firmware packages: each is generated, built as its build system would build it, and run.

CMake and make are the real ones. For Arduino, PlatformIO, Zephyr, ESP-IDF and TFLite Micro the folder stand_ins/ has the few
functions that the packages use; their manifests are checked against each system's rules, given below as data with their source.
"""

import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memkd_edge.assets import asset_dir
from memkd_edge.benchmark.emulation.cores import CORES
from memkd_edge.board_stream import Reading, readings
from memkd_edge.config import ExportConfig
from memkd_edge.data.normalisation import normalise
from memkd_edge.errors import UsageError
from memkd_edge.exporting.pipeline import export
from memkd_edge.formats.step_interface import tflite_step
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.metadata import Metadata, Resampling, SignalRange
from memkd_edge.packages import arena
from memkd_edge.packages.folders import KINDS, package_files
from memkd_edge.packages.selftest import STEPS, self_test
from memkd_edge.packages.tflm import operator_methods
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.quantization.sensor_front_end import Sensor
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.toolchain import DEBIAN_PACKAGES
from memkd_edge.verification.runtimes import RUNTIMES, Job, stream
from memkd_edge.vocabulary import Arithmetic, Decision, Reset
from memkd_edge.writers.c_text import comment_text
from memkd_edge.writers.tflite import write_tflite
from tests.writers import toy

ROOT = Path(__file__).resolve().parents[2]
STAND_INS = Path(__file__).parent / "stand_ins"
NAME = "gesture"
LABELS = ("rest", 'jump "x"', "run */", "ünder|100%")
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wdouble-promotion", "-Wundef", "-Werror"]
C_KINDS = tuple(kind for kind in KINDS if kind != "tflm")
EMULATOR_OPTIONS = ["-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]
# Where each kind has its C sources.
SOURCES = {"platformio": f"lib/{NAME}/src", "esp-idf": f"components/{NAME}/src"}


@pytest.fixture(scope="module")
def model() -> QuantizedClassifier:
    quantized = quantize(toy.student(), toy.series())
    return quantized


@pytest.fixture(scope="module")
def metadata() -> Metadata:
    return replace(toy.metadata(), labels=LABELS, units=("m/s2", "%", 'x "y" */'), warm_up=5, accuracy=0.9, run_id="0123abcd")


@pytest.fixture(scope="module")
def generated(model: QuantizedClassifier, metadata: Metadata) -> Callable[[str], dict[str, bytes]]:
    """Return a function that gives the files of a kind; each is generated once."""
    packages: dict[str, dict[str, bytes]] = {}

    def generate(kind: str) -> dict[str, bytes]:
        if kind not in packages:
            packages[kind] = package_files(kind, model, metadata, name=NAME)
        return packages[kind]

    return generate


@pytest.fixture
def package(generated: Callable[[str], dict[str, bytes]], tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a package and gives its folder, named as the exporter names it."""
    return lambda kind: write(generated(kind), tmp_path / f"{NAME}-{kind}")


def write(files: dict[str, bytes], folder: Path) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command that must succeed; return what it printed. A make among them is none of the make that runs the tests."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=outside, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compile_c(source: Path, *includes: Path, standard: str = "c99", flags: tuple[str, ...] = ()) -> Path:
    compiler = "g++" if standard.startswith("c++") else "gcc"
    target = source.with_suffix(source.suffix + ".o")
    run(compiler, f"-std={standard}", "-O1", *STRICT, *flags, *(f"-I{folder}" for folder in includes), "-c", source, "-o", target)
    return target


def assert_streams(output: str) -> None:
    """A program passed its self-test and printed decisions, all of them labels."""
    first, *decisions = output.splitlines()
    assert first.startswith("self-test passed")
    assert decisions
    assert set(decisions) <= set(LABELS)


@pytest.fixture(autouse=True)
def compilers(require_tool) -> None:
    require_tool("gcc", "g++", package="gcc g++")


# ---- contents ----


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_has_sources_example_self_test_and_readme(kind, generated):
    files = generated(kind)
    assert "README.md" in files
    assert any("self-test passed" in text.decode() for path, text in files.items() if "README" not in path)
    folder = SOURCES.get(kind, "src")
    wanted = [f"{NAME}_model_data.cc", f"{NAME}_tflm.cc"] if kind == "tflm" else [f"{NAME}.c", f"{NAME}_selftest.c"]
    assert {f"{folder}/{file}" for file in wanted} <= files.keys()
    assert not any("{{" in text.decode() or "{%" in text.decode() for text in files.values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_names_its_licence_and_the_folder_holds_it(kind, generated):
    files = generated(kind)
    assert files["LICENSE"] == (ROOT / "LICENSE").read_bytes()
    without = {path for path, text in files.items() if b"SPDX-License-Identifier: Apache-2.0" not in text.split(b"\n")[0]}
    assert {Path(path).name for path in without} <= {"LICENSE", "README.md", "library.json"}  # where no comment can stand


@pytest.mark.parametrize("text", ["end */ of", "a *\\ b", "???/", "??/", "/* and /", "line\n#define x", "tail\\"])
def test_no_text_leaves_its_comment(text):
    comment = comment_text(text)
    assert "*/" not in comment
    assert "/*" not in comment
    assert "??" not in comment
    assert not set(comment) & {"\n", "\\"}


@pytest.mark.parametrize("kind", ["c", "tflm"])
def test_the_same_export_gives_the_same_bytes(kind, generated, model, metadata):
    assert package_files(kind, model, metadata, name=NAME) == generated(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_readme_states_what_a_firmware_engineer_needs(kind, generated):
    readme = " ".join(generated(kind)["README.md"].decode().split())
    for fact in (
        "50 Hz",
        "It decides at every sample after the first 14 samples.",
        "windows of 30 samples, so two states run half a window apart",
        "channel 0",
        "m/s2",
        f"{44 if kind == 'tflm' else 32} | exact",
        "rest, jump",
        "0123abcd",
    ):
        assert fact in readme, fact


@pytest.mark.parametrize(
    ("resampling", "fact"),
    [
        (Resampling("linear", 101, 51), "interpolated to 51 steps. Feed one value a step: 25 Hz"),
        (Resampling("decimate", 30, 10, 3, (0.25, 0.5, 0.25)), "every 3th sample. Feed one value a step: 16.67 Hz"),
    ],
)
def test_the_readme_tells_how_to_resample(resampling, fact, model, metadata):
    files = package_files("c", model, replace(metadata, resampling=resampling), name=NAME)
    assert fact in files["README.md"].decode()
    fed = re.search(r"one value a step: ([\d.]+) Hz", fact)
    assert fed is not None
    assert f"({fed[1]} a second)" in files["example/main.c"].decode()


def test_unknown_kinds_and_impossible_names_are_refused(model, metadata):
    with pytest.raises(UsageError, match="no package 'mbed'; choose c, cmake"):
        package_files("mbed", model, metadata, name=NAME)
    for name in ("Gesture", "two words", "a__b", "tail_", "int"):
        with pytest.raises(UsageError, match="cannot name"):
            package_files("c", model, metadata, name=name)


def test_export_writes_the_package_beside_the_model_file(tmp_path):
    run_directory = toy.make_run(tmp_path, toy.student())
    report = export(run_directory, ExportConfig(package="c"))
    folder = run_directory.path / "export" / "toy_set_1-c"
    assert folder / "src" / "toy_set_1_selftest.c" in report.files
    assert "trained on toy" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("student", "options", "message"),
    [
        ("lstm", {"format": "onnx", "quantize": "int8"}, "take --quantize int8 or int16x8, and no --format onnx"),
        ("lstm", {"quantize": "float32"}, "take --quantize int8 or int16x8"),
        ("lstm", {"package": "cmak"}, "--package cmak: choose c, cmake"),
        ("lstm", {"package": "tflm", "input": "raw", "counts_per_unit": (1000.0,) * 3}, "leave out --input raw"),
    ],
)
def test_students_and_options_without_a_package_are_refused(student, options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        export(toy.make_run(tmp_path, toy.student(student)), ExportConfig(**{"package": "c", **options}))


# ---- golden vectors ----


def test_the_self_test_covers_saturation_and_several_classes(model, metadata):
    test = self_test(model, metadata)
    assert test.x_float.shape == (STEPS, model.input_size)
    assert {test.x_int16.min(), test.x_int16.max()} == {-32768, 32767}
    assert len(np.unique(test.logits_int16, axis=0)) == STEPS
    assert len(set(test.logits_int8.argmax(axis=1))) > 1


def test_a_float_sample_of_the_self_test_stays_clear_of_where_rounding_turns(model, metadata):
    # A channel whose mean is large against its spread: float32 has few steps left there.
    coarse = replace(metadata, mean=(1e5, -300.0, 0.0), std=(0.25, 1.0, 1e-3))
    test = self_test(model, coarse)
    exact = (test.x_float.astype(np.float64) - coarse.mean) / np.float64(coarse.std) / model.layers[0].state_scale
    inside = np.abs(exact) < 32767
    assert inside.mean() > 0.8
    assert np.abs(exact - test.x_int16)[inside].max() < 0.4


# ---- builds ----


@pytest.mark.parametrize("kind", C_KINDS)
def test_sources_compile_without_a_warning(kind, package):
    folder = package(kind) / SOURCES.get(kind, "src")
    for source in sorted(folder.glob("*.c")):
        compile_c(source, folder)


@pytest.mark.parametrize("kind", KINDS)
def test_the_readmes_code_compiles_without_a_warning(kind, package, tmp_path):
    compile_readme(kind, package(kind), package, tmp_path)


# What its author is likely to call a variable, or we did.
@pytest.mark.parametrize("name", ["classifier", "arena", "model", "sample"])
@pytest.mark.parametrize("kind", ["c", "tflm"])
def test_a_model_may_be_called_as_what_examples_speak_of(kind, name, model, metadata, package, tmp_path):
    folder = write(package_files(kind, model, metadata, name=name), tmp_path / name)
    compile_readme(kind, folder, package, tmp_path)
    if kind == "c":
        compile_c(folder / "example/main.c", folder / "src")
    else:
        includes = [folder / "src", *tflm_stand_in(tmp_path, package("c") / "src")]
        compile_c(folder / "example/main.cc", *includes, standard="c++17")


def compile_readme(kind: str, folder: Path, package: Callable[[str], Path], tmp_path: Path) -> None:
    blocks = re.findall(r"```(c|cpp)\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert blocks
    for number, (language, code) in enumerate(blocks):
        source = tmp_path / f"readme{number}.{language}"
        source.write_text(code)
        includes = [folder / SOURCES.get(kind, "src")]
        if language == "cpp":
            compile_c(source, *includes, *tflm_stand_in(tmp_path, package("c") / "src"), standard="c++17")
        else:
            compile_c(source, *includes)


@pytest.mark.parametrize("flags", ["-O2", "-O2 -DMEMKD_MEDIUM", "-Os -DMEMKD_SMALL", "-Ofast -DMEMKD_PORTABLE"])
def test_the_c_package_passes_its_own_check(flags, package, require_tool):
    require_tool("make", package="make")
    output = run("make", "-s", "check", f"CFLAGS={flags} {' '.join(STRICT)}", cwd=package("c"))
    assert_streams(output)


def test_the_c_package_is_built_anew_for_another_compiler(package, require_tool):
    require_tool("make", package="make")
    require_tool("arm-none-eabi-gcc", "arm-none-eabi-ar", package="gcc-arm-none-eabi libnewlib-arm-none-eabi")
    require_tool("riscv64-unknown-elf-gcc", package="gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf")
    folder = package("c")

    def machines() -> set[int]:
        """What the ELF headers of the objects name."""
        return {int.from_bytes(path.read_bytes()[18:20], "little") for path in (folder / "build").glob("*.o")}

    run("make", "-s", "check", cwd=folder)
    host = machines()
    assert run("make", f"lib{NAME}.a", cwd=folder) == ""  # nothing to do
    for tools, flags, machine in (
        ("arm-none-eabi-", "-mcpu=cortex-m4 -mthumb", 40),
        ("riscv64-unknown-elf-", "-march=rv32imc -mabi=ilp32 --specs=picolibc.specs", 243),
    ):
        cross = [f"CC={tools}gcc", f"AR={tools}ar", f"CFLAGS=-O2 {flags}", f"lib{NAME}.a"]
        run("make", *cross, cwd=folder)
        assert machines() == {machine} != host
        assert run("make", *cross, cwd=folder) == ""
    assert_streams(run("make", "-s", "check", cwd=folder))


@pytest.mark.parametrize(("channels", "hidden", "classes", "layers"), [(1, 3, 2, 2), (16, 8, 60, 1)])
def test_packages_of_other_shapes_pass_their_self_tests(channels, hidden, classes, layers, tmp_path, require_tool):
    require_tool("make", package="make")
    quantized = quantize(toy.student("lstm", channels, hidden, classes, layers), toy.series(channels=channels))
    described = toy.metadata(channels, classes)
    packages = {kind: write(package_files(kind, quantized, described, name=NAME), tmp_path / kind) for kind in ("c", "tflm")}
    assert run("make", "-s", "check", cwd=packages["c"]).startswith("self-test passed")
    assert run(build_tflm(packages.__getitem__, tmp_path)).startswith("self-test passed")


@pytest.mark.parametrize("student", ["lstm", "gru"])
@pytest.mark.parametrize("resampling", [Resampling(), Resampling("decimate", 30, 10, 3, (0.25, 0.5, 0.25))])
def test_packages_of_models_for_sensor_counts_pass_their_self_tests(student, resampling, metadata, tmp_path, require_tool):
    require_tool("make", package="make")
    described = replace(metadata, resampling=resampling)
    sensor = Sensor((100.0, -2048.0, 16.4), metadata.mean, metadata.std, resampling)
    quantized = quantize(toy.student(student), toy.series(), sensor=sensor)
    folder = write(package_files("c", quantized, described, name=NAME), tmp_path / "c")
    assert_streams(run("make", "-s", "check", f"CFLAGS=-O2 {' '.join(STRICT)}", cwd=folder))
    readme = (folder / "README.md").read_text()
    assert "16.4 for 1 x" in readme
    assert ("decides with every 3th" in readme) == (resampling.factor == 3)
    (source,) = re.findall(r"```c\n(.*?)```", readme, re.S)
    (folder / "readme.c").write_text(source)
    compile_c(folder / "readme.c", folder / "src")
    arduino = write(package_files("arduino", quantized, described, name=NAME), tmp_path / "arduino")
    assert_streams(run(build_sketch(arduino / "src", arduino / "examples/stream/stream.ino", tmp_path)))


def test_a_gru_has_packages_too(package, metadata, tmp_path, require_tool):
    require_tool("make", package="make")
    quantized = quantize(toy.student("gru"), toy.series())
    folder = write(package_files("c", quantized, metadata, name=NAME), tmp_path / "gru")
    assert_streams(run("make", "-s", "check", f"CFLAGS=-O2 {' '.join(STRICT)}", cwd=folder))
    assert "| in it, each of two states | 16 | exact |" in (folder / "README.md").read_text()
    tflm = write(package_files("tflm", quantized, metadata, name=NAME), tmp_path / "gru-tflm")
    assert "operators_.AddSub()" in (tflm / "src" / f"{NAME}_tflm.cc").read_text()
    includes = [tflm / "src", *tflm_stand_in(tmp_path, package("c") / "src")]
    compile_c(tflm / "src" / f"{NAME}_tflm.cc", *includes, standard="c++17")


@pytest.mark.parametrize("entry", ["i16", "i8", "f32"])
def test_a_wrong_golden_vector_fails_the_self_test(entry, package, require_tool):
    require_tool("make", package="make")
    folder = package("c")
    source = folder / "src" / f"{NAME}_selftest.c"
    table = {"i16": "logits_i16", "i8": "logits_i8", "f32": "samples_f32"}[entry]
    text = source.read_text()
    row = re.search(rf"{table}\[.*?\] = {{\n    {{([^,]*),", text)
    assert row is not None
    changed = f"{float(row[1].rstrip('f')) + 1.0}f" if entry == "f32" else str(int(row[1]) - 1)
    source.write_text(text[: row.start(1)] + changed + text[row.end(1) :])
    done = subprocess.run(["make", "-s", "check"], cwd=folder, capture_output=True, text=True)
    assert done.returncode != 0
    wrong = re.search(r"self-test failed: (\d+) wrong", done.stdout)
    assert wrong is not None
    assert int(wrong[1]) >= 1


def test_a_wrong_weight_fails_the_self_test(package, require_tool):
    require_tool("make", package="make")
    folder = package("c")
    source = folder / "src" / f"{NAME}.c"
    text = source.read_text()
    source.write_text(re.sub(r"MEMKD_WEIGHTS\((-?\d+)", lambda m: f"MEMKD_WEIGHTS({int(m[1]) // 2 + 3}", text, count=1))
    assert source.read_text() != text
    done = subprocess.run(["make", "-s", "check"], cwd=folder, capture_output=True, text=True)
    assert "self-test failed" in done.stdout


def test_the_cmake_package_builds_tests_installs_and_is_found(package, tmp_path, require_tool):
    require_tool("cmake", package="cmake")
    folder, prefix = package("cmake"), tmp_path / "prefix"
    run("cmake", "-S", folder, "-B", tmp_path / "build", f"-DCMAKE_C_FLAGS={' '.join(STRICT)}", "-DCMAKE_BUILD_TYPE=Release")
    run("cmake", "--build", tmp_path / "build")
    assert "100% tests passed, 0 tests failed out of 1" in run("ctest", "--test-dir", tmp_path / "build")
    run("cmake", "--install", tmp_path / "build", "--prefix", prefix)
    added, found = re.findall(r"```cmake\n(.*?)```", (folder / "README.md").read_text(), re.S)
    for how, lines in (("added", added), ("found", found)):
        project = tmp_path / how
        project.mkdir()
        shutil.copy(folder / "example" / "main.c", project)
        start = "cmake_minimum_required(VERSION 3.13)\nproject(firmware C)\nadd_executable(firmware main.c)\n"
        (project / "CMakeLists.txt").write_text(start + lines)
        if how == "added":
            shutil.copytree(folder, project / folder.name)
        run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
        run("cmake", "--build", project / "build")
        assert_streams(run(project / "build" / "firmware"))


@pytest.mark.parametrize("kind", ["arduino", "platformio"])
def test_the_arduino_example_builds_as_cpp_and_runs(kind, package, tmp_path):
    folder = package(kind)
    sketch = folder / ("examples/stream/stream.ino" if kind == "arduino" else "src/main.cpp")
    assert_streams(run(build_sketch(folder / SOURCES.get(kind, "src"), sketch, tmp_path)))


# Also of a signal in volts, with a deviation of 0.3 mV.
@pytest.mark.parametrize("second", [(1.0, 2.5), (-1.23456e-4, 3e-4)])
def test_the_recording_sketch_says_what_record_reads(second, model, metadata, tmp_path):
    mean, std = ((first, own, last) for (first, _, last), own in zip((metadata.mean, metadata.std), second, strict=True))
    described = replace(metadata, mean=mean, std=std)
    folder = write(package_files("arduino", model, described, name=NAME), tmp_path / "arduino")
    heard = recorded_by_the_sketch(folder, tmp_path)
    assert heard[0].channels == metadata.channels
    assert heard[0].units == metadata.units
    assert (np.abs(np.subtract([one.values for one in heard], described.mean)) <= np.divide(described.std, 1000)).all()


def test_the_recording_sketch_says_counts_in_the_units_that_it_names(metadata, tmp_path):
    sensor = Sensor((100.0, -2048.0, 16.4), metadata.mean, metadata.std, Resampling())
    counted = quantize(toy.student(), toy.series(), sensor=sensor)
    folder = write(package_files("arduino", counted, metadata, name=NAME), tmp_path / "arduino")
    sketch = folder / "examples/record/record.ino"
    sketch.write_text(sketch.read_text().replace("x[j] = 0;", "x[j] = static_cast<int16_t>(1000 * (j + 1));"))
    heard = recorded_by_the_sketch(folder, tmp_path)
    assert heard[0].units == metadata.units
    np.testing.assert_allclose([one.values for one in heard], [(10.0, -0.97656, 182.92683)] * 64, atol=1e-3)


def recorded_by_the_sketch(folder: Path, tmp_path: Path) -> list[Reading]:
    """What `record` reads of the 64 samples that an Arduino package's sketch says."""
    said = run(build_sketch(folder / "src", folder / "examples/record/record.ino", tmp_path))
    port = io.BytesIO(b"\n" + said.encode())

    class Port:
        in_waiting = 256

        def read(self, size):
            return port.read(size) or b"the end\n"

    return list(itertools.islice(readings(Port()), 64))


def build_sketch(sources: Path, sketch: Path, folder: Path) -> Path:
    """Build an Arduino sketch and the library in `sources` on the stand-in of the Arduino core."""
    # The Arduino builder puts this line before a sketch.
    (folder / "sketch.cpp").write_text("#include <Arduino.h>\n" + sketch.read_text())
    core = STAND_INS / "arduino"
    shutil.copy(core / "main.cpp", folder)
    objects = [compile_c(source, sources) for source in sorted(sources.glob("*.c"))]
    objects += [compile_c(folder / name, sources, core, standard="c++11") for name in ("sketch.cpp", "main.cpp")]
    run("g++", *objects, "-o", folder / "sketch")
    return folder / "sketch"


def assert_form(form: str | None, program: Path) -> None:
    """Assert that a program holds the table of its form of the runtime."""
    symbols = run("nm", program)
    assert ("memkd_sigmoid_table" in symbols) == (form is not None)
    assert ("memkd_segment_table" in symbols) == (form is None)


@pytest.mark.parametrize("form", [None, "MEDIUM", "SMALL"])
def test_the_zephyr_module_builds_and_its_sample_runs(form, package, tmp_path, require_tool):
    require_tool("cmake", package="cmake")
    folder = package("zephyr")
    config = (folder / "samples/stream/prj.conf").read_text() + (f"CONFIG_{NAME.upper()}_SELFTEST=y\n")
    settings = [line.replace("=", " ") for line in config.splitlines() if not line.startswith("#")]
    settings += [f"CONFIG_MEMKD_{form} y"] if form else []
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(app C)\n"
        + f'set(STAND_INS "{STAND_INS}")\nset(CMAKE_C_FLAGS "{" ".join(STRICT)}")\n'
        + "".join(f"set({setting})\n" for setting in settings)
        + f"include({STAND_INS}/cmake/zephyr.cmake)\nadd_subdirectory({folder.name})\n"
        + f"target_sources(app PRIVATE {folder.name}/samples/stream/src/main.c)\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    run("cmake", "--build", tmp_path / "build")
    assert_form(form, tmp_path / "build" / "app")
    assert_streams(run(tmp_path / "build" / "app"))


@pytest.mark.parametrize("form", [None, "MEDIUM", "SMALL"])
def test_the_esp_idf_project_builds_and_runs(form, package, tmp_path, require_tool):
    require_tool("cmake", package="cmake")
    folder = package("esp-idf")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(app C)\n"
        + f'set(STAND_INS "{STAND_INS}")\nset(CMAKE_C_FLAGS "{" ".join(STRICT)}")\n'
        + (f"set(CONFIG_{NAME.upper()}_{form} y)\n" if form else "")
        + f"include({STAND_INS}/cmake/esp-idf.cmake)\n"
        + f"add_subdirectory({folder.name}/components/{NAME})\nadd_subdirectory({folder.name}/main)\n"
        + f"add_executable(app {STAND_INS}/esp-idf/main.c)\n"
        + f"target_include_directories(app PRIVATE {STAND_INS}/esp-idf)\ntarget_link_libraries(app PRIVATE main)\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    run("cmake", "--build", tmp_path / "build")
    assert_form(form, tmp_path / "build" / "app")
    assert_streams(run(tmp_path / "build" / "app"))


def test_esp_idf_components_of_different_forms_link_into_one_image(model, metadata, tmp_path, require_tool):
    """Each component has its own menu and brings the runtime along."""
    require_tool("cmake", package="cmake")
    forms = {"one": "", "two": "set(CONFIG_TWO_MEDIUM y)\n", "three": "set(CONFIG_THREE_SMALL y)\n"}
    for name in forms:
        write(package_files("esp-idf", model, metadata, name=name), tmp_path / name)
    (tmp_path / "main.c").write_text(
        "".join(f'#include "{name}_selftest.h"\n' for name in forms)
        + f"int main(void) {{ return {' + '.join(f'{name}_selftest()' for name in forms)}; }}\n"
    )
    (tmp_path / "CMakeLists.txt").write_text(
        f'cmake_minimum_required(VERSION 3.16)\nproject(app C)\nset(STAND_INS "{STAND_INS}")\n'
        + "".join(forms.values())
        + f"include({STAND_INS}/cmake/esp-idf.cmake)\n"
        + "".join(f"add_subdirectory({name}/components/{name})\n" for name in forms)
        + f"add_executable(app main.c)\ntarget_link_libraries(app PRIVATE {' '.join(forms)})\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    run("cmake", "--build", tmp_path / "build")
    run(tmp_path / "build" / "app")


def test_two_zephyr_modules_link_into_one_image(model, metadata, tmp_path, require_tool):
    require_tool("cmake", package="cmake")
    for name in ("one", "two"):
        write(package_files("zephyr", model, metadata, name=name), tmp_path / name)
    (tmp_path / "main.c").write_text(
        '#include "one_selftest.h"\n#include "two_selftest.h"\nint main(void) { return one_selftest() + two_selftest(); }\n'
    )
    (tmp_path / "CMakeLists.txt").write_text(
        f'cmake_minimum_required(VERSION 3.20)\nproject(app C)\nset(STAND_INS "{STAND_INS}")\n'
        + "".join(f"set(CONFIG_{name} y)\nset(CONFIG_{name}_SELFTEST y)\n" for name in ("ONE", "TWO"))
        + f"include({STAND_INS}/cmake/zephyr.cmake)\nadd_subdirectory(one)\nadd_subdirectory(two)\n"
        + "target_sources(app PRIVATE main.c)\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    run("cmake", "--build", tmp_path / "build")
    run(tmp_path / "build" / "app")


@pytest.mark.parametrize("core", ["m0plus", "m4", "m33", "m55", "esp32c3", "hazard3"])
@pytest.mark.parametrize("flags", [("-O2",), ("-O2", "-DMEMKD_MEDIUM"), ("-Os", "-DMEMKD_SMALL")])
def test_the_self_test_passes_on_an_emulated_microcontroller(core, flags, package, require_tool):
    spec = CORES[core]
    architecture, machine = spec.architecture, spec.machines[0]
    for tool in (architecture.compiler, architecture.emulator):
        require_tool(tool, package=DEBIAN_PACKAGES[tool])
    folder = package("c") / "src"
    sources = [path.name for path in folder.glob("*.c")] + ["boot.c", architecture.port]
    for source in (asset_dir("firmware_bench") / "runner").iterdir():
        shutil.copy(source, folder)
    (folder / "boot.c").write_text(
        f'#include "port.h"\n#include "{NAME}_selftest.h"\n'
        "void bench_run(void) {\n"
        f'    port_output({NAME}_selftest() == 0 ? "integers passed\\n" : "integers failed\\n");\n'
        f'    port_output({NAME}_selftest_f32() == 0 ? "floats passed\\n" : "floats failed\\n");\n'
        "}\n"
    )
    layout = {
        "FLASH_ORIGIN": machine.flash_origin,
        "FLASH_LENGTH": machine.flash_bytes,
        "RAM_ORIGIN": machine.ram_origin,
        "RAM_LENGTH": machine.ram_bytes,
        "STACK_LENGTH": 2048,
    }
    command = [architecture.compiler, "-std=c99", *flags, "-ffunction-sections", "-fdata-sections"]
    sources.append("output_semihosting.c")
    for source in sources:
        run(*command, *spec.flags, *architecture.compile_flags, "-c", source, "-o", f"{source}.o", cwd=folder)
    run(
        *(*command, *(spec.library_flags or spec.flags), *architecture.link_flags, "-nostartfiles", "-Wl,--gc-sections"),
        *(f"-Wl,--defsym={symbol}={value}" for symbol, value in layout.items()),
        *("-T", architecture.script, *(f"{source}.o" for source in sources), "-o", "image.elf"),
        cwd=folder,
    )
    done = subprocess.run(
        [architecture.emulator, "-M", machine.name, *machine.options, "-kernel", "image.elf", *EMULATOR_OPTIONS],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    # Semihosting's text comes out on stdout or stderr, depending on QEMU's version.
    assert (done.stdout + done.stderr).split("\n")[:2] == ["integers passed", "floats passed"]


# ---- TFLite Micro ----


def tflm_stand_in(folder: Path, sources: Path, arena_bytes: int = 64) -> list[Path]:
    """Make the generated C in `sources` the stand-in interpreter's model; return the include folders."""
    names = {"STATE": f"{NAME}_state_t", "VALUE": "int8_t", "STEP": f"{NAME}_step_i8"}
    names |= {size: f"{NAME.upper()}_{size}" for size in ("CHANNELS", "CLASSES", "LAYERS")}
    lines = [f'#include "{NAME}.h"', f"#define STAND_IN_ARENA_BYTES {arena_bytes}u"]
    lines += [f"#define MODEL_{key} {value}" for key, value in names.items()]
    (folder / "stand_in_model.h").write_text("\n".join(lines) + "\n")
    return [STAND_INS / "tflm", folder, sources]


def build_tflm(
    package: Callable[[str], Path], folder: Path, flags: tuple[str, ...] = (), arena_bytes: int = 64, main: Path | None = None
) -> Path:
    """Build the package with the program `main`, its own example if that is left out."""
    tflm, sources = package("tflm"), package("c") / "src"
    includes = [tflm / "src", *tflm_stand_in(folder, sources, arena_bytes)]
    objects = [compile_c(source, sources) for source in sources.glob("*.c")]
    for source in [*(tflm / "src").glob("*.cc"), main or tflm / "example/main.cc"]:
        objects.append(compile_c(source, *includes, standard="c++17", flags=flags))
    run("g++", *objects, "-o", folder / "example")
    return folder / "example"


def test_the_tflm_package_runs_although_inputs_and_outputs_share_memory(package, tmp_path):
    assert_streams(run(build_tflm(package, tmp_path)))


def test_the_tflm_package_quantises_samples_as_the_reference_does(package, model, metadata, tmp_path):
    generator = np.random.default_rng(4)
    steps, channels, classes = 300, model.input_size, model.num_classes
    physical = (generator.standard_normal((steps, channels)) * metadata.std * 3 + metadata.mean).astype(np.float32)
    physical[100:200] = physical[100]  # a signal at rest
    physical[250] = 1e30
    rows = ",".join("{" + ",".join(f"{float(value).hex()}f" for value in row) + "}" for row in physical)
    main = tmp_path / "push.cc"
    main.write_text(
        f"""#include <cstdio>
#include "{NAME}_tflm.h"
alignas(16) static std::uint8_t arena[{NAME}::kArenaBytes];
static const float samples[{steps}][{channels}] = {{ {rows} }};
int main() {{
  static {NAME}::Classifier classifier(arena, sizeof arena);
  {NAME}::Value logits[{classes}];
  {NAME}::State first = {{}}, state = {{}};
  const float broken[{channels}] = {{ __builtin_nanf(""), -1e38f }};
  if (!classifier.Setup() || !classifier.Step(&first, samples[7], logits) || !classifier.Step(&first, broken, logits)) return 1;
  for (const auto& sample : samples) {{
    if (!classifier.Step(&state, sample, logits)) return 1;
    for (int logit : logits) std::printf("%d ", logit);
  }}
  return 0;
}}
"""
    )
    found = np.array(run(build_tflm(package, tmp_path, main=main)).split(), int).reshape(steps, classes)
    runner = integer_classifier(model)
    x = runner.quantize_input(normalise(physical, metadata.mean, metadata.std)[None], "int8")
    assert (x == 127).any()
    assert len(np.unique(x[0, 100:200, 0])) == 2
    np.testing.assert_array_equal(found, runner.run(x)[0])


def test_accuracy_is_of_samples_where_every_sample_decides(model, metadata):
    always = replace(metadata, reset=Reset.NEVER, decides=Decision.EVERY_SAMPLE)
    for described, judged in ((always, "samples"), (metadata, "series")):
        files = package_files("c", model, described, name=NAME)
        assert f"(0.900 of its test {judged} right, float model)" in files["README.md"].decode()
        assert f"0.9000 on the test {judged} (float model)" in files[f"src/{NAME}.h"].decode()


@pytest.mark.parametrize(
    "fields",
    [
        {"reset": Reset.NEVER, "decides": Decision.EVERY_SAMPLE, "decision_margin": 0.6, "warm_up": 7},
        {"reset": Reset.NEVER, "decides": Decision.WINDOW_END, "window_length": 20, "decision_margin": 0.3},
        {"reset": Reset.WINDOW, "window_length": 13, "refuse_below": 0.3},
        {"reset": Reset.EVENT, "warm_up": 9},
    ],
    ids=["never", "window end", "window", "event"],
)
def test_the_tflm_class_decides_as_the_streaming_classifier(fields, model, metadata, tmp_path):
    ranges = [(0.1, 0.2, 0.3)[: model.input_size]] * 4
    described = replace(metadata, **{"warm_up": 0, "usual": SignalRange(128, *ranges, 0.5, 0.6), **fields})
    x = np.repeat(toy.series(1, 40)[0], 20, axis=0) + 0.3 * toy.series(1, 800, seed=1)[0]
    physical = (x * metadata.std + metadata.mean).astype(np.float32)
    rows = ",".join("{" + ",".join(f"{float(value).hex()}f" for value in row) + "}" for row in physical)
    gaps = {100: 3, 101: 2, 250: described.hold_limit, 400: described.hold_limit + 1, 401: 1}
    main = tmp_path / "follow.cc"
    main.write_text(
        f"""#include <cstdio>
#include "{NAME}_tflm.h"
alignas(16) static std::uint8_t arena[{NAME}::kArenaBytes];
static const std::uint32_t gaps[800] = {{ {", ".join(str(gaps.get(t, 0)) for t in range(800))} }};
static const float samples[800][{model.input_size}] = {{ {rows} }};
int main() {{
  static {NAME}::Classifier classifier(arena, sizeof arena);
  if (!classifier.Setup() || classifier.SelfTest() != 0) return 1;
  for (int round = 0; round < 2; round++) {{
    for (int t = 0; t < 800; t++) {{
      classifier.Gap(gaps[t]);
      std::printf("%d ", classifier.Push(samples[t]));
    }}
    classifier.Begin();
  }}
  static {NAME}::Monitor monitor;
  for (int t = 0; t < 800; t++) {{
    {NAME}::Reading readings[{NAME}::kChannels];
    const int odd = monitor.Push(samples[t], readings);
    for (int j = 0; odd >= 0 && j < {NAME}::kChannels; j++) {{
      const {NAME}::Reading& one = readings[j];
      std::printf("%ld %ld %ld %d %d %d ", long(one.mean), long(one.deviation), long(one.change), one.rails, one.odd, odd);
    }}
  }}
  return 0;
}}
"""
    )
    packages = {kind: write(package_files(kind, model, described, name=NAME), tmp_path / kind) for kind in ("c", "tflm")}
    printed = np.array(run(build_tflm(packages.__getitem__, tmp_path, main=main)).split(), int)
    found, readings = printed[:1600].reshape(2, 800), printed[1600:].reshape(-1, model.input_size, 6)
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(model, described, interface=Arithmetic.INT8))
    classifier = StreamingClassifier(path)
    expected = []
    for start, end in itertools.pairwise([0, *gaps, 800]):
        classifier.gap(gaps.get(start, 0))
        expected.append(classifier.stream(physical[start:end]).decisions)
    assert len(np.unique(np.concatenate(expected))) >= 3
    np.testing.assert_array_equal(found[0], np.concatenate(expected))
    np.testing.assert_array_equal(found[1], found[0])
    of_file = [
        list(zip(one.mean, one.deviation, one.change, one.rails, one.odd_channels, [one.odd] * model.input_size, strict=True))
        for one in classifier.monitor().stream(physical)
    ]
    assert len(of_file) == 800 // 128
    np.testing.assert_array_equal(readings, of_file)


@pytest.mark.parametrize("kind", ["c", "tflm"])
def test_the_example_of_a_model_for_events_begins_a_series_where_one_starts(kind, model, metadata, tmp_path, require_tool):
    require_tool("make", package="make")
    described = replace(metadata, reset=Reset.EVENT)
    packages = {each: write(package_files(each, model, described, name=NAME), tmp_path / each) for each in ("c", "tflm")}
    output = run("make", "-s", "check", cwd=packages["c"]) if kind == "c" else run(build_tflm(packages.__getitem__, tmp_path))
    assert_streams(output)
    readme = (packages[kind] / "README.md").read_text()
    assert "the program begins a series where one starts" in readme


@pytest.mark.parametrize("kind", ["c", "arduino"])
def test_after_a_long_gap_the_example_says_nothing_until_there_is_a_decision(kind, package, tmp_path):
    # A sensor that loses 100 samples at its 30th.
    folder = package(kind)
    path = folder / ("example/main.c" if kind == "c" else "examples/stream/stream.ino")
    lossy = re.sub(
        r"    return 0;\n}", "    static int calls = 0;\n    return ++calls == 30 ? 100u : 0u;\n}", path.read_text(), count=1
    )
    path.write_text(lossy.replace("_NOT_YET + 10", "_NOT_YET + 40"))
    if kind == "c":
        output = run("make", "-s", "check", f"CFLAGS=-O1 -g -fsanitize=address,undefined {' '.join(STRICT)}", cwd=folder)
    else:
        output = run(build_sketch(folder / "src", path, tmp_path))
    assert_streams(output)
    assert len(output.splitlines()) == 3  # the class is said once before and once after


def test_the_tflm_package_notices_kernels_that_forget_the_state(package, tmp_path):
    example = build_tflm(package, tmp_path, flags=("-DSTAND_IN_FORGETS",))
    done = subprocess.run([example], capture_output=True, text=True)
    assert done.returncode == 1
    assert "self-test failed: 96 wrong logits; state kept: no" in done.stdout


def test_the_tflm_package_notices_an_arena_that_is_too_small(package, tmp_path):
    example = build_tflm(package, tmp_path, arena_bytes=1 << 16)
    done = subprocess.run([example], capture_output=True, text=True)
    assert done.returncode == 1
    assert "arena too small" in done.stdout


def test_the_tflm_package_notices_a_wrong_golden_vector(package, tmp_path):
    # The fixture writes a package anew each time it is asked for: change what it writes.
    def changed(kind: str) -> Path:
        folder = package(kind)
        if kind == "tflm":
            source = folder / "src" / f"{NAME}_tflm.cc"
            wrong = re.sub(
                r"(kLogits.*?{\n    {)(-?\d+)", lambda m: f"{m[1]}{int(m[2]) // 2 + 3}", source.read_text(), flags=re.S
            )
            source.write_text(wrong)
        return folder

    done = subprocess.run([build_tflm(changed, tmp_path)], capture_output=True, text=True)
    assert "self-test failed: 1 wrong logits; state kept: yes" in done.stdout


@pytest.mark.parametrize("interface", ["int8", "int16x8"])
@pytest.mark.parametrize("student", ["lstm", "gru"])
def test_tflite_micro_gives_the_packages_golden_vectors_from_the_packages_file(interface, student, metadata, tmp_path, children):
    pytest.importorskip("tflite_micro", reason="pip install tflite-micro")
    model = quantize(toy.student(student), toy.series())
    files = package_files("tflm", model, metadata, name=NAME, interface=Arithmetic(interface))
    text = files[f"src/{NAME}_model_data.cc"].decode()
    data = bytes(int(number) for number in re.findall(r"\d+", text[text.index("= {") :]))
    assert data == write_tflite(model, None, interface=interface, strip=True)
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    golden = files[f"src/{NAME}_tflm.cc"].decode()
    x, logits = (
        np.array([[int(n) for n in row.split(",")] for row in re.findall(r"^    {(.*)},$", table, re.M)])
        for table in re.findall(r"constexpr Value k\w+\[.*?\] = {\n(.*?)\n};", golden, re.S)
    )
    port = tflite_step(read_tflite(path))
    micro = next(runtime for runtime in RUNTIMES if runtime.name == "tflite-micro")
    (streamed,) = stream(micro, path, port, [Job(x[None].astype(port.x.dtype), every=True)], children=children)
    np.testing.assert_array_equal(streamed.logits[0], logits)


def test_the_operators_are_those_of_the_file(model):
    assert operator_methods(write_tflite(model, None, interface="int16x8")) == [
        *("AddAdd", "AddConcatenation", "AddFullyConnected", "AddLogistic", "AddMul", "AddSplit", "AddTanh")
    ]
    assert {"AddCast", "AddQuantize"} <= set(operator_methods(write_tflite(model, None, interface="int8")))


def test_the_measured_arena_is_the_smallest_that_works(model):
    micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime", reason="pip install tflite-micro")
    data = write_tflite(model, None, interface="int8", strip=True)
    size, kind = arena.arena_bytes(data, layers=1, hidden_size=8)
    assert kind.startswith("measured")
    micro.Interpreter.from_bytes(data, arena_size=size).invoke()
    with pytest.raises(RuntimeError):
        micro.Interpreter.from_bytes(data, arena_size=size - 16).invoke()


@pytest.mark.parametrize(("channels", "hidden", "classes", "layers"), [(1, 1, 2, 1), (6, 16, 6, 2), (16, 64, 60, 1)])
def test_the_estimated_arena_bounds_the_measured_one(channels, hidden, classes, layers, monkeypatch):
    pytest.importorskip("tflite_micro", reason="pip install tflite-micro")
    quantized = quantize(toy.student("lstm", channels, hidden, classes, layers), toy.series(channels=channels))
    data = write_tflite(quantized, None, interface="int8", strip=True)
    measured, _ = arena.arena_bytes(data, layers=layers, hidden_size=hidden)
    monkeypatch.setattr(arena.importlib.util, "find_spec", lambda name: None)
    estimated, kind = arena.arena_bytes(data, layers=layers, hidden_size=hidden)
    assert "estimated" in kind
    assert measured <= estimated <= 2 * measured


def test_without_the_cross_compiler_the_readme_says_that_flash_was_not_measured(model, metadata, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    readme = package_files("c", model, metadata, name=NAME)["README.md"].decode()
    assert "not measured: arm-none-eabi-gcc or its newlib was not installed" in readme


# ---- manifests ----

# https://arduino.github.io/arduino-cli/latest/library-specification/ (1.5 library format, rev. 2.2)
ARDUINO_REQUIRED = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
ARDUINO_OPTIONAL = {"depends", "dot_a_linkage", "includes", "precompiled", "ldflags"}
ARDUINO_CATEGORIES = {
    *("Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage"),
    *("Data Processing", "Other"),
}
ARDUINO_NAME = r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}"

# https://github.com/platformio/platformio-core: platformio/assets/schema/library.json and platformio/package/manifest/schema.py
PLATFORMIO_REQUIRED = {"name": 50, "version": 20, "description": 255}  # greatest lengths
PLATFORMIO_OPTIONAL = {
    *("$schema", "keywords", "homepage", "repository", "authors", "license", "frameworks", "platforms", "headers", "examples"),
    *("dependencies", "export", "scripts", "build"),
}
PLATFORMIO_NAME = r"[^:;/,@<>]+"
PLATFORMIO_KEYWORD = r"[a-z\d\-+. ]{1,50}"

# https://github.com/zephyrproject-rtos/zephyr: METADATA_SCHEMA of scripts/zephyr_module.py; nothing in it is required
ZEPHYR_TOP = {"name": str, "build": dict, "tests": list, "samples": list, "boards": list, "blobs": list}
ZEPHYR_BUILD = {
    **dict.fromkeys(("cmake", "kconfig", "sysbuild-cmake", "sysbuild-kconfig"), str),
    **dict.fromkeys(("cmake-ext", "kconfig-ext", "sysbuild-cmake-ext", "sysbuild-kconfig-ext"), bool),
    **{"depends": list, "settings": dict},
}

# https://docs.espressif.com/projects/idf-component-manager/en/latest/reference/manifest_file.html and
# https://github.com/espressif/idf-component-manager: idf_component_tools/manifest/{constants,models}.py
IDF_KEYS = {
    *("maintainers", "description", "tags", "examples", "license", "repository_info", "repository", "documentation", "issues"),
    *("discussion", "url", "name", "dependencies", "targets", "version", "files"),
}
IDF_NAME = r"[a-zA-Z\d]+(?:(?:[_-](?![_-]+))|(?:[a-zA-Z\d]))*[a-zA-Z\d]+"  # also of the component's folder
IDF_VERSION_RANGE = r"(\*|[~^=<>!]{0,2}\d+(\.\d+){0,2})"
SEMANTIC_VERSION = r"\d+\.\d+\.\d+"
URL = r"https?://\S+"


# What build systems pass for RISC-V: ESP-IDF (tools/cmake/toolchain-*.cmake), pico-sdk (pico_riscv_gcc.cmake).
RISCV_MARCH = {
    **dict.fromkeys(("esp32c2", "esp32c3"), "rv32imc"),
    **dict.fromkeys(("esp32c6", "esp32h2"), "rv32imac"),
    **{"esp32p4": "rv32imafc", "rp2350": "rv32imac_zicsr_zifencei_zba_zbb_zbs_zbkb"},
}


@pytest.mark.parametrize("march", sorted(set(RISCV_MARCH.values())))
def test_the_flags_of_a_riscv_chip_choose_its_code(march, package, require_tool):
    require_tool("riscv64-unknown-elf-gcc", package="gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf")
    abi = "ilp32f" if "f" in march.split("_")[0] else "ilp32"
    header = package("c") / "src/memkd_port.h"
    flags = ("--specs=picolibc.specs", f"-march={march}", f"-mabi={abi}")
    assert "#define MEMKD_RV32 1\n" in run("riscv64-unknown-elf-gcc", *flags, "-dM", "-E", header)


def test_library_properties_follows_arduinos_specification(package):
    folder = package("arduino")
    lines = [line for line in (folder / "library.properties").read_text().splitlines() if not line.startswith("#")]
    properties = dict(line.split("=", 1) for line in lines)
    assert len(properties) == len(lines)
    assert ARDUINO_REQUIRED <= properties.keys() <= ARDUINO_REQUIRED | ARDUINO_OPTIONAL
    assert all(properties.values())
    assert re.fullmatch(ARDUINO_NAME, properties["name"])
    assert not properties["name"].lower().startswith("arduino")
    assert re.fullmatch(SEMANTIC_VERSION, properties["version"])
    assert properties["category"] in ARDUINO_CATEGORIES
    assert re.fullmatch(URL, properties["url"])
    assert all(re.fullmatch(r"[a-z0-9_]+", architecture) for architecture in properties["architectures"].split(","))
    assert properties["dot_a_linkage"] in ("true", "false")
    for header in properties["includes"].split(","):
        assert (folder / "src" / header).is_file()
    # A sketch stands in a folder of its name; keywords.txt separates by single tabs.
    assert sorted(path.parent.name for path in (folder / "examples").rglob("*.ino")) == ["record", "stream"]
    headers = (folder / "src" / f"{NAME}.h").read_text() + (folder / "src" / f"{NAME}_selftest.h").read_text()
    words = [line.split("\t") for line in (folder / "keywords.txt").read_text().splitlines() if not line.startswith("#")]
    assert {kind for _, kind in words} == {"KEYWORD1", "KEYWORD2", "LITERAL1"}
    assert all(re.search(rf"\b{word}\b", headers) for word, _ in words)
    assert {f"{NAME}_argmax_i16", f"{NAME}_selftest"} <= {word for word, _ in words}


@pytest.mark.parametrize("counts", [False, True])
def test_every_function_among_arduinos_keywords_is_in_the_objects(counts, model, metadata, tmp_path):
    if counts:
        sensor = Sensor((100.0, -2048.0, 16.4), metadata.mean, metadata.std, metadata.resampling)
        model = quantize(toy.student(), toy.series(), sensor=sensor)
    folder = write(package_files("arduino", model, metadata, name=NAME), tmp_path)
    objects = [compile_c(source, folder / "src") for source in sorted((folder / "src").glob("*.c"))]
    defined = set(re.findall(r" T (\w+)", run("nm", *objects)))
    functions = set(re.findall(r"^(\w+)\tKEYWORD2$", (folder / "keywords.txt").read_text(), re.M))
    assert functions == {symbol for symbol in defined if symbol.startswith(f"{NAME}_")}


def test_library_json_follows_platformios_schema(package):
    folder = package("platformio")
    manifest = json.loads((folder / "lib" / NAME / "library.json").read_text())
    assert PLATFORMIO_REQUIRED.keys() <= manifest.keys() <= PLATFORMIO_REQUIRED.keys() | PLATFORMIO_OPTIONAL
    assert all(0 < len(manifest[key]) <= length for key, length in PLATFORMIO_REQUIRED.items())
    assert re.fullmatch(PLATFORMIO_NAME, manifest["name"])
    assert re.fullmatch(SEMANTIC_VERSION, manifest["version"])
    assert all(re.fullmatch(PLATFORMIO_KEYWORD, keyword) for keyword in manifest["keywords"])
    assert all(0 < len(author["name"]) <= 50 for author in manifest["authors"])
    assert re.fullmatch(URL, manifest["homepage"])
    assert manifest["frameworks"] == manifest["platforms"] == "*"
    for header in manifest["headers"]:
        assert (folder / "lib" / NAME / "src" / header).is_file()


def test_module_yml_follows_zephyrs_schema(package):
    yaml = pytest.importorskip("yaml", reason="pip install pyyaml")
    folder = package("zephyr")
    module = yaml.safe_load((folder / "zephyr" / "module.yml").read_text())
    assert all(isinstance(value, ZEPHYR_TOP[key]) for key, value in module.items())
    assert all(isinstance(value, ZEPHYR_BUILD[key]) for key, value in module["build"].items())
    # What zephyr_module.py looks for.
    assert (folder / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert (folder / module["build"]["kconfig"]).is_file()
    for samples in module["samples"]:
        (sample,) = (folder / samples).rglob("sample.yaml")
        description = yaml.safe_load(sample.read_text())
        assert set(description) == {"sample", "tests"}
        (test,) = description["tests"].values()
        assert re.search(test["harness_config"]["regex"][0], "self-test passed")


def test_every_option_of_prj_conf_is_in_kconfig(package):
    folder = package("zephyr")
    options = set(re.findall(r"^config (\w+)", (folder / "Kconfig").read_text(), re.M))
    text = (folder / "samples/stream/prj.conf").read_text() + (folder / "CMakeLists.txt").read_text()
    used = set(re.findall(r"CONFIG_(\w+)", text))
    assert used <= options
    assert used


def test_idf_component_yml_follows_its_schema(package):
    yaml = pytest.importorskip("yaml", reason="pip install pyyaml")
    component = package("esp-idf") / "components" / NAME
    manifest = yaml.safe_load((component / "idf_component.yml").read_text())
    assert manifest.keys() <= IDF_KEYS
    assert re.fullmatch(SEMANTIC_VERSION, manifest["version"])
    assert re.fullmatch(URL, manifest["url"])
    assert isinstance(manifest["description"], str)
    assert set(manifest["targets"]) == {"esp32", "esp32s2", "esp32s3", *RISCV_MARCH} - {"rp2350"}
    assert all(re.fullmatch(IDF_VERSION_RANGE, version) for version in manifest["dependencies"].values())
    assert re.fullmatch(IDF_NAME, component.name)
    option = re.search(r"config (\w+)", (component / "Kconfig").read_text())
    assert option is not None
    assert f"CONFIG_{option[1]}" in (component / "CMakeLists.txt").read_text()
