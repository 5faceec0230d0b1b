# SPDX-License-Identifier: Apache-2.0
"""Generated C as a program of another machine under QEMU's user mode, run over many states at once: `CModel` of c_library."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from memkd_edge.assets import asset_dir
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.toolchain import DEBIAN_PACKAGES
from memkd_edge.writers.c_integer import emit_c
from tests.writers.c_library import DTYPES, write

_VERIFY = asset_dir("firmware_bench") / "verify"
_MAIN = """
#include <stdio.h>
#include "demo.h"
#define RUN(suffix, x_type, y_type)                                                                                  \\
    static void run_##suffix(void) {                                                                                 \\
        static x_type x[DEMO_CHANNELS];                                                                              \\
        static demo_state_t state;                                                                                   \\
        static y_type logits[DEMO_CLASSES];                                                                          \\
        while (fread(x, sizeof x, 1, stdin) == 1 && fread(&state, sizeof state, 1, stdin) == 1) {                    \\
            demo_step_##suffix(&state, x, logits);                                                                   \\
            fwrite(logits, sizeof logits, 1, stdout);                                                                \\
            fwrite(&state, sizeof state, 1, stdout);                                                                 \\
        }                                                                                                            \\
    }
RUN(i8, int8_t, int8_t)
RUN(i16, int16_t, int16_t)
int main(void) {
    if (getchar() == '8') { run_i8(); } else { run_i16(); }
    return fflush(stdout);
}
"""


@dataclass(frozen=True)
class Machine:
    """How a program for a machine is built and run. order: of its bytes, as numpy writes it."""

    compiler: tuple[str, ...]
    linker: tuple[str, ...]
    emulator: tuple[str, ...]
    sources: tuple[Path, ...] = ()
    order: str = "<"

    def build(self, folder: Path, sources: Sequence[str], flags: Sequence[str], program: str) -> None:
        """Compile and link sources in `folder`."""
        files = [*sources, *map(str, self.sources)]
        subprocess.run([*self.compiler, "-std=c99", "-O2", *flags, "-c", *files], cwd=folder, check=True)
        objects = [f"{Path(file).stem}.o" for file in files]
        subprocess.run([*self.linker, *objects, "-lm", "-o", program], cwd=folder, check=True)

    def run(self, folder: Path, program: str, request: bytes = b"") -> bytes:
        """Run a program that `build` made, and return what it writes."""
        return subprocess.run([*self.emulator, program], cwd=folder, input=request, stdout=subprocess.PIPE, check=True).stdout


_PICOLIBC = "/usr/lib/picolibc/riscv64-unknown-elf/include"
_POWERPC = "powerpc-linux-gnu-gcc"
_RISCV = ("riscv64-unknown-elf-gcc", "--specs=picolibc.specs", "-march=rv32im", "-mabi=ilp32")
MACHINES = {
    "a big-endian machine": Machine((_POWERPC,), (_POWERPC, "-static"), ("qemu-ppc",), order=">"),
    "riscv by clang": Machine(
        ("clang", "--target=riscv32", "-march=rv32imc", "-mabi=ilp32", "-isystem", _PICOLIBC),
        (*_RISCV, "-nostartfiles", "-T", str(_VERIFY / "riscv.ld")),
        ("qemu-riscv32",),
        (_VERIFY / "riscv.c",),
    ),
}


def require(machine: str) -> Machine:
    """Return a machine; the test is skipped without its tools."""
    found = MACHINES[machine]
    for tool in (found.compiler[0], found.linker[0], found.emulator[0]):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: apt-get install {DEBIAN_PACKAGES.get(tool, tool)}")
    return found


class CProgram:
    """A generated model as a program; states are int16 arrays [N, S] laid out as `demo_state_t`. Not for counts."""

    def __init__(self, model: QuantizedClassifier, folder: Path, machine: Machine, flags: Sequence[str] = ()) -> None:
        self.model, self._machine, self._folder = model, machine, folder
        sources = write(folder, emit_c(model, None, "demo") | {"main.c": _MAIN})
        machine.build(folder, [name for name in sources if name != "demo_stream.c"], flags, "demo")

    def each(self, suffix: str, x: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take one step from each of N states; return logits [N, K] and the states after it."""
        wide = np.dtype(np.int16).newbyteorder(self._machine.order)
        given = np.dtype([("x", x.dtype.newbyteorder(self._machine.order), x.shape[1:]), ("state", wide, states.shape[1:])])
        logits = np.dtype(DTYPES[suffix]).newbyteorder(self._machine.order)
        taken = np.dtype([("logits", logits, (self.model.num_classes,)), ("state", wide, states.shape[1:])])
        request = np.zeros(len(x), given)
        request["x"], request["state"] = x, states
        interface = suffix.removeprefix("i")[:1].encode()
        answer = np.frombuffer(self._machine.run(self._folder, "demo", interface + request.tobytes()), taken)
        return answer["logits"].astype(DTYPES[suffix]), answer["state"].astype(np.int16)

    @property
    def state_width(self) -> int:
        """int16 values of a state."""
        states = len(self.model.layers[0].state_scales)
        return states * len(self.model.layers) * self.model.hidden_size
