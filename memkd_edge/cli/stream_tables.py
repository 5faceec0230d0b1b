# SPDX-License-Identifier: Apache-2.0
"""Shows how good decisions are: along streams, what `StreamScores.as_dict` says of models side by side, and on windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from memkd_edge.cli.tables import NONE, Column, Grid, Part, methods_grid
from memkd_edge.contents import RecordingMetrics
from memkd_edge.decisions import refusal_in_words
from memkd_edge.runs import Run
from memkd_edge.stream_scores import SETTLING_S, TOLERANCE_S

if TYPE_CHECKING:
    from memkd_edge.classification import ClassifyReport
    from memkd_edge.window_classification import WindowsReport

Judged = dict[str, dict[str, Any]]  # a model's name: its scores


def _share(value: float) -> str:
    return f"{value:.3f}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _rate(value: float) -> str:
    return f"{value:.1f}"


_FIGURES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("accuracy per sample", "accuracy", _share),
    ("macro F1", "f1_macro", _share),
    (f"settled accuracy, without {SETTLING_S:g} s around changes", "settled_accuracy", _share),
    ("delay, median", "delay_median_s", _seconds),
    ("delay, 90 % within", "delay_p90_s", _seconds),
    ("segments missed", "missed", _share),
    (f"false switches a minute, none within {TOLERANCE_S:g} s", "false_switches_per_minute", _rate),
    (f"event F1, within {TOLERANCE_S:g} s", "event_f1", _share),
)


def stream_grids(title: str, labels: Sequence[str], judged: Judged) -> list[Grid]:
    """Return the tables of models that were judged on the same streams: figures, classes, time since the start, confusion.

    judged: at least one; the last is shown in full. What is infinite or undefined is a dash.
    """
    one = next(iter(judged.values()))
    *others, name = judged
    columns = {
        **{Column(f"{other} F1"): (other, "f1") for other in others},
        **{Column(f"{name} {key}", detail=1): (name, key) for key in ("precision", "recall")},
        Column(f"{name} F1"): (name, "f1"),
    }
    classes = Grid("Classes, per sample", "class", "samples", *columns)
    for index, label in enumerate(labels):
        cells = (_share(judged[whose]["classes"][index][key]) for whose, key in columns.values())
        classes.add_row(label, f"{one['classes'][index]['samples']:,}", *cells)

    since = Grid("Accuracy by time since the start of a stream", "from, to", *judged)
    for row, (start, _) in enumerate(one["accuracy_since_start"]):
        accuracies = (_share(scores["accuracy_since_start"][row][1]) for scores in judged.values())
        since.add_row(f"{start:g}, {2 * start or 1:g} s", *accuracies)

    confusion = Grid(f"Confusion of {name}, samples", "is", *(Column(f"decided {label}", detail=1) for label in labels))
    for label, row in zip(labels, judged[name]["confusion"], strict=True):
        confusion.add_row(label, *(f"{count:,}" for count in row))
    return [stream_figures(title, judged), classes, since, confusion]


def stream_figures(title: str, judged: Judged) -> Grid:
    """Return the first of the tables: one row a figure, one column a model."""
    figures = Grid(title, "figure", *judged)
    for name, key, shown in _FIGURES:
        figures.add_row(name, *(NONE if scores[key] is None else shown(scores[key]) for scores in judged.values()))
    figures.add_section()
    majority = (_share(scores["majority"]) for scores in judged.values())
    figures.add_row("always the most frequent class: accuracy", *majority)
    return figures


def streams_in_words(scores: dict[str, Any]) -> str:
    """Return what was judged."""
    count = scores["streams"]
    return (
        f"Measured on {scores['seconds']:,.0f} s of {count} {'stream' if count == 1 else 'streams'} that the models ran through "
        f"without a reset, {scores['events_per_minute']:.1f} changes a minute."
    )


def classification_parts(report: ClassifyReport) -> Iterator[Part]:
    """Return how good the decisions are where there are labels, and how long each class was decided."""
    if report.along is not None:
        yield from stream_grids("Along the recordings", report.labels, {"model": report.along})
        yield streams_in_words(report.along)
        if report.refused:
            yield "Accuracies, precision and recall are of the samples with an answer; none is no right decision after a change."
    total = sum(report.samples.values()) + report.undecided + report.refused
    amounts = Grid("Decided", "class", "seconds", "share")
    for label, samples in [*report.samples.items(), ("not yet", report.undecided), ("none", report.refused)]:
        amounts.add_row(label, f"{samples * report.seconds / total:,.1f}", f"{samples / total:.1%}")
    yield amounts
    yield from report.notes
    if report.out:
        yield f"Written: {report.out}"


def window_parts(report: WindowsReport) -> Iterator[Part]:
    """Return how good the decisions on windows are where their classes are known, and how many windows each class got."""
    scores = report.scores
    if scores is not None:
        figures = Grid(f"On {scores['windows']:,} windows", "figure", "model")
        for name, key in (("accuracy", "accuracy"), ("macro F1", "f1_macro"), ("AUC-PRC", "auc_prc")):
            figures.add_row(name, _share(scores[key]) if key in scores else NONE)
        figures.add_section()
        figures.add_row("always the most frequent class: accuracy", _share(scores["majority"]))
        yield figures
        if "classes" in scores:
            classes = Grid("Classes", "class", "windows", Column("precision", detail=1), Column("recall", detail=1), "F1")
            for row in scores["classes"]:
                shares = (_share(row[key]) for key in ("precision", "recall", "f1"))
                classes.add_row(row["label"], f"{row['support']:,}", *shares)
            yield classes
    amounts = Grid("Decided", "class", "windows", "share")
    for label, count in [*report.decided.items(), ("not yet", report.undecided), ("none", report.refused)]:
        amounts.add_row(label, f"{count:,}", f"{count / report.windows:.1%}")
    yield amounts
    yield from report.notes
    if report.out:
        yield f"Written: {report.out}"


def recordings_parts(run: Run, metrics: RecordingMetrics) -> Iterator[Part]:
    """Return teacher against student at every sample of the test streams, never reset, then every method."""
    student, judged, measured = metrics.student, metrics.judged, metrics.judged_with_integers
    title = f"Along streams, {run.metadata.dataset}"
    figures = stream_figures(title, measured)
    figures.add_row("parameters", f"{metrics.teacher.parameters:,}", *[f"{student.parameters:,}"] * (len(measured) - 1))
    figures.add_row("compression", "1x", *[f"{student.compression:.0f}x"] * (len(measured) - 1))
    yield figures
    yield from stream_grids(title, run.metadata.labels, judged)[1:]
    yield streams_in_words(student.stream)
    if "student, held" in judged:
        lead = f"{student.decision_margin:g} in the logits"
        yield f"Held: a class stays until another leads by {lead}; chosen along held-out streams."
    if student.refusal is not None:
        yield refusal_in_words(student.refusal)
    yield methods_grid(metrics.methods, "macro F1", "f1_macro")
    yield f"Kept: {metrics.kept_because}"
    yield from (f"Note: {note}" for note in (metrics.seldom, metrics.warning) if note)
    if run.metadata.dataset_terms:
        yield f"Terms of use of the recordings: {run.metadata.dataset_terms}"
    yield f"Run: {run.path}"
