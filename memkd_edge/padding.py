# SPDX-License-Identifier: Apache-2.0
"""Series of unequal length in one array [N, T, C]: time steps of NaN at a series' end are padding, which nothing may look at.

A decision is the one after a series' own last step. Who forgets the padding gets NaN, not a wrong figure.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def lengths(x: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the time steps int64 [N] of each series in `x` [N, T, C], without its padding."""
    return np.asarray((~np.isnan(x).all(axis=2)).sum(axis=1), np.int64)


def is_padded(x: NDArray[np.floating]) -> bool:
    """Tell whether a series in `x` [N, T, C] has padding."""
    return bool(np.isnan(x[:, -1]).any())


def pad(series: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return series [T, C] of any lengths as float32 [N, longest T, C]."""
    x = np.full((len(series), max(map(len, series)), series[0].shape[1]), np.nan, np.float32)
    for row, one in zip(x, series, strict=True):
        row[: len(one)] = one
    return x


def hold(x: NDArray[Any], ends: NDArray[np.int64]) -> NDArray[Any]:
    """Return `x` [N, T, ...] with each series' last step, that before `ends` [N], in the place of all that follow it."""
    steps = np.minimum(np.arange(x.shape[1]), ends[:, None] - 1)
    return np.asarray(x[np.arange(len(x))[:, None], steps])


def held(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `x` [N, T, C] with each series' last sample in the place of its padding."""
    return hold(x, lengths(x)) if is_padded(x) else x


def samples(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the samples [M, C] of all series in `x` [N, T, C], one series after the other."""
    flat = x.reshape(-1, x.shape[-1])
    return flat[~np.isnan(flat).all(axis=1)]
