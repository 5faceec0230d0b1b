# SPDX-License-Identifier: Apache-2.0
"""Missing values of a signal: short runs are bridged by a straight line, long ones split the recording."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unmasked(values: Any) -> Any:
    """Return a masked array with NaN where it is masked, anything else as it is: np.asarray takes what lies below a mask."""
    return np.where(values.mask, np.nan, values.data) if isinstance(values, np.ma.MaskedArray) else values


def bridge(x: NDArray[np.float32], longest: int) -> tuple[NDArray[np.float32], list[slice]]:
    """Interpolate runs of NaN of at most `longest` samples, channel by channel.

    Args:
        x: float32 [T, C].

    Returns:
        float32 [T, C], and the stretches of rows that are then whole: those between longer runs, without missing ends.
    """
    missing = np.isnan(x)
    if not missing.any():
        return x, [slice(0, len(x))]
    x = x.copy()
    lost = np.zeros(len(x), dtype=np.bool_)
    rows = np.arange(len(x))
    for channel in np.flatnonzero(missing.any(axis=0)):
        gone = missing[:, channel]
        long = np.zeros(len(x), dtype=np.bool_)
        for run in true_runs(gone):
            if run.stop - run.start > longest or run.start == 0 or run.stop == len(x):
                long[run] = True
        if not gone.all():
            x[gone, channel] = np.interp(rows[gone], rows[~gone], x[~gone, channel])
        lost |= long
    return x, true_runs(~lost)


def true_runs(flags: NDArray[np.bool_]) -> list[slice]:
    """Return the runs of True in bool [T]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [slice(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]
