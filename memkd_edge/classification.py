# SPDX-License-Identifier: Apache-2.0
"""`memkd-edge classify`: what an exported file decides along recordings, sample by sample, and how good that is.

The recordings of a person, of unknown people each recording, are one stream, joined end to end as `distill` judges them: from a
reset, and none after it.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import DataConfig
from memkd_edge.data.bundled_recordings import BUNDLED_RECORDINGS, bundled_table
from memkd_edge.data.recording_files import Note, RawRecordings, has_labels, read_recordings
from memkd_edge.data.recording_loading import labelled_by_intervals, raw_from_table, stretch_name
from memkd_edge.data.recording_tables import from_frame
from memkd_edge.data.recording_timing import KEPT_WITHIN, common_rate, find_clocks, place_in_time, stretches_at
from memkd_edge.data.recordings import NO_CLASS, Recording, whole_name
from memkd_edge.decisions import NONE, NOT_YET
from memkd_edge.errors import MemkdEdgeError, MissingToolError, UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.options import check
from memkd_edge.stream_scores import stream_scores
from memkd_edge.streaming import StreamingClassifier

_TRAINING = ("windows", "hop", "balance", "unlabelled", "test_subjects")  # options that say nothing here


@dataclass(frozen=True)
class Decided:
    """A stretch and what was decided along it. scores: float32 [T, K]; decisions: int64 [T], -1 not yet, -2 none."""

    stretch: Recording
    scores: NDArray[np.float32]
    decisions: NDArray[np.int64]


@dataclass(frozen=True)
class ClassifyReport:
    """What `memkd-edge classify` shows.

    samples: of each class by decision; undecided: samples before the first decision of a stream. refused: samples whose
    answer is none. along: `StreamScores.as_dict`
    over the decided samples with a label, None without any. notes: what was taken for what. out: the file written, or "".
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


def classify(model: Path, options: DataConfig, *, out: Path | None = None, force: bool = False) -> ClassifyReport:
    """Run an exported file along the recordings of `options.dataset`: a folder, a file or a bundled name.

    Args:
        out: .csv or .parquet file for a row a sample: recording, subject, time in seconds, label, decision, a score a class.
        force: overwrite it.

    Raises:
        UsageError: recordings that the model cannot take; the message says which channel or rate differs.
        MemkdEdgeError: the model is damaged, or `out` cannot be written. MissingToolError: Parquet needs pyarrow.
    """
    check(options)
    for name in _TRAINING:
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} is for training; classify takes all recordings as they are")
    if out is not None:
        _check_out(out, force)
    notes: list[str] = []
    classifier = StreamingClassifier(model)
    metadata = classifier.metadata
    if metadata.resampling.kind != "none":
        raise UsageError(f"{model}: it resamples by itself ({metadata.resampling.kind}) and has no decision at every sample")
    rate, stretches = _stretches(metadata, options, notes.append)
    by_stream: dict[str, list[Recording]] = {}
    for stretch in stretches:
        by_stream.setdefault(stretch.subject or whole_name(stretch.name), []).append(stretch)
    streams = []
    for own in by_stream.values():
        classifier.reset()
        streams.append([Decided(stretch, *classifier.stream(stretch.x)) for stretch in own])
    decided = [one for stream in streams for one in stream]
    if out is not None:
        _write(out, decided, metadata.labels, rate)
    every = np.concatenate([one.decisions for one in decided])
    return ClassifyReport(
        model=str(model),
        labels=metadata.labels,
        streams=len(streams),
        seconds=len(every) / rate,
        samples={label: int((every == index).sum()) for index, label in enumerate(metadata.labels)},
        undecided=int((every == NOT_YET).sum()),
        refused=int((every == NONE).sum()),
        along=_along(streams, len(metadata.labels), rate),
        notes=tuple(notes),
        out="" if out is None else str(out),
    )


def _along(streams: list[list[Decided]], classes: int, rate: float) -> dict[str, Any] | None:
    decisions = [np.concatenate([one.decisions for one in stream]) for stream in streams]
    truth = [np.concatenate([one.stretch.y for one in stream]) for stream in streams]
    judged = [np.where(one < 0, NO_CLASS, labels) for one, labels in zip(decisions, truth, strict=True)]
    if not any((labels != NO_CLASS).any() for labels in judged):
        return None
    return stream_scores(decisions, judged, classes, rate).as_dict()


def _stretches(metadata: Metadata, options: DataConfig, note: Note) -> tuple[float, list[Recording]]:
    """Return the rate and the stretches as the model takes them: its channels, its rate, its classes."""
    raw = _read(options, note)
    order = _order(raw, metadata, options.dataset, note)
    clocks = find_clocks(raw.recordings, options, note)
    if options.intervals:
        raw.recordings = labelled_by_intervals(raw, clocks, Path(options.intervals))
    timed = [place_in_time(one, clock, options, options.rate) for one, clock in zip(raw.recordings, clocks, strict=True)]
    rate = metadata.sample_rate_hz or common_rate(timed, options, note)
    slowest = min(timed, key=lambda one: one.rate_hz)
    fastest = max(timed, key=lambda one: one.rate_hz)
    if slowest.rate_hz < rate * (1 - KEPT_WITHIN):
        raise UsageError(
            f"{slowest.raw.place}: {slowest.rate_hz:.4g} rows a second, and the model takes {rate:g}; what lies between the rows "
            "is not known: record faster, or distil a model with --rate"
        )
    if fastest.rate_hz > rate * (1 + KEPT_WITHIN):
        note(f"resampled to the model's {rate:g} Hz behind an anti-aliasing filter, from up to {fastest.rate_hz:.4g}")
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
        return raw_from_table(from_frame(bundled_table(options.dataset), options.dataset, options), options.dataset, note)
    return read_recordings(path, options, note, labelled=has_labels(path, options))


def _order(raw: RawRecordings, metadata: Metadata, place: str, note: Note) -> list[int]:
    """Return which of the recordings' channels the model takes, in its order."""
    lacking = [channel for channel in metadata.channels if channel not in raw.channels]
    if lacking:
        raise UsageError(
            f"{place}: no channel {', '.join(lacking)}, which the model takes; there are {', '.join(raw.channels)}: rename them"
        )
    order = [raw.channels.index(channel) for channel in metadata.channels]
    for channel, unit, index in zip(metadata.channels, metadata.units, order, strict=True):
        if unit and raw.units[index] and unit != raw.units[index]:
            raise UsageError(f"{place}: channel {channel} is in {raw.units[index]}, and the model takes {unit}; convert it")
    if extra := [channel for channel in raw.channels if channel not in metadata.channels]:
        note(f"not used, as the model does not take them: {', '.join(extra)}")
    return order


def _check_out(out: Path, force: bool) -> None:
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise UsageError(f"--out {out}: a file that ends in .csv or .parquet")
    if out.exists() and not force:
        raise UsageError(f"--out {out} is there already; name another file, or --force to overwrite it")
    if out.suffix.lower() == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise MissingToolError(f"{out}: writing Parquet needs pyarrow: pip install 'memkd-edge[parquet]'") from error


def _write(out: Path, decided: list[Decided], labels: tuple[str, ...], rate: float) -> None:
    """Write a row a sample, the whole file or nothing."""
    import pandas as pd

    part = out.with_name(f".{out.name}.part")
    table = pd.concat(list(_frames(decided, labels, rate)), ignore_index=True)
    try:
        if out.suffix.lower() == ".csv":
            table.to_csv(part, index=False, float_format="%.6g")
        else:
            table.to_parquet(part, index=False)
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise MemkdEdgeError(f"cannot write {out}: {error.strerror or error}") from error


def _frames(decided: list[Decided], labels: tuple[str, ...], rate: float) -> Iterator[Any]:
    import pandas as pd

    names = np.array([*labels, "", ""], dtype=object)  # the last are those of NONE and of NO_CLASS or NOT_YET
    for one in decided:
        yield pd.DataFrame(
            {
                "recording": one.stretch.name,
                "subject": one.stretch.subject,
                "time": np.arange(len(one.decisions)) / rate,
                "label": names[one.stretch.y],
                "decision": names[one.decisions],
                **{f"score {label}": one.scores[:, index] for index, label in enumerate(labels)},
            }
        )
