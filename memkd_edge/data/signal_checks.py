# SPDX-License-Identifier: Apache-2.0
"""What signals tell of mistakes in recording or exporting them: what cannot be learnt from is refused, what is odd is noted."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError
from memkd_edge.options import first_of

Signal = NDArray[np.floating]

LARGEST = 1e30  # differences and sums of greater values leave float32
SMALLEST = 1e-30  # reciprocals of smaller deviations do
COARSE = 16  # a deviation of fewer float32 steps is noted
OTHER_SCALE = 5.0  # g and m/s2 differ 9.8 times, rad/s and deg/s 57 times; people's movements hardly ever 5 times
UNRELATED = 0.1  # lag-1 correlation below which successive samples tell nothing of each other
RESTART = 64  # samples at least that a clock or count takes on average until it starts again
FEW = 10  # samples, which two signals may share
ENOUGH = 1000  # samples, for a correlation to be told from 0


def check_signals(name: str, series: Sequence[Signal], channels: Sequence[str], units: Sequence[str]) -> tuple[str, ...]:
    """Return what is odd about the signals, one sentence each, for the user to read.

    Args:
        name: of the data set, for messages.
        series: finite signals [T, C] of any length, in physical units, as precise as they were read.
        channels, units: one per channel; a unit says that a channel that rises all the time is a measured quantity.

    Raises:
        UsageError: a channel that is a time or a count of rows by the way it rises; values that float32 cannot compute with
            or cannot tell apart.
    """
    notes = []
    rising = rising_channels(series)
    for index, channel in enumerate(channels):
        columns = [signal[:, index] for signal in series]
        if index in rising and not units[index]:
            text = f"{name}: {channel} never falls within a series but to start again, as a time or a count of rows does"
            if len(channels) > 1:
                raise UsageError(
                    f"{text}; it would give the class away without any movement. Leave it out, in a table name it `time`, or, "
                    "if it is a measured quantity, give it a unit"
                )
            notes.append(text)
        if note := _check_spread(f"{name}: {channel}", columns):
            notes.append(note)
    if unrelated(series):
        notes.append(
            f"{name}: successive samples have nothing to do with each other (lag-1 correlation below {UNRELATED} in every "
            "channel); are the rows in order of time?"
        )
    return tuple(notes)


def rising_channels(series: Sequence[Signal]) -> list[int]:
    """Return the channels that rise in every series and fall in none but to start again, as times and row numbers do."""
    rising = np.ones(series[0].shape[1], dtype=np.bool_)
    for signal in series:
        rising &= (signal[1:] < signal[:-1]).sum(axis=0) * RESTART <= len(signal)
        for index in np.flatnonzero(rising):
            rising[index] = _counts(signal[:, index])
        if not rising.any():
            break
    return [int(index) for index in np.flatnonzero(rising)]


def _counts(values: Signal) -> bool:
    """Tell whether a channel of few falls rises as a counter: falling, it ends within one step of its lowest value."""
    steps = np.diff(values)
    if not (falls := steps < 0).any():
        return bool(values[-1] > values[0])
    return bool((steps > 0).mean() > 0.5 and values[1:][falls].max() <= values.min() + steps.max())


def unrelated(series: Sequence[Signal]) -> bool:
    """Tell whether in no channel a sample resembles the one before it."""
    if sum(len(signal) - 1 for signal in series) < ENOUGH:
        return False
    products = squares = np.zeros(series[0].shape[1])
    for signal in series:
        centred = signal.astype(np.float64) - signal.mean(axis=0, dtype=np.float64)
        products = products + (centred[1:] * centred[:-1]).sum(axis=0)
        squares = squares + (centred**2).sum(axis=0)
    return bool((np.abs(products) < UNRELATED * squares).all())


def other_scales(name: str, by_subject: Mapping[str, Sequence[Signal]], channels: Sequence[str]) -> tuple[str, ...]:
    """Return a note for each subject whose values are many times greater or smaller than the others' in three channels or all.

    One or two of several channels say nothing: a sensor worn the other way round moves gravity from one axis to another.
    """
    if len(by_subject) < 2:
        return ()
    sizes = np.array(
        [
            np.sqrt(np.mean([np.square(signal, dtype=np.float64).mean(axis=0) for signal in its], axis=0))
            for its in by_subject.values()
        ]
    )
    notes = []
    for index, subject in enumerate(by_subject):
        others = np.median(np.delete(sizes, index, axis=0), axis=0)
        ratios = np.divide(sizes[index], others, out=np.ones(len(channels)), where=(others > 0) & (sizes[index] > 0))
        for other, word, factors in (
            (ratios > OTHER_SCALE, "greater", ratios),
            (ratios < 1 / OTHER_SCALE, "smaller", 1 / ratios),
        ):
            if other.sum() >= min(3, len(channels)):
                notes.append(
                    f"{name}: the values of {subject} are {np.median(factors[other]):.1f} times {word} than the others' in "
                    f"{', '.join(np.array(channels)[other])}; are they in another unit (g beside m/s2, rad/s beside deg/s)?"
                )
    return tuple(notes)


def copied_recordings(name: str, recordings: Sequence[tuple[str, Signal]]) -> tuple[str, ...]:
    """Return a note if recordings, each with its title, hold the same samples as others do."""
    titles: dict[bytes, str] = {}
    copies = []
    for title, signal in recordings:
        content = _content(signal)
        if content and titles.setdefault(content, title) != title:
            copies.append(f"{title} as {titles[content]}")
    if not copies:
        return ()
    return (f"{name}: the same samples twice: {first_of(copies)}; leave copies out, as what was learnt from is no test",)


def known_series(name: str, train: Sequence[Signal], test: Sequence[Signal]) -> tuple[str, ...]:
    """Return a note if series of the test part stand in the training part, too."""
    learnt = set(map(_content, train)) - {b""}
    known = sum(_content(signal) in learnt for signal in test)
    if not known:
        return ()
    return (f"{name}: {known} of {len(test)} test series stand in the training part, too; what was learnt from is no test",)


def _content(signal: Signal) -> bytes:
    """Return a hash of what a signal holds; b"" of one at rest or of a few samples, which may well be that of another."""
    if len(signal) < FEW or (signal == signal[0]).all():
        return b""
    return hashlib.sha256(signal.tobytes()).digest()


def _check_spread(what: str, columns: Sequence[Signal]) -> str:
    """Return a note on a channel, "" when nothing is odd. columns: the channel's values [T] in each series."""
    low, high = min(float(column.min()) for column in columns), max(float(column.max()) for column in columns)
    if max(abs(low), abs(high)) > LARGEST:
        extreme = low if abs(low) > abs(high) else high
        raise UsageError(
            f"{what} reaches {extreme:.4g}, which float32 cannot compute with; is it a mark for a missing value? Fill the gaps, "
            "or give the channel in a greater unit"
        )
    if low == high and (apart := float(np.spacing(np.float32(abs(low))))) >= 1:
        return (
            f"{what} is constant to float32 ({low:.6g}), which tells apart {apart:g} there; if it varies by less, subtract a "
            f"constant from it, such as {low:.6g}, else leave it out"
        )
    if low == high:
        return f"{what} is constant ({low:g}): there is nothing to learn from it, leave it out"
    values = np.concatenate(columns).astype(np.float64)
    mean, deviation = float(values.mean()), float(values.std())
    if deviation < SMALLEST:
        raise UsageError(f"{what} varies by {deviation:.1g} only, which float32 cannot compute with; give it in a smaller unit")
    step = float(np.finfo(np.float32).eps) * abs(mean)
    if deviation <= step:
        raise UsageError(
            f"{what} lies at {mean:.6g} and varies by {deviation:.1g} only, which float32 cannot tell apart; subtract a constant "
            f"from it, such as {mean:.6g}"
        )
    if deviation < COARSE * step:
        return f"{what} lies at {mean:.6g} and varies by {deviation:.1g} only, coarse in float32; subtract a constant from it"
    if len(columns) > 1 and all(column.min() == column.max() for column in columns):
        return (
            f"{what} is constant within every series and differs between them: it tells series apart, not movements; leave it "
            "out if it numbers or describes them"
        )
    return ""
