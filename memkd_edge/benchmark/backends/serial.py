# SPDX-License-Identifier: Apache-2.0
"""Measures on a real microcontroller through its UART.

`bench --device ./myboard.toml --firmware DIR` (backend = "serial", with port and baud) writes the firmware's sources: the model,
the runner, and an output_*.c to replace by the board's own UART. Flash it; then `bench --device ./myboard.toml` reads what it
says. Ticks are processor cycles: SysTick, or with -DPORT_TICKS_DWT the cycle counter of M3 and up.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from memkd_edge.benchmark.builds import Build, Builds
from memkd_edge.benchmark.devices.estimates import latency_from_cycles
from memkd_edge.benchmark.devices.profiles import Device
from memkd_edge.benchmark.emulation.image import write_sources
from memkd_edge.benchmark.protocol import Parser, Result
from memkd_edge.benchmark.report.figures import BuildFigures, DeviceReport, Figure
from memkd_edge.config import BenchConfig
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.progress import Reporter
from memkd_edge.serial_port import open_port
from memkd_edge.vocabulary import FigureKind

LONGEST_LINE = 4096


def bench_serial(device: Device, builds: Builds, config: BenchConfig, progress: Reporter) -> DeviceReport:
    """Read the measurement of the int8 student from the board, or write the firmware's sources."""
    build = builds.student_int8_c()
    if config.firmware:
        return DeviceReport(device.name, device.title, (), (_write_firmware(Path(config.firmware), build),))
    progress.note(f"waiting for {device.title} on {device.port}: reset the board")
    with open_port(device.port, device.baud, named_by="`port` of the profile") as connection:
        result = read_result(connection, floats=False, timeout_s=config.timeout_s, where=f"{device.title} on {device.port}")
    build.check(result.logits, device.name)
    ticks = np.array(result.ticks, np.float64)
    if not ticks.any():
        raise MemkdEdgeError(
            f"{device.title} on {device.port}: every step took 0 cycles: its counter stands still; output_start() has to start it"
        )
    tool = f"firmware on the board, {device.port}"
    figures = {
        "cycles": Figure(round(float(np.median(ticks)), 1), FigureKind.MEASURED, "cycles", tool),
        "latency": _latency(float(np.median(ticks)), device, tool),
        "latency_p99": _latency(float(np.percentile(ticks, 99)), device, tool),
        "state": Figure(result.state_bytes, FigureKind.MEASURED, "B", tool),
        "stack": Figure(result.stack, FigureKind.MEASURED, "B", tool),
    }
    return DeviceReport(
        device.name, device.title, (BuildFigures(build.model, build.name, figures),), tuple(filter(None, [device.note]))
    )


def _latency(cycles: float, device: Device, tool: str) -> Figure:
    """Return the time that so many cycles take; with a clock that is not known exactly it is an estimate."""
    clock = device.quantities["clock_mhz"]
    if clock.lo < clock.hi:
        return latency_from_cycles(Figure(cycles, FigureKind.MEASURED, "cycles", tool), device)
    return Figure(round(cycles / clock.value, 3), FigureKind.MEASURED, "us", tool)


def read_result(connection: Any, *, floats: bool, timeout_s: float, where: str) -> Result:
    """Read lines until a measurement is complete.

    Garbage and foreign lines are skipped; a board that resets begins anew.

    Args:
        connection: has read(size) -> bytes that returns what there is within its own short time limit.
        floats: the logits are float32.
        timeout_s: limit for the whole measurement.
        where: names the board in messages.

    Raises:
        MemkdEdgeError: no complete measurement within the limit, a fault on the board, damaged lines, or the port vanished.
    """
    parser = Parser(floats=floats)
    deadline = time.monotonic() + timeout_s
    pending = b""
    received = 0
    while time.monotonic() < deadline:
        try:
            chunk = connection.read(256)
        except OSError as error:
            raise MemkdEdgeError(f"{where}: the port is gone ({error}); was the board unplugged?") from error
        received += len(chunk)
        *lines, pending = (pending + chunk).split(b"\n")
        pending = pending[-LONGEST_LINE:]
        for line in lines:
            result = parser.push(line.decode("ascii", errors="replace"))
            if result is not None:
                return result
    hint = (
        "nothing came: check port, wiring and power"
        if received == 0
        else "check the baud rate, and that this run's firmware is on it, and reset the board"
    )
    raise MemkdEdgeError(f"{where}: no complete measurement within {timeout_s:g} s; {hint}")


def _write_firmware(folder: Path, build: Build) -> str:
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; name a new folder with --firmware")
    assert build.source is not None
    folder.mkdir(parents=True, exist_ok=True)
    write_sources(folder, build.source, build.inputs, passes=1)
    return (
        f"Firmware sources are in {folder}; replace output_cmsdk_uart.c by your board's UART, build, flash, and run bench again."
    )
