# SPDX-License-Identifier: Apache-2.0
"""Shows what export, verify and inspect found, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memkd_edge.cli.stream_tables import stream_figures, streams_in_words
from memkd_edge.cli.tables import NONE, Column, Grid, Part
from memkd_edge.contract import stream_in_words
from memkd_edge.formats.inspection import Inspection, TensorInfo

if TYPE_CHECKING:  # they load torch, which `inspect` has no use for
    from memkd_edge.benchmark.report.figures import Figure
    from memkd_edge.exporting.npu import NpuVerdict
    from memkd_edge.exporting.pipeline import ExportReport
    from memkd_edge.verification.pipeline import FileReport, VerifyReport
    from memkd_edge.verification.runtime_check import Accuracy, RuntimeResult

MAX_TENSORS = 200  # rows; --json has all


def export_parts(report: ExportReport) -> Iterator[Part]:
    """Return the written files with their sizes, then how they did in every runtime."""
    yield from verification_parts(report.verification)
    folder = Path(report.run) / "export"
    files = Grid(f"Written into {folder}", "file", "bytes")
    for path in report.files:
        files.add_row(str(path.relative_to(folder)), f"{path.stat().st_size:,}")
    yield files
    if report.rounding is not None:
        yield f"Test AUC-PRC: {report.rounding.float32:.4f} in float, {report.rounding.integer:.4f} in integers"
    if report.advice:
        yield f"advice: {report.advice}"


def npu_parts(verdict: NpuVerdict, beside: tuple[Figure, Figure] | str) -> Iterator[Part]:
    """Return what Vela made of a file, and the same step as C on a Cortex-M55, or why there are no figures of it."""
    rows = Grid(f"{verdict.accelerator}, {verdict.tool}", "one step on", "operators", "instructions", "cycles")
    rows.add_row("the NPU", f"{verdict.on_npu} of {verdict.on_npu + verdict.on_cpu}", "", f"{verdict.cycles:,.0f}")
    if not isinstance(beside, str):
        instructions, cycles = beside
        interval = f"{cycles.value:,.0f} [{cycles.lo:,.0f}, {cycles.hi:,.0f}]"
        rows.add_row("a Cortex-M55 itself, generated C", "", f"{instructions.value:,.0f}", interval)
    yield rows
    if isinstance(beside, str):
        yield f"No figures of the C on the Cortex-M55 itself: {beside}"
    yield (
        "Cycles of the NPU: Vela's estimate, of its own clock and without starting it. Of the Cortex-M55: instructions are "
        "emulated-exact, cycles estimated."
    )


def verification_parts(report: VerifyReport) -> Iterator[Part]:
    """Return what the run decides along streams, then what each runtime gave for each file."""
    if report.along:
        yield stream_figures("Along the test streams", report.along)
        yield streams_in_words(next(iter(report.along.values())))
    if any(file.without_reset for file in report.files):
        yield from _without_reset(report.files)
    for file in report.files:
        yield _table(report, file)
        yield from (f"note: {note}" for note in file.notes)
        yield from (
            f"{one.title}: {', '.join(filter(None, [one.status, one.detail]))}" for one in file.results if one.status != "ok"
        )
    yield (
        f"measured, against the {report.baseline}: {report.series} series of {report.steps} steps, each from a reset, and one "
        f"stream of {report.stream_steps:,} steps without a reset. Integers are compared with the numpy reference; * in single "
        "steps from its states, where a rounding tie may differ."
    )


def _without_reset(files: Sequence[FileReport]) -> tuple[Grid, str]:
    """Return how integers do along a long stream, and what stream that is."""
    rows = Grid(
        "Integers against the float student, never reset",
        "file",
        "arithmetic",
        "agreement",
        Column("at least", detail=1),
        Column("logit error", detail=2),
    )
    for file in files:
        for arithmetic, one in file.without_reset.items():
            rows.add_row(file.file, arithmetic, f"{one.agreement:.4f}", f"{one.limit:g}", f"{one.logit_error:.2g} (mean)")
    one = next(one for file in files for one in file.without_reset.values())
    return rows, f"Measured at {one.decisions:,} decisions along {stream_in_words(one.samples, one.held_out)}."


def _table(report: VerifyReport, file: FileReport) -> Grid:
    rows = Grid(
        f"{file.file}: {file.bytes:,} bytes, {file.arithmetic}",
        "runtime",
        "agreement",
        Column("accuracy", detail=1),
        Column("logit error (mean)", detail=2),
        "in stream: agreement",
        Column("in stream: logit error (mean)", detail=3),
        "differing integers",
        "state",
    )
    for result in file.results:
        if result.status != "ok":
            continue
        rows.add_row(
            result.title,
            _share(result.test),
            "" if result.accuracy is None else f"{result.accuracy:.4f}",
            _error(result.test),
            _share(result.stream),
            _error(result.stream),
            _integers(result),
            {True: "kept", False: "LOST", None: ""}[result.state_kept],
        )
    return rows


def _share(accuracy: Accuracy | None) -> str:
    return "" if accuracy is None else f"{accuracy.agreement:.4f}"


def _error(accuracy: Accuracy | None) -> str:
    return "" if accuracy is None else f"{accuracy.max_error:.2g} ({accuracy.mean_error:.2g})"


def _integers(result: RuntimeResult) -> str:
    if result.mismatches is None:
        return ""
    return f"{result.mismatches:,} of {result.compared:,}" + (" " if result.exact else "*")


def inspection_parts(found: Inspection) -> Iterator[Part]:
    """Return facts, signatures, tensors, operators, metadata and warnings of one file."""
    facts = Grid(found.path, "fact", Column("value", words=True))
    facts.add_row("format", found.format)
    facts.add_row("bytes", f"{found.bytes:,}, of which {found.constant_bytes:,} are constants")
    facts.add_row("sha256", found.sha256)
    facts.add_row("streaming step", found.streaming)
    for name, value in found.other.items():
        facts.add_row(name, value)
    if found.operators:
        facts.add_row("operators", ", ".join(f"{name} x{n}" if n > 1 else name for name, n in found.operators.items()))
    yield facts
    for signature in found.signatures:
        rows = Grid(f"Signature {signature.key}", "name", "side", "shape", "type", "scale", Column("zero point", detail=1))
        for side, tensors in (("in", signature.inputs), ("out", signature.outputs)):
            for name, tensor in tensors.items():
                rows.add_row(name, side, *_described(tensor))
        yield rows
    rows = Grid("Tensors", "name", "shape", "type", "scale", Column("zero point", detail=1), "bytes")
    for tensor in found.tensors[:MAX_TENSORS]:
        rows.add_row(tensor.name, *_described(tensor), f"{tensor.bytes:,}" if tensor.bytes else "")
    yield rows
    if len(found.tensors) > MAX_TENSORS:
        yield f"... and {len(found.tensors) - MAX_TENSORS} more tensors; --json lists all"
    if found.metadata is not None:
        rows = Grid("Metadata memkd_edge", "field", Column("value", words=True))
        for name, value in vars(found.metadata).items():
            rows.add_row(name, _stated(name, value))
        yield rows
    for warning in found.warnings:
        yield f"warning: {warning}"


def _stated(name: str, value: object) -> str:
    """Return a field of the metadata in words; "-" for what is not known."""
    if name == "golden" and isinstance(value, tuple):
        return f"{len(value)} test vectors; --json has them"
    if name == "accuracy" and isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, tuple):
        return ", ".join(str(one) or NONE for one in value) if any(map(str, value)) else NONE
    return NONE if value in (None, "") else str(value)


def _described(tensor: TensorInfo) -> tuple[str, str, str, str]:
    scales = [f"{scale:.9g}" for scale in tensor.scales[:1]] + (["..."] if len(tensor.scales) > 1 else [])
    points = [str(point) for point in tensor.zero_points[:1]] + (["..."] if len(tensor.zero_points) > 1 else [])
    shape = "[" + ", ".join(str(size) for size in tensor.shape) + "]"
    return shape, tensor.dtype, " ".join(scales), " ".join(points)
