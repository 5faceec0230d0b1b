# SPDX-License-Identifier: Apache-2.0
"""Arm's compiler for the Ethos-U, Vela: what of a .tflite file it maps to the NPU, and what it estimates that to cost."""

import csv
import re
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from memkd_edge import toolchain
from memkd_edge.errors import MemkdEdgeError, MissingToolError
from memkd_edge.scratch import scratch_folder


@dataclass(frozen=True)
class NpuVerdict:
    """What Vela makes of a file.

    accelerator: as Vela names it. tool: Vela and its version. on_npu, on_cpu: operators. cycles: of one step, Vela's estimate
    at its default system and memory, without what the processor takes to start the NPU. sram, flash: bytes that it plans.
    """

    accelerator: str
    tool: str
    on_npu: int
    on_cpu: int
    cycles: float
    sram: float
    flash: float

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready values."""
        return asdict(self)


def find_vela() -> str:
    """Return the path of Vela: on the path, or beside this Python.

    Raises:
        MissingToolError: it is not installed.
    """
    found = shutil.which("vela") or shutil.which("vela", path=str(Path(sys.executable).parent))
    if found is None:
        raise MissingToolError("--npu needs Arm's compiler Vela, which is not installed; pip install 'memkd-edge[npu]'")
    return found


def compile_for_npu(data: bytes, accelerator: str) -> tuple[NpuVerdict, bytes]:
    """Compile the .tflite file `data` for `accelerator` ("ethos-u55-128"); return the verdict and the compiled file.

    Raises:
        MissingToolError: Vela is not installed.
        MemkdEdgeError: Vela fails, or writes what this function cannot read.
    """
    vela = find_vela()
    with scratch_folder() as folder:
        (folder / "model.tflite").write_bytes(data)
        command = [vela, "model.tflite", "--accelerator-config", accelerator, "--output-dir", "."]
        said = toolchain.run(command, timeout_s=300, cwd=folder)
        version = toolchain.run([vela, "--version"], timeout_s=60).split()
        try:
            (table,) = folder.glob("model_summary_*.csv")
            (row,) = csv.DictReader(table.read_text().splitlines())
            counts = {kind: int(number) for kind, number in re.findall(r"(CPU|NPU) operators = (\d+)", said)}
            kib = {place: float(row[f"{place}_memory_used"]) for place in ("sram", "on_chip_flash", "off_chip_flash")}
            verdict = NpuVerdict(
                accelerator,
                f"Vela {version[-1]}",
                counts["NPU"],
                counts["CPU"],
                float(row["cycles_total"]),
                1024 * kib["sram"],
                1024 * (kib["on_chip_flash"] + kib["off_chip_flash"]),
            )
            return verdict, (folder / "model_vela.tflite").read_bytes()
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise MemkdEdgeError(f"{vela} wrote no summary that can be read ({error!r}); 5.2 does") from error
