# SPDX-License-Identifier: Apache-2.0
"""Times of rows: their unit, and the rate they give."""

from datetime import UTC, datetime

import numpy as np
import pytest

from memkd_edge.data.times import parse_time, sample_rate, seconds_per_unit
from memkd_edge.errors import UsageError


@pytest.mark.parametrize(
    ("column", "field", "seconds"),
    [
        ("time [ms]", "0", 1e-3),
        ("Time (us)", "0", 1e-6),
        ("time_s", "0", 1.0),
        ("time_ns", "0", 1e-9),
        ("time [min]", "0", 60.0),
        ("timestamp", "1700000000.25", 1.0),
        ("timestamp", "1700000000250", 1e-3),
        ("timestamp", "1700000000250000", 1e-6),
        ("timestamp", "1700000000250000000", 1e-9),
        ("timestamp_utc", "1700000000250", 1e-3),
        ("timestamp", "2026-01-01 10:00:00", 1.0),
        ("time", "0.5", None),
        ("timestamps", "17", None),
        ("time [ms]", "2026-01-01T10:00:00Z", 1.0),
    ],
)
def test_the_unit_is_told_by_name_or_by_the_clock(column, field, seconds):
    assert seconds_per_unit(column, field) == seconds


def test_times_are_numbers_or_iso_8601():
    assert parse_time(" 12.5 ", "here") == 12.5
    assert parse_time("2026-01-01 10:00:00.250", "here") == datetime(2026, 1, 1, 10, 0, 0, 250000, UTC).timestamp()
    assert parse_time("2026-01-01T10:00:00+01:00", "here") == datetime(2026, 1, 1, 9, tzinfo=UTC).timestamp()
    for field in ("", "noon", "nan", "inf"):
        with pytest.raises(UsageError, match=r"^here: '.*' is no time; "):
            parse_time(field, "here")


def test_a_rate_is_what_all_series_agree_on():
    at_50 = np.arange(100) / 50 + 1.7e9
    jittered = at_50 + np.random.default_rng(0).uniform(-0.005, 0.005, 100) * ([0] + [1] * 98 + [0])
    assert sample_rate([at_50, jittered]) == 50.0
    assert sample_rate([at_50, np.arange(100) / 100]) is None
    assert sample_rate([np.zeros(5)]) is None
