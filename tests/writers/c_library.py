# SPDX-License-Identifier: Apache-2.0
"""Generated C as a shared library of this machine, run over many states at once and compared with the integer reference."""

import ctypes
import itertools
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.reference import IntegerLstm, integer_classifier
from memkd_edge.writers.c_integer import emit_c

STRICT = [
    *("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wdouble-promotion", "-Wundef", "-Wcast-align"),
    "-Werror",
]

# Steps independent states (`each`) or one state on and on (`stream`).
_DRIVER = """
#include "{name}.h"
void each_{suffix}(int n, const {x_type} *x, {name}_state_t *states, {y_type} *y);
void stream_{suffix}(int n, const {x_type} *x, {name}_state_t *state, {y_type} *y);
void each_{suffix}(int n, const {x_type} *x, {name}_state_t *states, {y_type} *y) {{
    for (int t = 0; t < n; t++) {{
        {name}_step_{suffix}(&states[t], x + t * {upper}_CHANNELS, y + t * {upper}_CLASSES);
    }}
}}
void stream_{suffix}(int n, const {x_type} *x, {name}_state_t *state, {y_type} *y) {{
    for (int t = 0; t < n; t++) {{
        {name}_step_{suffix}(state, x + t * {upper}_CHANNELS, y + t * {upper}_CLASSES);
    }}
}}
"""
DTYPES = {"i8": np.int8, "i16": np.int16, "f32": np.float32}
_TYPES = {"i8": "int8_t", "i16": "int16_t", "f32": "float"}
_counter = itertools.count()


def write(folder: Path, files: dict[str, str]) -> list[str]:
    """Write sources and return the names of those to compile."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return sorted(name for name in files if name.endswith(".c"))


def compile_library(folder: Path, sources: Sequence[str], flags: Sequence[str] = ()) -> ctypes.CDLL:
    """Compile C sources in `folder` with all warnings as errors, and load them.

    Flags are for compiling alone: a library that gcc links with -Ofast has all of the process take subnormal numbers for 0.
    """
    number = next(_counter)
    library, objects = folder / f"lib{number}.so", [f"{number}-{Path(source).stem}.o" for source in sources]
    for source, made in zip(sources, objects, strict=True):
        command = ["gcc", "-std=c99", "-O2", *STRICT, "-fPIC", *flags, "-c", source, "-o", made]
        subprocess.run(command, cwd=folder, check=True)
    subprocess.run(["gcc", "-shared", *objects, "-lm", "-o", library.name], cwd=folder, check=True)
    return ctypes.CDLL(str(library))


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """The array's memory; it must be contiguous."""
    assert array.flags.c_contiguous
    return array.ctypes.data_as(ctypes.c_void_p)


class CModel:
    """A generated integer model; states are int16 arrays [N, S] laid out as `name_state_t` (without a decimation filter)."""

    def __init__(self, model: QuantizedClassifier, folder: Path, flags: Sequence[str] = (), name: str = "demo") -> None:
        self.model = model
        sources = emit_c(model, None, name)
        drivers = "".join(
            _DRIVER.format(
                name=name,
                upper=name.upper(),
                suffix=suffix,
                x_type="int16_t" if model.raw and suffix == "i8" else _TYPES[suffix],
                y_type=_TYPES[suffix],
            )
            for suffix in _TYPES
        )
        files = write(folder, sources | {"driver.c": drivers})
        self.library = compile_library(folder, files, flags)

    def each(self, suffix: str, x: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take one step from each of N states; return logits [N, K] and the states after it."""
        states = states.copy()
        logits = np.zeros((len(x), self.model.num_classes), DTYPES[suffix])
        getattr(self.library, f"each_{suffix}")(len(x), pointer(np.ascontiguousarray(x)), pointer(states), pointer(logits))
        return logits, states

    def stream(self, suffix: str, x: np.ndarray) -> np.ndarray:
        """Stream one series x [T, C] from reset; return the logits after each step, [T, K]."""
        state = np.zeros(self.state_width, np.int16)
        logits = np.zeros((len(x), self.model.num_classes), DTYPES[suffix])
        getattr(self.library, f"stream_{suffix}")(len(x), pointer(np.ascontiguousarray(x)), pointer(state), pointer(logits))
        return logits

    @property
    def state_width(self) -> int:
        """int16 values of a state."""
        states = len(self.model.layers[0].state_scales)
        return states * len(self.model.layers) * self.model.hidden_size


def hard_values(generator: np.random.Generator, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """Rows of values that provoke every branch: uniform, saturating, small, and multiples of 16, which make ties."""
    limits = np.iinfo(dtype)
    rows = np.arange(shape[0])[:, None] % 4
    uniform = generator.integers(limits.min, limits.max + 1, shape)
    saturating = generator.choice([limits.min, limits.max, 0, -1, 1], shape)
    small = generator.integers(max(-300, limits.min), min(300, limits.max) + 1, shape)
    return np.choose(rows, [uniform, saturating, small, uniform // 16 * 16]).astype(dtype)


def reference_step(model: QuantizedClassifier, suffix: str, x: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `CModel.each` must give for `i8` and `i16`."""
    runner = integer_classifier(model, len(x))
    count, units = len(model.layers), model.hidden_size
    parts = states.reshape(len(x), -1, count, units)
    runner.h = [parts[:, 0, layer] for layer in range(count)]
    if isinstance(runner, IntegerLstm):
        runner.c = [parts[:, 1, layer] for layer in range(count)]
    logits = runner.step_int8(x) if suffix == "i8" else runner.step(x)
    after = [*runner.h, *(runner.c if isinstance(runner, IntegerLstm) else [])]
    return logits, np.concatenate(after, axis=1)


def assert_equal_on_hard_states(compiled: CModel, suffix: str, steps: int, seed: int = 3) -> None:
    """Step `steps` hard states through C and reference: logits, h and c are equal."""
    generator = np.random.default_rng(seed)
    for _ in range(0, steps, 50_000):
        count = min(steps, 50_000)
        x = hard_values(generator, (count, compiled.model.input_size), DTYPES[suffix])
        states = hard_values(generator, (count, compiled.state_width), np.int16)
        logits, after = compiled.each(suffix, x, states)
        expected_logits, expected_after = reference_step(compiled.model, suffix, x, states)
        np.testing.assert_array_equal(logits, expected_logits)
        np.testing.assert_array_equal(after, expected_after)
