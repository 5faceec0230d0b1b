# SPDX-License-Identifier: Apache-2.0
"""Per-channel normalisation: x_model = (x - mean) / std, with the statistics of the training part only."""

import numpy as np
from numpy.typing import NDArray

from memkd_edge.padding import is_padded, samples


def statistics(x: NDArray[np.float32]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of x [N, T, C], as float32 values; a constant channel's std counts as 1.

    Padding does not count.
    """
    if is_padded(x):
        x = samples(x)[None]
    mean = x.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    std = x.std(axis=(0, 1), dtype=np.float64).astype(np.float32)
    # A constant channel's computed std may be rounding noise: relative to its level it is then below float32's resolution.
    constant = std <= np.finfo(np.float32).eps * np.abs(mean)
    std[constant] = 1.0
    return tuple(float(value) for value in mean), tuple(float(value) for value in std)


def normalise(x: NDArray[np.float32], mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """Return (x - mean) / std in float32, over the last axis, the channels."""
    centred = np.asarray(x, dtype=np.float32) - np.asarray(mean, dtype=np.float32)
    return np.asarray(centred / np.asarray(std, dtype=np.float32), dtype=np.float32)
