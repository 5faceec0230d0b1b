# SPDX-License-Identifier: Apache-2.0
"""Shows bench reports: rich tables for people, CSV for spreadsheets."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from memkd_edge.benchmark.devices.profiles import Device
from memkd_edge.benchmark.doctor import Check
from memkd_edge.benchmark.report.figures import BenchReport, DeviceReport
from memkd_edge.benchmark.report.words import COST, LEGEND, figure_text
from memkd_edge.cli.tables import Column, Grid, Part

# figure -> column title, of the bytes
BYTES = {
    "file": "file",
    "weights": "weights",
    "tables": "tables",
    "code": "code",
    "library": "library",
    "state": "state",
    "stack": "stack",
    "static": "static",
    "arena": "arena",
    "arena_used": "arena used",
}
# figure -> how soon it is left out where a table is too wide
DETAIL = {
    "latency_p90": 6,
    "latency_p99": 5,
    "cycles": 4,
    "peak_memory": 3,
    "energy": 3,
    "latency": 2,
    "accuracy": 1,
    "arena_used": 5,
    "static": 4,
    "tables": 3,
    "arena": 2,
    "library": 1,
    "file": 1,
}
RATIOS = ("weights", "flash", "ram", "instructions", "cycles", "latency", "energy")
BACKENDS = {
    "host": "wall time here",
    "qemu-user": "emulated",
    "qemu-cortex-m": "emulated",
    "qemu-riscv": "emulated",
    "sizes": "sizes only",
    "ssh": "over ssh",
    "serial": "over its UART",
}


def bench_parts(report: BenchReport) -> Iterator[Part]:
    """Return two tables per device, and what must be known to read them."""
    for device in report.devices:
        yield _table(device, f"{device.title}: cost of one sample (run {report.run})", COST)
        bytes_table = _table(device, f"{device.title}: bytes", BYTES)
        if len(bytes_table.columns) > 1:
            yield bytes_table
        yield from (f"{row.model}, {row.build}: {row.note}" for row in device.rows if row.note)
        yield from device.caveats
    if len(report.devices) > 1:
        yield _comparison(report)
    yield LEGEND


def devices_parts(devices: Sequence[Device]) -> Iterator[Part]:
    """Return the device profiles, one a line."""
    words = (Column("device", words=True), Column("measured", words=True, detail=1))
    grid = Grid("Devices", "name", *words, "clock", "flash", "RAM")
    for device in devices:
        clock = device.quantities.get("clock_mhz")
        memory = [_memory(device.bytes(name)) for name in ("flash_kib", "ram_kib")]
        grid.add_row(device.name, device.title, BACKENDS[device.backend], f"{clock.value:g} MHz" if clock else "", *memory)
    yield grid
    yield "Emulated: exact counts, estimated time."


def checks_parts(checks: Sequence[Check]) -> Iterator[Part]:
    """Return what `doctor` found, and how to get the rest."""
    grid = Grid("Tools", "tool", Column("for", words=True), Column("found", words=True))
    for check in checks:
        grid.add_row(check.name, check.purpose, check.found or "missing")
    yield grid
    yield from (f"{check.name}: {check.remedy}" for check in checks if not check.found)


def to_csv(report: BenchReport) -> str:
    """Return one line per figure: device, model, build, figure, value, lo, hi, unit, kind, tool."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["device", "model", "build", "figure", "value", "lo", "hi", "unit", "kind", "tool"])
    for device in report.devices:
        for row in device.rows:
            for name, figure in row.figures.items():
                value = (figure.value, figure.lo, figure.hi, figure.unit, figure.kind, figure.tool)
                writer.writerow([device.device, row.model, row.build, name, *value])
    return buffer.getvalue()


def _memory(size: int | None) -> str:
    if size is None:
        return ""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size // 1024:,} KiB"


def _table(device: DeviceReport, title: str, columns: Mapping[str, str]) -> Grid:
    # A column of zeros says nothing: most models have no static variables, most runtimes no arena.
    shown = [name for name in columns if any(row.figures[name].value for row in device.rows if name in row.figures)]
    titles = {**columns, "latency": "latency p50"} if "latency_p99" in shown else columns
    grid = Grid(title, "", *(Column(titles[name], detail=DETAIL.get(name, 0)) for name in shown))
    for row in device.rows:
        cells = [figure_text(row.figures[name]) if name in row.figures else "" for name in shown]
        grid.add_row(f"{row.model}, {row.build}", *cells)
    ratios = {name: ratio for name in shown if name in RATIOS and (ratio := device.ratio(name)) is not None}
    compared = device.compared()
    if compared is not None and ratios:
        grid.add_section()
        grid.add_row(
            f"teacher {compared[0].build} /\nstudent {compared[1].build}",
            *(_times(ratios[name]) if name in ratios else "" for name in shown),
        )
    return grid


def _comparison(report: BenchReport) -> Grid:
    """One line per device: the first row of the student, the build recommended there."""
    students = {device.title: device.first_row("student") for device in report.devices}
    rows = {title: row for title, row in students.items() if row is not None}
    shown = [name for name in COST if any(name in row.figures for row in rows.values())]
    grid = Grid(
        f"The student on each device (run {report.run})", "", *(Column(COST[name], detail=DETAIL.get(name, 0)) for name in shown)
    )
    for title, row in rows.items():
        grid.add_row(f"{title}: {row.build}", *(figure_text(row.figures[name]) if name in row.figures else "" for name in shown))
    return grid


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.1f}x"
