# SPDX-License-Identifier: Apache-2.0
"""The cost of the generated C, pinned: `make bench-c`, or

    python -m experiments.pinned_costs             # measure, print, compare with firmware_bench/figures.json
    python -m experiments.pinned_costs --update    # measure, print, write it: the diff shows what changed

All figures are emulated-exact: instructions of a step with the classifier, int16 entry, from call to return; bytes of flash that
the linker keeps for model, runtime and tables; RAM, the state and the deepest stack below the caller; bytes of flash that the
boot self-test adds. Of a push, which keeps a model's contract: the mean and the most instructions over a stream, and the flash
with what it calls. Of an input monitor, which is linked only where it is called: the instructions of a sample and of one that
completes a reading, and its flash.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from experiments.reference_students import SPECS, reference_inputs, reference_student
from memkd_edge import toolchain
from memkd_edge.assets import asset_dir
from memkd_edge.benchmark.emulation.cores import CORES as MACHINES
from memkd_edge.benchmark.emulation.firmware import measure_firmware
from memkd_edge.benchmark.emulation.image import CModel
from memkd_edge.errors import GateError, MemkdEdgeError
from memkd_edge.metadata import Metadata, SignalRange
from memkd_edge.packages.flash import self_test_flash
from memkd_edge.packages.folders import package_files
from memkd_edge.parsing import json_object
from memkd_edge.runs import write_atomic
from memkd_edge.vocabulary import Decision, Reset
from memkd_edge.writers.c_integer import emit_c

CORES = ("m0plus", "m3", "m4", "m7", "m33", "m55", "esp32c3", "hazard3")
BUILDS = {"fast": ("-O2",), "medium": ("-O2", "-DMEMKD_MEDIUM"), "small": ("-O2", "-DMEMKD_SMALL")}
_COMPILERS = ("arm-none-eabi-gcc", "riscv64-unknown-elf-gcc")


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


# What a model may be for; windows of 16 samples, so that the reference inputs have several.
CONTRACTS: dict[str, dict[str, Any]] = {
    "never": {"reset": Reset.NEVER, "decides": Decision.EVERY_SAMPLE, "decision_margin": 0.5},
    "window_end": {"reset": Reset.NEVER, "decides": Decision.WINDOW_END, "window_length": 16},
    "window": {"reset": Reset.WINDOW, "window_length": 16},
    "event": {"reset": Reset.EVENT, "window_length": 16, "warm_up": 4},
}


@dataclass(frozen=True)
class PinnedPush:
    """Cost of one push, int16 entry, fast form: instructions, mean and most; bytes of flash and of a stream."""

    core: str
    model: str
    contract: str
    instructions: float
    most: int
    flash: int
    stream: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What is measured."""
        return (self.core, self.model, self.contract)


@dataclass(frozen=True)
class PinnedMonitor:
    """Cost of watching a sample, int16 entry, fast form: instructions, mostly and with a reading; bytes of flash and RAM."""

    core: str
    model: str
    instructions: float
    reading: int
    flash: int
    ram: int

    @property
    def key(self) -> tuple[str, str]:
        """What is measured."""
        return (self.core, self.model)


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
                cost = measure_firmware(core, sources, reference_inputs(model), flags=flags)
                ram = cost.state_bytes + cost.stack_bytes
                flash, stack = cost.sections.flash, cost.stack_bytes
                selftest = _self_test_flash(package, core, flags)
                yield PinnedCost(core, model, build, cost.instructions_per_step, flash, ram, stack, selftest)


def _self_test_flash(package: Mapping[str, str], core: str, flags: tuple[str, ...]) -> int:
    spec = MACHINES[core]
    compiled = (*spec.flags, *spec.architecture.compile_flags, *flags)
    linked = (*(spec.library_flags or spec.flags), *spec.architecture.link_flags)
    return self_test_flash(package, "student", compiled, tools=spec.architecture.tools, link=linked)


def compilers() -> str:
    """Return the compilers that the figures depend on, with their versions.

    Raises:
        MissingToolError: one is not installed.
    """
    return ", ".join(dict.fromkeys(toolchain.version(compiler) for compiler in _COMPILERS))


def measure_pushes() -> Iterator[PinnedPush]:
    """Measure a push of every reference student under every contract on every core.

    Raises:
        MissingToolError: no cross compiler or emulator.
    """
    for core, model, (name, fields) in itertools.product(CORES, SPECS, CONTRACTS.items()):
        sources = emit_c(reference_student(model), replace(_metadata(model), **fields), "student")
        cost = measure_firmware(core, followed(sources, "student"), reference_inputs(model))
        flash = cost.sections.flash
        yield PinnedPush(core, model, name, cost.instructions_per_step, cost.instructions_max, flash, cost.state_bytes)


def measure_monitors() -> Iterator[PinnedMonitor]:
    """Measure the input monitor of every reference student on a Cortex-M4, with readings so long that none ends, and short ones.

    Raises:
        MissingToolError: no cross compiler or emulator.
    """
    for model in SPECS:
        long, short = (
            measure_firmware("m4", _watched(emit_c(reference_student(model), metadata, "student")), reference_inputs(model))
            for metadata in (_metadata(model), replace(_metadata(model), usual=_usual(SPECS[model].input_size)))
        )
        ram = long.state_bytes + long.stack_bytes
        yield PinnedMonitor("m4", model, long.instructions_per_step, short.instructions_max, long.sections.flash, ram)


def _usual(channels: int) -> SignalRange:
    low, high = (0.0,) * channels, (1.0,) * channels
    return SignalRange(16, low, high, low, high, 0.1, 1.0)


def _watched(sources: Mapping[str, str]) -> CModel:
    """Return a model whose step watches a sample, int16 entry, and whose logits are the flags alone."""
    header = """#include "student.h"
#define WATCH_CHANNELS STUDENT_CHANNELS
#define WATCH_CLASSES 1
typedef student_monitor_t watch_state_t;
#define watch_reset student_monitor_begin
static inline void watch_step_i16(watch_state_t *monitor, const int16_t *x, int16_t *logits) {
    student_reading_t readings[STUDENT_CHANNELS];
    logits[0] = (int16_t)student_monitor_i16(monitor, x, readings);
}
"""
    return CModel("watch", {**sources, "watch.h": header})


def followed(sources: Mapping[str, str], name: str) -> CModel:
    """Return a model whose step is a push of `sources`, int16 entry, and whose logits are the decision alone."""
    upper = name.upper()
    header = f"""#include "{name}.h"
#define FOLLOW_CHANNELS {upper}_CHANNELS
#define FOLLOW_CLASSES 1
typedef {name}_stream_t follow_state_t;
#define follow_reset {name}_begin
static inline void follow_step_i16(follow_state_t *stream, const int16_t *x, int16_t *logits) {{
    logits[0] = (int16_t){name}_push_i16(stream, x);
}}
"""
    return CModel("follow", {**sources, "follow.h": header})


def _metadata(model: str) -> Metadata:
    spec = SPECS[model]
    channels, classes = spec.input_size, spec.num_classes
    names, labels = tuple(map(str, range(channels))), tuple(map(str, range(classes)))
    return Metadata("student", labels, names, ("",) * channels, None, (0.0,) * channels, (1.0,) * channels)


def _with_self_test(model: str) -> dict[str, str]:
    """Return the C of a reference student and its self-test, text by file name."""
    files = package_files("c", reference_student(model), _metadata(model), name="student")
    return {Path(path).name: data.decode() for path, data in files.items() if path.startswith("src/")}


Pinned = Sequence[PinnedCost | PinnedPush | PinnedMonitor]


def differences(measured: Pinned, pinned: Pinned) -> list[str]:
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


def read(path: Path) -> tuple[str, list[PinnedCost], list[PinnedPush], list[PinnedMonitor]]:
    """Return the compiler and what `path` pins: steps, pushes, monitors.

    Raises:
        MemkdEdgeError: the file is missing or damaged.
    """
    try:
        content = json_object(path.read_bytes())
        costs, pushes = [PinnedCost(**row) for row in content["rows"]], [PinnedPush(**row) for row in content["pushes"]]
        return content["compiler"], costs, pushes, [PinnedMonitor(**row) for row in content["monitors"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MemkdEdgeError(f"{path}: no readable figures ({error}); write it with --update") from error


def write(path: Path, compiler: str, rows: list[PinnedCost], pushes: list[PinnedPush], monitors: list[PinnedMonitor]) -> None:
    """Write figures.json, a row a line, so that a diff shows what changed."""
    steps, pushed, watched = (",\n".join("  " + json.dumps(asdict(row)) for row in part) for part in (rows, pushes, monitors))
    text = f'{{"compiler": "{compiler}", "rows": [\n{steps}\n], "pushes": [\n{pushed}\n], "monitors": [\n{watched}\n]}}\n'
    write_atomic(path, text.encode())


def show(rows: list[PinnedCost], pushes: list[PinnedPush], monitors: list[PinnedMonitor]) -> None:
    """Print the tables."""
    print(f"{'core':9}{'model':7}{'build':7}{'instructions':>13}{'flash B':>9}{'RAM B':>7}{'stack B':>9}{'self-test B':>13}")
    for row in rows:
        instructions = f"{row.instructions:,.0f}"
        print(
            f"{row.core:9}{row.model:7}{row.build:7}{instructions:>13}{row.flash:>9,}{row.ram:>7}{row.stack:>9}{row.selftest:>13,}"
        )
    print(f"{'core':9}{'model':7}{'push, contract':16}{'instructions':>13}{'most':>9}{'flash B':>9}{'stream B':>10}")
    for push in pushes:
        instructions = f"{push.instructions:,.0f}"
        print(f"{push.core:9}{push.model:7}{push.contract:16}{instructions:>13}{push.most:>9,}{push.flash:>9,}{push.stream:>10}")
    print(f"{'core':9}{'model':7}{'input monitor':16}{'instructions':>13}{'reading':>9}{'flash B':>9}{'RAM B':>10}")
    for one in monitors:
        print(f"{one.core:9}{one.model:7}{'':16}{one.instructions:>13,.0f}{one.reading:>9,}{one.flash:>9,}{one.ram:>10}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Raises:
        GateError: a figure is not as pinned.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.pinned_costs", description="Cost of the generated C.")
    parser.add_argument("--update", action="store_true", help="write the figures instead of comparing")
    path = asset_dir("firmware_bench") / "figures.json"
    update = parser.parse_args(arguments).update
    pinned_compiler, pinned, pinned_pushes, pinned_monitors = ("", [], [], []) if update else read(path)
    compiler, rows, pushes, monitors = (
        compilers(),
        list(measure()),
        list(measure_pushes()),
        list(measure_monitors()),
    )
    show(rows, pushes, monitors)
    if update:
        write(path, compiler, rows, pushes, monitors)
    elif compiler != pinned_compiler:
        print(f"not compared: {path.name} was made with {pinned_compiler}, this is {compiler}", file=sys.stderr)
    elif changes := [
        *differences(rows, pinned),
        *differences(pushes, pinned_pushes),
        *differences(monitors, pinned_monitors),
    ]:
        changed = "\n".join(changes)
        raise GateError(f"figures changed; if that is meant, run with --update and commit {path.name}:\n{changed}")


if __name__ == "__main__":
    try:
        main()
    except MemkdEdgeError as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(failure.exit_code)
