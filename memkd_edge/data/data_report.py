# SPDX-License-Identifier: Apache-2.0
"""What was understood of a data set: who did what for how long, rates, gaps, ranges, saturation, and the split."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import DataConfig
from memkd_edge.data.dataset import Dataset
from memkd_edge.data.loading import load_data
from memkd_edge.data.recording_loading import Source
from memkd_edge.data.recordings import NO_CLASS, Recording, Recordings, whole_name
from memkd_edge.padding import lengths, samples

SATURATED = 0.001  # share of a channel's values at one end of its range, from which on it is noted
SATURATED_AT_LEAST = 10  # values


@dataclass(frozen=True)
class SubjectReport:
    """One person in one part (training, test, unlabelled); "" and `all` stand for unknown people, and for windows without any.

    recordings: their number. amounts: seconds of each class, or windows where the data set is of windows; without: of no class.
    """

    subject: str
    part: str
    recordings: int
    amounts: tuple[float, ...]
    without: float = 0.0


@dataclass(frozen=True)
class ChannelReport:
    """A channel over all recordings as they came. at_minimum, at_maximum: share of its values that are exactly there."""

    name: str
    unit: str
    minimum: float
    maximum: float
    at_minimum: float
    at_maximum: float


@dataclass(frozen=True)
class DataReport:
    """What `memkd-edge data` shows.

    kind: recordings or windows. amounts: the unit of the subjects' amounts, s or windows. rates_hz: lowest and highest rate
    of the recordings before resampling, None of windows. gaps_s: their lengths, for each recording that has any. missing: values.
    """

    name: str
    kind: str
    amounts: str
    sample_rate_hz: float | None
    labels: tuple[str, ...]
    subjects: tuple[SubjectReport, ...]
    channels: tuple[ChannelReport, ...]
    split: str
    sha256: str
    notes: tuple[str, ...]
    rates_hz: tuple[float, float] | None = None
    gaps_s: dict[str, tuple[float, ...]] = field(default_factory=dict)
    missing: int = 0
    terms: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON's types."""
        return asdict(self)


def examine(config: DataConfig, notes: list[str]) -> DataReport:
    """Load the data set that `config` names, and report on it. notes: gets what was taken for what, also when loading fails.

    Raises:
        MemkdEdgeError: see `load_data`.
    """
    data, sources = load_data(config, notes.append)
    if isinstance(data, Recordings):
        channels, subjects, values = _channels_of_sources(data, sources), _subjects(data), sum(one.rows for one in sources)
    else:
        channels, subjects = _channels_of_windows(data), _subjects_of_windows(data)
        values = sum(int(lengths(x).sum()) for x in (data.x_train, data.x_test))
    notes += _saturation(channels, values)
    return DataReport(
        name=data.name,
        kind="recordings" if isinstance(data, Recordings) else "windows",
        amounts="s" if isinstance(data, Recordings) else "windows",
        sample_rate_hz=data.sample_rate_hz,
        labels=data.labels,
        subjects=subjects,
        channels=channels,
        split=data.split,
        sha256=data.sha256,
        notes=tuple(notes),
        rates_hz=(min(one.rate_hz for one in sources), max(one.rate_hz for one in sources)) if sources else None,
        gaps_s={one.name: one.gaps for one in sources if one.gaps},
        missing=sum(one.missing for one in sources),
        terms=data.terms,
    )


def _subjects(data: Recordings) -> tuple[SubjectReport, ...]:
    rows = []
    for part, stretches in (("training", data.train), ("test", data.test), ("unlabelled", data.unlabelled)):
        by_subject: dict[str, list[Recording]] = {}
        for stretch in stretches:
            by_subject.setdefault(stretch.subject, []).append(stretch)
        for subject, own in by_subject.items():
            counts = np.bincount(np.concatenate([one.y for one in own]) - NO_CLASS, minlength=len(data.labels) + 1)
            seconds = counts / data.sample_rate_hz
            recordings = len({whole_name(one.name) for one in own})
            rows.append(SubjectReport(subject, part, recordings, tuple(seconds[1:].tolist()), float(seconds[0])))
    return tuple(rows)


def _subjects_of_windows(data: Dataset) -> tuple[SubjectReport, ...]:
    rows = []
    for part, y, groups in (("training", data.y_train, data.groups_train), ("test", data.y_test, data.groups_test)):
        for group in [None] if groups is None else np.unique(groups):
            own = y if groups is None else y[groups == group]
            amounts = np.bincount(own, minlength=len(data.labels)).astype(float)
            rows.append(SubjectReport("" if group is None else str(group), part, len(own), tuple(amounts.tolist())))
    return tuple(rows)


def _channels_of_sources(data: Recordings, sources: Sequence[Source]) -> tuple[ChannelReport, ...]:
    lows, highs = (np.array([getattr(one, end) for one in sources]) for end in ("minimum", "maximum"))
    low, high = lows.min(axis=0), highs.max(axis=0)
    values = sum(one.rows for one in sources)
    at_low = (np.array([one.at_minimum for one in sources]) * (lows == low)).sum(axis=0)
    at_high = (np.array([one.at_maximum for one in sources]) * (highs == high)).sum(axis=0)
    return _channels(data.channels, data.units, low, high, at_low / values, at_high / values)


def _channels_of_windows(data: Dataset) -> tuple[ChannelReport, ...]:
    x = samples(np.concatenate([data.x_train, data.x_test]))
    low, high = x.min(axis=0), x.max(axis=0)
    return _channels(data.channels, data.units, low, high, (x == low).mean(axis=0), (x == high).mean(axis=0))


def _channels(names: Sequence[str], units: Sequence[str], *figures: NDArray[Any]) -> tuple[ChannelReport, ...]:
    return tuple(
        ChannelReport(name, unit, *(float(figure[index]) for figure in figures))
        for index, (name, unit) in enumerate(zip(names, units, strict=True))
    )


def _saturation(channels: Sequence[ChannelReport], values: int) -> list[str]:
    return [
        f"{one.name}: {share:.1%} of its values are exactly {end:g}, its {word}; is the sensor at the end of its range?"
        for one in channels
        if one.minimum < one.maximum
        for share, end, word in ((one.at_minimum, one.minimum, "lowest"), (one.at_maximum, one.maximum, "highest"))
        if share >= max(SATURATED, SATURATED_AT_LEAST / values)
    ]
