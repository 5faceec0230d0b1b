# SPDX-License-Identifier: Apache-2.0
"""Puts what a run found into numbers, words, tables and curves."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.benchmark.report.figures import BuildFigures, DeviceReport, Figure
from memkd_edge.benchmark.report.words import COST, LEGEND, figure_text
from memkd_edge.contents import (
    MethodMetrics,
    Metrics,
    RecordingMethodMetrics,
    RecordingMetrics,
    read_config,
    read_curves,
    read_metrics,
    read_recording_metrics,
)
from memkd_edge.contract import contract
from memkd_edge.decisions import OperatingPoint, nearest_point, refusal_in_words
from memkd_edge.pages.document import Chart, Code, Document, Number, Numbers, Player, Section, Strong, Table
from memkd_edge.pages.replay import Recording, Replay
from memkd_edge.pages.run_facts import CheckedFile, benched_devices, checked_files
from memkd_edge.runs import CONFIGURATION, Run
from memkd_edge.vocabulary import Decision, Reset

NONE = "-"  # in a cell without a value
DEVICE_COLUMNS = ("flash", "ram", "instructions", "cycles", "latency", "energy")


@dataclass(frozen=True)
class Found:
    """What metrics.json says, put into words; the same of a run of recordings and of one of windows."""

    score: Number
    blocks: tuple[str | Table | Chart, ...]
    methods: Table
    kind: str
    parameters: int
    compression: float
    teacher_parameters: int
    kept: str
    warning: str


def found_by(run: Run) -> Found:
    """Return what the run's metrics say.

    Raises:
        MemkdEdgeError: metrics.json is missing or damaged.
    """
    return _of_recordings(run) if run.metadata.decides == Decision.EVERY_SAMPLE else _of_windows(run)


def run_document(
    run: Run, found: Found, replay: Replay, points: Sequence[OperatingPoint], module: bytes | None, without_module: str
) -> Document:
    """Return the page of a run.

    Args:
        found: its metrics, as of `found_by`.
        replay: its held-out recordings, answered.
        points: of the decision layer along them.
        module: its student as WebAssembly, or None.
        without_module: why there is none.

    Raises:
        MemkdEdgeError: a file of the run is damaged.
    """
    devices, checked = benched_devices(run), checked_files(run)
    sections = [
        Section("The verdict", (Numbers((found.score, _size(found, checked), _cost(devices))),)),
        Section(
            "Along the recordings" if not replay.noise else "The student, live", (_player(replay, run, module, without_module),)
        ),
        Section("How good it is", found.blocks),
        *([_delays(points, run.metadata.decision_margin)] if points else []),
        Section(
            "Methods compared",
            (*_learning(run), found.methods, f"Kept: {found.kept}.", *([found.warning] if found.warning else [])),
        ),
        *([_costs(devices)] if devices else []),
        *([_checks(checked)] if checked else []),
        _origin(run, found.teacher_parameters),
    ]
    return Document(
        title=f"{run.metadata.dataset}: {found.kind.upper()} student of {found.parameters:,} parameters",
        notice=_whose(run, replay),
        lead=" ".join(contract(run.metadata, resampled=False).sentences),
        sections=tuple(sections),
    )


def _whose(run: Run, replay: Replay) -> str:
    if replay.noise:
        return "This page holds no recordings: its signals are seeded noise."
    metadata = run.metadata
    if metadata.dataset_terms:
        return f"This page holds recordings from {metadata.dataset}; their terms stand at its end."
    return f"This page holds recordings from {metadata.dataset}: share it only as those may be shared."


def _of_recordings(run: Run) -> Found:
    metrics = read_recording_metrics(run)
    return _found(metrics, _stream_score(metrics), _along(metrics, run), _methods(metrics.methods, "macro F1", "f1_macro"))


def _of_windows(run: Run) -> Found:
    metrics = read_metrics(run)
    return _found(metrics, _window_score(metrics, run), _windows(metrics, run), _methods(metrics.methods, "AUC-PRC", "auc_prc"))


def _found(metrics: Metrics | RecordingMetrics, score: Number, blocks: tuple[str | Table | Chart, ...], methods: Table) -> Found:
    student = metrics.student
    return Found(
        score,
        blocks,
        methods,
        student.kind,
        student.parameters,
        student.compression,
        metrics.teacher.parameters,
        metrics.kept_because,
        metrics.warning,
    )


def _stream_score(metrics: RecordingMetrics) -> Number:
    student = metrics.student.held or metrics.student.stream
    return Number(
        "of all samples decided right, never reset",
        f"{student['accuracy']:.3f}",
        f"measured on {student['seconds']:,.0f} s of held-out streams; teacher {metrics.teacher.stream['accuracy']:.3f}, "
        f"always the most frequent class {student['majority']:.3f}; macro F1 {student['f1_macro']:.3f}"
        f"{'' if metrics.student.refusal is None else '; of the class held, refused or not'}",
    )


def _window_score(metrics: Metrics, run: Run) -> Number:
    student, event = metrics.student, run.metadata.reset == Reset.EVENT
    never = student.test_never_reset
    stream = f"; never reset {never.accuracy:.3f}" if never is not None else ""
    majority = metrics.majority
    chance = f", always {majority.label} {majority.test.accuracy:.3f}" if majority is not None else ""
    return Number(
        f"of the test {'events' if event else 'series'} decided right, each from its start",
        f"{student.test.accuracy:.3f}",
        f"measured; teacher {metrics.teacher.test.accuracy:.3f}{chance}{stream}",
    )


def _size(found: Found, checked: Sequence[CheckedFile]) -> Number:
    fewer = f"{found.compression:,.0f}x fewer than the teacher's"
    detail = f"{found.parameters:,} parameters, {fewer}"
    if not checked:
        return Number("parameters", f"{found.parameters:,}", f"{fewer}; not exported yet")
    # What firmware takes stands for the others.
    shown = min(checked, key=lambda one: (not one.file.endswith("_int8.tflite"), not one.file.endswith(".tflite"), one.bytes))
    return Number("bytes of model file", f"{shown.bytes:,}", f"{shown.file}; {detail}")


def _cost(devices: Sequence[DeviceReport]) -> Number:
    for device in devices:
        row = device.first_row("student")
        if row is None:
            continue
        for name, words in (("instructions", "instructions a sample"), ("latency", "a sample")):
            if name in row.figures:
                ratio = device.ratio(name)
                than = f"; the teacher takes {ratio:,.0f}x" if ratio is not None else ""
                kind = row.figures[name].kind
                return Number(words, figure_text(row.figures[name]), f"{kind}, {row.build} on {device.title}{than}")
    return Number("cost of a sample", "not benched", "memkd-edge bench --device NAME")


def _player(replay: Replay, run: Run, module: bytes | None, without_module: str) -> Player:
    metadata = replay.metadata
    use = contract(metadata, resampled=True)
    return Player(
        {
            "labels": list(metadata.labels),
            "channels": list(metadata.channels),
            "units": list(metadata.units),
            "rate": metadata.sample_rate_hz,
            "scale": [float(value) for value in replay.scale],
            "of": replay.of,
            "noise": replay.noise,
            "refuses": use.refuses,
            "recordings": [_packed(one) for one in replay.recordings],
            "moments": [
                {"recording": one.recording, "start": one.start, "end": one.end, "label": one.label, "decided": one.decided}
                for one in replay.moments
            ],
            "module": None if module is None else base64.b64encode(module).decode(),
            "without_module": without_module,
            "name": metadata.name,
        },
        f"{len(replay.recordings)} of {replay.of} held-out recordings are shown in the page, which needs JavaScript.",
    )


def _packed(one: Recording) -> dict[str, Any]:
    return {
        "name": one.name,
        "accuracy": round(one.accuracy, 4) if one.judged.any() else None,
        "refused": round(one.refused, 4),
        "samples": _base64(one.counts.astype("<i2")),
        "scores": _base64(np.round(one.scores * 255).astype(np.uint8)),
        "labels": _runs(one.labels),
        "decisions": _runs(one.decisions),
        "teacher": None if one.teacher is None else _runs(one.teacher),
    }


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _runs(values: NDArray[np.int64]) -> list[list[int]]:
    """Return [value, how often] of each run of equal values."""
    borders = np.flatnonzero(np.diff(values)) + 1
    starts = np.concatenate([[0], borders])
    lengths = np.diff(np.append(starts, len(values)))
    return [[int(values[start]), int(length)] for start, length in zip(starts, lengths, strict=True)]


def _along(metrics: RecordingMetrics, run: Run) -> tuple[str | Table | Chart, ...]:
    """Tables of a model that decides at every sample."""
    judged, measured = metrics.judged, metrics.judged_with_integers
    figures = (
        ("accuracy per sample", "accuracy", "{:.3f}"),
        ("macro F1", "f1_macro", "{:.3f}"),
        ("settled accuracy", "settled_accuracy", "{:.3f}"),
        ("delay, median, s", "delay_median_s", "{:.2f}"),
        ("delay, 90 % within, s", "delay_p90_s", "{:.2f}"),
        ("segments missed", "missed", "{:.3f}"),
        ("false switches a minute", "false_switches_per_minute", "{:.1f}"),
        ("event F1", "event_f1", "{:.3f}"),
        ("always the most frequent class", "majority", "{:.3f}"),
    )
    rows = tuple(
        (name, *(NONE if one[key] is None else form.format(one[key]) for one in measured.values())) for name, key, form in figures
    )
    shown = judged["student, held"] if "student, held" in judged else judged["student"]
    labels, refusal = run.metadata.labels, metrics.student.refusal
    since = Chart(
        "Accuracy by the time since a stream's start, measured, never reset: a model that forgets or drifts falls here.",
        "seconds since the start of the stream",
        "accuracy",
        tuple(judged),
        (
            tuple(float(start) for start, _ in shown["accuracy_since_start"]),
            *(tuple(float(value) for _, value in one["accuracy_since_start"]) for one in judged.values()),
        ),
    )
    return (
        Table(("", *measured), rows, "Measured on held-out streams, never reset. Held: with the margin of the decision layer."),
        *([] if refusal is None else [f"{refusal_in_words(refusal)} The figures here are of the class held, refused or not."]),
        since,
        _class_table([(label, one) for label, one in zip(labels, shown["classes"], strict=True)], "samples"),
        _confusion(labels, shown["confusion"], "samples"),
    )


def _windows(metrics: Metrics, run: Run) -> tuple[Table | Chart, ...]:
    """Tables of a model that decides once a series."""
    student, teacher = metrics.student, metrics.teacher
    rows: list[tuple[str, ...]] = [("accuracy", f"{teacher.test.accuracy:.3f}", Strong(f"{student.test.accuracy:.3f}"))]
    rows.append(("AUC-PRC", f"{teacher.test.auc_prc:.3f}", f"{student.test.auc_prc:.3f}"))
    if student.test.f1_macro is not None and teacher.test.f1_macro is not None:
        rows.append(("macro F1", f"{teacher.test.f1_macro:.3f}", f"{student.test.f1_macro:.3f}"))
    if student.test_never_reset is not None:
        rows.append(("accuracy, never reset", NONE, f"{student.test_never_reset.accuracy:.3f}"))
    if metrics.majority is not None:
        majority = f"{metrics.majority.test.accuracy:.3f}"
        rows.append((f"always {metrics.majority.label}", majority, majority))
    each = "event, which the program starts" if run.metadata.reset == Reset.EVENT else "window, from a reset"
    classes = [(str(one["label"]), {**one, "samples": one["support"]}) for one in student.per_class]
    figures = Table(("", "teacher", "student"), tuple(rows), f"Measured, one answer for each {each}.")
    return figures, _class_table(classes, "series")


def _class_table(classes: Sequence[tuple[str, dict[str, Any]]], what: str) -> Table:
    rows = tuple(
        (label, f"{one['samples']:,}", f"{one['precision']:.3f}", f"{one['recall']:.3f}", f"{one['f1']:.3f}")
        for label, one in classes
    )
    return Table(("class", what, "precision", "recall", "F1"), rows, "The student, class by class.")


def _confusion(labels: Sequence[str], table: Sequence[Sequence[int]], what: str) -> Table:
    rows = tuple(
        (label, *(Strong(f"{count:,}") if row == column else f"{count:,}" for column, count in enumerate(counts)))
        for row, (label, counts) in enumerate(zip(labels, table, strict=True))
    )
    return Table(("is \\ decided", *labels), rows, f"Confusion of the student, {what}; what is right stands out.")


def _delays(points: Sequence[OperatingPoint], margin: float) -> Section:
    """Delay against false switches, over the margin."""
    chosen = nearest_point(points, margin)
    table = Table(
        ("margin, logits", "median delay, s", "false switches a minute", "accuracy"),
        tuple(
            (
                Strong(f"{one.margin:g}") if index == chosen else f"{one.margin:g}",
                f"{one.scores.delay_median_s:.2f}",
                f"{one.scores.false_switches_per_minute:.1f}",
                f"{one.scores.accuracy:.3f}",
            )
            for index, one in enumerate(points)
        ),
        "Measured along the recordings shown; the margin was not chosen by them.",
        folded="The same as a table",
    )
    return Section(
        "Delay against false switches",
        (
            "Another class takes over where it leads the one held by a margin. A larger one switches less, and later.",
            Chart(
                f"One point a margin; the model's is {margin:g}. Measured.",
                "median delay, s",
                "false switches a minute",
                ("",),
                (
                    tuple(one.scores.delay_median_s for one in points),
                    tuple(one.scores.false_switches_per_minute for one in points),
                ),
                chosen,
                points=True,
            ),
            table,
        ),
    )


def _learning(run: Run) -> tuple[Chart, ...]:
    curves = read_curves(run)
    if curves is None or len(curves.epochs) < 2:
        return ()
    columns = tuple(tuple(one.score) for one in curves.methods)
    return (
        Chart(
            "Held-out score while the students were trained, each method with its best weight, mean over seeds. Measured.",
            "epochs",
            curves.measure,
            tuple(_method(one.method, one.weight) for one in curves.methods),
            (tuple(float(epoch) for epoch in curves.epochs), *columns),
        ),
    )


def _methods(rows: Sequence[MethodMetrics] | Sequence[RecordingMethodMetrics], measure: str, key: str) -> Table:
    """Tell every method with its figures. measure, key: what selected, in words and in the names of the rows' fields."""
    cells = tuple(
        (
            Strong(_method(one.method, one.weight)) if one.kept else _method(one.method, one.weight),
            f"{getattr(one, f'validation_{key}_mean'):.3f} ± {getattr(one, f'validation_{key}_std'):.3f}",
            NONE if one.test_accuracy_mean is None else f"{one.test_accuracy_mean:.3f} ± {one.test_accuracy_std or 0:.3f}",
            "kept" if one.kept else "",
        )
        for one in rows
    )
    columns = ("method, weight", f"held-out {measure}", "test accuracy", "")
    return Table(columns, cells, "Mean ± standard deviation over seeds; measured.")


def _method(name: str, weight: float) -> str:
    return f"{name}, {weight:g}" if weight else name


def _costs(devices: Sequence[DeviceReport]) -> Section:
    tables = []
    for device in devices:
        shown = [name for name in DEVICE_COLUMNS if any(name in row.figures for row in device.rows)]
        rows = tuple((f"{row.model}, {row.build}", *(_cell(row, name) for name in shown)) for row in device.rows if row.figures)
        notes = [f"{row.model}, {row.build}: {row.note}" for row in device.rows if row.note]
        tables.append(Table((device.title, *(COST[name] for name in shown)), rows, " ".join([*notes, *device.caveats])))
    return Section("What a sample costs", (LEGEND, *tables))


def _cell(row: BuildFigures, name: str) -> str:
    figure: Figure | None = row.figures.get(name)
    return NONE if figure is None else figure_text(figure).replace("\n", " ")


def _checks(checked: Sequence[CheckedFile]) -> Section:
    rows = tuple(
        (
            f"{one.file}, {one.runtime}",
            f"{one.bytes:,}",
            NONE if one.agreement is None else f"{one.agreement:.4f}",
            NONE if one.stream_agreement is None else f"{one.stream_agreement:.4f}",
            NONE if one.mismatches is None else f"{one.mismatches:,} of {one.compared:,}",
        )
        for one in checked
    )
    note = "Measured against the float student; differing integers are compared with the numpy reference."
    columns = ("file, runtime", "bytes", "agreement", "never reset", "differing integers")
    return Section("Checked in every runtime", (Table(columns, rows, note),))


def _origin(run: Run, teacher_parameters: int) -> Section:
    environment, metadata = run.environment(), run.metadata
    rate = f"{metadata.sample_rate_hz:g} Hz" if metadata.sample_rate_hz else "unknown"
    channels = ", ".join(
        f"{name} ({unit})" if unit else name for name, unit in zip(metadata.channels, metadata.units, strict=True)
    )
    rows = (
        ("data set", metadata.dataset),
        ("its SHA-256", metadata.dataset_sha256 or NONE),
        ("its terms", metadata.dataset_terms or NONE),
        ("held out", metadata.dataset_split or "as the data set has it"),
        ("channels", channels),
        ("sample rate", rate),
        ("teacher", f"{teacher_parameters:,} parameters"),
        ("run", run.run_id),
        ("finished", f"{environment.get('time', NONE)} (UTC)"),
        ("memkd-edge", str(environment.get("version", NONE))),
        ("options that differ from the defaults", ", ".join(_changed(run)) or "none"),
    )
    return Section(
        "Where it comes from",
        (Table(("", ""), rows, words=True), Code((run.path / CONFIGURATION).read_text("utf-8"))),
    )


def _changed(run: Run) -> list[str]:
    config = read_config(run)
    default = type(config)()
    return [f"{name} = {value}" for name, value in vars(config).items() if value != getattr(default, name)]
