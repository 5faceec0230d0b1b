# SPDX-License-Identifier: Apache-2.0
"""`memkd-edge verify`: checks every exported file of a run, or one file, in each runtime; the report and its gates.

A file of a run is measured against the run's float student on the run's test set. A file on its own is measured on seeded random
series against the first runtime that runs it, and against the golden vectors it carries.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import ExportConfig
from memkd_edge.contents import RunSeries, read_series, read_streams
from memkd_edge.errors import GateError, MemkdEdgeError, UsageError
from memkd_edge.formats.digest import digest_holds, is_broken
from memkd_edge.formats.embedded_metadata import onnx_metadata, read_onnx, tflite_metadata
from memkd_edge.formats.inspection import CHANGED, SHARED_SCALES
from memkd_edge.formats.step_interface import StepInterface, float_step, integer_step, onnx_sequence, onnx_step, tflite_step
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import Classifier, answers, ends_of, load_classifier
from memkd_edge.options import check
from memkd_edge.padding import held
from memkd_edge.progress import Reporter
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.sensor_front_end import Sensor
from memkd_edge.runs import SERIES, STUDENT, Run
from memkd_edge.threads import torch_threads
from memkd_edge.verification.along_streams import float_scores, integer_scores
from memkd_edge.verification.c_runtime import c_runners
from memkd_edge.verification.golden import as_input, read_golden
from memkd_edge.verification.never_reset import LongStream, StreamAgreement, failures, float_logits, long_stream, stream_agreement
from memkd_edge.verification.runtime_check import (
    FLOAT_TOLERANCE,
    STREAM_STEPS,
    Feed,
    GoldenVector,
    ReferenceData,
    RuntimeResult,
    check_runtimes,
    first_answer,
    one_stream,
    same,
)
from memkd_edge.verification.runtimes import Children, Runner, runners
from memkd_edge.vocabulary import Arithmetic, FigureKind, InputKind, Reset

REPORT = "export/verify.json"
C_FOLDERS = ("c", "c_float32")


@dataclass(frozen=True)
class FileReport:
    """One file: its size, hash, arithmetic and what each runtime gave. failures: the gates that failed; notes: what else to know.

    input, counts_per_unit: what its x stands for, as in `Metadata`. without_reset: of a model that is never reset, by arithmetic.
    """

    file: str
    bytes: int
    sha256: str
    arithmetic: str
    input: InputKind
    counts_per_unit: tuple[float, ...]
    results: tuple[RuntimeResult, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...] = ()
    without_reset: dict[Arithmetic, StreamAgreement] = field(default_factory=dict)

    @property
    def agreement(self) -> float | None:
        """The lowest agreement with the float student over the runtimes that ran, in [0, 1]; None if none ran."""
        return min((result.test.agreement for result in self.results if result.test is not None), default=None)


@dataclass(frozen=True)
class VerifyReport:
    """All files. series x steps: the test set each file streamed; stream_steps: the stream without a reset.

    along: of a run of recordings, `StreamScores.as_dict` along its test streams of the float student and of the files' integers.
    """

    target: str
    baseline: str
    min_agreement: float
    series: int
    steps: int
    stream_steps: int
    files: tuple[FileReport, ...]
    along: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def failures(self) -> list[str]:
        """Every gate that failed, in words."""
        return [f"{file.file}: {failure}" for file in self.files for failure in file.failures]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values; all accuracies are measured, on this machine's runtimes."""
        return {**asdict(self), "kind": FigureKind.MEASURED, "passed": not self.failures, "failures": self.failures}


class ParityError(GateError):
    """An exported file does not do what the float student, or the integer reference, does. `report` has the figures."""

    def __init__(self, report: VerifyReport) -> None:
        self.report = report
        super().__init__("verification failed:\n  " + "\n  ".join(report.failures))


def verify(target: Run | Path, *, min_agreement: float = 0.98, progress: Reporter | None = None) -> VerifyReport:
    """Verify every exported file of a run, or one file.

    The report on a run's files is also written to the run, as export/verify.json.

    Args:
        target: a run, or the path of a run directory, of a .tflite or of an .onnx file.
        min_agreement: share of equal decisions with the float student below which a file fails.

    Raises:
        UsageError: nothing there to verify, or `min_agreement` is below 0 or no number.
        MemkdEdgeError: a file is damaged, or is no streaming classifier.
        ParityError: a gate failed; it carries the report.
    """
    check(ExportConfig(min_agreement=min_agreement))
    progress = progress or Reporter()
    if isinstance(target, Path) and target.is_dir():
        target = Run.open(target)
    if isinstance(target, Run):
        paths = exported_files(target)
        if not paths:
            raise UsageError(f"{target.path} has no exported files; `memkd-edge export --run {target.path}` writes them")
        report = verify_run(target, paths, min_agreement, progress=progress)
    else:
        place = target.resolve()
        run = place.parent.parent
        # The files of a ready-made model as it is shipped, without series, are measured each on its own.
        if place.parent.name == "export" and (run / SERIES).is_file():
            report = verify_run(Run.open(run), [place], min_agreement, progress=progress)
        else:
            report = verify_file(target, min_agreement, progress)
    if report.failures:
        raise ParityError(report)
    return report


def exported_files(run: Run) -> list[Path]:
    """Return the files of <run>/export/ that can be verified: .tflite, .onnx and the model's source of generated C."""
    folder = run.path / "export"
    code = {path for name in C_FOLDERS for path in (folder / name).glob("*.c") if not path.name.startswith("memkd_")}
    # A model's stream and monitor stand beside it.
    sources = code - {path.with_name(f"{path.stem}_{part}.c") for path in code for part in ("stream", "monitor")}
    return sorted(path for path in folder.glob("*") if path.suffix in (".tflite", ".onnx")) + sorted(sources)


def verify_run(
    run: Run,
    paths: Sequence[Path],
    min_agreement: float,
    described: Metadata | None = None,
    integers: QuantizedClassifier | None = None,
    progress: Reporter | None = None,
) -> VerifyReport:
    """Measure exported files of `run` and record the result in the run, beside what is known of its other files.

    Args:
        described: what files that carry no metadata (stripped ones, C) take; when left out, what the record says of them.
        integers: what the files were just written from; when left out, computed anew.

    Raises as `verify` does, but for the gates: the caller finds those in the report.
    """
    progress = progress or Reporter()
    kept, streams = read_series(run), read_streams(run)
    endless = held_out_stream(run) if run.metadata.reset == Reset.NEVER else None
    folder, files, known = run.path / "export", [], _recorded(run)
    along: dict[str, dict[str, Any]] = {}
    students: dict[Path, _Student] = {}
    with Children() as children:
        for path in progress.each("verify", paths, "files", lambda path: path.name):
            name = path.relative_to(folder).as_posix()
            tuned = path.with_suffix(".safetensors")  # stands beside a file that was fine-tuned
            weights = tuned if tuned.is_file() else run.check_weights(STUDENT)
            if weights not in students:
                students[weights] = _Student(weights, kept, tuned.is_file(), integers, endless)
            student = students[weights]
            metadata = described or _as_recorded(run.metadata, known.get(name))
            if path.suffix == ".c":
                ways = _open_c(path, student, metadata)
            else:
                opened = _open(path, children, metadata)
                if opened.metadata is not None and opened.interface.logits.dtype != "float32":
                    opened = replace(opened, model=student.integers(opened.metadata))
                ways = [opened]
            measured = _measured(path, name, ways, student.reference, min_agreement, progress)
            progress.step("never reset", note="integers against the float student")
            files.append(student.with_gate(measured, ways, min_agreement))
            progress.step("test streams")
            if streams and "float" not in along:
                along["float"] = float_scores(student.model, streams, run.metadata)
            for way in ways:
                if streams and way.model is not None and way.arithmetic not in along:
                    along[way.arithmetic] = integer_scores(way.model, Arithmetic(way.arithmetic), way.feed, streams, run.metadata)
    series, steps, _ = kept.x_test.shape
    report = VerifyReport(
        str(run.path), "float student in torch", min_agreement, series, steps, STREAM_STEPS, tuple(files), along
    )
    record = report.as_dict()
    record["files"] = [*record["files"], *(file for name, file in known.items() if name not in {f.file for f in files})]
    run.write_json(REPORT, record)
    return report


def verify_file(path: Path, min_agreement: float, progress: Reporter) -> VerifyReport:
    """Measure a file of no run: its runtimes against the first of them on random series, and against its golden vectors.

    Raises as `verify` does, but for the gates: the caller finds those in the report.
    """
    with Children() as children:
        opened = replace(_open(path, children), feed=same)
        spread = opened.interface.x.scale * 2000 if opened.interface.x.dtype == "int16" else 1.0
        x = (spread * np.random.default_rng(0).standard_normal((8, 100, opened.interface.x.width))).astype(np.float32)
        long = one_stream(x)
        baseline, after_series, along_stream = first_answer(opened.runners, opened.interface, x, long)
        data = ReferenceData(x, None, long, after_series, along_stream)
        file = _measured(path, path.name, [opened], data, min_agreement, progress)
    series, steps, _ = x.shape
    return VerifyReport(str(path), baseline, min_agreement, series, steps, STREAM_STEPS, (file,))


def float_reference(student: Classifier, x: NDArray[np.float32], y: NDArray[np.int64] | None) -> ReferenceData:
    """Return what to measure on, answered by the float student in torch: x [N, T, C] normalised, padded or not, y [N]."""
    import torch

    long = one_stream(x)
    with torch.inference_mode(), torch_threads(1):  # two threads take a hundred times as long over one long stream
        logits, _ = answers(student, torch.from_numpy(held(x)), ends_of(x))
        _, hidden = student(torch.from_numpy(long))
        stream_logits = student.head(hidden[0])
    return ReferenceData(x, y, long, logits.numpy(), stream_logits.numpy())


class _Student:
    """A float student that files are measured against: its answers, and its integers, each computed once.

    tuned: it was fine-tuned through its integers. integers: where they are known; else they are computed for each input. endless:
    what it is compared with its integers along, where it is never reset.
    """

    def __init__(
        self, weights: Path, series: RunSeries, tuned: bool, integers: QuantizedClassifier | None, endless: LongStream | None
    ) -> None:
        self.model = load_classifier(weights)
        self._endless = endless
        self.reference = float_reference(self.model, series.x_test, series.y_test)
        self._x_calibration, self._tuned, self._known = series.x_calibration, tuned, integers
        self._computed: dict[Any, QuantizedClassifier] = {}

    def integers(self, metadata: Metadata) -> QuantizedClassifier:
        """Return the integer model for the input that `metadata` describes."""
        if self._known is not None:
            return self._known
        key = (metadata.counts_per_unit, metadata.mean, metadata.std, metadata.resampling) if metadata.counts_per_unit else ()
        if key not in self._computed:
            self._computed[key] = quantized(self.model, metadata, self._x_calibration, self._tuned)
        return self._computed[key]

    @cached_property
    def _along(self) -> NDArray[np.float64]:
        """Its logits along the endless stream."""
        assert self._endless is not None
        return float_logits(self.model, self._endless)

    def with_gate(self, file: FileReport, ways: Sequence["_Opened"], min_agreement: float) -> FileReport:
        """Return the report with how the file's integers decide without a reset, and the gate on it."""
        if self._endless is None or (model := ways[0].model) is None:
            return file
        found = {
            arithmetic: stream_agreement(model, arithmetic, ways[0].feed, self._endless, self._along, min_agreement)
            for arithmetic in (Arithmetic.INT8, Arithmetic.INT16X8)
        }
        own = {arithmetic: one for arithmetic, one in found.items() if arithmetic in {way.arithmetic for way in ways}}
        failed = failures(own, finer=found[Arithmetic.INT16X8])
        return replace(file, without_reset=own, failures=(*file.failures, *failed))


@dataclass(frozen=True)
class _Opened:
    """One way into a file: its interface, what runs it, the golden vectors it carries. arithmetic: of its operators.

    metadata: its own, or what is known of it. feed: normalised series to its x. model: the integers it was written from.
    """

    interface: StepInterface
    arithmetic: str
    runners: Sequence[Runner]
    metadata: Metadata | None = None
    feed: Feed = same
    golden: Sequence[GoldenVector] = ()
    model: QuantizedClassifier | None = None
    notes: tuple[str, ...] = ()


def _open(path: Path, children: Children, described: Metadata | None = None) -> _Opened:
    """Read and validate a .tflite or .onnx file, run in `children`; `described` stands in for metadata it does not carry."""
    notes, dynamic = [], False
    if path.suffix == ".tflite":
        file = read_tflite(path)
        interface, metadata = tflite_step(file), tflite_metadata(file)
        arithmetic: str = {"int8": Arithmetic.INT8, "int16": Arithmetic.INT16X8}.get(interface.logits.dtype, Arithmetic.FLOAT32)
        changed = metadata is not None and not digest_holds(path.read_bytes())
    elif path.suffix == ".onnx":
        model = read_onnx(path)
        interface = onnx_sequence(model, str(path)) or onnx_step(model, str(path))
        metadata, changed = onnx_metadata(model, path), is_broken(path.read_bytes())
        dynamic = any(node.op_type.startswith("DynamicQuantize") for node in model.graph.node)
        arithmetic = "dynamic int8" if dynamic else Arithmetic.FLOAT32
        if dynamic and not interface.states:
            notes.append(SHARED_SCALES)
    else:
        raise UsageError(f"{path}: verify takes a run directory, a .tflite or an .onnx file; generated C is verified in its run")
    if changed:
        notes.append(CHANGED)
    golden: Sequence[GoldenVector] = ()
    if metadata is not None:
        widths, named = (interface.x.width, interface.logits.width), (len(metadata.channels), len(metadata.labels))
        if widths != named:
            raise MemkdEdgeError(
                f"{path}: the graph has {widths[0]} channels and {widths[1]} classes, its metadata {named[0]} and {named[1]}"
            )
        golden = read_golden(metadata, str(path))
    known = metadata or described
    # As it is used: onnxruntime would share the activations' scales over all series of a call.
    ways = runners(path, interface, children, alone=dynamic)
    return _Opened(interface, arithmetic, ways, known, feed(known), golden, notes=tuple(notes))


def _open_c(path: Path, student: _Student, metadata: Metadata) -> list[_Opened]:
    """Return the entries into generated C: float32, or int8 and int16x8."""
    if path.parent.name == "c_float32":
        interface = float_step(student.model.spec)
        physical = replace(metadata, input=InputKind.RAW, counts_per_unit=())  # it normalises by itself
        (runners,) = c_runners(path, [interface])
        return [_Opened(interface, Arithmetic.FLOAT32, runners, physical, feed(physical))]
    model = student.integers(metadata)
    # What was exported for int16 samples is not held to what int8 ones lose.
    entries = [Arithmetic.INT16X8] if metadata.arithmetic == Arithmetic.INT16X8 else [Arithmetic.INT8, Arithmetic.INT16X8]
    steps = {arithmetic: integer_step(model, arithmetic) for arithmetic in entries}
    return [
        _Opened(interface, arithmetic, runners, metadata, feed(metadata), model=model)
        for (arithmetic, interface), runners in zip(steps.items(), c_runners(path, list(steps.values())), strict=True)
    ]


def quantized(student: Classifier, metadata: Metadata, x_calibration: NDArray[np.float32], tuned: bool) -> QuantizedClassifier:
    """Return the integer model of `student`, fine-tuned or not, for the input that `metadata` describes.

    Raises:
        UsageError: a student, or sensor counts, that cannot be quantised.
    """
    sensor = None
    if metadata.counts_per_unit:
        sensor = Sensor(metadata.counts_per_unit, metadata.mean, metadata.std, metadata.resampling)
    never_reset = metadata.reset == Reset.NEVER
    return quantize(student, x_calibration, sensor=sensor, fine_tuned=tuned, never_reset=never_reset)


def feed(metadata: Metadata | None) -> Feed:
    """Return what turns normalised series [N, T, C] into what a file's x stands for."""
    if metadata is None or metadata.input == InputKind.NORMALISED:
        return same
    mean, std = np.asarray(metadata.mean, np.float32), np.asarray(metadata.std, np.float32)
    return lambda x: as_input(metadata, x * std + mean)


def _measured(
    path: Path, name: str, ways: Sequence[_Opened], data: ReferenceData, min_agreement: float, progress: Reporter
) -> FileReport:
    results: list[RuntimeResult] = []
    failures: dict[str, list[str]] = {}  # what failed: in which runtimes
    for opened in ways:
        interface = opened.interface
        if interface.x.width != data.x.shape[2] or interface.logits.width != data.logits.shape[1]:
            raise MemkdEdgeError(
                f"{path}: it takes {interface.x.width} channels and gives {interface.logits.width} classes; the run has "
                f"{data.x.shape[2]} and {data.logits.shape[1]}: the file belongs to another run"
            )
        found = check_runtimes(
            opened.runners, interface, data, feed=opened.feed, model=opened.model, golden=opened.golden, progress=progress
        )
        limit = (
            FLOAT_TOLERANCE * max(1.0, float(np.abs(data.logits).max())) if opened.arithmetic == Arithmetic.FLOAT32 else np.inf
        )
        results += found
        for result in found:
            for failure in result.failures(min_agreement, limit):
                failures.setdefault(failure, []).append(result.title)
    content, known = path.read_bytes(), ways[0].metadata
    return FileReport(
        name,
        len(content),
        hashlib.sha256(content).hexdigest(),
        ", ".join(opened.arithmetic for opened in ways),
        InputKind.NORMALISED if known is None else known.input,
        () if known is None else known.counts_per_unit,
        tuple(results),
        tuple(f"{', '.join(titles)}: {failure}" for failure, titles in failures.items()),
        ways[0].notes,
    )


def _recorded(run: Run) -> dict[str, dict[str, Any]]:
    """Return what the run's report says of files that are there and have not changed since, by name."""
    try:
        return {
            file["file"]: file
            for file in run.read_json(REPORT)["files"]
            if (run.path / "export" / file["file"]).is_file()
            and hashlib.sha256(run.read_bytes(f"export/{file['file']}")).hexdigest() == file["sha256"]
        }
    except (MemkdEdgeError, KeyError, TypeError):
        return {}


def _as_recorded(metadata: Metadata, record: dict[str, Any] | None) -> Metadata:
    if record is None:
        return metadata
    known = replace(metadata, input=InputKind(record["input"]), counts_per_unit=tuple(record["counts_per_unit"]))
    return replace(known, arithmetic=Arithmetic.INT16X8) if record["arithmetic"] == Arithmetic.INT16X8 else known


def held_out_stream(run: Run) -> LongStream:
    """Return what the integers of a run that is never reset are compared with its float student along: its test part, looped.

    Raises:
        MemkdEdgeError: as `read_series` and `read_streams`.
    """
    return long_stream([x for x, _ in read_streams(run)] or list(read_series(run).x_test), run.metadata.decides)
