# SPDX-License-Identifier: Apache-2.0
"""Recordings in time: from rows with stamps to uninterrupted stretches at one rate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import DataConfig
from memkd_edge.data.missing_values import bridge
from memkd_edge.data.recording_files import Note, RawRecording, places_from
from memkd_edge.data.recordings import Recording
from memkd_edge.data.time_stamps import (
    GAP_INTERVALS,
    UNITS,
    Clock,
    check_one_clock,
    check_repeats,
    guess_clock,
    is_even,
    parse_seconds,
    rough_rate,
    row_numbers,
    row_rate,
    sensible_rate,
    split_at_gaps,
)
from memkd_edge.data.uniform_rate import evenly_spaced, resample_evenly, sample_positions
from memkd_edge.errors import UsageError

KEPT_WITHIN = 0.01  # of the rate: rows are then kept as they are, as no sensor's clock is better known
HIGHEST_RATE = 100  # of the recordings', to which they are resampled
RATES_WITHIN = 0.05  # recordings further apart than that are of different rates
SHORTEST = 3  # samples of a stretch; a shorter one is dropped


@dataclass(frozen=True)
class Timed:
    """A raw recording with its time understood.

    seconds: float64 [n]. numbers: int64, the numbers of each stretch's rows, lost ones counted. even: whether they are its clock.
    """

    raw: RawRecording
    seconds: NDArray[np.float64]
    stretches: list[slice]
    numbers: list[NDArray[np.int64]]
    even: list[bool]
    gaps: NDArray[np.float64]
    rate_hz: float
    repeats: int

    @property
    def lost(self) -> int:
        """Rows that are missing within evenly spaced stretches."""
        return sum(int(numbers[-1]) + 1 - len(numbers) for numbers, even in zip(self.numbers, self.even, strict=True) if even)


def find_clocks(recordings: Sequence[RawRecording], options: DataConfig, note: Note) -> list[Clock | None]:
    """Return how each recording's stamps count; None without stamps.

    Raises:
        UsageError: a unit that cannot be told, or recordings that count differently.
    """
    clocks: list[Clock | None] = []
    for recording in recordings:
        if recording.stamps is None:
            clocks.append(None)
        elif recording.clock is not None:
            clocks.append(recording.clock)
        else:
            if len(recording.stamps) < SHORTEST:
                raise UsageError(f"{recording.place}: {len(recording.stamps)} rows; at least {SHORTEST} are needed")
            clocks.append(guess_clock(recording.stamps, recording.time_column, recording.place, options.time_unit))
    known = [(clock, recording) for clock, recording in zip(clocks, recordings, strict=True) if clock is not None]
    if known:
        check_one_clock([clock for clock, _ in known], [recording.place for _, recording in known])
        told = "as --time-unit says" if options.time_unit else "guessed; --time-unit says otherwise"
        note(f"time: column {known[0][1].time_column!r}, {known[0][0]}" + (f" ({told})" if known[0][1].clock is None else ""))
    return clocks


def seconds_of(recording: RawRecording, clock: Clock | None, rate_hz: float = 1.0) -> NDArray[np.float64]:
    """Return the time of each row in seconds, float64 [n]: as its stamps count, or by its number where there are none."""
    if recording.stamps is None or clock is None:
        return np.arange(len(recording.x)) / rate_hz
    return recording.stamps * UNITS[clock.unit]


def place_in_time(recording: RawRecording, clock: Clock | None, options: DataConfig, assumed_rate: float) -> Timed:
    """Find stretches, gaps and rate of a recording. assumed_rate: of one without stamps, in Hz.

    Raises:
        UsageError: time runs backwards or stands still, or tells no rate; the message names the row.
    """
    if clock is None:
        seconds = seconds_of(recording, None, assumed_rate)
        whole = [slice(0, len(seconds))]
        return Timed(recording, seconds, whole, [np.arange(len(seconds))], [True], np.zeros(0), assumed_rate, 0)
    seconds = seconds_of(recording, clock)
    seconds = seconds - seconds[0]
    max_gap = parse_seconds(options.max_gap, "--max-gap") if options.max_gap else 0.0
    stretches, gaps = split_at_gaps(seconds, max_gap, recording.place_of)
    rough = rough_rate(seconds)
    numbers = [row_numbers(seconds[stretch], rough) for stretch in stretches]
    rate = row_rate([(seconds[stretch], own) for stretch, own in zip(stretches, numbers, strict=True)])
    if not rough or not rate:
        raise UsageError(
            f"{recording.place}: the time stamps tell no rate ({len(seconds)} rows in {seconds[-1]:g} s, {len(gaps)} gaps); a "
            "wider --max-gap, another --time-unit, or --time none --rate HZ"
        )
    even = [is_even(seconds[stretch], own, rate) for stretch, own in zip(stretches, numbers, strict=True)]
    if not all(even):  # their numbers mean nothing
        numbers = [own if flag else np.arange(len(own)) for own, flag in zip(numbers, even, strict=True)]
        rate = row_rate([(seconds[stretch], own) for stretch, own in zip(stretches, numbers, strict=True)])
    repeats = sum(
        check_repeats(seconds[stretch], recording.x[stretch], flag, places_from(recording.place_of, stretch.start))
        for stretch, flag in zip(stretches, even, strict=True)
    )
    return Timed(recording, seconds, stretches, numbers, even, gaps, rate, repeats)


def common_rate(timed: Sequence[Timed], options: DataConfig, note: Note) -> float:
    """Return the rate of the data set in Hz: as asked for, or that of the recordings, rounded.

    Raises:
        UsageError: the recordings are of different rates, and none is asked for; or one far above all of theirs.
    """
    rates = [one.rate_hz for one in timed]
    low, high = min(timed, key=lambda one: one.rate_hz), max(timed, key=lambda one: one.rate_hz)
    if all(one.raw.stamps is None for one in timed) and high.rate_hz == low.rate_hz:
        note(f"rate: {options.rate or high.rate_hz:g} Hz, as given; rows are taken as evenly spaced")
        return options.rate or high.rate_hz
    found = (
        f"{low.rate_hz:.4g}" if high.rate_hz - low.rate_hz < 0.01 * low.rate_hz else f"{low.rate_hz:.4g} to {high.rate_hz:.4g}"
    )
    if options.rate:
        if options.rate > HIGHEST_RATE * high.rate_hz:
            raise UsageError(
                f"--rate {options.rate:g}: the recordings have {found} rows a second; give at most {HIGHEST_RATE} times as many"
            )
        note(f"rate: {options.rate:g} Hz as --rate says; the recordings have {found} rows a second")
        return options.rate
    if high.rate_hz > low.rate_hz * (1 + RATES_WITHIN):
        raise UsageError(
            f"{high.raw.place}: {high.rate_hz:.4g} rows a second, where {low.raw.place} has {low.rate_hz:.4g}; give --rate HZ, "
            f"at best {sensible_rate(low.rate_hz):g}, to which all are resampled"
        )
    rate = sensible_rate(float(np.median(rates)))
    note(f"rate: {rate:g} Hz, as the recordings have {found} rows a second; --rate says otherwise")
    return rate


def is_near(rate_hz: float, rate: float) -> bool:
    """Whether rows at `rate_hz` are taken for samples at `rate`."""
    return abs(rate_hz / rate - 1) <= KEPT_WITHIN


def stretches_at(one: Timed, rate: float, new_index: NDArray[np.int64], options: DataConfig) -> Iterator[tuple[Recording, bool]]:
    """Yield the whole stretches of a recording at the rate, and whether their rows are the samples."""
    max_gap = parse_seconds(options.max_gap, "--max-gap") if options.max_gap else 0.0
    longest = round(max_gap * one.rate_hz) if max_gap else GAP_INTERVALS
    for rows, numbers, even in zip(one.stretches, one.numbers, one.even, strict=True):
        label, seconds, lost = new_index[one.raw.label[rows]], one.seconds[rows], False
        values = one.raw.x[rows]
        if even and (lost := bool(numbers[-1] >= len(numbers))):
            values, label = _with_lost_rows(values, label, numbers)
        values, whole = bridge(values, longest)
        for part in whole:
            x, y = values[part], label[part]
            near = is_near(one.rate_hz, rate)
            start_s = float(seconds[0] + part.start / one.rate_hz if even else seconds[part.start])
            if len(x) < SHORTEST:
                yield Recording(one.raw.name, one.raw.subject, x, y, start_s), True
                continue
            if not even:
                x, nearest = evenly_spaced(seconds[part], x, rate if near else max(rate, one.rate_hz))
                y = y[nearest]
            if not near and (even or one.rate_hz > rate):
                y = y[np.rint(sample_positions(len(x), one.rate_hz, rate)).astype(np.int64)]
                x = resample_evenly(x, one.rate_hz, rate)
            stamped_hz = one.rate_hz if even and near else 0.0
            yield Recording(one.raw.name, one.raw.subject, x, y, start_s, stamped_hz), even and near and not lost


def _with_lost_rows(
    x: NDArray[np.float32], y: NDArray[np.int64], numbers: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the rows at their numbers; those that were lost are NaN, of the class of the row before."""
    values = np.full((int(numbers[-1]) + 1, x.shape[1]), np.nan, dtype=np.float32)
    values[numbers] = x
    return values, y[np.searchsorted(numbers, np.arange(len(values)), side="right") - 1]
