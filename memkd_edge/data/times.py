# SPDX-License-Identifier: Apache-2.0
"""Times of rows, as tables write them: numbers in some unit, or ISO 8601."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from memkd_edge.data.columns import seconds_per
from memkd_edge.errors import UsageError

# A clock that counts from 1970 tells its unit: each of these is in the years 2001 to 2286.
_EPOCHS = {1.0: 1e9, 1e-3: 1e12, 1e-6: 1e15, 1e-9: 1e18}


def parse_time(field: str, place: str) -> float:
    """Return a time as a number: of the column's own unit, or, for ISO 8601 text, of seconds since 1970 (UTC if it tells none).

    Raises:
        UsageError: neither a finite number nor ISO 8601.
    """
    try:
        number = float(field)
    except ValueError:
        try:
            moment = datetime.fromisoformat(field.strip())
        except ValueError:
            raise UsageError(f"{place}: {field.strip()!r} is no time; numbers or ISO 8601 are expected") from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not np.isfinite(number):
        raise UsageError(f"{place}: {field.strip()!r} is no time; fill it in or leave the row out")
    return number


def seconds_per_unit(column: str, field: str) -> float | None:
    """Return the unit of a column of times in seconds, told by its name (`time [ms]`, `time_s`) or by its first field.

    Seconds for ISO 8601; the unit of a clock that counts from 1970; None for other numbers, whose unit nothing tells.
    """
    try:
        number = float(field)
    except ValueError:
        return 1.0
    return seconds_per(column) or next((seconds for seconds, least in _EPOCHS.items() if least <= number < 10 * least), None)


def sample_rate(times_s: Sequence[NDArray[np.float64]]) -> float | None:
    """Return the rate in Hz of series whose rows have the given times [T] in seconds; None unless all agree within 2 %.

    A series' rate comes from its first and last row, so that jitter of single rows does not count.
    """
    rates = np.array([(len(times) - 1) / (times[-1] - times[0]) for times in times_s if len(times) > 1 and times[-1] > times[0]])
    if not rates.size or rates.max() > 1.02 * rates.min():
        return None
    return float(f"{np.median(rates):.4g}")
