"""Where a model's bytes lie, from the linker map: weights, tables, code, libraries; static RAM."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SECTION = re.compile(r"^ (\.[^\s]+|COMMON)(?:\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\S.*))?$")
_CONTINUED = re.compile(r"^\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\S.*)$")


@dataclass(frozen=True)
class Sections:
    """Bytes of the model in the linked image; the runner's own are left out.

    weights: the model's constants. tables: lookup tables of the runtime. code: instructions of model and runtime. library: what
    the compiler's and the C library (libgcc, libm, libc) add for them. static: variables (.data, .bss), the libraries' included.
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
    pending = None
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


def model_sections(map_file: Path, weights_object: str, runtime_objects: set[str]) -> Sections:
    """Sum up the bytes of the model.

    Args:
        map_file: GNU ld's map.
        weights_object: file name of the object that holds the model's constants.
        runtime_objects: file names of the model's other objects.

    A constant in the runtime, or one in the model whose name has "table" in it, counts as a table. Archive members count as
    library: the runner itself calls into no library on a microcontroller.
    """
    totals = {"weights": 0, "tables": 0, "code": 0, "library": 0, "static": 0}
    for section in read_map(map_file):
        name = section.origin.rsplit("/", 1)[-1]
        archive = name.endswith(")")
        if not archive and name != weights_object and name not in runtime_objects:
            continue
        if section.name.startswith((".data", ".bss", "COMMON")):
            totals["static"] += section.size
            if archive and section.name.startswith(".data"):
                totals["library"] += section.size  # initial values stand in flash, too
        elif archive and section.name.startswith((".text", ".rodata")):
            totals["library"] += section.size
        elif section.name.startswith(".text"):
            totals["code"] += section.size
        elif section.name.startswith(".rodata"):
            totals["weights" if name == weights_object and "table" not in section.name.lower() else "tables"] += section.size
    return Sections(**totals)
