# SPDX-License-Identifier: Apache-2.0
"""Every kind of reserved name, built: under the reserved name it does not build, under the name it is given instead it does."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from memkd_edge.export_names import export_name, reserved_by
from memkd_edge.packages import folders
from memkd_edge.packages.folders import package_files
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.post_training import quantize
from memkd_edge.writers import c_integer
from tests.packages.test_packages import NAME, STAND_INS, build_sketch, compile_c, run, tflm_stand_in, write
from tests.writers import toy


@pytest.fixture(scope="module")
def model() -> QuantizedClassifier:
    return quantize(toy.student(), toy.series())


@pytest.fixture(autouse=True)
def tools(require_tool: Callable[..., None]) -> None:
    require_tool("gcc", "g++", "make", "cmake", package="gcc g++ make cmake")


def make(package: Path, name: str) -> None:
    run("make", "-s", "check", cwd=package)


def cmake(package: Path, name: str) -> None:
    run("cmake", "-S", package, "-B", package / "build")
    run("cmake", "--build", package / "build")


def sketch(package: Path, name: str) -> None:
    if (package / "src/arduino.h").is_file():  # the same file to macOS and Windows
        shutil.copy(package / "src/arduino.h", package / "src/Arduino.h")
    run(build_sketch(package / "src", package / "examples/stream/stream.ino", package))


def esp_idf(package: Path, name: str) -> None:
    parts = [f"components/{name}", "main"]
    start = "add_library(lwip INTERFACE)\n"  # a component of ESP-IDF's own
    _project(
        package, "esp-idf", start, parts, f"add_executable(app {STAND_INS}/esp-idf/main.c)\ntarget_link_libraries(app main)\n"
    )


def zephyr(package: Path, name: str) -> None:
    # Its own target `app` is in the stand-in.
    switch = f"set(CONFIG_{name.upper()} y)\nset(CONFIG_{name.upper()}_SELFTEST y)\n"
    (package / "module").mkdir()
    for part in ("CMakeLists.txt", "src"):
        shutil.move(package / part, package / "module" / part)
    _project(package, "zephyr", switch, ["module"], "target_sources(app PRIVATE samples/stream/src/main.c)\n")


def _project(folder: Path, system: str, start: str, parts: list[str], end: str) -> None:
    (folder / "CMakeLists.txt").write_text(
        f'cmake_minimum_required(VERSION 3.20)\nproject(firmware C)\nset(STAND_INS "{STAND_INS}")\n{start}'
        f"include({STAND_INS}/cmake/{system}.cmake)\n" + "".join(f"add_subdirectory({part})\n" for part in parts) + end
    )
    cmake(folder, "")


def tflm(package: Path, name: str) -> None:
    sources = write(package_files("c", quantize(toy.student(), toy.series()), toy.metadata(), name=NAME), package / "stand_in")
    includes = [package / "src", *tflm_stand_in(package, sources / "src")]
    compile_c(package / "src" / f"{name}_tflm.cc", *includes, standard="c++17")


@pytest.mark.parametrize(
    ("name", "who", "kind", "build", "error"),
    [
        ("new", "C and C++, as a word", "tflm", tflm, r"expected unqualified-id before"),
        ("memcpy", "C, as a function or variable", "tflm", tflm, r"redeclared as different kind of entity"),
        ("stdint", "C, POSIX or newlib, as a header", "c", make, r"memkd_lstm.c:.* implicit declaration"),
        ("string", "C, POSIX or newlib, as a header", "arduino", sketch, r"error: .*size_t"),
        ("c", "the linker, as an archive", "c", make, r"undefined reference to .memcpy"),
        ("test", "CMake, as a target", "cmake", cmake, r'"test" is reserved'),
        ("arduino", "Arduino, as a header or library", "arduino", sketch, r".Serial. was not declared"),
        ("lwip", "ESP-IDF, as a component", "esp-idf", esp_idf, r'cannot create target "lwip"'),
        ("app", "Zephyr, as a configuration symbol or target", "zephyr", zephyr, r'cannot create target "app"'),
        ("memkd_lstm", "this project's runtime", "c", make, r"the generated header has no"),
    ],
)
def test_a_reserved_name_breaks_a_build_and_its_substitute_does_not(
    name: str,
    who: str,
    kind: str,
    build: Callable[[Path, str], None],
    error: str,
    model: QuantizedClassifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    substitute = export_name(name)
    build(write(package_files(kind, model, toy.metadata(), name=substitute), tmp_path / "substitute"), substitute)
    for module in (folders, c_integer):
        monkeypatch.setattr(module, "check_export_name", lambda name: None)
    with pytest.raises(AssertionError, match=error):
        build(write(package_files(kind, model, toy.metadata(), name=name), tmp_path / "reserved"), name)
    assert who in reserved_by(name)
