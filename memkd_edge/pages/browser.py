# SPDX-License-Identifier: Apache-2.0
"""The generated C as WebAssembly, for a page that runs the student: the same integers as on a microcontroller."""

from pathlib import Path

import jinja2

from memkd_edge import toolchain
from memkd_edge.contract import contract
from memkd_edge.metadata import Metadata
from memkd_edge.packages.folders import self_test_sources
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.scratch import scratch_folder
from memkd_edge.writers.c_integer import emit_c

NAME = "student"  # prefix of the C functions
_TIME_LIMIT_S = 120
# A freestanding compiler brings no string.h.
_STRING_H = """#include <stddef.h>
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *at, int value, size_t bytes);
"""
_FLAGS = (
    *("--target=wasm32", "-std=c99", "-Oz", "-ffreestanding", "-fno-builtin", "-nostdlib", "-I", "."),
    *("-Wl,--no-entry", "-Wl,--strip-all", "-Wl,-z,stack-size=8192"),
)


def browser_module(model: QuantizedClassifier, metadata: Metadata) -> bytes:
    """Return the WebAssembly module of `model`, which takes time steps in physical units.

    It exports `sample_at` and `logits_at` (where C and K float32 lie in `memory`), `begin`, `push` (the class held, -1 for
    not yet, -2 for none) and `selftest` (the number of wrong logits).

    Raises:
        MissingToolError: clang or wasm-ld is not installed.
    """
    compiler = toolchain.find("clang")
    toolchain.find("wasm-ld")
    sources = emit_c(model, metadata, NAME) | self_test_sources(model, metadata, NAME)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("memkd_edge.pages", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sources["browser.c"] = environment.get_template("browser.c.jinja").render(
        name=NAME, UP=NAME.upper(), staggered=contract(metadata, resampled=True).staggered
    )
    # As one source: clang takes longer to start and to read the headers than to compile most of them.
    sources["all.c"] = "".join(f'#include "{file}"\n' for file in sources if file.endswith(".c"))
    with scratch_folder() as folder:
        for file, text in (sources | {"string.h": _STRING_H}).items():
            (folder / file).write_text(text)
        toolchain.run([compiler, *_FLAGS, "all.c", "-o", "student.wasm"], timeout_s=_TIME_LIMIT_S, cwd=folder)
        return Path(folder / "student.wasm").read_bytes()
