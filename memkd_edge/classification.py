# SPDX-License-Identifier: Apache-2.0
"""`memkd-edge classify`: what an exported file decides along recordings, sample by sample, or on windows, and how good that is.

The recordings of a person, of unknown people each recording, are one stream, joined end to end as `distill` judges them: from a
reset, and none after it.
"""

import os
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import DataConfig
from memkd_edge.data.bundled_recordings import BUNDLED_RECORDINGS, bundled_table
from memkd_edge.data.recording_files import Note, RawRecordings, holds_recordings, read_recordings
from memkd_edge.data.recording_loading import labelled_by_intervals, raw_from_table, stretch_name
from memkd_edge.data.recording_tables import from_frame
from memkd_edge.data.recording_timing import KEPT_WITHIN, RATES_WITHIN, common_rate, find_clocks, place_in_time, stretches_at
from memkd_edge.data.recordings import NO_CLASS, Recording, whole_name
from memkd_edge.decision_files import Write, check_out, writing
from memkd_edge.decisions import NONE, NOT_YET
from memkd_edge.errors import UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.model_channels import channel_order
from memkd_edge.options import check, refuse
from memkd_edge.progress import Reporter
from memkd_edge.quantization.batch import CHUNK
from memkd_edge.stream_scores import stream_scores
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.vocabulary import Reset
from memkd_edge.window_classification import WindowsReport, classify_windows, learnt_already

_SPLIT = ("windows", "hop", "unlabelled", "test_fraction", "test_subjects")
_TRAINING = (*_SPLIT, "balance", "decision_delay", "max_delay", "refuse")  # options that say nothing here
_LARGE = 40_000_000  # bytes of files that take a second or more to read


@dataclass(frozen=True)
class ClassifyReport:
    """What `memkd-edge classify` shows.

    samples: of each class by decision; undecided: samples before the first decision of a stream. refused: samples whose
    answer is none. along: `StreamScores.as_dict`, None without a decided sample that has a label. notes: what was taken for
    what. out: the file written, or "".
    """

    model: str
    labels: tuple[str, ...]
    streams: int
    seconds: float
    samples: dict[str, int]
    undecided: int
    refused: int
    along: dict[str, Any] | None
    notes: tuple[str, ...]
    out: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON's types."""
        return asdict(self)


def classify(
    model: Path, options: DataConfig, *, out: Path | None = None, force: bool = False, progress: Reporter | None = None
) -> ClassifyReport | WindowsReport:
    """Run an exported file along the recordings of `options.dataset`, a folder, a file or a bundled name, or on its windows.

    In memory are the recordings and a decision a sample; the scores go to `out` as they come. What else `distill` reads, is
    windows, see `classify_windows`.

    Args:
        out: .csv or .parquet file for a row a sample: recording, subject, time in seconds since the recording's first row, label,
            decision, a score a class; of windows a row a window.
        force: overwrite it.

    Raises:
        UsageError: data that the model cannot take; the message says which channel or rate differs.
        MemkdEdgeError: the model is damaged, or `out` cannot be written. MissingToolError: Parquet needs pyarrow.
    """
    progress = progress or Reporter()
    check(options)
    refuse(options, _TRAINING, "is for training; classify takes the model and all recordings as they are")
    if out is not None:
        check_out(out, force)
    classifier = StreamingClassifier(model)
    if not _are_recordings(options.dataset):
        return classify_windows(model, classifier, options, out, progress)
    metadata = classifier.metadata
    notes = learnt_already(metadata, options.dataset)
    if metadata.resampling.kind != "none":
        raise UsageError(f"{model}: it resamples by itself ({metadata.resampling.kind}) and has no decision at every sample")
    if metadata.reset == Reset.EVENT:
        notes.append("the model is for series that an event starts; here it runs on from each stream's start without a reset")
    rate, stretches = _stretches(metadata, options, notes.append, progress)
    streams: dict[str, list[Recording]] = {}
    for stretch in stretches:
        streams.setdefault(stretch.subject or whole_name(stretch.name), []).append(stretch)
    told = _Told(progress, sum(len(stretch.y) for stretch in stretches))
    with nullcontext() if out is None else writing(out, metadata.labels, rate) as write:
        decisions = [_decisions(classifier, own, write, told) for own in streams.values()]
    every = np.concatenate(decisions)
    return ClassifyReport(
        model=str(model),
        labels=metadata.labels,
        streams=len(streams),
        seconds=len(every) / rate,
        samples={label: int((every == index).sum()) for index, label in enumerate(metadata.labels)},
        undecided=int((every == NOT_YET).sum()),
        refused=int((every == NONE).sum()),
        along=_along(decisions, streams.values(), len(metadata.labels), rate),
        notes=tuple(notes),
        out="" if out is None else str(out),
    )


class _Told:
    """Tells how far it is."""

    def __init__(self, progress: Reporter, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def classified(self, samples: int) -> None:
        self._done += samples
        self._progress.step("classify", self._done, self._total, "samples")


def _decisions(
    classifier: StreamingClassifier, stretches: list[Recording], write: Write | None, told: _Told
) -> NDArray[np.int64]:
    """Return the answer at every sample of one stream, from a reset."""
    classifier.reset()
    found = []
    for stretch in stretches:
        for start in range(0, len(stretch.y), CHUNK):
            streamed = classifier.stream(stretch.x[start : start + CHUNK])
            found.append(streamed.decisions)
            if write is not None:
                write(stretch, start, streamed)
            told.classified(len(streamed.decisions))
    return np.concatenate(found)


def _along(
    decisions: list[NDArray[np.int64]], streams: Iterable[list[Recording]], classes: int, rate: float
) -> dict[str, Any] | None:
    truth = [np.concatenate([stretch.y for stretch in own]) for own in streams]
    if not any(((one >= 0) & (labels != NO_CLASS)).any() for one, labels in zip(decisions, truth, strict=True)):
        return None
    return stream_scores(decisions, truth, classes, rate).as_dict()


def _are_recordings(dataset: str) -> bool:
    path = Path(dataset)
    return os.path.isdir(path) or (holds_recordings(path) if os.path.exists(path) else dataset in BUNDLED_RECORDINGS)


def _stretches(metadata: Metadata, options: DataConfig, note: Note, progress: Reporter) -> tuple[float, list[Recording]]:
    """Return the rate and the stretches as the model takes them: its channels, its rate, its classes."""
    place = Path(options.dataset)
    size = sum(file.stat().st_size for file in (place, *place.rglob("*")) if file.is_file())
    if size > _LARGE:
        progress.step("reading", note=f"{size / 1e6:,.0f} MB")
    raw = _read(options, note)
    order = channel_order(metadata, raw.channels, raw.units, options.dataset, note)
    clocks = find_clocks(raw.recordings, options, note)
    if options.intervals:
        raw.recordings = labelled_by_intervals(raw, clocks, Path(options.intervals))
    if metadata.sample_rate_hz and options.rate not in (0, metadata.sample_rate_hz) and None not in clocks:
        raise UsageError(
            f"--rate {options.rate:g}: the model takes {metadata.sample_rate_hz:g} Hz, to which rows with time stamps are "
            "resampled; leave it out"
        )
    timed = [place_in_time(one, clock, options, options.rate) for one, clock in zip(raw.recordings, clocks, strict=True)]
    rate = metadata.sample_rate_hz or common_rate(timed, options, note)
    slowest = min(timed, key=lambda one: one.rate_hz)
    fastest = max(timed, key=lambda one: one.rate_hz)
    if slowest.rate_hz * (1 + RATES_WITHIN) < rate:
        raise UsageError(
            f"{slowest.raw.place}: {slowest.rate_hz:.4g} rows a second, and the model takes {rate:g}; what lies between the rows "
            "is not known: record faster, or distil a model with --rate"
        )
    if fastest.rate_hz > rate * (1 + KEPT_WITHIN):
        note(f"resampled to the model's {rate:g} Hz behind an anti-aliasing filter, from up to {fastest.rate_hz:.4g}")
    if slowest.rate_hz < rate * (1 - KEPT_WITHIN):
        note(f"resampled to the model's {rate:g} Hz, from {slowest.rate_hz:.4g} and up")
    unknown = [label for label in raw.labels if label not in metadata.labels]
    if unknown:
        note(f"not judged, as the model has no such class: {', '.join(unknown)}")
    classes = {label: index for index, label in enumerate(metadata.labels) if label not in options.ignore}
    index = np.array([classes.get(label, NO_CLASS) for label in [*raw.labels, options.other]])
    made = [
        replace(piece, name=stretch_name(piece.name, number))
        for one in timed
        for number, (piece, _) in enumerate(stretches_at(one, rate, index, options))
    ]
    return rate, [replace(one, x=np.ascontiguousarray(one.x[:, order])) for one in made]


def _read(options: DataConfig, note: Note) -> RawRecordings:
    path = Path(options.dataset)
    if not path.exists() and options.dataset in BUNDLED_RECORDINGS:
        table = from_frame(bundled_table(options.dataset), options.dataset, options)
        return raw_from_table(table, options.dataset, options, note)
    return read_recordings(path, options, note, needed=False)
