# SPDX-License-Identifier: Apache-2.0
"""A rival's C as a shared library of this machine, and streams small enough to learn from in a test."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.rivals.rival import Rival
from tests.writers.c_library import compile_library, pointer, write

CHANNELS, CLASSES = 6, 3
_DRIVER = """
#include "{name}.h"
void stream(int n, const {value} *x, {value} *y);
void stream(int n, const {value} *x, {value} *y) {{
    static {name}_state_t state;
    {name}_reset(&state);
    for (int t = 0; t < n; t++) {{
        {name}_step(&state, x + t * {upper}_CHANNELS, y + t * {upper}_CLASSES);
    }}
}}
"""


def logits_of_c(rival: Rival, inputs: np.ndarray, folder: Path) -> np.ndarray:
    """Compile the rival's C with all warnings as errors, and run it along a stream [T, C] from a reset."""
    model = rival.c_model()
    value, suffix = {"int8": ("int8_t", "i8"), "int16": ("int16_t", "i16")}[str(inputs.dtype)]
    driver = _DRIVER.format(name=model.name, upper=model.name.upper(), value=value)
    driver = driver.replace(f"{model.name}_step(", f"{model.name}_step_{suffix}(")
    sources = write(folder, {**model.sources, "driver.c": driver})
    library = compile_library(folder, sources)
    logits = np.full((len(inputs), CLASSES), 99, inputs.dtype)
    library.stream(len(inputs), pointer(np.ascontiguousarray(inputs)), pointer(logits))
    return logits


def streams(seed: int, count: int = 3, samples: int = 600) -> list[tuple[np.ndarray, np.ndarray]]:
    """Streams of three classes: quiet, one level in some channels, a fast swing in others; some samples have no label."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        y = np.repeat(random.permutation(np.arange(samples // 60) % CLASSES), 60)
        x = 0.2 * random.normal(size=(len(y), CHANNELS))
        x[:, :3] += 1.5 * (y == 1)[:, None]
        x[:, 3:] += ((y == 2) * np.sin(np.arange(len(y)) * 0.8))[:, None]
        y = np.where(random.random(len(y)) < 0.02, -1, y)
        found.append((x.astype(np.float32), y))
    return found


def accuracy(decisions: np.ndarray, y: np.ndarray) -> Any:
    """The share of the labelled samples that are decided right."""
    return (decisions == y)[y >= 0].mean()
