# SPDX-License-Identifier: Apache-2.0
"""Weights on an int8 grid: each row has a scale of its own, by which its largest weight is 127."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def on_grid(weight: Tensor) -> Tensor:
    """Return weights [rows, ...] rounded to the grid; gradients pass through unchanged."""
    scale = weight.detach().abs().flatten(1).amax(1).clamp_min(1e-8).view(-1, *[1] * (weight.dim() - 1)) / 127
    return weight + ((weight / scale).round() * scale - weight).detach()


def integers(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return weights [rows, ...] as integers, and the scale of each row."""
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    scale = np.maximum(np.abs(rows).max(1), 1e-8) / 127
    return np.rint(rows / scale[:, None]).astype(np.int8).reshape(weight.shape), scale


def multipliers(ratio: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return `ratio` as the multipliers of the C's scaled(): ratio is multiplier / 2^32, below 1/2."""
    whole = np.rint(ratio * 2.0**32).astype(np.int64)
    assert whole.max() < 2**31, "a ratio of scales is 1/2 or more"
    return whole


def scaled(value: NDArray[np.int64], multiplier: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what the C's scaled() does."""
    return (value * multiplier + (1 << 31)) >> 32
