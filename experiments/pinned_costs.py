# SPDX-License-Identifier: Apache-2.0
"""The cost of the generated C, pinned: `make bench-c`, or

    python -m experiments.pinned_costs             # measure, print, compare with firmware_bench/figures.json
    python -m experiments.pinned_costs --update    # measure, print, write it: the diff shows what changed

All figures are emulated-exact: instructions of a step with the classifier, int16 entry, from call to return; bytes of flash that
the linker keeps for model, runtime and tables; RAM, the state and the deepest stack below the caller; bytes of flash that the
boot self-test adds.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from experiments.reference_students import SPECS, reference_inputs, reference_student
from memkd_edge import toolchain
from memkd_edge.assets import asset_dir
from memkd_edge.benchmark.emulation.image import CModel
from memkd_edge.benchmark.emulation.qemu_cortex_m import CORES as MACHINES
from memkd_edge.benchmark.emulation.qemu_cortex_m import measure_cortex_m
from memkd_edge.errors import GateError, MemkdEdgeError
from memkd_edge.metadata import Metadata
from memkd_edge.packages.flash import self_test_flash
from memkd_edge.packages.folders import package_files
from memkd_edge.runs import write_atomic
from memkd_edge.writers.c_integer import emit_c

CORES = ("m0plus", "m3", "m4", "m7", "m33")
BUILDS = {"fast": ("-O2",), "small": ("-O2", "-DMEMKD_SMALL")}
_COMPILER = "arm-none-eabi-gcc"


@dataclass(frozen=True)
class PinnedCost:
    """Cost of one model on one core: instructions per step; bytes of flash, ram (state + stack), stack, and the self-test."""

    core: str
    model: str
    build: str
    instructions: float
    flash: int
    ram: int
    stack: int
    selftest: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What is measured."""
        return (self.core, self.model, self.build)


def measure() -> Iterator[PinnedCost]:
    """Measure every reference student in every build on every core.

    Raises:
        MissingToolError: no cross compiler or emulator.
    """
    packages = {model: _with_self_test(model) for model in SPECS}
    for core in CORES:
        for model, package in packages.items():
            sources = CModel("student", emit_c(reference_student(model), None, "student"))
            for build, flags in BUILDS.items():
                cost = measure_cortex_m(core, sources, reference_inputs(model), flags=flags)
                ram = cost.state_bytes + cost.stack_bytes
                flash, stack = cost.sections.flash, cost.stack_bytes
                selftest = self_test_flash(package, "student", (*MACHINES[core].flags, *flags))
                yield PinnedCost(core, model, build, cost.instructions_per_step, flash, ram, stack, selftest)


def _with_self_test(model: str) -> dict[str, str]:
    """Return the C of a reference student and its self-test, text by file name."""
    student = reference_student(model)
    channels, classes = student.input_size, student.num_classes
    names, labels = tuple(map(str, range(channels))), tuple(map(str, range(classes)))
    metadata = Metadata("student", labels, names, ("",) * channels, None, (0.0,) * channels, (1.0,) * channels)
    files = package_files("c", student, metadata, name="student")
    return {Path(path).name: data.decode() for path, data in files.items() if path.startswith("src/")}


def differences(measured: list[PinnedCost], pinned: list[PinnedCost]) -> list[str]:
    """Return one line for each figure that is not as pinned."""
    before, now = ({row.key: row for row in rows} for rows in (pinned, measured))
    lines = []
    for key in [*now, *(key for key in before if key not in now)]:
        if key not in before or key not in now:
            lines.append(f"{' '.join(key)}: {'new' if key in now else 'gone'}")
            continue
        old, new = asdict(before[key]), asdict(now[key])
        lines += [f"{' '.join(key)}: {name} {old[name]:g} -> {new[name]:g}" for name in old if old[name] != new[name]]
    return lines


def read(path: Path) -> tuple[str, list[PinnedCost]]:
    """Return the compiler and the rows that `path` pins.

    Raises:
        MemkdEdgeError: the file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text())
        return content["compiler"], [PinnedCost(**row) for row in content["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MemkdEdgeError(f"{path}: no readable figures ({error}); write it with --update") from error


def write(path: Path, compiler: str, rows: list[PinnedCost]) -> None:
    """Write figures.json, a row a line, so that a diff shows what changed."""
    lines = ",\n".join("  " + json.dumps(asdict(row)) for row in rows)
    write_atomic(path, f'{{"compiler": "{compiler}", "rows": [\n{lines}\n]}}\n'.encode())


def show(rows: list[PinnedCost]) -> None:
    """Print the table."""
    print(f"{'core':8}{'model':7}{'build':7}{'instructions':>13}{'flash B':>9}{'RAM B':>7}{'stack B':>9}{'self-test B':>13}")
    for row in rows:
        instructions = f"{row.instructions:,.0f}"
        print(
            f"{row.core:8}{row.model:7}{row.build:7}{instructions:>13}{row.flash:>9,}{row.ram:>7}{row.stack:>9}{row.selftest:>13,}"
        )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Raises:
        GateError: a figure is not as pinned.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.pinned_costs", description="Cost of the generated C.")
    parser.add_argument("--update", action="store_true", help="write the figures instead of comparing")
    path = asset_dir("firmware_bench") / "figures.json"
    update = parser.parse_args(arguments).update
    pinned_compiler, pinned = ("", []) if update else read(path)
    compiler, rows = toolchain.version(_COMPILER), list(measure())
    show(rows)
    if update:
        write(path, compiler, rows)
    elif compiler != pinned_compiler:
        print(f"not compared: {path.name} was made with {pinned_compiler}, this is {compiler}", file=sys.stderr)
    elif changes := differences(rows, pinned):
        changed = "\n".join(changes)
        raise GateError(f"figures changed; if that is meant, run with --update and commit {path.name}:\n{changed}")


if __name__ == "__main__":
    try:
        main()
    except MemkdEdgeError as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(failure.exit_code)
