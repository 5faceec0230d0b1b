# SPDX-License-Identifier: Apache-2.0
"""TFLite Micro, as the user built it: finds the library for a core, and makes the student's file a model for the runner.

    for build in find_builds(Path("tflite-micro"), "m4"):
        model = tflm_model(quantized, data, Arithmetic.INT8, build)     # a CModel: firmware_bench/tflm/tflm.cc over the library

Of TFLite Micro nothing is in this project, and nothing of it is built here: the folder holds the static library and the headers.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from memkd_edge import toolchain
from memkd_edge.assets import asset_dir
from memkd_edge.benchmark.emulation.cores import CORTEX_M
from memkd_edge.benchmark.emulation.elf import symbols
from memkd_edge.benchmark.emulation.image import CModel, CppLibrary
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.packages.arena import arena_bytes
from memkd_edge.packages.tflm import operator_methods
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.scratch import scratch_folder
from memkd_edge.vocabulary import Arithmetic

LIBRARY = "libtensorflow-microlite.a"
HEADER = "tensorflow/lite/micro/micro_interpreter.h"
# Where TFLite Micro's own build and its generated trees put libraries and third-party headers.
_LIBRARY_FOLDERS = ("", "lib/", "gen/*/lib/")
_THIRD_PARTY_FOLDERS = ("third_party", "tensorflow/lite/micro/tools/make/downloads")
_THIRD_PARTY_HEADERS = ("flatbuffers/include", "gemmlowp", "ruy")
# Every build of TFLite Micro has the first; the second keeps its inline functions from calling a log that a release build lacks.
_MACROS = ("TF_LITE_STATIC_MEMORY", "TF_LITE_STRIP_ERROR_STRINGS")
_CMSIS_NN_SYMBOL = "arm_fully_connected_s16"
_HELP = "see firmware_bench/README.md, TFLite Micro"


@dataclass(frozen=True)
class TflmBuild:
    """A library for one core. place: its path in the folder. kernels: "CMSIS-NN kernels" or "reference kernels"."""

    library: CppLibrary
    place: str
    kernels: str


def find_builds(folder: Path, core: str) -> list[TflmBuild]:
    """Return the libraries in `folder` that were built for `core`, sorted by path.

    Args:
        folder: a checkout of TFLite Micro with what its build made, or a tree of headers with the library in it or in `lib`.
        core: a key of CORTEX_M.

    Raises:
        UsageError: the library or the headers are not there, or no library is for this core.
        MissingToolError: no C++ compiler or C++ library for the core.
    """
    toolchain.find_cxx()
    header = folder / HEADER
    if not header.is_file():
        raise UsageError(f"--tflm-dir {folder}: no {HEADER}; name the folder that holds TFLite Micro's headers ({_HELP})")
    archives = sorted(path for place in _LIBRARY_FOLDERS for path in folder.glob(place + LIBRARY))
    if not archives:
        places = ", ".join(place + LIBRARY for place in _LIBRARY_FOLDERS)
        raise UsageError(f"--tflm-dir {folder}: no {LIBRARY} (looked for {places}); build it for this core first ({_HELP})")
    wanted = _compiled_for(core)
    built_for = {path: _architecture(path) for path in archives}
    fitting = [path for path in archives if built_for[path] == wanted]
    if not fitting:
        found = "; ".join(f"{path.relative_to(folder)} is for {built_for[path]}" for path in archives)
        raise UsageError(f"--tflm-dir {folder}: no library for {CORTEX_M[core].title}, which is {wanted}: {found} ({_HELP})")
    includes = _includes(folder.resolve())
    return [
        TflmBuild(CppLibrary(path.resolve(), includes, _MACROS), str(path.relative_to(folder)), _kernels(path))
        for path in fitting
    ]


def explain(error: toolchain.ToolFailedError, folder: Path) -> MemkdEdgeError:
    """Return what is missing in `folder`, when that is why the compiler or linker gave up; else the error itself."""
    header = re.search(r"fatal error: (\S+): No such file", error.output)
    if header:
        places = ", ".join(f"{place}/{name}" for place in _THIRD_PARTY_FOLDERS for name in _THIRD_PARTY_HEADERS)
        return UsageError(f"--tflm-dir {folder}: no {header[1]}, which TFLite Micro includes; looked in {places} ({_HELP})")
    missing = sorted(set(re.findall(r"undefined reference to `([^']+)'", error.output)))
    if missing:
        return UsageError(f"--tflm-dir {folder}: {LIBRARY} does not define {', '.join(missing[:5])}; build all of it ({_HELP})")
    return error


def tflm_model(model: QuantizedClassifier, data: bytes, interface: Arithmetic, build: TflmBuild) -> CModel:
    """Return the file of `model` in TFLite Micro as the model "student" for the runner.

    Args:
        data: the stripped .tflite file of `model` for `interface`, as firmware carries it.
    """
    layers = len(model.layers)
    states = layers * len(model.layers[0].state_scales)
    methods = operator_methods(data)
    arena, _ = arena_bytes(data, layers=layers, hidden_size=model.hidden_size)
    value, suffix = ("int8_t", "i8") if interface == Arithmetic.INT8 else ("int16_t", "i16")
    header = f"""
#include <stdint.h>
#define STUDENT_CHANNELS {model.input_size}
#define STUDENT_CLASSES {model.head.weight.shape[0]}
#define TFLM_STATES {states}
#define TFLM_HIDDEN {model.hidden_size}
#define TFLM_OPERATORS {len(methods)}
#define TFLM_ADD_OPERATORS(to) ({" && ".join(f"to->{method}() == kTfLiteOk" for method in methods)})
#define MODEL_ARENA_BYTES {arena}
#ifdef __cplusplus
extern "C" {{
#endif
typedef struct {{
    int16_t values[TFLM_STATES][TFLM_HIDDEN];
}} student_state_t;
extern const unsigned char tflm_file[];
uint32_t model_begin(uint8_t *arena, uint32_t bytes);
uint32_t model_arena_used(void);
void student_reset(student_state_t *state);
void student_step_{suffix}(student_state_t *state, const {value} x[], {value} logits[]);
#ifdef __cplusplus
}}
#endif
"""
    rows = ",\n".join(", ".join(map(str, data[start : start + 20])) for start in range(0, len(data), 20))
    source = f'#include "student.h"\nconst unsigned char tflm_file[] __attribute__((aligned(16))) = {{\n{rows}}};\n'
    glue = (asset_dir("firmware_bench") / "tflm" / "tflm.cc").read_text()
    return CModel("student", {"student.h": header, "student.c": source, "tflm.cc": glue}, build.library)


def _includes(folder: Path) -> tuple[Path, ...]:
    third_party = [folder / place / header for place in _THIRD_PARTY_FOLDERS for header in _THIRD_PARTY_HEADERS]
    return (folder, *(path for path in third_party if path.is_dir()))


def _kernels(archive: Path) -> str:
    return "CMSIS-NN kernels" if _CMSIS_NN_SYMBOL in symbols(archive, "arm-none-eabi-nm") else "reference kernels"


def _compiled_for(core: str) -> str:
    with scratch_folder() as folder:
        source = folder / "empty.c"
        source.write_text("")
        compiler = [toolchain.find("arm-none-eabi-gcc"), *CORTEX_M[core].flags]
        toolchain.run([*compiler, "-c", "empty.c", "-o", "empty.o"], timeout_s=60, cwd=source.parent)
        return _architecture(source.parent / "empty.o")


def _architecture(path: Path) -> str:
    """Return what an object file, or all of an archive, was compiled for: "v7E-M, hard float"."""
    try:
        text = toolchain.run([toolchain.find("arm-none-eabi-readelf"), "-hA", str(path)], timeout_s=60)
    except toolchain.ToolFailedError as error:
        raise UsageError(f"{path}: not a library of object files ({error.last_line})") from error
    found = set()
    for member in text.split("ELF Header:")[1:]:
        machine = re.search(r"Machine:\s+(.+)", member)
        architecture = re.search(r"Tag_CPU_arch: (\S+)", member)
        floats = "hard" if "Tag_ABI_VFP_args: VFP registers" in member else "soft"
        found.add(f"{architecture[1]}, {floats} float" if architecture else f"{machine[1] if machine else 'no known machine'}")
    return " and ".join(sorted(found)) or "no machine: it is empty"
