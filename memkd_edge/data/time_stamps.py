# SPDX-License-Identifier: Apache-2.0
"""Time stamps of rows: their unit, gaps, and whether the rows are evenly spaced behind the jitter of their stamps.

A wearable's sensor samples by its own clock, and the rows get the time at which the system delivered them: late, in bursts, to
the millisecond. The row number is then the better clock, and the stamps give its rate. What is told apart here is such jitter
(a late row is followed by early ones, nothing is lost) from rows that were dropped or sampled unevenly.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from memkd_edge.data.columns import seconds_per
from memkd_edge.data.missing_values import true_runs
from memkd_edge.errors import UsageError

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

_EPOCH_S = (3e8, 6e9)  # from 1979 to 2160: a stamp in there, in one of the units, counts from 1970
GAP_INTERVALS = 10  # without --max-gap
_BLOCK = 64  # rows over which the earliest stamp tells the sensor's clock: all others were delivered later
_STEP = 1.5  # intervals by which that clock may step from block to block; more means that rows are missing
_PASSES = 20  # over a stretch, to find losses that stand close together
_RARELY = 0.01  # share of rows equal to the row before, below which such a row at the same time is a mistake
_REPEATS = 0.05  # share of rows with the stamp of the row before, at most, that bursts explain


@dataclass(frozen=True)
class Clock:
    """How time stamps count. unit: key of UNITS; since: "1970" or "the start" of the recording; text: ISO 8601 in the file."""

    unit: str
    since: str
    text: bool = False

    def __str__(self) -> str:
        return "ISO 8601" if self.text else f"{self.unit} since {self.since}"


def guess_clock(stamps: NDArray[np.float64], column: str, place: str, unit: str = "") -> Clock:
    """Return how numeric stamps count: by `unit` if given, the unit in the column's name, their size, or their spacing.

    Args:
        stamps: float64 [n], at least 2, as they stand in the file.
        column: their name, as in `t [ms]`, `time_us` or `timestamp`.

    Raises:
        UsageError: the unit cannot be told, is one that the name tells and the stamps cannot be in, or changes within them.
    """
    lowest, highest = float(stamps.min()), float(stamps.max())
    epochs = [name for name, size in UNITS.items() if _EPOCH_S[0] <= lowest * size <= _EPOCH_S[1]]
    ends = [name for name, size in UNITS.items() if _EPOCH_S[0] <= highest * size <= _EPOCH_S[1]]
    if not unit and epochs and ends and epochs != ends:
        raise UsageError(
            f"{place}: column {column!r} mixes units of time: {lowest:.0f} looks like {epochs[0]} since 1970, {highest:.0f} like "
            f"{ends[0]}; write one unit"
        )
    named = None if unit else seconds_per(column)
    known = unit or next((name for name, size in UNITS.items() if size == named), "")
    if named is not None and (not known or highest * named > _EPOCH_S[1]):
        raise UsageError(
            f"{place}: column {column!r} goes up to {highest:.6g}, "
            + (f"which in {known} is {highest * named / 3e7:.0f} years" if known else "and units of time are s, ms, us and ns")
            + "; say by --time-unit what it counts, or convert it"
        )
    if known:
        return Clock(known, "1970" if _EPOCH_S[0] <= lowest * UNITS[known] <= _EPOCH_S[1] else "the start")
    if epochs:
        return Clock(epochs[0], "1970")
    interval = typical_interval(stamps)
    if interval in (0.0, 1.0):
        raise UsageError(
            f"{place}: the unit of time of column {column!r} cannot be told: it {'counts rows' if interval else 'hardly moves'}; "
            "give --time-unit s, ms, us or ns, or, if the rows are evenly spaced, --time none --rate HZ"
        )
    name = "s" if interval < 1 else "ms" if interval < 1e3 else "us" if interval < 1e6 else "ns"
    return Clock(name, "the start")


def check_one_clock(clocks: Sequence[Clock], places: Sequence[str]) -> None:
    """Check that all recordings count time alike.

    Raises:
        UsageError: they do not; two are named.
    """
    for clock, place in zip(clocks, places, strict=True):
        if clock != clocks[0]:
            raise UsageError(
                f"{place}: time seems to be in {clock}, in {places[0]} in {clocks[0]}; write one unit everywhere, or give "
                "--time-unit if it is the same after all"
            )


def split_at_gaps(
    seconds: NDArray[np.float64], max_gap_s: float, place_of: Callable[[int], str]
) -> tuple[list[slice], NDArray[np.float64]]:
    """Return the uninterrupted stretches of rows, and the gaps between them in seconds. max_gap_s: 0 takes 10 intervals.

    Raises:
        UsageError: time runs backwards; the message names the row by `place_of`.
    """
    steps = np.diff(seconds)
    if steps.size and steps.min() < 0:
        row = int((steps < 0).argmax()) + 1
        raise UsageError(
            f"{place_of(row)}: time runs backwards, by {-steps[row - 1]:.6g} s; sort the rows by time, or make two recordings of "
            "them if the clock was set"
        )
    limit = max_gap_s or GAP_INTERVALS * typical_interval(seconds)
    cuts = np.flatnonzero(steps > limit) + 1
    ends = [0, *cuts.tolist(), len(seconds)]
    return [slice(begin, end) for begin, end in pairwise(ends)], steps[cuts - 1]


def typical_interval(seconds: NDArray[np.float64]) -> float:
    """Return the median interval, of those that are not 0; 0.0 when there is none."""
    steps = np.diff(seconds)
    steps = steps[steps > 0]
    return float(np.median(steps)) if steps.size else 0.0


def rough_rate(seconds: NDArray[np.float64]) -> float:
    """Return the rows per second as most runs of 64 rows have it, whatever is lost or late elsewhere; 0.0 if unknown.

    Not 1 / median interval: stamps in whole milliseconds of a sensor at 104 Hz have a median interval of 10 ms.
    """
    span = min(_BLOCK, len(seconds) - 1)
    duration = float(np.median(seconds[span:] - seconds[:-span])) if span else 0.0
    return span / duration if duration > 0 else 0.0


def row_numbers(seconds: NDArray[np.float64], rate_hz: float) -> NDArray[np.int64]:
    """Return the numbers of a stretch's rows, int64 [n] from 0, where rows that were lost are counted too.

    Two and more rows are lost where the earliest stamps of 64 rows lag behind those of the 64 rows before. A single one is
    no more than half an interval of time, and jitter looks like it.
    """
    numbers = np.arange(len(seconds))
    for _ in range(_PASSES):
        late = np.concatenate([[np.inf] * _BLOCK, (seconds - seconds[0]) * rate_hz - numbers, [np.inf] * _BLOCK])
        earliest = sliding_window_view(late, _BLOCK).min(axis=1)
        lag = earliest[_BLOCK + 1 : _BLOCK + len(seconds)] - earliest[1 : len(seconds)]  # of row 1 and on
        runs = true_runs(lag > _STEP)
        if not runs:
            break
        for run in runs:
            numbers[run.start + 1 :] += round(lag[run.start])
    return numbers


def row_rate(stretches: Sequence[tuple[NDArray[np.float64], NDArray[np.int64]]]) -> float:
    """Return the rows per second of stretches, the slope of a line through stamps over row numbers; 0.0 if unknown."""
    covariance = variance = 0.0
    for seconds, numbers in stretches:
        rows = numbers - numbers.mean()
        covariance += float(rows @ (seconds - seconds.mean()))
        variance += float(rows @ rows)
    return variance / covariance if covariance > 0 else 0.0


def is_even(seconds: NDArray[np.float64], numbers: NDArray[np.int64], rate_hz: float) -> bool:
    """Whether the rows of a stretch are evenly spaced at about `rate_hz` by their numbers, however late some stamps are."""
    late = seconds - seconds[0] - numbers / rate_hz
    if len(late) < 2 * _BLOCK:
        return bool(np.abs(late - np.median(late)).max() * rate_hz <= GAP_INTERVALS)
    earliest = np.minimum.reduceat(late, np.arange(0, len(late) - _BLOCK + 1, _BLOCK))
    return bool(np.abs(np.diff(earliest)).max() * rate_hz <= _STEP)


def check_repeats(seconds: NDArray[np.float64], x: NDArray[np.float32], even: bool, place_of: Callable[[int], str]) -> int:
    """Return how many rows have the stamp of the row before: bursts, which evenly spaced rows may come in.

    Args:
        seconds: float64 [n]. x: float32 [n, C], their values.
        even: whether the row number is the clock (`is_even`).

    Raises:
        UsageError: a row stands there twice, or the stamps are needed to place the rows; the message names the row.
    """
    repeated = np.flatnonzero(np.diff(seconds) == 0) + 1
    if not repeated.size:
        return 0
    equal = (x[1:] == x[:-1]).all(axis=1)
    twice = equal[repeated - 1] & (equal.mean() < _RARELY)
    if even and not twice.any() and repeated.size <= _REPEATS * len(seconds):
        return int(repeated.size)
    row = int(repeated[twice.argmax()] if twice.any() else repeated[0])
    raise UsageError(
        f"{place_of(row)}: the time is that of the row before ({repeated.size} such rows in {len(seconds)}); leave out rows that "
        "stand there twice, or, if the rows are evenly spaced whatever the stamps say, give --time none --rate HZ"
    )


def sensible_rate(rate_hz: float) -> float:
    """Return the nearest whole number, tenth or three digits that is within 1 %: 99.7 -> 100, 12.48 -> 12.5."""
    for rounded in (float(round(rate_hz)), round(rate_hz, 1)):
        if abs(rounded - rate_hz) <= 0.01 * rate_hz:
            return rounded
    return float(f"{rate_hz:.3g}")


def parse_seconds(text: str, option: str) -> float:
    """Return a duration written as 2s, 500ms or 0.5 (seconds) in seconds.

    Raises:
        UsageError: not such a text, or not above 0.
    """
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(s|ms|us|ns)?", text.strip())
    if match is None or float(match[1]) == 0:
        raise UsageError(f"{option} {text!r}: a duration such as 2s, 500ms or 0.5 (seconds) is expected")
    return float(match[1]) * UNITS[match[2] or "s"]
