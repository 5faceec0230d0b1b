# SPDX-License-Identifier: Apache-2.0
"""Where a model's bytes lie, from the linker map: weights, tables, code, libraries; static RAM."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memkd_edge.benchmark.emulation.image import CModel, objects

_SECTION = re.compile(r"^ (\.[^\s]+|COMMON)(?:\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\S.*))?$")
_CONTINUED = re.compile(r"^\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\S.*)$")
# Those of small variables, with an s, are RISC-V's.
_INITIALISED, _ZERO, _CONSTANT = (".data", ".sdata"), (".bss", ".sbss", ".tbss", "COMMON"), (".rodata", ".srodata")


@dataclass(frozen=True)
class Sections:
    """Bytes of the model in the linked image; the runner's own are left out.

    weights: the model's constants. tables: lookup tables of the runtime. code: instructions of model and runtime. library: what
    libraries add for them: the compiler's and the C library (libgcc, libm, libc), TFLite Micro. static: variables (.data, .bss),
    the libraries' included.
    """

    weights: int
    tables: int
    code: int
    library: int
    static: int

    @property
    def flash(self) -> int:
        """Bytes of flash that the model takes."""
        return self.weights + self.tables + self.code + self.library


@dataclass(frozen=True)
class InputSection:
    """An input section that the linker kept: its name, size in bytes and object file or archive member."""

    name: str
    size: int
    origin: str


def read_map(path: Path) -> Iterator[InputSection]:
    """Yield the input sections of a GNU ld map file, discarded ones left out."""
    text = path.read_text(errors="replace")
    pending: str | None = None
    for line in text[text.index("Linker script and memory map") :].splitlines():
        section = _SECTION.match(line)
        continued = _CONTINUED.match(line) if pending else None
        if section and section[4]:
            yield InputSection(section[1], int(section[3], 16), section[4])
            pending = None
        elif section:
            pending = section[1]  # a long name stands alone on its line
        elif continued and pending:
            yield InputSection(pending, int(continued[2], 16), continued[3])
            pending = None
        else:
            pending = None


def model_sections(map_file: Path, model: CModel, libraries: str = "lib") -> Sections:
    """Sum up the bytes of the model.

    Args:
        map_file: GNU ld's map.
        model: its constants are in `<name>.c`, its other files are the runtime.
        libraries: archives whose names begin so are there for the model's sake. On a microcontroller that is all of them, since
            the runner calls into no library; on Linux only libm.

    A constant in the runtime, or one in the model whose name has "table" in it, counts as a table.
    """
    weights_object = f"{model.name}.o"
    model_objects = set(objects(model, ()))
    totals = {"weights": 0, "tables": 0, "code": 0, "library": 0, "static": 0}
    for section in read_map(map_file):
        name = section.origin.rsplit("/", 1)[-1]
        archive = name.endswith(")") and name.startswith(libraries)
        if not archive and name not in model_objects:
            continue
        if section.name.startswith((*_INITIALISED, *_ZERO)):
            totals["static"] += section.size
            if archive and section.name.startswith(_INITIALISED):
                totals["library"] += section.size  # initial values stand in flash, too
        elif archive and section.name.startswith((".text", *_CONSTANT)):
            totals["library"] += section.size
        elif section.name.startswith(".text"):
            totals["code"] += section.size
        elif section.name.startswith(_CONSTANT):
            totals["weights" if name == weights_object and "table" not in section.name.lower() else "tables"] += section.size
    return Sections(**totals)
