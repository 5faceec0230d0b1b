# SPDX-License-Identifier: Apache-2.0
"""Units of time stamps, gaps, and jitter told from lost rows."""

import numpy as np
import pytest

from memkd_edge.data.time_stamps import (
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
    typical_interval,
)
from memkd_edge.errors import UsageError

MARCH = 1_772_323_200.0  # 2026-03-01T00:00:00Z


def row(number: int) -> str:
    return f"row {number}"


def bursts(rate: float, count: int, seed: int = 0) -> np.ndarray:
    """Stamps as a watch gives them: to the millisecond, never early, sometimes late so that rows come at once."""
    generator = np.random.default_rng(seed)
    late = generator.exponential(0.001, count)
    late[:: count // 5] += 0.035
    exact = np.arange(count) / rate
    return np.maximum.accumulate(np.floor((exact + late) * 1000) / 1000)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("start", [0.0, MARCH])
@pytest.mark.parametrize("column", ["timestamp", "time_utc", "Time (unix)"])
def test_the_unit_is_told_by_size_or_spacing(unit: str, start: float, column: str) -> None:
    stamps = (start + np.arange(100) / 50) / UNITS[unit]
    assert guess_clock(stamps, column, "f.csv") == Clock(unit, "1970" if start else "the start")


@pytest.mark.parametrize(
    ("column", "unit", "expected"),
    [("t [us]", "", "us"), ("time_ms", "", "ms"), ("elapsed (s)", "", "s"), ("time_ms", "ns", "ns"), ("time", "s", "s")],
)
def test_a_name_or_an_option_tells_the_unit(column: str, unit: str, expected: str) -> None:
    assert guess_clock(np.arange(100) * 5.0, column, "f.csv", unit) == Clock(expected, "the start")


def test_units_that_cannot_be_told_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"f.csv: the unit of time of column 'time' cannot be told: it counts rows; .*--time-unit"
    ):
        guess_clock(np.arange(50.0), "time", "f.csv")
    with pytest.raises(UsageError, match="hardly moves"):
        guess_clock(np.zeros(50), "time", "f.csv")
    with pytest.raises(UsageError, match=r"f.csv: column 'time' mixes units of time: .* s since 1970, .* like ms"):
        guess_clock(np.concatenate([MARCH + np.arange(20), (MARCH + 20) * 1000 + np.arange(20)]), "time", "f.csv")
    with pytest.raises(UsageError, match=r"f.csv: column 'time_s' goes up to 1.77232e\+12, which in s is 59077 years; say by"):
        guess_clock(1000 * (MARCH + np.arange(20) / 50), "time_s", "f.csv")
    with pytest.raises(UsageError, match=r"f.csv: column 'time \[min\]' goes up to .*, and units of time are s, ms, us and ns"):
        guess_clock(np.arange(20) / 3000, "time [min]", "f.csv")
    with pytest.raises(UsageError, match=r"b\.csv: time seems to be in s since 1970, in a.csv in ms since 1970"):
        check_one_clock([Clock("ms", "1970"), Clock("s", "1970")], ["a.csv", "b.csv"])


def test_gaps_split_and_time_never_runs_backwards() -> None:
    seconds = np.concatenate([np.arange(20), 24 + np.arange(10), 60 + np.arange(3)]) / 10
    stretches, gaps = split_at_gaps(seconds, 0.0, row)
    assert [(one.start, one.stop) for one in stretches] == [(0, 30), (30, 33)]  # .5 s is five intervals
    assert gaps == pytest.approx([2.7])
    assert len(split_at_gaps(seconds, 0.3, row)[0]) == 3
    assert len(split_at_gaps(seconds, 5.0, row)[0]) == 1
    seconds[12] = 0.1
    with pytest.raises(UsageError, match=r"row 12: time runs backwards, by 1 s; sort"):
        split_at_gaps(seconds, 0.0, row)


@pytest.mark.parametrize("rate", [26.0, 52.0, 104.27, 208.0])
def test_rows_of_a_steady_sensor_are_even_however_late_their_stamps(rate: float) -> None:
    seconds = bursts(rate, 1500)
    numbers = row_numbers(seconds, rough_rate(seconds))
    assert (numbers == np.arange(1500)).all()
    found = row_rate([(seconds, numbers)])
    assert found == pytest.approx(rate, rel=2e-3)
    assert is_even(seconds, numbers, found)
    assert is_even(seconds[:100], numbers[:100], found)
    assert (np.diff(seconds) == 0).any() or rate < 100


@pytest.mark.parametrize("stamps", [np.arange(1500) / 100, bursts(100.0, 1500)])
@pytest.mark.parametrize("lost", [[(300, 5), (900, 4)], [(40, 3), (60, 6), (75, 2)], [(1480, 9)], [(20, 9), (700, 2)]])
def test_lost_rows_are_counted_where_they_were(stamps: np.ndarray, lost: list[tuple[int, int]]) -> None:
    there = np.delete(np.arange(1500), [row for begin, count in lost for row in range(begin, begin + count)])
    seconds = stamps[there]
    numbers = row_numbers(seconds, rough_rate(seconds))
    assert numbers[-1] == there[-1]
    off = np.flatnonzero(numbers != there)  # a row that came late may hide where exactly the loss was
    assert all(min(abs(row - begin) for begin, _ in lost) < 30 for row in off)
    assert (off.size == 0) or (np.diff(stamps) == 0).any()
    found = row_rate([(seconds, numbers)])
    assert found == pytest.approx(100.0, rel=2e-3)
    assert is_even(seconds, numbers, found)
    assert not is_even(seconds, np.arange(len(seconds)), row_rate([(seconds, np.arange(len(seconds)))])) or lost[0][0] > 1400


def test_uneven_sampling_is_told_and_drift_is_none() -> None:
    wandering = np.cumsum(0.01 * (1 + 0.3 * np.sin(np.arange(1500) / 60)))
    numbers = row_numbers(wandering, rough_rate(wandering))
    assert not is_even(wandering, numbers, row_rate([(wandering, numbers)]))
    drift = np.arange(200_000) * 0.01 * (1 + 2e-6 * np.sin(np.arange(200_000) / 2e4))  # of a crystal, over half an hour
    numbers = row_numbers(drift, rough_rate(drift))
    assert numbers[-1] == 199_999
    assert is_even(drift, numbers, 100.0)


def test_the_rate_is_that_within_the_stretches() -> None:
    first, second = np.arange(200) / 50, 60 + np.arange(100) / 50
    assert row_rate([(first, np.arange(200)), (second, np.arange(100))]) == pytest.approx(50.0)
    assert rough_rate(np.concatenate([first, second])) == pytest.approx(50.0)
    assert row_rate([(np.array([5.0]), np.array([0]))]) == rough_rate(np.array([5.0])) == rough_rate(np.zeros(9)) == 0.0
    assert typical_interval(np.concatenate([first, second])) == pytest.approx(0.02)
    assert typical_interval(np.zeros(3)) == 0.0


def test_rows_may_share_a_time_only_in_bursts() -> None:
    seconds = bursts(104.27, 1500)
    x = np.random.default_rng(0).normal(size=(1500, 2)).astype(np.float32)
    assert check_repeats(seconds, x, True, row) == (np.diff(seconds) == 0).sum() > 1
    assert check_repeats(np.arange(1500) / 100, x, False, row) == 0
    first = int((np.diff(seconds) == 0).argmax()) + 1
    with pytest.raises(UsageError, match=rf"row {first}: the time is that of the row before .*--time none --rate HZ"):
        check_repeats(seconds, x, False, row)
    x[first] = x[first - 1]
    with pytest.raises(UsageError, match=rf"row {first}: .* leave out rows that stand there twice"):
        check_repeats(seconds, x, True, row)
    pairs = np.repeat(np.arange(500) / 50, 2)  # two sensors in one column
    with pytest.raises(UsageError, match=r"row 1: the time is that of the row before .500 such rows in 1000."):
        check_repeats(pairs, np.random.default_rng(1).normal(size=(1000, 2)).astype(np.float32), True, row)


@pytest.mark.parametrize(
    ("rate", "rounded"), [(99.7, 100), (104.27, 104), (12.48, 12.5), (1.253, 1.25), (31.95, 32), (33.34, 33.3), (0.0334, 0.0334)]
)
def test_a_rate_is_rounded_within_one_percent(rate: float, rounded: float) -> None:
    assert sensible_rate(rate) == rounded


def test_durations() -> None:
    assert [parse_seconds(text, "--hop") for text in ("2s", "500ms", "0.5", ".25 s", "20us")] == pytest.approx(
        [2.0, 0.5, 0.5, 0.25, 2e-5]
    )
    for text in ("", "2m", "-1s", "0s", "1e3", "s"):
        with pytest.raises(UsageError, match=r"--hop .*such as 2s"):
            parse_seconds(text, "--hop")
