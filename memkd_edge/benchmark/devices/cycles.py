# SPDX-License-Identifier: Apache-2.0
"""Estimates cycles from the exact, dynamic instruction profile: each core's published instruction timings, with an interval.

Timings: Cortex-M0+ Technical Reference Manual (Arm DDI 0484), section 3.3; Cortex-M3 and M4 (DDI 0337, DDI 0439), section 3.3.
Arm publishes none for M7, M33 and M55: theirs are the M4's, scaled by the ratio of the published CoreMark/MHz (M4 3.40, M33
4.02, M55 4.20, M7 5.01). These are quoted at second hand: M0+ from the SAM D21's data sheet, M33 from Zephyr's page on the
STM32L552, M4 and M7 from public projects; Arm's comparison table gives 3.42 for M4. The M55's was not found in any document.

Vectors of the M55: Arm's Helium examples (Helium-Optimization, optimizing_c_functions.md) say that its data path has 64 bits,
so that a vector instruction takes two cycles, one of which may overlap with an instruction of another kind. What a gathering load
takes was not found: between two cycles and one for each of its elements.

RISC-V: Hazard3's documentation, section "Instruction Cycle Counts": one cycle, a load that the next instruction needs two, a
mispredicted or unaligned branch one more each. No such table of ESP32-C3 and C6 was found: theirs are Hazard3's, scaled by the
ratio of the published CoreMark/MHz (the RP2350's Hazard3 3.81, from its README; C3 2.55 and C6 3.10, from their datasheets, as
transcribed in public projects).

Compared with CoreMark, GCC 12 -O3 -funroll-loops, in CoreMark/MHz, against Arm's publications:

    core   model  interval      published
    M0+    2.07   [1.73, 2.59]  2.46
    M4     2.60   [1.92, 3.73]  3.40
    M33    3.09   [2.11, 5.07]  4.02
    M7     3.79   [2.58, 6.22]  5.01

The model is 16 to 24 % below the publications; why was not examined. The errors of M0+, M3 and M4 are such that the published
figures lie within the intervals. For M33 and M7 this is no independent check: their factors come from the same publications.
tests/benchmark/test_cycle_model.py keeps checking what needs neither a board nor CoreMark: the ratio of two cores on the
same work.
"""

import re
from dataclasses import dataclass

from memkd_edge.benchmark.emulation.measurement import Measurement
from memkd_edge.benchmark.report.figures import Figure
from memkd_edge.vocabulary import FigureKind


@dataclass(frozen=True)
class Timing:
    """How a core's cycles are estimated.

    family: "m0plus", "m4" or "hazard3", whose instruction costs apply. scale: of these costs, a ratio of published CoreMark/MHz
    where the core is another. error: relative error of the model, part of the interval.
    """

    family: str
    scale: float
    error: float


TIMINGS = {
    "m0plus": Timing("m0plus", 1.0, 0.20),
    "m3": Timing("m4", 1.0, 0.20),
    "m4": Timing("m4", 1.0, 0.20),
    "m7": Timing("m4", 3.40 / 5.01, 0.30),
    "m33": Timing("m4", 3.40 / 4.02, 0.30),
    "m55": Timing("m4", 3.40 / 4.20, 0.40),
    "esp32c3": Timing("hazard3", 3.81 / 2.55, 0.30),
    "esp32c6": Timing("hazard3", 3.81 / 3.10, 0.30),
    "hazard3": Timing("hazard3", 1.0, 0.20),
}


def estimate_cycles(measurement: Measurement, core: str, fetch_penalty: tuple[float, float] = (0.0, 0.0)) -> Figure:
    """Return the cycles of a step on `core`.

    Args:
        measurement: from `measure_firmware` on that core.
        core: a key of TIMINGS.
        fetch_penalty: part [lo, hi] by which flash wait states lengthen the run.
    """
    timing = TIMINGS[core]
    executed = 0
    lo = hi = vectors_lo = vectors_hi = 0.0
    previous = ""
    # In address order, so that `previous` is the instruction before in memory.
    for address in sorted(measurement.disassembly):
        text = measurement.disassembly[address]
        execution = measurement.profile.get(address)
        if execution is not None and (vector := _vector_cost(text)):
            vectors_lo += vector[0] * execution.count
            vectors_hi += vector[1] * execution.count
            executed += execution.count
        elif execution is not None:
            low, high = _cost(timing.family, text, previous)
            taken_low, taken_high = _branch_cost(timing.family, text)
            lo += low * execution.count + taken_low * execution.taken
            hi += high * execution.count + taken_high * execution.taken
            executed += execution.count
        previous = text
    steps = executed / measurement.instructions_per_step
    lo, hi = (lo * timing.scale + vectors_lo) / steps, (hi * timing.scale + vectors_hi) / steps
    middle = (lo + hi) / 2 * (1 + sum(fetch_penalty) / 2)
    return Figure(
        middle,
        FigureKind.ESTIMATED,
        "cycles",
        f"{measurement.tool}, cycle model {core} within {timing.error:.0%}",
        lo * (1 - timing.error) * (1 + fetch_penalty[0]),
        hi * (1 + timing.error) * (1 + fetch_penalty[1]),
    )


def _cost(family: str, text: str, previous: str) -> tuple[float, float]:
    """Return the least and the most cycles of an instruction whose branch, if it is one, is not taken."""
    mnemonic = text.split(" ", 1)[0].split(".")[0]
    if family == "hazard3":
        stalled = float(_waits(text, previous))
        return (18.0 + stalled, 19.0 + stalled) if mnemonic.startswith(("div", "rem")) else (1.0 + stalled, 1.0 + stalled)
    if mnemonic in ("push", "pop", "ldm", "ldmia", "ldmdb", "stm", "stmia", "stmdb", "vpush", "vpop", "vldmia", "vstmia"):
        cycles = 1.0 + _registers(text)
        return cycles, cycles
    if family == "m0plus":
        return (2.0, 2.0) if mnemonic.startswith(("ldr", "str")) else (1.0, 1.0)
    if mnemonic in ("ldrd", "strd"):
        return (2.0, 3.0)
    if mnemonic.startswith("ldr"):
        # Loads pipeline: after another load or store one costs a single cycle.
        return (1.0, 2.0) if previous.startswith(("ldr", "str")) else (2.0, 2.0)
    if mnemonic.startswith("str"):
        return (1.0, 2.0)
    if mnemonic in ("sdiv", "udiv"):
        return (2.0, 12.0)
    if mnemonic in ("it", "ite", "itt", "itee", "itet", "itte", "ittt"):
        return (0.0, 1.0)  # may be folded
    if mnemonic.startswith(("vdiv", "vsqrt")):
        return (14.0, 14.0)
    if mnemonic.startswith(("vmla", "vmls", "vfma", "vfms", "vnmla", "vnmls", "vfnma", "vfnms")):
        return (3.0, 3.0)
    if mnemonic in ("vldr", "vstr"):
        return (2.0, 2.0)
    return (1.0, 1.0)


def _vector_cost(text: str) -> tuple[float, float] | None:
    """Return the least and the most cycles of an instruction on vectors, of which an operand is a Q register; None for others."""
    mnemonic, _, operands = text.partition(" ")
    if not mnemonic.startswith("v") or not re.search(r"\bq\d", operands):
        return None
    if re.search(r"\[\w+, q\d|\[q\d", operands):  # by a vector of offsets or addresses
        return (2.0, 8.0 if ".16" in mnemonic or ".u16" in mnemonic or ".s16" in mnemonic else 4.0)
    return (1.0, 2.0)


def _branch_cost(family: str, text: str) -> tuple[float, float]:
    """Return what a taken branch adds, to refill the pipeline."""
    mnemonic = text.split(" ", 1)[0].split(".")[0]
    if family == "hazard3":
        # A branch taken before may have been predicted; a jump never is. An unaligned target costs one more.
        return (0.0, 2.0) if mnemonic.startswith("b") else (1.0, 2.0)
    if family == "m0plus":
        extra = 2.0 if mnemonic in ("bl", "pop") else 1.0
        return extra, extra
    return (1.0, 3.0)


def _waits(text: str, previous: str) -> bool:
    """Whether a RISC-V instruction reads what the load before it brings; the value that a store writes is not needed at once."""
    load = re.match(r"l(?:b|bu|h|hu|w) (\w+),", previous)
    operands = text.partition(" ")[2]
    read = operands if text.startswith("b") else operands.partition(",")[2]
    return load is not None and re.search(rf"\b{load[1]}\b", read) is not None


def _registers(text: str) -> int:
    """Return how many registers a list such as {r0, r4-r7, lr} names."""
    listed = re.search(r"\{(.*?)\}", text)
    total = 0
    for part in listed[1].split(",") if listed else []:
        bounds = [_register_number(name.strip()) for name in part.split("-")]
        total += bounds[-1] - bounds[0] + 1
    return total


def _register_number(name: str) -> int:
    named = {"sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14, "pc": 15}
    return named[name] if name in named else int(re.sub(r"\D", "", name))
