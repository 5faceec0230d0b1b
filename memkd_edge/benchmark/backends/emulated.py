# SPDX-License-Identifier: Apache-2.0
"""The backends without a device: microcontrollers and Raspberry Pi class under QEMU, and sizes only."""

import functools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from memkd_edge import toolchain
from memkd_edge.benchmark.backends.litert_aarch64 import measure_file_aarch64
from memkd_edge.benchmark.backends.tflm import explain, find_builds
from memkd_edge.benchmark.builds import Build, Builds, collect
from memkd_edge.benchmark.devices import estimates
from memkd_edge.benchmark.devices.cycles import estimate_cycles
from memkd_edge.benchmark.devices.profiles import Device
from memkd_edge.benchmark.emulation import arm64_root
from memkd_edge.benchmark.emulation.cores import CORES, CORTEX_M
from memkd_edge.benchmark.emulation.firmware import DoesNotFitError, measure_firmware
from memkd_edge.benchmark.emulation.measurement import Measurement
from memkd_edge.benchmark.emulation.qemu_user import measure_aarch64
from memkd_edge.benchmark.report.figures import BuildFigures, DeviceReport, Figure
from memkd_edge.config import BenchConfig
from memkd_edge.progress import Reporter
from memkd_edge.vocabulary import Arithmetic, FigureKind

TEACHER_STEPS = 4


def bench_aarch64(device: Device, builds: Builds, config: BenchConfig, progress: Reporter) -> DeviceReport:
    """Measure the generated C as aarch64 programs under qemu-user."""
    rows = []
    made, reasons = _c_builds(builds)
    for build in progress.each(device.name, made, "builds"):
        assert build.source is not None
        measurement = measure_aarch64(device.core, build.source, build.inputs, flags=build.flags, timeout_s=config.timeout_s)
        build.check(measurement.logits, device.name)
        figures = exact_figures(measurement)
        latency = estimates.latency_from_instructions(figures["instructions"], measurement.sections.weights, device)
        rows.append(BuildFigures(build.model, build.name, {**figures, "latency": latency}))
    root = arm64_root.location()
    if arm64_root.is_built(root):
        rows += _litert_rows(root, device, builds, config, progress)
    else:
        reasons.append("For .tflite rows through LiteRT on this device: memkd-edge doctor --arm64-root")
    return DeviceReport(device.name, device.title, tuple(rows), (*reasons, *filter(None, [device.note])))


def bench_firmware(device: Device, builds: Builds, config: BenchConfig, progress: Reporter) -> DeviceReport:
    """Measure firmware under QEMU, linked with the device's memory sizes: generated C, and on Cortex-M TFLite Micro if given."""
    made, reasons = _c_builds(builds, builds.student_medium_c, builds.student_small_c)
    rows = [_firmware_row(device, build, config) for build in progress.each(device.name, made, "builds")]
    for library in find_builds(Path(config.tflm_dir), device.core) if config.tflm_dir and device.core in CORTEX_M else []:
        makers: list[Callable[[], Build]] = [
            partial(builds.student_tflm, interface, library) for interface in (Arithmetic.INT8, Arithmetic.INT16X8)
        ]
        files = progress.each(f"{device.name}, TFLM", collect(makers)[0], "builds")
        rows += [_tflm_row(device, build, config, library.place) for build in files]
    return DeviceReport(device.name, device.title, tuple(rows), (*reasons, *filter(None, [device.note])))


def step_on_core(core: str, build: Build) -> tuple[Figure, Figure]:
    """Return instructions and cycles of a step of generated C on a core.

    Raises:
        MissingToolError: no cross compiler or emulator.
    """
    assert build.source is not None
    measurement = measure_firmware(core, build.source, build.inputs, flags=build.flags)
    build.check(measurement.logits, core)
    return exact_figures(measurement)["instructions"], estimate_cycles(measurement, core)


def bench_sizes(device: Device, builds: Builds, config: BenchConfig, progress: Reporter) -> DeviceReport:
    """Give the bytes of constants and state for a core that no emulator here runs.

    They are those of the portable C for any 32-bit core, taken from a Cortex-M3 build; code size is the device compiler's affair.
    """
    rows = []
    made, reasons = _c_builds(builds)
    for build in progress.each(device.name, made, "builds"):
        assert build.source is not None
        measurement = measure_firmware("m3", build.source, build.inputs, timeout_s=config.timeout_s)
        build.check(measurement.logits, device.name)
        figures = exact_figures(measurement)
        kept = {name: figures[name] for name in ("weights", "tables", "state", "static")}
        constants = kept["weights"].value + kept["tables"].value
        available = device.bytes("flash_kib") or 0
        note = "" if constants <= available else f"does not fit: constants of {constants:,.0f} B, flash of {available:,} B"
        rows.append(BuildFigures(build.model, build.name, kept, note))
    return DeviceReport(device.name, device.title, tuple(rows), (*reasons, *filter(None, [device.note])))


def exact_figures(measurement: Measurement) -> dict[str, Figure]:
    """Return what emulation gives exactly. RAM is the caller's state, static variables, arena and the deepest stack together."""
    exact = functools.partial(Figure, kind=FigureKind.EMULATED, tool=measurement.tool)
    sections = measurement.sections
    ram = measurement.state_bytes + sections.static + measurement.arena_bytes + measurement.stack_bytes
    figures = {
        "weights": exact(sections.weights, unit="B"),
        "tables": exact(sections.tables, unit="B"),
        "code": exact(sections.code, unit="B"),
        "library": exact(sections.library, unit="B"),
        "flash": exact(sections.flash, unit="B"),
        "state": exact(measurement.state_bytes, unit="B"),
        "stack": exact(measurement.stack_bytes, unit="B"),
        "static": exact(sections.static, unit="B"),
        "ram": exact(ram, unit="B"),
        "instructions": exact(measurement.instructions_per_step, unit="instructions"),
    }
    if measurement.arena_bytes:
        figures["arena"] = exact(measurement.arena_bytes, unit="B")
        figures["arena_used"] = exact(measurement.arena_used_bytes, unit="B")
    return figures


def _c_builds(builds: Builds, *more: Callable[[], Build]) -> tuple[list[Build], list[str]]:
    makers: list[Callable[[], Build]] = [
        builds.student_int8_c,
        *more,
        partial(builds.float_c, "student"),
        partial(builds.float_c, "teacher"),
    ]
    made, reasons = collect(makers)
    # A teacher takes millions of emulated instructions a step, the same at each.
    return [build.first(TEACHER_STEPS) if build.model == "teacher" else build for build in made], reasons


def _litert_rows(root: Path, device: Device, builds: Builds, config: BenchConfig, progress: Reporter) -> list[BuildFigures]:
    makers: list[Callable[[], Build]] = [
        builds.student_int8_tflite,
        builds.student_int16_tflite,
        partial(builds.float_tflite, "student"),
        partial(builds.float_tflite, "teacher"),
    ]
    rows = []
    for build in progress.each(f"{device.name}, LiteRT", collect(makers)[0], "builds"):
        try:
            measurement = measure_file_aarch64(root, device.core, build, timeout_s=config.timeout_s)
        except toolchain.ToolFailedError as error:
            rows.append(BuildFigures(build.model, build.name, note=f"did not run in {root}: {error.last_line}"))
            continue
        build.check(measurement.result.logits, device.name)
        exact = functools.partial(Figure, kind=FigureKind.EMULATED, tool=measurement.tool)
        figures = {
            "file": exact(len(build.file), unit="B"),
            "weights": exact(build.weight_bytes, unit="B"),
            "state": exact(measurement.result.state_bytes, unit="B"),
            "instructions": exact(measurement.instructions_per_step, unit="instructions"),
        }
        figures["latency"] = estimates.latency_from_instructions(figures["instructions"], build.weight_bytes, device)
        rows.append(BuildFigures(build.model, f"{build.name}, {measurement.runtime}", figures))
    return rows


def _firmware_row(device: Device, build: Build, config: BenchConfig) -> BuildFigures:
    assert build.source is not None
    try:
        measurement = measure_firmware(
            device.core,
            build.source,
            build.inputs,
            flags=build.flags,
            flash_bytes=device.bytes("flash_kib"),
            ram_bytes=device.bytes("ram_kib"),
            timeout_s=config.timeout_s,
        )
    except DoesNotFitError as error:
        weights = Figure(build.weight_bytes, FigureKind.EMULATED, "B", CORES[device.core].architecture.compiler)
        return BuildFigures(build.model, build.name, {"weights": weights}, str(error))
    build.check(measurement.logits, device.name)
    figures = exact_figures(measurement)
    penalty = device.quantities.get("fetch_penalty")
    figures["cycles"] = estimate_cycles(measurement, device.core, (penalty.lo, penalty.hi) if penalty else (0.0, 0.0))
    figures["latency"] = estimates.latency_from_cycles(figures["cycles"], device)
    return BuildFigures(build.model, build.name, figures)


def _tflm_row(device: Device, build: Build, config: BenchConfig, place: str) -> BuildFigures:
    """The row of a file in TFLite Micro. The file is what the linker sees as constants; the weights are a part of it."""
    try:
        row = _firmware_row(device, build, config)
    except toolchain.ToolFailedError as error:
        raise explain(error, Path(config.tflm_dir)) from error
    if "instructions" not in row.figures:
        return row
    exact = replace(row.figures["weights"], value=build.weight_bytes)
    figures = {"file": row.figures["weights"], **row.figures, "weights": exact}
    note = f"{place}: state kept between calls, {len(build.inputs)} steps equal to the integer reference"
    return replace(row, figures=figures, note=note)
