# SPDX-License-Identifier: Apache-2.0
"""The data set type, and the one place where raw series become one: every check on input data lives here."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from memkd_edge import padding
from memkd_edge.data.labels import class_name, sorted_labels, subject_name
from memkd_edge.data.missing_values import bridge
from memkd_edge.data.signal_checks import check_signals, known_series, other_scales
from memkd_edge.data.splits import hold_out
from memkd_edge.errors import UsageError

MINIMUM_STEPS = 3  # a start state, a short step and a long step: below that there is no memory to distil
TEST_FRACTION = 0.25
BRIDGED = 0.1  # of a series: runs of missing values up to so long, and a single one, are interpolated
SPLIT_SEED = 0  # of the test split made for files that bring none: fixed, so that a file always gives the same data set


@dataclass(frozen=True)
class Dataset:
    """A classification problem in physical units, checked: finite, every class in the training part.

    x_train, x_test: float32 [N, T, C], shorter series padded with NaN (padding.py). y_train, y_test: int64 [N], index into
    `labels`. groups_train, groups_test: int64 [N], the subject of each series, or None; no subject is in both parts.
    channels, units: one per channel, "" for an unknown unit. sample_rate_hz: None when the source does not tell. terms: terms
    of use. source: where it came from. split: how the test part was held out here, "" when the source brings one. notes: what
    is odd about the data or was decided on reading them, one sentence each, to be shown to the user.
    """

    name: str
    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    labels: tuple[str, ...]
    channels: tuple[str, ...]
    units: tuple[str, ...]
    groups_train: NDArray[np.int64] | None = None
    groups_test: NDArray[np.int64] | None = None
    sample_rate_hz: float | None = None
    terms: str = ""
    source: str = ""
    split: str = ""
    notes: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Hash of series, class indices and labels (not of the file they came in)."""
        digest = hashlib.sha256("\0".join(self.labels).encode())
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class RawPart:
    """Labelled series as a reader found them, unchecked.

    series: one array [T, C] each, of any length; NaN is a missing value, and time steps without any value at the end are padding.
    labels, places (where each series stands, for messages) and, when known, subjects: one per series; labels and subjects as
    the file holds them (see labels.py).
    """

    series: Sequence[NDArray[np.floating]]
    labels: Sequence[object]
    places: Sequence[str]
    subjects: Sequence[object] | None = None


@dataclass(frozen=True)
class Description:
    """What is known about a data set besides its series; empty where the source does not tell."""

    channels: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()  # class names in index order; sorted when empty
    sample_rate_hz: float | None = None
    terms: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()


def channel_names(name: str, description: Description, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of `count` channels, numbers where the source tells none, and their units, "" unknown.

    Raises:
        UsageError: the description has others than so many.
    """
    channels = description.channels or tuple(f"channel {index}" for index in range(count))
    if len(channels) != count:
        raise UsageError(f"{name}: {len(channels)} channel names are given for {count} channels")
    units = description.units or ("",) * count
    if len(units) != count:
        raise UsageError(f"{name}: {len(units)} units are given for {count} channels")
    return channels, units


def assemble(name: str, train: RawPart, test: RawPart | None, description: Description) -> Dataset:
    """Check raw parts and make a Dataset of them. Without `test`, a quarter of the series is held out, by subject if known.

    Raises:
        UsageError: no series, fewer than 3 time steps, long gaps or infinity, a missing label or subject, a single class,
            a class with too few series to hold one out, a test label that training lacks, a subject in both parts, signals that
            cannot be learnt from (see signal_checks.py). The message names the place.
    """
    for part, word in ((train, "training"), (test, "test")):
        if part is not None and not part.series:
            raise UsageError(f"{name}: the {word} part holds no series")
    parts = [_named_and_unpadded(part) for part in (train, test) if part is not None]
    channels, units = channel_names(name, description, parts[0].series[0].shape[1])
    bridged = _bridge_gaps(name, parts)
    arrays = _stack(parts, channels)

    labels = description.labels or sorted_labels(parts[0].labels)
    _check_labels(name, parts, labels)
    index = {label: position for position, label in enumerate(labels)}
    targets = [np.array([index[label] for label in part.labels], dtype=np.int64) for part in parts]
    groups = _subject_indices(name, parts)
    notes = check_signals(name, [series for part in parts for series in part.series], channels, units)
    notes += (*other_scales(name, _by_subject(parts), channels), *bridged, *_unequal(name, parts))

    split = ""
    if test is None:
        subjects = groups[0]
        held_out = hold_out(targets[0], TEST_FRACTION, SPLIT_SEED, labels, subjects)
        sides = (~held_out, held_out)
        arrays = [arrays[0][side] for side in sides]
        targets = [targets[0][side] for side in sides]
        groups = [None if subjects is None else subjects[side] for side in sides]
        kind = "stratified" if subjects is None else "by subject"
        split = f"{held_out.sum()} of {held_out.size} series held out for the test, {kind}, seed {SPLIT_SEED}"
    return Dataset(
        name=name,
        x_train=arrays[0],
        y_train=targets[0],
        x_test=arrays[1],
        y_test=targets[1],
        labels=labels,
        channels=channels,
        units=units,
        groups_train=groups[0],
        groups_test=groups[1],
        sample_rate_hz=description.sample_rate_hz,
        terms=description.terms,
        source=description.source,
        split=split,
        notes=description.notes + notes + known_series(name, *map(list, arrays)),
    )


@dataclass(frozen=True)
class Windows:
    """Labelled series of all parts, checked one by one. x: float32 [N, T, C], padded; labels, places, subjects: [N], "" unknown.

    notes: what was decided on reading them.
    """

    x: NDArray[np.float32]
    labels: tuple[str, ...]
    places: tuple[str, ...]
    subjects: tuple[str, ...]
    notes: tuple[str, ...]


def windows(name: str, parts: Sequence[RawPart], channels: tuple[str, ...]) -> Windows:
    """Check raw parts that nothing is to be learnt from: any classes, any subjects.

    Raises:
        UsageError: no series, fewer than 3 time steps, other channels, long gaps or infinity, a missing label or subject.
    """
    if not any(part.series for part in parts):
        raise UsageError(f"{name} holds no series")
    known = [_named_and_unpadded(part) for part in parts if part.series]
    bridged = _bridge_gaps(name, known)
    x = np.concatenate(_stack(known, channels))
    return Windows(
        x,
        tuple(label for part in known for label in part.labels),
        tuple(place for part in known for place in part.places),
        tuple(subject for part in known for subject in part.subjects or [""] * len(part.series)),
        bridged,
    )


@dataclass(frozen=True)
class _Part:
    """Series [T, C] without their padding; classes, places and, when known, subjects, one name per series."""

    series: list[NDArray[np.floating]]
    labels: list[str]
    places: list[str]
    subjects: list[str] | None


def _named_and_unpadded(part: RawPart) -> _Part:
    places = list(part.places)
    return _Part(
        series=[_without_padding(series, place) for series, place in zip(part.series, places, strict=True)],
        labels=[class_name(label, place) for label, place in zip(part.labels, places, strict=True)],
        places=places,
        subjects=None if part.subjects is None else [subject_name(*pair) for pair in zip(part.subjects, places, strict=True)],
    )


def _without_padding(series: NDArray[np.floating], place: str) -> NDArray[np.floating]:
    """Return the series without the time steps at its end that have no value in any channel."""
    filled = np.flatnonzero(~np.isnan(series).all(axis=1))
    if not filled.size:
        raise UsageError(f"{place}: the series has no values; leave it out")
    return series[: filled[-1] + 1]


def _by_subject(parts: list[_Part]) -> dict[str, list[NDArray[np.floating]]]:
    """Return the series of each subject; of each part, where subjects are unknown."""
    found: dict[str, list[NDArray[np.floating]]] = {}
    for part, word in zip(parts, ("the training part", "the test part"), strict=False):
        names = [word] * len(part.series) if part.subjects is None else [f"subject {subject!r}" for subject in part.subjects]
        for series, subject in zip(part.series, names, strict=True):
            found.setdefault(subject, []).append(series)
    return found


def _bridge_gaps(name: str, parts: list[_Part]) -> tuple[str, ...]:
    """Interpolate short runs of missing values inside the series, in place; return a note about them."""
    missing = touched = 0
    for part in parts:
        for index, series in enumerate(part.series):
            gone = int(np.isnan(series).sum())
            filled, whole = bridge(np.asarray(series, np.float64), max(1, int(BRIDGED * len(series)))) if gone else (series, [])
            if whole == [slice(0, len(series))]:
                part.series[index] = filled
                missing, touched = missing + gone, touched + 1
    if not touched:
        return ()
    return (f"{name}: missing values: {missing} in {touched} series; runs of up to a tenth of a series are interpolated",)


def _unequal(name: str, parts: list[_Part]) -> tuple[str, ...]:
    found = [len(series) for part in parts for series in part.series]
    if min(found) == max(found):
        return ()
    return (f"{name}: the series have {min(found)} to {max(found)} time steps; each is decided after its own last one",)


def _stack(parts: list[_Part], channels: tuple[str, ...]) -> list[NDArray[np.float32]]:
    """Return each part's series as float32 [N, T, C], padded to the longest series of all parts."""
    first = parts[0]
    for part in parts:
        for series, place in zip(part.series, part.places, strict=True):
            if series.shape[1] != len(channels):
                raise UsageError(
                    f"{place}: the series has {series.shape[1]} channels where the first ({first.places[0]}) has {len(channels)}"
                )
            if len(series) < MINIMUM_STEPS:
                raise UsageError(f"{place}: the series has {len(series)} time steps; at least {MINIMUM_STEPS} are needed")
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinity, which is reported below
        stacked = padding.pad([np.asarray(series, dtype=np.float32) for part in parts for series in part.series])
    places = [place for part in parts for place in part.places]
    steps = np.array([len(series) for part in parts for series in part.series])
    bad = np.argwhere(~np.isfinite(stacked) & (np.arange(stacked.shape[1]) < steps[:, None])[..., None])
    if bad.size:
        sample, step, channel = bad[0]
        raise UsageError(
            f"{places[sample]}: {stacked[sample, step, channel]} at time step {step}, {channels[channel]} "
            f"({len(bad)} such values in all); fill the gaps or leave those series out (UCR/UEA sets with gaps come with a "
            "filled version named NAME_nmv)"
        )
    return np.split(stacked, [len(first.series)])[: len(parts)]


def _check_labels(name: str, parts: list[_Part], labels: tuple[str, ...]) -> None:
    train = parts[0]
    counts = Counter(train.labels)
    needed = 2 if len(parts) == 2 else 3  # one to train on, one to validate with, and one to test with
    for part in parts:
        for label, place in zip(part.labels, part.places, strict=True):
            if label not in labels:
                raise UsageError(f"{place}: class {label!r} is not one of {', '.join(labels)}")
            if label not in counts:
                raise UsageError(f"{place}: class {label!r} has no series in the training part; it cannot be learned")
    if len(counts) < 2:
        raise UsageError(f"{name}: all series are of class {next(iter(counts))!r}; a classifier needs at least two classes")
    if len(set(labels)) != len(labels):
        raise UsageError(f"{name}: a class name is given twice among {', '.join(labels)}")
    for label in labels:
        if counts[label] == 0:
            raise UsageError(f"{name}: class {label!r} has no series in the training part; it cannot be learned")
        if counts[label] < needed:
            place = train.places[train.labels.index(label)]
            raise UsageError(
                f"{name}: class {label!r} has only {counts[label]} series ({place}); {needed} are needed, so that each held-out "
                "part has one: add series of that class or leave it out"
            )


def _subject_indices(name: str, parts: list[_Part]) -> list[NDArray[np.int64] | None]:
    """Return per part the index of each series' subject among all subjects, or None where unknown."""
    known = [part.subjects for part in parts if part.subjects is not None]
    if len(known) == 2 and (shared := sorted(set(known[0]) & set(known[1]))):
        raise UsageError(
            f"{name}: subject {shared[0]!r} is in both the training and the test part, so the test would not measure new "
            "subjects; split the parts by subject"
        )
    distinct = sorted_labels([subject for subjects in known for subject in subjects])
    index = {subject: position for position, subject in enumerate(distinct)}
    return [
        None if part.subjects is None else np.array([index[subject] for subject in part.subjects], dtype=np.int64)
        for part in parts
    ]
