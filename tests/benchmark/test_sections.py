# SPDX-License-Identifier: Apache-2.0
"""Where a model's bytes lie, by a linker map written by hand."""

from pathlib import Path

from memkd_edge.benchmark.emulation.image import CModel
from memkd_edge.benchmark.emulation.sections import Sections, model_sections

MAP = """\
Discarded input sections

 .text.unused   0x00000000       0x40 /tmp/demo.o

Linker script and memory map

 .text.step     0x00008000      0x100 /tmp/demo.o
 .text.main     0x00008100      0x300 /tmp/runner.o
 .text.expf     0x00008400       0x20 /usr/lib/libm.a(expf.o)
 .rodata.gates  0x00008420      0x200 /tmp/demo.o
 .rodata.the_long_name_of_a_table
                0x00008620       0x80 /tmp/memkd_lstm.o
 .rodata.consts 0x000086a0        0x8 /usr/lib/libm.a(expf.o)
 .data.impure   0x20000000       0x60 /usr/lib/libc.a(impure.o)
 .sdata.seed    0x20000060        0x4 /usr/lib/libc.a(rand.o)
 .data.own      0x20000064       0x10 /tmp/runner.o
 .bss.buffer    0x20000074       0x24 /usr/lib/libc.a(stdio.o)
 .bss.state     0x20000098       0x0c /tmp/demo.o
"""


def test_a_library_s_initial_values_stand_in_flash_and_in_ram(tmp_path: Path) -> None:
    (tmp_path / "map").write_text(MAP)
    model = CModel("demo", {"demo.c": "", "demo.h": "", "memkd_lstm.c": ""})
    found = model_sections(tmp_path / "map", model)
    library = 0x20 + 0x8 + 0x60 + 0x4  # expf, its constants, and what .data and .sdata begin as
    static = 0x60 + 0x4 + 0x24 + 0x0C
    assert found == Sections(weights=0x200, tables=0x80, code=0x100, library=library, static=static)
    assert found.flash == 0x200 + 0x80 + 0x100 + library
