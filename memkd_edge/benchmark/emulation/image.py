# SPDX-License-Identifier: Apache-2.0
"""Puts a model's C sources, the runner and the inputs together in a build folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memkd_edge.assets import asset_dir

# Input dtype -> suffix of the step function and the C type of inputs and logits.
_INTERFACES = {"int8": ("i8", "int8_t"), "int16": ("i16", "int16_t"), "float32": ("f32", "float")}
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
_SECTIONS = ("-ffunction-sections", "-fdata-sections")


@dataclass(frozen=True)
class CppLibrary:
    """A static library that a model's C++ files call.

    archive: the library. includes: folders of its headers. macros: what its headers need defined.
    """

    archive: Path
    includes: tuple[Path, ...] = ()
    macros: tuple[str, ...] = ()


@dataclass(frozen=True)
class CModel:
    """C sources of a model, as memkd_edge.writers.c_integer emits them.

    name: prefix of its functions, `<name>_step_i8(<name>_state_t *, const int8_t x[], int8_t logits[])` and so on, declared in
    `<name>.h`; its constants are in `<name>.c`. sources: text by file name, headers included. library: for a model that is a thin
    layer of C++ over a library; its header then defines MODEL_ARENA_BYTES and declares model_begin and model_arena_used.
    """

    name: str
    sources: Mapping[str, str]
    library: CppLibrary | None = None

    @property
    def units(self) -> list[str]:
        """Names of the files to compile."""
        return sorted(name for name in self.sources if name.endswith((".c", ".cc")))


def write_sources(folder: Path, model: CModel, inputs: NDArray[np.generic], *, passes: int) -> None:
    """Write the model's sources, the runner and bench_model.h into `folder`.

    Args:
        folder: an existing folder.
        model: what to measure.
        inputs: [steps, C], int8, int16 or float32 (physical units): the dtype chooses the step function.
        passes: timed passes over the inputs.
    """
    for name, text in model.sources.items():
        (folder / name).write_text(text)
    for source in sorted((asset_dir("firmware_bench") / "runner").iterdir()):
        (folder / source.name).write_bytes(source.read_bytes())
    suffix, c_type = _INTERFACES[str(inputs.dtype)]
    rows = ",\\\n    ".join("{" + ", ".join(_literal(value) for value in row) + "}" for row in inputs)
    upper = model.name.upper()
    lines = [
        f'#include "{model.name}.h"',
        f"typedef {c_type} model_value_t;",
        f"typedef {model.name}_state_t model_state_t;",
        f"#define MODEL_FLOAT {int(c_type == 'float')}",
        f"#define MODEL_CHANNELS {upper}_CHANNELS",
        f"#define MODEL_CLASSES {upper}_CLASSES",
        f"#define model_reset {model.name}_reset",
        f"#define model_step {model.name}_step_{suffix}",
        f"#define BENCH_STEPS {len(inputs)}",
        f"#define BENCH_PASSES {passes}",
        f"#define BENCH_INPUTS {{\\\n    {rows}}}",
    ]
    (folder / "bench_model.h").write_text("\n".join(lines) + "\n")


def compile_commands(compiler: str, flags: Sequence[str], model: CModel, runner_files: Iterable[str]) -> list[list[str]]:
    """Return one command per object file: `x.c` becomes `x.o` in the build folder.

    The model is compiled with `flags` alone, as a user would; the runner additionally with all warnings as errors.
    """
    c99 = [compiler, *flags, "-std=c99", *_SECTIONS]
    commands = [[*c99, "-c", name, "-o", _object(name)] for name in model.units if name.endswith(".c")]
    # Freestanding: the compiler must not turn the runner's loops into library calls.
    for name in runner_files:
        commands.append([*c99, "-ffreestanding", *WARNINGS, "-c", name, "-o", _object(name)])
    return commands


def cpp_commands(compiler: str, flags: Sequence[str], model: CModel) -> list[list[str]]:
    """Return one command per object file of the model's C++, with all warnings as errors but those of the library's headers."""
    assert model.library is not None
    dialect = ["-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", *_SECTIONS, *WARNINGS]
    dialect += [f"-D{macro}" for macro in model.library.macros]
    for folder in model.library.includes:
        dialect += ["-isystem", str(folder)]
    return [[compiler, *flags, *dialect, "-c", name, "-o", _object(name)] for name in model.units if name.endswith(".cc")]


def objects(model: CModel, runner_files: Iterable[str]) -> list[str]:
    """Return the object files that `compile_commands` and `cpp_commands` make."""
    return [_object(name) for name in [*model.units, *runner_files]]


def _object(source: str) -> str:
    return str(Path(source).with_suffix(".o"))


def _literal(value: np.generic) -> str:
    # float.hex is exact in C99.
    return f"{float(value).hex()}f" if value.dtype.kind == "f" else str(int(value))
