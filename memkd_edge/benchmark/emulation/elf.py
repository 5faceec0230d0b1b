# SPDX-License-Identifier: Apache-2.0
"""Reads linked programs with the binutils: symbols and disassembly."""

import re
from collections.abc import Sequence
from pathlib import Path

from memkd_edge import toolchain


def symbols(elf: Path, nm: str) -> dict[str, int]:
    """Return the addresses of the symbols in `elf`."""
    table = {}
    for line in toolchain.run([toolchain.find(nm), str(elf)], timeout_s=60).splitlines():
        fields = line.split()
        if len(fields) == 3:
            table[fields[2]] = int(fields[0], 16)
    return table


def disassemble(elf: Path, objdump: str, options: Sequence[str] = ()) -> dict[int, str]:
    """Return "mnemonic operands" by address."""
    text = toolchain.run([toolchain.find(objdump), "-d", "--no-show-raw-insn", *options, str(elf)], timeout_s=120)
    return {
        int(match[1], 16): f"{match[2]} {match[3]}".strip()
        for match in re.finditer(r"^\s*([0-9a-f]+):\s+(\S+)[ \t]*(.*)$", text, re.MULTILINE)
    }
