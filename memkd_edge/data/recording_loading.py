# SPDX-License-Identifier: Apache-2.0
"""Makes `Recordings` of what files hold: one rate, no gaps, classes, and subjects held out for the test."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import DataConfig
from memkd_edge.data.label_intervals import label_rows, read_intervals
from memkd_edge.data.labels import label_text, sorted_labels, spelt_alike
from memkd_edge.data.real_numbers import float32_array
from memkd_edge.data.recording_columns import EXPECTED
from memkd_edge.data.recording_files import Note, Origin, RawRecording, RawRecordings, read_recordings, recordings_of_table
from memkd_edge.data.recording_split import split_recordings
from memkd_edge.data.recording_tables import Table, encode, from_frame
from memkd_edge.data.recording_timing import (
    SHORTEST,
    Timed,
    common_rate,
    find_clocks,
    is_near,
    place_in_time,
    seconds_of,
    stretches_at,
)
from memkd_edge.data.recordings import NO_CLASS, Recording, Recordings, class_counts
from memkd_edge.data.signal_checks import check_signals, copied_recordings, other_scales
from memkd_edge.data.time_stamps import GAP_INTERVALS, Clock, typical_interval
from memkd_edge.errors import UsageError
from memkd_edge.options import check
from memkd_edge.paths import path_text

DEFAULTS = DataConfig()


@dataclass(frozen=True)
class Source:
    """A recording as it was found, before anything was changed; for the data report.

    rows; seconds; rate_hz: rows per second. kept: its rows are the samples, else they were resampled or interpolated. gaps: of
    its time stamps, seconds each. repeats: rows with the time of the row before. missing: values. minimum, maximum, at_minimum,
    at_maximum: float64 [C], range, and how many values are at its ends.
    """

    name: str
    subject: str
    rows: int
    seconds: float
    rate_hz: float
    kept: bool
    gaps: tuple[float, ...]
    repeats: int
    missing: int
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    at_minimum: NDArray[np.int64]
    at_maximum: NDArray[np.int64]


def _silent(text: str) -> None:
    pass


def load_recordings(path: Path | str, options: DataConfig = DEFAULTS, *, note: Note = _silent) -> Recordings:
    """Load recordings from a folder with a table each, or from one table of all (.csv, .tsv, .txt, .parquet).

    Args:
        note: is told, in sentences, what was taken for what: columns, unit of time, rate, gaps, labels, the split.

    Raises:
        UsageError: they cannot be read or learnt from; the message names file, line and remedy.
        MissingToolError: a .parquet file, and pyarrow is not installed.
    """
    in_memory = "recordings_from_frame takes a DataFrame, recordings_from_arrays arrays"
    return load_with_sources(path_text(path, "load_recordings", in_memory), options, note=note)[0]


def load_with_sources(path: Path | str, options: DataConfig, *, note: Note = _silent) -> tuple[Recordings, list[Source]]:
    """As `load_recordings`, and each labelled recording as it was found."""
    check(options)
    raw = read_recordings(Path(path), options, note)
    return _assemble(Path(path).stem, str(path), raw, _unlabelled(options, note), options, note)


def recordings_from_frame(
    frame: Any, options: DataConfig = DEFAULTS, *, name: str = "recordings", note: Note = _silent
) -> Recordings:
    """Make recordings of a pandas DataFrame whose columns are those of a table of all recordings.

    Raises:
        UsageError: see `load_recordings`; rows are named by their number.
        MissingToolError: as `load_recordings`.
    """
    return frame_with_sources(frame, options, name=name, note=note)[0]


def frame_with_sources(frame: Any, options: DataConfig, *, name: str, note: Note) -> tuple[Recordings, list[Source]]:
    """As `recordings_from_frame`, and each labelled recording as it was found."""
    check(options)
    table = from_frame(frame, name, options)
    raw = raw_from_table(table, name, options, note)
    unlabelled = table.label is None and not options.intervals
    if unlabelled or (table.stamps is None and not options.rate):
        raise UsageError(f"{name}: no column of {'labels' if unlabelled else 'time, and no rate'}; {EXPECTED}")
    return _assemble(name, "", raw, _unlabelled(options, note), options, note)


def raw_from_table(table: Table, name: str, options: DataConfig, note: Note) -> RawRecordings:
    """Return the recordings that a table of all holds, with the labels it has, or none where intervals are to tell them."""
    raw = RawRecordings(columns=table.columns.channels)
    note(f"columns: {table.columns}")
    raw.recordings += recordings_of_table(table, table.x, Origin(name), raw, labelled=not options.intervals)
    return raw


def recordings_from_arrays(
    X: Sequence[Any],
    y: Sequence[Any],
    groups: Sequence[Any] | None = None,
    *,
    sample_rate_hz: float,
    channels: Sequence[str] = (),
    units: Sequence[str] = (),
    names: Sequence[str] = (),
    options: DataConfig = DEFAULTS,
    name: str = "recordings",
    note: Note = _silent,
) -> Recordings:
    """Make recordings of arrays, evenly sampled.

    Args:
        X: one array [T, C] for each recording, in physical units; NaN where a value is missing, as it is where it is masked.
        y: one array [T] for each, labels of any type; "", None and NaN are missing, and what is masked.
        groups: the subject of each recording; "", None and NaN are unknown.
        channels, units, names: of channels and recordings; numbered when left out.
        options: those about columns and files do not matter here; `rate` resamples.

    Raises:
        UsageError: lengths, channels or a rate that do not fit; the message names the recording.
    """
    check(options)
    rate: Any = sample_rate_hz
    if not isinstance(rate, int | float | np.integer | np.floating) or not 0 < rate < math.inf:
        raise UsageError(f"{name}: sample_rate_hz is {sample_rate_hz!r}; a number above 0 is expected")
    several = {"X": X, "y": y, "groups": () if groups is None else groups, "channels": channels, "units": units, "names": names}
    for what, argument in several.items():
        if isinstance(argument, str) or not hasattr(argument, "__len__"):
            raise UsageError(f"{name}: {what} is {argument!r:.60}; a sequence is expected")
    count = len(X)
    subjects, titles = None if groups is None else list(groups), list(names)  # by place, whatever index a pandas Series has
    for what, given in (("y", y), ("groups", subjects), ("names", titles or None)):
        if given is not None and len(given) != count:
            raise UsageError(f"{name}: {len(given)} {what} are given for {count} recordings")
    if not count:
        raise UsageError(f"{name}: there are no recordings")
    channels = tuple(map(str, channels))
    raw, columns = RawRecordings(), channels
    for number, (signal, classes) in enumerate(zip(X, y, strict=True)):
        title = str(titles[number]) if titles else f"recording {number}"
        columns = _same_columns(signal, columns, title)
        values = float32_array(signal, f"{title}: a signal is numbers [samples, channels]")
        masked = isinstance(classes, np.ma.MaskedArray)
        texts = classes.astype(object).filled(None) if masked else np.asarray(classes)
        if values.ndim != 2 or not values.size or texts.shape != values.shape[:1]:
            raise UsageError(
                f"{title}: a signal {list(values.shape)} and labels {list(texts.shape)}; [samples, channels] and [samples] are "
                "expected"
            )
        if not raw.recordings:
            raw.columns = channels or tuple(f"channel {index}" for index in range(values.shape[1]))
        if values.shape[1] != len(raw.columns):
            raise UsageError(f"{title}: {values.shape[1]} channels where there should be {len(raw.columns)}")
        codes, distinct = encode(texts, partial(label_text, place=title))
        index = np.array([raw.label_index(text) for text in distinct], dtype=np.int32)
        raw.recordings.append(
            RawRecording(
                name=title,
                subject="" if subjects is None else label_text(subjects[number], title),
                file_name=title,
                x=values,
                stamps=None,
                time_column="",
                clock=None,
                zoned=False,
                label=index[codes],
                place=title,
                place_of=f"{title}, sample {{}}".format,
            )
        )
    made, _ = _assemble(name, "", raw, None, options, note, sample_rate_hz)
    return replace(made, channels=raw.columns, units=tuple(units) or ("",) * len(raw.columns))


def _same_columns(signal: Any, columns: tuple[str, ...], title: str) -> tuple[str, ...]:
    """Return the names of a DataFrame's columns, else `columns`; refuse those of `columns` in another order."""
    names = tuple(str(name) for name in getattr(signal, "columns", columns))
    if names != columns and sorted(names) == sorted(columns):
        raise UsageError(f"{title}: the columns are {', '.join(names)}, where they are {', '.join(columns)} elsewhere")
    return names


def _unlabelled(options: DataConfig, note: Note) -> RawRecordings | None:
    return read_recordings(Path(options.unlabelled), options, note, labelled=False) if options.unlabelled else None


def _assemble(
    name: str,
    source: str,
    raw: RawRecordings,
    more: RawRecordings | None,
    options: DataConfig,
    note: Note,
    given_rate: float = 0.0,
) -> tuple[Recordings, list[Source]]:
    if more is not None and set(more.columns) != set(raw.columns):
        raise UsageError(
            f"--unlabelled {options.unlabelled}: channels {', '.join(more.columns)}, where {source} has {', '.join(raw.columns)}"
        )
    everything = [*raw.recordings, *_in_order(more, raw.columns)]
    clocks = find_clocks(everything, options, note)
    if options.intervals:
        note(f"labels from the intervals of {options.intervals}")
        raw.recordings = labelled_by_intervals(raw, clocks, Path(options.intervals))
        everything = [*raw.recordings, *everything[len(raw.recordings) :]]
    timed = [
        place_in_time(recording, clock, options, given_rate or options.rate)
        for recording, clock in zip(everything, clocks, strict=True)
    ]
    rate = common_rate(timed, options, note)

    labels, new_index = _classes(raw, options, note)
    made: list[tuple[Recording, ...]] = []
    kept: list[bool] = []
    dropped = 0
    for one in timed:
        pieces = list(stretches_at(one, rate, new_index, options))
        own = tuple(piece for piece, _ in pieces if len(piece.x) >= SHORTEST)
        dropped += len(pieces) - len(own)
        made.append(tuple(replace(piece, name=stretch_name(one.raw.name, index)) for index, piece in enumerate(own)))
        kept.append(all(was_kept for _, was_kept in pieces))
    _tell_time(timed, made, dropped, rate, raw.columns, options, note)

    count = len(raw.recordings)
    labelled = [stretch for stretches in made[:count] for stretch in stretches]
    for what, names in (("classes", labels), ("subjects", [stretch.subject for stretch in labelled])):
        for several in spelt_alike(names):
            note(f"{what} {', '.join(several)} differ in upper and lower case alone: if they are one, spell them alike")
    for odd in _oddities(name, labelled, raw):
        note(odd)
    _check_classes(name, labelled, labels)
    train, test, split = split_recordings(labelled, labels, options, note)
    note(f"test part: {split}")
    unlabelled = [replace(stretch, y=np.full_like(stretch.y, NO_CLASS)) for stretches in made[count:] for stretch in stretches]
    recordings = Recordings(
        name=name,
        train=tuple(train),
        test=tuple(test),
        unlabelled=tuple(unlabelled),
        labels=labels,
        channels=raw.channels,
        units=raw.units,
        sample_rate_hz=rate,
        source=source,
        split=split,
    )
    return recordings, [_source(one, was_kept) for one, was_kept in zip(timed[:count], kept, strict=False)]


def _in_order(more: RawRecordings | None, columns: tuple[str, ...]) -> list[RawRecording]:
    """Return the unlabelled recordings with their channels in the order of the labelled."""
    if more is None:
        return []
    order = [more.columns.index(column) for column in columns]
    return [replace(recording, x=recording.x[:, order]) for recording in more.recordings]


def labelled_by_intervals(raw: RawRecordings, clocks: list[Clock | None], path: Path) -> list[RawRecording]:
    """Return the recordings with the labels of a file of intervals.

    Raises:
        UsageError: the file is missing, or does not fit the recordings.
    """
    if not os.path.isfile(path):
        raise UsageError(f"--intervals {path}: no such file")
    intervals = read_intervals(path, raw)
    labelled = []
    for recording, clock in zip(raw.recordings, clocks, strict=False):
        own = intervals.get(recording.name)
        if own:
            seconds = seconds_of(recording, clock)
            recording = replace(recording, label=label_rows(recording, own, seconds, clock, raw))
        labelled.append(recording)
    return labelled


def stretch_name(name: str, index: int) -> str:
    """Return the name of a recording's stretch, the inverse of `whole_name`: "s01_03", 1 -> "s01_03#2"."""
    return f"{name}#{index + 1}" if index else name


def _classes(raw: RawRecordings, options: DataConfig, note: Note) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the class names, and the class of each label index as int64; its last entry is that of NO_CLASS."""
    for label in options.ignore:
        if label not in raw.labels:
            raise UsageError(f"--ignore {label}: no such label among {', '.join(sorted_labels(raw.labels)) or 'none'}")
    if options.other in options.ignore and options.other:
        raise UsageError(f"--other {options.other} is ignored by --ignore too; choose one")
    total, missing = 0, 0
    for recording in raw.recordings:
        total += len(recording.label)
        missing += int((recording.label == NO_CLASS).sum())
    labels = sorted_labels({*raw.labels, *([options.other] if options.other else [])} - set(options.ignore))
    index = {label: place for place, label in enumerate(labels)}
    new = [index.get(label, NO_CLASS) for label in raw.labels] + [index.get(options.other, NO_CLASS)]
    if missing:
        use = f"of class {options.other!r}" if options.other else "neither learnt nor judged (--other LABEL makes them a class)"
        note(f"labels: {missing / total:.1%} of the rows have none, and are {use}")
    if options.ignore:
        note(f"labels: {', '.join(options.ignore)} are neither learnt nor judged")
    return labels, np.array(new, dtype=np.int64)


def _tell_time(
    timed: list[Timed],
    made: list[tuple[Recording, ...]],
    dropped: int,
    rate: float,
    columns: tuple[str, ...],
    options: DataConfig,
    note: Note,
) -> None:
    """Tell what became of rows and stretches."""
    gaps = sum(len(one.gaps) for one in timed)
    stretches = sum(map(len, made))
    limit = options.max_gap or f"{GAP_INTERVALS} intervals"
    note(
        f"{len(timed)} recordings in {stretches} stretches: {gaps} gaps above {limit}"
        + (f"; {dropped} stretches of fewer than {SHORTEST} samples are left out" if dropped else "")
    )
    even = sum(all(one.even) for one in timed)
    if repeats := sum(one.repeats for one in timed):
        note(f"time: {repeats} rows have the time of the row before; rows are evenly spaced, as they come in bursts")
    if lost := sum(one.lost for one in timed):
        note(f"time: {lost} rows were lost, as the others come late for good; up to {limit} at a time are interpolated")
    if even < len(timed):
        note(f"{len(timed) - even} of {len(timed)} recordings are not evenly spaced, and interpolated by their time stamps")
    if moved := sum(not is_near(one.rate_hz, rate) for one in timed):
        note(f"resampled to {rate:g} Hz behind an anti-aliasing filter: {moved} of {len(timed)} recordings")
    missing = sum(int(np.isnan(one.raw.x).sum()) for one in timed)
    if missing:
        note(f"missing values: {missing}; runs of up to {limit} are interpolated, longer ones split the recording")
    for one, pieces in zip(timed, made, strict=True):
        if not pieces:
            empty = [columns[index] for index in np.flatnonzero(np.isnan(one.raw.x).all(axis=0))]
            raise UsageError(
                f"{one.raw.place}: nothing is left of the recording between gaps and missing values"
                + (f"; channel {', '.join(empty)} has no values" if empty else "")
                + "; leave it out, or widen --max-gap"
            )


def _oddities(name: str, stretches: list[Recording], raw: RawRecordings) -> tuple[str, ...]:
    """Return what is odd about the signals; UsageError if they cannot be learnt from, see signal_checks.py."""
    by_subject: dict[str, list[NDArray[np.float32]]] = {}
    for stretch in stretches:
        by_subject.setdefault(stretch.subject, []).append(stretch.x)
    notes = check_signals(name, [stretch.x for stretch in stretches], raw.channels, raw.units)
    copies = copied_recordings(name, [(stretch.name, stretch.x) for stretch in stretches])
    return notes + other_scales(name, by_subject, raw.channels) + copies


def _check_classes(name: str, stretches: list[Recording], labels: tuple[str, ...]) -> None:
    counts = class_counts(stretches, len(labels))
    if not counts.sum():
        raise UsageError(f"{name}: all rows are ignored or without a label; nothing is left to learn")
    present = [label for label, count in zip(labels, counts, strict=True) if count]
    if len(present) < 2:
        raise UsageError(f"{name}: all labelled rows are of class {present[0]!r}; a classifier needs at least two classes")
    for label, count in zip(labels, counts, strict=True):
        if not count:
            raise UsageError(f"{name}: no row of class {label!r} is left between gaps and missing values; --ignore {label}")


def _source(one: Timed, kept: bool) -> Source:
    x = one.raw.x
    seen = ~np.isnan(x)
    lowest = np.min(x, axis=0, initial=np.inf, where=seen)
    highest = np.max(x, axis=0, initial=-np.inf, where=seen)
    return Source(
        name=one.raw.name,
        subject=one.raw.subject,
        rows=len(x),
        seconds=float(one.seconds[-1] - one.seconds[0]) + typical_interval(one.seconds),
        rate_hz=one.rate_hz,
        kept=kept,
        gaps=tuple(one.gaps.tolist()),
        repeats=one.repeats,
        missing=int((~seen).sum()),
        minimum=lowest.astype(np.float64),
        maximum=highest.astype(np.float64),
        at_minimum=(x == lowest).sum(axis=0),
        at_maximum=(x == highest).sum(axis=0),
    )
